/**
 * Libraries as their users use them: each program of `clients/python` and `clients/go` makes a topic, produces in every codec
 * it knows, reads all of it as a group, commits, asks the admin interface about that, commits a transaction and aborts one,
 * and tells what it saw as one line of JSON.
 */
import { goProgram, python, pythonProgram } from "../support/Cache.ts";
import { run } from "../support/Process.ts";
import { type ConformanceTest, equal, type Suite } from "../support/Suite.ts";

const codecs = 5;
const perCodec = 1000;
const all = { acked: codecs * perCodec, consumed: codecs * perCodec };
const transactions = { kept: 10, dropped: 0 };
const group = { consumed: all.consumed, committed: all.consumed, state: "STABLE" };

const inPython: Record<string, unknown> = {
  "kafka-python": { ...all, committed: all.consumed, state: "Empty", ...transactions },
  "aiokafka-client": { ...all, committed: all.consumed, state: "Empty", ...transactions, copied: [7] },
  confluent: { acked: all.acked, classic: group, consumer: group, ...transactions, "cleanup.policy": "delete" },
};

const saramaSpeaking = (version: string, acked: number): ConformanceTest => ({
  name: `sarama (Go), speaking to Kafka ${version}`,
  full: true,
  timeoutMs: 360_000,
  async run({ broker, topic }) {
    const seen = await run(await goProgram("go"), ["sarama", broker.address, topic(), version]);
    const consumed = acked + transactions.kept;
    equal(JSON.parse(seen.stdout), { acked, consumed, committed: true, state: "Empty", ...transactions }, "sarama saw");
  },
});

export const suite: Suite = {
  name: "libraries",
  tests: [
    ...Object.entries(inPython).map(
      ([name, expected]) =>
        ({
          name: `${name} (Python)`,
          timeoutMs: 360_000,
          async run({ broker, topic }) {
            const seen = await run(await python(), [pythonProgram(name), broker.address, topic()], {
              timeoutMs: 60_000,
            });
            equal(JSON.parse(seen.stdout), expected, `${name} saw`);
          },
        }) satisfies ConformanceTest,
    ),
    // Zstandard came with 2.1.
    saramaSpeaking("0.11.0.0", all.acked - perCodec),
    saramaSpeaking("4.0.0", all.acked),
    {
      name: "kafka-go (Go)",
      full: true,
      timeoutMs: 360_000,
      async run({ broker, topic }) {
        const seen = await run(await goProgram("go"), ["kafka-go", broker.address, topic()]);
        equal(JSON.parse(seen.stdout), all, "kafka-go saw");
      },
    },
  ],
};
