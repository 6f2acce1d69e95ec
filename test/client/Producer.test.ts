import { describe, expect, test } from "bun:test";
import {
  CodecError,
  json,
  KafkaError,
  OutcomeUnknownError,
  type ProducerOptions,
  partitionForKey,
  string,
  TimeoutError,
} from "../../src/client/Client.ts";
import { makeBunCodecs } from "../../src/platform/BunCodecs.ts";
import { readBatchInfo, records } from "../../src/record/RecordBatch.ts";
import { briefly, type Produce, producedIn } from "./support/Batches.ts";
import { Dialogue } from "./support/Dialogue.ts";
import { HELLO, type ServerLink, settled } from "./support/FakeNetwork.ts";

const text = { key: string, value: string } as const;

const producing = async (
  options: ProducerOptions<string, string> = {},
  producers = [
    { id: 7, epoch: 0 },
    { id: 8, epoch: 0 },
  ],
) => {
  const dialogue = new Dialogue();
  const produced: Produce[] = [];
  dialogue.onFrame = (frame, link) => {
    if (frame.t === "initProducer") link.ok(frame, { producer: producers.shift() });
    if (frame.t === "produce") produced.push(frame);
  };
  await dialogue.connect();
  const producer = dialogue.client.producer({ ...text, ...options });
  const send = (value: string, partition = 0) => producer.send({ topic: "t", partition, value });
  /** Sent one by one, each in a batch of its own. */
  const sendApart = async (...values: string[]) => {
    const sent = [];
    for (const value of values) {
      const promise = send(value);
      promise.catch(() => {});
      sent.push(promise);
      await settled();
    }
    return sent;
  };
  const ack = (frame: Produce, offset: number, link: ServerLink = dialogue.link) =>
    link.ok(frame, { offset, timestamp: -1, logStartOffset: 0 });
  return { dialogue, producer, produced, send, sendApart, ack };
};

const seen = (produced: ReadonlyArray<Produce>): string[] => produced.map(briefly);

