/**
 * Crash machinery for the tests of durability: the workload of `PowerCutWorld` on a simulated broker, with the power cut
 * (or the process killed, or the disk failing) at chosen disk operations, and the verdict of a last, healthy broker.
 */
import type { DiskFault, DiskOperation } from "../../../actors/simulation/DiskFault.ts";
import type { PowerCut } from "../../../actors/simulation/PowerCut.ts";
import { DATA, type SimulatedBroker, startSimulatedBroker } from "../../../actors/simulation/SimulatedBroker.ts";
import type { SimulatedDisk } from "../../../actors/simulation/SimulatedDisk.ts";
import { type SimulatedProcess, Simulation } from "../../../actors/simulation/Simulation.ts";
import { DiskError } from "../../../src/platform/Disk.ts";
import {
  codecs,
  copyHistory,
  emptyHistory,
  type History,
  runWorkload,
  violations,
  type WorkloadOptions,
} from "./PowerCutWorld.ts";

/** Small batches, and a segment's life so short that logs roll all the time. */
const WORKLOAD: WorkloadOptions = { batches: 5, topicConfigs: { "segment.ms": "8" } };

/** Virtual time in which everything must have ended; the delivery time-out of the workload is below it. */
const LONGEST_RUN_MS = 300_000;
/** Findings told per place: one broken rule usually shows in every record. */
const TOLD = 3;

const some = (found: string[]): string[] =>
  found.length <= TOLD ? found : [...found.slice(0, TOLD), `and ${found.length - TOLD} more`];

export interface Plan {
  readonly seed: number;
  readonly settings?: Readonly<Record<string, string>>;
  readonly workload?: WorkloadOptions;
  /** Bytes that the disk saves or loses as one, below the default: what a file of many pages shows, in a small one. */
  readonly pageBytes?: number;
  /** Faults of the disk while the workload runs. */
  readonly faults?: (operation: DiskOperation) => DiskFault | undefined;
}

export interface Image {
  readonly operation: DiskOperation;
  readonly cut: PowerCut;
  readonly disk: SimulatedDisk;
  readonly history: History;
}

export interface Survived {
  readonly history: History;
  readonly disk: SimulatedDisk;
  readonly operations: number;
  /** Brokers that were started. */
  readonly generations: number;
  /** Hash of the run's trace. */
  readonly trace: string;
}

/** A disk with the data directory as an operator made it, long ago. */
const emptyDataDirectory = (world: Simulation, { pageBytes = 512 }: Plan): SimulatedDisk => {
  const disk = world.makeDisk("disk", { pageBytes });
  world.process("operator", { disk }).disk.makeDirectory(DATA);
  disk.settle();
  return disk;
};

/** Runs the workload once and takes what every kind of power cut before every operation would leave. */
export const imagesOf = (plan: Plan, cuts: ReadonlyArray<PowerCut>): Image[] => {
  const world = new Simulation({ seed: plan.seed, maxTimeMs: LONGEST_RUN_MS });
  const images: Image[] = [];
  world.run(async () => {
    const disk = emptyDataDirectory(world, plan);
    const history = emptyHistory();
    const take = (operation: DiskOperation): void => {
      for (const cut of cuts) {
        const random = world.random.fork(`image ${operation.index} ${cut}`);
        images.push({ operation, cut, disk: disk.image(cut, random), history: copyHistory(history) });
      }
    };
    disk.beforeOperation = (operation) => {
      if (operation.kind !== "read") take(operation);
      return plan.faults?.(operation);
    };
    const broker = world.process("broker", { disk });
    await startSimulatedBroker(broker, { codecs, settings: plan.settings ?? {} });
    await runWorkload(world, world.process("client", { host: "10.0.0.1" }), history, plan.workload ?? WORKLOAD);
    take({ index: disk.operations, kind: "flush", path: "the end" });
  });
  return images;
};

/** What a healthy broker started on the image gets wrong. */
export const recovered = (image: Image, seed: number | string, settings: Plan["settings"] = {}): string[] => {
  try {
    return new Simulation({ seed, maxTimeMs: LONGEST_RUN_MS }).run(async (world) => {
      await startSimulatedBroker(world.process("broker", { disk: image.disk }), { codecs, settings: settings ?? {} });
      return violations(world.process("client", { host: "10.0.0.1" }), image.history);
    });
  } catch (error) {
    return [`the broker does not start: ${error instanceof Error ? error.message : String(error)}`];
  }
};

