/**
 * Power cuts, kills and failing disks under a produce workload that speaks through KafkaClient: whatever the disk keeps,
 * nothing acknowledged is lost, doubled, moved or reordered. And the proof that this can fail: planted bugs, each caught.
 */
import { afterEach, describe, expect, test } from "bun:test";
import * as Effect from "effect/Effect";
import { Partition } from "../../actors/Partition.ts";
import type { DiskFault, DiskOperation } from "../../actors/simulation/DiskFault.ts";
import type { PowerCut } from "../../actors/simulation/PowerCut.ts";
import type { SimulatedDisk } from "../../actors/simulation/SimulatedDisk.ts";
import type { SimulatedProcess } from "../../actors/simulation/Simulation.ts";
import { everyOperation, findings, imagesOf, type Plan, recovered, survive, verdict } from "./support/PowerCuts.ts";

const CUTS: ReadonlyArray<PowerCut> = ["lost", "torn", "reordered", "mixed"];
const TIME = 60_000;

const isLog = ({ kind, path }: DiskOperation): boolean => kind === "flush" && path.endsWith(".log");

describe("power cuts", () => {
  test(
    "before every disk operation, in every way: everything acknowledged is there, once, in order",
    () => {
      expect(findings(imagesOf({ seed: 1 }, ["lost", "torn", "reordered"]))).toEqual([]);
    },
    TIME,
  );

  test(
    "in the middle of the work: the clients go on where they were, every batch is acknowledged in the end, once",
    () => {
      for (const seed of [13, 15]) {
        const cut = (process: SimulatedProcess, at: number): void => process.powerCut(CUTS[at % CUTS.length]!);
        expect(everyOperation({ seed }, cut, 3)).toEqual([]);
      }
    },
    TIME,
  );

  test(
    "kill -9 and later a power cut: what was readable after the restart is durable",
    () => {
      expect(everyOperation({ seed: 22 }, (process) => process.kill(), 2)).toEqual([]);
    },
    TIME,
  );

  test(
    "a second crash during recovery",
    () => {
      const plan = { seed: 41 };
      const found: string[] = [];
      for (const first of [30, 45, 60]) {
        for (let second = 0; second < 24; second += 2) {
          let at = -1;
          const end = survive(plan, (process, operation, generation) => {
            if (generation === 0 && operation.index === first) process.powerCut(CUTS[second % CUTS.length]!);
            if (generation !== 1) return;
            at = at < 0 ? operation.index : at;
            if (operation.index === at + second) {
              if (second % 4 === 0) process.kill();
              else process.powerCut(CUTS[(second + 1) % CUTS.length]!);
            }
          });
          found.push(...verdict(end, `operation ${first}, then ${second} of recovery`));
        }
      }
      expect(found).toEqual([]);
    },
    TIME,
  );

  test(
    "an orderly stop: a power cut right behind it takes nothing, and one in the middle of it neither",
    () => {
      const found: string[] = [];
      const plan = { seed: 51 };
      let stopBegan = -1;
      const disks: SimulatedDisk[] = [];
      const end = survive(
        plan,
        () => {},
        async ({ broker, process }, disk) => {
          stopBegan = disk.operations;
          await process.runPromise(broker.stop.pipe(Effect.timeout("20 seconds")));
          disks.push(disk);
        },
      );
      expect(stopBegan).toBeGreaterThan(0);
      found.push(...verdict(end, "after the stop"));
      const last = end.disk.operations;
      expect(last).toBeGreaterThan(stopBegan);
      for (let at = stopBegan; at < last; at++) {
        const cut = CUTS[at % CUTS.length]!;
        const halfway = survive(
          plan,
          (process, operation, generation) => {
            if (generation === 0 && operation.index === at) process.powerCut(cut);
          },
          async ({ broker, process }) => {
            await Promise.race([
              process.runPromise(broker.stop),
              new Promise((resolve) => process.whenDead(() => resolve(undefined))),
            ]);
          },
        );
        found.push(...verdict(halfway, `${cut} before operation ${at} of the stop`));
      }
      expect(found).toEqual([]);
    },
    TIME,
  );
});

