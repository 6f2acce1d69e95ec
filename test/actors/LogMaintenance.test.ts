/** Retention and DeleteRecords through a whole broker on simulated ports, so that five minutes pass at once. */
import { describe, expect, test } from "bun:test";
import { DATA } from "../../actors/simulation/SimulatedBroker.ts";
import { EARLIEST } from "../../actors/testing/KafkaClient.ts";
import { ApiKey } from "../../src/protocol/ApiKeys.ts";
import { Errors } from "../../src/protocol/Errors.ts";
import { HEADER_SIZE } from "../../src/record/RecordBatch.ts";
import {
  append,
  HOUR,
  MINUTE,
  offsets,
  refusal,
  SMALL,
  segmentsOf,
  withOneBroker as simulated,
  type World,
} from "../support/OneBroker.ts";

const deleteRecords = async ({ client }: World, offset: number) => {
  const answer = await client.request("any", ApiKey.DeleteRecords, {
    topics: [{ name: "t", partitions: [{ partitionIndex: 0, offset }] }],
    timeoutMs: 1000,
  });
  const result = answer.topics[0]?.partitions[0];
  return [result?.errorCode, result?.lowWatermark];
};

describe("a segment ends by time", () => {
  const ends = (configs: Record<string, string>, pauseMs: number): number[] => {
    let bases: number[] = [];
    simulated(async (one) => {
      await one.client.createTopic("t", { configs });
      const producer = one.client.producer();
      for (const before of [0, 0, pauseMs, 0]) {
        await one.client.sleep(before);
        await producer.send("t", 0, [{ key: Buffer.from("k"), value: null, timestamp: one.process.clock.wall() }]);
      }
      bases = segmentsOf(one.files());
    });
    return bases;
  };

  test("in a compacted topic by max.compaction.lag.ms too: what is not closed is never compacted", () => {
    const lag = { "max.compaction.lag.ms": String(HOUR) };
    expect(ends({ ...lag, "cleanup.policy": "compact" }, 2 * HOUR)).toEqual([0, 2]);
    expect(ends({ ...lag, "cleanup.policy": "compact,delete" }, 2 * HOUR)).toEqual([0, 2]);
    expect(ends({ ...lag, "cleanup.policy": "delete" }, 2 * HOUR)).toEqual([0]);
    expect(ends({ ...lag, "cleanup.policy": "compact", "segment.ms": String(3 * HOUR) }, HOUR / 2)).toEqual([0]);
  });

  test("by segment.ms, sooner by segment.jitter.ms but never at once, however large that is", () => {
    const jitter = { "segment.jitter.ms": "9223372036854775807" };
    expect(ends({ ...jitter, "segment.ms": String(HOUR) }, 0)).toEqual([0]);
    expect(ends({ ...jitter, "segment.ms": String(HOUR) }, HOUR + MINUTE)).toEqual([0, 2]);
  });
});