describe("records", () => {
  test("of one go are one batch, with keys, headers and times, and learn their offsets", async () => {
    const { dialogue, producer, produced, ack } = await producing();
    const first = producer.send({
      topic: "t",
      partition: 3,
      key: "k",
      value: "a",
      headers: { h: "1" },
      timestamp: 1000,
    });
    const second = producer.send({
      topic: "t",
      partition: 3,
      value: null,
      headers: [
        ["h", null],
        ["h", Uint8Array.of(9)],
      ],
    });
    await settled();
    expect(produced).toHaveLength(1);
    expect(produced[0]).toMatchObject({ topic: "t", partition: 3, acks: -1, timeoutMs: 30_000 });
    const { batch } = produced[0] as Produce & { batch: Uint8Array };
    expect(readBatchInfo(batch, 0)).toMatchObject({ producerId: 7, producerEpoch: 0, baseSequence: 0, attributes: 0 });
    const now = dialogue.network.clock.wall();
    expect(
      [...records(batch, 0, makeBunCodecs())].map(({ key, value, headers, timestamp }) => ({
        ...{ key: key && Buffer.from(key).toString(), value: value && Buffer.from(value).toString(), timestamp },
        headers: headers.map(({ key: name, value: content }) => [name, content && [...content]]),
      })),
    ).toEqual([
      { key: "k", value: "a", timestamp: 1000, headers: [["h", [49]]] },
      {
        key: null,
        value: null,
        timestamp: now,
        headers: [
          ["h", null],
          ["h", [9]],
        ],
      },
    ]);
    ack(produced[0]!, 40);
    expect(await first).toEqual({ topic: "t", partition: 3, offset: 40, timestamp: 1000 });
    expect(await second).toEqual({ topic: "t", partition: 3, offset: 41, timestamp: now });
  });

  test("go by Java's hash of the key, by a partitioner, or stay together without a key", async () => {
    const { producer, produced, dialogue } = await producing();
    dialogue.partitions = 9;
    for (const key of ["a", "b", "ü".repeat(100)]) void producer.send({ topic: "t", key, value: key });
    void producer.send({ topic: "t", value: "x" });
    void producer.send({ topic: "t", value: "y" });
    await settled();
    const placed = new Map(
      produced.map(producedIn).flatMap(({ partition, values }) => values.map((value) => [value, partition])),
    );
    for (const key of ["a", "b", "ü".repeat(100)]) expect(placed.get(key)).toBe(partitionForKey(string.encode(key), 9));
    expect(placed.get("x")).toBe(placed.get("y")!);
    const own = dialogue.client.producer({
      ...text,
      partitioner: ({ topic, key, partitions }) => (key === null ? partitions : topic.length),
    });
    void own.send({ topic: "t", key: "k", value: "z" });
    await settled();
    expect(producedIn(produced.at(-1)!)).toMatchObject({ partition: 1, values: ["z"] });
    await expect(own.send({ topic: "t", value: "z" })).rejects.toThrow("chose 9 of t's partitions 0 to 8");
  });

  test("that cannot be encoded, or go nowhere, are refused alone", async () => {
    const { dialogue, producer, produced } = await producing();
    const bad = dialogue.client.producer({ value: json() });
    await expect(bad.send({ topic: "t", value: 1n })).rejects.toBeInstanceOf(CodecError);
    await expect(bad.send({ topic: "t", key: "text" as never })).rejects.toThrow("give a codec");
    await expect(producer.send({ topic: "t", value: "x", timestamp: 1.5 })).rejects.toThrow(
      "timestamp: expected an integer",
    );
    await expect(producer.send({ topic: "no-t", value: "x" })).rejects.toMatchObject({ code: 3 });
    await expect(producer.send({ topic: "t", value: "x".repeat(2_000_000) })).rejects.toMatchObject({ code: 10 });
    void producer.send({ topic: "t", partition: 0, value: "good" });
    await settled();
    expect(seen(produced)).toEqual(["0#0: good"]);
  });

  test("wait for each other as long as they may, or until the batch is full", async () => {
    const { dialogue, produced, send } = await producing({ lingerMs: 50, batchRecords: 3 });
    void send("a");
    await dialogue.pass(30);
    void send("b");
    await dialogue.pass(19);
    expect(produced).toHaveLength(0);
    await dialogue.pass(1);
    expect(seen(produced)).toEqual(["0#0: a b"]);
    for (const value of ["c", "d", "e", "f"]) void send(value);
    await settled();
    expect(seen(produced)).toEqual(["0#0: a b", "0#2: c d e"]);
  });

  test("that wait for room are taken back by their signal, and those behind them go on", async () => {
    const { produced, producer, ack } = await producing({ bufferBytes: 1 });
    const control = new AbortController();
    const reason = new Error("enough");
    const send = (value: string, signal?: AbortSignal) =>
      producer.send({ topic: "t", partition: 0, value }, signal === undefined ? {} : { signal });
    const first = send("first", control.signal).catch((error: unknown) => error);
    const second = send("second", control.signal).catch((error: unknown) => error);
    const third = send("third");
    await settled();
    control.abort(reason);
    // The first is on its way: only the waiting for it ends.
    expect([await first, await second]).toEqual([reason, reason]);
    ack(produced[0]!, 0);
    await settled();
    ack(produced[1]!, 1);
    expect(await third).toMatchObject({ offset: 1 });
    await producer.flush();
    expect(seen(produced)).toHaveLength(2);
    expect(produced.map(producedIn).flatMap(({ values }) => values)).toEqual(["first", "third"]);
  });

  test("flush sends at once and waits until all is settled", async () => {
    const { dialogue, producer, produced, send, ack } = await producing({ lingerMs: 10_000 });
    void send("a");
    await settled();
    let flushed = false;
    const flushing = producer.flush().then(() => {
      flushed = true;
    });
    await settled();
    expect(seen(produced)).toEqual(["0#0: a"]);
    expect(flushed).toBe(false);
    ack(produced[0]!, 0);
    await flushing;
    const controller = new AbortController();
    void send("b");
    const stuck = producer.flush({ signal: controller.signal });
    controller.abort(new Error("no more"));
    await expect(stuck).rejects.toThrow("no more");
    expect(dialogue.client.state).toBe("connected");
  });

  test("that do not fit into the buffer wait for room, in order, and not for ever", async () => {
    const { dialogue, producer, produced, send, ack } = await producing({ bufferBytes: 10, maxBlockMs: 1000 });
    const sent = ["aaaaaa", "bbb", "cc", "d"].map((value) => send(value));
    for (const promise of sent) promise.catch(() => {});
    await settled();
    expect(seen(produced)).toEqual(["0#0: aaaaaa bbb"]);
    expect(producer.bufferedBytes).toBe(9);
    let ready = false;
    const waiting = producer.ready().then(() => {
      ready = true;
    });
    await dialogue.pass(1000);
    await expect(sent[2]!).rejects.toBeInstanceOf(TimeoutError);
    await expect(sent[2]!).rejects.toThrow("the buffer was full for 1000 ms");
    // One that is smaller fits by now.
    expect(seen(produced)).toEqual(["0#0: aaaaaa bbb", "0#2: d"]);
    expect(ready).toBe(false);
    ack(produced[0]!, 0);
    await waiting;
    expect(producer.bufferedBytes).toBe(1);
  });

  test("close waits for what was sent, then refuses", async () => {
    const { producer, produced, send, ack } = await producing({ lingerMs: 1000 });
    const sent = send("a");
    const closing = producer.close();
    await settled();
    ack(produced[0]!, 0);
    await closing;
    expect((await sent).offset).toBe(0);
    await expect(send("b")).rejects.toMatchObject({ name: "ClosedError", fatal: true });
  });

  test("close gives up after its time, and says which may have been written", async () => {
    const { dialogue, producer, produced, sendApart } = await producing();
    const sent = await sendApart("1", "2", "3", "4", "5", "6");
    expect(produced).toHaveLength(5);
    const closing = producer.close({ timeoutMs: 100 });
    await dialogue.pass(100);
    await closing;
    const outcomes = await Promise.allSettled(sent);
    expect(outcomes.map((outcome) => outcome.status === "rejected" && outcome.reason.name)).toEqual([
      ...new Array(5).fill("OutcomeUnknownError"),
      "ClosedError",
    ]);
  });
});

