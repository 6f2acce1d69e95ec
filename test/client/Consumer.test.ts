import { describe, expect, test } from "bun:test";
import {
  CodecError,
  int64,
  json,
  KafkaError,
  LogTruncationError,
  OffsetOutOfRangeError,
  PartitionError,
  string,
} from "../../src/client/Client.ts";
import type { ConsumeCommon } from "../../src/client/ConsumerOptions.ts";
import type { ClientFrame } from "../../src/gateway/Messages.ts";
import { makeBunCodecs } from "../../src/platform/BunCodecs.ts";
import type { CodecId } from "../../src/record/Compression.ts";
import { buildBatch } from "../../src/record/RecordBatchBuilder.ts";
import { emptied } from "../support/EmptyBatch.ts";
import { batchOf, collect, Dialogue, positionAt, recordsAt, utf8 } from "./support/Dialogue.ts";
import type { ServerLink } from "./support/FakeNetwork.ts";
import { settled } from "./support/FakeNetwork.ts";

type Request<T extends ClientFrame["t"]> = ClientFrame & { readonly t: T };

/** Opens, assigns and seeks as asked for: earliest is 0, latest 100, the rest as given. */
const obliging = (dialogue: Dialogue): void => {
  dialogue.onFrame = (frame, link) => {
    if (frame.t === "close") link.ok(frame);
    if (frame.t === "open" && "partitions" in frame) answerPlaces(frame, frame.partitions, link);
    if (frame.t === "seek") answerPlaces(frame, frame.partitions, link);
    if (frame.t === "assign") answerPlaces(frame, frame.add, link);
  };
};

const answerPlaces = (
  frame: { readonly id: number },
  places: Extract<Request<"open">, { partitions: unknown }>["partitions"],
  link: ServerLink,
): void =>
  link.ok(frame, {
    partitions: places.map(({ topic, partition, from }) => {
      const offset = from === "earliest" ? 0 : from === "latest" ? 100 : "offset" in from ? from.offset : 50;
      return { topic, partition, position: positionAt(offset) };
    }),
  });

const opened = async (): Promise<Dialogue> => {
  const dialogue = new Dialogue();
  obliging(dialogue);
  await dialogue.connect();
  return dialogue;
};

describe("opening", () => {
  test("every partition of a topic, from where it was asked for", async () => {
    const dialogue = await opened();
    dialogue.client.consume({ topics: "t", from: "earliest" });
    await settled();
    const frame = dialogue.link.last("open");
    expect(frame).toMatchObject({ stream: 1, isolation: "read_committed", raw: true });
    expect("partitions" in frame && frame.partitions).toEqual(
      [0, 1, 2, 3].map((partition) => ({ topic: "t", partition, from: "earliest" })),
    );
    expect(frame.credit).toEqual({ records: 10_000, bytes: 4 * 1024 * 1024 });
  });

  test("a saved position goes before `from`", async () => {
    const dialogue = await opened();
    const position = [{ topic: "t", partition: 1, position: positionAt(7, 3) }];
    dialogue.client.consume({ topics: ["t"], position, encoding: "records", isolation: "read_uncommitted" });
    await settled();
    const frame = dialogue.link.last("open");
    expect(frame).toMatchObject({ isolation: "read_uncommitted" });
    expect(frame.raw).toBeUndefined();
    expect("partitions" in frame && frame.partitions.map(({ partition, from }) => [partition, from])).toEqual([
      [1, positionAt(7, 3)],
      [0, "latest"],
      [2, "latest"],
      [3, "latest"],
    ]);
  });

  test("what is wrong is thrown where it is iterated", async () => {
    const dialogue = await opened();
    const unknown = collect(dialogue.client.consume({ topics: "no-such" }));
    await unknown.done;
    expect(unknown.error).toBeInstanceOf(KafkaError);
    expect(unknown.error).toMatchObject({ code: 3, kafkaName: "UNKNOWN_TOPIC_OR_PARTITION" });
    const nothing = collect(dialogue.client.consume({ topics: [] }));
    await nothing.done;
    expect(String(nothing.error)).toContain("nothing to consume");
  });

  test("a refusal that may pass is tried again, a topic that is another one by now is told", async () => {
    const dialogue = await opened();
    const answers = [14, 100];
    dialogue.onFrame = (frame, link) => {
      if (frame.t === "open") link.refuse(frame, answers.shift()!, "X", true);
    };
    const reading = collect(dialogue.client.consume({ partitions: [{ topic: "t", partition: 0, from: "earliest" }] }));
    await settled();
    expect(dialogue.link.all("open")).toHaveLength(1);
    await dialogue.pass(100);
    expect(dialogue.link.all("open")).toHaveLength(2);
    await reading.done;
    expect(reading.error).toMatchObject({ code: 100 });
  });
});

