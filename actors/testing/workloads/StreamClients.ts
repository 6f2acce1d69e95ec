/**
 * Clients of the stream protocol: what an application does with `odradek/client`, over frames that the network cuts like
 * anything else. Their outcomes are classed by the client's own errors: `OutcomeUnknownError` is unknown, every other
 * `ClientError` promises that nothing happened.
 */
import { type Client, connect } from "../../../src/client/Client.ts";
import {
  ClientError,
  LogTruncationError,
  OffsetOutOfRangeError,
  OutcomeUnknownError,
} from "../../../src/client/ClientError.ts";
import type { Consumer } from "../../../src/client/Consumer.ts";
import type { ConsumerBatch, SavedPosition } from "../../../src/client/ConsumerOptions.ts";
import type { TopicPartition } from "../../../src/prelude/Types.ts";
import type { SeededRandom } from "../../simulation/SeededRandom.ts";
import type { Mop } from "../History.ts";
import { TOPIC } from "../Scenario.ts";
import { messageOf, type Stage, valueBytes, valueIn } from "../Stage.ts";
import type { ClientKind, ClientLife } from "./ClientKind.ts";
import { COPIES, COPY_GROUP } from "./Copier.ts";
import { GROUP } from "./GroupMember.ts";
import { pollMop, type Shown } from "./RecordedConsumer.ts";
import { thinkMs } from "./Sending.ts";

const RETRY_MS = 50;

/** Connects until it is connected: the broker may be dead for longer than one connect is patient. */
export const connected = async (stage: Stage, { machine }: ClientLife): Promise<Client> => {
  for (;;) {
    try {
      const platform = machine.stream();
      return await connect("ws://gateway", {
        platform,
        backoff: { initialMs: 20, maxMs: 200 },
        connectTimeoutMs: 5000,
      });
    } catch (error) {
      stage.note(`stream client: ${messageOf(error)}`);
      await sleep(machine, RETRY_MS);
    }
  }
};

export const sleep = (machine: ClientLife["machine"], ms: number): Promise<void> =>
  new Promise((resolve) => machine.platform.clock.after(ms, resolve));

export const failureOf = (error: unknown): { readonly type: "info" | "fail"; readonly error: string } => {
  if (!(error instanceof ClientError)) throw error;
  return { type: error instanceof OutcomeUnknownError ? "info" : "fail", error: error.name };
};

/** What a page may choose: how records travel, and how much of them may lie there. */
export const choices = (random: SeededRandom) => ({
  encoding: random.pick(["batches", "records"] as const),
  window: { records: random.pick([2, 20, 10_000]), bytes: random.pick([200, 20_000, 4_000_000]) },
});

/** Records of one value each, several on their way at a time. */
export const streamProducer: ClientKind = {
  role: "writer",
  async live(stage, life) {
    const { plan, machine, random, steps } = life;
    const client = await connected(stage, life);
    const keys = stage.keysOf(TOPIC);
    const options = { deliveryTimeoutMs: random.pick([60_000, 2000]) };
    let producer = client.producer(options);
    let owner = stage.recorder.newProcess();
    const open = new Set<Promise<unknown>>();
    let broken = false;
    const send = async (key: number): Promise<void> => {
      const process = owner;
      const [value] = stage.freshValues(key, 1);
      const end = stage.recorder.invoke(process, "send", [["send", key, value!]]);
      stage.note(`client ${process} streams ${value} to ${key}`);
      try {
        const bytes = valueBytes(value!, random.below(stage.plan.knobs.valueBytes));
        const { offset } = await producer.send({ ...stage.placeOf(key), value: bytes });
        stage.note(`client ${process}: ${value} at ${offset}`);
        end("ok", [["send", key, [offset < 0 ? null : offset, value!]]]);
      } catch (error) {
        const failure = failureOf(error);
        stage.note(`client ${process}: ${value} ${messageOf(error)}`);
        end(failure.type, undefined, failure.error);
        broken = true;
      }
    };
    while (steps.left > 0) {
      steps.left -= 1;
      if (broken) {
        await Promise.all(open);
        await producer.close({ timeoutMs: 0 }).catch(() => {});
        producer = client.producer(options);
        owner = stage.recorder.newProcess();
        broken = false;
      }
      const sent: Promise<unknown> = send(random.pick(keys)).then(() => open.delete(sent));
      open.add(sent);
      if (open.size >= 8) await Promise.race(open);
      if (random.chance(0.4)) await sleep(machine, thinkMs(stage, plan, random));
    }
    await Promise.all(open);
    await client.close();
  },
};

