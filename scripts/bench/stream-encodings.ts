/**
 * `node scripts/run.mjs scripts/bench/stream-encodings.ts`: what a consumer of the stream protocol costs, here and in the
 * broker, when it gets record batches as the log holds them and when the broker decodes them. Each line is the median of its
 * rounds; the broker is a process of its own, the readers are in this one. Prints Markdown.
 *
 *   --rounds N   rounds per line (default 3)      --records N   records of 100 bytes (default 500,000; a tenth of 1 KB)
 */
import { readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { connect } from "../../src/client/Client.ts";
import { makeBunCodecs } from "../../src/platform/BunCodecs.ts";
import { Codec, type CodecId } from "../../src/record/Compression.ts";
import { buildBatch } from "../../src/record/RecordBatchBuilder.ts";
import { startBroker } from "../../test/conformance/support/Brokers.ts";

const { values } = parseArgs({
  args: Bun.argv.slice(2),
  options: { rounds: { type: "string", default: "3" }, records: { type: "string", default: "500000" } },
});
const rounds = Number(values.rounds);
const small = Number(values.records);

const directory = await mkdtemp(join(tmpdir(), "odradek-encodings-"));
const broker = await startBroker("odradek", join(directory, "broker"), {
  "http.listeners": "http://127.0.0.1:0",
  "log.flush.policy": "os",
});
const [, url] = /HTTP and WebSocket on (http:\/\/\S+)/.exec(broker.log()) ?? [];
if (url === undefined) throw new Error("the broker names no gateway");

const client = await connect(url);
const codecs = makeBunCodecs();
const BATCH = 1000;

const text = (bytes: number, seed: number): Uint8Array =>
  Buffer.from(
    Array.from(
      { length: Math.ceil(bytes / 16) },
      (_, index) => `{"field":${((seed * 7919 + index * 104729) % 99991) + 10000},`,
    )
      .join("")
      .slice(0, bytes),
  );

/** A topic of batches as a producer would send them. */
const fill = async (topic: string, count: number, bytes: number, codec: CodecId): Promise<void> => {
  await client.topics.create(topic);
  const frames = Array.from({ length: count / BATCH }, (_, frame) =>
    buildBatch(
      Array.from({ length: BATCH }, (_, index) => ({
        value: text(bytes, frame * BATCH + index),
        timestamp: Date.now(),
      })),
      { codec, codecs },
    ),
  );
  const session = Reflect.get(client, "session") as {
    ask(type: "produce", body: object, options: object): Promise<unknown>;
  };
  for (const batch of frames)
    await session.ask("produce", { topic, partition: 0, batch }, { kind: "once", timeoutMs: 30_000 });
};

/** CPU time of the broker so far, in milliseconds. */
const brokerCpu = (): number => {
  const fields = readFileSync(`/proc/${broker.pid}/stat`, "utf8").split(") ")[1]!.split(" ");
  return (Number(fields[11]) + Number(fields[12])) * 10;
};

const ownCpu = (): number => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
};

interface Figures {
  readonly perSecond: number;
  /** Microseconds per record read. */
  readonly broker: number;
  readonly readers: number;
}

const measure = async (
  topic: string,
  count: number,
  encoding: "batches" | "records",
  readers: number,
): Promise<Figures> => {
  const cpu = [brokerCpu(), ownCpu()] as const;
  const began = performance.now();
  const reading = Array.from({ length: readers }, async () => {
    const one = await connect(url);
    const consumer = one.consume({ topics: topic, from: "earliest", encoding });
    let left = count;
    for await (const { records } of consumer.batches()) if ((left -= records.length) <= 0) break;
    await one.close();
  });
  await Promise.all(reading);
  const total = count * readers;
  return {
    perSecond: (total / (performance.now() - began)) * 1000,
    broker: ((brokerCpu() - cpu[0]) * 1000) / total,
    readers: ((ownCpu() - cpu[1]) * 1000) / total,
  };
};

const median = (all: ReadonlyArray<number>): number => all.toSorted((a, b) => a - b)[all.length >> 1]!;

console.log("| records | readers | encoding | records/s | broker, µs/record | reader, µs/record |");
console.log("|---|--:|---|--:|--:|--:|");
for (const [name, bytes, codec, count] of [
  ["100 B", 100, 0, small],
  ["100 B, lz4", 100, Codec.lz4, small],
  ["100 B, zstd", 100, Codec.zstd, small],
  ["1 KB", 1000, 0, small / 10],
  ["1 KB, zstd", 1000, Codec.zstd, small / 10],
] as const) {
  const topic = name.replaceAll(/[ ,]+/g, "-");
  await fill(topic, count, bytes, codec);
  for (const readers of [1, 10])
    for (const encoding of ["batches", "records"] as const) {
      const figures: Figures[] = [];
      for (let round = 0; round < rounds; round++) figures.push(await measure(topic, count, encoding, readers));
      const of = (key: keyof Figures): number => median(figures.map((one) => one[key]));
      console.log(
        `| ${name} | ${readers} | ${encoding} | ${Math.round(of("perSecond")).toLocaleString("en")} | ${of("broker").toFixed(2)} | ${of("readers").toFixed(2)} |`,
      );
    }
}
await client.close();
await broker.stop();
await rm(directory, { recursive: true });
process.exit(0);
