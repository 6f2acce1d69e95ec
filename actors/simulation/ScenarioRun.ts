/**
 * One run of a plan: a safety phase under faults, then the heal and a liveness phase, then fresh readers before and after
 * a last power cut, and the verdict of the checker and of our invariants. What must stay true: equal plans give equal
 * traces, in every process; a run never throws, whatever went wrong is a violation.
 */
import type { Codecs } from "../../src/record/Compression.ts";
import { type Anomaly, checkTwice } from "../testing/ConsistencyChecker.ts";
import { HistoryRecorder, type Op } from "../testing/History.ts";
import { LATEST } from "../testing/KafkaClient.ts";
import { Faults } from "./Faults.ts";
import type { FaultKind, Plan } from "./Scenario.ts";
import { DATA, startSimulatedBroker } from "./SimulatedBroker.ts";
import { type SimulatedProcess, Simulation } from "./Simulation.ts";
import { BROKER, makeClient, Reader, runClient, type Stage, sendBatch, startProducer, TOPIC } from "./Workloads.ts";

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
  readonly faults: ReadonlyMap<FaultKind, number>;
  /** `buggify` marks that were asked and how often each fired. */
  readonly marks: ReadonlyMap<string, number>;
}

const RESTART_MS = 200;
/** Witnesses told per anomaly. */
const TOLD = 3;
/** Virtual milliseconds in which a waiting fetch must have what was acknowledged. */
const WAKE_MS = 1000;

export const runPlan = (plan: Plan, options: RunOptions): RunResult => {
  const world = new Simulation({
    seed: `${plan.scenario} ${plan.seed}`,
    maxTimeMs: 3_600_000,
    maxSteps: 2_000_000,
    keepTrace: options.keepTrace ?? false,
    network: plan.network,
  });
  const recorder = new HistoryRecorder(() => world.clock.now);
  const violations: string[] = [];
  const stage: Stage = {
    world,
    plan,
    codecs: options.codecs,
    recorder,
    violations: {
      push: (...lines) => {
        violations.push(...lines);
        for (const line of lines) world.trace.add(`VIOLATION ${line}`);
      },
    },
    keyOf: new Map(),
    producerIds: new Set(),
    topics: new Map(),
    producersDone: false,
    nextValue: 1,
  };
  const run = new ScenarioRun(stage);
  try {
    world.run(() => run.play());
  } catch (error) {
    stage.violations.push(`the run ended: ${error instanceof Error ? error.message.split("\n", 1)[0] : String(error)}`);
  }
  if (run.complete) stage.violations.push(...judged(recorder.ops));
  return {
    plan,
    violations: [...new Set(violations)],
    hash: world.trace.hash,
    trace: world.trace.lines,
    simulatedMs: world.clock.now,
    tasks: world.steps,
    operations: recorder.ops.length,
    brokers: run.generations,
    faults: run.faults.counts,
    marks: world.marks,
  };
};

/** What the checker finds, a line per witness. */
const judged = (history: ReadonlyArray<Op>): string[] => {
  const { bad, errors } = checkTwice(history, "assign");
  return bad.flatMap((name: Anomaly) => {
    const witnesses = errors[name] ?? [];
    const lines = witnesses.slice(0, TOLD).map((witness) => `${name}: ${JSON.stringify(witness)}`);
    return witnesses.length > TOLD ? [...lines, `${name}: and ${witnesses.length - TOLD} more`] : lines;
  });
};

class ScenarioRun {
  readonly faults: Faults;
  generations = 0;
  /** Everybody finished and the fresh readers read: the history can be judged. */
  complete = false;
  private readonly operator: SimulatedProcess;
  private broker: SimulatedProcess | undefined;
  private finishing = false;
  private readonly disk;
  private readonly broken = Promise.withResolvers<never>();

  constructor(private readonly stage: Stage) {
    const { world, plan } = stage;
    this.disk = world.makeDisk("disk", { pageBytes: plan.pageBytes });
    this.operator = world.process("operator", { disk: this.disk, host: "10.1.0.1" });
    this.faults = new Faults(world, this.operator, plan, {
      broker: () => this.broker,
      brokerHost: BROKER.host,
      clientHosts: plan.clients.map(({ id }) => `10.0.0.${id + 1}`),
    });
    this.disk.beforeOperation = (operation) => this.faults.onDisk(operation);
  }

  async play(): Promise<void> {
    this.operator.disk.makeDirectory(DATA);
    this.disk.settle();
    this.start();
    this.broken.promise.catch(() => {});
    await this.orBroken(this.phases());
  }