describe("iterating", () => {
  test("records come decoded, in order, with their place", async () => {
    const dialogue = await opened();
    const consumer = dialogue.client.consume({
      partitions: [{ topic: "t", partition: 2, from: { offset: 5 } }],
      encoding: "records",
      key: string,
      value: json<{ n: number }>(),
    });
    const reading = collect(consumer);
    await settled();
    const headers = [
      ["a", utf8("1")],
      ["a", null],
    ] as const;
    dialogue.link.send({
      t: "records",
      stream: 1,
      batches: [
        batchOf(
          2,
          [
            [5, 1000, utf8("k"), utf8('{"n":1}')],
            [8, 1001, null, null, headers],
          ],
          10,
        ),
      ],
    });
    await settled();
    expect(reading.items).toEqual([
      { topic: "t", partition: 2, offset: 5, timestamp: 1000, key: "k", value: { n: 1 }, headers: [] },
      { topic: "t", partition: 2, offset: 8, timestamp: 1001, key: null, value: null, headers },
    ]);
    expect(consumer.position()).toEqual([{ topic: "t", partition: 2, position: positionAt(10) }]);
    await consumer.close();
    await reading.done;
    expect(reading.error).toBeUndefined();
    expect(dialogue.link.last("close")).toMatchObject({ stream: 1 });
  });

  test("offsets and times as bigint on request", async () => {
    const dialogue = await opened();
    const partitions = [{ topic: "t", partition: 0, from: "earliest" as const }];
    const consumer = dialogue.client.consume({ partitions, encoding: "records", int64: "bigint" });
    await settled();
    dialogue.link.send({ t: "records", stream: 1, batches: [batchOf(0, recordsAt(0), 1)] });
    const { value } = await consumer.next();
    expect([value?.offset, value?.timestamp]).toEqual([0n, 1_700_000_000_000n]);
  });

  test("a record that the codec does not take is thrown in its place, and the next one follows", async () => {
    const dialogue = await opened();
    const partitions = [{ topic: "t", partition: 0, from: "earliest" as const }];
    const consumer = dialogue.client.consume({ partitions, encoding: "records", value: int64 });
    await settled();
    const number = (n: number): Uint8Array => int64.encode(n);
    const records = [
      [0, 0, null, number(7)],
      [1, 0, null, utf8("bad")],
      [2, 0, null, number(9)],
    ] as const;
    dialogue.link.send({
      t: "records",
      stream: 1,
      batches: [batchOf(0, records, 3), batchOf(0, [[3, 0, null, utf8("x")]], 4)],
    });
    expect((await consumer.next()).value?.value).toBe(7);
    const bad = consumer.next();
    await expect(bad).rejects.toBeInstanceOf(CodecError);
    await expect(bad).rejects.toMatchObject({ where: { topic: "t", partition: 0, offset: 1 } });
    expect((await consumer.next()).value?.value).toBe(9);
    await expect(consumer.next()).rejects.toMatchObject({ where: { offset: 3 } });
  });

  test("by batches: up to a record that cannot be decoded, then its error, then the rest", async () => {
    const dialogue = await opened();
    const partitions = [{ topic: "t", partition: 0, from: "earliest" as const }];
    const consumer = dialogue.client.consume({ partitions, encoding: "records", value: json<number>() });
    await settled();
    const values = ["1", "2", "{", "4"].map((text, offset) => [offset, 0, null, utf8(text)] as const);
    dialogue.link.send({ t: "records", stream: 1, batches: [batchOf(0, values, 6)] });
    const batches = consumer.batches();
    const first = await batches.next();
    expect(first.value?.records.map(({ value }) => value)).toEqual([1, 2]);
    expect(first.value?.position).toEqual({ topic: "t", partition: 0, position: positionAt(2) });
    await expect(batches.next()).rejects.toMatchObject({ where: { offset: 2 } });
    const last = await batches.next();
    expect(last.value?.records.map(({ value }) => value)).toEqual([4]);
    expect(last.value?.position.position.offset).toBe(6);
  });

  test("leaving the loop closes the stream", async () => {
    const dialogue = await opened();
    const consumer = dialogue.client.consume({
      partitions: [{ topic: "t", partition: 0, from: "earliest" }],
      encoding: "records",
    });
    const looping = (async () => {
      for await (const record of consumer) if (record.offset === 1) break;
    })();
    await settled();
    dialogue.link.send({ t: "records", stream: 1, batches: [batchOf(0, recordsAt(0, 1, 2), 3)] });
    await looping;
    expect(dialogue.link.all("close")).toHaveLength(1);
    expect(consumer.state).toBe("closed");
    expect(await consumer.next()).toEqual({ done: true, value: undefined });
  });

  test("closing while it is being opened tells the server too", async () => {
    const dialogue = new Dialogue();
    await dialogue.connect();
    const consumer = dialogue.client.consume({ partitions: [{ topic: "t", partition: 0, from: "latest" }] });
    await settled();
    const closing = consumer.close();
    await settled();
    expect(dialogue.link.frames.map(({ t }) => t)).toEqual(["hello", "open", "close"]);
    dialogue.link.ok(dialogue.link.last("open"), { partitions: [] });
    dialogue.link.ok(dialogue.link.last("close"));
    await closing;
    expect(consumer.state).toBe("closed");
  });

  test("a signal ends it with its reason", async () => {
    const dialogue = await opened();
    const controller = new AbortController();
    const reading = collect(dialogue.client.consume({ topics: "t", from: "latest", signal: controller.signal }));
    await settled();
    controller.abort(new Error("enough"));
    await reading.done;
    expect(reading.error).toEqual(new Error("enough"));
    await settled();
    expect(dialogue.link.all("close")).toHaveLength(1);
    const late = collect(dialogue.client.consume({ topics: "t", signal: controller.signal }));
    await late.done;
    expect(late.error).toEqual(new Error("enough"));
  });
});

