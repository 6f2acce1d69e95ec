/** What a user's producers and consumers did, as the checker wants it. */
import { describe, expect, test } from "bun:test";
import { type KafkaConsumer, type KafkaProducer, type Op, simulate } from "../../actors/testing/index.ts";
import { RecordedHistory } from "../../actors/testing/RecordedHistory.ts";

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);
const told = (ops: ReadonlyArray<Op>): unknown[] => ops.map(({ type, f, value }) => [type, f, value]);

describe("a recorded history", () => {
  test("has every batch and every poll, by the numbers in the records' headers", async () => {
    const { value } = await simulate(
      async (world) => {
        const client = world.machine().kafka();
        const producer = world.history.producer(client.producer());
        await producer.send("t", 0, [{ value: utf8("a") }, { value: null, headers: [{ key: "h", value: null }] }]);
        // Nobody's.
        await client.producer().send("t", 0, [{ value: utf8("unrecorded") }]);
        const refused = await producer.send("none", 0, [{ value: utf8("b") }]);
        const consumer = world.history.consumer(client.consumer({ autoOffsetReset: "earliest" }));
        consumer.assign([{ topic: "t", partition: 0 }]);
        const polled = await consumer.poll(100);
        return { ops: [...world.history.ops], report: world.history.check(), refused, polled };
      },
      { seed: 1, topics: ["t"], config: { "auto.create.topics.enable": false } },
    );
    expect(value.refused.type).not.toBe("ok");
    const send = (key: number, ...values: unknown[]) => values.map((one) => ["send", key, one]);
    expect(told(value.ops)).toEqual([
      ["invoke", "send", send(0, 1, 2)],
      ["ok", "send", send(0, [0, 1], [1, 2])],
      ["invoke", "send", send(1, 3)],
      [value.refused.type, "send", send(1, 3)],
      ["invoke", "assign", [0]],
      ["ok", "assign", [0]],
      ["invoke", "poll", [["poll"]]],
      [
        "ok",
        "poll",
        [
          [
            "poll",
            {
              0: [
                [0, 1],
                [1, 2],
              ],
            },
          ],
        ],
      ],
    ]);
    expect(value.report.bad).toEqual([]);
    const [{ records }] = value.polled as [(typeof value.polled)[number]];
    expect(records.map(({ headers }) => headers.map(({ key }) => key))).toEqual([
      ["odradek-value"],
      ["h", "odradek-value"],
      [],
    ]);
  });

  test("holds nothing against who reads uncommitted that is not committed in the end, and everything against who must not", async () => {
    const ran = await simulate(
      async (world) => {
        const client = world.machine().kafka();
        const producer = world.history.producer(client.producer({ transactionalId: "tx" }));
        await producer.init();
        const uncommitted = world.history.consumer(client.consumer({ autoOffsetReset: "earliest" }));
        // What a broker would have to be broken for: one that is said to read committed is shown the same.
        const committed = world.history.consumer(
          Object.create(client.consumer({ autoOffsetReset: "earliest" }), { isolation: { value: "read_committed" } }),
        );
        const bad = async (consumer: typeof uncommitted) => {
          consumer.assign([{ topic: "t", partition: 0 }]);
          while ((consumer.position({ topic: "t", partition: 0 }) ?? 0) < 3) await consumer.poll(100);
          return world.history.check().bad;
        };
        for (const end of ["commit", "abort"] as const) {
          producer.begin();
          await producer.send("t", 0, [{ value: utf8(end) }]);
          if (end === "abort") await uncommitted.poll(0);
          await producer[end]();
        }
        return [await bad(uncommitted), await bad(committed)];
      },
      { seed: 3, topics: ["t"], check: false },
    );
    expect(ran.value).toEqual([[], ["G1a"]]);
  });

  test("has a transaction as one operation, that of a dead process too", async () => {
    const { value } = await simulate(
      async (world) => {
        const machine = world.machine();
        const client = machine.kafka();
        const producer = world.history.producer(client.producer({ transactionalId: "tx" }));
        await producer.init();
        for (const end of ["commit", "abort"] as const) {
          producer.begin();
          await producer.send("t", 0, [{ value: utf8(end) }]);
          await producer[end]();
        }
        producer.begin();
        await producer.send("t", 0, [{ value: utf8("open") }]);
        machine.kill();
        return [...world.history.ops];
      },
      { seed: 2, topics: ["t"] },
    );
    expect(told(value)).toEqual([
      ["invoke", "txn", [["send", 0, 1]]],
      ["ok", "txn", [["send", 0, [0, 1]]]],
      ["invoke", "txn", [["send", 0, 2]]],
      ["fail", "txn", [["send", 0, [2, 2]]]],
      ["invoke", "txn", [["send", 0, 3]]],
    ]);
  });

  test("finds out a reader that skips what was sent, but not one that seeks", async () => {
    const run = (seeker: "recorded" | "secret") =>
      simulate(
        async (world) => {
          const client = world.machine().kafka();
          const producer = world.history.producer(client.producer());
          for (const text of ["1", "2", "3"]) await producer.send("t", 0, [{ value: utf8(text) }]);
          const own = client.consumer({ maxPartitionBytes: 1 });
          const consumer = world.history.consumer(own);
          consumer.assign([{ topic: "t", partition: 0, offset: 0 }]);
          await consumer.poll(100);
          (seeker === "recorded" ? consumer : own).seek({ topic: "t", partition: 0 }, 2);
          await consumer.poll(100);
        },
        { seed: 3, topics: ["t"] },
      );
    await run("recorded");
    await expect(run("secret")).rejects.toThrow(/poll-skip/);
  });
});

