/**
 * Hosts the one broker of a `testBroker` inside this process: starts it, stops it in order, kills it, cuts its power and
 * starts it again on the same data and the same ports. It owns the disk, which outlives the broker's lives. What must
 * stay true: one change of state at a time; an acknowledged record is there after every restart; after `dispose`
 * nothing is left, neither socket, timer and file nor, where the host made it, directory.
 */
import * as Effect from "effect/Effect";
import type { BrokerConfig } from "../../src/config/BrokerConfig.ts";
import { loadBrokerConfig } from "../../src/config/LoadBrokerConfig.ts";
import type { HttpServer } from "../../src/platform/HttpServer.ts";
import type { Endpoint } from "../../src/platform/Network.ts";
import { type Broker, type Platform, startBroker } from "../Broker.ts";
import { BrokerLife } from "../BrokerLife.ts";
import type { PowerCut } from "../simulation/PowerCut.ts";
import { SeededRandom } from "../simulation/SeededRandom.ts";
import { SimulatedDisk } from "../simulation/SimulatedDisk.ts";
import type { FaultPlan, InjectedFault } from "./FaultDecisions.ts";
import { FaultInjector, type FaultLevers } from "./FaultInjector.ts";

/** Where a test broker's data is: in memory, in a directory that goes with the broker, or in one that stays. */
export type HostDisk = "memory" | "temporary" | { readonly directory: string };

export interface HostOptions {
  /** Settings by Kafka's names. */
  readonly config: Readonly<Record<string, string>>;
  readonly disk: HostDisk;
  readonly clusterId?: string | undefined;
  readonly faults?: FaultPlan | undefined;
}

export interface TemporaryDirectory {
  readonly path: string;
  remove(): void;
}

/** What the host needs of the machine. */
export interface HostServices {
  readonly platform: Platform;
  readonly httpServer: HttpServer;
  readonly sha256: (bytes: Uint8Array) => Uint8Array;
  readonly temporaryDirectory: () => TemporaryDirectory;
  readonly tell: HostEvents;
}

/** What whoever asked for the broker is told while it runs. */
export interface HostEvents {
  readonly log: (level: "info" | "warn" | "error", message: string) => void;
  readonly fault: (fault: InjectedFault) => void;
}

/** What a started broker is known by. */
export interface HostAddress {
  readonly host: string;
  readonly port: number;
  readonly clusterId: string;
  /** Where HTTP and WebSockets are served; undefined: nowhere. */
  readonly http: string | undefined;
  /** Where the data is; undefined: in memory. */
  readonly directory: string | undefined;
}

/** A broker under test, wherever it runs. Every call resolves when it is done. */
export interface HostedBroker {
  readonly address: HostAddress;
  stop(): Promise<void>;
  crash(): Promise<void>;
  powerCut(cut: PowerCut): Promise<void>;
  restart(): Promise<void>;
  /** No more faults; a restart under way is waited for. */
  heal(): Promise<void>;
  dispose(): Promise<void>;
}

/** The folder of a broker in memory. */
const MEMORY_FOLDER = "/data";
/** A port that was ours a moment ago may still be taken: by a socket that is on its way out. */
const PORT_PATIENCE_MS = 2000;
const PORT_RETRY_MS = 10;

export class BrokerHost implements HostedBroker {
  private readonly settings: Record<string, string>;
  private readonly platter: SimulatedDisk | undefined;
  private readonly temporary: TemporaryDirectory | undefined;
  private readonly random: SeededRandom;
  private readonly injector: FaultInjector | undefined;
  private life: BrokerLife | undefined;
  private broker: Broker | undefined;
  /** The life that an injected crash is about to end. */
  private falling: BrokerLife | undefined;
  private lives = 0;
  private known: HostAddress | undefined;
  /** The change of state under way: the next one waits for it. */
  private busy: Promise<void> = Promise.resolve();
  private disposed = false;