describe("places", () => {
  test("an empty batch moves what lies before it on, in hand or not", async () => {
    const dialogue = await opened();
    const { link } = dialogue;
    const partitions = [0, 1, 2].map((partition) => ({ topic: "t", partition, from: "earliest" as const }));
    const consumer = dialogue.client.consume({ partitions, encoding: "records" });
    await settled();
    const offsets = () => consumer.position().map(({ position }) => position.offset);
    link.send({ t: "records", stream: 1, batches: [batchOf(0, recordsAt(0, 1), 2), batchOf(2, [], 4)] });
    await settled();
    expect(offsets()).toEqual([0, 0, 4]);
    const batches = consumer.batches();
    await batches.next();
    expect(offsets()).toEqual([2, 0, 4]);
    link.send({
      t: "records",
      stream: 1,
      batches: [batchOf(0, [], 7), batchOf(1, recordsAt(0), 1), batchOf(1, [], 5)],
    });
    await settled();
    await batches.next();
    expect(offsets()).toEqual([7, 5, 4]);
    void batches.next();
    await settled();
    expect(offsets()).toEqual([7, 5, 4]);
  });

  test("say the leader epoch of what was handed out, as far as it is known", async () => {
    const dialogue = await opened();
    const partitions = [{ topic: "t", partition: 0, from: "earliest" as const }];
    const consumer = dialogue.client.consume({ partitions, encoding: "records" });
    await settled();
    const epochs: (number | undefined)[] = [];
    const take = async (): Promise<void> => {
      await consumer.next();
      epochs.push(consumer.position()[0]?.position.leaderEpoch);
    };
    dialogue.link.send({ t: "records", stream: 1, batches: [batchOf(0, recordsAt(0, 1), 2)] });
    dialogue.link.send({ t: "records", stream: 1, batches: [batchOf(0, recordsAt(2, 3), 4, { next: [4, 5] })] });
    for (let index = 0; index < 4; index++) await take();
    void consumer.next();
    await settled();
    epochs.push(consumer.position()[0]?.position.leaderEpoch);
    // Between epochs 0 and 5 lies one that the records do not tell.
    expect(epochs).toEqual([0, 0, -1, -1, 5]);
  });

  test("what a server sends again is not handed out again", async () => {
    const dialogue = await opened();
    const partitions = [{ topic: "t", partition: 0, from: "earliest" as const }];
    const consumer = dialogue.client.consume({ partitions, encoding: "records" });
    await settled();
    for (const offsets of [[0, 1], [0], [1, 2], [0, 1]])
      dialogue.link.send({
        t: "records",
        stream: 1,
        batches: [batchOf(0, recordsAt(...offsets), offsets.at(-1)! + 1)],
      });
    const taken = [];
    for (let index = 0; index < 3; index++) taken.push((await consumer.next()).value?.offset);
    void consumer.next();
    await settled();
    expect(taken).toEqual([0, 1, 2]);
    expect(consumer.buffered).toEqual({ records: 0, bytes: 0 });
  });
});