describe("a recorded history of what clients say", () => {
  const outcome = (type: "ok" | "fail" | "info", baseOffset = 0): never =>
    (type === "ok" ? { type, baseOffset } : { type, error: `${type}ed` }) as never;
  /** A producer whose sends, commits and aborts come to what they are told. */
  const scripted = (script: ReadonlyArray<unknown>): KafkaProducer => {
    const left = [...script];
    const next = async () => left.shift();
    return { begin() {}, commit: next, abort: next, send: next } as unknown as KafkaProducer;
  };
  const send = (producer: KafkaProducer, partition = 0) => producer.send("t", partition, [{ value: null }]);

  test("has a partition by one number, and no two by the same", () => {
    const history = new RecordedHistory(() => 0);
    const places = [
      ["t", 0],
      ["t", 1],
      ["t", 10],
      ["t1", 0],
      ["t-1", 0],
      ["t", 0],
    ] as const;
    expect(places.map(([topic, partition]) => history.keyOf({ topic, partition }))).toEqual([0, 1, 2, 3, 4, 0]);
  });

  test("has each send as it ended, and only what was acknowledged as written", async () => {
    const history = new RecordedHistory(() => 0);
    const script = [outcome("fail"), outcome("info"), outcome("ok", -1), outcome("ok", 7)];
    const [one, other] = [history.producer(scripted(script)), history.producer(scripted([outcome("ok", 8)]))];
    for (const partition of [0, 1, 2, 3]) await send(one, partition);
    await send(other, 3);
    const ended = history.ops.filter(({ type }) => type !== "invoke");
    expect(ended.map(({ type, value, error }) => [type, value, error])).toEqual([
      ["fail", [["send", 0, 1]], "failed"],
      ["info", [["send", 1, 2]], "infoed"],
      ["ok", [["send", 2, [null, 3]]], undefined],
      ["ok", [["send", 3, [7, 4]]], undefined],
      ["ok", [["send", 3, [8, 5]]], undefined],
    ]);
    expect(history.written.map(({ partition }) => partition)).toEqual([2, 3]);
    const processes = ended.map(({ process }) => process);
    expect(new Set(processes.slice(0, 4)).size).toBe(1);
    expect(processes[4]).not.toBe(processes[0]);
  });

  test("has a transaction as open until it is known to have ended, each send at its place, and what comes after apart", async () => {
    const history = new RecordedHistory(() => 0);
    const oks = [outcome("ok", 5), outcome("fail"), outcome("ok", 6)];
    const refused = history.producer(scripted([...oks, outcome("fail"), outcome("ok"), outcome("ok", 9)]));
    refused.begin();
    for (let i = 0; i < 3; i++) await send(refused);
    expect((await refused.commit()).type).toBe("fail");
    expect(history.ops.map(({ type }) => type)).toEqual(["invoke"]);
    await refused.abort();
    await send(refused);
    const doubtful = history.producer(scripted([outcome("ok", 10), outcome("info")]));
    doubtful.begin();
    await send(doubtful);
    await doubtful.commit();
    expect(told(history.ops)).toEqual([
      ["invoke", "txn", [1, 2, 3].map((value) => ["send", 0, value])],
      [
        "fail",
        "txn",
        [
          ["send", 0, [5, 1]],
          ["send", 0, 2],
          ["send", 0, [6, 3]],
        ],
      ],
      ["invoke", "send", [["send", 0, 4]]],
      ["ok", "send", [["send", 0, [9, 4]]]],
      ["invoke", "txn", [["send", 0, 5]]],
      ["info", "txn", [["send", 0, [10, 5]]]],
    ]);
  });

  test("has a poll that failed as one, and what was passed on by its last number", async () => {
    const history = new RecordedHistory(() => 0);
    const header = (value: string) => ({ key: "odradek-value", value: utf8(value) });
    const polls = [
      async () => {
        throw new Error("fenced");
      },
      async () => [{ topic: "t", partition: 0, records: [{ offset: 3, headers: [header("1"), header("2")] }] }],
    ];
    const consumer = history.consumer({ poll: () => polls.shift()!() } as unknown as KafkaConsumer);
    await expect(consumer.poll(0)).rejects.toThrow("fenced");
    await consumer.poll(0);
    expect(history.ops.map(({ type, value, error }) => [type, value, error])).toEqual([
      ["invoke", [["poll"]], undefined],
      ["info", [["poll"]], "fenced"],
      ["invoke", [["poll"]], undefined],
      ["ok", [["poll", { 0: [[3, 2]] }]], undefined],
    ]);
  });

  test("allows a member of a group to skip, not who was assigned; a seek is one, in the consumer's own way", async () => {
    for (const via of ["assign", "subscribe"] as const) {
      const history = new RecordedHistory(() => 0);
      const producer = history.producer(scripted([0, 1, 2].map((offset) => outcome("ok", offset))));
      for (let i = 0; i < 3; i++) await send(producer);
      const seeks: unknown[] = [];
      const offsets = [0, 2, 1];
      const consumer = history.consumer({
        isolation: "read_committed",
        assign() {},
        subscribe() {},
        seek: (...to: unknown[]) => void seeks.push(to),
        poll: async () => {
          const offset = offsets.shift()!;
          const headers = [{ key: "odradek-value", value: utf8(String(offset + 1)) }];
          return [{ topic: "t", partition: 0, records: [{ offset, headers }] }];
        },
      } as unknown as KafkaConsumer);
      const place = { topic: "t", partition: 0 };
      if (via === "assign") consumer.assign([place]);
      else consumer.subscribe(["t"]);
      for (let polls = 0; polls < 2; polls++) await consumer.poll(0);
      expect(history.check().bad.includes("poll-skip")).toBe(via === "assign");
      consumer.seek(place, 1);
      await consumer.poll(0);
      expect(seeks).toEqual([[place, 1]]);
      const moves = history.ops.filter(({ f, type }) => type === "ok" && f === via);
      expect(moves.map(({ value }) => value as unknown[])).toEqual(via === "assign" ? [[0], [0]] : [[], [0]]);
    }
  });
});
