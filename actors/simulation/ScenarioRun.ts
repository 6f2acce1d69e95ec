/**
 * One run of a plan in a simulated world: a broker on a simulated disk that is started again whenever it dies, clients on
 * machines of their own, faults, the play. What must stay true: equal plans give equal traces, in every process; a run
 * never throws, whatever went wrong is a violation.
 */
import type { OpeningHandlers } from "../../src/client/ClientPlatform.ts";
import type { Codecs } from "../../src/record/Compression.ts";
import { HistoryRecorder, type Op } from "../testing/History.ts";
import { Play, type Theatre } from "../testing/Play.ts";
import type { Plan, ScenarioFaultKind } from "../testing/Scenario.ts";
import { type Machine, Stage } from "../testing/Stage.ts";
import { Faults } from "./Faults.ts";
import { connectFrames } from "./FramesOverNetwork.ts";
import { DATA, GATEWAY_PORT, startSimulatedBroker } from "./SimulatedBroker.ts";
import type { SimulatedDisk } from "./SimulatedDisk.ts";
import { type SimulatedProcess, Simulation } from "./Simulation.ts";

export interface RunOptions {
  readonly codecs: Codecs;
  /** Keep every line of the trace. */
  readonly keepTrace?: boolean;
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
    world.run(async () => {
      theatre.open();
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
  generations = 0;
  private readonly operator: SimulatedProcess;
  private readonly disk: SimulatedDisk;
  private broker: SimulatedProcess | undefined;
  /** Clients' machines by host: whom client faults hit. */
  private readonly clients = new Map<string, SimulatedProcess>();
  private finishing = false;
  private readonly breaking = Promise.withResolvers<never>();

  constructor(
    private readonly world: Simulation,
    private readonly plan: Plan,
    private readonly codecs: Codecs,
  ) {
    this.broken = this.breaking.promise;
    this.disk = world.makeDisk("disk", { pageBytes: plan.pageBytes });
    this.operator = world.process("operator", { disk: this.disk, host: "10.1.0.1" });
    this.faults = new Faults(world, this.operator, plan, {
      broker: () => this.broker,
      brokerHost: BROKER.host,
      clientHosts: plan.clients.map(({ id }) => `10.0.0.${id + 1}`),
      client: (host) => this.clients.get(host),
    });
    this.disk.beforeOperation = (operation) => this.faults.onDisk(operation);
  }

  get clock() {
    return this.operator.clock;
  }

  open(): void {
    this.operator.disk.makeDirectory(DATA);
    this.disk.settle();
    this.start();
  }

  close(): void {
    this.finishing = true;
  }

  machine(name: string, host: string): { readonly machine: Machine; readonly died: Promise<void> } {
    const { codecs } = this;
    const process = this.world.process(name, { host });
    this.clients.set(host, process);
    const { network, clock, random } = process;
    const died = new Promise<void>((resolve) => process.whenDead(resolve));
    const gateway = { host: BROKER.host, port: GATEWAY_PORT };
    const stream = () => ({
      clock,
      random,
      decompressor: async () => codecs.decompress,
      open: (_url: string, _protocols: ReadonlyArray<string>, handlers: OpeningHandlers) =>
        connectFrames(network, gateway, handlers),
    });
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
    if (this.broker?.alive !== true) return;
    this.broker.powerCut("lost");
  }

  /** Starts a broker, and another one whenever it dies. */
  private start(): void {
    const { world, plan, codecs } = this;
    const machine = world.process(`broker-${this.generations++}`, { disk: this.disk });
    this.broker = machine;
    const errorsBefore = this.faults.diskErrors;
    machine.whenDead(() => {
      if (!this.finishing) this.operator.clock.after(RESTART_MS, () => this.start());
    });
    const gateway = plan.clients.some(({ kind }) => kind.startsWith("stream"));
    startSimulatedBroker(machine, { codecs, gateway, settings: plan.settings, fatal: () => machine.kill() }).catch(
      (error: unknown) => {
        if (!machine.alive) return;
        const text = error instanceof Error ? error.message : String(error);
        machine.note(`does not start: ${text}`);
        // A disk that fails at the start ends the process, and somebody starts it again.
        if (this.faults.diskErrors > errorsBefore) machine.kill();
        else this.breaking.reject(new Error(`the broker does not start: ${text}`));
      },
    );
  }
}
