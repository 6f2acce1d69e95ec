import { describe, expect, test } from "bun:test";
import { decideFault, type FaultKind, planFaults } from "../../actors/testing/FaultDecisions.ts";
import { ApiKey } from "../../src/protocol/ApiKeys.ts";

const kindsOf = (seed: number | string, apiKey: number, options: object = {}): Map<FaultKind, number> => {
  const plan = planFaults({ seed, ...options });
  const counts = new Map<FaultKind, number>();
  for (let connection = 1; connection <= 20; connection++) {
    for (let request = 1; request <= 500; request++) {
      const decision = decideFault(plan, { connection, request, apiKey });
      if (decision !== undefined) counts.set(decision.kind, (counts.get(decision.kind) ?? 0) + 1);
    }
  }
  return counts;
};

describe("a decision", () => {
  test("depends on the seed and the request's place, and on nothing else", () => {
    const places = Array.from({ length: 3000 }, (_, index) => ({
      connection: 1 + (index % 7),
      request: 1 + index,
      apiKey: ApiKey.Produce,
    }));
    const all = (seed: number) => places.map((place) => decideFault(planFaults(seed), place));
    const backwards = places.toReversed().map((place) => decideFault(planFaults(7), place));
    expect(all(7)).toEqual(backwards.toReversed());
    expect(all(7)).not.toEqual(all(8));
    const hits = all(7).filter((decision) => decision !== undefined);
    expect(new Set(hits.map(({ after }) => after)).size).toBe(2);
    expect(new Set(hits.map(({ delayMs }) => delayMs)).size).toBeGreaterThan(50);
    expect(Math.max(...hits.map(({ delayMs }) => delayMs))).toBeLessThanOrEqual(300);
  });

  test("every kind happens, about as often as it is asked for", () => {
    const counts = kindsOf(1, ApiKey.OffsetCommit, {
      kinds: {
        crash: 0.01,
        coordinatorMove: 0.02,
        rebalance: 0.03,
        connectionCut: 0.04,
        retriableError: 0.05,
        slowAnswer: 0.06,
      },
    });
    // 10,000 requests; what comes later in the draw gets a little less.
    const expected = { crash: 100, coordinatorMove: 200, rebalance: 300, connectionCut: 400 } as const;
    for (const [kind, count] of Object.entries(expected)) {
      expect(counts.get(kind as FaultKind)!).toBeGreaterThan(count * 0.7);
      expect(counts.get(kind as FaultKind)!).toBeLessThan(count * 1.3);
    }
    expect(counts.size).toBe(6);
  });

  test("a kind only hits what it can hit, and only when it is asked for", () => {
    expect([...kindsOf(1, ApiKey.ApiVersions, { rate: 100 }).keys()]).toEqual([]);
    expect([...kindsOf(1, ApiKey.CreateTopics, { rate: 10 }).keys()].sort()).toEqual([
      "connectionCut",
      "crash",
      "slowAnswer",
    ]);
    expect([...kindsOf(1, ApiKey.Produce, { rate: 10 }).keys()]).not.toContain("rebalance");
    expect([...kindsOf(1, ApiKey.Heartbeat, { kinds: ["rebalance"] }).keys()]).toEqual(["rebalance"]);
    expect([...kindsOf(1, ApiKey.Produce, { kinds: [] }).keys()]).toEqual([]);
    expect([...kindsOf(1, ApiKey.Produce, { rate: 0 }).keys()]).toEqual([]);
  });

  test("seeds differ in what they are made of; the chances a user gave are not touched", () => {
    const plans = Array.from({ length: 20 }, (_, seed) => JSON.stringify(planFaults(seed).chances));
    expect(new Set(plans).size).toBeGreaterThan(15);
    const exact = { crash: 0.5 };
    for (let seed = 0; seed < 10; seed++) {
      expect(planFaults({ seed, kinds: exact }).chances).toMatchObject({ crash: 0.5, slowAnswer: 0 });
    }
  });

  test.each([
    [{ seed: 1, kinds: ["earthquake" as FaultKind] }, /earthquake.*allowed: .*rebalance/],
    [{ seed: 1, kinds: { crash: 2 } }, /crash is 2 .*0 to 1/],
    [{ seed: 1, kinds: { earthquake: 1 } as object }, /earthquake.*allowed: .*rebalance/],
    [{} as { seed: number }, /seed is undefined/],
    [{ seed: Number.NaN }, /seed is NaN/],
    [{ seed: 1, rates: 2 } as { seed: number }, /rates \(allowed: seed/],
    [{ seed: 1, rate: -1 }, /rate is -1/],
    [{ seed: 1, maxDelayMs: Number.NaN }, /maxDelayMs is NaN/],
    [{ seed: 1, atMost: { crash: -1 } }, /crash is -1/],
    [{ seed: 1, atMost: { earthquake: 1 } as object }, /earthquake.*allowed: .*rebalance/],
  ])("what cannot be is refused: %j", (options, message) => {
    expect(() => planFaults(options)).toThrow(message);
  });
});
