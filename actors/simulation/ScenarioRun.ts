/**
 * One run of a plan in a simulated world: a broker on a simulated disk that is started again whenever it dies, clients on
 * machines of their own, faults, the play. What must stay true: equal plans give equal traces, in every process; a run
 * never throws, whatever went wrong is a violation.
 */
import type { Codecs } from "../../src/record/Compression.ts";
import { HistoryRecorder, type Op } from "../testing/History.ts";
import { type OldData, remember } from "../testing/OldData.ts";
import { Play, type Theatre } from "../testing/Play.ts";
import type { Plan, ScenarioFaultKind } from "../testing/Scenario.ts";
import { type Machine, Stage } from "../testing/Stage.ts";
import { Faults } from "./Faults.ts";
import { LastingBroker } from "./LastingBroker.ts";
import { DATA } from "./SimulatedBroker.ts";
import type { SimulatedDisk } from "./SimulatedDisk.ts";
import { type SimulatedProcess, Simulation } from "./Simulation.ts";
import { streamPlatform } from "./StreamPlatform.ts";

export interface RunOptions {
  readonly codecs: Codecs;
  /** Keep every line of the trace. */
  readonly keepTrace?: boolean;
  /** Whether `buggify` marks fire (default true). */
  readonly buggify?: boolean;
  /** The recorded data directories that plans name. */
  readonly directoryOf?: (name: string) => OldDirectory;
}

/** A data directory and the list of what it holds. */
export interface OldDirectory {
  /** By path inside the data directory. */
  readonly files: ReadonlyMap<string, Uint8Array>;
  readonly data: OldData;
}

export interface RunResult {
  readonly plan: Plan;
  /** Empty when all is well. */
  readonly violations: ReadonlyArray<string>;
  /** Hash of the trace: equal for equal runs. */
  readonly hash: string;
  readonly trace: ReadonlyArray<string>;
  readonly simulatedMs: number;
  readonly tasks: number;
  readonly operations: number;
  readonly brokers: number;
  readonly faults: ReadonlyMap<ScenarioFaultKind, number>;
  /** `buggify` marks that were asked and how often each fired. */
  readonly marks: ReadonlyMap<string, number>;
  /** Operations of the history by what they were and how they ended, as `send ok`. */
  readonly ended: ReadonlyMap<string, number>;
}

const BROKER = { host: "127.0.0.1", port: 9092 };
const RESTART_MS = 200;

export const runPlan = (plan: Plan, options: RunOptions): RunResult => {
  const world = new Simulation({
    seed: `${plan.scenario} ${plan.seed}`,
    maxTimeMs: 3_600_000,
    maxSteps: 2_000_000,
    keepTrace: options.keepTrace ?? false,
    network: plan.network,
    buggify: options.buggify ?? true,
  });
  const violations = new Set<string>();
  const violation = (line: string): void => {
    violations.add(line);
    world.trace.add(`VIOLATION ${line}`);
  };
  const recorder = new HistoryRecorder(() => world.clock.now);
  const stageWorld = { now: () => world.clock.now, note: (line: string) => world.trace.add(line), violation };
  const stage = new Stage(plan, stageWorld, recorder, world.random.fork("stage"), [BROKER]);
  const theatre = new SimulatedTheatre(world, plan, options.codecs);
  const play = new Play(stage, theatre);
  try {
    // Read before anything real is out of reach.
    const old = plan.directory === undefined ? undefined : options.directoryOf?.(plan.directory);
    if (plan.directory !== undefined && old === undefined) throw new Error(`there is no directory ${plan.directory}`);
    if (old !== undefined) remember(stage, old.data);
    world.run(async () => {
      theatre.open(old?.files ?? new Map());
      await play.play();
      theatre.close();
    });
  } catch (error) {
    violation(`the run ended: ${error instanceof Error ? error.message.split("\n", 1)[0] : String(error)}`);
  }
  if (play.complete) for (const line of play.verdict()) violation(line);
  return {
    plan,
    violations: [...violations],
    hash: world.trace.hash,
    trace: world.trace.lines,
    simulatedMs: world.clock.now,
    tasks: world.steps,
    operations: recorder.ops.length,
    brokers: theatre.generations,
    faults: theatre.faults.counts,
    marks: world.marks,
    ended: endedOf(recorder.ops),
  };
};

const endedOf = (history: ReadonlyArray<Op>): Map<string, number> => {
  const ended = new Map<string, number>();
  for (const { f, type } of history) {
    if (type !== "invoke") ended.set(`${f} ${type}`, (ended.get(`${f} ${type}`) ?? 0) + 1);
  }
  return ended;
};

class SimulatedTheatre implements Theatre {
  readonly faults: Faults;
  readonly broken: Promise<never>;
  private readonly operator: SimulatedProcess;
  private readonly disk: SimulatedDisk;
  private readonly broker: LastingBroker;
  /** Clients' machines by host: whom client faults hit. */
  private readonly clients = new Map<string, SimulatedProcess>();

  constructor(
    private readonly world: Simulation,
    plan: Plan,
    private readonly codecs: Codecs,
  ) {
    this.disk = world.makeDisk("disk", { pageBytes: plan.pageBytes });
    this.operator = world.process("operator", { disk: this.disk, host: "10.1.0.1" });
    this.faults = new Faults(world, this.operator, plan.faults, {
      broker: () => this.broker.process,
      brokerHost: BROKER.host,
      clientHosts: () => plan.clients.map(({ id }) => `10.0.0.${id + 1}`),
      client: (host) => this.clients.get(host),
    });
    this.disk.beforeOperation = (operation) => this.faults.onDisk(operation);
    this.broker = new LastingBroker(world, this.operator, this.disk, {
      codecs,
      settings: plan.settings,
      gateway: plan.clients.some(({ kind }) => kind.startsWith("stream")),
      restartMs: RESTART_MS,
      diskErrors: () => this.faults.diskErrors,
    });
    this.broken = this.broker.broken;
  }

  get clock() {
    return this.operator.clock;
  }

  get generations(): number {
    return this.broker.generations;
  }

  open(files: ReadonlyMap<string, Uint8Array>): void {
    this.operator.disk.makeDirectory(DATA);
    this.disk.restore(
      new Map([...files].map(([path, bytes]) => [`${DATA}/${path}`, bytes])),
      this.operator.clock.wall(),
    );
    this.broker.start();
  }

  close(): void {
    this.broker.close();
  }

  machine(name: string, host: string): { readonly machine: Machine; readonly died: Promise<void> } {
    const { codecs } = this;
    const process = this.world.process(name, { host });
    this.clients.set(host, process);
    const { network, clock, random } = process;
    const died = new Promise<void>((resolve) => process.whenDead(resolve));
    const stream = () => streamPlatform(process, codecs, BROKER.host);
    return { machine: { name, platform: { network, clock, random, codecs }, stream }, died };
  }

  beginFaults(): void {
    this.faults.start();
  }

  endFaults(): void {
    this.faults.end();
  }

  crash(): void {
    // One that is dead already is about to be started by whoever saw it die.
    if (this.broker.process?.alive !== true) return;
    this.broker.process.powerCut("lost");
  }
}
