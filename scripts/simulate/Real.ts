/**
 * The plays of the simulation against a real broker process: the same clients over TCP, the same checker and books, and a
 * broker that is killed with SIGKILL and stopped with SIGSTOP when the seed says so. What must stay true: nothing here
 * knows a scenario; a broker that ends by itself, or does not start again on its own data, ends the run as a violation.
 *
 * Time is real, so that a seed gives the same plan every time, and not the same run.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SeededRandom } from "../../actors/simulation/SeededRandom.ts";
import { HistoryRecorder } from "../../actors/testing/History.ts";
import { Play, type Theatre } from "../../actors/testing/Play.ts";
import { type Plan, planOf, type Scenario, type ScenarioFault } from "../../actors/testing/Scenario.ts";
import { SCENARIOS } from "../../actors/testing/Scenarios.ts";
import { type Machine, messageOf, Stage } from "../../actors/testing/Stage.ts";
import { makeBunClock } from "../../src/platform/BunClock.ts";
import { makeBunCodecs } from "../../src/platform/BunCodecs.ts";
import { makeBunNetwork } from "../../src/platform/BunNetwork.ts";
import type { Network, Socket } from "../../src/platform/Network.ts";
import { type Broker, type BrokerKind, startBroker } from "../../test/conformance/support/Brokers.ts";

/** What can be done to a real process and its clients' connections. */
const FAULTS = ["kill", "pause", "client reset"] as const;
/** A process that is started again takes longer than a simulated one. */
const WINDOW_MS = [500];
/** How often somebody looks whether the broker still runs. */
const LOOK_MS = 100;

/** Those whose clients speak Kafka's protocol. Old data has old times too: real clocks would have it expired. */
export const REAL_SCENARIOS: ReadonlyArray<Scenario> = SCENARIOS.filter(
  ({ clients, directory }) => directory === undefined && clients.every(({ kind }) => !kind.startsWith("stream")),
);

export interface RealRun {
  readonly scenario: string;
  readonly seed: number;
  /** Empty when all is well. */
  readonly violations: ReadonlyArray<string>;
  readonly seconds: number;
  readonly operations: number;
  readonly faults: Readonly<Record<string, number>>;
  readonly trace: ReadonlyArray<string>;
}

/** What a seed makes of a scenario where time is real. Every run meets every kind of fault. */
export const realPlanOf = (scenario: Scenario, seed: number): Plan => {
  // Here any request may be late (KAFKA-17754).
  const knobs = { ...scenario.knobs, transactionVersion: 2 } as const;
  const plan = planOf({ ...scenario, faults: [...FAULTS], windowMs: WINDOW_MS, knobs }, seed);
  // In turn: a broker that is killed again and again has no time to be stopped.
  const first = new SeededRandom(`real faults ${scenario.name} ${seed}`).below(FAULTS.length);
  return {
    ...plan,
    faults: plan.faults.map((fault, at) => ({ ...fault, kind: FAULTS[(first + at) % FAULTS.length]! })),
  };
};

export interface RealOptions {
  readonly kind?: BrokerKind;
  /** What becomes of the data directory while the broker is down: a test of the checkers breaks it. */
  readonly whileDown?: (dataDirectory: string) => void;
}

export const runReal = async (scenario: Scenario, seed: number, options: RealOptions = {}): Promise<RealRun> => {
  const { kind = "odradek", whileDown } = options;
  const plan = realPlanOf(scenario, seed);
  const directory = mkdtempSync(join(tmpdir(), "odradek-real-"));
  const began = performance.now();
  const now = (): number => performance.now() - began;
  const trace: string[] = [];
  const violations = new Set<string>();
  const note = (line: string): void => void trace.push(`${now().toFixed(1)} ${line}`);
  const violation = (line: string): void => {
    violations.add(line);
    note(`VIOLATION ${line}`);
  };
  const recorder = new HistoryRecorder(now);
  const random = new SeededRandom(`real ${plan.scenario} ${seed}`);
  const faults: Record<string, number> = {};
  let broker: Broker | undefined;
  try {
    const settings = kind === "odradek" ? { ...plan.settings, "http.listeners": "" } : kafkaSettings(plan.settings);
    broker = await startBroker(kind, join(directory, "broker"), settings);
    const theatre = new RealTheatre(broker, plan, random, note, faults, whileDown);
    const stage = new Stage(plan, { now, note, violation }, recorder, random.fork("stage"), [
      { host: broker.host, port: broker.port },
    ]);
    const play = new Play(stage, theatre);
    try {
      await play.play();
    } catch (error) {
      violation(`the run ended: ${messageOf(error)}`);
    }
    await theatre.close();
    if (play.complete) for (const line of play.verdict()) violation(line);
  } catch (error) {
    violation(`the run did not begin: ${messageOf(error)}`);
  } finally {
    await broker?.kill();
    rmSync(directory, { recursive: true, force: true });
  }
  return {
    scenario: plan.scenario,
    seed,
    violations: [...violations],
    seconds: now() / 1000,
    operations: recorder.ops.length,
    faults,
    trace,
  };
};

