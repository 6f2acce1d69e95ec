/**
 * Who reads what in a group of the classic protocol: the assignors that the leader runs in the client. Pure: the same
 * members and topics give the same assignment. What must stay true: every partition of a subscribed topic goes to exactly
 * one of its subscribers.
 */
import type { TopicPartition } from "../../src/prelude/Types.ts";

export type AssignorName = "range" | "roundrobin" | "cooperative-sticky";

/** With `cooperative` members keep what they have through a rebalance and give up only what moves. */
export const PROTOCOL_OF: Readonly<Record<AssignorName, "eager" | "cooperative">> = {
  range: "eager",
  roundrobin: "eager",
  "cooperative-sticky": "cooperative",
};

export interface Subscriber {
  readonly memberId: string;
  readonly topics: ReadonlyArray<string>;
  /** What it says it owns, and since which generation it knows. */
  readonly owned: ReadonlyArray<TopicPartition>;
  readonly generation: number;
}

export type Assignment = Map<string, TopicPartition[]>;

/** Partitions by topic; topics that do not exist are left out. */
export type PartitionCounts = ReadonlyMap<string, number>;

const byName = (left: string, right: string): number => (left < right ? -1 : left > right ? 1 : 0);

const sortedMembers = (members: ReadonlyArray<Subscriber>): Subscriber[] =>
  members.toSorted((left, right) => byName(left.memberId, right.memberId));

const subscribedTopics = (members: ReadonlyArray<Subscriber>, counts: PartitionCounts): string[] =>
  [...new Set(members.flatMap(({ topics }) => topics))].filter((topic) => counts.has(topic)).sort(byName);

const nameOf = ({ topic, partition }: TopicPartition): string => `${topic}-${partition}`;

/** Topic by topic, a run of neighbouring partitions to each subscriber (Kafka's RangeAssignor without racks). */
const range = (members: ReadonlyArray<Subscriber>, counts: PartitionCounts): Assignment => {
  const sorted = sortedMembers(members);
  const assignment: Assignment = new Map(sorted.map(({ memberId }) => [memberId, []]));
  for (const topic of subscribedTopics(sorted, counts)) {
    const own = sorted.filter(({ topics }) => topics.includes(topic));
    const count = counts.get(topic)!;
    let next = 0;
    own.forEach(({ memberId }, index) => {
      const share = Math.floor(count / own.length) + (index < count % own.length ? 1 : 0);
      for (let end = next + share; next < end; next++) assignment.get(memberId)!.push({ topic, partition: next });
    });
  }
  return assignment;
};

/** All partitions in turn, each to the next member that subscribes to its topic (Kafka's RoundRobinAssignor). */
const roundrobin = (members: ReadonlyArray<Subscriber>, counts: PartitionCounts): Assignment => {
  const sorted = sortedMembers(members);
  const assignment: Assignment = new Map(sorted.map(({ memberId }) => [memberId, []]));
  let turn = 0;
  for (const topic of subscribedTopics(sorted, counts)) {
    for (let partition = 0; partition < counts.get(topic)!; partition++) {
      while (!sorted[turn % sorted.length]!.topics.includes(topic)) turn += 1;
      assignment.get(sorted[turn % sorted.length]!.memberId)!.push({ topic, partition });
      turn += 1;
    }
  }
  return assignment;
};

/**
 * As balanced as the subscriptions allow, moving as little as possible; what moves is given to nobody in this round, so
 * that its owner can give it up first (KIP-429). Of two who claim a partition the one with the later generation owns it.
 */
const cooperativeSticky = (members: ReadonlyArray<Subscriber>, counts: PartitionCounts): Assignment => {
  const sorted = sortedMembers(members);
  const target: Assignment = new Map(sorted.map(({ memberId }) => [memberId, []]));
  const subscribes = new Map(sorted.map(({ memberId, topics }) => [memberId, new Set(topics)]));
  const claims = new Map<string, { readonly memberId: string; readonly generation: number }>();
  for (const { memberId, owned, generation } of sorted) {
    for (const partition of owned) {
      const claim = claims.get(nameOf(partition));
      if (claim === undefined || claim.generation < generation) claims.set(nameOf(partition), { memberId, generation });
    }
  }
  const free: TopicPartition[] = [];
  for (const topic of subscribedTopics(sorted, counts)) {
    for (let partition = 0; partition < counts.get(topic)!; partition++) {
      const owner = claims.get(nameOf({ topic, partition }))?.memberId;
      if (owner !== undefined && subscribes.get(owner)!.has(topic)) target.get(owner)!.push({ topic, partition });
      else free.push({ topic, partition });
    }
  }
  const poorest = (topic: string): string =>
    sorted
      .filter(({ topics }) => topics.includes(topic))
      .reduce((least, next) => (target.get(next.memberId)!.length < target.get(least.memberId)!.length ? next : least))
      .memberId;
  for (const partition of free) target.get(poorest(partition.topic))!.push(partition);
  for (let moved = true; moved; ) {
    moved = false;
    for (const { memberId } of sorted) {
      const own = target.get(memberId)!;
      const index = own.findLastIndex(({ topic }) => target.get(poorest(topic))!.length + 1 < own.length);
      if (index < 0) continue;
      const [partition] = own.splice(index, 1);
      target.get(poorest(partition!.topic))!.push(partition!);
      moved = true;
    }
  }
  for (const [memberId, own] of target) {
    const kept = own.filter((partition) => {
      const owner = claims.get(nameOf(partition))?.memberId;
      return owner === undefined || owner === memberId;
    });
    target.set(memberId, kept);
  }
  return target;
};

const ASSIGNORS: Readonly<
  Record<AssignorName, (members: ReadonlyArray<Subscriber>, counts: PartitionCounts) => Assignment>
> = { range, roundrobin, "cooperative-sticky": cooperativeSticky };

export const assign = (name: AssignorName, members: ReadonlyArray<Subscriber>, counts: PartitionCounts): Assignment =>
  ASSIGNORS[name](members, counts);