describe("credit", () => {
  const consumer = async (records: number, bytes: number) => {
    const dialogue = await opened();
    const reading = dialogue.client.consume({
      partitions: [{ topic: "t", partition: 0, from: "earliest" }],
      encoding: "records",
      window: { records, bytes },
    });
    await settled();
    return { dialogue, reading };
  };
  const credits = ({ link }: Dialogue) => link.all("credit").map(({ records, bytes }) => [records, bytes]);

  test("comes back as records are finished, half a window at a time", async () => {
    const { dialogue, reading } = await consumer(4, 1_000_000);
    dialogue.link.send({ t: "records", stream: 1, batches: [batchOf(0, recordsAt(0, 1, 2, 3), 4)] });
    await settled();
    expect(reading.buffered).toEqual({ records: 4, bytes: 4 * 17 });
    await reading.next();
    await reading.next();
    await settled();
    // The second is in the application's hands: one is finished.
    expect(credits(dialogue)).toEqual([]);
    expect(reading.buffered.records).toBe(3);
    await reading.next();
    await settled();
    expect(credits(dialogue)).toEqual([[2, 34]]);
  });

  test("counts bytes as well: key, value, headers and 16 a record", async () => {
    const { dialogue, reading } = await consumer(1000, 100);
    const record = [0, 0, utf8("key"), utf8("value"), [["é", utf8("xy")]]] as const;
    dialogue.link.send({
      t: "records",
      stream: 1,
      batches: [batchOf(0, [record, [1, 0, null, new Uint8Array(54)]], 2)],
    });
    await settled();
    expect(reading.buffered).toEqual({ records: 2, bytes: 16 + 3 + 5 + 2 + 2 + 16 + 54 });
    await reading.next();
    await reading.next();
    expect(credits(dialogue)).toEqual([]);
    void reading.next();
    await settled();
    expect(credits(dialogue)).toEqual([[2, 98]]);
  });

  test("a record larger than the window is let in when nothing else is here", async () => {
    const { dialogue, reading } = await consumer(10, 100);
    dialogue.link.send({ t: "records", stream: 1, batches: [batchOf(0, recordsAt(0), 1)] });
    dialogue.link.send({ t: "starved", stream: 1, records: 1, bytes: 5000 });
    await reading.next();
    await settled();
    expect(credits(dialogue)).toEqual([]);
    void reading.next();
    await settled();
    expect(credits(dialogue)).toEqual([[1, 5000 - 83]]);
  });

  test("none while paused, and nothing is handed out", async () => {
    const { dialogue, reading } = await consumer(2, 1_000_000);
    dialogue.link.send({ t: "records", stream: 1, batches: [batchOf(0, recordsAt(0, 1), 2)] });
    await reading.next();
    reading.pause();
    let come = false;
    const second = reading.next().finally(() => {
      come = true;
    });
    await settled();
    expect(credits(dialogue)).toEqual([]);
    expect(come).toBe(false);
    reading.resume();
    expect((await second).value?.offset).toBe(1);
    await settled();
    expect(credits(dialogue)).toEqual([[1, 17]]);
    reading.pause();
    await dialogue.reconnect();
    expect(dialogue.link.last("open").credit).toEqual({ records: 0, bytes: 0 });
    reading.resume();
    await settled();
    expect(credits(dialogue)).toEqual([[1, 1_000_000 - 17]]);
  });

  test("for what was dropped comes back too", async () => {
    const { dialogue, reading } = await consumer(4, 1_000_000);
    dialogue.link.send({ t: "records", stream: 1, batches: [batchOf(0, recordsAt(0, 1, 2, 3), 4)] });
    await settled();
    void reading.seek({ topic: "t", partition: 0, from: { offset: 70 } });
    await settled();
    expect(credits(dialogue)).toEqual([[4, 68]]);
    expect(reading.buffered).toEqual({ records: 0, bytes: 0 });
    dialogue.link.send({ t: "records", stream: 9, batches: [] });
  });
});

describe("seeking", () => {
  test("drops what is here and what comes before the answer", async () => {
    const dialogue = new Dialogue();
    const seeks: Request<"seek">[] = [];
    obliging(dialogue);
    const oblige = dialogue.onFrame;
    dialogue.onFrame = (frame, link) => {
      if (frame.t === "seek") seeks.push(frame);
      else oblige(frame, link);
    };
    await dialogue.connect();
    const { link } = dialogue;
    const consumer = dialogue.client.consume({
      partitions: [{ topic: "t", partition: 0, from: "earliest" }],
      encoding: "records",
    });
    await settled();
    link.send({ t: "records", stream: 1, batches: [batchOf(0, recordsAt(0, 1, 2), 3)] });
    expect((await consumer.next()).value?.offset).toBe(0);
    let sought = false;
    const seeking = consumer.seek({ topic: "t", partition: 0, from: { offset: 40 } }).then(() => {
      sought = true;
    });
    const again = consumer.seek({ topic: "t", partition: 0, from: "earliest" });
    const next = consumer.next();
    await settled();
    expect(seeks).toHaveLength(2);
    expect(consumer.position()).toEqual([]);
    link.send({ t: "records", stream: 1, batches: [batchOf(0, recordsAt(3), 4)] });
    link.ok(seeks[0]!, { partitions: [{ topic: "t", partition: 0, position: positionAt(40) }] });
    link.send({ t: "records", stream: 1, batches: [batchOf(0, recordsAt(40), 41)] });
    await settled();
    expect(sought).toBe(false);
    link.ok(seeks[1]!, { partitions: [{ topic: "t", partition: 0, position: positionAt(0) }] });
    link.send({ t: "records", stream: 1, batches: [batchOf(0, recordsAt(0), 1)] });
    await Promise.all([seeking, again]);
    expect((await next).value?.offset).toBe(0);
  });

  test("a saved position is the consumer's before a server has heard of it, and can be saved again", async () => {
    const dialogue = await opened();
    dialogue.onFrame = () => {};
    const position = [{ topic: "t", partition: 0, position: positionAt(7, 2) }];
    const begin = [{ topic: "t", partition: 1, from: "earliest" } as const];
    const consumer = dialogue.client.consume({ position, partitions: begin, encoding: "records" });
    expect(consumer.position()).toEqual(position);
    await settled();
    expect(consumer.position()).toEqual(position);
  });

  test("waits no longer than its signal lets it, and takes place all the same", async () => {
    const dialogue = new Dialogue();
    obliging(dialogue);
    await dialogue.connect();
    const consumer = dialogue.client.consume({ topics: "t", from: "earliest" });
    await settled();
    const oblige = dialogue.onFrame;
    let asked: Request<"seek"> | undefined;
    dialogue.onFrame = (frame) => void (frame.t === "seek" && (asked = frame));
    const reason = new Error("enough");
    const place = { topic: "t", partition: 1, from: { offset: 7 } };
    const never = consumer.seek(place, { signal: AbortSignal.abort(reason) });
    expect(await never.catch((error: unknown) => error)).toBe(reason);
    await settled();
    expect(asked).toBeUndefined();
    const control = new AbortController();
    const seeking = consumer.seek(place, { signal: control.signal }).catch((error: unknown) => error);
    await settled();
    control.abort(reason);
    expect(await seeking).toBe(reason);
    oblige(asked!, dialogue.link);
    await settled();
    expect(consumer.position()).toContainEqual({ topic: "t", partition: 1, position: positionAt(7) });
  });

  test("survives a reconnect", async () => {
    const dialogue = await opened();
    const consumer = dialogue.client.consume({
      partitions: [{ topic: "t", partition: 0, from: "earliest" }],
      encoding: "records",
    });
    await settled();
    const oblige = dialogue.onFrame;
    dialogue.onFrame = () => {};
    const seeking = consumer.seek({ topic: "t", partition: 0, from: { timestamp: 5 } });
    await settled();
    dialogue.onFrame = oblige;
    await dialogue.reconnect();
    await seeking;
    const frame = dialogue.link.last("open");
    expect("partitions" in frame && frame.partitions).toEqual([{ topic: "t", partition: 0, from: { timestamp: 5 } }]);
    expect(consumer.position()).toEqual([{ topic: "t", partition: 0, position: positionAt(50) }]);
  });

  test("a refused one is told, and the partition goes on where it was", async () => {
    const dialogue = await opened();
    const consumer = dialogue.client.consume({
      partitions: [{ topic: "t", partition: 0, from: { offset: 3 } }],
      encoding: "records",
    });
    await settled();
    const oblige = dialogue.onFrame;
    dialogue.onFrame = (frame, link) => {
      dialogue.onFrame = oblige;
      if (frame.t === "seek") link.refuse(frame, 42, "INVALID_REQUEST");
    };
    await expect(consumer.seek({ topic: "t", partition: 0, from: { timestamp: 5 } })).rejects.toMatchObject({
      code: 42,
    });
    await settled();
    expect(dialogue.link.last("seek").partitions).toEqual([{ topic: "t", partition: 0, from: positionAt(3) }]);
    expect(consumer.position()[0]?.position.offset).toBe(3);
    await expect(consumer.seek({ topic: "u", partition: 0, from: "latest" })).rejects.toThrow("u-0 is not read");
  });
});

