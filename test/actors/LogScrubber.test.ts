/** Rot in sealed segments: what a reader meets, and what the scrub finds before one does. */
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { DATA } from "../../actors/simulation/SimulatedBroker.ts";
import { LATEST } from "../../actors/testing/KafkaClient.ts";
import { segmentName } from "../../src/log/LogSegment.ts";
import { ApiKey, Apis } from "../../src/protocol/ApiKeys.ts";
import { Errors } from "../../src/protocol/Errors.ts";
import { emptyFetchRequestFetchPartition } from "../../src/protocol/generated/FetchRequest.ts";
import { HOUR, MINUTE, SMALL, segmentsOf, type World, withOneBroker } from "../support/OneBroker.ts";

const DAY = 24 * HOUR;

/** Twelve records in each of two partitions, two in a segment; every partition ends in an active segment. */
const filled = async (one: World): Promise<void> => {
  await one.client.createTopic("t", { partitions: 2, configs: { ...SMALL, "retention.ms": "-1" } });
  const producer = one.client.producer();
  for (let index = 0; index < 12; index++) {
    for (const partition of [0, 1]) {
      const value = Buffer.from(`${partition} ${index}`.padEnd(500));
      const outcome = await producer.send("t", partition, [{ key: null, value, timestamp: one.process.clock.wall() }]);
      expect(outcome.type).toBe("ok");
    }
  }
};

const logPath = (partition: number, baseOffset: number): string =>
  `${DATA}/t-${partition}/${segmentName(baseOffset)}.log`;

/** Flips a bit in the `batch`-th batch of a segment: in its header's length, or in its records. */
const rot = (
  { disk, process }: World,
  partition: number,
  baseOffset: number,
  batch: number,
  where: "length" | "record",
) => {
  const path = logPath(partition, baseOffset);
  const bytes = process.disk.readFile(path)!;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  let at = 0;
  for (let left = batch; left > 0; left--) at += 12 + view.getInt32(at + 8);
  disk.flipBit(path, where === "length" ? (at + 8) * 8 + 6 : (at + 200) * 8 + 3);
};

const readable = async ({ client }: World, partition: number): Promise<{ values: number; error: number }> => {
  let offset = 0;
  let values = 0;
  for (;;) {
    const { errorCode, records, nextOffset } = await client.fetch("t", partition, offset, { maxBytes: 400 });
    if (errorCode !== Errors.NONE || records.length === 0) return { values, error: errorCode };
    values += records.length;
    offset = nextOffset;
  }
};

describe("a damaged segment", () => {
  test("its readers are answered KAFKA_STORAGE_ERROR, alone: other partitions and the connection go on", () => {
    withOneBroker(async (one) => {
      await filled(one);
      rot(one, 0, 2, 1, "length");
      const connections = await one.client.connection("any");
      expect(await readable(one, 0)).toEqual({ values: 3, error: Errors.KAFKA_STORAGE_ERROR });
      expect(await readable(one, 1)).toEqual({ values: 12, error: Errors.NONE });
      const answer = await one.client.request("any", ApiKey.Fetch, {
        ...Apis[ApiKey.Fetch].request.empty(),
        maxWaitMs: 500,
        minBytes: 1,
        maxBytes: 1_000_000,
        sessionEpoch: -1,
        topics: [
          {
            topic: "",
            topicId: (await one.client.topic("t")).id,
            partitions: [0, 1].map((partition) => ({
              ...emptyFetchRequestFetchPartition(),
              partition,
              currentLeaderEpoch: -1,
              fetchOffset: 3,
              partitionMaxBytes: 100_000,
            })),
          },
        ],
      });
      const errors = answer.responses[0]?.partitions.map(({ errorCode }) => errorCode);
      expect(errors).toEqual([Errors.KAFKA_STORAGE_ERROR, Errors.NONE]);
      expect(await one.client.connection("any")).toBe(connections);
      // Behind the damaged segment everything is as it was; the operator is told once, not by every retry.
      expect((await one.client.fetch("t", 0, 4)).records.length).toBeGreaterThan(0);
      expect((await one.client.listOffset("t", 0, LATEST)).offset).toBe(12);
      expect(one.logged.length).toBe(1);
      expect(one.logged[0]).toContain(logPath(0, 2));
    });
  });
});

/** Offsets of a partition that can be read, with their values; what cannot is left out. */
const survivors = async ({ client }: World, partition: number): Promise<Map<number, string>> => {
  const found = new Map<number, string>();
  for (let offset = 0; offset < 12; ) {
    const { errorCode, records, nextOffset } = await client.fetch("t", partition, offset, { maxBytes: 400 });
    for (const { offset: at, value } of records) found.set(at, Buffer.from(value!).toString().trim());
    offset = errorCode === Errors.NONE && nextOffset > offset ? nextOffset : offset + 1;
  }
  return found;
};

const sealedBytes = ({ process }: World): number =>
  [0, 1].reduce((sum, partition) => {
    const sealed = segmentsOf(process.disk.list(`${DATA}/t-${partition}`)).slice(0, -1);
    return sum + sealed.reduce((bytes, base) => bytes + process.disk.fileSize(logPath(partition, base))!, 0);
  }, 0);

const DAYS = { maxTimeMs: 60 * DAY };

