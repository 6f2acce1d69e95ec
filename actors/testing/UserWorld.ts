/**
 * The world of `simulate`: a broker that is started again whenever it dies, a user's programs on machines of their own,
 * and the faults that were asked for. Loaded only under Bun, and only when a world is asked for.
 */
import type { ClientPlatform } from "../../src/client/ClientPlatform.ts";
import { loadBrokerConfig } from "../../src/config/LoadBrokerConfig.ts";
import { makeBunCodecs } from "../../src/platform/BunCodecs.ts";
import { Faults } from "../simulation/Faults.ts";
import { LastingBroker } from "../simulation/LastingBroker.ts";
import { POWER_CUTS, type PowerCut } from "../simulation/PowerCut.ts";
import type { SeededRandom } from "../simulation/SeededRandom.ts";
import { DATA } from "../simulation/SimulatedBroker.ts";
import type { SimulatedDisk } from "../simulation/SimulatedDisk.ts";
import { type SimulatedProcess, Simulation, SimulationError } from "../simulation/Simulation.ts";
import { streamPlatform } from "../simulation/StreamPlatform.ts";
import { type ClientOptions, KafkaClient, LATEST } from "./KafkaClient.ts";
import { RecordedHistory } from "./RecordedHistory.ts";
import { FAULT_KINDS, ORDINARY_FAULTS, type ScenarioFault } from "./Scenario.ts";
import {
  type Simulated,
  type SimulatedFault,
  type SimulatedFaultKind,
  type SimulatedFaultOptions,
  type SimulatedMachine,
  type SimulatedWorld,
  type SimulateOptions,
  SimulationFailure,
} from "./Simulate.ts";

const BROKER = { host: "127.0.0.1", port: 9092 };
const RESTART_MS = 200;
const HOUR_MS = 3_600_000;
const FAULTS = 20;
const WITHIN_MS = 2000;
/** Anomalies told. */
const TOLD = 5;

export const runScenario = <A>(
  scenario: (world: SimulatedWorld) => Promise<A>,
  options: SimulateOptions,
): Simulated<A> => {
  const { seed } = options;
  const simulation = new Simulation({
    seed,
    maxTimeMs: options.maxTimeMs ?? HOUR_MS,
    keepTrace: options.trace ?? false,
    network: { latencyMs: options.latencyMs ?? 1, resetChance: 0 },
    buggify: options.faults !== undefined,
  });
  const world = new UserWorld(simulation, options);
  const failure = (message: string, cause?: unknown): SimulationFailure =>
    new SimulationFailure(message, seed, simulation.trace.lines, { cause });
  let value: A;
  try {
    value = simulation.run(() => world.play(scenario));
  } catch (error) {
    if (error instanceof SimulationFailure) throw error;
    // The seed is said once.
    const text = error instanceof Error ? error.message : String(error);
    throw failure(error instanceof SimulationError ? text.replace(/^seed [^:]*: /, "") : text, error);
  }
  const { bad, errors } = world.history.check();
  if (options.check !== false && bad.length > 0) {
    const lines = bad.flatMap((name) => (errors[name] ?? []).map((witness) => `  ${name}: ${JSON.stringify(witness)}`));
    throw failure(`the history has anomalies\n${lines.slice(0, TOLD).join("\n")}`);
  }
  return {
    seed,
    value,
    simulatedMs: simulation.clock.now,
    faults: Object.fromEntries(world.faultCounts),
    hash: simulation.trace.hash,
    trace: simulation.trace.lines,
  };
};

class UserWorld implements SimulatedWorld {
  readonly seed: number | string;
  readonly random: SeededRandom;
  readonly history: RecordedHistory;
  readonly broker;
  private readonly operator: SimulatedProcess;
  private readonly disk: SimulatedDisk;
  private readonly lasting: LastingBroker;
  private readonly faults: Faults;
  /** The newest process of every service, by the machine's address: whom faults of clients hit. */
  private readonly services = new Map<string, SimulatedProcess>();
  /** Processes of machines and services that live. */
  private readonly begun = new Set<SimulatedProcess>();
  private machines = 0;
  private processes = 0;
  private ended = false;
  private readonly planned: ReadonlyArray<ScenarioFault>;

