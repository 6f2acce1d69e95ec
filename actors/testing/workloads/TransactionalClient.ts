/**
 * Jepsen's transactions: one to four sends and polls, of which one in ten aborts, by an assigned read_committed client.
 * What a transaction that did not commit has polled is polled again.
 */
import type { Mop } from "../History.ts";
import type { KafkaProducer, ProduceOutcome } from "../KafkaProducer.ts";
import type { Stage } from "../Stage.ts";
import type { TransactionOutcome } from "../TransactionManager.ts";
import type { ClientKind, ClientLife } from "./ClientKind.ts";
import { pollMop, RecordedConsumer } from "./RecordedConsumer.ts";
import { startProducer, thinkMs } from "./Sending.ts";

const ABORT = 0.1;
/** A transaction that is left alone, for the coordinator to abort: its client goes on under another id. */
const ABANDON = 0.04;

/** A transactional producer of this client, noted in the book. */
export const startTransactional = async (
  stage: Stage,
  client: Parameters<typeof startProducer>[1],
  transactionalId: string,
): Promise<KafkaProducer> => {
  for (;;) {
    const producer = await startProducer(stage, client, {
      transactionalId,
      transactionVersion: stage.plan.knobs.transactionVersion,
      transactionTimeoutMs: 10_000,
      deliveryTimeoutMs: 8000,
    });
    const { producerId, producerEpoch } = producer;
    // A newer one was told first: this one is fenced already.
    if (stage.transactions.isOlder(transactionalId, producerId, producerEpoch)) continue;
    stage.transactions.initialized(transactionalId, producerId, producerEpoch);
    stage.note(`${transactionalId} is producer ${producerId} epoch ${producerEpoch}`);
    return producer;
  }
};

/** Commits or aborts; what the transaction then is, for the history. */
export const endTransaction = async (
  stage: Stage,
  producer: KafkaProducer,
  transactionalId: string,
  commit: boolean,
): Promise<TransactionOutcome> => {
  if (!commit) {
    await producer.abort();
    return { type: "fail", error: "LOCAL_STATE" };
  }
  const fenced = stage.transactions.isOlder(transactionalId, producer.producerId, producer.producerEpoch);
  const outcome = await producer.commit();
  if (outcome.type === "ok") stage.transactions.committed(transactionalId, fenced);
  else if (outcome.type === "fail" && producer.transactionState === "abortable") await producer.abort();
  return outcome;
};

/** What a transaction is to do: one to four sends and polls, its values reserved. */
export const drawnTransaction = (stage: Stage, keys: ReadonlyArray<number>, random: ClientLife["random"]): Mop[] =>
  Array.from({ length: random.between(1, 4) }, (): Mop => {
    if (random.chance(0.4)) return ["poll"];
    const key = random.pick(keys);
    return ["send", key, stage.freshValues(key, 1)[0]!];
  });

const liveOnce = async (stage: Stage, life: ClientLife): Promise<void> => {
  const { plan, machine, random, steps } = life;
  const client = stage.client(machine);
  let transactionalId = `tx-${plan.id}`;
  const keys = stage.keysOf(stage.plan.topics[0]!.name);
  let producer = await startTransactional(stage, client, transactionalId);
  const begin = (): RecordedConsumer => {
    const reader = new RecordedConsumer(stage, client, stage.recorder.newProcess(), {
      isolation: "read_committed",
      fetchSessions: random.chance(0.5),
    });
    reader.assign(keys);
    return reader;
  };
  let reader = begin();
  while (steps.left > 0) {
    steps.left -= 1;
    const asked = drawnTransaction(stage, keys, random);
    const end = stage.recorder.invoke(reader.owner, "txn", asked);
    const record = stage.transactions.begin(`${transactionalId}: ${JSON.stringify(asked)}`);
    const positions = reader.consumer.assignment.map((one) => [one, reader.consumer.position(one)] as const);
    stage.note(`client ${reader.owner} transacts ${JSON.stringify(asked)}`);
    producer.begin();
    const done: Mop[] = [];
    const sends: Array<Promise<ProduceOutcome>> = [];
    let whole = true;
    let broken = false;
    for (const mop of asked) {
      if (mop[0] === "poll") {
        const shown = await reader.read(random.pick([0, 50]));
        if (typeof shown === "string") whole = false;
        done.push(typeof shown === "string" ? ["poll"] : pollMop(shown));
        continue;
      }
      const [, key, value] = mop as readonly ["send", number, number];
      record.writes.push({ key, value });
      const place = done.push(mop) - 1;
      const { topic, partition } = stage.placeOf(key);
      const sent = producer.send(topic, partition, stage.records(random, [value])).then((outcome) => {
        if (outcome.type === "ok" && outcome.baseOffset >= 0) done[place] = ["send", key, [outcome.baseOffset, value]];
        // The first that fails has nothing before it that is missing.
        const refused = outcome.type !== "ok" && outcome.error === "OUT_OF_ORDER_SEQUENCE_NUMBER";
        if (refused && !broken)
          stage.violation(`P2: ${transactionalId}'s sequence was refused: ${JSON.stringify(asked)}`);
        broken ||= outcome.type !== "ok";
        return outcome;
      });
      sends.push(sent);
      if (random.chance(0.5)) await sent;
    }
    if (random.chance(0.3)) await client.sleep(random.below(100));
    const abandons = random.chance(ABANDON);
    const outcome: TransactionOutcome = abandons
      ? { type: "fail", error: "LOCAL_STATE" }
      : await endTransaction(stage, producer, transactionalId, whole && !random.chance(ABORT));
    await Promise.all(sends);
    stage.note(`client ${reader.owner}: ${JSON.stringify(done)} ${JSON.stringify(outcome)}`);
    record.end = outcome.type;
    end(outcome.type, done, outcome.type === "ok" ? undefined : outcome.error);
    if (outcome.type === "info") reader = begin();
    else if (outcome.type === "fail")
      for (const [one, offset] of positions) if (offset !== undefined) reader.consumer.seek(one, offset);
    if (abandons) transactionalId += "+";
    if (abandons || producer.transactionState !== "ready")
      producer = await startTransactional(stage, client, transactionalId);
    await client.sleep(thinkMs(stage, plan, random));
  }
  client.close();
};

export const transactionalClient: ClientKind = { role: "writer", live: liveOnce };
