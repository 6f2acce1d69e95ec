/**
 * One connection of the stream protocol against a whole simulated broker: order, credit, turns, backpressure, signs of
 * life, and what a client may do wrong.
 */
import { describe, expect, test } from "bun:test";
import { type Packable, pack } from "../../src/gateway/MessagePack.ts";
import { bytes, type FrameClient, values } from "../gateway/FrameClient.ts";
import { withGateway } from "../gateway/GatewayWorld.ts";

const PLENTY = { records: 100_000, bytes: 64 * 1024 * 1024 };
/** Frames arrive in the order of tasks, with nothing in between. */
const AT_ONCE = { maxDelayMs: 0 };
const EARLIEST = [{ topic: "t", partition: 0, from: "earliest" }];

const send = (client: FrameClient, texts: ReadonlyArray<string>, fields: object = {}): Promise<object> =>
  client.request("produce", {
    topic: "t",
    partition: 0,
    records: texts.map((text) => [null, bytes(text)]),
    ...fields,
  });

/** `count` records of `size` bytes each, in batches of ten. */
const fill = async (client: FrameClient, count: number, size: number, partition = 0): Promise<void> => {
  for (let at = 0; at < count; at += 10) {
    const records = Array.from({ length: Math.min(10, count - at) }, (_, index) => [
      null,
      bytes(String(at + index).padStart(size, ".")),
    ]);
    const answer = await client.request("produce", { topic: "t", partition, records });
    if (answer.t !== "ok") throw new Error(JSON.stringify(answer));
  }
};

const errorOf = (answer: object): unknown => {
  const { t, error } = answer as { t: string; error?: { name: string; message: string } };
  return t === "error" ? [error?.name, error?.message] : t;
};

describe("hello", () => {
  test("tells who is there and what is allowed; nothing goes before it and it is said once", () => {
    withGateway(async (world) => {
      const { client } = world.link();
      const answer = await client.hello();
      expect(answer).toMatchObject({
        server: { name: "odradek" },
        clusterId: world.broker.clusterId,
        nodeId: 1,
        heartbeatMs: 25_000,
        limits: { frameBytes: 2 * 1024 * 1024 },
      });
      void client.hello().catch(() => {});
      expect(await client.untilClosed()).toEqual({ code: 1002, reason: "hello was said already" });
      for (const frame of [
        { t: "ping", n: 1 },
        { t: "close", id: 1, stream: 1 },
      ]) {
        const early = world.link().client;
        early.send(frame);
        expect(await early.untilClosed()).toEqual({ code: 1002, reason: "the first frame is a hello" });
      }
    });
  });

  test("nothing large is looked at before it", () => {
    withGateway(async (world) => {
      const { client } = world.link();
      client.sendBytes(new Uint8Array(32 * 1024 + 1));
      expect(await client.untilClosed()).toEqual({ code: 1009, reason: "a hello is smaller" });
    });
  });

  test("who says nothing for ten seconds is shown out", () => {
    withGateway(async (world) => {
      const { client } = world.link();
      await world.sleep(9_900);
      expect(client.closed).toBeUndefined();
      expect(await client.untilClosed()).toEqual({ code: 1002, reason: "no hello" });
      expect(world.gateway.connectionCount).toBe(0);
    });
  });

  test("the hook decides who it is; what it refuses is told to come with another token", () => {
    const asked: Array<string | undefined> = [];
    const authenticate = async (token: string | undefined): Promise<string | undefined> => {
      asked.push(token);
      for (let step = 0; step < 20; step++) await Promise.resolve();
      return token === "good" ? "User:alice" : undefined;
    };
    withGateway(
      async (world) => {
        const good = world.link(AT_ONCE).client;
        const answered = good.request("hello", { client: { name: "c", version: "1" }, token: "good" });
        // What is sent behind the hello waits for the hook.
        const produced = send(good, ["a"]);
        expect((await answered).t).toBe("ok");
        expect(await produced).toMatchObject({ t: "ok", offset: 0 });
        const bad = world.link().client;
        void bad.hello().catch(() => {});
        expect((await bad.untilClosed()).code).toBe(4401);
        expect(asked).toEqual(["good", undefined]);
      },
      { gateway: { authenticate } },
    );
  });
});

