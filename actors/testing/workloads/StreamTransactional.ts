/**
 * Jepsen's transactions through the stream protocol: one to four sends and polls, of which one in ten aborts, by an assigned
 * read_committed client. What a transaction that did not commit has polled is polled again.
 */
import type { Client } from "../../../src/client/Client.ts";
import { ClientError, FencedError, OutcomeUnknownError } from "../../../src/client/ClientError.ts";
import type { Consumer } from "../../../src/client/Consumer.ts";
import type { Mop } from "../History.ts";
import { TOPIC } from "../Scenario.ts";
import { messageOf, type Stage, valueBytes } from "../Stage.ts";
import type { ClientKind, ClientLife } from "./ClientKind.ts";
import { pollMop } from "./RecordedConsumer.ts";
import { thinkMs } from "./Sending.ts";
import { Asking, choices, connected, failureOf, shownBy, sleep } from "./StreamClients.ts";
import { drawnTransaction } from "./TransactionalClient.ts";

const ABORT = 0.1;

class Changed extends Error {}

interface Outcome {
  readonly type: "ok" | "info" | "fail";
  readonly error: string;
  /** The producer is of no more use. */
  readonly isOver: boolean;
}

/** A consumer of all keys from their beginning, as one process of the history. */
class Reader {
  readonly owner: number;
  readonly consumer: Consumer<Uint8Array, Uint8Array>;
  private readonly asking: Asking;
  /** Behind what was shown, by key. */
  private next = new Map<number, number>();

  constructor(
    private readonly stage: Stage,
    client: Client,
    { machine, random }: ClientLife,
  ) {
    this.owner = stage.recorder.newProcess();
    const keys = stage.keysOf(TOPIC);
    stage.recorder.invoke(this.owner, "assign", keys)("ok");
    const partitions = keys.map((key) => ({ ...stage.placeOf(key), from: "earliest" as const }));
    this.consumer = client.consume({ partitions, ...choices(random) });
    this.asking = new Asking(machine, this.consumer.batches());
  }

  places(): ReadonlyMap<number, number> {
    return new Map(this.next);
  }

  async poll(waitMs: number): Promise<Mop> {
    const batch = await this.asking.next(waitMs);
    const shown = batch === undefined ? [] : shownBy(this.stage, this.owner, batch);
    for (const { key, offset } of shown) {
      if (offset < (this.next.get(key) ?? 0))
        this.stage.violation(`L2: stream client ${this.owner} at ${key}: offset ${offset} comes again`);
      this.next.set(key, offset + 1);
    }
    return pollMop(shown);
  }

  async goBack(places: ReadonlyMap<number, number>): Promise<void> {
    this.next = new Map(places);
    this.asking.moved();
    const keys = this.stage.keysOf(TOPIC);
    await this.consumer.seek(
      keys.map((key) => ({ ...this.stage.placeOf(key), from: { offset: places.get(key) ?? 0 } })),
    );
  }
}

export const streamTransactional: ClientKind = {
  role: "writer",
  async live(stage, life) {
    const { plan, machine, random, steps } = life;
    const client = await connected(stage, life);
    const transactionalId = `stream-tx-${plan.id}`;
    const keys = stage.keysOf(TOPIC);
    const begin = () =>
      client.transactional(transactionalId, { transactionTimeoutMs: 10_000, deliveryTimeoutMs: 8000 });
    let producer = begin();
    let reader = new Reader(stage, client, life);
    while (steps.left > 0) {
      steps.left -= 1;
      const asked = drawnTransaction(stage, keys, random);
      const end = stage.recorder.invoke(reader.owner, "txn", asked);
      const record = stage.transactions.begin(`${transactionalId}: ${JSON.stringify(asked)}`);
      const before = reader.places();
      const done: Mop[] = [];
      const work = producer.txn(async (transaction) => {
        for (const mop of asked) {
          if (mop[0] === "poll") {
            done.push(await reader.poll(random.pick([0, 50])));
            continue;
          }
          const [, key, value] = mop as readonly ["send", number, number];
          record.writes.push({ key, value });
          const place = done.push(mop) - 1;
          const bytes = valueBytes(value, random.below(stage.plan.knobs.valueBytes));
          const sent = transaction.send({ ...stage.placeOf(key), value: bytes }).then(({ offset }) => {
            if (offset >= 0) done[place] = ["send", key, [offset, value]];
          });
          sent.catch(() => {});
          if (random.chance(0.5)) await sent;
        }
        if (random.chance(0.3)) await sleep(machine, random.below(100));
        if (random.chance(ABORT)) throw new Changed("the application has changed its mind");
      });
      const outcome = await work.then((): Outcome => ({ type: "ok", error: "", isOver: false }), outcomeOf);
      stage.note(`stream client ${reader.owner}: ${JSON.stringify(done)} ${JSON.stringify(outcome)}`);
      record.end = outcome.type;
      end(outcome.type, done, outcome.type === "ok" ? undefined : outcome.error);
      if (outcome.isOver) {
        await producer.close();
        producer = begin();
      }
      if (outcome.type === "info" || reader.consumer.state === "closed") {
        await reader.consumer.close();
        reader = new Reader(stage, client, life);
      } else if (outcome.type === "fail") {
        await reader.goBack(before).catch((error: unknown) => stage.note(`seek: ${messageOf(error)}`));
      }
      await sleep(machine, thinkMs(stage, plan, random));
    }
    await client.close();
  },
};

const outcomeOf = (error: unknown): Outcome => {
  if (error instanceof Changed) return { type: "fail", error: error.message, isOver: false };
  const isOver = error instanceof FencedError || (error instanceof OutcomeUnknownError && error.fatal);
  const { type, error: name } = failureOf(error);
  return { type, error: error instanceof ClientError ? `${name}: ${error.message}` : name, isOver };
};
