import { expect, test } from "bun:test";
import {
  FencedError,
  OutcomeUnknownError,
  string,
  type Transaction,
  TransactionAbortedError,
  type TransactionalOptions,
} from "../../src/client/Client.ts";
import type { ClientFrame } from "../../src/gateway/Messages.ts";
import { type Produce, producedIn } from "./support/Batches.ts";
import { batchOf, Dialogue, positionAt, recordsAt } from "./support/Dialogue.ts";
import { type ServerLink, settled } from "./support/FakeNetwork.ts";

const text = { key: string, value: string } as const;

/** A coordinator that does as it is asked; epochs go up at every end. Notes what it is asked, a line each. */
class Coordinator {
  readonly dialogue = new Dialogue();
  readonly log: string[] = [];
  epoch = -1;
  /** Answers in place of what would be done, each once. */
  readonly refusals: Array<{
    readonly t: ClientFrame["t"];
    readonly code: number;
    readonly name: string;
    readonly retriable?: boolean;
  }> = [];
  /** Takes frames and answers nothing. */
  silent: ReadonlyArray<ClientFrame["t"]> = [];
  private offset = 0;

  constructor() {
    this.dialogue.onFrame = (frame, link) => this.receive(frame, link);
  }

  async producer(options: TransactionalOptions<string, string> = {}) {
    await this.dialogue.connect();
    return this.dialogue.client.transactional("id", { ...text, ...options });
  }

  private receive(frame: ClientFrame, link: ServerLink): void {
    this.log.push(lineOf(frame));
    if (this.silent.includes(frame.t)) return;
    const refusal = this.refusals[0];
    if (refusal !== undefined && refusal.t === frame.t) {
      this.refusals.shift();
      link.refuse(frame as never, refusal.code, refusal.name, refusal.retriable);
      return;
    }
    switch (frame.t) {
      case "initProducer":
      case "endTxn":
        this.epoch += 1;
        return link.ok(frame, { producer: { id: 9, epoch: this.epoch } });
      case "produce":
        return link.ok(frame, { offset: this.offset++, timestamp: -1, logStartOffset: 0 });
      case "txnOffsets":
        return link.ok(frame, { partitions: frame.offsets.map(({ topic, partition }) => ({ topic, partition })) });
      case "open":
        return link.ok(frame, { partitions: [] });
    }
  }
}

const lineOf = (frame: ClientFrame): string => {
  if (frame.t === "produce") {
    const { producerEpoch, sequence, transactional, values } = producedIn(frame as Produce);
    return `produce ${frame.transactionalId} e${producerEpoch} #${sequence}${transactional ? "" : " plain"} ${values.join(" ")}`;
  }
  if (frame.t === "endTxn") return `${frame.commit ? "commit" : "abort"} e${frame.producer.epoch}`;
  if (frame.t === "initProducer") return `init${frame.producer === undefined ? "" : ` e${frame.producer.epoch}`}`;
  if (frame.t === "txnOffsets")
    return `offsets e${frame.producer.epoch} ${frame.group.id} ${frame.offsets.map(({ partition, offset }) => `${partition}@${offset}`).join(" ")}`;
  return frame.t;
};

const put = (transaction: Transaction<string, string>, ...values: string[]): void => {
  for (const value of values) void transaction.send({ topic: "t", partition: 0, value });
};

test("what is sent is committed together, and the next transaction begins anew", async () => {
  const coordinator = new Coordinator();
  const producer = await coordinator.producer({ transactionTimeoutMs: 5000 });
  const result = await producer.txn(async (transaction) => {
    put(transaction, "a", "b");
    return (await transaction.send({ topic: "t", partition: 1, value: "c" })).offset;
  });
  await producer.txn((transaction) => put(transaction, "d"));
  expect(result).toBe(1);
  expect(coordinator.log).toEqual([
    "init",
    "produce id e0 #0 a b",
    "produce id e0 #0 c",
    "commit e0",
    "produce id e1 #0 d",
    "commit e1",
  ]);
  expect(coordinator.dialogue.link.last("initProducer")).toMatchObject({
    transactionalId: "id",
    transactionTimeoutMs: 5000,
  });
  await producer.txn(() => {});
  expect(coordinator.log).toHaveLength(6);
});