describe("retention", () => {
  test("by age: expired segments go, the active one too when all of it expired; offsets go on where they were", () => {
    simulated(async (first) => {
      await first.client.createTopic("t", { configs: { ...SMALL, "retention.ms": String(HOUR) } });
      const end = await append(first, 6);
      expect(segmentsOf(first.files()).length).toBe(3);
      await first.client.sleep(40 * MINUTE);
      expect(await offsets(first)).toEqual([0, end]);
      await first.client.sleep(40 * MINUTE);
      expect(await offsets(first)).toEqual([end, end]);
      // `file.delete.delay.ms` has passed as well.
      expect(first.files().filter((name) => name.endsWith(".deleted") || name.endsWith(".log"))).toEqual([]);
      const second = await first.restart();
      expect(await offsets(second)).toEqual([end, end]);
      expect(await append(second, 1)).toBe(end + 1);
      const third = await second.restart();
      expect(await offsets(third)).toEqual([end, end + 1]);
      expect((await third.client.readAll("t", 0)).map(({ offset }) => offset)).toEqual([end]);
    });
  });

  test("by size: the oldest segments go until one less would be too few", () => {
    simulated(async (one) => {
      await one.client.createTopic("t", { configs: { ...SMALL, "retention.bytes": "2000" } });
      const end = await append(one, 10);
      await one.client.sleep(6 * MINUTE);
      const [start] = await offsets(one);
      expect(start).toBe(segmentsOf(one.files())[0]!);
      expect(start).toBe(6);
      expect((await one.client.readAll("t", 0)).map(({ offset }) => offset)).toEqual([6, 7, 8, 9]);
      expect((await offsets(one))[1]).toBe(end);
    });
  });

  test("begins log.initial.task.delay.ms after the start, however often it looks from then on", () => {
    simulated(
      async (one) => {
        await one.client.createTopic("t", { configs: { "retention.ms": "1000" } });
        await append(one, 1);
        await one.client.sleep(35 * MINUTE);
        expect(await offsets(one)).toEqual([0, 1]);
        await one.client.sleep(10 * MINUTE);
        expect(await offsets(one)).toEqual([1, 1]);
      },
      { settings: { "log.initial.task.delay.ms": String(40 * MINUTE) } },
    );
  });

  /** A topic that loses everything after an hour, and the records of its first segment to compaction before. */
  const emptiedLater = async ({ client, process }: World, topic: string): Promise<void> => {
    const lag = { "min.compaction.lag.ms": String(HOUR / 2), "min.cleanable.dirty.ratio": "0" };
    const configs = { ...SMALL, ...lag, "cleanup.policy": "compact,delete", "retention.ms": String(HOUR) };
    await client.createTopic(topic, { configs });
    const producer = client.producer();
    for (const key of ["a", "b", "a", "b", "c", "d"]) {
      const record = { key: Buffer.from(key), value: new Uint8Array(500), timestamp: process.clock.wall() };
      await producer.send(topic, 0, [record]);
    }
  };

  test("a log that cannot be read is told, and keeps no other from losing what has expired", () => {
    simulated(async (first) => {
      await emptiedLater(first, "s");
      await emptiedLater(first, "t");
      await emptiedLater(first, "u");
      await first.client.sleep(40 * MINUTE);
      const one = await first.restart();
      one.disk.beforeOperation = ({ kind, path }) =>
        kind === "read" && path.startsWith(`${DATA}/t-0/`) ? { error: "EIO" } : undefined;
      await one.client.sleep(26 * MINUTE);
      const starts = ["s", "t", "u"].map(async (name) => (await one.client.listOffset(name, 0, EARLIEST)).offset);
      expect(await Promise.all(starts)).toEqual([6, 0, 6]);
      expect(one.logged.some((line) => line.startsWith("t-0 cannot be looked through"))).toBe(true);
    });
  });

  test("by age, of a compacted topic: what compaction emptied is as old as what was in it, not as its new file", () => {
    simulated(async (one) => {
      await emptiedLater(one, "t");
      const [first] = one.files().filter((name) => name.endsWith(".log"));
      await one.client.sleep(40 * MINUTE);
      expect(one.process.disk.fileSize(`${DATA}/t-0/${first}`)).toBe(HEADER_SIZE);
      expect(await offsets(one)).toEqual([0, 6]);
      await one.client.sleep(26 * MINUTE);
      expect(await offsets(one)).toEqual([6, 6]);
    });
  });

  test("files wait for file.delete.delay.ms under Kafka's suffix", () => {
    simulated(async (one) => {
      await one.client.createTopic("t", {
        configs: { ...SMALL, "retention.bytes": "2000", "file.delete.delay.ms": String(HOUR) },
      });
      await append(one, 10);
      await one.client.sleep(6 * MINUTE);
      const deleted = one.files().filter((name) => name.endsWith(".deleted"));
      expect(deleted.filter((name) => name.endsWith(".log.deleted")).length).toBe(3);
      await one.client.sleep(2 * HOUR);
      expect(one.files().filter((name) => name.endsWith(".deleted"))).toEqual([]);
    });
  });

  test("a compacted topic keeps everything", () => {
    simulated(async (one) => {
      await one.client.createTopic("t", { configs: { "cleanup.policy": "compact", "retention.ms": "1000" } });
      const outcome = await one.client
        .producer()
        .send("t", 0, [{ key: Buffer.from("k"), value: null, timestamp: one.process.clock.wall() }]);
      expect(outcome.type).toBe("ok");
      await one.client.sleep(HOUR);
      expect(await offsets(one)).toEqual([0, 1]);
    });
  });
});