describe("assigning", () => {
  test("partitions are added and taken away while it runs", async () => {
    const dialogue = await opened();
    const consumer = dialogue.client.consume({
      partitions: [{ topic: "t", partition: 0, from: "earliest" }],
      encoding: "records",
    });
    await settled();
    consumer.assign([{ topic: "t", partition: 1, from: "latest" }], [{ topic: "t", partition: 0 }]);
    dialogue.link.send({ t: "records", stream: 1, batches: [batchOf(0, recordsAt(0), 1)] });
    await settled();
    expect(dialogue.link.last("assign")).toMatchObject({
      add: [{ topic: "t", partition: 1, from: "latest" }],
      remove: [{ topic: "t", partition: 0 }],
    });
    expect(consumer.assignment()).toEqual([{ topic: "t", partition: 1 }]);
    dialogue.link.send({ t: "records", stream: 1, batches: [batchOf(1, recordsAt(100), 101)] });
    expect((await consumer.next()).value).toMatchObject({ partition: 1, offset: 100 });
    expect(consumer.buffered.records).toBe(1);
  });

  test("partitions that a topic gets later are read from their beginning", async () => {
    const dialogue = await opened();
    dialogue.partitions = 1;
    dialogue.client.consume({ topics: "t", from: "latest", metadataMaxAgeMs: 1000 });
    await settled();
    dialogue.partitions = 2;
    await dialogue.pass(1000);
    expect(dialogue.link.last("assign")).toMatchObject({
      add: [{ topic: "t", partition: 1, from: "earliest" }],
      remove: [],
    });
    await dialogue.pass(1000);
    expect(dialogue.link.all("assign")).toHaveLength(1);
  });

  test("partitions are looked for of every topic though another one is gone, and none that was taken away comes back", async () => {
    const dialogue = await opened();
    dialogue.partitions = 2;
    const consumer = dialogue.client.consume({ topics: ["a", "b"], from: "latest", metadataMaxAgeMs: 1000 });
    const errors: unknown[] = [];
    dialogue.client.on("error", (error) => errors.push(error));
    await settled();
    consumer.assign([], [{ topic: "b", partition: 0 }]);
    await settled();
    dialogue.gone.add("a");
    dialogue.partitions = 3;
    await dialogue.pass(1000);
    expect(dialogue.link.all("assign").map(({ add }) => add)).toEqual([
      [],
      [{ topic: "b", partition: 2, from: "earliest" }],
    ]);
    expect(errors).toMatchObject([{ name: "KafkaError", kafkaName: "UNKNOWN_TOPIC_OR_PARTITION" }]);
  });

  test("what changes while the stream is being opened is made good when it is", async () => {
    const dialogue = new Dialogue();
    await dialogue.connect();
    const consumer = dialogue.client.consume({
      partitions: [0, 1].map((partition) => ({ topic: "t", partition, from: "earliest" })),
    });
    await settled();
    obliging(dialogue);
    consumer.assign([{ topic: "t", partition: 2, from: "latest" }], [{ topic: "t", partition: 0 }]);
    const seeking = consumer.seek({ topic: "t", partition: 1, from: { offset: 9 } });
    answerPlaces(
      dialogue.link.last("open"),
      [0, 1].map((partition) => ({ topic: "t", partition, from: "earliest" as const })),
      dialogue.link,
    );
    await seeking;
    await settled();
    expect(dialogue.link.last("assign")).toMatchObject({
      add: [{ topic: "t", partition: 2, from: "latest" }],
      remove: [{ topic: "t", partition: 0 }],
    });
    expect(consumer.position().map(({ partition, position }) => [partition, position.offset])).toEqual([
      [1, 9],
      [2, 100],
    ]);
  });
});