/** What a batch shows, each record held against what was shown before. */
export const shownBy = (stage: Stage, owner: number, batch: ConsumerBatch<Uint8Array, Uint8Array>): Shown[] => {
  const key = stage.keyAt(batch);
  const where = `stream client ${owner} at ${key}`;
  let last = -1;
  const shown = batch.records.map(({ offset, value: bytes }): Shown => {
    const value = valueIn(bytes);
    if (value === undefined || stage.keyOf.get(value) !== key)
      stage.violation(`phantom: ${where}: nobody sent what is at ${offset} (${value})`);
    if (offset <= last) stage.violation(`L2: ${where}: offset ${offset} behind ${last}`);
    last = offset;
    stage.show(key, offset, value ?? -1, where);
    return { key, offset, value: value ?? -1 };
  });
  stage.note(`${where} reads ${shown.map(({ offset, value }) => `${offset}:${value}`).join(" ")}`);
  return shown;
};

type Batches = AsyncIterableIterator<ConsumerBatch<Uint8Array, Uint8Array>, undefined>;

/** The next batch, or undefined when none has come in time; what is asked for goes on being asked for. */
export class Asking {
  private asked: Promise<ConsumerBatch<Uint8Array, Uint8Array> | undefined> | undefined;
  /** What was asked for has come, and nobody has seen it. */
  private hasCome = false;

  constructor(
    private readonly machine: ClientLife["machine"],
    private readonly batches: Batches,
  ) {}

  async next(waitMs: number): Promise<ConsumerBatch<Uint8Array, Uint8Array> | undefined> {
    this.asked ??= this.ask();
    const { asked } = this;
    const waited = sleep(this.machine, waitMs).then(() => "nothing" as const);
    const got = await Promise.race([asked, waited]);
    if (got === "nothing") return undefined;
    this.asked = undefined;
    return got;
  }

  /** The consumer was moved: what has come and was not seen is of the old place. */
  moved(): void {
    if (this.hasCome) this.asked = undefined;
  }

  private ask(): NonNullable<Asking["asked"]> {
    this.hasCome = false;
    const came = (): void => {
      this.hasCome = true;
    };
    const asked = this.batches.next().then(({ value }) => value);
    asked.then(came, came);
    return asked;
  }
}

const consumeError = (stage: Stage, owner: number, error: unknown): void => {
  if (!(error instanceof ClientError)) throw error;
  if (error instanceof OffsetOutOfRangeError || error instanceof LogTruncationError)
    stage.violation(`lost: stream client ${owner}: ${error.message}`);
  stage.note(`stream client ${owner}: ${error.name}: ${error.message}`);
};