  constructor(
    private readonly simulation: Simulation,
    private readonly options: SimulateOptions,
  ) {
    this.seed = options.seed;
    this.random = simulation.random.fork("scenario");
    this.history = new RecordedHistory(() => simulation.clock.now);
    this.disk = simulation.makeDisk("disk");
    this.operator = simulation.process("operator", { disk: this.disk, host: "10.1.0.1" });
    this.planned = plannedFaults(options, simulation.random.fork("faults"));
    this.faults = new Faults(simulation, this.operator, this.planned, {
      broker: () => this.lasting.process,
      brokerHost: BROKER.host,
      clientHosts: () => [...this.services.keys()],
      client: (host) => this.services.get(host),
    });
    this.disk.beforeOperation = (operation) => this.faults.onDisk(operation);
    this.lasting = new LastingBroker(simulation, this.operator, this.disk, {
      codecs: makeBunCodecs(),
      settings: brokerSettings(options.config),
      gateway: true,
      restartMs: options.restartMs ?? RESTART_MS,
      diskErrors: () => this.faults.diskErrors,
    });
    this.broker = brokerControls(() => this.lasting.process);
  }

  get faultCounts(): ReadonlyMap<SimulatedFaultKind, number> {
    return this.faults.counts;
  }

  async play<A>(scenario: (world: SimulatedWorld) => Promise<A>): Promise<A> {
    this.operator.disk.makeDirectory(DATA);
    this.disk.settle();
    this.lasting.start();
    return Promise.race([this.perform(scenario), this.lasting.broken]);
  }

  private async perform<A>(scenario: (world: SimulatedWorld) => Promise<A>): Promise<A> {
    await this.createTopics();
    this.faults.start();
    // Some leave something broken behind that only an operator repairs.
    const over = Math.max(0, ...this.planned.map(({ atMs, forMs }) => atMs + forMs));
    if (this.planned.length > 0) this.operator.clock.after(over, () => this.faults.end());
    try {
      const value = await scenario(this);
      if (this.options.check !== false) await this.readEverything();
      return value;
    } finally {
      this.ended = true;
      this.lasting.close();
    }
  }

  /** What nobody has read is lost only if a last reader does not find it either. */
  private async readEverything(): Promise<void> {
    const places = this.history.written;
    if (places.length === 0) return;
    this.heal();
    const client = kafkaOn(this.simulation.process("last reader", { host: "10.1.0.3" }), {});
    const reader = this.history.consumer(client.consumer({ isolation: "read_committed", autoOffsetReset: "earliest" }));
    reader.assign(places);
    for (const { topic, partition } of places) {
      for (;;) {
        const { offset: stable } = await client.listOffset(topic, partition, LATEST, "read_committed");
        const { offset: end } = await client.listOffset(topic, partition, LATEST);
        if (stable === end && (reader.position({ topic, partition }) ?? 0) >= end) break;
        await reader.poll(100);
        // An open transaction is in the way: it will time out.
        if (stable !== end) await this.sleep(1000);
      }
    }
    client.close();
  }

  private async createTopics(): Promise<void> {
    const topics = this.options.topics ?? [];
    // Without a topic to wait for the first client waits for the broker.
    const setup = kafkaOn(this.simulation.process("setup", { host: "10.1.0.2" }), {});
    for (const topic of topics) {
      const { name, partitions = 1, config = {} } = typeof topic === "string" ? { name: topic } : topic;
      await setup.createTopic(name, { partitions, configs: settingsOf(config), orExists: true });
    }
    setup.close();
  }

  now(): number {
    return this.simulation.clock.now;
  }

  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => this.operator.clock.after(ms, resolve));
  }

  note(line: string): void {
    this.simulation.trace.add(line);
  }

  machine(name = `machine-${this.machines}`): SimulatedMachine {
    return this.begin(name, this.address());
  }

  private address(): string {
    const number = this.machines++;
    return `10.0.${number >> 8}.${number & 0xff}`;
  }

  private begin(name: string, host: string): Machine {
    const process = this.simulation.process(`${name} (${this.processes++})`, { host });
    process.whenDead(() => this.begun.delete(process));
    this.begun.add(process);
    return new Machine(name, process);
  }

  async service(name: string, program: (machine: SimulatedMachine) => Promise<void>): Promise<void> {
    const host = this.address();
    for (;;) {
      const machine = this.begin(name, host);
      this.services.set(host, machine.process);
      const ran = program(machine).then(
        () => "ended",
        (error: unknown) => {
          this.note(`${name} threw: ${error instanceof Error ? error.message : String(error)}`);
          return "threw";
        },
      );
      const how = await Promise.race([ran, machine.died.then(() => "died")]);
      if (how === "ended" || this.ended) break;
      // What a program leaves behind that threw ends with its process.
      machine.kill();
      await this.sleep(this.options.restartMs ?? RESTART_MS);
    }
    this.services.delete(host);
  }

  cut(machine: SimulatedMachine, way: "both" | "to" | "from" = "both"): void {
    const { host } = (machine as Machine).process;
    if (way !== "from") this.simulation.network.partition(host, BROKER.host);
    if (way !== "to") this.simulation.network.partition(BROKER.host, host);
  }

  heal(): void {
    this.faults.end();
    // What the scenario itself has cut or paused is no fault of the plan, whose end may be long past.
    this.simulation.network.heal();
    this.lasting.process?.resume();
    for (const process of this.begun) process.resume();
  }
}