describe("what is not in the log", () => {
  const error = { code: 1, name: "OFFSET_OUT_OF_RANGE", message: "gone", retriable: false };
  const outOfRange = {
    t: "outOfRange",
    stream: 1,
    topic: "t",
    partition: 0,
    offset: 3,
    logStartOffset: 20,
    highWatermark: 60,
    error,
  } as const;

  test("is an error behind what came before, until a seek", async () => {
    const dialogue = await opened();
    const partitions = [0, 1].map((partition) => ({ topic: "t", partition, from: "earliest" as const }));
    const consumer = dialogue.client.consume({ partitions, encoding: "records" });
    await settled();
    const { link } = dialogue;
    link.send({ t: "records", stream: 1, batches: [batchOf(0, recordsAt(0, 1, 2), 3)] });
    link.send(outOfRange);
    link.send(outOfRange);
    link.send({ t: "records", stream: 1, batches: [batchOf(1, recordsAt(0), 1)] });
    const reading = collect(consumer);
    await reading.done;
    expect(reading.items.map(({ offset }) => offset)).toEqual([0, 1, 2]);
    expect(reading.error).toBeInstanceOf(OffsetOutOfRangeError);
    expect(reading.error).toMatchObject({
      topic: "t",
      partition: 0,
      offset: 3,
      earliest: 20,
      latest: 60,
      fatal: false,
    });
    // The others go on, and this one after a seek.
    expect((await consumer.next()).value).toMatchObject({ partition: 1, offset: 0 });
    await consumer.seek({ topic: "t", partition: 0, from: { offset: 20 } });
    link.send({ t: "records", stream: 1, batches: [batchOf(0, recordsAt(20), 21)] });
    expect((await consumer.next()).value).toMatchObject({ partition: 0, offset: 20 });
  });

  test("is left behind by a policy, and said", async () => {
    const dialogue = await opened();
    const partitions = [{ topic: "t", partition: 0, from: { offset: 0 } }];
    const consumer = dialogue.client.consume({ partitions, encoding: "records", onOutOfRange: "latest" });
    const resets: unknown[] = [];
    consumer.on("reset", ({ error: { message }, to }) => resets.push([message, to]));
    await settled();
    const { link } = dialogue;
    link.send({ t: "records", stream: 1, batches: [batchOf(0, recordsAt(0, 1, 2), 3)] });
    link.send(outOfRange);
    await settled();
    expect(link.last("seek").partitions).toEqual([{ topic: "t", partition: 0, from: "latest" }]);
    expect(resets).toEqual([["t-0 has no offset 3: it holds 20 up to 60", "latest"]]);
    // What came before is still handed out; behind it lies the new place.
    link.send({ t: "records", stream: 1, batches: [batchOf(0, recordsAt(100), 101)] });
    const offsets = [];
    for (let index = 0; index < 4; index++) {
      offsets.push((await consumer.next()).value?.offset);
      if (index === 2) void consumer.position();
    }
    expect(offsets).toEqual([0, 1, 2, 100]);
  });

  test("a cut of what the application has not seen is read again without a word", async () => {
    const dialogue = await opened();
    const partitions = [{ topic: "t", partition: 0, from: { offset: 0 } }];
    const consumer = dialogue.client.consume({ partitions, encoding: "records" });
    await settled();
    const { link } = dialogue;
    link.send({ t: "records", stream: 1, batches: [batchOf(0, recordsAt(0, 1, 2), 3)] });
    await consumer.next();
    link.send({ t: "diverged", stream: 1, topic: "t", partition: 0, position: positionAt(2) });
    await settled();
    expect(link.last("seek").partitions).toEqual([{ topic: "t", partition: 0, from: positionAt(1, 0) }]);
    link.send({ t: "records", stream: 1, batches: [batchOf(0, recordsAt(1), 2)] });
    expect((await consumer.next()).value?.offset).toBe(1);
    link.send({ t: "diverged", stream: 1, topic: "t", partition: 0, position: positionAt(1) });
    const truncated = consumer.next();
    await expect(truncated).rejects.toBeInstanceOf(LogTruncationError);
    await expect(truncated).rejects.toMatchObject({ offset: 2, divergentOffset: 1 });
  });

  test("a partition that is gone is told once, trouble that passes is an event", async () => {
    const dialogue = await opened();
    const consumer = dialogue.client.consume({
      partitions: [{ topic: "t", partition: 0, from: "earliest" }],
      encoding: "records",
    });
    const troubles: string[] = [];
    consumer.on("trouble", ({ message }) => troubles.push(message));
    await settled();
    const push = { t: "partitionError", stream: 1, topic: "t", partition: 0 } as const;
    dialogue.link.send({
      ...push,
      error: { code: 6, name: "NOT_LEADER_OR_FOLLOWER", message: "moving", retriable: true },
    });
    dialogue.link.send({
      ...push,
      error: { code: 3, name: "UNKNOWN_TOPIC_OR_PARTITION", message: "deleted", retriable: false },
    });
    const gone = consumer.next();
    await expect(gone).rejects.toBeInstanceOf(PartitionError);
    await expect(gone).rejects.toMatchObject({ code: 3, topic: "t", partition: 0 });
    expect(troubles).toEqual(["t-0: NOT_LEADER_OR_FOLLOWER: moving"]);
  });
});

