/** Reads that compaction overtakes: what was read and what is said about it belong together. */
import { expect, test } from "bun:test";
import { readPartition } from "../../src/api/FetchRead.ts";
import { snapshotOf } from "../../src/log/LogState.ts";
import type { PartitionView } from "../../src/partition/PartitionView.ts";
import type { DiskFile } from "../../src/platform/Disk.ts";
import { type BatchOptions, buildBatch } from "../../src/record/RecordBatchBuilder.ts";
import { cleanLog, recordsOf } from "../support/CleaningDriver.ts";
import { LogDriver, TINY } from "../support/LogDriver.ts";

const PRODUCER = { producerId: 9, producerEpoch: 0 };

const recordOf = (key: string, options: BatchOptions = {}): Uint8Array =>
  buildBatch([{ key: Buffer.from(key), value: Buffer.from("v") }], options);

/** The producer of the aborted transaction goes on, so that nothing of it has to stay. */
const goOn = async (driver: LogDriver, baseSequence: number): Promise<void> => {
  driver.stage(recordOf("b", { ...PRODUCER, baseSequence, transactional: true }));
  await driver.log.write();
  await driver.endTransaction("commit", 9);
  driver.flush();
};

/** A sealed segment of an aborted record, its marker and a plain one, and one plain record in the active segment. */
const withAborted = async (): Promise<LogDriver> => {
  const driver = await LogDriver.open({ ...TINY, segmentBytes: 10_000 });
  driver.stage(recordOf("aborted", { ...PRODUCER, baseSequence: 0, transactional: true }));
  await driver.log.write();
  await driver.endTransaction("abort", 9);
  driver.stage(recordOf("a"));
  await driver.log.write();
  driver.log.roll(() => snapshotOf(driver.state));
  await goOn(driver, 1);
  return driver;
};

const viewOf = ({ log, state, end }: LogDriver): PartitionView => ({
  topic: "t",
  topicId: "",
  partition: 0,
  leaderId: 1,
  leaderEpoch: 0,
  logStartOffset: 0,
  highWatermark: end,
  lastStableOffset: end,
  logEndOffset: end,
  committedBytes: 0,
  log,
  state,
});

/** The first read of a batch waits until `opened` is called. */
const gated = ({ disk }: LogDriver): { opened: () => void } => {
  const gate = Promise.withResolvers<void>();
  let waits = true;
  const { open } = disk;
  disk.open = (path, mode) => {
    const file = open.call(disk, path, mode);
    const read: DiskFile["read"] = (target, position) => {
      const there = file.read(target, position);
      if (!waits || !path.endsWith("0.log")) return there;
      waits = false;
      return gate.promise.then(() => there);
    };
    return Object.create(file, { read: { value: read } });
  };
  return { opened: gate.resolve };
};

const committed = async (driver: LogDriver, offset: number): Promise<string[]> => {
  const read = await readPartition(viewOf(driver), {
    offset,
    maxBytes: 9999,
    minOneBatch: true,
    readCommitted: true,
    fromFile: false,
  });
  if (typeof read === "number") throw new Error(`error ${read}`);
  if (!(read.records instanceof Uint8Array)) throw new Error("a file, where bytes were wanted");
  const aborted = new Set(read.abortedTransactions?.map(({ producerId }) => producerId));
  return recordsOf(read.records).flatMap(({ key, producerId }) => (aborted.has(producerId) ? [] : [key ?? ""]));
};

const clean = async (driver: LogDriver): Promise<void> => {
  // Twice: the first time leaves the producer's last batch, empty; the second has no transaction to speak of.
  for (const now of [5000, 9000]) await cleanLog(driver.disk, driver.log, driver.state, { now });
};

test("a segment that is compacted while it is read: the reader is not given the aborted record", async () => {
  const driver = await withAborted();
  driver.stop();
  driver.adopt(await driver.load({ clean: true, recoveryPoint: driver.end }, driver.disk));
  const { opened } = gated(driver);
  const reading = committed(driver, 0);
  await clean(driver);
  opened();
  expect(await reading).toEqual(["a"]);
});

test("… and the next read goes on in the segment that is there now", async () => {
  const driver = await withAborted();
  driver.stop();
  driver.adopt(await driver.load({ clean: true, recoveryPoint: driver.end }, driver.disk));
  const { opened } = gated(driver);
  const reading = readPartition(viewOf(driver), {
    offset: 0,
    maxBytes: 80,
    minOneBatch: true,
    readCommitted: false,
    fromFile: false,
  });
  await clean(driver);
  opened();
  await reading;
  expect(await committed(driver, 1)).toEqual(["a"]);
  expect(await committed(driver, 3)).toEqual(["b"]);
});

test("what is kept in memory for readers at the end is forgotten when its segment is compacted", async () => {
  const driver = await withAborted();
  // A reader was at the end, so what follows is kept.
  await committed(driver, driver.end - 1);
  const from = driver.end;
  driver.stage(recordOf("gone", { ...PRODUCER, baseSequence: 2, transactional: true }));
  await driver.log.write();
  await driver.endTransaction("abort", 9);
  driver.stage(recordOf("c"));
  await driver.log.write();
  driver.log.roll(() => snapshotOf(driver.state));
  await goOn(driver, 3);
  expect(await committed(driver, from)).toContain("c");
  await clean(driver);
  const read = await committed(driver, from);
  expect(read).toContain("c");
  expect(read).not.toContain("gone");
});