test("transactions take turns", async () => {
  const coordinator = new Coordinator();
  const producer = await coordinator.producer();
  await Promise.all(["a", "b"].map((value) => producer.txn((transaction) => put(transaction, value))));
  expect(coordinator.log).toEqual(["init", "produce id e0 #0 a", "commit e0", "produce id e1 #0 b", "commit e1"]);
});

test("whatever is thrown aborts it, and the next one works", async () => {
  const coordinator = new Coordinator();
  const producer = await coordinator.producer();
  let escaped: Transaction<string, string> | undefined;
  const failing = producer.txn(async (transaction) => {
    escaped = transaction;
    await transaction.send({ topic: "t", partition: 0, value: "a" });
    throw new Error("changed my mind");
  });
  await expect(failing).rejects.toThrow("changed my mind");
  await expect(escaped!.send({ topic: "t", partition: 0, value: "b" })).rejects.toThrow("the transaction is over");
  await producer.txn((transaction) => put(transaction, "c"));
  expect(coordinator.log).toEqual(["init", "produce id e0 #0 a", "abort e0", "produce id e1 #0 c", "commit e1"]);
  await expect(
    producer.txn(() => {
      throw new Error("before anything");
    }),
  ).rejects.toThrow("before anything");
  expect(coordinator.log).toHaveLength(5);
});

test("nothing is ended that the coordinator knows nothing of", async () => {
  const coordinator = new Coordinator();
  const producer = await coordinator.producer({ lingerMs: 1000 });
  const failing = producer.txn((transaction) => {
    put(transaction, "never sent");
    throw new Error("changed my mind");
  });
  await expect(failing).rejects.toThrow("changed my mind");
  expect(coordinator.log).toEqual(["init"]);
  const next = producer.txn((transaction) => put(transaction, "a"));
  await settled();
  await coordinator.dialogue.pass(1000);
  await next;
  expect(coordinator.log).toEqual(["init", "produce id e0 #0 a", "commit e0"]);
});

test("a signal aborts it", async () => {
  const coordinator = new Coordinator();
  const producer = await coordinator.producer();
  const controller = new AbortController();
  const running = producer.txn(async (transaction) => {
    await transaction.send({ topic: "t", partition: 0, value: "a" });
    controller.abort(new Error("too late"));
    await new Promise(() => {});
  }, controller);
  await expect(running).rejects.toThrow("too late");
  expect(coordinator.log.at(-1)).toBe("abort e0");
});

test("a signal aborts it also while it waits for what was sent", async () => {
  const coordinator = new Coordinator();
  const producer = await coordinator.producer();
  coordinator.silent = ["produce"];
  const controller = new AbortController();
  const running = producer.txn((transaction) => put(transaction, "a"), controller);
  running.catch(() => {});
  await settled();
  controller.abort(new Error("too late"));
  const { link } = coordinator.dialogue;
  link.ok(link.last("produce"), { offset: 0, timestamp: -1, logStartOffset: 0 });
  await expect(running).rejects.toThrow("too late");
  expect(coordinator.log).toEqual(["init", "produce id e0 #0 a", "abort e0"]);
});

test("one record that cannot be written aborts all of it", async () => {
  const coordinator = new Coordinator();
  const producer = await coordinator.producer();
  coordinator.refusals.push({ t: "produce", code: 10, name: "MESSAGE_TOO_LARGE" });
  await expect(producer.txn((transaction) => put(transaction, "a"))).rejects.toMatchObject({ code: 10 });
  expect(coordinator.log).toEqual(["init", "produce id e0 #0 a", "abort e0"]);
  await expect(
    producer.txn((transaction) => void transaction.send({ topic: "no-t", value: "a" })),
  ).rejects.toMatchObject({ code: 3 });
  await producer.txn((transaction) => put(transaction, "b"));
  expect(coordinator.log.slice(-2)).toEqual(["produce id e1 #0 b", "commit e1"]);
});

