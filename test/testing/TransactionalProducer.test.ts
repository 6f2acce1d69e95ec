/** The transactional producer against the broker itself, in both versions of the protocol. */
import { describe, expect, test } from "bun:test";
import type { KafkaClient } from "../../actors/testing/KafkaClient.ts";
import type { KafkaProducer } from "../../actors/testing/KafkaProducer.ts";
import { ApiKey } from "../../src/protocol/ApiKeys.ts";
import { playClients, textOf, utf8 } from "./ClientScene.ts";

const TIME = 30_000;

const open = async (client: KafkaClient, transactionVersion: 1 | 2, transactionTimeoutMs = 5000) => {
  const producer = client.producer({
    transactionalId: "tx",
    transactionVersion,
    transactionTimeoutMs,
    retryBackoffMs: 20,
  });
  await producer.init();
  return producer;
};

const sendAll = async (producer: KafkaProducer, ...values: string[]): Promise<string[]> => {
  const sent = values.map((value, index) => producer.send("t", index % 2, [{ value: utf8(value) }]));
  return (await Promise.all(sent)).map((outcome) => (outcome.type === "ok" ? "ok" : JSON.stringify(outcome)));
};

const committed = async (client: KafkaClient): Promise<string[]> => {
  const found: string[] = [];
  for (const partition of [0, 1]) {
    for (const { value } of await client.readAll("t", partition, { isolation: "read_committed" }))
      found.push(textOf(value));
  }
  return found.sort();
};

