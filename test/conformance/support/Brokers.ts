/**
 * Brokers under test: ours, started from this checkout, and Apache Kafka 4.3.1, the oracle whose answers the expectations are.
 * Each owns one child process and one data directory, keeps its port over restarts, and is stopped by its own process id.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once as event } from "node:events";
import { mkdir, rm, writeFile } from "node:fs/promises";
import { connect, createServer } from "node:net";
import { join } from "node:path";
import { KAFKA_VERSION, kafkaLibs } from "./Cache.ts";
import { run, sleep } from "./Process.ts";

export type Overrides = Readonly<Record<string, string>>;
export type BrokerKind = "odradek" | "kafka";

export interface Broker {
  readonly kind: BrokerKind;
  readonly host: string;
  readonly port: number;
  readonly address: string;
  readonly dataDirectory: string;
  readonly pid: number;
  /** Milliseconds from spawn to the first ApiVersions answer of the last start. */
  readonly startMs: number;
  /** SIGTERM; resolves with the exit code when the process is gone. */
  stop(): Promise<number | null>;
  /** SIGKILL; resolves when the process is gone. */
  kill(): Promise<void>;
  /** Starts again on the same data and port. */
  start(): Promise<void>;
  log(): string;
}

const repository = join(import.meta.dir, "..", "..", "..");

/** An ApiVersions v0 request, the smallest sign of life every broker answers. */
export const apiVersionsProbe = Buffer.from("0000000b0012000000000001000178", "hex");

export const freePort = async (): Promise<number> => {
  const server = createServer().listen(0, "127.0.0.1");
  await event(server, "listening");
  const address = server.address();
  server.close();
  await event(server, "close");
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
};

const answersOnce = (host: string, port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect({ host, port });
    const done = (ok: boolean) => {
      clearTimeout(timer);
      socket.destroy();
      resolve(ok);
    };
    const timer = setTimeout(() => done(false), 1000);
    socket.on("connect", () => socket.write(apiVersionsProbe));
    socket.on("data", () => done(true));
    socket.on("error", () => done(false));
    socket.on("close", () => done(false));
  });

/** Waits for the first ApiVersions answer, trying every few milliseconds. */
export const waitUntilAnswers = async (
  host: string,
  port: number,
  alive: () => boolean,
  timeoutMs: number,
): Promise<boolean> => {
  const end = performance.now() + timeoutMs;
  while (performance.now() < end && alive()) {
    if (await answersOnce(host, port)) return true;
    await sleep(2);
  }
  return false;
};

abstract class ChildBroker implements Broker {
  abstract readonly kind: BrokerKind;
  readonly host = "127.0.0.1";
  port = 0;
  startMs = 0;
  readonly dataDirectory: string;
  protected child: ChildProcess | undefined;
  private output = "";

  constructor(
    protected readonly directory: string,
    protected readonly overrides: Overrides,
  ) {
    this.dataDirectory = join(directory, "data");
  }

  get address(): string {
    return `${this.host}:${this.port}`;
  }

  get pid(): number {
    const pid = this.child?.pid;
    if (pid === undefined) throw new Error("the broker is not running");
    return pid;
  }

  log(): string {
    return this.output;
  }

  protected launch(command: string, args: readonly string[]): ChildProcess {
    const child = spawn(command, args, { cwd: repository, stdio: ["ignore", "pipe", "pipe"] });
    const keep = (chunk: Buffer) => {
      this.output = (this.output + chunk.toString()).slice(-200_000);
    };
    child.stdout.on("data", keep);
    child.stderr.on("data", keep);
    this.child = child;
    return child;
  }

  protected get alive(): boolean {
    return this.child !== undefined && this.child.exitCode === null && this.child.signalCode === null;
  }

  abstract start(): Promise<void>;

  protected async answered(began: number, timeoutMs: number): Promise<void> {
    const ok = await waitUntilAnswers(this.host, this.port, () => this.alive, timeoutMs);
    this.startMs = performance.now() - began;
    if (!ok) {
      const tail = this.output.trimEnd().split("\n").slice(-15).join("\n");
      this.child?.kill("SIGKILL");
      throw new Error(`${this.kind} did not answer ApiVersions on port ${this.port}:\n${tail}`);
    }
  }

  async stop(): Promise<number | null> {
    const child = this.child;
    if (child === undefined || !this.alive) return child?.exitCode ?? null;
    const gone = event(child, "exit");
    child.kill("SIGTERM");
    const timer = setTimeout(() => child.kill("SIGKILL"), 15_000);
    await gone;
    clearTimeout(timer);
    return child.exitCode;
  }