  private constructor(
    private readonly options: HostOptions,
    private readonly services: HostServices,
  ) {
    const { disk } = options;
    this.random = new SeededRandom(options.faults?.seed ?? services.platform.random.below(0x1_0000_0000));
    this.injector = options.faults && new FaultInjector(options.faults, this.levers());
    if (disk === "memory") {
      // Answers at once: what waits for a flush is as durable as on a real disk and waits no time.
      this.platter = new SimulatedDisk({ random: this.random, pendingChance: 0, pageBytes: 4096 });
    } else if (disk === "temporary") {
      this.temporary = services.temporaryDirectory();
    }
    this.settings = {
      listeners: "PLAINTEXT://127.0.0.1:0",
      "http.listeners": "",
      ...options.config,
      "log.dirs": this.directory ?? MEMORY_FOLDER,
    };
  }

  /** Rejects with one clear line when the broker cannot be started. */
  static async start(options: HostOptions, services: HostServices): Promise<BrokerHost> {
    const host = new BrokerHost(options, services);
    try {
      await host.begin();
    } catch (error) {
      await host.dispose();
      throw error;
    }
    return host;
  }

  get address(): HostAddress {
    if (this.known === undefined) throw new Error("the broker was never started");
    return this.known;
  }

  /** In order, as by SIGTERM. */
  stop(): Promise<void> {
    return this.exclusively(() => this.halt());
  }

  /** kill -9: what was written is there after a restart, what was flushed certainly. */
  crash(): Promise<void> {
    return this.exclusively(() => this.kill());
  }

  powerCut(cut: PowerCut): Promise<void> {
    return this.exclusively(async () => {
      const { platter } = this;
      if (platter === undefined) {
        throw new Error('a power cut needs a disk in memory (disk: "memory"): a real one cannot be told to forget');
      }
      await this.kill();
      platter.powerCut(cut, this.random.fork(`power cut ${this.lives}`));
    });
  }

  /** Starts it again with the same data and ports; a running one is stopped in order first. */
  restart(): Promise<void> {
    return this.exclusively(async () => {
      await this.halt();
      await this.begin();
    });
  }

  heal(): Promise<void> {
    return this.exclusively(async () => this.injector?.heal());
  }

  /** The end. Data that nobody will see again is not put in order first. */
  dispose(): Promise<void> {
    if (this.disposed) return this.busy;
    const ended = this.exclusively(async () => {
      try {
        if (typeof this.options.disk === "object") await this.halt();
      } finally {
        await this.kill();
        this.temporary?.remove();
      }
    });
    this.disposed = true;
    return ended;
  }

  private get directory(): string | undefined {
    const { disk } = this.options;
    return typeof disk === "object" ? disk.directory : this.temporary?.path;
  }

  private exclusively(change: () => Promise<void>): Promise<void> {
    if (this.disposed) return Promise.reject(new Error("the test broker was disposed of"));
    const changed = this.busy.then(change);
    this.busy = changed.catch(() => {});
    return changed;
  }

  private async begin(): Promise<void> {
    const deadline = this.services.platform.clock.monotonic() + PORT_PATIENCE_MS;
    for (;;) {
      try {
        return await this.tryToBegin();
      } catch (error) {
        await this.kill();
        const taken = this.known !== undefined && /the port is in use|EADDRINUSE/.test(String(error));
        if (!taken || this.services.platform.clock.monotonic() > deadline) throw error;
        await this.pause(PORT_RETRY_MS);
      }
    }
  }

