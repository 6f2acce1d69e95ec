/**
 * A broker on a simulated disk that ends as it is told, after so many disk operations of each life, and is started again a
 * moment later: killed, without power, or stopped in order. What must stay true: a start that fails is a finding, and so is
 * an error in the broker's log while it lives.
 */
import fc from "fast-check";
import type { PowerCut } from "../../../actors/simulation/PowerCut.ts";
import { DATA, startSimulatedBroker } from "../../../actors/simulation/SimulatedBroker.ts";
import type { Simulation } from "../../../actors/simulation/Simulation.ts";
import { codecs } from "./PowerCutWorld.ts";

export interface Crash {
  /** Of the broker's life, in disk operations that write. */
  readonly afterOperations: number;
  readonly how: "kill" | "stop" | PowerCut;
}

/** At most so many ends, and one at least where there may be any. */
export const crashesUpTo = (most: number, latest: number): fc.Arbitrary<ReadonlyArray<Crash>> =>
  fc.array(
    fc.record({
      afterOperations: fc.integer({ min: 1, max: latest }),
      how: fc.constantFrom("kill", "kill", "stop", "lost", "torn", "reordered", "mixed"),
    }),
    { minLength: Math.min(1, most), maxLength: most },
  );

const RESTART_MS = 200;

export class DyingBroker {
  /** Lives that have begun. */
  generations = 0;
  private dying = true;
  private readonly defects = Promise.withResolvers<never>();
  private readonly disk;
  private readonly supervisor;

  constructor(
    private readonly simulation: Simulation,
    private readonly crashes: ReadonlyArray<Crash>,
    private readonly settings: Readonly<Record<string, string>>,
    private readonly found: string[],
  ) {
    this.disk = simulation.makeDisk("disk", { pageBytes: 512 });
    simulation.process("operator", { disk: this.disk }).disk.makeDirectory(DATA);
    this.disk.settle();
    this.supervisor = simulation.process("supervisor");
    this.start();
  }

  /** The work, or why the broker does not start. */
  async while<A>(work: Promise<A>): Promise<A> {
    return Promise.race([work, this.defects.promise]);
  }

  /** It lives on from now. */
  finish(): void {
    this.dying = false;
  }

  private start(): void {
    const { simulation, disk, crashes, settings, found } = this;
    const crash = crashes[this.generations];
    const process = simulation.process(`broker-${this.generations++}`, { disk });
    process.whenDead(() => void this.supervisor.clock.after(RESTART_MS, () => this.start()));
    let stopping = false;
    const diesAt = crash === undefined ? Number.POSITIVE_INFINITY : disk.operations + crash.afterOperations;
    const log = (level: string, message: string): void => {
      if (level === "error" && process.alive && !stopping) found.push(`the broker says: ${message.split("\n")[0]}`);
    };
    const fatal = (): void => process.kill();
    const started = startSimulatedBroker(process, { codecs, settings, log, fatal });
    started.catch((error: unknown) => {
      if (process.alive) this.defects.reject(new Error(`the broker does not start: ${String(error)}`));
    });
    disk.beforeOperation = ({ kind, index }) => {
      if (kind === "read" || index < diesAt || !this.dying || stopping || !process.alive) return undefined;
      const { how } = crash!;
      if (how === "kill") process.kill();
      else if (how !== "stop") process.powerCut(how);
      else {
        stopping = true;
        void started.then(async ({ broker }) => {
          await process.runPromise(broker.stop);
          process.kill();
        });
      }
      return undefined;
    };
  }
}
