import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { type PlacementBroker, placeReplicas, seededBelow } from "../../src/metadata/ReplicaPlacer.ts";

const broker = (id: number, rack: string | null = null, fenced = false): PlacementBroker => ({ id, rack, fenced });

describe("placement of replicas", () => {
  test("distinct brokers, an unfenced leader, fenced ones only when nothing else is left; the seed decides", () => {
    const cluster = fc
      .array(fc.record({ rack: fc.constantFrom(null, "r1", "r2", "r3"), fenced: fc.boolean() }), {
        minLength: 1,
        maxLength: 12,
      })
      .map((list) => list.map(({ rack, fenced }, id) => broker(id, rack, fenced)))
      .filter((list) => list.some((each) => !each.fenced));
    fc.assert(
      fc.property(cluster, fc.nat(), fc.integer({ min: 1, max: 12 }), (brokers, seed, wanted) => {
        const factor = Math.min(wanted, brokers.length);
        const placements = placeReplicas(brokers, 40, factor, seededBelow(seed));
        for (const replicas of placements) {
          expect(new Set(replicas).size).toBe(factor);
          expect(brokers[replicas[0] ?? -1]?.fenced).toBe(false);
        }
        expect(placeReplicas(brokers, 40, factor, seededBelow(seed))).toEqual(placements);
      }),
      { numRuns: 200 },
    );
  });

  test("leaders are spread evenly and each partition over all racks", () => {
    const brokers = Array.from({ length: 9 }, (_, id) => broker(id, `r${id % 3}`));
    for (let seed = 0; seed < 20; seed++) {
      const placements = placeReplicas(brokers, 90, 3, seededBelow(seed));
      const led = new Array<number>(9).fill(0);
      for (const replicas of placements) {
        led[replicas[0] ?? 0] = (led[replicas[0] ?? 0] ?? 0) + 1;
        expect(new Set(replicas.map((id) => id % 3)).size).toBe(3);
      }
      expect(led).toEqual(new Array(9).fill(10));
    }
  });

  test("without racks leaders are spread evenly too", () => {
    const brokers = Array.from({ length: 4 }, (_, id) => broker(id));
    const led = [0, 0, 0, 0];
    for (const replicas of placeReplicas(brokers, 40, 2, seededBelow(5))) {
      led[replicas[0] ?? 0] = (led[replicas[0] ?? 0] ?? 0) + 1;
    }
    expect(led).toEqual([10, 10, 10, 10]);
  });
});
