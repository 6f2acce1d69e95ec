/** Scenarios that simulated power cuts found; each lost acknowledged records once. */
import { describe, expect, test } from "bun:test";
import { imagesOf, type Plan, recovered, survive, verdict } from "./support/PowerCuts.ts";

describe("what power cuts found", () => {
  test("a data directory that the broker made itself is there with all that was acknowledged in it", () => {
    const settings = { "log.dirs": "/data/new/deep" };
    const end = imagesOf({ seed: 7, settings }, ["lost"]).at(-1)!;
    expect(end.history.topicCreated).toBe(true);
    expect(recovered(end, 7, settings)).toEqual([]);
  });

  test("batches pipelined to a partition whose log is still opening wait, and keep their order", () => {
    const found: string[] = [];
    for (let seed = 100; seed < 130; seed++)
      found.push(
        ...verdict(
          survive({ seed }, () => {}),
          `seed ${seed}`,
        ),
      );
    expect(found).toEqual([]);
  }, 60_000);

  test("a cut over several segments after a failed flush, and power lost in the middle of it, leave no hole at the front", () => {
    const found: string[] = [];
    for (const which of [3, 5]) {
      for (let later = 10; later < 26; later += 3) {
        let flushes = 0;
        let failedAt = -1;
        const plan: Plan = {
          seed: 81,
          faults: ({ kind, path, index }) => {
            if (kind !== "flush") return undefined;
            // Slow, so that a round covers several segments.
            if (!path.includes("/t-")) return { delayMs: 100 };
            if (++flushes !== which) return { delayMs: 30 };
            failedAt = index;
            return { error: "EIO" };
          },
        };
        const end = survive(plan, (process, operation, generation) => {
          if (generation === 0 && failedAt >= 0 && operation.index >= failedAt + later) process.powerCut("torn");
        });
        found.push(...verdict(end, `flush ${which}, cut ${later} operations later`, { allOk: false }));
      }
    }
    expect(found).toEqual([]);
  }, 60_000);

  test("bytes whose flush failed are not durable in the next process either, though it can read them", () => {
    const found: string[] = [];
    for (const which of [2, 3, 4]) {
      let flushes = 0;
      const plan: Plan = {
        seed: 91,
        pageBytes: 16,
        faults: ({ kind, path }) =>
          kind === "flush" && path.includes("/__cluster") && path.endsWith(".log") && ++flushes === which
            ? { error: "EIO" }
            : undefined,
      };
      found.push(
        ...verdict(
          survive(plan, () => {}),
          `metadata flush ${which}`,
          { allOk: false },
        ),
      );
    }
    expect(found).toEqual([]);
  }, 60_000);

  test("kill -9 between a failed flush and its consequences: the next process rewrites what it keeps", () => {
    const found: string[] = [];
    for (const which of [3, 4, 5, 6]) {
      let flushes = 0;
      let failedAt = -1;
      const plan: Plan = {
        seed: 92,
        pageBytes: 16,
        faults: ({ kind, path, index }) => {
          if (kind !== "flush" || !path.includes("/t-") || !path.endsWith(".log") || ++flushes !== which)
            return undefined;
          failedAt = index;
          return { error: "EIO" };
        },
      };
      const end = survive(plan, (process, operation, generation) => {
        if (generation === 0 && failedAt >= 0 && operation.index > failedAt) process.kill();
      });
      found.push(...verdict(end, `flush ${which}`, { allOk: false }));
    }
    expect(found).toEqual([]);
  }, 60_000);
});
