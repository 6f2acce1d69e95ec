/**
 * Real bugs of brokers and clients (correctness.md §7), each as the fixed scenario that showed it, as far as one broker can
 * show it; here are those of the log, of compaction and of offsets. Where the others are:
 *
 * | # | bug | scenario |
 * |--:|---|---|
 * | 1 | KAFKA-18660 version 2 epoch overflow answers the wrong producer | `Transactions.test.ts` |
 * | 2 | KAFKA-18575 the next transaction while the last one is completed | `Transactions.test.ts` |
 * | 3 | KAFKA-19367 a fence that bumps twice | `Transactions.test.ts` |
 * | 4 | KAFKA-19999 a marker's lost answer, a livelock in Prepare | `Transactions.test.ts`; crashes in `simulation/Transactions.test.ts` |
 * | 5 | KAFKA-14884 verification of another transaction | `Transactions.test.ts` |
 * | 6 | KAFKA-15653 verification and compressed batches | `transaction/TransactionsOnBroker.test.ts` |
 * | 7 | KAFKA-10706 elections without data | here; truncating followers come with replication |
 * | 8 | KAFKA-9491 a log start above the high watermark | here |
 * | 9 | KAFKA-7897, 7959 gaps in the epochs | here; what followers do with the answer comes with replication |
 * | 10 | KAFKA-16541 epochs that were not flushed | here |
 * | 11 | KAFKA-14055 a marker removed by a record of its key | here |
 * | 12 | KAFKA-13727 abort information lost by a pass that ended early | here |
 * | 13 | KAFKA-8351 transactions over several segments | here |
 * | 14 | KAFKA-20036 an offset overflow that replays transaction state | no such path: `groupSegments` leaves room for every offset |
 * | 15 | KAFKA-4529 a tombstone that goes too early | here |
 * | 16 | KAFKA-16147 one partition, two members | `group/ConsumerGroupHeartbeat.test.ts` |
 * | 17 | KAFKA-19862 a group's replay while its log is compacted | `group/ConsumerGroup.test.ts` |
 * | 18 | KAFKA-13636 offsets that expire while their group rebalances | here |
 * | 19 | KAFKA-19012 a buffer used again while it is in flight | `simulation/Scenarios.test.ts`, "a frame's buffer is used again" |
 * | 20 | KAFKA-17754 an EndTxn that was late | `Transactions.test.ts` |
 * | 21 | KAFKA-14034 an error code that makes clients write twice | here |
 * | 22 | crabka PR 528, markers taken for one key | here |
 */
import { describe, expect, test } from "bun:test";
import { classicGroup } from "../../src/group/CoordinatorState.ts";
import { LeaderEpochCache } from "../../src/log/LeaderEpochCache.ts";
import { snapshotOf } from "../../src/log/LogState.ts";
import { isRejection, type ValidationRules, validateBatch } from "../../src/log/LogValidator.ts";
import { Errors } from "../../src/protocol/Errors.ts";
import { ATTRIBUTES_AT, forEachBatch, isControl, readBatchInfo, updateCrc } from "../../src/record/RecordBatch.ts";
import { buildBatch } from "../../src/record/RecordBatchBuilder.ts";
import { ClassicClient, fetchOffset } from "../group/ClassicClient.ts";
import { CoordinatorWorld } from "../group/CoordinatorWorld.ts";
import { cleanLog, codecs, committedMap, recordsOf } from "../support/CleaningDriver.ts";
import { LogDriver, readAll, TINY } from "../support/LogDriver.ts";

const DAY = 86_400_000;
const RETENTION = 1000;

/** A log that is compacted by hand, with transactions of producers by id. */
class CompactedLog {
  private readonly sequences = new Map<number, number>();

  private constructor(readonly driver: LogDriver) {}

  static async open(): Promise<CompactedLog> {
    return new CompactedLog(await LogDriver.open({ ...TINY, segmentBytes: 100_000 }));
  }

  /** One batch, a record for each key; inside a transaction when `producerId` is one. */
  async put(keys: ReadonlyArray<string | Uint8Array>, value: string | null, producerId = -1): Promise<void> {
    const records = keys.map((key) => ({
      key: typeof key === "string" ? Buffer.from(key) : key,
      value: value === null ? null : Buffer.from(value),
      timestamp: 100,
    }));
    const baseSequence = this.sequences.get(producerId) ?? 0;
    this.sequences.set(producerId, baseSequence + keys.length);
    const producer = producerId < 0 ? {} : { producerId, producerEpoch: 0, baseSequence, transactional: true };
    this.driver.stage(buildBatch(records, producer));
    await this.driver.log.write();
  }