describe("produce", () => {
  test("records get offsets, and a stream brings them as they were", () => {
    withGateway(async (world) => {
      const { client } = await world.connect();
      const records = [
        [
          bytes("k"),
          bytes("v"),
          [
            ["h", bytes("1")],
            ["h", null],
          ],
          1234,
        ],
        [null, null],
      ];
      const answer = await client.request("produce", { topic: "t", partition: 0, records });
      expect(answer).toMatchObject({ t: "ok", offset: 0, timestamp: -1, logStartOffset: 0 });
      const now = world.process.clock.wall();
      const opened = await client.request("open", { stream: 1, partitions: EARLIEST, credit: PLENTY });
      const topicId = (await world.client.topic("t")).id;
      expect(opened.partitions).toEqual([
        { topic: "t", partition: 0, position: { offset: 0, leaderEpoch: -1, topicId } },
      ]);
      await client.until(() => client.records.length === 2);
      const [first, second] = client.records;
      expect(first as unknown).toEqual([
        0,
        1234,
        bytes("k"),
        bytes("v"),
        [
          ["h", bytes("1")],
          ["h", null],
        ],
      ]);
      expect([second![0], second![2], second![3]]).toEqual([1, null, null]);
      expect(Math.abs(now - second![1])).toBeLessThan(1000);
      const { records: _, ...batch } = client.batches[0]!;
      expect(batch).toMatchObject({
        topic: "t",
        partition: 0,
        highWatermark: 2,
        lastStableOffset: 2,
        logStartOffset: 0,
      });
      expect(batch.next[0]).toBe(2);
    });
  });

  test("an idempotent batch sent again is written once and has the same answer; a gap is Kafka's error", () => {
    withGateway(async (world) => {
      const { client } = await world.connect();
      const { producer } = (await client.request("initProducer")) as unknown as {
        producer: { id: number; epoch: number };
      };
      const first = await send(client, ["a", "b"], { producer: { ...producer, sequence: 0 } });
      expect(first).toMatchObject({ t: "ok", offset: 0 });
      const { client: later } = await world.connect();
      expect(await send(later, ["a", "b"], { producer: { ...producer, sequence: 0 } })).toMatchObject({
        t: "ok",
        offset: 0,
      });
      expect(errorOf(await send(later, ["d"], { producer: { ...producer, sequence: 5 } }))).toEqual([
        "OUT_OF_ORDER_SEQUENCE_NUMBER",
        expect.any(String),
      ]);
      expect(await send(later, ["c"], { producer: { ...producer, sequence: 2 } })).toMatchObject({
        t: "ok",
        offset: 2,
      });
    });
  });

  test("a finished batch goes as it is; acks=0 tells no offset; errors have Kafka's names", () => {
    withGateway(async (world) => {
      const { client } = await world.connect();
      expect(await send(client, ["a"], { acks: 0 })).toMatchObject({ t: "ok", offset: -1 });
      const damaged = await client.request("produce", { topic: "t", partition: 0, batch: new Uint8Array(61) });
      expect(errorOf(damaged)).toEqual(["CORRUPT_MESSAGE", expect.any(String)]);
      expect(errorOf(await send(client, ["a"], { topic: "nowhere" }))).toEqual([
        "UNKNOWN_TOPIC_OR_PARTITION",
        "there is no topic nowhere",
      ]);
      expect(errorOf(await send(client, ["a"], { partition: 9 }))).toEqual([
        "UNKNOWN_TOPIC_OR_PARTITION",
        expect.any(String),
      ]);
      const large = new Uint8Array(1_100_000);
      const tooLarge = await client.request("produce", { topic: "t", partition: 0, records: [[null, large]] });
      expect(errorOf(tooLarge)).toEqual(["MESSAGE_TOO_LARGE", expect.any(String)]);
    });
  });

  test("what is opened behind an unanswered produce sees its records", () => {
    withGateway(async (world) => {
      const { client } = await world.connect();
      const produced = send(client, ["a"]);
      const opened = client.request("open", {
        stream: 1,
        partitions: [{ topic: "t", partition: 0, from: { offset: 0 } }],
        credit: PLENTY,
      });
      await Promise.all([produced, opened]);
      await client.until(() => client.records.length === 1);
    });
  });
});

