/** The lines are those Kafka's DumpLogSegments prints for the same files (compared by the conformance suite). */
import { describe, expect, test } from "bun:test";
import { dumpExitCode, dumpLog } from "../../src/cli/DumpLog.ts";
import { type DumpLogOptions, parseDumpLogArguments } from "../../src/cli/DumpLogArguments.ts";
import { snapshotOf } from "../../src/log/LogState.ts";
import { encodeMetadataBatch } from "../../src/metadata/MetadataBatch.ts";
import { makeBunCodecs } from "../../src/platform/BunCodecs.ts";
import { readBatchInfo } from "../../src/record/RecordBatch.ts";
import { buildBatch } from "../../src/record/RecordBatchBuilder.ts";
import { DIRECTORY, LogDriver, TINY } from "../support/LogDriver.ts";
import { MemoryDisk } from "../support/MemoryDisk.ts";

const codecs = makeBunCodecs();

const optionsOf = (...args: string[]): DumpLogOptions => {
  const parsed = parseDumpLogArguments(args);
  if (parsed.kind !== "run") throw new Error(JSON.stringify(parsed));
  return parsed.arguments;
};

const run = async (disk: MemoryDisk, ...args: string[]) => {
  const out: string[] = [];
  const err: string[] = [];
  const options = optionsOf(...args);
  const dumped = await dumpLog(options, {
    disk,
    codecs,
    out: (line) => out.push(line),
    err: (line) => err.push(line),
  });
  return { fine: dumped.problems === 0, code: dumpExitCode(dumped, options), out, err };
};

/** A transaction, an aborted one, and a second segment. */
const written = async (): Promise<LogDriver> => {
  const driver = await LogDriver.open({ ...TINY, segmentBytes: 4000, indexIntervalBytes: 100 });
  const record = (index: number) => ({
    key: Buffer.from(`k${index}`),
    value: Buffer.from(`v${index}`),
    timestamp: 100 + index,
  });
  driver.stage(
    buildBatch([{ ...record(0), headers: [{ key: "h", value: null }] }, record(1)], {
      codec: 1,
      codecs,
      producerId: 7,
      producerEpoch: 2,
      baseSequence: 0,
      transactional: true,
    }),
  );
  await driver.log.write();
  await driver.endTransaction("abort", 7, 2);
  for (let index = 2; index < 6; index += 1) driver.stage(buildBatch([record(index)]));
  await driver.log.write();
  driver.log.roll(() => snapshotOf(driver.state));
  driver.stage(buildBatch([record(6)]));
  await driver.log.write();
  driver.stop();
  return driver;
};

const file = (suffix: string, base = 0): string => `${DIRECTORY}/${String(base).padStart(20, "0")}${suffix}`;

