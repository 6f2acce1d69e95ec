/** The client against the broker's own gateway, both simulated: what they say to each other is what both understand. */
import { describe, expect, test } from "bun:test";
import { type Consumer, KafkaError, OffsetOutOfRangeError, string } from "../../src/client/Client.ts";
import { type ClientWorld, withClientWorld } from "./support/ClientWorld.ts";

const take = async (consumer: Consumer<unknown, string>, count: number): Promise<string[]> => {
  const taken: string[] = [];
  for (let index = 0; index < count; index++) {
    const { value } = await consumer.next();
    taken.push(`${value?.partition}@${value?.offset} ${value?.value}`);
  }
  return taken.sort();
};

const partitions = [0, 1].map((partition) => ({ topic: "t", partition, from: "earliest" as const }));

describe.each(["batches", "records"] as const)("%s", (encoding) => {
  test("what is produced is consumed, with keys, headers and times", () =>
    withClientWorld(async (world) => {
      const client = await world.connect();
      const producer = client.producer({ key: string, value: string });
      const sent = await Promise.all(
        ["a", "b", "c"].map((value) =>
          producer.send({
            topic: "t",
            partition: 1,
            key: `k${value}`,
            value,
            headers: { h: "x", n: null },
            timestamp: 1000,
          }),
        ),
      );
      expect(sent.map(({ offset, timestamp }) => [offset, timestamp])).toEqual([
        [0, 1000],
        [1, 1000],
        [2, 1000],
      ]);
      const consumer = client.consume({ partitions, encoding, key: string, value: string });
      expect((await consumer.next()).value).toEqual({
        ...{ topic: "t", partition: 1, offset: 0, timestamp: 1000, key: "ka", value: "a" },
        headers: [
          ["h", string.encode("x")],
          ["n", null],
        ],
      });
      await consumer.next();
      const saved = consumer.position();
      const resumed = client.consume({ position: saved, encoding, value: string });
      expect(await take(resumed, 1)).toEqual(["1@2 c"]);
      await client.close();
    }));

  test("compressed by any codec of a Kafka client", () =>
    withClientWorld(async (world) => {
      const client = await world.connect();
      const consumer = client.consume({ partitions, encoding, value: string });
      for (const codec of [0, 1, 2, 3, 4] as const) {
        const producer = world.client.producer({ codec });
        await producer.send(
          "t",
          0,
          ["x", "y"].map((text) => ({ key: null, value: string.encode(`${codec}${text}`) })),
        );
      }
      expect((await take(consumer, 10)).map((line) => line.split(" ")[1])).toEqual(
        [0, 1, 2, 3, 4].flatMap((codec) => [`${codec}x`, `${codec}y`]),
      );
      await client.close();
    }));

  test("transactions are seen when they are committed, and only then", () =>
    withClientWorld(async (world) => {
      const client = await world.connect();
      const producer = client.transactional("id", { value: string });
      const consumer = client.consume({ partitions, encoding, value: string });
      const everything = client.consume({ partitions, encoding, value: string, isolation: "read_uncommitted" });
      await producer.txn((transaction) => transaction.send({ topic: "t", partition: 0, value: "a" }));
      const aborted = await producer
        .txn(async (transaction) => {
          await transaction.send({ topic: "t", partition: 0, value: "aborted" });
          throw new Error("no");
        })
        .catch((error: unknown) => String(error));
      expect(aborted).toBe("Error: no");
      await producer.txn((transaction) => transaction.send({ topic: "t", partition: 0, value: "b" }));
      expect(await take(consumer, 2)).toEqual(["0@0 a", "0@4 b"]);
      expect(await take(everything, 3)).toEqual(["0@0 a", "0@2 aborted", "0@4 b"]);
      // Behind the markers, and the end is known.
      const next = consumer.next();
      await world.sleep(100);
      expect(consumer.lag()[0]?.lag).toBe(0);
      await client.close();
      expect(await next).toEqual({ done: true, value: undefined });
    }));

  test("a group commits what is finished, and its next member goes on there", () =>
    withClientWorld(async (world) => {
      const client = await world.connect();
      const producer = client.producer({ value: string });
      for (const value of ["a", "b", "c"]) await producer.send({ topic: "t", partition: 0, value });
      const group = { group: "g", topics: "t", from: "earliest", encoding, value: string } as const;
      const first = client.consume(group);
      expect(await take(first, 3)).toEqual(["0@0 a", "0@1 b", "0@2 c"]);
      await first.close();
      const second = client.consume(group);
      expect(await take(second, 1)).toEqual(["0@2 c"]);
      await second.commit();
      await client.close();
      const other = await world.connect();
      const third = other.consume(group);
      const waiting = third.next();
      await world.sleep(2000);
      await other.producer({ value: string }).send({ topic: "t", partition: 0, value: "d" });
      expect((await waiting).value).toMatchObject({ offset: 3, value: "d" });
      await other.close();
    }));

  test("copied exactly once, with the offsets in the transaction", () =>
    withClientWorld(async (world) => {
      const client = await world.connect();
      const source = client.producer({ value: string });
      for (let value = 0; value < 10; value++) await source.send({ topic: "t", partition: 0, value: String(value) });
      const producer = client.transactional("copier", { value: string });
      let failures = 0;
      for (let done = 0; done < 10; ) {
        const consumer = client.consume({
          group: "g",
          topics: "t",
          from: "earliest",
          encoding,
          value: string,
          autoCommit: false,
          window: { records: 3 },
        });
        for await (const batch of consumer.batches()) {
          if (batch.partition !== 0) continue;
          try {
            await producer.txn(async (transaction) => {
              for (const { value } of batch.records) void transaction.send({ topic: "t", partition: 1, value });
              await transaction.sendOffsets(consumer, batch);
              if (failures++ === 1) throw new Error("fails once");
            });
            done += batch.records.length;
          } catch {
            break;
          }
          if (done === 10) break;
        }
      }
      expect(failures).toBeGreaterThan(2);
      const copies = client.consume({ partitions: [partitions[1]!], encoding, value: string });
      const values: (string | null | undefined)[] = [];
      for (let index = 0; index < 10; index++) values.push((await copies.next()).value?.value);
      expect(values).toEqual(["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]);
      await client.close();
    }));
});

const produceTo = async (world: ClientWorld, count: number): Promise<void> => {
  const client = await world.connect();
  const producer = client.producer({ value: string });
  await Promise.all(
    Array.from({ length: count }, (_, value) => producer.send({ topic: "t", partition: 0, value: `v${value}` })),
  );
  await client.close();
};

test("a restarted broker is found again; nothing is missing and nothing comes twice", () =>
  withClientWorld(async (world) => {
    await produceTo(world, 10);
    const client = await world.connect();
    const consumer = client.consume({ partitions, value: string, window: { records: 4 } });
    const producer = client.producer({ value: string });
    expect(await take(consumer, 5)).toHaveLength(5);
    const sent = producer.send({ topic: "t", partition: 0, value: "v10" });
    const again = await world.restart();
    expect((await sent).offset).toBe(10);
    expect(await take(consumer, 6)).toEqual(["0@10 v10", ...[5, 6, 7, 8, 9].map((offset) => `0@${offset} v${offset}`)]);
    await client.close();
    again.client.close();
  }));

test("what the broker deleted is told", () =>
  withClientWorld(async (world) => {
    await produceTo(world, 10);
    await world.client.admin.deleteRecords("t", 0, 6);
    const client = await world.connect();
    const consumer = client.consume({ partitions: [{ topic: "t", partition: 0, from: { offset: 2 } }], value: string });
    const gone = await consumer.next().catch((error: unknown) => error);
    expect(gone).toBeInstanceOf(OffsetOutOfRangeError);
    expect(gone).toMatchObject({ offset: 2, earliest: 6, latest: 10 });
    await consumer.seek({ topic: "t", partition: 0, from: "earliest" });
    expect(await take(consumer, 1)).toEqual(["0@6 v6"]);
    const unknown = client.consume({ partitions: [{ topic: "nowhere", partition: 0, from: "latest" }] });
    const error = await unknown.next().catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(KafkaError);
    expect(error).toMatchObject({ code: 3 });
    await client.close();
  }));
