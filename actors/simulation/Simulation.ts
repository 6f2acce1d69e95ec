/**
 * A simulated world: one seed, one list of tasks, virtual time, wires, disks and processes. What must stay true: running
 * a program with a seed gives the same trace every time, in every process; while it runs nothing outside the ports can
 * be touched; a crash interrupts nothing, it drops the process's tasks and timers and makes its ports deaf.
 *
 * `run` is synchronous: it runs one task, drains the microtasks, and so on, and moves time when nothing is runnable, or
 * when so much has run that some time must have passed.
 */
import { drainMicrotasks } from "bun:jsc";
import * as EffectClock from "effect/Clock";
import * as Context from "effect/Context";
import * as Duration from "effect/Duration";
import * as Effect from "effect/Effect";
import * as EffectRandom from "effect/Random";
import * as Scheduler from "effect/Scheduler";
import type { Clock } from "../../src/platform/Clock.ts";
import type { Disk } from "../../src/platform/Disk.ts";
import { loadNativeCrc32c } from "../../src/platform/NativeCrc32c.ts";
import type { Network } from "../../src/platform/Network.ts";
import type { Random } from "../../src/platform/Random.ts";
import type { TaskList } from "../../src/platform/TaskList.ts";
import { makeTaskListScheduler } from "../../src/platform/TaskListScheduler.ts";
import { chooseBuggify } from "../../src/prelude/Buggify.ts";
import type { PowerCut } from "./PowerCut.ts";
import { SeededRandom } from "./SeededRandom.ts";
import { SeededTaskList } from "./SeededTaskList.ts";
import { type ClockSkew, SimulatedClock } from "./SimulatedClock.ts";
import { SimulatedDisk, type SimulatedDiskOptions } from "./SimulatedDisk.ts";
import { type NetworkHost, type NetworkNature, SimulatedNetwork } from "./SimulatedNetwork.ts";
import { Trace } from "./Trace.ts";
import { setTripwires, TripwireError } from "./Tripwires.ts";

export interface SimulationOptions {
  readonly seed: number | string;
  /** Keep every line of the trace, not only the last ones. */
  readonly keepTrace?: boolean;
  /** Tasks after which a run counts as caught in a loop (default 5,000,000). */
  readonly maxSteps?: number;
  /** Virtual milliseconds after which a run counts as hanging (default one day). */
  readonly maxTimeMs?: number;
  readonly network?: Partial<NetworkNature>;
  /** Whether `buggify` marks fire (default false). */
  readonly buggify?: boolean;
}

export interface ProcessOptions {
  /** The machine it runs on: addresses of its sockets (default "127.0.0.1"). */
  readonly host?: string;
  readonly disk?: SimulatedDisk;
  readonly wallSkewMs?: number;
}

/**
 * Tasks that may run at one instant while others wait for the time: work that never pauses, on wires without latency,
 * would stop it for everybody else. A run of a scenario has about a thousand at most.
 */
const TASKS_AN_INSTANT = 2_000;

/** The run did not end well: what went wrong, and the last of what happened. */
export class SimulationError extends Error {
  override readonly name = "SimulationError";
  constructor(
    message: string,
    readonly seed: number | string,
    readonly trace: ReadonlyArray<string>,
    options?: ErrorOptions,
  ) {
    super(`seed ${seed}: ${message}\n${trace.slice(-20).join("\n")}`, options);
  }
}

/** One simulated operating-system process: a set of ports that go deaf together. */
export class SimulatedProcess implements NetworkHost {
  alive = true;
  paused = false;
  readonly host: string;
  readonly disk: Disk;
  readonly clock: Clock;
  readonly random: Random;
  readonly network: Network;
  readonly tasks: TaskList;
  readonly skew: ClockSkew;
  /** Effect's own scheduler, clock and random, as references on these ports. */
  readonly context: Context.Context<never>;

