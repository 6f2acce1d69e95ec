/** A cleaning pass on a thread does what the same pass does here, byte for byte, and fails as it does. */
import { describe, expect, test } from "bun:test";
import { startCleaningThread } from "../../actors/CleaningThread.ts";
import { SeededRandom } from "../../actors/simulation/SeededRandom.ts";
import { CleaningPass, type CleaningWork } from "../../src/log/CleaningPass.ts";
import { snapshotOf } from "../../src/log/LogState.ts";
import { buildBatch } from "../../src/record/RecordBatchBuilder.ts";
import { cleanLog, codecs, recordsOf } from "../support/CleaningDriver.ts";
import { LogDriver, readAll, TINY } from "../support/LogDriver.ts";
import { startRealBroker, temporaryDirectory } from "../support/RealBroker.ts";

const START = { mapBytes: 24_000, loadFactor: 0.9, hashKey: [1, 2, 3, 4], maxDecompressedBytes: 1 << 20 };

/** Compressed and transactional batches with keys that come again, several segments. */
const filled = async (seed: number): Promise<LogDriver> => {
  const driver = await LogDriver.open({ ...TINY, segmentBytes: 3000 });
  const random = new SeededRandom(seed);
  for (let index = 0; index < 60; index++) {
    const records = Array.from({ length: random.between(1, 8) }, () => ({
      key: Buffer.from(`key ${random.below(9)}`),
      value: random.chance(0.2) ? null : Buffer.from(`value ${random.below(1000)}`.repeat(random.between(1, 9))),
      timestamp: index,
    }));
    const producer = { producerId: 3, producerEpoch: 0, baseSequence: index, transactional: true };
    driver.stage(
      buildBatch(records, { codec: random.pick([0, 1, 2, 3, 4]), codecs, ...(random.chance(0.3) ? producer : {}) }),
    );
    await driver.log.write();
    if (index % 7 === 6) await driver.endTransaction(random.pick(["abort", "commit"]), 3);
  }
  driver.log.roll(() => snapshotOf(driver.state));
  await driver.log.write();
  driver.flush();
  return driver;
};

const failure = async (doing: () => unknown): Promise<string> => {
  try {
    await doing();
    return "none";
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
};

describe("a cleaning thread", () => {
  test("cleans a log as the event loop does", async () => {
    for (const seed of [1, 2, 3]) {
      const [here, there] = [await filled(seed), await filled(seed)];
      const before = recordsOf(await readAll(here.log)).length;
      const thread = startCleaningThread();
      for (const now of [5000, 9000]) {
        await cleanLog(here.disk, here.log, here.state, { now });
        await cleanLog(there.disk, there.log, there.state, { now, work: thread });
      }
      thread.end();
      const cleaned = await readAll(there.log);
      expect(recordsOf(cleaned).length).toBeLessThan(before);
      expect(Buffer.compare(cleaned, await readAll(here.log))).toBe(0);
      for (const [path, { size }] of here.disk.files) expect([path, there.disk.fileSize(path)]).toEqual([path, size]);
    }
  });

  test("fails as a pass does, and goes on; what it was asked when it is ended fails", async () => {
    const rotten = buildBatch([{ key: Buffer.from("k"), value: Buffer.from("v") }]);
    rotten[65]! ^= 1;
    const unreadable = buildBatch([{ key: Buffer.from("k"), value: new Uint8Array(2 << 20) }], { codec: 4, codecs });
    const ask = async (work: CleaningWork) => {
      await work.begin(START);
      return [
        await work.index(rotten.slice(), 0),
        await failure(() => work.index(unreadable.slice(), 0)),
        await work.index(buildBatch([{ key: Buffer.from("k"), value: null }]), 0),
        await failure(() => work.clean(rotten.slice(), true)),
      ];
    };
    const thread = startCleaningThread();
    const answers = await ask(thread);
    expect(answers).toEqual(await ask(new CleaningPass(codecs)));
    expect(answers[0]).toEqual({ full: false, latestOffset: -1, damagedAt: 0 });
    expect(answers[1]).toContain("more output than");
    const asked = failure(() => thread.index(buildBatch([{ key: Buffer.from("k"), value: null }]), 0));
    thread.end();
    expect(await asked).toBe("the cleaning was ended");
  });

  test("a broker compacts with it", async () => {
    using data = temporaryDirectory();
    await using broker = await startRealBroker(data.path, { "log.cleaner.backoff.ms": "50" });
    const { client } = broker;
    const configs = {
      "cleanup.policy": "compact",
      "internal.segment.bytes": "2000",
      "min.cleanable.dirty.ratio": "0.01",
    };
    await client.createTopic("t", { configs });
    const producer = client.producer({ codec: 4 });
    for (let round = 0; round < 20; round++) {
      const records = ["a", "b", "c"].map((key) => ({
        key: Buffer.from(key),
        value: Buffer.from(`${key}${round}`.repeat(99)),
      }));
      expect((await producer.send("t", 0, records)).type).toBe("ok");
    }
    const left = async (): Promise<number> => (await client.readAll("t", 0)).length;
    for (let attempt = 0; attempt < 400 && (await left()) === 60; attempt++) await Bun.sleep(20);
    const records = await client.readAll("t", 0);
    expect(records.length).toBeLessThan(40);
    expect(records.slice(-3).map(({ offset }) => offset)).toEqual([57, 58, 59]);
    expect(broker.log).toEqual([]);
  });
});