describe("coming back", () => {
  test("goes on behind what came, with credit for what is free", async () => {
    const dialogue = await opened();
    const consumer = dialogue.client.consume({
      partitions: [{ topic: "t", partition: 0, from: "earliest" }],
      encoding: "records",
      window: { records: 10, bytes: 1000 },
    });
    await settled();
    dialogue.link.send({ t: "records", stream: 1, batches: [batchOf(0, recordsAt(0, 1, 2), 5, { next: [5, 4] })] });
    await consumer.next();
    await dialogue.reconnect();
    const frame = dialogue.link.last("open");
    expect(frame.credit).toEqual({ records: 7, bytes: 1000 - 3 * 17 });
    expect("partitions" in frame && frame.partitions).toEqual([{ topic: "t", partition: 0, from: positionAt(5, 4) }]);
    expect((await consumer.next()).value?.offset).toBe(1);
    expect((await consumer.next()).value?.offset).toBe(2);
    dialogue.link.send({ t: "records", stream: 1, batches: [batchOf(0, recordsAt(5), 6)] });
    expect((await consumer.next()).value?.offset).toBe(5);
  });

  test("a stream that the server ended for now is opened again, one that it ended for good throws", async () => {
    const dialogue = await opened();
    const consumer = dialogue.client.consume({ partitions: [{ topic: "t", partition: 0, from: "earliest" }] });
    await settled();
    dialogue.link.send({
      t: "closed",
      stream: 1,
      error: { code: 15, name: "COORDINATOR_NOT_AVAILABLE", message: "", retriable: true },
    });
    await settled();
    await dialogue.pass(200);
    expect(dialogue.link.all("open")).toHaveLength(2);
    dialogue.link.send({
      t: "closed",
      stream: 1,
      error: { code: 29, name: "TOPIC_AUTHORIZATION_FAILED", message: "no", retriable: false },
    });
    const ended = consumer.next();
    await expect(ended).rejects.toMatchObject({ code: 29, fatal: true });
  });

  test("lag is told as soon as the end is known", async () => {
    const dialogue = await opened();
    const consumer = dialogue.client.consume({
      partitions: [{ topic: "t", partition: 0, from: { offset: 4 } }],
      encoding: "records",
    });
    await settled();
    expect(consumer.lag()[0]?.lag).toBeUndefined();
    const ends = { highWatermark: 12, lastStableOffset: 10, logStartOffset: 2 };
    dialogue.link.send({ t: "records", stream: 1, batches: [batchOf(0, [], 4, ends)] });
    await settled();
    expect(consumer.lag()).toEqual([{ topic: "t", partition: 0, lag: 6, ...ends }]);
  });
});