  constructor(
    private readonly world: Simulation,
    readonly name: string,
    options: ProcessOptions,
  ) {
    const random = world.random.fork(`process ${name}`);
    this.host = options.host ?? "127.0.0.1";
    this.skew = { wallMs: options.wallSkewMs ?? 0, monotonicStartMs: random.between(0, 1_000_000) + 0.25 };
    this.random = random;
    this.clock = world.clock.portOf(this, this.skew);
    this.network = world.network.portOf(this);
    this.tasks = world.tasks.portOf(this);
    this.platter = options.disk ?? world.makeDisk(name);
    this.disk = this.platter.attach({
      owner: this,
      after: (delayMs, task) => void world.clock.after(this, delayMs, task),
      wall: () => this.clock.wall(),
      trace: (line) => world.trace.add(`${name} ${line}`),
    });
    this.context = Context.empty().pipe(
      Context.add(Scheduler.Scheduler, makeTaskListScheduler(this.tasks)),
      Context.add(EffectClock.Clock, effectClock(this.clock)),
      Context.add(EffectRandom.Random, effectRandom(random)),
    );
  }

  readonly platter: SimulatedDisk;
  private readonly mourners: Array<() => void> = [];

  /** Runs an effect as this process: its fibers' steps are tasks of the world. */
  runPromise<A, E>(effect: Effect.Effect<A, E>): Promise<A> {
    return Effect.runPromiseWith(this.context)(effect);
  }

  /** A line of the trace in the process's name. */
  note(line: string): void {
    this.world.trace.add(`${this.name} ${line}`);
  }

  /** The wall clock jumps (either way); the monotonic clock does not. */
  jumpWall(byMs: number): void {
    this.skew.wallMs += byMs;
  }

  /** SIGSTOP: nothing of it runs, its timers pass, its peers notice nothing but silence. */
  pause(): void {
    if (!this.alive || this.paused) return;
    this.world.trace.add(`pause ${this.name}`);
    this.paused = true;
    this.world.tasks.hold(this);
  }

  /** SIGCONT. */
  resume(): void {
    if (!this.paused) return;
    this.world.trace.add(`resume ${this.name}`);
    this.paused = false;
    this.world.tasks.release(this);
  }

  /** Calls `task` when the process has died, whatever killed it; tasks of the dead do not run, so it is called at once. */
  whenDead(task: () => void): void {
    this.mourners.push(task);
  }

  /** kill -9: everything written stays readable (not durable), peers are told by their connections' reset. */
  kill(): void {
    if (!this.alive) return;
    this.world.trace.add(`kill ${this.name}`);
    this.alive = false;
    this.world.network.drop(this, "reset");
    this.platter.abandonFlushes();
    this.mourn();
  }

  /** The machine loses power: nobody is told, and the disk keeps what `cut` leaves of it. */
  powerCut(cut: PowerCut): void {
    if (!this.alive) return;
    this.world.trace.add(`power cut ${this.name} ${cut}`);
    this.alive = false;
    this.world.network.drop(this, "silent");
    this.platter.powerCut(cut, this.world.random.fork(`power cut ${this.name}`));
    this.mourn();
  }

  private mourn(): void {
    for (const task of this.mourners.splice(0)) task();
  }
}

export class Simulation {
  readonly seed: number | string;
  readonly random: SeededRandom;
  readonly trace: Trace;
  readonly tasks: SeededTaskList;
  readonly clock: SimulatedClock;
  readonly network: SimulatedNetwork;
  /** `buggify` marks that were asked, and how often each fired. */
  readonly marks = new Map<string, number>();
  /** No mark fires any more: what must come to an end shall not be held up. */
  calm = false;
  /** Tasks run so far. */
  steps = 0;

  constructor(private readonly options: SimulationOptions) {
    this.seed = options.seed;
    this.random = new SeededRandom(options.seed);
    this.trace = new Trace(options.keepTrace);
    this.tasks = new SeededTaskList(this.random.fork("tasks"));
    this.clock = new SimulatedClock(this.tasks);
    this.network = new SimulatedNetwork(
      this.tasks,
      this.clock,
      this.random.fork("network"),
      this.trace,
      options.network,
    );
  }

  /** A disk with nothing on it. */
  makeDisk(name: string, options: Omit<SimulatedDiskOptions, "random"> = {}): SimulatedDisk {
    return new SimulatedDisk({ ...options, random: this.random.fork(`disk ${name}`) });
  }

  /** A process; a restart after a crash is a new process with another name on the same disk. */
  process(name: string, options: ProcessOptions = {}): SimulatedProcess {
    return new SimulatedProcess(this, name, options);
  }