  private async tryToBegin(): Promise<void> {
    const loaded = loadBrokerConfig({
      overrides: Object.entries(this.settings).map(([key, value]) => `${key}=${value}`),
      overridesFrom: "testBroker",
    });
    const problems = [...loaded.errors, ...loaded.warnings];
    const { config } = loaded;
    if (config === undefined || problems.length > 0) throw new Error(problems.join("\n"));
    this.lives += 1;
    const { platter, injector } = this;
    const life = new BrokerLife(this.lives, this.services.platform, platter && ((mine) => attach(platter, mine)));
    this.life = life;
    const broker = await Effect.runPromise(
      startBroker(life, {
        config,
        clusterId: this.options.clusterId,
        log: this.services.tell.log,
        requestLog: () => undefined,
        ...(injector === undefined ? {} : { handlers: (table) => injector.wrap(table) }),
        fatal: (why) => {
          this.services.tell.log("error", `the broker gave up: ${why}`);
          if (this.life === life) void this.crash().catch(() => {});
        },
      }),
    );
    this.broker = broker;
    const { endpoint } = broker.listeners[0]!;
    const host = reachable(endpoint).host;
    const http = await this.openHttp(config, broker, life);
    this.known = { host, port: endpoint.port, clusterId: broker.clusterId, http, directory: this.directory };
    // Clients know these ports by now.
    this.settings.listeners = broker.listeners.map(({ name, endpoint }) => `${name}://${addressOf(endpoint)}`).join();
  }

  /** The gateway, loaded only where somebody wants it. */
  private async openHttp(config: BrokerConfig, broker: Broker, life: BrokerLife): Promise<string | undefined> {
    if (config.list("http.listeners").length === 0) return undefined;
    const { openHttpDoor } = await import("../HttpDoor.ts");
    const http = { server: life.httpOf(this.services.httpServer), sha256: this.services.sha256 };
    const door = openHttpDoor(http, config, broker.doorEnvironment);
    if (door === undefined) return undefined;
    broker.attach(door);
    const addresses = door.endpoints.map((endpoint) => `http://${addressOf(endpoint)}`);
    this.settings["http.listeners"] = addresses.join();
    const [first] = door.endpoints;
    return first && `http://${addressOf(reachable(first))}`;
  }

  private async halt(): Promise<void> {
    const { broker, life } = this;
    if (broker === undefined || life === undefined) return;
    await Effect.runPromise(broker.stop);
    await this.kill();
  }

  private async kill(): Promise<void> {
    const { life } = this;
    if (life === undefined) return;
    // From a timer: none of the broker's code is half way through something then.
    await this.pause(0);
    this.life = undefined;
    this.broker = undefined;
    const ended = life.end();
    this.platter?.abandonFlushes();
    await ended;
  }

  private levers(): FaultLevers {
    return {
      log: this.services.tell.fault,
      moveCoordinator: (of, key) => this.broker?.moveCoordinator(of, key),
      isFalling: () => this.life === this.falling,
      crash: (downMs) => {
        const { life } = this;
        if (life === undefined || life === this.falling) return false;
        this.falling = life;
        const restarted = this.exclusively(async () => {
          // Somebody else may have ended it meanwhile, and may want it down.
          if (this.life !== life) return;
          await this.kill();
          await this.pause(downMs);
          await this.begin();
        });
        restarted.catch((error: unknown) => {
          if (!this.disposed)
            this.services.tell.log("error", `not restarted after an injected crash: ${String(error)}`);
        });
        return true;
      },
    };
  }

  private pause(ms: number): Promise<void> {
    return new Promise((resolve) => this.services.platform.clock.after(ms, resolve));
  }
}

const attach = (platter: SimulatedDisk, life: BrokerLife) =>
  platter.attach({
    owner: life,
    after: (delayMs, task) => void life.clock.after(delayMs, task),
    wall: () => life.clock.wall(),
    trace: () => {},
  });

/** An address to connect to, for one that may stand for all of them. */
const reachable = ({ host, port }: Endpoint): Endpoint => ({
  host: host === "0.0.0.0" || host === "::" ? "127.0.0.1" : host,
  port,
});

const addressOf = ({ host, port }: Endpoint): string => `${host.includes(":") ? `[${host}]` : host}:${port}`;
