/**
 * What the coordinator knows of one transactional id, as its last record says it, and the one way it may change.
 *
 * The transition table (Kafka's `TransactionState`), `to ← from`:
 *
 * | to | from | by |
 * |---|---|---|
 * | Empty | Empty, CompleteCommit, CompleteAbort | InitProducerId |
 * | Ongoing | Ongoing, Empty, CompleteCommit, CompleteAbort | AddPartitionsToTxn, AddOffsetsToTxn, Produce, TxnOffsetCommit |
 * | PrepareCommit | Ongoing | EndTxn |
 * | PrepareAbort | Ongoing; in version 2 also Empty, CompleteCommit, CompleteAbort | EndTxn, timeout, InitProducerId |
 * | CompleteCommit | PrepareCommit | every partition has its marker |
 * | CompleteAbort | PrepareAbort | every partition has its marker |
 *
 * From Empty, CompleteCommit and CompleteAbort an id that nobody uses goes (Kafka's `Dead`: a tombstone). Kafka's
 * `PrepareEpochFence` is a step inside one decision here and never a state. What must stay true: no other transition;
 * partitions only grow in Ongoing and are unchanged from there to Prepare*; an epoch is never negative, never wraps and
 * goes up by one or begins at 0 with another producer id.
 */
import { invariant } from "../prelude/Invariant.ts";
import type { ProducerEpoch, ProducerId, Timestamp, TopicPartition } from "../prelude/Types.ts";

/** Kafka's ids of the states that are stored. */
export const TransactionState = {
  Empty: 0,
  Ongoing: 1,
  PrepareCommit: 2,
  PrepareAbort: 3,
  CompleteCommit: 4,
  CompleteAbort: 5,
} as const;
export type TransactionState = (typeof TransactionState)[keyof typeof TransactionState];

const { Empty, Ongoing, PrepareCommit, PrepareAbort, CompleteCommit, CompleteAbort } = TransactionState;

const NAMES: ReadonlyArray<string> = [
  "Empty",
  "Ongoing",
  "PrepareCommit",
  "PrepareAbort",
  "CompleteCommit",
  "CompleteAbort",
];

/** As DescribeTransactions and ListTransactions write it. */
export const stateName = (state: TransactionState): string => NAMES[state]!;

/** Names a filter may have beside the stored states'; no transaction is ever in them here. */
const TRANSIENT_NAMES: ReadonlySet<string> = new Set(["Dead", "PrepareEpochFence"]);

export const isStateName = (name: string): boolean => NAMES.includes(name) || TRANSIENT_NAMES.has(name);

/** The stored state with Kafka's id; undefined for an id that is none. */
export const stateOfId = (id: number): TransactionState | undefined =>
  NAMES[id] === undefined ? undefined : (id as TransactionState);

/** The states each may follow, by the state that is reached. */
export const VALID_PREVIOUS: Readonly<Record<TransactionState, ReadonlyArray<TransactionState>>> = {
  [Empty]: [Empty, CompleteCommit, CompleteAbort],
  [Ongoing]: [Ongoing, Empty, CompleteCommit, CompleteAbort],
  [PrepareCommit]: [Ongoing],
  [PrepareAbort]: [Ongoing, Empty, CompleteCommit, CompleteAbort],
  [CompleteCommit]: [PrepareCommit],
  [CompleteAbort]: [PrepareAbort],
};

export const NO_PRODUCER_ID: ProducerId = -1;
export const NO_PRODUCER_EPOCH: ProducerEpoch = -1;
/** No client is given this epoch, so that its last one can always be fenced. */
export const MAX_EPOCH: ProducerEpoch = 0x7fff;

/** From this version on each transaction has an epoch of its own (KIP-890). */
export const EPOCH_BUMP_FROM = 2;

/** By topic name; a topic without partitions is not in it. */
export type TransactionPartitions = ReadonlyMap<string, ReadonlySet<number>>;

export const NO_PARTITIONS: TransactionPartitions = new Map();

export interface TransactionMetadata {
  readonly transactionalId: string;
  readonly producerId: ProducerId;
  /** The producer id before the last transition; another one where an exhausted id was replaced. */
  readonly previousProducerId: ProducerId;
  /** In Prepare*, the id that replaces an exhausted one when the transaction is complete; else -1. */
  readonly nextProducerId: ProducerId;
  readonly producerEpoch: ProducerEpoch;
  readonly timeoutMs: number;
  readonly state: TransactionState;
  readonly partitions: TransactionPartitions;
  /** When the first partition was added; -1 before. */
  readonly startTimestamp: Timestamp;
  readonly lastUpdateTimestamp: Timestamp;
  /** Transactions version of the client (or broker) that made the last transition of the transaction. */
  readonly clientTransactionVersion: number;
}