  /** Runs the program to its end. Throws what it throws, or a `SimulationError` with the seed and the last trace lines. */
  run<A>(program: (world: Simulation) => Promise<A>): A {
    const maxSteps = this.options.maxSteps ?? 5_000_000;
    const maxTimeMs = this.options.maxTimeMs ?? 86_400_000;
    let outcome: { readonly value: A } | { readonly error: unknown } | undefined;
    // A checksum that loads its addon on first use would read a file in the middle of the run.
    loadNativeCrc32c();
    const wires = setTripwires();
    const marksBefore = chooseBuggify(this.options.buggify === true ? this.chooser() : undefined);
    try {
      this.tasks.schedule({ name: "program", alive: true }, () => {
        program(this).then(
          (value) => {
            outcome = { value };
          },
          (error: unknown) => {
            outcome = { error };
          },
        );
      });
      let atThisInstant = 0;
      while (outcome === undefined) {
        const isLong = atThisInstant >= TASKS_AN_INSTANT;
        if (!isLong && this.tasks.runOne()) {
          this.steps += 1;
          atThisInstant += 1;
          drainMicrotasks();
          if (this.steps > maxSteps) throw this.failure(`still busy after ${maxSteps} tasks`);
          continue;
        }
        if (!this.clock.advance() && !isLong) {
          throw this.failure("nothing is runnable and no timer is set, and the program has not ended");
        }
        if (this.clock.now > maxTimeMs) throw this.failure(`not ended after ${maxTimeMs} virtual milliseconds`);
        atThisInstant = 0;
      }
    } catch (error) {
      if (error instanceof SimulationError) throw error;
      throw this.failure("a task threw", error);
    } finally {
      chooseBuggify(marksBefore);
      wires.restore();
    }
    if (wires.touched.length > 0) {
      throw new TripwireError(`touched inside a simulation: ${[...new Set(wires.touched)].join(", ")}`, {
        cause: "error" in outcome ? outcome.error : undefined,
      });
    }
    if ("error" in outcome) throw outcome.error;
    return outcome.value;
  }

  private failure(message: string, cause?: unknown): SimulationError {
    const text = cause instanceof Error ? `${message}: ${cause.message}` : message;
    return new SimulationError(text, this.seed, this.trace.lines, { cause });
  }

  /** Each mark is on in a quarter of the seeds, and then fires now and again. */
  private chooser(): (name: string, share: number) => boolean {
    const chances = new Map<string, number>();
    const firing = this.random.fork("buggify");
    return (name, share) => {
      let chance = chances.get(name);
      if (chance === undefined) {
        const own = this.random.fork(`buggify ${name}`);
        chance = own.chance(0.25) ? 0.01 + 0.3 * own.fraction() : 0;
        chances.set(name, chance);
        this.marks.set(name, 0);
      }
      if (this.calm || !firing.chance(chance * share)) return false;
      this.marks.set(name, (this.marks.get(name) ?? 0) + 1);
      return true;
    };
  }
}

const NANOS_PER_MS = 1_000_000;

const effectClock = (clock: Clock): EffectClock.Clock => {
  const wallNanos = (): bigint => BigInt(clock.wall()) * BigInt(NANOS_PER_MS);
  const monotonicNanos = (): bigint => BigInt(Math.floor(clock.monotonic() * NANOS_PER_MS));
  return {
    currentTimeMillisUnsafe: () => clock.wall(),
    currentTimeMillis: Effect.sync(() => clock.wall()),
    currentTimeNanosUnsafe: wallNanos,
    currentTimeNanos: Effect.sync(wallNanos),
    monotonicTimeNanosUnsafe: monotonicNanos,
    monotonicTimeNanos: Effect.sync(monotonicNanos),
    sleep(duration) {
      const millis = Duration.toMillis(duration);
      if (millis <= 0) return Effect.yieldNow;
      if (!Number.isFinite(millis)) return Effect.never;
      return Effect.callback((resume) => {
        const cancel = clock.after(millis, () => resume(Effect.void));
        return Effect.sync(cancel);
      });
    },
  };
};

const effectRandom = (random: SeededRandom): EffectRandom.Random => {
  // 53 bits, as the numbers of the platform's own source.
  const bits = (): number => (random.word() & 0x1fffff) * 0x100000000 + random.word();
  return {
    nextIntUnsafe: () => (random.chance(0.5) ? bits() : -bits()),
    nextDoubleUnsafe: () => bits() / 2 ** 53,
  };
};