describe("the scrub", () => {
  test("finds a flipped bit in a record within the interval, refuses readers from there on, and says so", () => {
    withOneBroker(async (one) => {
      await filled(one);
      rot(one, 1, 4, 1, "record");
      await one.client.sleep(8 * DAY);
      expect(one.logged.length).toBe(1);
      expect(one.logged[0]).toContain(`t-1 cannot be read: ${logPath(1, 4)}`);
      expect(one.logged[0]).toContain("what follows begins at offset 6");
      expect(one.broker.metrics().scrub).toMatchObject({ damaged: 1, rounds: 1 });
      expect(await readable(one, 1)).toEqual({ values: 5, error: Errors.KAFKA_STORAGE_ERROR });
      expect(await readable(one, 0)).toEqual({ values: 12, error: Errors.NONE });
      expect([...(await survivors(one, 1)).keys()]).toEqual([0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 11]);
      // The bytes stay, and are whole again when somebody puts them right.
      rot(one, 1, 4, 1, "record");
      await one.client.sleep(8 * DAY);
      expect(one.logged.at(-1)).toContain("is whole again");
      expect(await readable(one, 1)).toEqual({ values: 12, error: Errors.NONE });
      expect(one.broker.metrics().scrub.damaged).toBe(0);
    }, DAYS);
  });

  test("a restart refuses at once what was damaged before it, and goes on where the round was", () => {
    withOneBroker(async (first) => {
      await filled(first);
      rot(first, 0, 0, 1, "record");
      await first.client.sleep(8 * DAY);
      expect(first.broker.metrics().scrub.damaged).toBe(1);
      const second = await first.restart();
      await second.client.sleep(2 * MINUTE);
      expect(await readable(second, 0)).toEqual({ values: 1, error: Errors.KAFKA_STORAGE_ERROR });
      expect(second.broker.metrics().scrub.damaged).toBe(1);
    }, DAYS);
  });

  test("with a restart every day, and only hours of work in between, everything is read once a week", () => {
    withOneBroker(async (first) => {
      await filled(first);
      let one = first;
      const sealed = sealedBytes(one);
      let read = 0;
      let rounds = 0;
      for (let day = 0; day < 23; day++) {
        await one.client.sleep(6 * HOUR);
        const { scrub } = one.broker.metrics();
        read += scrub.bytes;
        rounds += scrub.rounds;
        one.process.kill();
        await one.client.sleep(18 * HOUR);
        one = await one.restart();
      }
      expect(rounds).toBeGreaterThanOrEqual(3);
      expect(read).toBeGreaterThanOrEqual(3 * sealed);
      expect(read).toBeLessThan(5 * sealed);
    }, DAYS);
  });

  test("evenly over its time, not in one go", () => {
    withOneBroker(async (one) => {
      await filled(one);
      const sealed = sealedBytes(one);
      const shares: number[] = [];
      for (let day = 0; day < 7; day++) {
        await one.client.sleep(DAY);
        shares.push(one.broker.metrics().scrub.bytes / sealed);
      }
      for (const [day, share] of shares.entries()) {
        const due = (day + 1) / 7;
        expect([day, share > due - 0.2, share < due + 0.2]).toEqual([day, true, true]);
      }
    }, DAYS);
  });

  test("nothing when it is off, until it is turned on; nothing where no segment is sealed", () => {
    withOneBroker(
      async (one) => {
        await filled(one);
        await one.client.sleep(20 * DAY);
        expect(one.broker.metrics().scrub).toEqual({ bytes: 0, segments: 0, rounds: 0, damaged: 0 });
        await one.client.request("any", ApiKey.IncrementalAlterConfigs, {
          resources: [
            {
              resourceType: 4,
              resourceName: "",
              configs: [{ name: "log.scrub.interval.ms", configOperation: 0, value: String(DAY) }],
            },
          ],
          validateOnly: false,
        });
        await one.client.sleep(2 * DAY);
        expect(one.broker.metrics().scrub.rounds).toBeGreaterThan(0);
        expect(one.broker.metrics().scrub.bytes).toBeGreaterThanOrEqual(sealedBytes(one));
      },
      { ...DAYS, settings: { "log.scrub.interval.ms": "-1" } },
    );
    withOneBroker(async (one) => {
      await one.client.createTopic("t");
      await one.client.producer().send("t", 0, [{ key: null, value: Buffer.from("x"), timestamp: 1 }]);
      await one.client.sleep(20 * DAY);
      expect(one.broker.metrics().scrub.bytes).toBe(0);
      expect(one.process.disk.exists(`${DATA}/scrub-checkpoint`)).toBe(false);
    }, DAYS);
  });

  test("whichever bit of a sealed segment flips: no reader gets anything but what was written, and the rest is read", () => {
    fc.assert(
      fc.property(fc.nat(4), fc.nat(), (segment, bit) => {
        withOneBroker(async (one) => {
          await filled(one);
          const path = logPath(0, segment * 2);
          one.disk.flipBit(path, bit % (one.process.disk.fileSize(path)! * 8));
          await one.client.sleep(8 * DAY);
          const found = await survivors(one, 0);
          for (const [offset, value] of found) expect(value).toBe(`0 ${offset}`);
          for (let offset = 0; offset < 12; offset++) {
            if (Math.floor(offset / 2) !== segment) expect(found.has(offset)).toBe(true);
          }
          expect(one.broker.metrics().scrub.damaged).toBe(1);
        }, DAYS);
      }),
      { numRuns: 30 },
    );
  });
});