describe("idempotence", () => {
  test("at most five batches of a partition are unanswered; what piles up leaves together", async () => {
    const { produced, sendApart, ack } = await producing();
    const sent = await sendApart("1", "2", "3", "4", "5", "6", "7");
    expect(seen(produced)).toEqual(["0#0: 1", "0#1: 2", "0#2: 3", "0#3: 4", "0#4: 5"]);
    // An answer behind one that is missing makes no room: the broker remembers five batches.
    ack(produced[1]!, 1);
    await settled();
    expect(produced).toHaveLength(5);
    ack(produced[0]!, 0);
    expect((await sent[0])?.offset).toBe(0);
    await settled();
    expect(seen(produced).at(-1)).toBe("0#5: 6 7");
  });

  test("what was unanswered when the connection ended is sent again, unchanged and in order", async () => {
    const { dialogue, produced, send, sendApart, ack } = await producing();
    const sent = await sendApart("1", "2", "3");
    ack(produced[1]!, 1);
    await settled();
    const before = produced.splice(0);
    dialogue.link.cut();
    const late = send("4");
    await settled();
    await dialogue.pass(1000);
    // Drained first: one that may be there already, the rest behind it.
    expect(seen(produced)).toEqual(["0#0: 1", "0#2: 3", "0#3: 4"]);
    expect(Buffer.compare(producedIn(produced[0]!).bytes, producedIn(before[0]!).bytes)).toBe(0);
    expect(Buffer.compare(producedIn(produced[1]!).bytes, producedIn(before[2]!).bytes)).toBe(0);
    dialogue.link.refuse(produced[0]!, 46, "DUPLICATE_SEQUENCE_NUMBER");
    ack(produced[1]!, 2);
    ack(produced[2]!, 3);
    expect((await Promise.all([...sent, late])).map(({ offset }) => offset)).toEqual([-1, 1, 2, 3]);
    expect(dialogue.link.all("initProducer")).toHaveLength(0);
  });

  test("a refusal that may pass drains the partition, and the rest follows behind", async () => {
    const { dialogue, produced, sendApart, ack } = await producing();
    const sent = await sendApart("1", "2", "3");
    const { link } = dialogue;
    link.refuse(produced[0]!, 19, "NOT_ENOUGH_REPLICAS", true);
    await settled();
    await dialogue.pass(60);
    // Two of them are still unanswered.
    expect(produced).toHaveLength(3);
    link.refuse(produced[1]!, 45, "OUT_OF_ORDER_SEQUENCE_NUMBER");
    link.refuse(produced[2]!, 45, "OUT_OF_ORDER_SEQUENCE_NUMBER");
    await settled();
    await dialogue.pass(60);
    expect(seen(produced.slice(3))).toEqual(["0#0: 1", "0#1: 2", "0#2: 3"]);
    produced.slice(3).forEach((frame, index) => void ack(frame, index));
    expect((await Promise.all(sent)).map(({ offset }) => offset)).toEqual([0, 1, 2]);
  });

  test("a batch that is refused for good leaves a hole: a new identity when nothing of the old one is open", async () => {
    const { dialogue, producer, produced, send, sendApart, ack } = await producing();
    const sent = await sendApart("1", "2", "3");
    const other = send("other", 1);
    await settled();
    const { link } = dialogue;
    link.refuse(produced[0]!, 10, "MESSAGE_TOO_LARGE");
    link.refuse(produced[1]!, 45, "OUT_OF_ORDER_SEQUENCE_NUMBER");
    link.refuse(produced[2]!, 45, "OUT_OF_ORDER_SEQUENCE_NUMBER");
    await settled();
    expect(link.all("initProducer")).toHaveLength(1);
    void send("new", 2);
    await settled();
    expect(produced).toHaveLength(4);
    ack(produced[3]!, 9);
    await settled();
    expect((await other).offset).toBe(9);
    expect(link.all("initProducer")).toHaveLength(2);
    // What piled up may leave in one batch or in several, each with its own sequences under the new identity.
    const renewed = produced.slice(4).map(producedIn);
    expect(
      renewed.map(({ producerId, partition, sequence, values }) => [producerId, partition, sequence, ...values]),
    ).toEqual([
      [8, 0, 0, "2"],
      [8, 0, 1, "3"],
      [8, 2, 0, "new"],
    ]);
    await expect(sent[0]!).rejects.toBeInstanceOf(KafkaError);
    await expect(sent[0]!).rejects.toMatchObject({ code: 10 });
    expect(producer.bufferedBytes).toBe(5);
  });

  test("one that may have been written when its time is over has an unknown outcome", async () => {
    const { dialogue, produced, send, sendApart, ack } = await producing({ deliveryTimeoutMs: 1000 });
    const [flying] = await sendApart("1");
    await dialogue.pass(500);
    dialogue.network.reachable = false;
    dialogue.link.cut();
    await settled();
    const waiting = send("2");
    waiting.catch(() => {});
    await dialogue.pass(500);
    await expect(flying!).rejects.toBeInstanceOf(OutcomeUnknownError);
    await dialogue.pass(500);
    await expect(waiting).rejects.toBeInstanceOf(TimeoutError);
    const third = send("3");
    dialogue.network.goOnline();
    await settled();
    await dialogue.pass(100);
    // Sequences 0 are spent on something nobody knows of: it goes on under another identity.
    const batch = producedIn(produced.at(-1)!);
    expect([batch.producerId, batch.sequence, batch.values]).toEqual([8, 0, ["3"]]);
    ack(produced.at(-1)!, 5);
    expect((await third).offset).toBe(5);
  });

  test("an answer that comes after its time closes the hole again", async () => {
    const { dialogue, produced, send, sendApart, ack } = await producing({ deliveryTimeoutMs: 1000 });
    const [first] = await sendApart("1");
    await dialogue.pass(1000);
    await expect(first!).rejects.toBeInstanceOf(OutcomeUnknownError);
    ack(produced[0]!, 0);
    void send("2");
    await settled();
    expect(seen(produced)).toEqual(["0#0: 1", "0#1: 2"]);
    expect(producedIn(produced[1]!).producerId).toBe(7);
  });

  test.each([
    [47, "INVALID_PRODUCER_EPOCH"],
    [59, "UNKNOWN_PRODUCER_ID"],
  ])("%i for what was never written is made good under a new identity", async (code, name) => {
    const { dialogue, produced, sendApart, ack } = await producing();
    const sent = await sendApart("1", "2");
    dialogue.link.refuse(produced[0]!, code, name);
    dialogue.link.refuse(produced[1]!, code, name);
    await settled();
    expect(produced.slice(2).map((frame) => `${producedIn(frame).producerId} ${briefly(frame)}`)).toEqual([
      "8 0#0: 1",
      "8 0#1: 2",
    ]);
    ack(produced[2]!, 0);
    ack(produced[3]!, 1);
    expect((await Promise.all(sent)).map(({ offset }) => offset)).toEqual([0, 1]);
  });

  test("59 for what may have been written is unknown; 45 says that it is not there", async () => {
    const { dialogue, produced, sendApart } = await producing();
    const sent = await sendApart("1");
    await dialogue.reconnect();
    dialogue.link.refuse(produced[1]!, 59, "UNKNOWN_PRODUCER_ID");
    await expect(sent[0]!).rejects.toBeInstanceOf(OutcomeUnknownError);
    const [next] = await sendApart("2");
    await dialogue.reconnect();
    expect(producedIn(produced.at(-1)!)).toMatchObject({ producerId: 8, sequence: 0 });
    dialogue.link.refuse(produced.at(-1)!, 45, "OUT_OF_ORDER_SEQUENCE_NUMBER");
    await expect(next!).rejects.toMatchObject({ code: 45 });
  });

  test("an identity is asked for once, again when its answer was lost; a refusal ends the producer", async () => {
    const dialogue = new Dialogue();
    await dialogue.connect();
    const producer = dialogue.client.producer(text);
    const sent = [0, 1].map((partition) => producer.send({ topic: "t", partition, value: "x" }));
    for (const promise of sent) promise.catch(() => {});
    await settled();
    expect(dialogue.link.all("initProducer")).toHaveLength(1);
    await dialogue.reconnect();
    expect(dialogue.link.all("initProducer")).toHaveLength(1);
    dialogue.link.refuse(dialogue.link.last("initProducer"), 31, "CLUSTER_AUTHORIZATION_FAILED");
    for (const promise of sent) await expect(promise).rejects.toMatchObject({ code: 31 });
    await expect(producer.send({ topic: "t", partition: 0, value: "x" })).rejects.toMatchObject({ code: 31 });
  });
});

