/**
 * `bun run bench --only gateway`: the second door beside the TCP door of the same broker and beside NATS' WebSocket door
 * (JetStream, file storage), in the same run. All three answer from the page cache: ours with `log.flush.policy=os`, NATS as it
 * comes (it syncs every two minutes). The load is C on bare sockets (`gateway-load.c`), for TCP's throughput librdkafka
 * (`load.c`). It owns every process it starts.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once as event } from "node:events";
import { readFileSync } from "node:fs";
import { mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type Broker, freePort, startBroker, waitUntilAnswers } from "../../test/conformance/support/Brokers.ts";
import { compiled, natsServer } from "../../test/conformance/support/Cache.ts";
import { run, sleep } from "../../test/conformance/support/Process.ts";
import { createTopic } from "../../test/conformance/support/Requests.ts";
import { Wire } from "../../test/conformance/support/Wire.ts";

export interface GatewayRow {
  readonly name: string;
  readonly unit: string;
  /** Of each round. */
  readonly webSocket: number[];
  readonly tcp: number[];
  readonly nats: number[];
}

export interface GatewayOptions {
  /** `load.c`. */
  readonly kafkaLoad: string;
  readonly root: string;
  readonly rounds: number;
  /** Counts are divided by it. */
  readonly scale: number;
}

const SIZE = 100;
const BATCH = 500;
const READERS = 1000;

interface Contender {
  readonly name: "odradek" | "nats" | "kafka";
  readonly port: number;
  readonly pid: number;
}

const anonymousKiB = (pid: number): number =>
  Number(/RssAnon:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, "latin1"))?.[1] ?? 0);

const numberAt = (value: unknown, ...path: readonly string[]): number => {
  let at = value;
  for (const step of path)
    at = at !== null && typeof at === "object" ? (at as Record<string, unknown>)[step] : undefined;
  if (typeof at !== "number") throw new Error(`no ${path.join(".")} in ${JSON.stringify(value)}`);
  return at;
};

const json = async (program: string, args: ReadonlyArray<string | number>): Promise<unknown> =>
  JSON.parse((await run(program, args.map(String), { timeoutMs: 240_000 })).stdout);

