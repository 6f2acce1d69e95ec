/**
 * `testBroker`: a whole broker for one test, speaking the real protocol on a port of its own. It owns nothing but the
 * broker's name in the test; where the broker runs (this process under Bun, a child of it under Node) is the host's
 * business. What must stay true: when `testBroker` resolves, every topic asked for can be produced to at once.
 */
import { resolve } from "node:path";
import { MortalClock } from "../MortalClock.ts";
import type { PowerCut } from "../simulation/PowerCut.ts";
import type { HostDisk, HostEvents, HostedBroker, HostOptions } from "./BrokerHost.ts";
import { type FaultOptions, type InjectedFault, planFaults, SPARED_CLIENT_ID } from "./FaultDecisions.ts";
import { type ClientOptions, KafkaClient } from "./KafkaClient.ts";
import type { ClientPlatform } from "./KafkaConnection.ts";
import { checkNames, checkSettings, checkTopic, checkTopics, shown } from "./Options.ts";

export type { PowerCut } from "../simulation/PowerCut.ts";

export type LogLevel = "info" | "warn" | "error";

export interface TestTopic {
  readonly name: string;
  /** Default 1. */
  readonly partitions?: number;
  /** Settings of the topic by Kafka's names, such as `cleanup.policy`. */
  readonly config?: Readonly<Record<string, string | number | boolean>>;
}

export interface TestBrokerOptions {
  /**
   * Settings of the broker by the names of `server.properties`, over the built-in values. `log.dirs` is not among them
   * (see `disk`); `listeners` is `PLAINTEXT://127.0.0.1:0` unless said otherwise: any free port. For HTTP and WebSockets
   * add `"http.listeners": "http://127.0.0.1:0"`.
   */
  readonly config?: Readonly<Record<string, string | number | boolean>>;
  /** Topics that are there, and can be produced to, when the broker is ready. */
  readonly topics?: ReadonlyArray<string | TestTopic>;
  /**
   * `"memory"` (default): the fastest, and the only one whose power can be cut. `"temporary"`: real files in a directory
   * that goes with the broker. `{ directory }`: real files that stay.
   */
  readonly disk?: "memory" | "temporary" | { readonly directory: string };
  /** The cluster id of an empty disk (default: a random one). */
  readonly clusterId?: string;
  /**
   * Things go wrong, as they can for any client of Kafka, and the seed says which and when. A seed alone takes every kind
   * at its usual rate.
   */
  readonly faults?: number | string | FaultOptions;
  /** Every line the broker logs. Without it nothing is printed; `TestBroker.log` has the last lines either way. */
  readonly log?: (level: LogLevel, message: string) => void;
}

export interface TestBroker extends AsyncDisposable {
  /** `host:port`, as `bootstrap.servers` wants it. */
  readonly bootstrap: string;
  readonly host: string;
  readonly port: number;
  readonly clusterId: string;
  /** Where HTTP and WebSockets are served, as `http://127.0.0.1:PORT`, when `http.listeners` was set. */
  readonly http: string | undefined;
  /** Where the data is; undefined: in memory. */
  readonly directory: string | undefined;
  /** The last lines the broker logged, oldest first, at most 1,000. */
  readonly log: ReadonlyArray<string>;
  /** Creates a topic; resolves when it can be produced to. Rejects with a `KafkaError`. */
  createTopic(topic: string | TestTopic): Promise<void>;
  /** A client of this library for this broker. The test broker closes it when it is disposed of. */
  client(options?: Partial<ClientOptions>): KafkaClient;
  /** Stops it in order, as SIGTERM does. It can be started again. */
  stop(): Promise<void>;
  /** kill -9: connections are gone, what was written is there after a restart. It stays down until `restart`. */
  crash(): Promise<void>;
  /**
   * The machine loses its power: what was not flushed is lost (`"lost"`, the default), or in part (`"torn"`,
   * `"reordered"`, `"mixed"`), or had just been written (`"kept"`). Only of a disk in memory. It stays down until
   * `restart`.
   */
  powerCut(cut?: PowerCut): Promise<void>;
  /** Starts it again with the same data on the same port; a running one is stopped in order first. */
  restart(): Promise<void>;
  /** The faults injected so far, oldest first. */
  readonly faultLog: ReadonlyArray<InjectedFault>;
  /** The seed and every fault, a line each: what to print when a test fails. */
  faultReport(): string;
  /** No more faults from now on; resolves when the broker is up. For the last part of a test, in which everything must finish. */
  heal(): Promise<void>;
}

const LOG_LINES = 1000;

/**
 * Starts a broker for a test and answers when it is ready.
 *
 * ```ts
 * await using broker = await testBroker({ topics: ["orders"] });
 * const kafka = new Kafka({ brokers: [broker.bootstrap] });
 * ```
 *
 * Rejects with one clear line per problem when a setting is wrong, a port taken or a directory in use.
 */
export const testBroker = async (options: TestBrokerOptions = {}): Promise<TestBroker> => {
  check(options);
  const lines: string[] = [];
  const log = (level: LogLevel, message: string): void => {
    lines.push(`${level} ${message}`);
    if (lines.length > LOG_LINES) lines.shift();
    options.log?.(level, message);
  };
  const faults = options.faults === undefined ? undefined : planFaults(options.faults);
  const faultLog: InjectedFault[] = [];
  const hosted = await host(
    { config: settingsOf(options.config), disk: diskOf(options.disk), clusterId: options.clusterId, faults },
    { log, fault: (fault) => faultLog.push(fault) },
  );
  const broker = new RunningTestBroker(hosted, await clientPlatform(), lines, faults?.seed, faultLog);
  try {
    if (options.topics !== undefined) await broker.createTopics(options.topics);
  } catch (error) {
    await broker[Symbol.asyncDispose]();
    throw error;
  }
  return broker;
};