/** Violations over all images, each with where it came from. */
export const findings = (images: ReadonlyArray<Image>): string[] =>
  images.flatMap((image, index) => {
    const { operation, cut } = image;
    const where = `${cut} before operation ${operation.index} (${operation.kind} ${operation.path})`;
    return some(recovered(image, index)).map((line) => `${where}: ${line}`);
  });

/**
 * Runs the workload; `crash` may end the broker at any operation, and another one is started on what is left half a
 * second later. The clients go on with what they had in flight. `finish` is what is done with the first broker at the
 * end, if that still runs.
 */
export const survive = (
  plan: Plan,
  crash: (process: SimulatedProcess, operation: DiskOperation, generation: number) => void,
  finish: (broker: SimulatedBroker, disk: SimulatedDisk) => Promise<void> = async () => {},
): Survived => {
  const world = new Simulation({ seed: plan.seed, maxTimeMs: LONGEST_RUN_MS });
  return world.run(async () => {
    const disk = emptyDataDirectory(world, plan);
    const history = emptyHistory();
    const supervisor = world.process("supervisor");
    const stopped = Promise.withResolvers<never>();
    let current: SimulatedBroker | undefined;
    let generations = 0;
    let finishing = false;
    const start = (): void => {
      const generation = generations++;
      const process = world.process(`broker-${generation}`, { disk });
      process.whenDead(() => {
        if (!finishing) supervisor.clock.after(500, start);
      });
      disk.beforeOperation = (operation) => {
        if (operation.kind !== "read") crash(process, operation, generation);
        return process.alive ? plan.faults?.(operation) : undefined;
      };
      startSimulatedBroker(process, {
        codecs,
        settings: plan.settings ?? {},
        fatal: () => process.kill(),
      }).then(
        (broker) => {
          current = broker;
        },
        (error: unknown) => {
          if (!process.alive) return;
          // A disk that fails at start ends the process, and somebody starts it again; anything else is a finding.
          if (error instanceof DiskError && plan.faults !== undefined) process.kill();
          else stopped.reject(new Error(`the broker does not start: ${String(error)}`));
        },
      );
    };
    start();
    const work = runWorkload(world, world.process("client", { host: "10.0.0.1" }), history, plan.workload ?? WORKLOAD);
    await Promise.race([work, stopped.promise]);
    finishing = true;
    const operations = disk.operations;
    if (current?.process.alive === true) await finish(current, disk);
    disk.beforeOperation = undefined;
    return { history, disk, operations, generations, trace: world.trace.hash };
  });
};

/** What a last broker finds wrong after the power was cut at the end; unless told otherwise every batch must be acknowledged. */
export const verdict = (end: Survived, where: string, { allOk = true }: { allOk?: boolean } = {}): string[] => {
  const operation: DiskOperation = { index: end.operations, kind: "flush", path: "the end" };
  const disk = end.disk.image("lost", new Simulation({ seed: where }).random);
  const found = recovered({ operation, cut: "lost", disk, history: end.history }, where);
  for (const { values, outcome } of end.history.sent) {
    if (allOk && outcome?.type !== "ok") found.push(`${values.join(" ")} ended as ${JSON.stringify(outcome)}`);
  }
  return some(found).map((line) => `${where}: ${line}`);
};

/** Crashes the first broker at every `step`-th operation, a run each, and collects what is wrong afterwards. */
export const everyOperation = (
  plan: Plan,
  crash: (process: SimulatedProcess, at: number) => void,
  step = 1,
): string[] => {
  const { operations } = survive(plan, () => {});
  const found: string[] = [];
  for (let at = 0; at < operations; at += step) {
    const where = `operation ${at}`;
    try {
      const end = survive(plan, (process, operation, generation) => {
        if (generation === 0 && operation.index === at) crash(process, at);
      });
      found.push(...verdict(end, where));
    } catch (error) {
      found.push(`${where}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  return found;
};
