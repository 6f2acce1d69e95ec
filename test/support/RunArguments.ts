/** What a command line comes to, when it is a good one. */
import type { Parsed } from "../../src/cli/Arguments.ts";

export const runArguments = <Arguments>(parsed: Parsed<Arguments>): Arguments => {
  if (parsed.kind !== "run") throw new Error(JSON.stringify(parsed));
  return parsed.arguments;
};