test("consumed offsets are part of it", async () => {
  const coordinator = new Coordinator();
  const producer = await coordinator.producer();
  const { dialogue } = coordinator;
  const consumer = dialogue.client.consume({
    group: "g",
    topics: "in",
    encoding: "records",
    autoCommit: false,
    instanceId: "i",
  });
  await settled();
  const partitions = [0, 1].map((partition) => ({ topic: "t", partition, position: positionAt(5), committed: true }));
  dialogue.link.send({ t: "assigned", stream: 1, memberEpoch: 3, partitions });
  dialogue.link.send({ t: "records", stream: 1, batches: [batchOf(0, recordsAt(5, 6), 9)] });
  const batch = (await consumer.batches().next()).value!;
  await producer.txn(async (transaction) => {
    put(transaction, "a");
    await transaction.sendOffsets(consumer, batch);
    await transaction.sendOffsets(consumer);
    await transaction.sendOffsets(consumer, [{ topic: "t", partition: 1, offset: 4 }]);
  });
  expect(coordinator.log.slice(2)).toEqual([
    "offsets e0 g 0@9",
    "produce id e0 #0 a",
    "offsets e0 g 0@9 1@5",
    "offsets e0 g 1@4",
    "commit e0",
  ]);
  expect(dialogue.link.last("txnOffsets").group).toMatchObject({ id: "g", memberEpoch: 3, instanceId: "i" });
  coordinator.refusals.push({ t: "txnOffsets", code: 22, name: "ILLEGAL_GENERATION" });
  await expect(producer.txn((transaction) => transaction.sendOffsets(consumer))).rejects.toMatchObject({ code: 22 });
  expect(coordinator.log.at(-1)).toBe("abort e1");
  const alone = dialogue.client.consume({ topics: "in" });
  await expect(producer.txn((transaction) => transaction.sendOffsets(alone))).rejects.toThrow(
    "need a consumer with a group",
  );
});

test("offsets of records from before a partition was lost are not sent, though it is assigned again", async () => {
  const coordinator = new Coordinator();
  const producer = await coordinator.producer();
  const { dialogue } = coordinator;
  const consumer = dialogue.client.consume({ group: "g", topics: "in", encoding: "records", autoCommit: false });
  await settled();
  const assign = (memberEpoch: number): void => {
    const partitions = [{ topic: "t", partition: 0, position: positionAt(5), committed: true }];
    dialogue.link.send({ t: "assigned", stream: 1, memberEpoch, partitions });
  };
  assign(3);
  dialogue.link.send({ t: "records", stream: 1, batches: [batchOf(0, recordsAt(5, 6), 7)] });
  const batch = (await consumer.batches().next()).value!;
  const error = { code: 110, name: "FENCED_MEMBER_EPOCH", message: "", retriable: true };
  dialogue.link.send({ t: "lost", stream: 1, partitions: [{ topic: "t", partition: 0 }], error });
  assign(5);
  await settled();
  const copying = producer.txn(async (transaction) => {
    put(transaction, "a");
    await transaction.sendOffsets(consumer, batch);
  });
  await expect(copying).rejects.toThrow("of a partition that was lost since it was read");
  expect(coordinator.log.slice(2)).toEqual(["produce id e0 #0 a", "abort e0"]);
});

test("an end whose answer was lost is sent again as it was", async () => {
  const coordinator = new Coordinator();
  const producer = await coordinator.producer();
  coordinator.silent = ["endTxn"];
  const running = producer.txn((transaction) => put(transaction, "a"));
  await settled();
  coordinator.silent = [];
  await coordinator.dialogue.reconnect();
  await running;
  expect(coordinator.log).toEqual(["init", "produce id e0 #0 a", "commit e0", "commit e0"]);
});

test("records and offsets in flight are sent again within their transaction", async () => {
  const coordinator = new Coordinator();
  const producer = await coordinator.producer();
  coordinator.silent = ["produce"];
  const running = producer.txn((transaction) => put(transaction, "a"));
  await settled();
  coordinator.silent = [];
  await coordinator.dialogue.reconnect();
  await running;
  expect(coordinator.log).toEqual(["init", "produce id e0 #0 a", "produce id e0 #0 a", "commit e0"]);
});