describe("DeleteRecords", () => {
  test("up to the log's end leave the active segment, which goes on", () => {
    simulated(async (one) => {
      await one.client.createTopic("t", { configs: SMALL });
      const end = await append(one, 5);
      const last = segmentsOf(one.files()).at(-1)!;
      expect(await deleteRecords(one, -1)).toEqual([Errors.NONE, end]);
      await one.client.sleep(12 * MINUTE);
      expect(segmentsOf(one.files())).toEqual([last]);
      expect(await append(one, 1)).toBe(end + 1);
      expect(segmentsOf(one.files())).toEqual([last]);
      expect(await offsets(one)).toEqual([end, end + 1]);
    });
  });

  test("moves the log start at once; whole segments below it go with the next round; the start survives kill -9", () => {
    simulated(async (one) => {
      await one.client.createTopic("t", { configs: SMALL });
      const end = await append(one, 7);
      expect(await deleteRecords(one, 5)).toEqual([Errors.NONE, 5]);
      expect(await offsets(one)).toEqual([5, end]);
      expect((await one.client.readAll("t", 0)).map(({ offset }) => offset)).toEqual([5, 6]);
      expect((await one.client.fetch("t", 0, 4)).errorCode).toBe(Errors.OFFSET_OUT_OF_RANGE);
      await one.client.sleep(6 * MINUTE);
      expect(segmentsOf(one.files())).toEqual([4, 6]);
      const next = await one.restart();
      expect(await offsets(next)).toEqual([5, end]);
    });
  });

  test("a start that no checkpoint has yet survives an orderly stop, and a stop without a change keeps the last one", () => {
    simulated(async (first) => {
      await first.client.createTopic("t", { configs: SMALL });
      const end = await append(first, 7);
      expect(await deleteRecords(first, 5)).toEqual([Errors.NONE, 5]);
      const second = await first.restart("stop");
      expect(await offsets(second)).toEqual([5, end]);
      expect(await deleteRecords(second, 6)).toEqual([Errors.NONE, 6]);
      await second.client.sleep(2 * MINUTE);
      const third = await second.restart("stop");
      expect(await offsets(third)).toEqual([6, end]);
      const fourth = await third.restart("stop");
      expect(await offsets(fourth)).toEqual([6, end]);
    });
  });

  test("L14: below the start nothing happens; above the high watermark is refused; -1 is everything (§6)", () => {
    simulated(async (one) => {
      await one.client.createTopic("t");
      const end = await append(one, 3);
      expect(await deleteRecords(one, 2)).toEqual([Errors.NONE, 2]);
      expect(await deleteRecords(one, 1)).toEqual([Errors.NONE, 2]);
      expect(await deleteRecords(one, end + 1)).toEqual([Errors.OFFSET_OUT_OF_RANGE, -1]);
      expect(await deleteRecords(one, -2)).toEqual([Errors.OFFSET_OUT_OF_RANGE, -1]);
      expect(await deleteRecords(one, -1)).toEqual([Errors.NONE, end]);
      expect(await offsets(one)).toEqual([end, end]);
    });
  });

  test("a topic that is only compacted: POLICY_VIOLATION; unknown: UNKNOWN_TOPIC_OR_PARTITION", () => {
    simulated(async (one) => {
      expect(await deleteRecords(one, 0)).toEqual([Errors.UNKNOWN_TOPIC_OR_PARTITION, -1]);
      await one.client.createTopic("t", { configs: { "cleanup.policy": "compact" } });
      expect(await deleteRecords(one, -1)).toEqual([Errors.POLICY_VIOLATION, -1]);
    });
  });
});

test("DescribeLogDirs: bytes of each partition, used or not, and of the file system", () => {
  simulated(async (first) => {
    await first.client.createTopic("t", { partitions: 2 });
    await append(first, 2);
    const one = await first.restart();
    const all = await one.client.request("any", ApiKey.DescribeLogDirs, { topics: null });
    expect(all).toMatchObject({ errorCode: Errors.NONE, results: [{ errorCode: Errors.NONE, logDir: DATA }] });
    const [directory] = all.results;
    expect(directory!.totalBytes).toBeGreaterThan(directory!.usableBytes);
    expect(directory!.topics.map(({ name }) => name)).toEqual(["t"]);
    const sizes = directory!.topics[0]!.partitions.map(({ partitionSize }) => partitionSize);
    expect(sizes.length).toBe(2);
    expect(sizes[0]!).toBe(one.process.disk.fileSize(`${DATA}/t-0/${"0".repeat(20)}.log`)!);
    expect(sizes[1]!).toBe(0);
    const some = await one.client.request("any", ApiKey.DescribeLogDirs, {
      topics: [
        { topic: "t", partitions: [1, 9] },
        { topic: "nope", partitions: [0] },
      ],
    });
    expect(some.results[0]?.topics).toEqual([
      { name: "t", partitions: [{ partitionIndex: 1, partitionSize: 0, offsetLag: 0, isFutureKey: false }] },
    ]);
  });
});

