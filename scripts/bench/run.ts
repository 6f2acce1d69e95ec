/**
 * `bun run bench`: our broker and Apache Kafka 4.3.1, started in turn on this machine and driven by the same client, which is not
 * JavaScript (`load.c` on Debian's librdkafka). It owns every process it starts. Both comparisons are of equal durability: both
 * answer from the page cache, or both flush before they answer. Prints medians and ratios as Markdown and writes JSON.
 */
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { mkdir, rm, writeFile } from "node:fs/promises";
import { cpus, tmpdir, totalmem } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { type Broker, type BrokerKind, type Overrides, startBroker } from "../../test/conformance/support/Brokers.ts";
import { cacheDirectory, compiled, KAFKA_VERSION } from "../../test/conformance/support/Cache.ts";
import { run, sleep } from "../../test/conformance/support/Process.ts";
import { createTopic } from "../../test/conformance/support/Requests.ts";
import { Wire } from "../../test/conformance/support/Wire.ts";
import { measureGateway } from "./gateway.ts";

const help = `bun run bench [options]
  --quick           one round with small counts: a look, not a result
  --rounds N        rounds (default 3; 1 with --quick); each starts every contender afresh
  --only GROUP      start, memory, throughput, latency, echo or gateway (repeatable; default all)
  --pair NAME       page-cache or durable (repeatable; default both)
  --json FILE       where the figures go (default: the cache directory)
  --directory DIR   where the brokers' data goes (default: the temporary directory)`;

const { values: options } = parseArgs({
  args: Bun.argv.slice(2),
  options: {
    quick: { type: "boolean", default: false },
    rounds: { type: "string" },
    only: { type: "string", multiple: true, default: [] },
    pair: { type: "string", multiple: true, default: [] },
    json: { type: "string" },
    directory: { type: "string" },
    help: { type: "boolean", default: false },
  },
});

if (options.help) {
  console.log(help);
  process.exit(0);
}

const rounds = Number(options.rounds ?? (options.quick ? 1 : 3));
const wants = (group: string): boolean => options.only.length === 0 || options.only.includes(group);

interface Contender {
  readonly kind: BrokerKind;
  readonly overrides: Overrides;
}

interface Pair {
  readonly name: "page-cache" | "durable";
  readonly title: string;
  readonly ours: Contender;
  readonly kafka: Contender;
}

const pairs: readonly Pair[] = [
  {
    name: "page-cache",
    title: "Both answer from the page cache (`log.flush.policy=os`, Kafka's default)",
    ours: { kind: "odradek", overrides: { "log.flush.policy": "os" } },
    kafka: { kind: "kafka", overrides: {} },
  },
  {
    name: "durable",
    title: "Both flush before they answer (our default, Kafka `log.flush.interval.messages=1`)",
    ours: { kind: "odradek", overrides: {} },
    kafka: { kind: "kafka", overrides: { "log.flush.interval.messages": "1" } },
  },
];

interface Measure {
  readonly name: string;
  readonly unit: string;
  readonly better: "more" | "less";
}

const measures = {
  start: { name: "start to first ApiVersions answer", unit: "ms", better: "less" },
  idleAnon: { name: "memory idle, anonymous", unit: "MiB", better: "less" },
  idleFile: { name: "memory idle, file pages", unit: "MiB", better: "less" },
  idleCpu: { name: "CPU idle", unit: "% of a core", better: "less" },
  produce1x100: { name: "produce 100 B, 1 partition", unit: "records/s", better: "more" },
  produce100x100: { name: "produce 100 B, 100 partitions", unit: "records/s", better: "more" },
  produce1x1024: { name: "produce 1 KiB, 1 partition", unit: "MB/s", better: "more" },
  produce100x1024: { name: "produce 1 KiB, 100 partitions", unit: "MB/s", better: "more" },
  consume1x100: { name: "consume 100 B, 1 partition", unit: "records/s", better: "more" },
  consume100x100: { name: "consume 100 B, 100 partitions", unit: "records/s", better: "more" },
  consume1x1024: { name: "consume 1 KiB, 1 partition", unit: "MB/s", better: "more" },
  consume100x1024: { name: "consume 1 KiB, 100 partitions", unit: "MB/s", better: "more" },
  ackP50: { name: "one by one, send to ack, p50", unit: "µs", better: "less" },
  ackP99: { name: "one by one, send to ack, p99", unit: "µs", better: "less" },
  consumerP50: { name: "one by one, send to consumer, p50", unit: "µs", better: "less" },
  consumerP99: { name: "one by one, send to consumer, p99", unit: "µs", better: "less" },
  loadedAnon: { name: "memory loaded, anonymous", unit: "MiB", better: "less" },
  loadedFile: { name: "memory loaded, file pages", unit: "MiB", better: "less" },
} as const satisfies Record<string, Measure>;