test("a busy coordinator is asked again", async () => {
  const coordinator = new Coordinator();
  const producer = await coordinator.producer();
  const busy = { code: 51, name: "CONCURRENT_TRANSACTIONS", retriable: true } as const;
  coordinator.refusals.push({ t: "initProducer", ...busy }, { t: "endTxn", ...busy });
  const running = producer.txn((transaction) => put(transaction, "a"));
  await settled();
  await coordinator.dialogue.pass(60);
  await coordinator.dialogue.pass(60);
  await running;
  expect(coordinator.log).toEqual(["init", "init", "produce id e0 #0 a", "commit e0", "commit e0"]);
});

test("a transaction that the coordinator rolled back says so, and a new epoch is asked for", async () => {
  const coordinator = new Coordinator();
  const producer = await coordinator.producer();
  coordinator.refusals.push({ t: "endTxn", code: 47, name: "INVALID_PRODUCER_EPOCH" });
  await expect(producer.txn((transaction) => put(transaction, "a"))).rejects.toBeInstanceOf(TransactionAbortedError);
  await producer.txn((transaction) => put(transaction, "b"));
  expect(coordinator.log.slice(2)).toEqual(["commit e0", "init e0", "produce id e1 #0 b", "commit e1"]);
  coordinator.refusals.push({ t: "produce", code: 120, name: "TRANSACTION_ABORTABLE" });
  const again = producer.txn((transaction) => put(transaction, "c"));
  await expect(again).rejects.toBeInstanceOf(TransactionAbortedError);
  await expect(again).rejects.toMatchObject({ retriable: true });
  expect(coordinator.log.at(-1)).toBe("abort e2");
});

test("whoever is fenced stops, and stays stopped", async () => {
  const coordinator = new Coordinator();
  const producer = await coordinator.producer();
  coordinator.refusals.push({ t: "produce", code: 90, name: "PRODUCER_FENCED" });
  const fenced = producer.txn((transaction) => put(transaction, "a"));
  await expect(fenced).rejects.toBeInstanceOf(FencedError);
  await expect(fenced).rejects.toMatchObject({ fatal: true });
  await expect(producer.txn((transaction) => put(transaction, "b"))).rejects.toBeInstanceOf(FencedError);
  expect(coordinator.log).toEqual(["init", "produce id e0 #0 a"]);
});

test("a commit that was asked for again and refused has an unknown outcome", async () => {
  const coordinator = new Coordinator();
  const producer = await coordinator.producer();
  coordinator.silent = ["endTxn"];
  const running = producer.txn((transaction) => put(transaction, "a"));
  running.catch(() => {});
  await settled();
  coordinator.silent = [];
  coordinator.refusals.push({ t: "endTxn", code: 90, name: "PRODUCER_FENCED" });
  await coordinator.dialogue.reconnect();
  await expect(running).rejects.toBeInstanceOf(OutcomeUnknownError);
  await expect(producer.txn(() => {})).rejects.toBeInstanceOf(FencedError);
});

test("a commit that gets no answer in time has an unknown outcome as well", async () => {
  const coordinator = new Coordinator();
  const producer = await coordinator.producer({ transactionTimeoutMs: 1000 });
  coordinator.silent = ["endTxn"];
  const running = producer.txn((transaction) => put(transaction, "a"));
  running.catch(() => {});
  await settled();
  await coordinator.dialogue.pass(1000);
  await expect(running).rejects.toBeInstanceOf(OutcomeUnknownError);
  coordinator.silent = [];
  await producer.txn((transaction) => put(transaction, "b"));
  expect(coordinator.log.slice(2)).toEqual(["commit e0", "init e0", "produce id e1 #0 b", "commit e1"]);
});

test("close waits for the transaction that runs", async () => {
  const coordinator = new Coordinator();
  const producer = await coordinator.producer();
  const running = producer.txn((transaction) => put(transaction, "a"));
  await producer.close();
  await running;
  expect(coordinator.log.at(-1)).toBe("commit e0");
  await expect(producer.txn(() => {})).rejects.toMatchObject({ name: "ClosedError" });
});
