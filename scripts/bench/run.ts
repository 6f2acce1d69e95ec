/**
 * `bun run bench`: our broker and Apache Kafka 4.3.1, started in turn on this machine and driven by the same clients: `load.c` on
 * Debian's librdkafka and Kafka's own in Java; what no client does by itself (a thousand members) a client here does to both. It
 * owns every process it starts. Both comparisons are of equal durability: both answer from the page cache, or both flush before
 * they answer. Prints medians and ratios as Markdown and writes JSON.
 */
import { mkdir, rm, writeFile } from "node:fs/promises";
import { cpus, tmpdir, totalmem } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { type BrokerKind, type Overrides, startBroker } from "../../test/conformance/support/Brokers.ts";
import { cacheDirectory, compiled, KAFKA_VERSION } from "../../test/conformance/support/Cache.ts";
import { measureGateway } from "./gateway.ts";
import { consumerGroups } from "./groups/ConsumerGroups.ts";
import { measureEcho } from "./groups/Echo.ts";
import { latency } from "./groups/Latency.ts";
import { memory } from "./groups/Memory.ts";
import { start } from "./groups/Start.ts";
import { throughput } from "./groups/Throughput.ts";
import { recovery, transactions } from "./groups/Transactions.ts";
import type { MeasureGroup, PairName } from "./Measures.ts";
import { add, checked, median, type PairResult, type Samples, shown, table } from "./Report.ts";

/** In the order they are taken and printed. */
const groups: ReadonlyArray<MeasureGroup> = [
  start,
  memory,
  latency,
  throughput,
  transactions,
  recovery,
  consumerGroups,
];

const help = `bun run bench [options]
  --quick           one round with small counts: a look, not a result
  --rounds N        rounds (default 3; 1 with --quick); each starts every contender afresh
  --only GROUP      ${groups.map(({ name }) => name).join(", ")}, echo or gateway (repeatable; default all)
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
const scale = options.quick ? 10 : 1;
const wants = (group: string): boolean => options.only.length === 0 || options.only.includes(group);

interface Contender {
  readonly kind: BrokerKind;
  readonly overrides: Overrides;
}

interface Pair {
  readonly name: PairName;
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

const cpuModel = cpus()[0]?.model ?? "unknown CPU";
const root = join(options.directory ?? tmpdir(), `odradek-bench-${process.pid}`);

/** Takes the groups' figures of one broker, on fresh data. */
const measure = async (
  contender: Contender,
  own: Overrides,
  taken: ReadonlyArray<MeasureGroup>,
  program: string,
  samples: Samples,
): Promise<void> => {
  const { kind, overrides } = contender;
  const directory = join(root, "broker");
  const broker = await startBroker(kind, directory, { ...overrides, ...own });
  const setting = {
    kind,
    broker,
    program,
    scale,
    wants,
    add: (key: string, value: number) => add(samples, key, value),
    say: (text: string) => console.error(`  ${text}`),
  };
  try {
    for (const group of taken) await group.measure(setting);
  } finally {
    await broker.stop();
    await rm(directory, { recursive: true, force: true });
  }
};

const takenIn = (pair: Pair): ReadonlyArray<MeasureGroup> =>
  groups.filter(({ name, pairs: only }) => wants(name) && (only === undefined || only.includes(pair.name)));

const measurePair = async (pair: Pair, round: number, program: string, result: PairResult): Promise<void> => {
  const taken = takenIn(pair);
  const shared = taken.filter(({ own }) => own === undefined);
  // Who goes first alternates, so that a machine that slows down is fair to both.
  const sides = round % 2 === 1 ? (["kafka", "ours"] as const) : (["ours", "kafka"] as const);
  for (const side of sides) {
    const contender = pair[side];
    console.error(`round ${round}/${rounds}, ${pair.name}, ${contender.kind}`);
    if (shared.length > 0) await measure(contender, {}, shared, program, result[side]);
    for (const group of taken) {
      if (group.own !== undefined) await measure(contender, group.own, [group], program, result[side]);
    }
  }
};

const main = async (): Promise<void> => {
  await mkdir(root, { recursive: true });
  await mkdir(cacheDirectory, { recursive: true });
  const program = await compiled(join(import.meta.dir, "load.c"));
  const results = new Map<PairName, PairResult>();
  const chosen = pairs.filter(
    (pair) => takenIn(pair).length > 0 && (options.pair.length === 0 || options.pair.includes(pair.name)),
  );
  for (const pair of chosen) results.set(pair.name, { ours: new Map(), kafka: new Map() });
  try {
    for (let round = 1; round <= rounds; round++) {
      for (const pair of chosen) await measurePair(pair, round, program, results.get(pair.name)!);
    }
    const echo = wants("echo") ? await measureEcho(program, scale) : {};
    const gateway = wants("gateway") ? await measureGateway({ kafkaLoad: program, root, rounds, scale }) : [];
    const machine = `${cpus().length} cores (${cpuModel}), ${Math.round(totalmem() / 2 ** 30)} GiB, Linux ${process.arch}; Bun ${Bun.version}, Kafka ${KAFKA_VERSION}, clients on the same machine`;
    const date = new Date().toISOString().slice(0, 10);
    console.log(
      `Measured ${date}, ${rounds} round${rounds === 1 ? "" : "s"}${options.quick ? " (quick: small counts)" : ""}, medians. ${machine}.\n`,
    );
    const measures = new Map(groups.flatMap((group) => Object.entries(group.measures)));
    for (const pair of chosen) console.log(`**${pair.title}**\n\n${table(measures, results.get(pair.name)!)}\n`);
    if (Object.keys(echo).length > 0) {
      console.log("**A frame echo server in Bun, the ceiling**\n\n| measure | value |\n|---|--:|");
      for (const [name, value] of Object.entries(echo)) console.log(`| ${name} | ${shown(value)} |`);
      console.log("");
    }
    if (gateway.length > 0) {
      console.log("**The second door, from the page cache**\n");
      console.log("| measure | Odradek, WebSocket | Odradek, TCP | NATS, WebSocket |\n|---|--:|--:|--:|");
      for (const { name, unit, webSocket, tcp, nats } of gateway) {
        const values = [webSocket, tcp, nats].map((each) => (each.length === 0 ? "–" : shown(median(each))));
        console.log(`| ${name}, ${unit} | ${values.join(" | ")} |`);
      }
      console.log("");
    }
    const floors = checked(
      measures,
      groups.flatMap((group) => group.floors ?? []),
      results,
    );
    for (const { text, value, atLeast } of floors)
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
      floors,
    };
    const file = options.json ?? join(cacheDirectory, "bench.json");
    await writeFile(file, `${JSON.stringify(json, null, 2)}\n`);
    console.error(`figures in ${file}`);
  } finally {
    await rm(root, { recursive: true, force: true });
  }
};

await main();