class Machine implements SimulatedMachine {
  readonly died: Promise<void>;

  constructor(
    readonly name: string,
    readonly process: SimulatedProcess,
  ) {
    this.died = new Promise((resolve) => process.whenDead(resolve));
  }

  get isAlive(): boolean {
    return this.process.alive;
  }

  get stream(): ClientPlatform {
    return streamPlatform(this.process, makeBunCodecs(), BROKER.host);
  }

  kafka(options: Partial<ClientOptions> = {}): KafkaClient {
    return kafkaOn(this.process, { clientId: this.name, ...options });
  }

  wall(): number {
    return this.process.clock.wall();
  }

  now(): number {
    return this.process.clock.monotonic();
  }

  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => this.process.clock.after(ms, resolve));
  }

  kill(): void {
    this.process.kill();
  }

  pause(): void {
    this.process.pause();
  }

  resume(): void {
    this.process.resume();
  }
}

const kafkaOn = ({ network, clock, random }: SimulatedProcess, options: Partial<ClientOptions>): KafkaClient =>
  new KafkaClient({ network, clock, random, codecs: makeBunCodecs() }, { bootstrap: [BROKER], ...options });

const brokerControls = (broker: () => SimulatedProcess | undefined): SimulatedWorld["broker"] => ({
  get isAlive() {
    return broker()?.alive === true;
  },
  kill: () => broker()?.kill(),
  powerCut: (cut: PowerCut = "lost") => broker()?.powerCut(cut),
  pause: () => broker()?.pause(),
  resume: () => broker()?.resume(),
});

/** The broker's settings, with everything wrong about them told at once. */
const brokerSettings = (config: SimulateOptions["config"]): Record<string, string> => {
  const settings = settingsOf(config);
  const overrides = Object.entries(settings).map(([key, value]) => `${key}=${value}`);
  const { errors, warnings } = loadBrokerConfig({ overrides, overridesFrom: "simulate" });
  if (errors.length + warnings.length > 0) throw new Error([...errors, ...warnings].join("\n"));
  return settings;
};

const settingsOf = (config: Readonly<Record<string, string | number | boolean>> = {}): Record<string, string> => {
  for (const name of ["log.dirs", "log.dir", "listeners"])
    if (name in config) throw new Error(`simulate: ${name} is decided by the world`);
  return Object.fromEntries(Object.entries(config).map(([key, value]) => [key, String(value)]));
};

const plannedFaults = ({ faults }: SimulateOptions, random: SeededRandom): ScenarioFault[] => {
  if (faults === undefined) return [];
  const list = isList(faults) ? faults : drawFaults(faults, random);
  for (const { kind } of list) if (!FAULT_KINDS.includes(kind)) throw new RangeError(unknownKind(kind));
  return list.map((fault, id) => ({ ...fault, id }));
};

const isList = (
  faults: ReadonlyArray<SimulatedFault> | SimulatedFaultOptions,
): faults is ReadonlyArray<SimulatedFault> => Array.isArray(faults);

const unknownKind = (kind: string): string => `simulate: faults: ${kind} (allowed: ${FAULT_KINDS.join(", ")})`;

/** What a seed makes of what was asked for. */
const drawFaults = (
  { kinds = ORDINARY_FAULTS, count = FAULTS, withinMs = WITHIN_MS }: SimulatedFaultOptions,
  random: SeededRandom,
): SimulatedFault[] => {
  for (const kind of kinds) if (!FAULT_KINDS.includes(kind)) throw new RangeError(unknownKind(kind));
  const some = kinds.filter(() => random.chance(0.6));
  const known = some.length === 0 ? kinds : some;
  if (known.length === 0) return [];
  return Array.from({ length: count }, (): SimulatedFault => {
    const kind = random.pick(known);
    const cut = kind === "power cut" ? { cut: random.pick(POWER_CUTS) } : {};
    return { kind, atMs: random.below(withinMs), forMs: random.between(1, Math.ceil((2 * withinMs) / count)), ...cut };
  });
};