describe("a configuration changed at run time", () => {
  const set = async ({ client }: World, resourceType: number, resourceName: string, name: string, value: string) => {
    const answer = await client.request("any", ApiKey.IncrementalAlterConfigs, {
      resources: [{ resourceType, resourceName, configs: [{ name, configOperation: 0, value }] }],
      validateOnly: false,
    });
    expect(answer.responses[0]).toMatchObject({ errorCode: Errors.NONE, errorMessage: null });
  };

  test("a topic's: retention, segment size and largest message follow, and stay after kill -9", () => {
    simulated(async (first) => {
      await first.client.createTopic("t");
      await append(first, 6);
      expect(segmentsOf(first.files())).toEqual([0]);
      await set(first, 2, "t", "internal.segment.bytes", "1300");
      const end = await append(first, 6);
      expect(segmentsOf(first.files()).length).toBe(4);
      await set(first, 2, "t", "retention.bytes", "1000");
      await first.client.sleep(6 * MINUTE);
      expect(await offsets(first)).toEqual([10, end]);
      const second = await first.restart();
      await set(second, 2, "t", "max.message.bytes", "300");
      expect(await refusal(append(second, 1))).toBe("MESSAGE_TOO_LARGE");
    });
  });

  test("the broker's and the cluster's: the default of every topic follows; the broker's own wins", () => {
    simulated(async (one) => {
      await one.client.createTopic("t");
      await append(one, 1);
      await set(one, 4, "", "message.max.bytes", "300");
      expect(await refusal(append(one, 1))).toBe("MESSAGE_TOO_LARGE");
      await set(one, 4, "1", "message.max.bytes", "3000");
      await append(one, 1);
    });
  });
});