describe("where a stream begins", () => {
  test("earliest, latest, an offset, a time, a time behind all, a saved position", () => {
    withGateway(async (world) => {
      const { client } = await world.connect();
      for (const [index, timestamp] of [1000, 2000, 3000].entries()) {
        await client.request("produce", {
          topic: "t",
          partition: 0,
          records: [[null, bytes(`v${index}`), null, timestamp]],
        });
      }
      const topicId = (await world.client.topic("t")).id;
      const froms = [
        ["earliest", 0],
        ["latest", 3],
        [{ offset: 1 }, 1],
        [{ timestamp: 1500 }, 1],
        [{ timestamp: 9000 }, 3],
        [{ offset: 2, leaderEpoch: -1, topicId }, 2],
      ] as const;
      for (const [index, [from, offset]] of froms.entries()) {
        const stream = index + 1;
        const opened = await client.request("open", {
          stream,
          partitions: [{ topic: "t", partition: 0, from }],
          credit: { records: 0, bytes: 0 },
        });
        expect(opened.partitions).toMatchObject([{ position: { offset } }]);
      }
    });
  });

  test("a partition that is not there, or is another topic's by now, fails the whole open", () => {
    withGateway(async (world) => {
      const { client } = await world.connect();
      const open = (partitions: object[]): Promise<object> =>
        client.request("open", { stream: 1, partitions, credit: PLENTY });
      expect(errorOf(await open([...EARLIEST, { topic: "t", partition: 5, from: "latest" }]))).toEqual([
        "UNKNOWN_TOPIC_OR_PARTITION",
        "t-5: Unknown topic or partition.",
      ]);
      expect(errorOf(await open([...EARLIEST, ...EARLIEST]))).toEqual(["INVALID_REQUEST", "t-0 is named twice"]);
      const old = { offset: 0, leaderEpoch: 0, topicId: "AAAAAAAAAAAAAAAAAAAAAQ" };
      const [name] = errorOf(await open([{ topic: "t", partition: 0, from: old }])) as string[];
      expect(name).toBe("UNKNOWN_TOPIC_ID");
      // The number was not taken by what failed.
      expect(errorOf(await open(EARLIEST))).toBe("ok");
      client.send({ t: "open", id: 999, stream: 1, partitions: EARLIEST, credit: PLENTY });
      expect(await client.untilClosed()).toEqual({ code: 1002, reason: "stream number 1 is in use" });
    });
  });

  test("where the end is, is told though there is nothing to read", () => {
    withGateway(
      async (world) => {
        const { client } = await world.connect();
        await fill(client, 3, 10);
        const at = (partition: number) => ({ topic: "t", partition, from: "latest" });
        await client.request("open", { stream: 1, partitions: [at(0), at(1)], credit: PLENTY });
        await client.request("open", { stream: 2, partitions: [at(0)], credit: PLENTY, raw: true });
        await client.until(() => client.batches.length === 3);
        const ends = client.batches.map(({ partition, records, raw, next, highWatermark }) => [
          partition,
          records?.length ?? raw?.length,
          next[0],
          highWatermark,
        ]);
        expect(ends.sort()).toEqual([
          [0, 0, 3, 3],
          [0, 0, 3, 3],
          [1, 0, 0, 0],
        ]);
        await world.sleep(10_000);
        expect(client.batches.length).toBe(3);
      },
      { partitions: 2 },
    );
  });

  test("what is produced later follows without being asked for, at once", () => {
    withGateway(async (world) => {
      const { client } = await world.connect();
      await client.request("open", {
        stream: 1,
        partitions: [{ topic: "t", partition: 0, from: "latest" }],
        credit: PLENTY,
      });
      await world.sleep(60_000);
      const before = world.world.clock.now;
      const other = await world.connect();
      await send(other.client, ["late"]);
      await client.until(() => client.records.length === 1);
      expect(world.world.clock.now - before).toBeLessThan(100);
      expect(values(client.records)).toEqual(["late"]);
    });
  });

  test("under read_committed what an open transaction holds back comes with its end", () => {
    withGateway(async (world) => {
      const { client } = await world.connect();
      const transactionalId = "tx";
      const { producer } = (await client.request("initProducer", { transactionalId })) as unknown as {
        producer: { id: number; epoch: number };
      };
      await client.request("open", { stream: 1, partitions: EARLIEST, credit: PLENTY });
      await client.request("open", { stream: 2, partitions: EARLIEST, credit: PLENTY, isolation: "read_uncommitted" });
      const written = await send(client, ["held"], { transactionalId, producer: { ...producer, sequence: 0 } });
      expect(written).toMatchObject({ t: "ok" });
      await send(client, ["behind"]);
      await client.until(() => client.records.length === 2);
      await world.sleep(1000);
      const streams = client.frames.flatMap((frame) =>
        frame.t === "records" && frame.batches.some(({ records }) => records!.length > 0) ? [frame.stream] : [],
      );
      expect(new Set(streams)).toEqual(new Set([2]));
      const ended = await client.request("endTxn", { transactionalId, producer, commit: true });
      expect(ended.t).toBe("ok");
      await client.until(() => client.records.length === 4);
      expect(values(client.records)).toEqual(["held", "behind", "held", "behind"]);
    });
  });
});