  /** What was written since the last time is a segment of its own. */
  async seal(): Promise<void> {
    this.driver.log.roll(() => snapshotOf(this.driver.state));
    await this.driver.log.write();
    this.driver.flush();
  }

  clean(now: number, options: { readonly firstDirty?: number; readonly mapKeys?: number } = {}): Promise<number> {
    const { disk, log, state } = this.driver;
    return cleanLog(disk, log, state, { now, deleteRetentionMs: RETENTION, ...options });
  }

  async markers(): Promise<number[]> {
    const bytes = await readAll(this.driver.log);
    const found: number[] = [];
    forEachBatch(bytes, 0, bytes.length, (at) => {
      const { attributes, baseOffset, recordCount } = readBatchInfo(bytes, at);
      if (isControl(attributes) && recordCount > 0) found.push(baseOffset);
      return true;
    });
    return found;
  }

  async keys(): Promise<Array<string | null>> {
    return recordsOf(await readAll(this.driver.log)).map(({ key }) => key);
  }

  committed(): Promise<Map<string, string>> {
    return committedMap(this.driver.log, this.driver.state.lastStableOffset(this.driver.end));
  }
}

describe("compaction", () => {
  test("KAFKA-14055: a record with the bytes of a marker's key and the marker leave each other alone", async () => {
    const log = await CompactedLog.open();
    const commitKey = Uint8Array.of(0, 0, 0, 1);
    await log.put(["a"], "first", 1);
    await log.driver.endTransaction("commit", 1);
    await log.put([commitKey], "data");
    await log.seal();
    await log.clean(5000);
    expect(await log.markers()).toEqual([1]);
    expect(await log.keys()).toEqual(["a", "\0\0\0\u0001"]);
  });

  test("crabka PR 528: markers of several transactions are not versions of one key", async () => {
    const log = await CompactedLog.open();
    for (const producerId of [1, 2, 3]) {
      await log.put([`k${producerId}`], "v", producerId);
      await log.driver.endTransaction(producerId === 2 ? "abort" : "commit", producerId);
    }
    await log.seal();
    await log.clean(5000);
    expect(await log.markers()).toEqual([1, 3, 5]);
    expect([...(await log.committed()).keys()]).toEqual(["k1", "k3"]);
  });

  test("KAFKA-8351: a transaction over several segments keeps its marker until nothing of it is left", async () => {
    const log = await CompactedLog.open();
    await log.put(["a"], "aborted", 1);
    await log.seal();
    await log.put(["b"], "aborted", 1);
    await log.put(["a", "b"], "plain");
    await log.seal();
    await log.driver.endTransaction("abort", 1);
    await log.put(["c"], "plain");
    await log.seal();
    const seen = new Map([
      ["a", "plain"],
      ["b", "plain"],
      ["c", "plain"],
    ]);
    expect(await log.committed()).toEqual(seen);
    const [marker] = await log.markers();
    for (const now of [5000, 5000 + RETENTION, 5000 + 2 * RETENTION]) {
      await log.clean(now);
      expect(await log.committed()).toEqual(seen);
      expect(await log.keys()).toEqual(["a", "b", "c"]);
      // Its data went with the first pass; its horizon begins with the second, which finds nothing of it.
      if (now < 5000 + 2 * RETENTION) expect(await log.markers()).toEqual([marker!]);
    }
  });

  test("KAFKA-13727: a pass that ends early, its map full, forgets no abort behind its end", async () => {
    const log = await CompactedLog.open();
    await log.put(["a", "b", "c", "d"], "plain");
    await log.put(["a", "b"], "aborted", 1);
    await log.put(["c", "d"], "aborted", 1);
    await log.seal();
    await log.driver.endTransaction("abort", 1);
    await log.put(["e"], "plain");
    await log.seal();
    const seen = await log.committed();
    expect([...seen.values()]).toEqual(["plain", "plain", "plain", "plain", "plain"]);
    for (let firstDirty = 0, pass = 0; pass < 8; pass++) {
      firstDirty = await log.clean(5000 + pass * RETENTION, { firstDirty, mapKeys: 2 });
      expect(await log.committed()).toEqual(seen);
    }
  });

  test("KAFKA-4529: a tombstone's time begins with the pass that first sees it clean, not with its timestamp", async () => {
    const log = await CompactedLog.open();
    await log.put(["a"], "value");
    await log.seal();
    await log.put(["a"], null);
    await log.seal();
    await log.clean(1_000_000);
    expect(await log.keys()).toEqual(["a"]);
    await log.clean(1_000_000 + RETENTION - 1);
    expect(await log.keys()).toEqual(["a"]);
    await log.clean(1_000_000 + RETENTION);
    expect(await log.keys()).toEqual([]);
  });
});