export const streamConsumer: ClientKind = {
  role: "reader",
  async live(stage, life) {
    const { machine, random } = life;
    const client = await connected(stage, life);
    const owner = stage.recorder.newProcess();
    const keys = stage.keysOf(TOPIC);
    stage.recorder.invoke(owner, "assign", keys)("ok");
    let position: SavedPosition | undefined;
    while (!stage.producersDone) {
      const begin = keys.map((key) => ({ ...stage.placeOf(key), from: "earliest" as const }));
      const consumer = client.consume({
        ...(position === undefined ? { partitions: begin } : { partitions: begin, position }),
        isolation: "read_uncommitted",
        ...choices(random),
      });
      const asking = new Asking(machine, consumer.batches());
      try {
        for (let polls = 0; polls < 40 && !stage.producersDone; polls++) {
          const end = stage.recorder.invoke(owner, "poll", [["poll"]]);
          const batch = await asking.next(random.pick([20, 100])).catch((error: unknown) => {
            end("info", [["poll"]], messageOf(error));
            throw error;
          });
          if (batch === undefined) end("ok", [["poll", {}]]);
          else end("ok", [pollMop(shownBy(stage, owner, batch))]);
        }
      } catch (error) {
        consumeError(stage, owner, error);
        await sleep(machine, RETRY_MS);
      }
      position = consumer.position();
      await consumer.close({ timeoutMs: 200 });
    }
    await client.close();
  },
};

/** A member's options that keep what it has processed, and commit it when partitions are revoked. */
interface Processing {
  readonly pending: Map<number, number>;
  commit(only?: ReadonlyArray<TopicPartition>): Promise<void>;
}

const processing = (stage: Stage, name: string, consumer: () => Consumer<Uint8Array, Uint8Array>): Processing => {
  const pending = new Map<number, number>();
  return {
    pending,
    async commit(only) {
      const keys = only?.map((one) => stage.keyAt(one));
      const entries = [...pending].filter(([key]) => keys === undefined || keys.includes(key));
      if (entries.length === 0) return;
      const ends = entries.map(([key, offset]) => stage.groups.commit(GROUP, key, offset));
      stage.note(`${name} commits ${entries.map((entry) => entry.join("@")).join(" ")}`);
      try {
        await consumer().commit(entries.map(([key, offset]) => ({ ...stage.placeOf(key), offset })));
        // The client may have asked twice, and the first time may still arrive.
        for (const end of ends) end("ok", true);
      } catch (error) {
        const { type } = failureOf(error);
        stage.note(`${name}: ${messageOf(error)}`);
        // Some of the partitions may have been committed, whatever happened to another.
        for (const end of ends) end(entries.length > 1 ? "info" : type, true);
        // What was refused in the middle of a rebalance is tried again, unless it is not its own any more.
        if (only === undefined) return;
      }
      for (const [key, offset] of entries) if (pending.get(key) === offset) pending.delete(key);
    },
  };
};

export const streamMember: ClientKind = {
  role: "reader",
  async live(stage, life) {
    const { machine, random } = life;
    const client = await connected(stage, life);
    while (!stage.groupsDone) {
      const owner = stage.recorder.newProcess();
      stage.recorder.invoke(owner, "subscribe", stage.keysOf(TOPIC))("ok");
      const work = processing(stage, `stream member ${owner}`, () => consumer);
      const consumer: Consumer<Uint8Array, Uint8Array> = client.consume({
        group: GROUP,
        topics: TOPIC,
        from: "earliest",
        autoCommit: false,
        isolation: "read_uncommitted",
        ...choices(random),
        onRevoked: (partitions) => work.commit(partitions),
        onLost: (partitions) => {
          for (const one of partitions) work.pending.delete(stage.keyAt(one));
        },
      });
      const asking = new Asking(machine, consumer.batches());
      const polls = random.pick([10, 40, 1000]);
      try {
        for (let poll = 0; poll < polls && !stage.groupsDone; poll++) {
          const end = stage.recorder.invoke(owner, "poll", [["poll"]]);
          const batch = await asking.next(random.pick([20, 100])).catch((error: unknown) => {
            end("info", [["poll"]], messageOf(error));
            throw error;
          });
          if (batch === undefined) end("ok", [["poll", {}]]);
          else {
            const shown = shownBy(stage, owner, batch);
            end("ok", [pollMop(shown)]);
            for (const { key, offset } of shown) {
              stage.groups.process(GROUP, key, offset);
              work.pending.set(key, offset + 1);
            }
          }
          if (random.chance(0.6)) await work.commit();
        }
      } catch (error) {
        consumeError(stage, owner, error);
        await sleep(machine, RETRY_MS);
      }
      await consumer.close({ timeoutMs: 1000 });
    }
    await client.close();
  },
};