describe("credit", () => {
  test("is never exceeded, in records nor in bytes, whatever is granted", () => {
    withGateway(async (world) => {
      const { client } = await world.connect();
      await fill(client, 200, 100);
      const cost = 100 + 16;
      await client.request("open", { stream: 1, partitions: EARLIEST, credit: { records: 0, bytes: 0 } });
      let granted = 0;
      const random = world.world.random.fork("grants");
      while (client.records.length < 200) {
        const records = random.below(9) + 1;
        // Sometimes the bytes are what is short.
        const covered = Math.max(1, records - random.below(3));
        granted += covered;
        client.send({ t: "credit", stream: 1, records: covered, bytes: covered * cost });
        await world.sleep(20);
        expect(client.records.length).toBe(Math.min(granted, 200));
      }
      expect(values(client.records)).toEqual(
        Array.from({ length: 200 }, (_, index) => String(index).padStart(100, ".")),
      );
    });
  });

  test("none means pause, and one that does not cover the next record is told what it costs, once", () => {
    withGateway(async (world) => {
      const { client } = await world.connect();
      await fill(client, 2, 1000);
      await client.request("open", { stream: 1, partitions: EARLIEST, credit: { records: 0, bytes: 1_000_000 } });
      await world.sleep(1000);
      expect(client.frames).toEqual([]);
      client.send({ t: "credit", stream: 1, records: 5, bytes: 0 });
      await client.until(() => client.records.length === 2);

      await client.request("open", { stream: 2, partitions: EARLIEST, credit: { records: 5, bytes: 500 } });
      const starved = (await client.takeType("starved")) as unknown as { records: number; bytes: number };
      expect(starved).toMatchObject({ stream: 2, records: 1, bytes: 1016 });
      await world.sleep(5000);
      expect(client.has("starved")).toBe(false);
      client.send({ t: "credit", stream: 2, records: 0, bytes: 500 });
      expect(await client.takeType("starved")).toMatchObject({ bytes: 1016 });
      client.send({ t: "credit", stream: 2, records: 0, bytes: 16 });
      await client.until(() => client.records.length === 3);
    });
  });

  test("beyond the limits is cut to them", () => {
    withGateway(
      async (world) => {
        const { client } = await world.connect();
        await fill(client, 20, 10);
        await client.request("open", { stream: 1, partitions: EARLIEST, credit: PLENTY });
        await world.sleep(1000);
        expect(client.records.length).toBe(7);
      },
      { gateway: { limits: { creditRecords: 7 } } },
    );
  });

  test("one large record among small ones of another partition gets its turn", () => {
    withGateway(
      async (world) => {
        const { client } = await world.connect();
        const large = new Uint8Array(50_000);
        await fill(client, 1, 84, 1);
        await client.request("produce", { topic: "t", partition: 1, records: [[null, large]] });
        await fill(client, 4000, 84, 0);
        const from = (partition: number) => ({ topic: "t", partition, from: "earliest" });
        // The window, topped up as records come, is large enough for the large record and for nothing beside it.
        await client.request("open", {
          stream: 1,
          partitions: [from(0), from(1)],
          credit: { records: 1000, bytes: 50_100 },
        });
        let seen = 0;
        const largeAt = (): number => client.records.findIndex(([, , , value]) => value!.length === 50_000);
        while (largeAt() < 0) {
          await client.until(() => client.records.length > seen || client.has("starved"));
          const fresh = client.records.slice(seen);
          seen = client.records.length;
          client.frames.length = 0;
          if (fresh.length === 0) continue;
          const spent = fresh.reduce((sum, [, , , value]) => sum + value!.length + 16, 0);
          client.send({ t: "credit", stream: 1, records: fresh.length, bytes: spent });
        }
        expect(largeAt()).toBeLessThan(2500);
      },
      { partitions: 2 },
    );
  });

  test("partitions of a stream and streams of a connection take turns", () => {
    withGateway(
      async (world) => {
        const { client } = await world.connect();
        for (const partition of [0, 1, 2]) await fill(client, 800, 3000, partition);
        const open = (stream: number, partitions: number[]): Promise<object> =>
          client.request("open", {
            stream,
            partitions: partitions.map((partition) => ({ topic: "t", partition, from: "earliest" })),
            credit: { records: 0, bytes: 0 },
          });
        await Promise.all([open(1, [0, 1]), open(2, [2])]);
        for (const stream of [1, 2]) client.send({ t: "credit", stream, ...PLENTY });
        await client.until(() => client.records.length === 2400);
        // While both streams have something they share the socket, and so do the partitions of a stream; how a read
        // falls between two turns moves that by a frame or two.
        const order = client.batches.map(({ partition }) => partition);
        const shared = order.slice(order.indexOf(2), order.lastIndexOf(2) + 1);
        const [zero, one, two] = [0, 1, 2].map((partition) => shared.filter((each) => each === partition).length);
        expect(shared.length).toBeGreaterThan(12);
        expect(two! / shared.length).toBeWithin(0.33, 0.67);
        expect(Math.abs(zero! - one!)).toBeLessThan(3);
      },
      { partitions: 3 },
    );
  });
});

describe("raw batches", () => {
  test("come as they lie in the log and cost their records and their bytes", () => {
    withGateway(async (world) => {
      const { client } = await world.connect();
      await fill(client, 30, 50);
      await client.request("open", {
        stream: 1,
        partitions: EARLIEST,
        raw: true,
        credit: { records: 25, bytes: 100_000 },
      });
      await client.takeType("starved");
      expect(client.batches.flatMap(({ raw }) => [...(raw ?? [])]).length).toBeGreaterThan(0);
      expect(client.batches.map(({ next }) => next[0]).at(-1)).toBe(20);
      expect(client.batches.every(({ records }) => records === undefined)).toBe(true);
    });
  });
});

