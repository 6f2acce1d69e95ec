/**
 * A broker that somebody watches over: whenever its process dies a new one is started on the same disk. What must stay
 * true: there is never more than one; a broker that cannot start on a disk that works ends everything (`broken`).
 */
import type { Codecs } from "../../src/record/Compression.ts";
import { startSimulatedBroker } from "./SimulatedBroker.ts";
import type { SimulatedDisk } from "./SimulatedDisk.ts";
import type { SimulatedProcess, Simulation } from "./Simulation.ts";

export interface LastingBrokerOptions {
  readonly codecs: Codecs;
  readonly settings: Readonly<Record<string, string>>;
  /** A door for clients of the stream protocol. */
  readonly gateway: boolean;
  /** Milliseconds from a death to the next start. */
  readonly restartMs: number;
  /** Operations of the disk that went wrong so far: while a broker starts they excuse it. */
  readonly diskErrors: () => number;
}

export class LastingBroker {
  /** Rejects when there is no going on. */
  readonly broken: Promise<never>;
  /** Brokers started so far. */
  generations = 0;
  /** The newest, dead or alive. */
  process: SimulatedProcess | undefined;
  private closed = false;
  private readonly breaking = Promise.withResolvers<never>();

  constructor(
    private readonly world: Simulation,
    /** Whoever watches. */
    private readonly operator: SimulatedProcess,
    private readonly disk: SimulatedDisk,
    private readonly options: LastingBrokerOptions,
  ) {
    this.broken = this.breaking.promise;
    this.broken.catch(() => {});
  }

  start(): void {
    const { codecs, settings, gateway, restartMs, diskErrors } = this.options;
    const machine = this.world.process(`broker-${this.generations++}`, { disk: this.disk });
    this.process = machine;
    const errorsBefore = diskErrors();
    machine.whenDead(() => {
      if (!this.closed) this.operator.clock.after(restartMs, () => this.start());
    });
    startSimulatedBroker(machine, { codecs, gateway, settings, fatal: () => machine.kill() }).catch(
      (error: unknown) => {
        if (!machine.alive) return;
        const text = error instanceof Error ? error.message : String(error);
        machine.note(`does not start: ${text}`);
        // A disk that fails at the start ends the process, and somebody starts it again.
        if (diskErrors() > errorsBefore) machine.kill();
        else this.breaking.reject(new Error(`the broker does not start: ${text}`));
      },
    );
  }

  /** The next death is the last. */
  close(): void {
    this.closed = true;
  }
}