describe("without idempotence", () => {
  test("nothing is sent again that may have been written", async () => {
    const { dialogue, produced, sendApart, ack } = await producing({ idempotent: false, acks: 1 });
    const sent = await sendApart("1", "2");
    expect(produced.map((frame) => [frame.acks, producedIn(frame).producerId, producedIn(frame).sequence])).toEqual([
      [1, -1, -1],
      [1, -1, -1],
    ]);
    dialogue.link.refuse(produced[0]!, 7, "REQUEST_TIMED_OUT", true);
    await expect(sent[0]!).rejects.toBeInstanceOf(OutcomeUnknownError);
    await dialogue.reconnect();
    await expect(sent[1]!).rejects.toBeInstanceOf(OutcomeUnknownError);
    const [again] = await sendApart("3");
    dialogue.link.refuse(produced[2]!, 19, "NOT_ENOUGH_REPLICAS", true);
    await settled();
    await dialogue.pass(60);
    ack(produced[3]!, 4);
    expect((await again)?.offset).toBe(4);
    expect(() => dialogue.client.producer({ acks: 0 })).toThrow("acks 0 is not for an idempotent producer");
  });
});

test("a frame is never larger than the server takes", async () => {
  const dialogue = new Dialogue();
  const sizes: number[] = [];
  dialogue.network.onAccept = (link) => {
    link.onFrame = (frame) => {
      if (frame.t === "hello") link.ok(frame, { ...HELLO, limits: { ...HELLO.limits, frameBytes: 4096 } });
      if (frame.t === "initProducer") link.ok(frame, { producer: { id: 1, epoch: 0 } });
      if (frame.t === "produce") sizes.push(producedIn(frame).bytes.length);
    };
  };
  await dialogue.connect();
  const producer = dialogue.client.producer(text);
  for (let index = 0; index < 20; index++)
    void producer.send({ topic: "t", partition: index % 2, value: "x".repeat(1000) });
  await settled();
  expect(sizes.length).toBe(10);
  expect(Math.max(...sizes)).toBeLessThan(4000);
});