  async kill(): Promise<void> {
    const child = this.child;
    if (child === undefined || !this.alive) return;
    const gone = event(child, "exit");
    child.kill("SIGKILL");
    await gone;
  }
}

class OdradekBroker extends ChildBroker {
  readonly kind = "odradek";

  async start(): Promise<void> {
    const began = performance.now();
    const before = this.log().length;
    const settings = {
      listeners: `PLAINTEXT://127.0.0.1:${this.port}`,
      "log.dirs": this.dataDirectory,
      ...this.overrides,
    };
    const args = [
      "scripts/run.mjs",
      ...Object.entries(settings).flatMap(([key, value]) => ["--override", `${key}=${value}`]),
    ];
    this.launch(process.execPath, args);
    if (this.port === 0) {
      const end = performance.now() + 20_000;
      while (this.port === 0 && this.alive && performance.now() < end) {
        const printed = /listening on 127\.0\.0\.1:([1-9]\d*)/.exec(this.log().slice(before));
        if (printed?.[1] === undefined) await sleep(2);
        else this.port = Number(printed[1]);
      }
      if (this.port === 0) {
        this.child?.kill("SIGKILL");
        throw new Error(`the broker printed no port:\n${this.log()}`);
      }
    }
    await this.answered(began, 30_000);
  }
}

class KafkaBroker extends ChildBroker {
  readonly kind = "kafka";
  private libs = "";
  private readonly properties = join(this.directory, "server.properties");

  private async prepare(): Promise<void> {
    const kafka = await kafkaLibs();
    this.libs = kafka;
    this.port = await freePort();
    const controller = await freePort();
    const settings = {
      "process.roles": "broker,controller",
      "node.id": "1",
      "controller.quorum.voters": `1@127.0.0.1:${controller}`,
      listeners: `PLAINTEXT://127.0.0.1:${this.port},CONTROLLER://127.0.0.1:${controller}`,
      "controller.listener.names": "CONTROLLER",
      "inter.broker.listener.name": "PLAINTEXT",
      "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
      "log.dirs": this.dataDirectory,
      "offsets.topic.replication.factor": "1",
      "transaction.state.log.replication.factor": "1",
      "transaction.state.log.min.isr": "1",
      "share.coordinator.state.topic.replication.factor": "1",
      "share.coordinator.state.topic.min.isr": "1",
      "group.initial.rebalance.delay.ms": "0",
      "auto.create.topics.enable": "true",
      ...this.overrides,
    };
    const lines = Object.entries(settings).map(([key, value]) => `${key}=${value}`);
    await writeFile(this.properties, `${lines.join("\n")}\n`);
    const format = ["kafka.tools.StorageTool", "format", "-t", "4L6g3nShT-eMCtK--X86sw", "-c", this.properties];
    await run("java", ["-cp", join(kafka, "libs", "*"), ...format]);
  }

  async start(): Promise<void> {
    if (this.libs === "") await this.prepare();
    const began = performance.now();
    this.launch("java", [
      // The heap and collector Kafka's own start script would choose.
      ...["-Xms1g", "-Xmx1g", "-server", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20"],
      ...["-XX:InitiatingHeapOccupancyPercent=35", "-XX:+ExplicitGCInvokesConcurrent", "-Djava.awt.headless=true"],
      `-Dlog4j2.configurationFile=${join(this.libs, "log4j2.yaml")}`,
      "-cp",
      join(this.libs, "libs", "*"),
      "kafka.Kafka",
      this.properties,
    ]);
    await this.answered(began, 60_000);
  }
}

/** Starts a broker on a fresh data directory below `directory`. */
export const startBroker = async (kind: BrokerKind, directory: string, overrides: Overrides = {}): Promise<Broker> => {
  await rm(directory, { recursive: true, force: true });
  await mkdir(directory, { recursive: true });
  const broker = kind === "kafka" ? new KafkaBroker(directory, overrides) : new OdradekBroker(directory, overrides);
  await broker.start();
  return broker;
};

/** A broker somebody else runs: it can be spoken to, not restarted. */
export const runningBroker = (address: string): Broker => {
  const colon = address.lastIndexOf(":");
  const refuse = (): never => {
    throw new Error("this test restarts its broker; it cannot run --against somebody else's");
  };
  return {
    kind: "odradek",
    host: address.slice(0, colon),
    port: Number(address.slice(colon + 1)),
    address,
    dataDirectory: "",
    pid: 0,
    startMs: 0,
    stop: async () => null,
    kill: refuse,
    start: refuse,
    log: () => "",
  };
};

export const oracleName = `Apache Kafka ${KAFKA_VERSION}`;