type MeasureKey = keyof typeof measures;
const measureKeys = Object.keys(measures).filter((key): key is MeasureKey => key in measures);

/** All values seen, by measure. */
type Samples = Map<MeasureKey, number[]>;

const add = (samples: Samples, key: MeasureKey, value: number): void => {
  const values = samples.get(key);
  if (values === undefined) samples.set(key, [value]);
  else values.push(value);
};

const median = (values: readonly number[]): number => {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] ?? upper)) / 2;
};

const status = (pid: number, field: string): number =>
  Number(new RegExp(`${field}:\\s+(\\d+) kB`).exec(readFileSync(`/proc/${pid}/status`, "latin1"))?.[1] ?? 0) / 1024;

/** Seconds of CPU a process has used; the kernel counts in hundredths. */
const cpuSeconds = (pid: number): number => {
  const fields = readFileSync(`/proc/${pid}/stat`, "latin1").split(") ")[1]?.split(" ") ?? [];
  return (Number(fields[11]) + Number(fields[12])) / 100;
};

const load = async (program: string, args: readonly string[]): Promise<unknown> =>
  JSON.parse((await run(program, args, { timeoutMs: 240_000 })).stdout);

const figure = (answer: unknown, ...path: readonly string[]): number => {
  let value = answer;
  for (const step of path)
    value =
      value !== null && typeof value === "object"
        ? Object.entries(value).find(([key]) => key === step)?.[1]
        : undefined;
  if (typeof value !== "number") throw new Error(`no ${path.join(".")} in ${JSON.stringify(answer)}`);
  return value;
};

const scale = options.quick ? 10 : 1;

const shapes = [
  {
    partitions: 1,
    size: 100,
    count: 3_000_000 / scale,
    produce: "produce1x100",
    consume: "consume1x100",
    field: "recordsPerSecond",
  },
  {
    partitions: 100,
    size: 100,
    count: 3_000_000 / scale,
    produce: "produce100x100",
    consume: "consume100x100",
    field: "recordsPerSecond",
  },
  {
    partitions: 1,
    size: 1024,
    count: 1_000_000 / scale,
    produce: "produce1x1024",
    consume: "consume1x1024",
    field: "megabytesPerSecond",
  },
  {
    partitions: 100,
    size: 1024,
    count: 1_000_000 / scale,
    produce: "produce100x1024",
    consume: "consume100x1024",
    field: "megabytesPerSecond",
  },
] as const;

const measureBroker = async (program: string, broker: Broker, samples: Samples, label: string): Promise<void> => {
  if (wants("start")) add(samples, "start", broker.startMs);
  if (wants("memory")) {
    await sleep(3000);
    const seconds = options.quick ? 3 : 10;
    const before = cpuSeconds(broker.pid);
    await sleep(seconds * 1000);
    add(samples, "idleCpu", ((cpuSeconds(broker.pid) - before) / seconds) * 100);
    add(samples, "idleAnon", status(broker.pid, "RssAnon"));
    add(samples, "idleFile", status(broker.pid, "RssFile"));
  }
  const wire = await Wire.open(broker);
  if (wants("latency")) {
    const { name } = await createTopic(wire, "latency");
    const answer = await load(program, ["latency", broker.address, name, `${5000 / scale}`]);
    add(samples, "ackP50", figure(answer, "ackMicroseconds", "p50"));
    add(samples, "ackP99", figure(answer, "ackMicroseconds", "p99"));
    add(samples, "consumerP50", figure(answer, "consumerMicroseconds", "p50"));
    add(samples, "consumerP99", figure(answer, "consumerMicroseconds", "p99"));
  }
  if (wants("throughput")) {
    for (const { partitions, size, count, produce, consume, field } of shapes) {
      const { name } = await createTopic(wire, `t${partitions}x${size}`, partitions);
      const shape = [broker.address, name, `${partitions}`, `${size}`, `${count}`];
      // A first short run lets the JIT of either side see the path once.
      await load(program, ["produce", ...shape.slice(0, 4), `${Math.ceil(count / 20)}`]);
      const produced = await load(program, ["produce", ...shape]);
      add(samples, produce, figure(produced, field));
      const consumed = await load(program, ["consume", ...shape]);
      add(samples, consume, figure(consumed, field));
      console.error(
        `  ${label} ${name}: produce ${figure(produced, field).toFixed(0)}, consume ${figure(consumed, field).toFixed(0)} ${field}`,
      );
    }
    if (wants("memory")) {
      add(samples, "loadedAnon", status(broker.pid, "RssAnon"));
      add(samples, "loadedFile", status(broker.pid, "RssFile"));
    }
  }
  wire.close();
};