/** Without the keys that Kafka does not have. */
const kafkaSettings = ({ "log.flush.policy": _, ...settings }: Plan["settings"]): Record<string, string> => settings;

class RealTheatre implements Theatre {
  readonly clock = makeBunClock();
  readonly broken: Promise<never>;
  readonly wakeMs = 5000;
  private readonly network = makeBunNetwork();
  private readonly codecs = makeBunCodecs();
  private readonly breaking = Promise.withResolvers<never>();
  /** Sockets of each client machine. */
  private readonly sockets = new Map<string, Set<Socket>>();
  private readonly cancels: Array<() => void> = [];
  /** What is done to the process, one after the other. */
  private deeds: Promise<void> = Promise.resolve();
  private isRestarting = false;
  /** Ends the pause under way. */
  private resume = (): void => {};
  private ended = false;
  private closed = false;

  constructor(
    private readonly broker: Broker,
    private readonly plan: Plan,
    private readonly random: SeededRandom,
    private readonly note: (line: string) => void,
    private readonly counts: Record<string, number>,
    private readonly whileDown: RealOptions["whileDown"],
  ) {
    this.broken = this.breaking.promise;
    this.broken.catch(() => {});
    this.watch();
  }

  machine(name: string, host: string): { readonly machine: Machine; readonly died: Promise<void> } {
    const { clock, codecs } = this;
    const random = this.random.fork(`machine ${name}`);
    const platform = { network: this.networkOf(host), clock, random, codecs };
    const stream = (): never => {
      throw new Error("a client of the stream protocol plays in the simulation only");
    };
    return { machine: { name, platform, stream }, died: new Promise(() => {}) };
  }

  beginFaults(): void {
    for (const fault of this.plan.faults) {
      this.later(fault.atMs, () => {
        if (!this.ended) this.begin(fault);
      });
    }
  }

  endFaults(): void {
    this.ended = true;
    for (const cancel of this.cancels.splice(0)) cancel();
    this.resume();
  }

  crash(): void {
    this.deeds = this.deeds.then(() => this.restart());
  }

  /** Whatever is under way comes to its end; the broker runs on or is gone. */
  async close(): Promise<void> {
    this.endFaults();
    this.closed = true;
    await this.deeds;
  }

  private later(ms: number, task: () => void): void {
    this.cancels.push(this.clock.after(ms, task));
  }

  private begin({ id, kind, forMs }: ScenarioFault): void {
    this.note(`fault ${id}: ${kind} for ${forMs} ms`);
    if (kind === "client reset") {
      const clients = [...this.sockets.keys()];
      if (clients.length === 0) return;
      this.count(kind);
      for (const socket of [...this.sockets.get(this.random.fork(`fault ${id}`).pick(clients))!]) socket.destroy();
      return;
    }
    // One after the other: a start takes as long as it takes.
    this.deeds = this.deeds.then(async () => {
      if (this.ended) return;
      this.count(kind);
      await (kind === "kill" ? this.restart() : this.pause(forMs));
    });
  }

  private count(kind: string): void {
    this.counts[kind] = (this.counts[kind] ?? 0) + 1;
  }

  /** SIGSTOP, and SIGCONT when its time is over or the heal comes. */
  private async pause(forMs: number): Promise<void> {
    const { pid } = this.broker;
    process.kill(pid, "SIGSTOP");
    await new Promise<void>((resolve) => {
      this.resume = resolve;
      this.clock.after(forMs, resolve);
    });
    process.kill(pid, "SIGCONT");
  }

  private async restart(): Promise<void> {
    this.isRestarting = true;
    try {
      await this.broker.kill();
      this.whileDown?.(this.broker.dataDirectory);
      await this.broker.start();
      this.note(`the broker is process ${this.broker.pid}`);
    } catch (error) {
      this.breaking.reject(error);
    } finally {
      this.isRestarting = false;
    }
  }

  /** A broker that ends by itself has a bug, whatever else is well. */
  private watch(): void {
    this.clock.after(LOOK_MS, () => {
      if (this.closed) return;
      try {
        if (!this.isRestarting) process.kill(this.broker.pid, 0);
        this.watch();
      } catch {
        this.breaking.reject(new Error(`the broker ended by itself:\n${this.broker.log().slice(-2000)}`));
      }
    });
  }

  /** A port whose sockets can be told apart by the machine they are of. */
  private networkOf(host: string): Network {
    let sockets = this.sockets.get(host);
    // Machines of the play itself are nobody's victims.
    if (sockets === undefined) sockets = new Set();
    if (host.startsWith("10.0.0.")) this.sockets.set(host, sockets);
    const own = sockets;
    return {
      listen: (endpoint, accept) => this.network.listen(endpoint, accept),
      connect: (endpoint, handlers) =>
        Promise.resolve(
          this.network.connect(endpoint, {
            onData: (socket, chunk) => handlers.onData(socket, chunk),
            onDrain: (socket) => handlers.onDrain(socket),
            onClose: (socket, error) => {
              own.delete(socket);
              handlers.onClose(socket, error);
            },
          }),
        ).then((socket) => {
          own.add(socket);
          return socket;
        }),
    };
  }
}