describe("assign, seek, close", () => {
  test("partitions come and go, and nothing of a closed stream follows", () => {
    withGateway(
      async (world) => {
        const { client } = await world.connect();
        await fill(client, 100, 200, 0);
        await fill(client, 100, 200, 1);
        await client.request("open", { stream: 1, partitions: [], credit: PLENTY });
        const added = await client.request("assign", {
          stream: 1,
          add: [{ topic: "t", partition: 1, from: { offset: 90 } }],
          remove: [],
        });
        expect(added.partitions).toMatchObject([{ topic: "t", partition: 1, position: { offset: 90 } }]);
        await client.until(() => client.records.length === 10);
        await client.request("assign", { stream: 1, add: EARLIEST, remove: [{ topic: "t", partition: 1 }] });
        await client.until(() => client.records.length === 110);
        const other = await world.connect();
        await send(other.client, ["unseen"], { partition: 1 });
        await send(other.client, ["seen"]);
        await client.until(() => client.records.length === 111);
        await client.request("close", { stream: 1 });
        client.frames.length = 0;
        await send(other.client, ["more"]);
        await world.sleep(1000);
        expect(client.frames).toEqual([]);
        expect(errorOf(await client.request("close", { stream: 1 }))).toEqual([
          "INVALID_REQUEST",
          "stream: stream 1 is not open",
        ]);
      },
      { partitions: 2 },
    );
  });

  test("records behind the answer to a seek are of the new place, whatever was being read", () => {
    for (let seed = 0; seed < 12; seed++) {
      withGateway(
        async (world) => {
          const { client } = await world.connect(AT_ONCE);
          await fill(client, 1500, 1000);
          await client.request("open", { stream: 1, partitions: EARLIEST, credit: { records: 0, bytes: 0 } });
          const order: Array<number | "ok"> = [];
          client.watch = (frame) => {
            if (frame.t === "records") for (const { records } of frame.batches) order.push(records![0]![0]);
            else if (frame.t === "ok") order.push("ok");
          };
          client.send({ t: "credit", stream: 1, ...PLENTY });
          await world.sleep(seed % 4);
          const at = [{ topic: "t", partition: 0, from: { offset: 1490 } }];
          expect(await client.request("seek", { stream: 1, partitions: at })).toMatchObject({ t: "ok" });
          await client.until(() => order.includes(1490));
          expect(order[order.indexOf("ok") + 1]).toBe(1490);
        },
        { seed },
      );
    }
  });

  test("requests about one stream take effect in their order, though one looks up a time", () => {
    for (let seed = 0; seed < 5; seed++) {
      withGateway(
        async (world) => {
          const { client } = await world.connect(AT_ONCE);
          await fill(client, 50, 10);
          const stream = 1;
          const at = (from: object) => [{ topic: "t", partition: 0, from }];
          const credit = { records: 1, bytes: 10_000 };
          const requests = [
            client.request("open", { stream, partitions: at({ timestamp: 1 }), credit }),
            client.request("seek", { stream, partitions: at({ offset: 40 }) }),
            client.request("assign", { stream, add: [], remove: [{ topic: "t", partition: 0 }] }),
            client.request("close", { stream }),
          ];
          expect((await Promise.all(requests)).map(({ t }) => t)).toEqual(["ok", "ok", "ok", "ok"]);
        },
        { seed },
      );
    }
  });

  test("a seek to a partition that is not of the stream, an assign to a stream that is not there", () => {
    withGateway(async (world) => {
      const { client } = await world.connect();
      await client.request("open", { stream: 1, partitions: [], credit: PLENTY });
      expect(errorOf(await client.request("seek", { stream: 1, partitions: EARLIEST }))).toEqual([
        "INVALID_REQUEST",
        "partitions: t-0 is not of stream 1",
      ]);
      expect(errorOf(await client.request("assign", { stream: 3, add: [], remove: [] }))).toEqual([
        "INVALID_REQUEST",
        "stream: stream 3 is not open",
      ]);
    });
  });
});

