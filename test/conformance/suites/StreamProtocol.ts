/**
 * The stream protocol as its document has it: a client in Python, written from src/gateway/PROTOCOL.md alone with nothing
 * but the standard library, does against the broker what the document says can be done.
 */
import { join } from "node:path";
import { run } from "../support/Process.ts";
import { assert, type Suite } from "../support/Suite.ts";

const scenes = join(import.meta.dir, "..", "clients", "protocol", "scenes.py");

export const suite: Suite = {
  name: "stream protocol",
  oursOnly: true,
  tests: [
    {
      name: "a client in Python, made from PROTOCOL.md alone, produces, resumes, shares a group, commits and has transactions",
      own: true,
      timeoutMs: 90_000,
      async run({ ownBroker, topic }) {
        const broker = await ownBroker({
          "http.listeners": "http://127.0.0.1:0",
          "group.consumer.min.heartbeat.interval.ms": "100",
          "group.consumer.heartbeat.interval.ms": "500",
          "group.consumer.assignment.interval.ms": "0",
        });
        const port = /HTTP and WebSocket on http:\/\/127\.0\.0\.1:(\d+)/.exec(broker.log())?.[1];
        assert(port !== undefined, `the broker names no gateway:\n${broker.log()}`);
        const { stdout } = await run("python3", ["-B", scenes, "127.0.0.1", port, topic()], { timeoutMs: 60_000 });
        assert(stdout.trimEnd().endsWith("done"), stdout);
      },
    },
  ],
};
