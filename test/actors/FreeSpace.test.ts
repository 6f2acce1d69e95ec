/** A disk that fills up: refused before the write where it can be foreseen, cut to the last good length where not. */
import { describe, expect, test } from "bun:test";
import { FreeSpace } from "../../actors/FreeSpace.ts";
import { DATA } from "../../actors/simulation/SimulatedBroker.ts";
import type { Disk } from "../../src/platform/Disk.ts";
import { DiskError } from "../../src/platform/Disk.ts";
import { ApiKey } from "../../src/protocol/ApiKeys.ts";
import { Errors } from "../../src/protocol/Errors.ts";
import { buildBatch } from "../../src/record/RecordBatchBuilder.ts";
import { ManualClock } from "../support/ManualClock.ts";
import { MemoryDisk } from "../support/MemoryDisk.ts";
import { append, MINUTE, offsets, SMALL, segmentsOf, type World, withOneBroker } from "../support/OneBroker.ts";

const GIB = 1024 ** 3;

const space = (free: () => number, total = 1000 * GIB, min = -1) => {
  let looks = 0;
  const freeBytes = (): number => {
    looks += 1;
    return free();
  };
  const disk: Disk = Object.assign(Object.create(new MemoryDisk()), { freeBytes, totalBytes: () => total });
  const clock = new ManualClock();
  const logged: string[] = [];
  const log = (level: string, message: string): void => void logged.push(`${level} ${message}`);
  const found = new FreeSpace({ clock, disk, path: "/data", minFreeBytes: () => min, log });
  return { found, clock, logged, looks: () => looks };
};

describe("free space", () => {
  test("what is admitted between two looks counts as written; the reserve is a hundredth, at most 1 GiB", () => {
    for (const [total, reserve] of [
      [1000 * GIB, GIB],
      [50_000_000, 500_000],
    ] as const) {
      let free = reserve + 1000;
      const { found, looks } = space(() => free, total);
      expect([found.admit(600), found.admit(400)]).toEqual([true, true]);
      expect(looks()).toBe(1);
      // Used up by the count: asked again before anybody is refused.
      expect(found.admit(500)).toBe(true);
      expect(looks()).toBe(2);
      free = reserve;
      expect([found.admit(600), found.admit(600)]).toEqual([false, false]);
      expect(found.refused).toBe(2);
    }
  });

  test("asked once a second while there is room, ten times while there is none, and told once", () => {
    let free = 2 * GIB;
    const { found, clock, looks, logged } = space(() => free);
    for (let at = 0; at < 50; at++) {
      expect(found.admit(10)).toBe(true);
      clock.advance(100);
    }
    expect(looks()).toBe(5);
    free = GIB / 2;
    for (let at = 0; at < 50; at++) {
      found.admit(10);
      clock.advance(50);
    }
    expect(looks()).toBeLessThan(5 + 27);
    free = 2 * GIB;
    clock.advance(100);
    expect(found.admit(10)).toBe(true);
    expect(logged.map((line) => line.split(" ")[0])).toEqual(["error", "warn"]);
    expect(logged[0]).toContain(`${GIB / 2} bytes are free and log.min.free.bytes is ${GIB}`);
  });

  test("0 keeps nothing back, and refuses only what would not fit; a system that cannot say refuses nothing", () => {
    const off = space(() => 100, GIB, 0).found;
    expect([off.admit(100), off.admit(101)]).toEqual([true, false]);
    const mute = space(() => {
      throw new DiskError("EIO", "statfs", "/data");
    }).found;
    expect(mute.admit(GIB)).toBe(true);
  });
});

/** Appends until an append is not answered with success within its time. */
const fill = async (world: World): Promise<{ readonly end: number; readonly error: string }> => {
  const producer = world.client.producer({ deliveryTimeoutMs: 2000 });
  for (let end = 0; ; end += 1) {
    const value = new Uint8Array(20_000).fill(end);
    const outcome = await producer.send("t", 0, [{ key: null, value, timestamp: world.process.clock.wall() }]);
    if (outcome.type !== "ok") return { end, error: outcome.error };
  }
};

const deleteRecords = async ({ client }: World, offset: number): Promise<void> => {
  const deleted = await client.request("any", ApiKey.DeleteRecords, {
    topics: [{ name: "t", partitions: [{ partitionIndex: 0, offset }] }],
    timeoutMs: 1000,
  });
  expect(deleted.topics[0]?.partitions[0]?.errorCode).toBe(Errors.NONE);
};