describe("a place that is not there", () => {
  test("outside the log is told with where the log lies, and a seek goes on", () => {
    withGateway(async (world) => {
      const { client } = await world.connect();
      await fill(client, 20, 10);
      await world.client.request("any", 21, {
        timeoutMs: 1000,
        topics: [{ name: "t", partitions: [{ partitionIndex: 0, offset: 5 }] }],
      });
      const at = (offset: number) => [{ topic: "t", partition: 0, from: { offset } }];
      await client.request("open", { stream: 1, partitions: at(3), credit: PLENTY });
      expect(await client.takeType("outOfRange")).toMatchObject({
        stream: 1,
        topic: "t",
        partition: 0,
        offset: 3,
        logStartOffset: 5,
        highWatermark: 20,
        error: { name: "OFFSET_OUT_OF_RANGE", code: 1 },
      });
      await world.sleep(10_000);
      expect(client.records).toEqual([]);
      await client.request("seek", { stream: 1, partitions: at(18) });
      await client.until(() => client.records.length === 2);
      await client.request("seek", { stream: 1, partitions: at(21) });
      expect(await client.takeType("outOfRange")).toMatchObject({ offset: 21 });
    });
  });

  test("the records of a place that is deleted while a stream has no credit are not skipped in silence", () => {
    withGateway(async (world) => {
      const { client } = await world.connect();
      await fill(client, 20, 10);
      await client.request("open", { stream: 1, partitions: EARLIEST, credit: { records: 4, bytes: 10_000 } });
      await client.until(() => client.records.length === 4);
      await world.client.request("any", 21, {
        timeoutMs: 1000,
        topics: [{ name: "t", partitions: [{ partitionIndex: 0, offset: 10 }] }],
      });
      client.send({ t: "credit", stream: 1, records: 100, bytes: 10_000 });
      expect(await client.takeType("outOfRange")).toMatchObject({ offset: 4, logStartOffset: 10 });
      expect(client.records.length).toBe(4);
    });
  });

  test("a deleted topic is told as such, and its successor of the same name is another topic", () => {
    withGateway(async (world) => {
      const { client } = await world.connect();
      await client.request("open", { stream: 1, partitions: EARLIEST, credit: PLENTY });
      await world.client.deleteTopic("t");
      expect(await client.takeType("partitionError")).toMatchObject({
        topic: "t",
        error: { name: "UNKNOWN_TOPIC_ID", retriable: false },
      });
      await world.client.createTopic("t");
      await fill(client, 1, 10);
      await world.sleep(5000);
      expect(client.records).toEqual([]);
      await client.request("assign", { stream: 1, add: EARLIEST, remove: [{ topic: "t", partition: 0 }] });
      await client.until(() => client.records.length === 1);
    });
  });
});

const slow = { windowBytes: 64 * 1024, limitBytes: 1024 * 1024 };

describe("a client that does not read", () => {
  test("gets nothing while its socket is full, then the rest, each record once and in order; others go on", () => {
    withGateway(async (world) => {
      const writer = await world.connect();
      await fill(writer.client, 3000, 1000);
      const { client } = await world.connect(slow);
      await client.request("open", { stream: 1, partitions: EARLIEST, credit: PLENTY });
      client.duplex.pause();
      const stuck = client.records.length;
      const { client: quick } = await world.connect();
      await quick.request("open", { stream: 1, partitions: EARLIEST, credit: PLENTY });
      await quick.until(() => quick.records.length === 3000);
      expect(client.records.length).toBe(stuck);
      // What it asks meanwhile is answered when it reads again, behind what was on its way.
      const asked = client.request("produce", { topic: "t", partition: 0, records: [[null, bytes("x")]] });
      await world.sleep(20_000);
      client.duplex.resume();
      expect(await asked).toMatchObject({ t: "ok", offset: 3000 });
      await client.until(() => client.records.length === 3001);
      expect(client.records.map(([offset]) => offset)).toEqual(Array.from({ length: 3001 }, (_, index) => index));
    });
  });

  test("for too long is shown out, though it gives signs of life, and its place is the last it was sent", () => {
    withGateway(async (world) => {
      const writer = await world.connect();
      await fill(writer.client, 2000, 1000);
      const { client } = await world.connect(slow);
      await client.request("open", { stream: 1, partitions: EARLIEST, credit: PLENTY });
      client.duplex.pause();
      for (let seconds = 0; seconds < 150; seconds += 10) {
        client.send({ t: "ping", n: seconds });
        await world.sleep(10_000);
      }
      client.duplex.resume();
      expect((await client.untilClosed()).code).toBe(4409);
      expect(world.gateway.connectionCount).toBe(1);
    });
  });
});

describe("signs of life", () => {
  test("a client that is silent is pinged, and shown out when it stays so", () => {
    withGateway(async (world) => {
      const { client } = await world.connect();
      client.isSilent = true;
      const start = world.world.clock.now;
      const ping = await client.takeType("ping");
      expect(world.world.clock.now - start).toBeWithin(24_900, 25_200);
      client.send({ t: "pong", n: ping.n });
      await client.takeType("ping");
      expect(await client.untilClosed()).toEqual({ code: 4408, reason: "nothing heard for 50000 ms" });
      expect(world.world.clock.now - start).toBeWithin(75_000, 75_300);
      expect(world.gateway.connectionCount).toBe(0);
    });
  });

  test("its pings are answered, and a connection with other traffic is not pinged", () => {
    withGateway(async (world) => {
      const { client } = await world.connect();
      client.isSilent = true;
      for (let index = 0; index < 10; index++) {
        client.send({ t: "ping", n: index });
        expect(await client.takeType("pong")).toEqual({ t: "pong", n: index });
        await world.sleep(20_000);
      }
      expect(client.has("ping")).toBe(false);
    });
  });

  test("a half-open connection is given up, with everything it held", () => {
    withGateway(async (world) => {
      const { client, link } = await world.connect();
      await client.request("open", { stream: 1, partitions: EARLIEST, credit: PLENTY });
      link.cut("silent");
      await world.sleep(51_000);
      expect(world.gateway.connectionCount).toBe(0);
      expect(world.broker.doorEnvironment.ports.delayedFetches.size).toBe(0);
      expect(world.broker.doorEnvironment.credit.usedBytes).toBe(0);
    });
  });
});