describe("compaction", () => {
  const put = async (
    { client, process }: World,
    key: string,
    value: string | null,
    timestamp = process.clock.wall(),
  ): Promise<void> => {
    const record = { key: Buffer.from(key), value: value === null ? null : Buffer.from(value) };
    const outcome = await client.producer().send("t", 0, [{ ...record, timestamp }]);
    if (outcome.type !== "ok") throw new Error(outcome.error);
  };
  const contents = async ({ client }: World): Promise<string[]> =>
    (await client.readAll("t", 0)).map(
      ({ offset, key, value }) =>
        `${offset} ${Buffer.from(key ?? []).toString()}=${value === null ? "null" : Buffer.from(value).toString().trim()}`,
    );
  const long = (value: string): string => value.padEnd(400);

  test("a compacted topic keeps the newest of each key, where it was; it stays so after kill -9", () => {
    simulated(async (first) => {
      await first.client.createTopic("t", { configs: { ...SMALL, "cleanup.policy": "compact" } });
      for (let round = 0; round < 4; round += 1) {
        for (const key of ["a", "b", "c"]) await put(first, key, long(`${key}${round}`));
      }
      await put(first, "a", null);
      await first.client.sleep(2 * MINUTE);
      const left = await contents(first);
      expect(left.length).toBeLessThan(8);
      expect(left.slice(-3)).toEqual(["10 b=b3", "11 c=c3", "12 a=null"]);
      expect(await offsets(first)).toEqual([0, 13]);
      const checkpoint = Buffer.from(first.process.disk.readFile(`${DATA}/cleaner-offset-checkpoint`)!).toString();
      expect(checkpoint).toMatch(/^0\n2\nt 0 \d+\n#crc32c# 0 \d+\n$/);
      expect(first.files().filter((name) => /cleaned|swap/.test(name))).toEqual([]);
      const second = await first.restart();
      expect(await contents(second)).toEqual(left);
      // A tombstone goes a day after it was cleaned first, with what is written then.
      const more = async (round: number): Promise<string[]> => {
        for (let each = 0; each < 4; each += 1) {
          for (const key of ["b", "c", "d"]) await put(second, key, long(`${key}${round}`));
        }
        await second.client.sleep(2 * MINUTE);
        return (await contents(second)).filter((line) => line.includes("a="));
      };
      expect(await more(4)).toEqual(["12 a=null"]);
      expect(await more(5)).toEqual(["12 a=null"]);
      await second.client.sleep(25 * HOUR);
      expect(await more(6)).toEqual([]);
      expect((await contents(second)).filter((line) => line.includes("b="))).toContain("46 b=b6");
    });
  });

  test("a topic made anew is not as clean as the one before, not even after a restart", () => {
    simulated(async (first) => {
      const configs = { ...SMALL, "cleanup.policy": "compact" };
      const fill = async (world: World): Promise<number> => {
        for (let round = 0; round < 9; round += 1) await put(world, "a", long(`a${round}`));
        await world.client.sleep(2 * MINUTE);
        return (await contents(world)).length;
      };
      await first.client.createTopic("t", { configs });
      expect(await fill(first)).toBeLessThan(4);
      await first.client.deleteTopic("t");
      first.client.forgetTopics();
      await first.client.createTopic("t", { configs });
      await put(first, "b", long("b"));
      await first.client.sleep(MINUTE);
      const second = await first.restart();
      expect(await fill(second)).toBeLessThan(5);
    });
  });

  test("a topic made anew before the cleaner has looked is not as clean as the one before, however long it is by then", () => {
    simulated(async (first) => {
      const configs = { ...SMALL, "cleanup.policy": "compact" };
      await first.client.createTopic("t", { configs });
      for (let round = 0; round < 9; round += 1) await put(first, "a", long(`a${round}`));
      await first.client.sleep(2 * MINUTE);
      const second = await first.restart();
      await second.client.deleteTopic("t");
      second.client.forgetTopics();
      await second.client.createTopic("t", { configs });
      for (const key of ["a", "b"]) {
        for (let round = 0; round < 7; round += 1) await put(second, key, long(`${key}${round}`));
      }
      await second.client.sleep(2 * MINUTE);
      expect((await contents(second)).filter((line) => line.includes("a="))).toEqual(["6 a=a6"]);
    });
  });

  test.each(["a time", "no time"])("min.compaction.lag.ms keeps the young, of records with %s", (kind) => {
    simulated(async (one) => {
      await one.client.createTopic("t", {
        configs: { ...SMALL, "cleanup.policy": "compact", "min.compaction.lag.ms": String(HOUR) },
      });
      const timestamp = kind === "no time" ? -1 : undefined;
      for (let round = 0; round < 9; round += 1) await put(one, "a", long(`a${round}`), timestamp);
      await one.client.sleep(10 * MINUTE);
      expect((await contents(one)).length).toBe(9);
      await one.client.sleep(HOUR);
      expect((await contents(one)).length).toBeLessThan(4);
    });
  });

  test("max.compaction.lag.ms cleans however little there is", () => {
    simulated(async (one) => {
      const never = { ...SMALL, "cleanup.policy": "compact", "min.cleanable.dirty.ratio": "1" };
      await one.client.createTopic("t", { configs: { ...never, "max.compaction.lag.ms": String(HOUR) } });
      for (let round = 0; round < 9; round += 1) await put(one, "a", long(`a${round}`));
      await one.client.sleep(50 * MINUTE);
      expect((await contents(one)).length).toBe(9);
      await one.client.sleep(20 * MINUTE);
      expect((await contents(one)).length).toBeLessThan(4);
    });
  });

  test("compact,delete does both", () => {
    simulated(async (one) => {
      await one.client.createTopic("t", {
        configs: { ...SMALL, "cleanup.policy": "compact,delete", "retention.ms": String(2 * HOUR) },
      });
      for (let round = 0; round < 9; round += 1) await put(one, `a${round % 2}`, long(`a${round}`));
      await one.client.sleep(10 * MINUTE);
      expect((await contents(one)).length).toBeLessThan(6);
      expect(await offsets(one)).toEqual([0, 9]);
      await one.client.sleep(3 * HOUR);
      expect(await offsets(one)).toEqual([9, 9]);
    });
  });
});