/** KiB of anonymous memory that each of `count` idle connections costs the server. */
const idleKiB = async (load: string, { name, port, pid }: Contender, topic: string, count: number): Promise<number> => {
  const open = async (connections: number): Promise<ChildProcess> => {
    const child = spawn(load, [name, "idle", `${port}`, topic, `${connections}`], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    await event(child.stdout!, "data");
    return child;
  };
  const close = async (child: ChildProcess): Promise<void> => {
    const gone = event(child, "exit");
    child.stdin!.end("\n");
    await gone;
  };
  // What the first connections load is not theirs.
  await close(await open(50));
  await sleep(3000);
  const before = anonymousKiB(pid);
  const child = await open(count);
  await sleep(5000);
  const each = (anonymousKiB(pid) - before) / count;
  await close(child);
  return each;
};

const startNats = async (
  directory: string,
): Promise<{ readonly port: number; readonly pid: number; stop(): Promise<void> }> => {
  await mkdir(directory, { recursive: true });
  const port = await freePort();
  const config = join(directory, "nats.conf");
  const data = join(directory, "data");
  await writeFile(
    config,
    `listen: "127.0.0.1:-1"\njetstream { store_dir: "${data}" }\nwebsocket { listen: "127.0.0.1:${port}", no_tls: true }\n`,
  );
  const child = spawn(await natsServer(), ["-c", config], { stdio: ["ignore", "ignore", "pipe"] });
  const deadline = performance.now() + 20_000;
  let text = "";
  child.stderr.on("data", (chunk: Buffer) => (text += chunk.toString()));
  while (!text.includes("Server is ready")) {
    if (performance.now() > deadline || child.exitCode !== null) throw new Error(`nats-server did not start:\n${text}`);
    await sleep(5);
  }
  return {
    port,
    pid: child.pid!,
    async stop() {
      const gone = event(child, "exit");
      child.kill("SIGTERM");
      await gone;
      await rm(directory, { recursive: true, force: true });
    },
  };
};

/** Our broker with its second door on a port of its own. */
const startOurs = async (directory: string): Promise<{ readonly broker: Broker; readonly port: number }> => {
  const port = await freePort();
  const overrides = { "log.flush.policy": "os", "http.listeners": `http://127.0.0.1:${port}` };
  const broker = await startBroker("odradek", directory, overrides);
  await waitUntilAnswers(broker.host, broker.port, () => true, 10_000);
  return { broker, port };
};

export const measureGateway = async ({ kafkaLoad, root, rounds, scale }: GatewayOptions): Promise<GatewayRow[]> => {
  const load = await compiled(join(import.meta.dir, "gateway-load.c"));
  const row = (name: string, unit: string): GatewayRow => ({ name, unit, webSocket: [], tcp: [], nats: [] });
  const rows = {
    ackP50: row("one by one, send to ack, p50", "µs"),
    ackP99: row("one by one, send to ack, p99", "µs"),
    produce: row("produce 100 B, 1 partition", "records/s"),
    consume: row("consume 100 B, 1 partition", "records/s"),
    fanout: row(`fan-out to ${READERS} readers, delivered`, "records/s"),
    lateP50: row(`one record to ${READERS} readers, p50`, "µs"),
    lateP99: row(`one record to ${READERS} readers, p99`, "µs"),
    idle: row("memory per idle connection, anonymous", "KiB"),
  };
  const counts = { latency: 5000 / scale, records: 3_000_000 / scale, fanout: 3000 / scale, idle: 10_000 / scale };

  /** What both WebSocket doors are asked. */
  const overWebSocket = async (contender: Contender, to: "webSocket" | "nats", depth: number): Promise<void> => {
    const { name, port } = contender;
    const latency = await json(load, [name, "latency", port, "lat", SIZE, counts.latency]);
    rows.ackP50[to].push(numberAt(latency, "ackMicroseconds", "p50"));
    rows.ackP99[to].push(numberAt(latency, "ackMicroseconds", "p99"));
    await json(load, [name, "produce", port, "warm", SIZE, counts.records / 10, BATCH, depth]);
    const produced = await json(load, [name, "produce", port, "prod", SIZE, counts.records, BATCH, depth]);
    rows.produce[to].push(numberAt(produced, "recordsPerSecond"));
    await json(load, [name, "consume", port, "warm", SIZE, counts.records / 10]);
    const consumed = await json(load, [name, "consume", port, "prod", SIZE, counts.records]);
    rows.consume[to].push(numberAt(consumed, "recordsPerSecond"));
    const fanned = await json(load, [name, "fanout", port, "fan", SIZE, counts.fanout, 100, READERS]);
    rows.fanout[to].push(numberAt(fanned, "deliveredPerSecond"));
    rows.lateP50[to].push(numberAt(fanned, "lateMicroseconds", "p50"));
    rows.lateP99[to].push(numberAt(fanned, "lateMicroseconds", "p99"));
  };

  for (let round = 1; round <= rounds; round++) {
    console.error(`round ${round}/${rounds}, gateway`);
    const directory = join(root, "gateway");
    const ours = await startOurs(directory);
    try {
      const wire = await Wire.open(ours.broker);
      for (const topic of ["lat", "warm", "prod", "fan", "tcp", "tcplat", "tcpfan", "idle"])
        await createTopic(wire, topic);
      wire.close();
      const { pid, port: tcp, address } = ours.broker;
      // Idle connections first, while the heap is as a start leaves it.
      rows.idle.webSocket.push(await idleKiB(load, { name: "odradek", port: ours.port, pid }, "idle", counts.idle));
      await overWebSocket({ name: "odradek", port: ours.port, pid }, "webSocket", 10);
      const latency = await json(kafkaLoad, ["latency", address, "tcplat", counts.latency]);
      rows.ackP50.tcp.push(numberAt(latency, "ackMicroseconds", "p50"));
      rows.ackP99.tcp.push(numberAt(latency, "ackMicroseconds", "p99"));
      const shape = [address, "tcp", 1, SIZE, counts.records] as const;
      rows.produce.tcp.push(numberAt(await json(kafkaLoad, ["produce", ...shape]), "recordsPerSecond"));
      rows.consume.tcp.push(numberAt(await json(kafkaLoad, ["consume", ...shape]), "recordsPerSecond"));
      const fanned = await json(load, ["kafka", "fanout", tcp, "tcpfan", SIZE, counts.fanout, 100, READERS, ours.port]);
      rows.fanout.tcp.push(numberAt(fanned, "deliveredPerSecond"));
      rows.lateP50.tcp.push(numberAt(fanned, "lateMicroseconds", "p50"));
      rows.lateP99.tcp.push(numberAt(fanned, "lateMicroseconds", "p99"));
    } finally {
      await ours.broker.stop();
      await rm(directory, { recursive: true, force: true });
    }
    const fresh = await startOurs(directory);
    try {
      const wire = await Wire.open(fresh.broker);
      await createTopic(wire, "idle");
      wire.close();
      const { pid, port } = fresh.broker;
      rows.idle.tcp.push(await idleKiB(load, { name: "kafka", port, pid }, "idle", counts.idle));
    } finally {
      await fresh.broker.stop();
      await rm(directory, { recursive: true, force: true });
    }
    const nats = await startNats(join(root, "nats"));
    try {
      const contender = { name: "nats", port: nats.port, pid: nats.pid } as const;
      rows.idle.nats.push(await idleKiB(load, contender, "idle", counts.idle));
      await overWebSocket(contender, "nats", 10);
    } finally {
      await nats.stop();
    }
  }
  return Object.values(rows);
};