describe("failing disks", () => {
  const faults: ReadonlyArray<readonly [string, DiskFault, number]> = [
    ["EIO", { error: "EIO" }, 2],
    ["ENOSPC", { error: "ENOSPC" }, 5],
    ["short", { short: 1 }, 5],
  ];
  for (const [name, fault, step] of faults) {
    test(
      `${name} at any one operation: nothing acknowledged is lost, nothing unknown is called a failure`,
      () => {
        const base: Plan = {
          seed: 31,
          workload: { batches: 5, deliveryTimeoutMs: 5000, topicConfigs: { "segment.ms": "8" } },
        };
        const { operations } = survive(base, () => {});
        const found: string[] = [];
        for (let at = 16; at < operations; at += step) {
          const plan = { ...base, faults: ({ index }: DiskOperation) => (index === at ? fault : undefined) };
          found.push(
            ...verdict(
              survive(plan, () => {}),
              `operation ${at}`,
              { allOk: false },
            ),
          );
        }
        expect(found).toEqual([]);
      },
      TIME,
    );
  }

  test(
    "flushes that fail now and then: the log goes on in a new file and everything is acknowledged in the end",
    () => {
      for (const seed of [61, 62, 63]) {
        let flushes = 0;
        const plan: Plan = {
          seed,
          faults: (operation) =>
            isLog(operation) && operation.path.includes("/t-") && ++flushes % 4 === 0 ? { error: "EIO" } : undefined,
        };
        expect(
          verdict(
            survive(plan, () => {}),
            `seed ${seed}`,
          ),
        ).toEqual([]);
      }
    },
    TIME,
  );

  test(
    "a flush that never ends acknowledges nothing, and a restart finds what was acknowledged",
    () => {
      let hung = false;
      const plan: Plan = {
        seed: 71,
        faults: (operation) => {
          if (hung || !isLog(operation) || operation.index < 50) return undefined;
          hung = true;
          return { hang: true };
        },
      };
      const end = survive(plan, (process, operation, generation) => {
        // The operator's patience: ten seconds.
        if (hung && generation === 0) process.clock.after(10_000, () => process.powerCut("lost"));
        void operation;
      });
      expect(verdict(end, "hung")).toEqual([]);
      expect(hung).toBe(true);
    },
    TIME,
  );
});

describe("planted bugs are caught", () => {
  const original = Partition.prototype.flushFailed;
  afterEach(() => {
    Partition.prototype.flushFailed = original;
  });

  const lost = (plan: Plan): string[] => {
    const found = findings(imagesOf(plan, ["lost"]));
    return found.filter((line) => line.includes("lost"));
  };

  test("no fsync of the log", () => {
    expect(lost({ seed: 1, faults: (operation) => (isLog(operation) ? { lie: true } : undefined) })).not.toEqual([]);
  });

  test("no fsync of directories: new files are lost with their names", () => {
    const plan: Plan = { seed: 1, faults: ({ kind }) => (kind === "flushDirectory" ? { lie: true } : undefined) };
    expect(lost(plan)).not.toEqual([]);
  });

  test("ack before flush", () => {
    expect(lost({ seed: 1, settings: { "log.flush.policy": "os" } })).not.toEqual([]);
  });

  test(
    "trust after a failed fsync: the next one succeeds and proves nothing",
    () => {
      // One flush of a partition's log fails; which one decides what there is to lose.
      const failing = (which: number): Plan => {
        let flushes = 0;
        return {
          seed: 1,
          faults: (operation) =>
            isLog(operation) && operation.path.includes("/t-") && ++flushes === which ? { error: "EIO" } : undefined,
        };
      };
      const flushes = [4];
      for (const which of flushes) expect(findings(imagesOf(failing(which), ["lost"]))).toEqual([]);
      Partition.prototype.flushFailed = function trusting(ticket) {
        this.flushed(ticket);
      };
      expect(flushes.flatMap((which) => lost(failing(which)))).not.toEqual([]);
    },
    TIME,
  );

  test("the checker itself: a disk from before the work has lost all of it", () => {
    const [first] = imagesOf({ seed: 1 }, ["lost"]);
    const last = imagesOf({ seed: 1 }, ["lost"]).at(-1)!;
    expect(recovered({ ...first!, history: last.history }, 1).join("\n")).toContain("lost topic");
  });
});