describe("dump-log", () => {
  test("batches and records in Kafka's words", async () => {
    const { disk } = await written();
    const { out, fine } = await run(disk, file(".log"), "--print-data-log");
    expect(out.slice(0, 2)).toEqual([`Dumping ${file(".log")}`, "Log starting offset: 0"]);
    expect(out[2]).toMatch(
      /^baseOffset: 0 lastOffset: 1 count: 2 baseSequence: 0 lastSequence: 1 producerId: 7 producerEpoch: 2 partitionLeaderEpoch: 0 isTransactional: true isControl: false deleteHorizonMs: OptionalLong.empty position: 0 CreateTime: 101 size: \d+ magic: 2 compresscodec: gzip crc: \d+ isvalid: true$/,
    );
    expect(out[3]).toBe(
      "| offset: 0 CreateTime: 100 keySize: 2 valueSize: 2 sequence: 0 headerKeys: [h] key: k0 payload: v0",
    );
    expect(out[6]).toBe(
      "| offset: 2 CreateTime: 5 keySize: 4 valueSize: 6 sequence: -1 headerKeys: [] endTxnMarker: ABORT coordinatorEpoch: 1",
    );
    expect(fine).toBe(true);
  });

  test("indexes, producers and aborted transactions", async () => {
    const { disk } = await written();
    const index = await run(disk, file(".index"));
    expect(index.out[1]).toMatch(/^offset: \d+ position: \d+$/);
    expect((await run(disk, file(".timeindex"))).out[1]).toMatch(/^timestamp: \d+ offset: \d+$/);
    expect((await run(disk, file(".index"), "--index-sanity-check")).out[1]).toBe(
      `${file(".index")} passed sanity check.`,
    );
    expect((await run(disk, file(".txnindex"))).out[1]).toBe(
      "version: 0 producerId: 7 firstOffset: 0 lastOffset: 2 lastStableOffset: 3",
    );
    expect((await run(disk, file(".snapshot", 7))).out[1]).toBe(
      "producerId: 7 producerEpoch: 2 coordinatorEpoch: 1 currentTxnFirstOffset: OptionalLong.empty lastTimestamp: 5 firstSequence: 0 lastSequence: 1 lastOffset: 1 offsetDelta: 1 timestamp: 101",
    );
  });

  test("--json is JSON whatever there is to say: of what is whole, of gaps, of files that are none of a log", async () => {
    const { disk } = await written();
    const { out, err } = await run(disk, "--json", "--verify", DIRECTORY);
    expect(out.map((line) => JSON.parse(line))).toContainEqual({ file: file(".log"), ok: true });
    expect(out.length).toBeGreaterThan(4);
    expect(err).toEqual([]);
    const stranger = await run(disk, "--json", `${DIRECTORY}/notes.txt`);
    expect(stranger.err.map((line) => JSON.parse(line))).toEqual([
      { file: `${DIRECTORY}/notes.txt`, ignored: "unknown file" },
    ]);
    const bytes = disk.content(file(".log"));
    const [first] = [readBatchInfo(bytes, 0).sizeInBytes];
    disk.put(
      file(".log"),
      Buffer.concat([bytes.subarray(0, first), bytes.subarray(first + readBatchInfo(bytes, first).sizeInBytes)]),
    );
    const gapped = await run(disk, "--json", "--deep-iteration", file(".log"));
    expect(gapped.err.map((line) => JSON.parse(line))).toEqual([{ file: file(".log"), gaps: [[1, 3]] }]);
  });

  test("--json gives one object a line", async () => {
    const { disk } = await written();
    const { out } = await run(disk, file(".log"), "--json", "--print-data-log");
    const lines = out.map((line): unknown => JSON.parse(line));
    expect(lines[2]).toMatchObject({ baseOffset: 0, producerId: 7, isvalid: true, compresscodec: "gzip" });
    expect(lines[3]).toMatchObject({ offset: 0, key: "k0", payload: "v0", headerKeys: ["h"] });
  });

  test("--verify says of every file of a folder that it is right, and of each damage where it is", async () => {
    const { disk } = await written();
    const whole = await run(disk, DIRECTORY, "--verify");
    expect([whole.fine, whole.err]).toEqual([true, []]);
    expect(whole.out.length).toBeGreaterThan(6);
    expect(whole.out.every((line) => line.endsWith(" ok"))).toBe(true);
    const damages: ReadonlyArray<[suffix: string, base: number, at: number]> = [
      [".log", 0, 70],
      [".index", 0, 7],
      [".timeindex", 0, 7],
      [".txnindex", 0, 1],
      [".snapshot", 7, 20],
    ];
    for (const [suffix, base, at] of damages) {
      const copy = disk.copy();
      const path = file(suffix, base);
      const content = copy.content(path);
      content[at]! ^= 1;
      copy.put(path, content);
      const { fine, code, err } = await run(copy, path, "--verify");
      expect([suffix, fine, code, err.length > 0]).toEqual([suffix, false, 1, true]);
      expect((await run(copy, path)).code).toBe(0);
    }
    const cut = disk.copy();
    cut.put(file(".log", 7), cut.content(file(".log", 7)).subarray(0, 60));
    expect((await run(cut, file(".log", 7), "--verify")).err[0]).toContain("Found 60 invalid bytes at the end of");
  });

  test("the metadata log by its folder's name, in Kafka's names", async () => {
    const disk = new MemoryDisk();
    const path = "data/__cluster_metadata-0/00000000000000000000.log";
    const record = { type: "FeatureLevelRecord" as const, message: { name: "metadata.version", featureLevel: 30 } };
    disk.put(path, encodeMetadataBatch([record], { baseOffset: 0, epoch: 1, timestamp: 5 }));
    const { out } = await run(disk, path, "--print-data-log", "--skip-record-metadata");
    expect(out.at(-1)).toBe(
      '| payload: {"type":"FEATURE_LEVEL_RECORD","version":0,"data":{"name":"metadata.version","featureLevel":30}}',
    );
  });

  test("a file that is not there, or is nobody's, is told and the rest is dumped", async () => {
    const { disk } = await written();
    const { code, out, err } = await run(disk, "nowhere/0.log", "README", file(".txnindex"));
    expect(code).toBe(1);
    expect(err).toEqual(["nowhere/0.log: there is no such file", "Ignoring unknown file README"]);
    expect(out.at(-1)).toContain("producerId: 7");
  });

  test.each(["log", "index", "timeindex", "txnindex"])(
    "a .%s whose name is no offset is told, not dumped",
    async (suffix) => {
      const { disk } = await written();
      for (const name of [`copy.${suffix}`, `5-copy.${suffix}`]) {
        disk.put(name, disk.readFile(file(`.${suffix}`))!);
        const { fine, out, err } = await run(disk, name);
        expect(fine).toBe(false);
        expect(err).toEqual([`${name}: its name does not begin with an offset and a dot`]);
        expect(out).toEqual([`Dumping ${name}`]);
      }
    },
  );
});

describe("its arguments", () => {
  test("Kafka's options and plain files", () => {
    const options = optionsOf("--files", "a.log,b.index", "--deep-iteration", "c.snapshot", "--max-bytes=10");
    expect(options).toMatchObject({
      files: ["a.log", "b.index", "c.snapshot"],
      deep: true,
      printData: false,
      maxBytes: 10,
    });
    expect(optionsOf("x.log", "--offsets-decoder")).toMatchObject({ decoder: "offsets", printData: true, deep: true });
  });

  test("what is wrong is said", () => {
    expect(parseDumpLogArguments([])).toMatchObject({
      kind: "error",
      message: expect.stringContaining("no file given"),
    });
    expect(parseDumpLogArguments(["--nope"])).toMatchObject({ kind: "error" });
    expect(parseDumpLogArguments(["--files"])).toMatchObject({ kind: "error" });
    expect(parseDumpLogArguments(["--help"])).toMatchObject({ kind: "help" });
  });
});