const measureEcho = async (program: string): Promise<Record<string, number>> => {
  const began = performance.now();
  const child = spawn(process.execPath, [join(import.meta.dir, "echo.ts")], { stdio: ["ignore", "pipe", "inherit"] });
  try {
    const address = await new Promise<string>((resolve, reject) => {
      child.stdout.once("data", (chunk: Buffer) => resolve(/127\.0\.0\.1:\d+/.exec(chunk.toString())?.[0] ?? ""));
      child.once("exit", () => reject(new Error("the echo server ended")));
    });
    const started = performance.now() - began;
    const small = await load(program, ["echo", address, "200", `${20_000 / scale}`, "1"]);
    const large = await load(program, ["echo", address, "1000000", `${2000 / scale}`, "5"]);
    return {
      "start, ms": started,
      "200 B frames one by one, p50 µs": figure(small, "roundTripMicroseconds", "p50"),
      "200 B frames one by one, p99 µs": figure(small, "roundTripMicroseconds", "p99"),
      "1 MB frames, 5 in flight, MB/s each way": figure(large, "megabytesPerSecond"),
      "memory afterwards, anonymous MiB": child.pid === undefined ? 0 : status(child.pid, "RssAnon"),
    };
  } finally {
    child.kill("SIGKILL");
  }
};

const shown = (value: number): string =>
  value >= 10_000
    ? Math.round(value).toLocaleString("en-US")
    : value >= 100
      ? value.toFixed(0)
      : value >= 10
        ? value.toFixed(1)
        : value.toFixed(2);

/** How many times better ours is: above 1 is better whatever the unit. */
const advantage = (measure: Measure, ours: number, kafka: number): number =>
  measure.better === "more" ? ours / kafka : kafka / ours;

interface PairResult {
  readonly ours: Samples;
  readonly kafka: Samples;
}

const table = (result: PairResult): string => {
  const lines = ["| measure | Odradek | Kafka | ours is better by |", "|---|--:|--:|--:|"];
  for (const key of measureKeys) {
    const measure: Measure = measures[key];
    const ours = result.ours.get(key);
    const kafka = result.kafka.get(key);
    if (ours === undefined || kafka === undefined) continue;
    const ratio = advantage(measure, median(ours), median(kafka));
    lines.push(
      `| ${measure.name}, ${measure.unit} | ${shown(median(ours))} | ${shown(median(kafka))} | ${shown(ratio)}× |`,
    );
  }
  return lines.join("\n");
};

interface Floor {
  readonly text: string;
  readonly value: number;
  readonly atLeast: number;
}

/** The floors of the walking skeleton; every value is "times better", so each must be at least `atLeast`. */
const floors = (results: ReadonlyMap<string, PairResult>): Floor[] => {
  const cache = results.get("page-cache");
  const durable = results.get("durable");
  const found: Floor[] = [];
  const check = (text: string, key: MeasureKey, atLeast: number, ours: PairResult | undefined = cache) => {
    const a = ours?.ours.get(key);
    const b = cache?.kafka.get(key);
    if (a !== undefined && b !== undefined)
      found.push({ text, value: advantage(measures[key], median(a), median(b)), atLeast });
  };
  for (const key of ["produce1x100", "produce100x100", "produce1x1024", "produce100x1024"] as const) {
    check(`${measures[key].name}: at least Kafka's throughput`, key, 1);
  }
  check("one-by-one produce p50: at most Kafka's", "ackP50", 1);
  check("start: at most 1/8", "start", 8);
  check("idle anonymous memory: at most 1/3", "idleAnon", 3);
  if (durable !== undefined)
    check("one-by-one p50, ours durable, Kafka page cache: at most twice", "ackP50", 0.5, durable);
  return found;
};