  private async phases(): Promise<void> {
    const { stage, operator } = this;
    const { world, plan } = stage;
    const setup = makeClient(stage, world.process("setup", { host: "10.1.0.2" }));
    await setup.createTopic(TOPIC, { partitions: plan.partitions, configs: plan.topicConfigs, orExists: true });
    setup.close();
    this.faults.start();
    const waiting = new Set(plan.clients.map(({ id, kind }) => `${kind} client ${id}`));
    const work = plan.clients.map(async (client) => {
      const machine = world.process(`client-${client.id}`, { host: `10.0.0.${client.id + 1}` });
      await runClient(stage, client, machine);
      waiting.delete(`${client.kind} client ${client.id}`);
    });
    const producers = work.filter((_, index) => plan.clients[index]!.kind !== "consumer");
    const producing = Promise.all(producers).then(() => {
      stage.producersDone = true;
    });
    const all = Promise.all([producing, ...work]);
    all.catch(this.broken.reject);
    await this.sleep(plan.safetyMs);
    world.trace.add("heal");
    this.faults.end();
    const inTime = await Promise.race([all.then(() => true), this.sleep(plan.livenessMs).then(() => false)]);
    if (!inTime) {
      stage.violations.push(`liveness: ${[...waiting].join(", ")} not done ${plan.livenessMs} ms after the heal`);
      return;
    }
    for (let key = 0; key < plan.partitions; key++) await this.wake(key);
    await this.readEverything("before the last cut");
    this.finishing = true;
    this.broker?.powerCut("lost");
    this.finishing = false;
    this.start();
    await this.readEverything("after the last cut");
    await this.checkTopics();
    this.finishing = true;
    operator.note("done");
    this.complete = true;
  }

  /** Starts a broker, and another one whenever it dies. */
  private start(): void {
    const { stage } = this;
    const { world, plan } = stage;
    const machine = world.process(`broker-${this.generations++}`, { disk: this.disk });
    this.broker = machine;
    const errorsBefore = this.faults.diskErrors;
    machine.whenDead(() => {
      if (!this.finishing) this.operator.clock.after(RESTART_MS, () => this.start());
    });
    startSimulatedBroker(machine, {
      codecs: stage.codecs,
      settings: plan.settings,
      fatal: () => machine.kill(),
    }).catch((error: unknown) => {
      if (!machine.alive) return;
      const text = error instanceof Error ? error.message : String(error);
      machine.note(`does not start: ${text}`);
      // A disk that fails at the start ends the process, and somebody starts it again.
      if (this.faults.diskErrors > errorsBefore) machine.kill();
      else this.broken.reject(new Error(`the broker does not start: ${text}`));
    });
  }

  private orBroken<A>(work: Promise<A>): Promise<A> {
    return Promise.race([work, this.broken.promise]);
  }

  private sleep(ms: number): Promise<void> {
    return new Promise((resolve) => this.operator.clock.after(ms, resolve));
  }

  private fresh(name: string, requestTimeoutMs?: number): Reader {
    const { stage } = this;
    const machine = stage.world.process(name, { host: `10.1.1.${stage.recorder.ops.length % 250}` });
    return new Reader(stage, makeClient(stage, machine, requestTimeoutMs), stage.recorder.newProcess());
  }

  /** A fetch that waits at the end has what is produced meanwhile, long before its time is over. */
  private async wake(key: number): Promise<void> {
    const { stage, operator } = this;
    const reader = this.fresh(`waiter ${key}`, 10_000);
    await this.readTo(reader, key);
    const polling = reader.poll(key, 5000);
    let answeredAt = 0;
    const answered = polling.then(() => {
      answeredAt = operator.clock.monotonic();
    });
    await this.sleep(100);
    const writer = makeClient(stage, stage.world.process(`waker ${key}`, { host: "10.1.0.3" }));
    const producer = await startProducer(stage, writer, { deliveryTimeoutMs: 10_000, retryBackoffMs: 20 });
    const random = stage.world.random.fork(`wake ${key}`);
    const outcome = await sendBatch(stage, producer, stage.recorder.newProcess(), key, random);
    if (outcome.type !== "ok")
      stage.violations.push(`liveness: a send after the heal ended as ${JSON.stringify(outcome)}`);
    const acked = operator.clock.monotonic();
    const fetched = await polling;
    await answered;
    if (fetched === undefined) stage.violations.push(`liveness: a waiting fetch of ${key} got no answer`);
    else if (fetched.records.length === 0 || answeredAt - acked > WAKE_MS)
      stage.violations.push(`liveness: a waiting fetch of ${key} was not woken`);
    writer.close();
    reader.client.close();
  }

  private async readTo(reader: Reader, key: number): Promise<void> {
    const end = (await reader.client.listOffset(TOPIC, key, LATEST)).offset;
    while (reader.position(key) < end) {
      const fetched = await reader.poll(key, 100);
      if (fetched === undefined) await reader.client.sleep(50);
    }
  }

  private async readEverything(when: string): Promise<void> {
    const { stage } = this;
    const { partitions, livenessMs } = stage.plan;
    const reader = this.fresh(`reader ${when}`);
    const keys = Array.from({ length: partitions }, (_, key) => key);
    reader.assign(keys);
    const reading = (async () => {
      for (const key of keys) await this.readTo(reader, key);
      return true;
    })();
    const done = await Promise.race([reading, this.sleep(livenessMs).then(() => false)]);
    if (!done) throw new Error(`not everything could be read ${when}`);
    reader.client.close();
  }

  /** Topics whose creation or deletion was acknowledged, as a fresh client sees them. */
  private async checkTopics(): Promise<void> {
    const { stage } = this;
    if (stage.topics.size === 0) return;
    const client = makeClient(stage, stage.world.process("auditor", { host: "10.1.0.4" }));
    const metadata = await client.metadata(null);
    const listed = new Set(metadata.topics.map(({ name }) => name));
    for (const [name, must] of stage.topics) {
      if (must === true && !listed.has(name))
        stage.violations.push(`topic ${name} is lost: its creation was acknowledged`);
      if (must === false && listed.has(name))
        stage.violations.push(`topic ${name} came back: its deletion was acknowledged`);
    }
    client.close();
  }
}