describe("what a client may do wrong", () => {
  test("costs its connection, with the code that says so, and nobody else's", () => {
    withGateway(async (world) => {
      const { client: neighbour } = await world.connect();
      const opened = { stream: 1, partitions: EARLIEST, credit: PLENTY };
      await neighbour.request("open", opened);
      const ends = async (...frames: Uint8Array[]): Promise<unknown> => {
        const { client } = await world.connect();
        for (const frame of frames) client.sendBytes(frame);
        return (await client.untilClosed()).code;
      };
      expect(await ends(new Uint8Array(0))).toBe(1007);
      expect(await ends(bytes("text"))).toBe(1007);
      expect(await ends(Uint8Array.of(0x81, 0xa1, 0x74, 0xd4, 1, 2))).toBe(1007);
      const { client: twice } = await world.connect();
      twice.send({ t: "initProducer", id: 5, transactionalId: "x" });
      twice.send({ t: "initProducer", id: 5, transactionalId: "x" });
      expect(await twice.untilClosed()).toEqual({ code: 1002, reason: "id 5 is in use" });
      expect(await send(neighbour, ["still there"])).toMatchObject({ t: "ok" });
      await neighbour.until(() => neighbour.records.length === 1);
      expect(world.gateway.connectionCount).toBe(1);
      expect(world.broker.doorEnvironment.credit.usedBytes).toBe(0);
    });
  });

  test("an unknown type or a wrong field is answered, and the connection goes on", () => {
    withGateway(async (world) => {
      const { client } = await world.connect();
      expect(errorOf(await client.request("subscribe"))).toEqual(["INVALID_REQUEST", 't: unknown type "subscribe"']);
      expect(errorOf(await client.request("close", { stream: "1" }))).toEqual([
        "INVALID_REQUEST",
        'stream: expected an integer of 1 … 2147483647, got "1"',
      ]);
      client.send({ t: "hint", of: "a later version" });
      client.send({ t: "credit", stream: 77, records: 1, bytes: 1 });
      expect(await send(client, ["fine"])).toMatchObject({ t: "ok" });
    });
  });

  test("more streams than allowed are refused, more requests than allowed wait", () => {
    withGateway(
      async (world) => {
        const { client } = await world.connect();
        const open = (stream: number): Promise<object> =>
          client.request("open", { stream, partitions: EARLIEST, credit: { records: 0, bytes: 0 } });
        expect(errorOf(await open(1))).toBe("ok");
        expect(errorOf(await open(2))).toBe("ok");
        expect(errorOf(await open(3))).toEqual(["INVALID_REQUEST", "stream: at most 2 streams are open at once"]);
        const answers = await Promise.all(Array.from({ length: 50 }, (_, index) => send(client, [String(index)])));
        expect(answers.map((answer) => (answer as { offset: number }).offset)).toEqual(
          Array.from({ length: 50 }, (_, index) => index),
        );
      },
      { gateway: { limits: { streams: 2, requests: 3 } } },
    );
  });

  test("partitions are counted from the request on: two that come at once do not get more than one may", () => {
    const at = (stream: number) => ({
      ...{ stream, credit: PLENTY },
      partitions: [0, 1].map((partition) => ({ topic: "t", partition, from: { timestamp: 1 } })),
    });
    withGateway(
      async (world) => {
        const { client } = await world.connect({ maxDelayMs: 0 });
        const outcomes = await Promise.all([client.request("open", at(1)), client.request("open", at(2))]);
        const refused = ["INVALID_REQUEST", "partitions: at most 3 partitions are open on one connection"];
        expect(outcomes.map(errorOf)).toEqual(["ok", refused]);
        // What was refused or closed holds no place.
        expect(errorOf(await client.request("open", at(2)))).toEqual(refused);
        await client.request("close", { stream: 1 });
        expect(errorOf(await client.request("open", at(2)))).toBe("ok");
        const more = { stream: 2, add: [{ topic: "t", partition: 9, from: "earliest" }], remove: [] };
        expect(errorOf(await client.request("assign", more))).toEqual([
          "UNKNOWN_TOPIC_OR_PARTITION",
          expect.any(String),
        ]);
        expect(errorOf(await client.request("assign", { ...more, add: [at(2).partitions[0]] }))).toBe("ok");
      },
      { partitions: 2, gateway: { limits: { partitions: 3 } } },
    );
  });

  test("a storm of connections that come and go leaves nothing behind", () => {
    withGateway(async (world) => {
      for (let round = 0; round < 5; round++) {
        const connected = await Promise.all(Array.from({ length: 40 }, () => world.connect()));
        for (const [index, { client, link }] of connected.entries()) {
          void client.request("open", { stream: 1, partitions: EARLIEST, credit: PLENTY }).catch(() => {});
          void send(client, ["x"]).catch(() => {});
          if (index % 2 === 0) link.cut("reset");
          else client.duplex.close(1000, "");
        }
        await world.sleep(1000);
        expect(world.gateway.connectionCount).toBe(0);
      }
      const { delayedFetches } = world.broker.doorEnvironment.ports;
      expect([delayedFetches.size, world.broker.doorEnvironment.credit.usedBytes]).toEqual([0, 0]);
    });
  });
});