const cpuModel = cpus()[0]?.model ?? "unknown CPU";
const root = join(options.directory ?? tmpdir(), `odradek-bench-${process.pid}`);

const main = async (): Promise<void> => {
  await mkdir(root, { recursive: true });
  await mkdir(cacheDirectory, { recursive: true });
  const program = await compiled(join(import.meta.dir, "load.c"));
  const results = new Map<string, PairResult>();
  const brokers = ["start", "memory", "throughput", "latency"].some(wants);
  const chosen = brokers ? pairs.filter((pair) => options.pair.length === 0 || options.pair.includes(pair.name)) : [];
  for (const pair of chosen) results.set(pair.name, { ours: new Map(), kafka: new Map() });
  try {
    for (let round = 1; round <= rounds; round++) {
      for (const pair of chosen) {
        const result = results.get(pair.name);
        if (result === undefined) continue;
        // Who goes first alternates, so that a machine that slows down is fair to both.
        const sides = round % 2 === 1 ? (["kafka", "ours"] as const) : (["ours", "kafka"] as const);
        for (const side of sides) {
          const contender = pair[side];
          console.error(`round ${round}/${rounds}, ${pair.name}, ${contender.kind}`);
          const directory = join(root, "broker");
          const broker = await startBroker(contender.kind, directory, contender.overrides);
          try {
            await measureBroker(program, broker, result[side], contender.kind);
          } finally {
            await broker.stop();
            await rm(directory, { recursive: true, force: true });
          }
        }
      }
    }
    const echo = wants("echo") ? await measureEcho(program) : {};
    const gateway = wants("gateway") ? await measureGateway({ kafkaLoad: program, root, rounds, scale }) : [];
    const machine = `${cpus().length} cores (${cpuModel}), ${Math.round(totalmem() / 2 ** 30)} GiB, Linux ${process.arch}; Bun ${Bun.version}, Kafka ${KAFKA_VERSION}, librdkafka in C as the client, on the same machine`;
    const date = new Date().toISOString().slice(0, 10);
    console.log(
      `Measured ${date}, ${rounds} round${rounds === 1 ? "" : "s"}${options.quick ? " (quick: small counts)" : ""}, medians. ${machine}.\n`,
    );
    for (const pair of chosen) {
      const result = results.get(pair.name);
      if (result !== undefined) console.log(`**${pair.title}**\n\n${table(result)}\n`);
    }
    if (Object.keys(echo).length > 0) {
      console.log("**A frame echo server in Bun, the ceiling**\n\n| measure | value |\n|---|--:|");
      for (const [name, value] of Object.entries(echo)) console.log(`| ${name} | ${shown(value)} |`);
      console.log("");
    }
    if (gateway.length > 0) {
      console.log("**The second door, from the page cache**\n");
      console.log("| measure | Odradek, WebSocket | Odradek, TCP | NATS, WebSocket |\n|---|--:|--:|--:|");
      for (const { name, unit, webSocket, tcp, nats } of gateway) {
        const values = [webSocket, tcp, nats].map((values) => (values.length === 0 ? "–" : shown(median(values))));
        console.log(`| ${name}, ${unit} | ${values.join(" | ")} |`);
      }
      console.log("");
    }
    const checked = floors(results);
    for (const { text, value, atLeast } of checked)
      console.log(`${value >= atLeast ? "holds" : "MISSED"}: ${text} (${shown(value)}×, at least ${atLeast}×)`);
    const plain = (samples: Samples) => Object.fromEntries(samples);
    const json = {
      date,
      rounds,
      quick: options.quick,
      machine,
      pairs: Object.fromEntries(
        [...results].map(([name, result]) => [name, { ours: plain(result.ours), kafka: plain(result.kafka) }]),
      ),
      echo,
      gateway,
      floors: checked,
    };
    const file = options.json ?? join(cacheDirectory, "bench.json");
    await writeFile(file, `${JSON.stringify(json, null, 2)}\n`);
    console.error(`figures in ${file}`);
  } finally {
    await rm(root, { recursive: true, force: true });
  }
};

await main();