const OPTIONS: Record<keyof TestBrokerOptions, true> = {
  config: true,
  topics: true,
  disk: true,
  clusterId: true,
  faults: true,
  log: true,
};

const check = (options: TestBrokerOptions): void => {
  checkNames("testBroker", options, OPTIONS);
  const { topics, config, disk, clusterId, log } = options;
  checkTopics("testBroker: topics", topics);
  checkSettings("testBroker: config", config);
  // Anything else would be a place on this machine's own disk that nobody has named.
  const named =
    typeof disk === "object" && disk !== null && typeof disk.directory === "string" && disk.directory !== "";
  if (!(disk === undefined || disk === "memory" || disk === "temporary" || named)) {
    throw new TypeError(`testBroker: disk is ${shown(disk)} (allowed: "memory", "temporary" or { directory })`);
  }
  if (!(clusterId === undefined || (typeof clusterId === "string" && clusterId !== ""))) {
    throw new TypeError(`testBroker: clusterId is ${shown(clusterId)} (allowed: a text)`);
  }
  if (!(log === undefined || typeof log === "function")) {
    throw new TypeError(`testBroker: log is ${shown(log)} (allowed: a function)`);
  }
};

/** The build for Node makes `process.versions.bun` a constant: nothing of Bun's is in it. */
const host = async (options: HostOptions, tell: HostEvents): Promise<HostedBroker> => {
  if (process.versions.bun !== undefined) return (await import("./InProcessBroker.ts")).startInProcess(options, tell);
  return (await import("./ChildBroker.ts")).startChild(options, tell);
};

const clientPlatform = async (): Promise<ClientPlatform> => {
  if (process.versions.bun !== undefined) return (await import("../../src/platform/BunPlatform.ts")).makeBunPlatform();
  return (await import("../../src/platform/NodePlatform.ts")).makeNodePlatform();
};

const settingsOf = (config: TestBrokerOptions["config"] = {}): Record<string, string> => {
  if ("log.dirs" in config || "log.dir" in config) {
    throw new Error('testBroker: log.dirs is decided by `disk`: "memory", "temporary" or { directory }');
  }
  return Object.fromEntries(Object.entries(config).map(([key, value]) => [key, String(value)]));
};

const diskOf = (disk: TestBrokerOptions["disk"] = "memory"): HostDisk =>
  // A child may have another working directory.
  typeof disk === "object" ? { directory: resolve(disk.directory) } : disk;

class RunningTestBroker implements TestBroker {
  private readonly clients = new Map<KafkaClient, MortalClock>();

  constructor(
    private readonly hosted: HostedBroker,
    private readonly platform: ClientPlatform,
    readonly log: ReadonlyArray<string>,
    private readonly seed: string | undefined,
    readonly faultLog: ReadonlyArray<InjectedFault>,
  ) {}

  get host(): string {
    return this.hosted.address.host;
  }
  get port(): number {
    return this.hosted.address.port;
  }
  get bootstrap(): string {
    return `${this.host.includes(":") ? `[${this.host}]` : this.host}:${this.port}`;
  }
  get clusterId(): string {
    return this.hosted.address.clusterId;
  }
  get http(): string | undefined {
    return this.hosted.address.http;
  }
  get directory(): string | undefined {
    return this.hosted.address.directory;
  }

  async createTopic(topic: string | TestTopic): Promise<void> {
    checkTopic("createTopic", topic);
    return this.createTopics([topic]);
  }

  /** With a client of its own, which is gone afterwards: it must not keep a process alive. */
  async createTopics(topics: ReadonlyArray<string | TestTopic>): Promise<void> {
    const admin = this.client({ clientId: SPARED_CLIENT_ID, retryBackoffMs: 10 });
    try {
      for (const topic of topics) {
        const { name, partitions = 1, config = {} } = typeof topic === "string" ? { name: topic } : topic;
        const configs = Object.fromEntries(Object.entries(config).map(([key, value]) => [key, String(value)]));
        await admin.createTopic(name, { partitions, configs });
      }
    } finally {
      this.end(admin);
    }
  }

  client(options: Partial<ClientOptions> = {}): KafkaClient {
    const clock = new MortalClock(this.platform.clock);
    const client = new KafkaClient(
      { ...this.platform, clock },
      { bootstrap: [{ host: this.host, port: this.port }], ...options },
    );
    this.clients.set(client, clock);
    return client;
  }

  stop(): Promise<void> {
    return this.hosted.stop();
  }

  crash(): Promise<void> {
    return this.hosted.crash();
  }

  powerCut(cut: PowerCut = "lost"): Promise<void> {
    return this.hosted.powerCut(cut);
  }

  restart(): Promise<void> {
    return this.hosted.restart();
  }

  faultReport(): string {
    if (this.seed === undefined) return "no faults were asked for";
    const lines = this.faultLog.map(
      ({ kind, api, connection, request, clientId, what }) =>
        `  ${kind}: ${api} (connection ${connection}, request ${request}, client ${clientId}): ${what}`,
    );
    return [`faults from seed ${this.seed}: ${lines.length}`, ...lines].join("\n");
  }

  heal(): Promise<void> {
    return this.hosted.heal();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const client of [...this.clients.keys()]) this.end(client);
    await this.hosted.dispose();
  }

  private end(client: KafkaClient): void {
    client.close();
    // Whoever waits to try again tries now, and hears that the client is closed.
    for (const task of this.clients.get(client)?.end() ?? []) task();
    this.clients.delete(client);
  }
}
