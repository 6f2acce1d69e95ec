/**
 * `bun run bench:log`: the storage engine by itself, on the real disk. How fast a log opens after an orderly and after a
 * disorderly stop, how long a look-up in it takes, how fast the cleaner is, and for how long each of these keeps the event
 * loop from others. Every measure runs in a process of its own; what is read was just written, so it comes from the page
 * cache. Prints Markdown; removes what it wrote.
 */
import { mkdirSync, rmSync, unlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import * as Effect from "effect/Effect";
import { startBroker as startBrokerHere } from "../../actors/Broker.ts";
import { startCleaningThread } from "../../actors/CleaningThread.ts";
import { BrokerConfig } from "../../src/config/BrokerConfig.ts";
import { encodeOffsetCheckpoint } from "../../src/log/Checkpoints.ts";
import { type LoadedLog, loadLog } from "../../src/log/LogLoader.ts";
import { evolve, snapshotOf } from "../../src/log/LogState.ts";
import { SegmentScrub } from "../../src/log/Scrub.ts";
import { DEFAULT_LOG_CONFIG } from "../../src/log/UnifiedLog.ts";
import { makeBunPlatform } from "../../src/platform/BunPlatform.ts";
import { loadNativeCrc32c } from "../../src/platform/NativeCrc32c.ts";
import { Codec, type CodecId, type Codecs } from "../../src/record/Compression.ts";
import {
  BASE_TIMESTAMP_AT,
  HEADER_SIZE,
  MAX_TIMESTAMP_AT,
  readBatchInfo,
  recordBytes,
  stampBatch,
  updateCrc,
} from "../../src/record/RecordBatch.ts";
import { buildBatch, type NewRecord } from "../../src/record/RecordBatchBuilder.ts";
import { writeInt64 } from "../../src/record/Wire.ts";
import { type Broker, type BrokerKind, oracleName, startBroker } from "../../test/conformance/support/Brokers.ts";
import { createTopic, listOffsets } from "../../test/conformance/support/Requests.ts";
import { Wire } from "../../test/conformance/support/Wire.ts";

const help = `bun run bench:log [options]
  --gib N           size of the log that is opened and searched (default 10)
  --clean-mib N     size of the log that is cleaned, uncompressed (default 1024; compressed ones a quarter of it)
  --only NAME       open, look-up, scan or clean (repeatable; default all)
  --shape NAME      clean only this one (repeatable): plain, small, zstd, gzip, lz4, snappy
  --kafka           let Apache Kafka clean the same logs too
  --directory DIR   where the data goes (default: the temporary directory)`;

const { values: options } = parseArgs({
  args: Bun.argv.slice(2),
  options: {
    gib: { type: "string", default: "10" },
    "clean-mib": { type: "string", default: "1024" },
    only: { type: "string", multiple: true, default: [] },
    directory: { type: "string", default: tmpdir() },
    child: { type: "string" },
    work: { type: "string" },
    shape: { type: "string", multiple: true, default: [] },
    kafka: { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  },
});

const MIB = 1024 * 1024;
const GIB = 1024 * MIB;
const TOPIC = "big";
const START_TIME = 1_700_000_000_000;

interface Watched<A> {
  readonly result: A;
  readonly ms: number;
  /** Longest lateness of a timer that is due every millisecond, in milliseconds. */
  readonly stall: number;
  /** Most CPU time that the event loop's thread took between two of its ticks: the same, whatever else the machine does. */
  readonly turn: number;
  /** CPU time of all threads. */
  readonly cpuMs: number;
}

const threadCpuMs = (): number => {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1000;
};

const watched = async <A>(work: () => Promise<A>): Promise<Watched<A>> => {
  let stall = 0;
  let turn = 0;
  let due = performance.now() + 1;
  let cpu = threadCpuMs();
  let timer: Timer;
  const tick = (): void => {
    const now = performance.now();
    const cpuNow = threadCpuMs();
    stall = Math.max(stall, now - due);
    turn = Math.max(turn, cpuNow - cpu);
    due = now + 1;
    cpu = cpuNow;
    timer = setTimeout(tick, 1);
  };
  timer = setTimeout(tick, 1);
  const began = performance.now();
  const used = process.cpuUsage();
  const result = await work();
  const ms = performance.now() - began;
  const { user, system } = process.cpuUsage(used);
  // What kept the loop busy to the end shows in the next tick.
  await new Promise((resolve) => setTimeout(resolve, 5));
  clearTimeout(timer);
  return { result, ms, stall, turn, cpuMs: (user + system) / 1000 };
};

const percentile = (values: number[], share: number): number => {
  values.sort((a, b) => a - b);
  return values[Math.min(values.length - 1, Math.floor(values.length * share))] ?? Number.NaN;
};

// — data

/** Makes the `index`-th batch of a log, its offsets and timestamps not yet set. */
type Batches = (index: number) => Uint8Array;

/** Appends batches until the log has `bytes`; one batch a millisecond, by their timestamps. */
const fill = async ({ log, state }: LoadedLog, bytes: number, batches: Batches): Promise<void> => {
  let written = 0;
  for (let index = 0; written < bytes; ) {
    for (let size = 0; size < MIB && written < bytes; index++) {
      const batch = batches(index);
      writeInt64(batch, BASE_TIMESTAMP_AT, START_TIME + index);
      writeInt64(batch, MAX_TIMESTAMP_AT, START_TIME + index);
      updateCrc(batch, 0);
      stampBatch(batch, 0, state.logEndOffset, 0);
      const info = readBatchInfo(batch, 0);
      log.stage(batch, info, () => snapshotOf(state));
      evolve(state, info);
      size += batch.length;
      written += batch.length;
    }
    await log.write();
  }
};

/** Uncompressed batches of `count` records of `size` bytes. */
const plain = (count: number, size: number): Batches => {
  const value = new Uint8Array(size).map((_, index) => index * 31);
  const template = buildBatch(Array.from({ length: count }, () => ({ value })));
  return () => template.slice();
};

const words = ["temperature", "humidity", "pressure", "north", "south", "sensor", "building", "floor", "status", "ok"];

/** Records as programs write them: a key of which every other comes again later, and a text of `size` bytes. */
const keyed = (count: number, size: number, codec: CodecId, codecs: Codecs): Batches => {
  let seed = 1;
  const next = (below: number): number => {
    seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
    return (seed >>> 8) % below;
  };
  return (index) => {
    const records: NewRecord[] = Array.from({ length: count }, (_, at) => {
      const id = at % 2 === 0 ? next(50_000) : 1_000_000 + index * count + at;
      let text = `{"id":${id}`;
      while (text.length < size) text += `,"${words[next(words.length)]}":${next(1000)}`;
      return { key: Buffer.from(`key-${id}`), value: Buffer.from(text) };
    });
    return buildBatch(records, { codec, codecs });
  };
};

const SHAPES: Record<string, { readonly title: string; readonly batches: (codecs: Codecs) => Batches }> = {
  plain: { title: "16 KiB batches of 1 KiB records", batches: (codecs) => keyed(15, 1000, Codec.none, codecs) },
  small: { title: "1 KiB batches of 100 B records", batches: (codecs) => keyed(8, 100, Codec.none, codecs) },
  zstd: {
    title: "zstd, batches of 8,000 records (1 MB plain)",
    batches: (codecs) => keyed(8000, 120, Codec.zstd, codecs),
  },
  gzip: { title: "gzip, the same", batches: (codecs) => keyed(8000, 120, Codec.gzip, codecs) },
  lz4: { title: "lz4, the same", batches: (codecs) => keyed(8000, 120, Codec.lz4, codecs) },
  snappy: { title: "snappy, the same", batches: (codecs) => keyed(8000, 120, Codec.snappy, codecs) },
};

const openFolder = async (
  folder: string,
  segmentBytes: number,
  clean: boolean,
  recoveryPoint = 0,
): Promise<LoadedLog> =>
  loadLog(
    makeBunPlatform().disk,
    folder,
    { ...DEFAULT_LOG_CONFIG, segmentBytes },
    { clean, recoveryPoint, logStartOffset: 0 },
  );

/** Ends a log as an orderly stop does, but for the flushes: what is measured here is not the disk. */
const close = ({ log, state }: LoadedLog): void => {
  const ticket = log.prepareClose(snapshotOf(state));
  if (ticket !== undefined) log.flushed(ticket);
  log.close();
};

// — measures, each the whole work of a process; they print one line of JSON

type Figures = Record<string, number>;

const folderOf = (directory: string): string => join(directory, `${TOPIC}-0`);

const measures: Record<string, (directory: string) => Promise<Figures>> = {
  /** Writes the log that the next ones open. */
  async fill(directory) {
    mkdirSync(folderOf(directory), { recursive: true });
    const loaded = await openFolder(folderOf(directory), GIB, false);
    const began = performance.now();
    await fill(loaded, Number(options.gib) * GIB, plain(15, 1050));
    const seconds = (performance.now() - began) / 1000;
    const { size } = loaded.log;
    close(loaded);
    return { megabytesPerSecond: size / 1e6 / seconds, endOffset: loaded.state.logEndOffset, size };
  },

  async openClean(directory) {
    const { ms, stall, turn } = await watched(() => openFolder(folderOf(directory), GIB, true));
    return { ms, stall, turn };
  },

  /** From the beginning on: everything is checked. */
  async openUnclean(directory) {
    loadNativeCrc32c();
    const { result, ms, stall, turn } = await watched(() => openFolder(folderOf(directory), GIB, false));
    return { ms, stall, turn, megabytesPerSecond: result.log.size / 1e6 / (ms / 1000) };
  },

  async lookUp(directory) {
    const { log } = await openFolder(folderOf(directory), GIB, true);
    const end = log.logEndOffset;
    const codecs = makeBunPlatform().codecs;
    let seed = 7;
    const anywhere = (): number => {
      seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
      return (seed / 2 ** 32) * (end - 1);
    };
    const read = async (offset: number): Promise<number> => {
      const began = performance.now();
      await log.read(offset, 4096, end, true);
      return performance.now() - began;
    };
    const byTime = async (offset: number): Promise<number> => {
      const began = performance.now();
      await log.offsetForTimestamp(START_TIME + Math.floor(offset / 15), 0, end, codecs);
      return performance.now() - began;
    };
    const firsts: number[] = [];
    // The first look-up in a segment checks its index.
    for (const { baseOffset } of log.segments) firsts.push(await read(baseOffset + 1000));
    const warm: number[] = [];
    const times: number[] = [];
    const { stall, turn } = await watched(async () => {
      for (let at = 0; at < 20_000; at++) {
        warm.push(await read(Math.floor(anywhere())));
        times.push(await byTime(Math.floor(anywhere())));
        if (at % 50 === 0) await new Promise((resolve) => setTimeout(resolve, 0));
      }
    });
    return {
      firstMaxUs: percentile(firsts, 1) * 1000,
      p50Us: percentile(warm, 0.5) * 1000,
      p99Us: percentile(warm, 0.99) * 1000,
      maxUs: percentile(warm, 1) * 1000,
      timeP50Us: percentile(times, 0.5) * 1000,
      timeP99Us: percentile(times, 0.99) * 1000,
      stall,
      turn,
    };
  },

  /** The whole check of one segment of tiny batches: what recovery does, and the scrub. */
  async scanTiny(directory) {
    loadNativeCrc32c();
    const folder = join(directory, "tiny-0");
    mkdirSync(folder, { recursive: true });
    const loaded = await openFolder(folder, 2 * GIB - 1, false);
    await fill(loaded, 512 * MIB, plain(1, 60));
    const { size } = loaded.log;
    loaded.log.roll(() => snapshotOf(loaded.state));
    await loaded.log.write();
    const scrub = new SegmentScrub(loaded.log.segments[0]!, {
      endOffset: loaded.log.logEndOffset,
      epochOf: () => 0,
    });
    const scrubbing = await watched(async () => {
      while (!scrub.isDone) {
        if ((await scrub.next(MIB)) !== undefined) throw new Error("damage in what was just written");
        await new Promise((resolve) => setTimeout(resolve, 0));
      }
    });
    close(loaded);
    const recovering = await watched(() => openFolder(folder, 2 * GIB - 1, false));
    return {
      recoveryMegabytesPerSecond: size / 1e6 / (recovering.ms / 1000),
      recoveryStall: recovering.stall,
      recoveryTurn: recovering.turn,
      scrubMegabytesPerSecond: size / 1e6 / (scrubbing.ms / 1000),
      scrubStall: scrubbing.stall,
      scrubTurn: scrubbing.turn,
    };
  },

  /** Writes the log that `clean` cleans. */
  async fillClean(directory) {
    const [name = ""] = options.shape;
    const share = ["plain", "small"].includes(name) ? 1 : 0.25;
    mkdirSync(folderOf(directory), { recursive: true });
    const loaded = await openFolder(folderOf(directory), 128 * MIB, true);
    const { codecs } = makeBunPlatform();
    const batches = SHAPES[name]!.batches(codecs);
    let uncompressed = 0;
    await fill(loaded, Number(options["clean-mib"]) * MIB * share, (index) => {
      const batch = batches(index);
      uncompressed += HEADER_SIZE + recordBytes(batch, 0, codecs).length;
      return batch;
    });
    const { size } = loaded.log;
    loaded.log.roll(() => snapshotOf(loaded.state));
    // One more, so that the rest is sealed.
    await fill(loaded, 1, plain(1, 10));
    close(loaded);
    return { size, uncompressed };
  },

  /** A whole broker in this process, whose cleaner finds a dirty log. */
  async clean(directory) {
    const platform = { ...makeBunPlatform(), cleaningWork: startCleaningThread };
    const done = Promise.withResolvers<string>();
    const broker = await Effect.runPromise(
      startBrokerHere(platform, {
        config: BrokerConfig.of({
          "log.dirs": directory,
          listeners: "PLAINTEXT://127.0.0.1:0",
          "http.listeners": "",
          "log.cleaner.backoff.ms": "500",
        }),
        log: (level, message) => {
          if (level !== "info") done.reject(new Error(message));
        },
        requestLog: () => undefined,
        fatal: (why) => done.reject(new Error(why)),
      }),
    );
    const checkpoint = join(directory, "cleaner-offset-checkpoint");
    const cleaned = async (): Promise<void> => {
      for (;;) {
        if (await Bun.file(checkpoint).exists()) return;
        await Promise.race([done.promise, Bun.sleep(5)]);
      }
    };
    await Bun.sleep(450);
    const { ms, stall, turn, cpuMs } = await watched(cleaned);
    const rss = process.memoryUsage().rss;
    await Effect.runPromise(broker.stop);
    return { ms, stall, turn, cpuMs, rssMib: rss / MIB };
  },
};

if (options.child !== undefined) {
  const figures = await measures[options.child]!(options.work!);
  console.log(JSON.stringify(figures));
  process.exit(0);
}

if (options.help) {
  console.log(help);
  process.exit(0);
}

// — the parent

const root = join(options.directory, `odradek-bench-log-${process.pid}`);
const wants = (name: string): boolean => options.only.length === 0 || options.only.includes(name);

const child = async (name: string, directory: string, shape = ""): Promise<Figures> => {
  console.error(`  ${name} ${shape}`);
  const args = ["--child", name, "--work", directory, "--shape", shape];
  const process = Bun.spawn([globalThis.process.execPath, import.meta.path, ...args, ...passed], {
    stdout: "pipe",
    stderr: "inherit",
  });
  const output = await new Response(process.stdout).text();
  if ((await process.exited) !== 0) throw new Error(`${name} failed: ${output}`);
  return JSON.parse(output.trim().split("\n").at(-1) ?? "");
};
const passed = ["--gib", options.gib, "--clean-mib", options["clean-mib"]];

const rows: Array<readonly [measure: string, figure: string, target: string]> = [];
const add = (measure: string, figure: string, target = ""): void => {
  rows.push([measure, figure, target]);
  console.error(`${measure}: ${figure}`);
};
const shown = (value: number | undefined, digits = 0): string =>
  value === undefined ? "?" : value.toLocaleString("en-US", { maximumFractionDigits: digits });

const addStall = (stall: number | undefined, turn: number | undefined, target = ""): void =>
  add("… longest stall, ms (longest turn, ms of CPU)", `${shown(stall, 1)} (${shown(turn, 1)})`, target);

/** A broker with an empty topic in it, stopped in an orderly way. */
const prepared = async (
  directory: string,
  configs: Readonly<Record<string, string>>,
  kind: BrokerKind = "odradek",
): Promise<Broker> => {
  const own = kind === "odradek" ? { "http.listeners": "" } : { "log.cleaner.backoff.ms": "4000" };
  const broker = await startBroker(kind, directory, own);
  const wire = await Wire.open(broker);
  await createTopic(wire, TOPIC, 1, configs);
  wire.close();
  await broker.stop();
  return broker;
};

/** Start of a broker process until it has answered where the log ends. */
const startAndAsk = async (broker: Broker): Promise<number> => {
  const began = performance.now();
  await broker.start();
  try {
    const wire = await Wire.open(broker);
    await listOffsets(wire, TOPIC, -1);
    wire.close();
    return performance.now() - began;
  } finally {
    await broker.stop();
  }
};

const COMPACTED = {
  "cleanup.policy": "compact",
  "min.cleanable.dirty.ratio": "0.01",
  "segment.bytes": String(128 * MIB),
};

/** Milliseconds that Kafka's cleaner says it took for the log that ours is given. */
const cleanWithKafka = async (directory: string, shape: string): Promise<number> => {
  const broker = await prepared(directory, COMPACTED, "kafka");
  await child("fillClean", broker.dataDirectory, shape);
  await broker.start();
  try {
    const wire = await Wire.open(broker);
    // What the cleaner did it says at this level.
    const info = [{ name: "root", configOperation: 0, value: "INFO" }];
    const logger = { resourceType: 8, resourceName: "1", configs: info };
    await wire.call("IncrementalAlterConfigs", 1, { resources: [logger], validateOnly: false });
    wire.close();
    for (let attempt = 0; attempt < 12_000; attempt++) {
      const seconds = /cleaned log big-0[\s\S]*?log processed in ([\d,.]+) seconds/.exec(broker.log())?.[1];
      if (seconds !== undefined) return Number(seconds.replaceAll(",", "")) * 1000;
      await Bun.sleep(50);
    }
    throw new Error(`Kafka did not clean the log:\n${broker.log()}`);
  } finally {
    await broker.stop();
  }
};

try {
  if (wants("open") || wants("look-up")) {
    const directory = join(root, "open");
    mkdirSync(directory, { recursive: true });
    const broker = await prepared(directory, { "segment.bytes": String(GIB) });
    const data = broker.dataDirectory;
    const filled = await child("fill", data);
    const gigabytes = shown((filled.size ?? 0) / 1e9, 1);
    add(`append, ${gigabytes} GB in batches of 16 KiB, MB/s`, shown(filled.megabytesPerSecond));
    if (wants("open")) {
      const clean = await child("openClean", data);
      add("open the log after an orderly stop, ms", shown(clean.ms, 1), "< 1,000");
      addStall(clean.stall, clean.turn);
      add("start a broker on it until ListOffsets is answered, ms", shown(await startAndAsk(broker)), "< 1,000");
      const unclean = await child("openUnclean", data);
      add("open it after a crash, checked from its beginning, MB/s", shown(unclean.megabytesPerSecond), "≥ 500");
      addStall(unclean.stall, unclean.turn);
      // What is durable is not read: the recovery point is where the last but one segment begins.
      const loaded = await openFolder(folderOf(data), GIB, true);
      const beyond = loaded.log.segments.slice(-2);
      const last = beyond[0]?.baseOffset ?? 0;
      const lastBytes = beyond.reduce((sum, { size }) => sum + size, 0);
      loaded.log.close();
      writeFileSync(
        join(data, "recovery-point-offset-checkpoint"),
        encodeOffsetCheckpoint([{ topic: TOPIC, partition: 0, offset: last }]),
      );
      unlinkSync(join(data, ".kafka_cleanshutdown"));
      const ms = await startAndAsk(broker);
      add(`start a broker after a crash, ${shown(lastBytes / 1e6)} MB beyond the recovery point, ms`, shown(ms));
    }
    if (wants("look-up")) {
      const found = await child("lookUp", data);
      add(
        `look-up by offset in ${gigabytes} GB, p50 / p99 / max, µs`,
        `${shown(found.p50Us, 1)} / ${shown(found.p99Us, 1)} / ${shown(found.maxUs)}`,
        "p99 < 1,000",
      );
      add("look-up by time, p50 / p99, µs", `${shown(found.timeP50Us, 1)} / ${shown(found.timeP99Us, 1)}`);
      add("first look-up in a segment (its index is checked), max, µs", shown(found.firstMaxUs));
      addStall(found.stall, found.turn);
    }
    rmSync(directory, { recursive: true, force: true });
  }
  if (wants("scan")) {
    const directory = join(root, "scan");
    const scan = await child("scanTiny", directory);
    add("recovery of a segment of 130-byte batches, MB/s", shown(scan.recoveryMegabytesPerSecond), "≥ 500");
    addStall(scan.recoveryStall, scan.recoveryTurn);
    add("scrub of it, MB/s", shown(scan.scrubMegabytesPerSecond));
    addStall(scan.scrubStall, scan.scrubTurn, "≤ 10");
    rmSync(directory, { recursive: true, force: true });
  }
  if (wants("clean")) {
    for (const [shape, { title }] of Object.entries(SHAPES)) {
      if (options.shape.length > 0 && !options.shape.includes(shape)) continue;
      const directory = join(root, "clean");
      const { dataDirectory: data } = await prepared(directory, COMPACTED);
      const { size = 0, uncompressed = 0 } = await child("fillClean", data, shape);
      const rate = (ms: number): string => {
        const stored = shown(size / 1e6 / (ms / 1000));
        return uncompressed < 1.1 * size
          ? stored
          : `${stored} (${shown(uncompressed / 1e6 / (ms / 1000))} uncompressed)`;
      };
      const { ms = 0, stall, turn, cpuMs = 0, rssMib } = await child("clean", data, shape);
      add(`clean ${shown(size / 1e6)} MB, ${title}, MB/s`, rate(ms), "≥ 100");
      add("… MB per second of CPU, all threads", rate(cpuMs));
      addStall(stall, turn, "≤ 10");
      add("… memory of the process, MiB", shown(rssMib));
      rmSync(directory, { recursive: true, force: true });
      if (!options.kafka) continue;
      add(`… ${oracleName} on the same log, MB/s`, rate(await cleanWithKafka(directory, shape)));
      rmSync(directory, { recursive: true, force: true });
    }
  }
  console.log(
    `| measure | figure | target |\n|---|--:|--:|\n${rows.map((row) => `| ${row.join(" | ")} |`).join("\n")}`,
  );
} finally {
  rmSync(root, { recursive: true, force: true });
}
