/** What every command of the command line is to `main`: arguments, the ports and a terminal in, an exit code out. */
import type { Terminal } from "../src/platform/Terminal.ts";
import type { ClientPlatform } from "./testing/KafkaConnection.ts";

/** 0: done; 1: Kafka refused, or an item of several was; 2: the command line was wrong. */
export type ExitCode = 0 | 1 | 2;

/** Throws an Error whose message is for the user (exit code 1), or `OutputClosed`. */
export type Tool<Arguments> = (args: Arguments, platform: ClientPlatform, terminal: Terminal) => Promise<ExitCode>;