describe("batches as they lie in the log", () => {
  const codecs = makeBunCodecs();
  const raw = (codec: CodecId, base: number, ...values: string[]): Uint8Array =>
    buildBatch(
      values.map((value) => ({ value: utf8(value), headers: [{ key: "h", value: utf8(value) }], timestamp: 5 })),
      { codec, codecs, baseOffset: base, leaderEpoch: 3 },
    );
  const joined = (...parts: Uint8Array[]): Uint8Array => new Uint8Array(Buffer.concat(parts));
  const reading = async (more: Partial<ConsumeCommon<Uint8Array, string>> = {}) => {
    const dialogue = await opened();
    const partitions = [{ topic: "t", partition: 0, from: { offset: 11 } }];
    const consumer = dialogue.client.consume({ partitions, value: string, ...more });
    await settled();
    const send = (bytes: Uint8Array, next: number) =>
      dialogue.link.send({
        t: "records",
        stream: 1,
        batches: [batchOf(0, [], next, { records: [], raw: bytes, next: [next, 3] })],
      });
    return { dialogue, consumer, send };
  };

  test("begin before the place, are compressed in any way, and are paid for by their headers", async () => {
    const { consumer, send } = await reading();
    const bytes = joined(raw(0, 10, "a", "b", "c"), raw(1, 13, "d"), raw(2, 14, "e"), raw(3, 15, "f"), raw(4, 20, "g"));
    send(bytes, 25);
    await settled();
    expect(consumer.buffered).toEqual({ records: 7, bytes: bytes.length });
    const found: string[] = [];
    for (let index = 0; index < 6; index++) {
      const { value: record } = await consumer.next();
      found.push(`${record?.offset}:${record?.value}`);
      expect(record?.headers).toEqual([["h", utf8(record!.value!)]]);
    }
    expect(found).toEqual(["11:b", "12:c", "13:d", "14:e", "15:f", "20:g"]);
    expect(consumer.position()[0]?.position).toEqual(positionAt(21, 3));
    void consumer.next();
    await settled();
    expect(consumer.position()[0]?.position).toEqual(positionAt(25, 3));
    expect(consumer.buffered).toEqual({ records: 0, bytes: 0 });
  });

  test("that compaction has emptied are passed, wherever they lie, and what they cost comes back", async () => {
    const { consumer, send } = await reading();
    const bytes = joined(
      emptied(raw(0, 11, "x", "y")),
      raw(4, 13, "a"),
      emptied(raw(0, 14, "z")),
      raw(0, 15, "b"),
      emptied(raw(0, 16, "z")),
    );
    send(bytes, 17);
    const found = [await consumer.next(), await consumer.next()].map(({ value }) => `${value?.offset}:${value?.value}`);
    expect(found).toEqual(["13:a", "15:b"]);
    void consumer.next();
    await settled();
    expect(consumer.buffered).toEqual({ records: 0, bytes: 0 });
    expect(consumer.position()[0]?.position).toEqual(positionAt(17, 3));
    send(emptied(raw(0, 17, "z")), 18);
    await settled();
    expect(consumer.buffered).toEqual({ records: 0, bytes: 0 });
    expect(consumer.position()[0]?.position).toEqual(positionAt(18, 3));
  });

  test("that are damaged stop their partition until a seek", async () => {
    const { dialogue, consumer, send } = await reading();
    const bytes = joined(raw(0, 11, "a"), raw(4, 12, "b"));
    bytes[bytes.length - 1]! ^= 1;
    send(bytes, 13);
    expect((await consumer.next()).value?.value).toBe("a");
    const damaged = consumer.next();
    await expect(damaged).rejects.toBeInstanceOf(PartitionError);
    await expect(damaged).rejects.toMatchObject({ code: 2, topic: "t", partition: 0 });
    expect(consumer.buffered).toEqual({ records: 0, bytes: 0 });
    await consumer.seek({ topic: "t", partition: 0, from: { offset: 13 } });
    send(raw(3, 13, "c"), 14);
    expect((await consumer.next()).value?.value).toBe("c");
    expect(dialogue.client.state).toBe("connected");
    send(Uint8Array.of(1, 2, 3), 15);
    await expect(consumer.next()).rejects.toMatchObject({ code: 2 });
  });

  test("a decoder that cannot be loaded now is loaded the next time, and nothing is lost", async () => {
    const { dialogue, consumer, send } = await reading();
    const { platform } = dialogue.network;
    const load = platform.decompressor;
    Object.assign(platform, { decompressor: () => Promise.reject(new Error("offline")) });
    send(raw(4, 11, "a", "b"), 13);
    await expect(consumer.next()).rejects.toMatchObject({
      retriable: true,
      message: "the decoder could not be loaded: offline",
    });
    Object.assign(platform, { decompressor: load });
    expect((await consumer.next()).value?.value).toBe("a");
    expect((await consumer.next()).value?.value).toBe("b");
  });

  test("a seek while one is being decompressed makes it void", async () => {
    const { dialogue, consumer, send } = await reading();
    const gate = Promise.withResolvers<void>();
    const { platform } = dialogue.network;
    const load = platform.decompressor;
    Object.assign(platform, { decompressor: () => gate.promise.then(load) });
    send(raw(4, 11, "a"), 12);
    const next = consumer.next();
    await settled();
    const seeking = consumer.seek({ topic: "t", partition: 0, from: { offset: 40 } });
    gate.resolve();
    await seeking;
    send(raw(4, 40, "z"), 41);
    expect((await next).value?.value).toBe("z");
  });

  test("a seek while one cannot be decompressed leaves nothing of it", async () => {
    const { dialogue, consumer, send } = await reading();
    const gate = Promise.withResolvers<void>();
    const { platform } = dialogue.network;
    const load = platform.decompressor;
    Object.assign(platform, { decompressor: () => gate.promise.then(load) });
    send(raw(4, 11, "a"), 12);
    const next = consumer.next();
    await settled();
    const seeking = consumer.seek({ topic: "t", partition: 0, from: { offset: 40 } });
    gate.reject(new Error("offline"));
    await seeking;
    Object.assign(platform, { decompressor: load });
    send(raw(4, 40, "z"), 41);
    expect((await next).value?.value).toBe("z");
  });

  test("by batches, each as it was written", async () => {
    const { consumer, send } = await reading();
    send(joined(raw(4, 11, "a", "b"), raw(0, 13, "c")), 20);
    const batches = consumer.batches();
    const first = (await batches.next()).value!;
    expect([first.records.map(({ value }) => value), first.position.position.offset]).toEqual([["a", "b"], 13]);
    const second = (await batches.next()).value!;
    expect([second.records.map(({ value }) => value), second.position.position.offset]).toEqual([["c"], 20]);
  });
});