export const streamCopier: ClientKind = {
  role: "reader",
  async live(stage, life) {
    const { plan, machine, random } = life;
    const client = await connected(stage, life);
    while (!stage.groupsDone) {
      const owner = stage.recorder.newProcess();
      stage.recorder.invoke(owner, "subscribe", stage.keysOf(TOPIC))("ok");
      const producer = client.transactional(`stream-copier-${plan.id}`, {
        transactionTimeoutMs: 10_000,
        deliveryTimeoutMs: 8000,
      });
      const group = { group: COPY_GROUP, topics: TOPIC, from: "earliest", autoCommit: false } as const;
      const consumer = client.consume({ ...group, ...choices(random) });
      const asking = new Asking(machine, consumer.batches());
      const polls = random.pick([10, 40, 1000]);
      try {
        for (let poll = 0; poll < polls && !stage.groupsDone; poll++) {
          const batch = await asking.next(random.pick([20, 100]));
          // What did not commit comes again with another consumer only.
          if (batch !== undefined && !(await copyBatch(stage, owner, producer, consumer, batch, random))) break;
        }
      } catch (error) {
        consumeError(stage, owner, error);
        await sleep(machine, RETRY_MS);
      }
      await consumer.close({ timeoutMs: 1000 });
      await producer.close({ timeoutMs: 1000 }).catch((error: unknown) => stage.note(`close: ${messageOf(error)}`));
    }
    await client.close();
  },
};

class Changed extends Error {}

const copyBatch = async (
  stage: Stage,
  owner: number,
  producer: ReturnType<Client["transactional"]>,
  consumer: Consumer<Uint8Array, Uint8Array>,
  batch: ConsumerBatch<Uint8Array, Uint8Array>,
  random: SeededRandom,
): Promise<boolean> => {
  const shown = shownBy(stage, owner, batch);
  const target = stage.keyAt({ topic: COPIES, partition: batch.partition });
  const values = stage.freshValues(target, shown.length);
  for (const [index, value] of values.entries()) stage.transactions.copy(shown[index]!.value, value);
  const done = values.map((value): Mop => ["send", target, value]);
  const end = stage.recorder.invoke(owner, "txn", [["poll"], ...done]);
  const record = stage.transactions.begin(`stream copy by ${owner}: ${values.join(" ")}`);
  for (const value of values) record.writes.push({ key: target, value });
  const ended = stage.groups.commit(COPY_GROUP, shown[0]!.key, shown.at(-1)!.offset + 1);
  stage.note(`stream client ${owner} copies ${shown.map(({ value }) => value).join(" ")} as ${values.join(" ")}`);
  const finish = (type: "ok" | "info" | "fail", why?: string): void => {
    record.end = type;
    ended(type, false);
    end(type, [pollMop(shown), ...done], why);
    stage.note(`stream client ${owner}: ${values.join(" ")} ${type} ${why ?? ""}`);
  };
  try {
    await producer.txn(async (transaction) => {
      values.forEach((value, index) => {
        const bytes = valueBytes(value, random.below(stage.plan.knobs.valueBytes));
        transaction.send({ ...stage.placeOf(target), value: bytes }).then(
          ({ offset }) => {
            if (offset >= 0) done[index] = ["send", target, [offset, value]];
          },
          () => {},
        );
      });
      await transaction.sendOffsets(consumer, batch);
      if (random.chance(0.1)) throw new Changed("the application has changed its mind");
    });
    finish("ok");
    return true;
  } catch (error) {
    if (error instanceof Changed) finish("fail", error.message);
    else {
      const failure = failureOf(error);
      finish(failure.type, failure.error);
    }
    return false;
  }
};
