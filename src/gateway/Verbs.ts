/** Every verb there is, by name: `call` of the stream protocol, the HTTP API and its OpenAPI page read this one table. */
import * as Effect from "effect/Effect";
import { Refused } from "./Caller.ts";
import { groupVerbs } from "./GroupVerbs.ts";
import { recordVerbs } from "./RecordVerbs.ts";
import { ShapeError } from "./Shape.ts";
import { topicVerbs } from "./TopicVerbs.ts";
import type { AnyVerb, VerbContext } from "./Verb.ts";
import { invalidRequest } from "./WireError.ts";

export const verbs: ReadonlyArray<AnyVerb> = [...topicVerbs, ...groupVerbs, ...recordVerbs];

const byName: ReadonlyMap<string, AnyVerb> = new Map(verbs.map((verb) => [verb.name, verb]));

const refuse = (message: string): Effect.Effect<never, Refused> =>
  Effect.fail(new Refused({ error: invalidRequest(message) }));

/** Checks the body and runs the verb. */
export const runVerb = (name: string, body: unknown, context: VerbContext): Effect.Effect<unknown, Refused> => {
  const verb = byName.get(name);
  if (verb === undefined) {
    return refuse(`verb: there is no ${JSON.stringify(name)}; there are ${[...byName.keys()].join(", ")}`);
  }
  return runBody(verb, body, context);
};

export const runBody = (verb: AnyVerb, body: unknown, context: VerbContext): Effect.Effect<unknown, Refused> => {
  let parsed: unknown;
  try {
    parsed = verb.body.parse(body, "");
  } catch (error) {
    if (!(error instanceof ShapeError)) throw error;
    return refuse(error.message);
  }
  return verb.run(parsed, context);
};