/** Not a client's epoch any more: a fence needs one above it (Kafka's `isEpochExhausted`). */
export const isEpochExhausted = (epoch: ProducerEpoch): boolean => epoch >= MAX_EPOCH - 1;

export const isPrepared = ({ state }: TransactionMetadata): boolean =>
  state === PrepareCommit || state === PrepareAbort;

export const containsAll = ({ partitions }: TransactionMetadata, wanted: ReadonlyArray<TopicPartition>): boolean =>
  wanted.every(({ topic, partition }) => partitions.get(topic)?.has(partition) === true);

export const withPartitions = (
  partitions: TransactionPartitions,
  added: ReadonlyArray<TopicPartition>,
): TransactionPartitions => {
  const grown = new Map(partitions);
  const copied = new Set<string>();
  for (const { topic, partition } of added) {
    let indexes = grown.get(topic);
    if (indexes === undefined || !copied.has(topic)) {
      indexes = new Set(indexes);
      grown.set(topic, indexes);
      copied.add(topic);
    }
    (indexes as Set<number>).add(partition);
  }
  return grown;
};

export function* eachPartition(partitions: TransactionPartitions): Iterable<TopicPartition> {
  for (const [topic, indexes] of partitions) for (const partition of indexes) yield { topic, partition };
}

/** What a transition may change. */
export type Transition = { readonly state: TransactionState } & Partial<
  Omit<TransactionMetadata, "transactionalId" | "previousProducerId">
>;

/** The metadata after a transition; a transition outside the table is a defect. */
export const transitionTo = (from: TransactionMetadata, change: Transition): TransactionMetadata => {
  const to = { ...from, ...change, previousProducerId: from.producerId };
  assertTransition(from, to);
  return to;
};

/** Kafka's checks of `completeTransitionTo`: what each transition may do to epoch, partitions, timeout and times. */
const assertTransition = (from: TransactionMetadata, to: TransactionMetadata): void => {
  const say = (rule: string): string =>
    `${from.transactionalId}: ${stateName(from.state)} to ${stateName(to.state)} ${rule}`;
  invariant(VALID_PREVIOUS[to.state].includes(from.state), say("is no transition"));
  invariant(to.producerId >= 0, say("needs a producer id"));
  invariant(to.producerEpoch >= 0 && to.producerEpoch <= MAX_EPOCH, say(`must not reach epoch ${to.producerEpoch}`));
  const samePid = to.producerId === from.producerId;
  const sameEpoch = samePid && to.producerEpoch === from.producerEpoch;
  const bumped = samePid && to.producerEpoch === from.producerEpoch + 1;
  const renewed = !samePid && to.producerEpoch === 0;
  const version2 = to.clientTransactionVersion >= EPOCH_BUMP_FROM;
  switch (to.state) {
    case Empty:
      invariant(sameEpoch || bumped || renewed, say("may bump the epoch once or begin with another id"));
      invariant(to.partitions.size === 0 && to.startTimestamp === -1, say("holds nothing"));
      return;
    case Ongoing:
      invariant(sameEpoch, say("keeps id and epoch"));
      invariant(containsAll(to, [...eachPartition(from.partitions)]), say("only adds partitions"));
      invariant(to.timeoutMs === from.timeoutMs, say("keeps the timeout"));
      return;
    case PrepareCommit:
    case PrepareAbort:
      invariant(sameEpoch || bumped, say("bumps the epoch once at most"));
      invariant(to.partitions === from.partitions, say("keeps the partitions"));
      invariant(from.state === Ongoing || version2, say("needs transactions version 2"));
      invariant(to.startTimestamp === from.startTimestamp || from.state !== Ongoing, say("keeps the start"));
      return;
    case CompleteCommit:
    case CompleteAbort:
      invariant(sameEpoch || (renewed && to.producerId === from.nextProducerId), say("keeps id and epoch"));
      invariant(to.partitions.size === 0 && to.startTimestamp !== -1, say("holds no partitions"));
  }
};
