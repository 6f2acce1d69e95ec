/**
 * Programs about groups, offsets and transactions against the broker on simulated ports: every answer, and what administrators see
 * after every step, is what Apache Kafka 4.3.1 gave (`compare.ts` records them).
 */
import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { withSimulatedBroker } from "../support/SimulatedTalk.ts";
import { KINDS, SETTINGS } from "./Brokers.ts";

const REST_MS = 20;

/** The transcripts by seed. */
const recorded = (name: string): Map<number, string[]> => {
  const text = readFileSync(new URL(`fixtures/${name}-kafka-4.3.1.txt`, import.meta.url), "utf8");
  const programs = text.trimEnd().split("== ").slice(1);
  return new Map(
    programs.map((program) => {
      const [seed, ...lines] = program.trimEnd().split("\n");
      return [Number(seed), lines];
    }),
  );
};

describe.each(Object.entries(KINDS))("%s", (name, kind) => {
  for (const [seed, lines] of recorded(name)) {
    test(`program ${seed} is answered as by Apache Kafka 4.3.1`, () => {
      const program = kind.draw(seed);
      const answered = withSimulatedBroker(SETTINGS, (endpoint, platform) =>
        kind.transcript({ platform, endpoint, restMs: REST_MS }, program, "run"),
      );
      const at = answered.findIndex((line, index) => line !== lines[index]);
      const step = answered.slice(0, at + 1).findLast((line) => line.startsWith("-- "));
      const told = at < 0 ? "" : `${step} ${JSON.stringify(program.steps[Number(step?.slice(3))])}`;
      expect({ told, line: answered[at], lines: answered.length }).toEqual({
        told: "",
        line: lines[at],
        lines: lines.length,
      });
    });
  }
});