describe("leader epochs", () => {
  test("KAFKA-10706: reigns that wrote nothing begin at the log's end and go with a truncation to it", () => {
    const epochs = LeaderEpochCache.of([{ epoch: 3, startOffset: 0 }]);
    epochs.assign(4, 10);
    epochs.assign(5, 10);
    expect(epochs.entries).toEqual([
      { epoch: 3, startOffset: 0 },
      { epoch: 5, startOffset: 10 },
    ]);
    epochs.truncateFromEnd(10);
    expect(epochs.latestEpoch).toBe(3);
  });

  test("KAFKA-7897, KAFKA-7959: an epoch between two known ones ended where the later one began", () => {
    const epochs = LeaderEpochCache.of([
      { epoch: 2, startOffset: 0 },
      { epoch: 9, startOffset: 50 },
    ]);
    for (const epoch of [2, 5, 8]) expect(epochs.endOffsetFor(epoch, 80)).toEqual({ epoch: 2, endOffset: 50 });
  });

  test("KAFKA-16541: no file of epochs has to be flushed, because the batches say them", async () => {
    const driver = await LogDriver.open();
    for (const epoch of [0, 3, 4]) {
      driver.leaderEpoch = epoch;
      for (let batch = 0; batch < 8; batch++) await driver.append([100]);
    }
    const { entries } = driver.state.leaderEpochs;
    expect(entries.map(({ epoch }) => epoch)).toEqual([0, 3, 4]);
    const disk = driver.disk.copy();
    for (const path of [...disk.files.keys()]) if (!path.endsWith(".log")) disk.files.delete(path);
    const loaded = await driver.load({}, disk);
    expect(loaded.state.leaderEpochs.entries).toEqual(entries);
  });
});

test("KAFKA-9491: records deleted up to the end, and a recovery point and high watermark of before: the log begins where it was told", async () => {
  const driver = await LogDriver.open();
  for (let batch = 0; batch < 30; batch++) await driver.append([100]);
  const start = driver.end - 1;
  const { log, state } = await driver.load({ logStartOffset: start });
  expect(state.logStartOffset).toBe(start);
  expect(state.logEndOffset).toBe(driver.end);
  // Kafka's log start could come to lie above the high watermark, and no fetch or append was possible any more.
  expect(state.lastStableOffset(state.logEndOffset)).toBeGreaterThanOrEqual(start);
  expect((await log.read(start, 1000, Number.POSITIVE_INFINITY, true)).records.length).toBeGreaterThan(0);
});

test("KAFKA-13636: an offset older than the retention stays while its group is between two generations", () => {
  const world = new CoordinatorWorld({
    "group.initial.rebalance.delay.ms": "0",
    "offsets.retention.check.interval.ms": "1000",
  });
  const client = new ClassicClient(world, "g");
  client.join();
  world.advance(1);
  client.settle();
  client.commit(5);
  for (let beat = 0; beat < 8 * DAY; beat += 9000) {
    world.advance(9000);
    client.heartbeat();
  }
  // Another member joins; until the first one does so too nobody knows what the group subscribes to.
  new ClassicClient(world, "g").join();
  const stateOf = (): string | undefined => classicGroup(world, "g")?.state;
  expect(stateOf()).toBe("PreparingRebalance");
  world.advance(5000);
  expect(stateOf()).toBe("PreparingRebalance");
  expect(fetchOffset(world, "g", "t", 0)).toBe(5);
});

test.each([
  ["codec bits that are no codec", 5],
  ["gzip bits and bytes that are not gzip", 1],
])(
  "KAFKA-14034: %s is a definite error, never one that makes an idempotent client write the batch again",
  (_, codec) => {
    const bytes = buildBatch([{ value: new Uint8Array(50) }], { producerId: 1, producerEpoch: 0, baseSequence: 0 });
    new DataView(bytes.buffer, bytes.byteOffset).setInt16(ATTRIBUTES_AT, codec);
    updateCrc(bytes, 0);
    const rules: ValidationRules = {
      topicPartition: "t-0",
      maxMessageBytes: 1_048_588,
      timestampType: 0,
      beforeMaxMs: Number.MAX_SAFE_INTEGER,
      afterMaxMs: Number.MAX_SAFE_INTEGER,
      now: 0,
      compacted: false,
      produceVersion: 13,
      codecs,
    };
    const judged = validateBatch(bytes, rules);
    expect(isRejection(judged) && judged.error).toBe(codec === 5 ? Errors.INVALID_RECORD : Errors.CORRUPT_MESSAGE);
  },
);
