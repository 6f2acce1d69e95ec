/**
 * Consume, transform, produce: what a member of a group is shown is copied to the partition of the same number in another
 * topic, and its offsets are committed with the copies. Exactly once, whatever happens to anybody.
 */
import type { Mop } from "../History.ts";
import type { KafkaProducer } from "../KafkaProducer.ts";
import { TOPIC } from "../Scenario.ts";
import { messageOf, type Stage } from "../Stage.ts";
import type { ClientKind, ClientLife } from "./ClientKind.ts";
import { memberOptions, watched } from "./GroupMember.ts";
import { pollMop, RecordedConsumer, type Shown } from "./RecordedConsumer.ts";
import { endTransaction, startTransactional } from "./TransactionalClient.ts";

export const COPY_GROUP = "copiers";
export const COPIES = "copies";
const ABORT = 0.1;

const live = async (stage: Stage, { plan, machine, random }: ClientLife): Promise<void> => {
  const client = stage.client(machine);
  const transactionalId = `copier-${plan.id}`;
  while (!stage.groupsDone) {
    let producer = await startTransactional(stage, client, transactionalId);
    const instance = stage.nextInstance(machine);
    const reader = new RecordedConsumer(stage, client, stage.recorder.newProcess(), {
      groupId: COPY_GROUP,
      isolation: "read_committed",
      ...memberOptions(stage, random),
      ...watched(stage, machine, COPY_GROUP, instance),
      maxPollIntervalMs: 30_000,
      metadataMaxAgeMs: 1000,
      fetchSessions: random.chance(0.5),
    });
    reader.subscribe(TOPIC);
    const polls = random.pick([10, 40, 1000]);
    for (let poll = 0; poll < polls && !stage.groupsDone; poll++) {
      // The operation begins with the poll: what it shows is part of the transaction.
      const shown = await reader.read(random.pick([0, 20, 100]));
      reader.takeRebalances();
      if (typeof shown === "string") break;
      if (shown.length > 0 && !(await copy(stage, producer, reader, transactionalId, shown, random.chance(ABORT))))
        break;
      if (producer.transactionState !== "ready") producer = await startTransactional(stage, client, transactionalId);
      if (shown.length === 0 || random.chance(0.2)) await client.sleep(random.below(60));
    }
    if (random.chance(0.6) || stage.groupsDone) await reader.consumer.close(2000);
    else {
      reader.consumer.abandon();
      stage.groups.died(instance);
    }
  }
  client.close();
};

/** One transaction. False: what is committed only a new consumer can tell. */
const copy = async (
  stage: Stage,
  producer: KafkaProducer,
  reader: RecordedConsumer,
  transactionalId: string,
  shown: ReadonlyArray<Shown>,
  aborts: boolean,
): Promise<boolean> => {
  const byKey = Map.groupBy(shown, ({ key }) => key);
  const copies = [...byKey].map(([key, records]) => {
    const target = stage.keyAt({ topic: COPIES, partition: stage.placeOf(key).partition });
    const values = stage.freshValues(target, records.length);
    for (const [index, value] of values.entries()) stage.transactions.copy(records[index]!.value, value);
    return { target, values, source: key, next: records.at(-1)!.offset + 1 };
  });
  const asked = copies.flatMap(({ target, values }) => values.map((value): Mop => ["send", target, value]));
  const end = stage.recorder.invoke(reader.owner, "txn", [["poll"], ...asked]);
  const record = stage.transactions.begin(`${transactionalId}: ${JSON.stringify(asked)}`);
  for (const { target, values } of copies) for (const value of values) record.writes.push({ key: target, value });
  stage.note(`client ${reader.owner} copies ${JSON.stringify(copies)}`);
  producer.begin();
  const sends = copies.map(async ({ target, values }): Promise<Mop[]> => {
    const { topic, partition } = stage.placeOf(target);
    const outcome = await producer.send(
      topic,
      partition,
      stage.records(stage.random.fork(`copy ${values[0]}`), values),
    );
    const base = outcome.type === "ok" && outcome.baseOffset >= 0 ? outcome.baseOffset : undefined;
    return values.map((value, index) => ["send", target, base === undefined ? value : [base + index, value]]);
  });
  // Positions of what was shown, and the epochs of the records before them.
  const offsets = reader.consumer
    .offsets()
    .filter((one) => byKey.has(stage.keyAt(one)))
    .map((one) => ({ ...one, offset: copies.find(({ source }) => source === stage.keyAt(one))!.next }));
  const commits = offsets.map((one) => stage.groups.commit(COPY_GROUP, stage.keyAt(one), one.offset));
  // What was taken away meanwhile is another member's to copy.
  const owned = offsets.length === copies.length;
  const added = owned ? await producer.sendOffsets(offsets, reader.consumer.group) : undefined;
  const done = (await Promise.all(sends)).flat();
  const outcome = await endTransaction(stage, producer, transactionalId, added?.type === "ok" && !aborts);
  stage.note(`client ${reader.owner}: ${JSON.stringify(done)} ${JSON.stringify(outcome)}`);
  record.end = outcome.type;
  for (const ended of commits) ended(outcome.type, false);
  end(outcome.type, [pollMop(shown), ...done], outcome.type === "ok" ? undefined : outcome.error);
  if (outcome.type === "ok") return true;
  if (outcome.type === "info") return false;
  try {
    for (const [key, records] of byKey) {
      const place = stage.placeOf(key);
      if (reader.consumer.position(place) !== undefined) reader.consumer.seek(place, records[0]!.offset);
    }
  } catch (error) {
    stage.note(`client ${reader.owner}: ${messageOf(error)}`);
  }
  return true;
};

export const copier: ClientKind = { role: "reader", live };