describe.each([1, 2] as const)("transactions, version %d", (version) => {
  test(
    "what is committed is seen, what is aborted is not, and a transaction without anything ends as well",
    () => {
      playClients(async ({ client }) => {
        const own = client();
        await own.createTopic("t", { partitions: 2 });
        const producer = await open(own, version);
        producer.begin();
        expect(await sendAll(producer, "a", "b", "c")).toEqual(["ok", "ok", "ok"]);
        expect(await committed(own)).toEqual([]);
        expect(await producer.commit()).toEqual({ type: "ok" });
        producer.begin();
        await sendAll(producer, "x", "y");
        expect(await producer.abort()).toEqual({ type: "ok" });
        producer.begin();
        expect(await producer.commit()).toEqual({ type: "ok" });
        producer.begin();
        expect(await sendAll(producer, "d")).toEqual(["ok"]);
        expect(await producer.commit()).toEqual({ type: "ok" });
        await own.sleep(500);
        expect(await committed(own)).toEqual(["a", "b", "c", "d"]);
      });
    },
    TIME,
  );

  test(
    "a newer instance fences: the older one's commit fails for certain, and nothing of it is seen",
    () => {
      playClients(async ({ client }) => {
        const own = client();
        await own.createTopic("t", { partitions: 2 });
        const older = await open(own, version);
        older.begin();
        await sendAll(older, "old");
        const newer = await open(client(), version);
        const outcome = await older.commit();
        expect(outcome.type).toBe("fail");
        expect(older.transactionState).toBe("fatal");
        newer.begin();
        await sendAll(newer, "new");
        expect(await newer.commit()).toEqual({ type: "ok" });
        await own.sleep(500);
        expect(await committed(own)).toEqual(["new"]);
      });
    },
    TIME,
  );

  test(
    "offsets are committed with the transaction or not at all",
    () => {
      playClients(async ({ client }) => {
        const own = client();
        await own.createTopic("t", { partitions: 2 });
        const producer = await open(own, version);
        const group = { groupId: "g", generationId: -1, memberId: "", groupInstanceId: null };
        const commitWith = async (offset: number, ends: "commit" | "abort"): Promise<void> => {
          producer.begin();
          expect(await producer.sendOffsets([{ topic: "t", partition: 0, offset }], group)).toEqual({ type: "ok" });
          expect(await (ends === "commit" ? producer.commit() : producer.abort())).toEqual({ type: "ok" });
        };
        const offsetOf = async (): Promise<number | undefined> => {
          const [found] = await own.admin.groupOffsets("g", [{ topic: "t", partition: 0 }]);
          return found?.offset;
        };
        await commitWith(5, "commit");
        expect(await offsetOf()).toBe(5);
        await commitWith(9, "abort");
        expect(await offsetOf()).toBe(5);
      });
    },
    TIME,
  );

  test(
    "a batch that can not be delivered makes the transaction one that can only be aborted; the next one is whole",
    () => {
      playClients(async ({ client, broker, restart }) => {
        const own = client({ requestTimeoutMs: 300, connectTimeoutMs: 200 });
        await own.createTopic("t", { partitions: 2 });
        const producer = own.producer({
          ...{ transactionalId: "tx", transactionVersion: version, transactionTimeoutMs: 60_000 },
          ...{ retryBackoffMs: 20, deliveryTimeoutMs: 500 },
        });
        await producer.init();
        producer.begin();
        await sendAll(producer, "a");
        broker().pause();
        const [outcome] = await sendAll(producer, "lost");
        expect(outcome).not.toBe("ok");
        expect(await producer.commit()).toMatchObject({ type: "fail" });
        await restart();
        expect(await producer.abort()).toEqual({ type: "ok" });
        producer.begin();
        expect(await sendAll(producer, "b")).toEqual(["ok"]);
        expect(await producer.commit()).toEqual({ type: "ok" });
        await own.sleep(500);
        expect(await committed(own)).toEqual(["b"]);
      });
    },
    TIME,
  );

  test(
    "what an abort takes back before it was sent leaves no hole for the next transaction",
    () => {
      playClients(async ({ client }) => {
        const own = client();
        await own.createTopic("t", { partitions: 2 });
        const producer = await open(own, version);
        producer.begin();
        expect(await sendAll(producer, "x")).toEqual(["ok"]);
        const taken = [1, 2, 3].map(() => producer.send("t", 0, [{ value: utf8("y") }]));
        expect(await producer.abort()).toEqual({ type: "ok" });
        await Promise.all(taken);
        producer.begin();
        expect(await sendAll(producer, "a")).toEqual(["ok"]);
        expect(await producer.commit()).toEqual({ type: "ok" });
        await own.sleep(500);
        expect(await committed(own)).toEqual(["a"]);
      });
    },
    TIME,
  );

  test(
    "a commit goes on through a restart of the broker",
    () => {
      playClients(async ({ client, restart }) => {
        const own = client();
        await own.createTopic("t", { partitions: 2 });
        const producer = await open(own, version, 60_000);
        producer.begin();
        await sendAll(producer, "a", "b");
        const [outcome] = await Promise.all([producer.commit(), restart()]);
        expect(outcome).toEqual({ type: "ok" });
        await own.sleep(1000);
        expect(await committed(own)).toEqual(["a", "b"]);
      });
    },
    TIME,
  );
});

test("version 1: an abort waits for partitions that are being added, and what they are told late is not the next transaction's", () => {
  playClients(
    async ({ client }) => {
      const own = client();
      await own.createTopic("t", { partitions: 2 });
      const producer = await open(own, 1);
      const calls: string[] = [];
      const { coordinators } = own;
      const call = coordinators.call.bind(coordinators);
      coordinators.call = async (asked) => {
        const name =
          ApiKey.AddPartitionsToTxn === asked.apiKey ? "add" : ApiKey.EndTxn === asked.apiKey ? "end" : "other";
        calls.push(`${name} begins`);
        if (name === "add") await own.sleep(50);
        return call(asked).finally(() => calls.push(`${name} ends`));
      };
      producer.begin();
      const sent = producer.send("t", 0, [{ value: utf8("aborted") }]);
      expect(await producer.abort()).toEqual({ type: "ok" });
      expect((await sent).type).toBe("fail");
      expect(calls.slice(0, 3)).toEqual(["add begins", "add ends", "end begins"]);
      producer.begin();
      expect(await sendAll(producer, "seen")).toEqual(["ok"]);
      expect(await producer.commit()).toEqual({ type: "ok" });
      await own.sleep(500);
      expect([producer.transactionState, await committed(own)]).toEqual(["ready", ["seen"]]);
    },
    { seeds: 2 },
  );
});
