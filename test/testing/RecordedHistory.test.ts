/** What a user's producers and consumers did, as the checker wants it. */
import { describe, expect, test } from "bun:test";
import { type Op, simulate } from "../../actors/testing/index.ts";

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
