/**
 * The reference model of transactions (T8–T13): what the clients know, held against what the broker shows in the end.
 *
 * A transaction whose commit was answered is seen whole, one that was aborted, refused or left alone is not seen, one whose
 * end nobody knows is seen whole or not at all, and its offset with it; a record is where its acknowledgement said; readers
 * have seen exactly that, in offset order, while it happened too; nothing hangs; the coordinators' logs say what they say.
 */
import type { SimulatedProcess } from "../../../actors/simulation/Simulation.ts";
import { type KafkaClient, LATEST } from "../../../actors/testing/KafkaClient.ts";
import { KafkaError } from "../../../actors/testing/KafkaError.ts";
import { TRANSACTION_STATE_TOPIC } from "../../../src/metadata/TopicName.ts";
import { ApiKey, Apis } from "../../../src/protocol/ApiKeys.ts";
import { Errors, errorName } from "../../../src/protocol/Errors.ts";
import { describe } from "../../../src/transaction/TransactionAdmin.ts";
import { evolve, type TransactionJournal } from "../../../src/transaction/TransactionJournal.ts";
import { decodeTransactionRecord } from "../../../src/transaction/TransactionRecords.ts";
import { clientOf, TOPIC, text, type World } from "./TransactionApps.ts";
import { PARTITIONS } from "./TransactionPrograms.ts";

/** What is wrong, as lines; empty when all is well. */
export const judge = async (world: World, process: SimulatedProcess): Promise<string[]> => {
  const found = [...world.found];
  const client = clientOf(process);
  const visible = new Map<string, { readonly partition: number; readonly offset: number }>();
  for (let partition = 0; partition < PARTITIONS; partition++) {
    const stable = await client.listOffset(TOPIC, partition, LATEST, "read_committed");
    const latest = await client.listOffset(TOPIC, partition, LATEST, "read_uncommitted");
    if (stable.offset !== latest.offset) {
      found.push(`T12: partition ${partition} hangs at ${stable.offset}, its end is ${latest.offset}`);
    }
    const view = await client.readAll(TOPIC, partition, { isolation: "read_committed", from: 0 });
    let last = -1;
    for (const { offset, value } of view) {
      const name = text(value);
      if (offset <= last) found.push(`T8: ${name} at ${offset} is behind ${last}`);
      last = offset;
      if (visible.has(name)) found.push(`duplicate: ${name}`);
      visible.set(name, { partition, offset });
    }
    const seen = world.read[partition]!;
    const upTo = seen.at(-1)?.offset ?? -1;
    const expected = view.filter(({ offset }) => offset <= upTo).map(({ offset, value }) => `${offset} ${text(value)}`);
    const got = seen.map(({ offset, value }) => `${offset} ${value}`);
    if (got.join("\n") !== expected.join("\n")) {
      const at = got.findIndex((line, index) => line !== expected[index]);
      found.push(`T8: a reader of ${partition} saw ${got[at] ?? "nothing"} where ${expected[at] ?? "nothing"} is`);
    }
  }
  for (const value of world.strays) if (visible.has(value)) found.push(`T11: ${value} is seen`);
  for (const { partition, value, offset } of world.plain) check(visible, partition, value, offset, value, found);
  const offsets = new Map<string, number>();
  for (const transaction of world.transactions) {
    const { name, values, sent, end, why, id } = transaction;
    const there = sent.filter((value) => visible.has(value)).length;
    const say = (what: string): void => void found.push(`${what}: ${name} (${why})`);
    if (why.startsWith("ZOMBIE")) say("T13");
    if (there > 0 && there < sent.length) say(`T9: ${there} of ${sent.length} records are seen`);
    if (end === "not" && there > 0) say("T8: not committed, and seen");
    if (end === "committed" && there === 0) say("T8: committed, and not seen");
    if (there === 0) continue;
    for (const { partition, value, offset } of values) check(visible, partition, value, offset, name, found);
    if (transaction.offset !== undefined) offsets.set(id, transaction.offset);
  }
  found.push(...(await replayDifferences(client)));
  for (const id of new Set(world.transactions.map((transaction) => transaction.id))) {
    const fetched = await client.retried("OffsetFetch", async () => {
      const response = await client.request("any", ApiKey.OffsetFetch, {
        ...Apis[ApiKey.OffsetFetch].request.empty(),
        requireStable: true,
        groups: [
          {
            groupId: `group-${id}`,
            memberId: null,
            memberEpoch: -1,
            topics: [{ name: TOPIC, topicId: client.knownTopicId(TOPIC), partitionIndexes: [0] }],
          },
        ],
      });
      if (response.groups[0]!.errorCode === Errors.COORDINATOR_LOAD_IN_PROGRESS) {
        throw new KafkaError(Errors.COORDINATOR_LOAD_IN_PROGRESS, "OffsetFetch");
      }
      return response;
    });
    const group = fetched.groups[0]!;
    const answer = group.topics[0]?.partitions[0];
    const error = group.errorCode !== Errors.NONE ? group.errorCode : (answer?.errorCode ?? Errors.NONE);
    const wanted = offsets.get(id) ?? -1;
    if (error !== Errors.NONE) found.push(`T12: the offsets of ${id} are ${errorName(error)}`);
    else if (answer?.committedOffset !== wanted) {
      found.push(`T9: the offset of ${id} is ${answer?.committedOffset}, its last commit's was ${wanted}`);
    }
  }
  client.close();
  return found;
};

/** `replay(log) == state`: what the coordinators say of each id is what a fold of their log says. */
const replayDifferences = async (client: KafkaClient): Promise<string[]> => {
  const journal: TransactionJournal = new Map();
  const { leaders } = await client.topic(TRANSACTION_STATE_TOPIC);
  for (const partition of leaders.keys()) {
    for (const { key, value } of await client.readAll(TRANSACTION_STATE_TOPIC, partition)) {
      const record = decodeTransactionRecord(key!, value);
      if (typeof record !== "string") evolve(journal, record);
    }
  }
  const found: string[] = [];
  const transactionalIds = [...journal.keys()];
  const { transactionStates } = await client.request("any", ApiKey.DescribeTransactions, { transactionalIds });
  for (const state of transactionStates) {
    const told = JSON.stringify(state);
    const replayed = JSON.stringify(describe(journal, state.transactionalId));
    if (told !== replayed) found.push(`replay: ${told} is told, ${replayed} is in the log`);
    const settled = ["Empty", "CompleteCommit", "CompleteAbort"].includes(state.transactionState);
    if (!settled) found.push(`T12: ${state.transactionalId} is still ${state.transactionState}`);
  }
  return found;
};

const check = (
  visible: ReadonlyMap<string, { readonly partition: number; readonly offset: number }>,
  partition: number,
  value: string,
  offset: number,
  who: string,
  found: string[],
): void => {
  const at = visible.get(value);
  if (at === undefined) found.push(`lost: ${value} of ${who}, acknowledged at ${partition}@${offset}`);
  else if (at.partition !== partition || (offset >= 0 && at.offset !== offset)) {
    found.push(`moved: ${value} from ${partition}@${offset} to ${at.partition}@${at.offset}`);
  }
};