describe("frames at random", () => {
  const frames: ReadonlyArray<Packable> = [
    { t: "open", id: 1, stream: 1, partitions: EARLIEST, credit: PLENTY },
    { t: "open", id: 2, stream: 2, group: { id: "g", memberId: "m", topics: ["t"] }, from: "earliest", credit: PLENTY },
    { t: "assign", id: 3, stream: 1, add: EARLIEST, remove: [{ topic: "t", partition: 0 }] },
    { t: "seek", id: 4, stream: 1, partitions: [{ topic: "t", partition: 0, from: { timestamp: 5 } }] },
    { t: "credit", stream: 1, records: 5, bytes: 500 },
    { t: "release", stream: 2, partitions: [{ topic: "t", partition: 0 }] },
    { t: "commit", id: 5, stream: 2, offsets: [{ topic: "t", partition: 0, offset: 1, metadata: "m" }] },
    { t: "produce", id: 6, topic: "t", partition: 0, records: [[bytes("k"), bytes("v"), [["h", null]], 7]], acks: 1 },
    { t: "produce", id: 7, topic: "t", partition: 0, batch: new Uint8Array(70) },
    { t: "initProducer", id: 8, transactionalId: "x", transactionTimeoutMs: 1000, producer: { id: 1, epoch: 1 } },
    { t: "txnOffsets", id: 9, transactionalId: "x", producer: { id: 1, epoch: 1 }, group: { id: "g" }, offsets: [] },
    { t: "endTxn", id: 10, transactionalId: "x", producer: { id: 1, epoch: 1 }, commit: true },
    { t: "call", id: 11, verb: "records.fetch", body: { partitions: EARLIEST, maxWaitMs: 10 } },
    { t: "call", id: 12, verb: "groups.describe", body: { groups: ["g"] } },
    { t: "close", id: 13, stream: 1 },
    { t: "ping", n: 1 },
  ];

  test("are answered, ignored or end their connection with a code that says so; nobody else notices", () => {
    const codes = new Map<number, number>();
    let answers = 0;
    for (let seed = 0; seed < 40; seed++) {
      withGateway(
        async (world) => {
          const random = world.world.random.fork("mutations");
          const { client: neighbour } = await world.connect();
          await neighbour.request("open", { stream: 1, partitions: EARLIEST, credit: PLENTY });
          for (let connection = 0; connection < 4; connection++) {
            const { client } = await world.connect(AT_ONCE);
            for (let index = 0; index < 12 && client.closed === undefined; index++) {
              const frame = pack(frames[random.below(frames.length)]!).slice();
              // Flipped, overwritten, cut or left as they are.
              for (let times = random.below(3); times > 0; times--) {
                const at = random.below(frame.length);
                frame[at] = random.below(2) === 0 ? frame[at]! ^ (1 << random.below(8)) : random.below(256);
              }
              client.sendBytes(random.below(8) === 0 ? frame.subarray(0, random.below(frame.length)) : frame);
              await world.sleep(random.below(20));
            }
            answers += client.frames.length;
            if (client.closed !== undefined) codes.set(client.closed.code, (codes.get(client.closed.code) ?? 0) + 1);
            else client.duplex.close(1000, "");
          }
          const before = neighbour.records.length;
          expect(await send(neighbour, ["still there"])).toMatchObject({ t: "ok" });
          await neighbour.until(() => neighbour.records.length > before);
          await world.sleep(100);
          expect(world.gateway.connectionCount).toBe(1);
          expect(world.broker.doorEnvironment.credit.usedBytes).toBe(0);
          // A frame may ask for what fails, but nothing in here may break.
          expect(world.logged.filter((line) => line.startsWith("gateway"))).toEqual([]);
        },
        { seed },
      );
    }
    expect([...codes.keys()].sort()).toEqual([1002, 1007]);
    expect(answers).toBeGreaterThan(100);
  });
});

describe("the end of the broker", () => {
  test("says goaway, answers what is unanswered, and closes with 1012", () => {
    withGateway(async (world) => {
      const { client } = await world.connect();
      await client.request("open", { stream: 1, partitions: EARLIEST, credit: PLENTY });
      const answer = send(client, ["last"]);
      await world.sleep(5);
      const stopped = world.process.runPromise(world.broker.stop);
      expect(await client.takeType("goaway")).toMatchObject({ reason: "the broker is stopping", afterMs: 500 });
      expect(await answer).toMatchObject({ t: "ok", offset: 0 });
      expect(await client.untilClosed()).toEqual({ code: 1012, reason: "the broker is stopping" });
      await stopped;
    });
  });
});