describe("a full disk", () => {
  const LIMITS = { disk: { capacityBytes: 4_000_000 }, settings: { "log.min.free.bytes": "1000000" } };

  test("producers are refused before the disk is full; reading, offsets, topics and deletes go on; room brings them back", () => {
    withOneBroker(async (one) => {
      const { client, process } = one;
      await client.createTopic("t", { configs: { "internal.segment.bytes": "200000" } });
      const full = await fill(one);
      expect(full.error).toBe("KAFKA_STORAGE_ERROR");
      expect(full.end).toBeGreaterThan(100);
      const free = process.disk.freeBytes(DATA);
      expect(free).toBeGreaterThan(900_000);
      expect(free).toBeLessThan(1_050_000);
      // Nothing of it was written, nothing had to be cut: one line says what there is to say.
      expect(one.logged.length).toBe(1);
      expect(one.logged[0]).toContain("log.min.free.bytes");
      expect(await offsets(one)).toEqual([0, full.end]);
      expect((await client.readAll("t", 0)).length).toBe(full.end);
      const committed = await client.request("any", ApiKey.FindCoordinator, {
        key: "",
        keyType: 0,
        coordinatorKeys: ["g"],
      });
      expect(committed.coordinators[0]?.errorCode).toBe(Errors.NONE);
      const commit = async (): Promise<number | undefined> => {
        const answer = await client.request("any", ApiKey.OffsetCommit, {
          groupId: "g",
          generationIdOrMemberEpoch: -1,
          memberId: "",
          groupInstanceId: null,
          retentionTimeMs: -1,
          topics: [
            {
              name: "t",
              topicId: (await client.topic("t")).id,
              partitions: [{ partitionIndex: 0, committedOffset: 5, committedLeaderEpoch: -1, committedMetadata: "" }],
            },
          ],
        });
        return answer.topics[0]?.partitions[0]?.errorCode;
      };
      // The coordinator may still be loading.
      let error = await commit();
      for (let attempt = 0; attempt < 50 && error !== Errors.NONE; attempt++) {
        await client.sleep(100);
        error = await commit();
      }
      expect(error).toBe(Errors.NONE);
      await client.createTopic("more");
      await deleteRecords(one, 60);
      await client.sleep(7 * MINUTE);
      expect(segmentsOf(one.files())[0]).toBeGreaterThan(40);
      expect(await append(one, 1)).toBe(full.end + 1);
      expect((await offsets(one))[0]).toBe(60);
      expect(one.logged.at(-1)).toContain("producers go on");
    }, LIMITS);
  });

  test("what a new producer has pipelined behind a refused first batch waits for it, when the room is back in between", () => {
    withOneBroker(async (one) => {
      const { client } = one;
      await client.createTopic("t", { configs: { "internal.segment.bytes": "200000" } });
      const full = await fill(one);
      const topicId = (await client.topic("t")).id;
      const produce = async (baseSequence: number): Promise<number | undefined> => {
        const value = new Uint8Array(20_000);
        const records = buildBatch([{ value }], { producerId: 7, producerEpoch: 0, baseSequence });
        const answer = await client.request("any", ApiKey.Produce, {
          transactionalId: null,
          acks: -1,
          timeoutMs: 10_000,
          topicData: [{ name: "t", topicId, partitionData: [{ index: 0, records }] }],
        });
        return answer.responses[0]?.partitionResponses[0]?.errorCode;
      };
      expect([await produce(0), await produce(1)]).toEqual([Errors.KAFKA_STORAGE_ERROR, Errors.KAFKA_STORAGE_ERROR]);
      await deleteRecords(one, 60);
      await client.sleep(7 * MINUTE);
      expect(await produce(1)).toBe(Errors.KAFKA_STORAGE_ERROR);
      expect([await produce(0), await produce(1)]).toEqual([Errors.NONE, Errors.NONE]);
      expect((await offsets(one))[1]).toBe(full.end + 2);
    }, LIMITS);
  });

  test("where it could not be foreseen the log is cut to its last good length, and goes on when there is room", () => {
    withOneBroker(
      async (one) => {
        const { client, world, disk } = one;
        await client.createTopic("t");
        expect(await append(one, 19, 20_000)).toBe(19);
        await client.sleep(1500);
        expect(await append(one, 1, 20_000)).toBe(20);
        // Another program takes the rest, right after the broker has looked.
        const other = world.process("another program", { disk });
        const ballast = other.disk.open("/ballast", "write");
        await ballast.write([new Uint8Array(disk.freeBytes() - 10_000)], 0);
        const outcome = await client
          .producer({ deliveryTimeoutMs: 3000 })
          .send("t", 0, [{ key: null, value: new Uint8Array(20_000), timestamp: 1 }]);
        expect(outcome.type).toBe("info");
        expect(one.logged[0]).toContain("write to partition t-0 failed");
        // Then it is known, and nobody tries again.
        expect(one.logged[1]).toContain("producers wait until there is room");
        expect(one.logged.length).toBe(2);
        expect((await client.readAll("t", 0)).length).toBe(20);
        other.disk.remove("/ballast");
        expect(await append(one, 3, 20_000)).toBe(23);
        expect((await (await one.restart()).client.readAll("t", 0)).map(({ value }) => value![0])).toEqual([
          ...Array.from({ length: 19 }, (_, index) => 65 + index),
          ...[65, 65, 66, 67],
        ]);
      },
      { disk: { capacityBytes: 4_000_000 }, settings: { "log.min.free.bytes": "0" } },
    );
  });

  test("a broker killed on it serves everything when it comes back, and goes on when there is room", () => {
    withOneBroker(async (one) => {
      await one.client.createTopic("t", { configs: SMALL });
      expect(await append(one, 30)).toBe(30);
      // There is room for the broker's word in the metadata log, without which it does not start, and for no other file.
      one.disk.beforeOperation = ({ kind, path }) =>
        kind === "write" && /(index|snapshot|tmp)$/.test(path) ? { error: "ENOSPC" } : undefined;
      const next = await one.restart("kill");
      expect(await offsets(next)).toEqual([0, 30]);
      expect((await next.client.readAll("t", 0)).length).toBe(30);
      expect(next.logged).toEqual([]);
      one.disk.beforeOperation = undefined;
      expect(await append(next, 1)).toBe(31);
    });
  });
});
