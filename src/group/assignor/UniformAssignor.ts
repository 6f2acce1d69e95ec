/**
 * The uniform assignor, Kafka's default: everyone gets the same number of partitions, give or take one, and as few
 * partitions as possible move. Balance goes before stickiness. What must stay true: with equal subscriptions no two
 * members differ by more than one partition and only what exceeds a member's share moves; with different ones no
 * subscriber of a topic could take a partition of it from another that has at least two more (as far as
 * `MAX_PASSES` reach: overlapping subscriptions converge geometrically).
 */
import type { Uuid } from "../../prelude/Types.ts";
import { NO_TARGET, type TargetAssignment } from "../Assignment.ts";
import type { Assignor, GroupSpecification } from "./Assignor.ts";

/** Kafka's limit of balancing passes over all topics. */
const MAX_PASSES = 16;
const NOBODY = -1;

/** Topic id → owner of each partition, as an index into the list of members. */
type Owners = Map<Uuid, Int32Array>;

const assign = (specification: GroupSpecification): Map<string, TargetAssignment> => {
  const memberIds = [...specification.members.keys()];
  const owners = presentOwners(specification, memberIds);
  const loads = new Int32Array(memberIds.length);
  for (const topic of owners.values()) for (const owner of topic) if (owner !== NOBODY) loads[owner]! += 1;
  if (specification.homogeneous) shareEqually(owners, loads);
  else shareAmongSubscribers(specification, memberIds, owners, loads);
  return byMember(memberIds, owners);
};

/** What remains of the previous target: partitions that exist, of topics their member is still subscribed to. */
const presentOwners = ({ members, partitionCount }: GroupSpecification, memberIds: string[]): Owners => {
  const owners: Owners = new Map();
  for (const { topics } of members.values()) {
    for (const topicId of topics) {
      if (!owners.has(topicId)) owners.set(topicId, new Int32Array(partitionCount(topicId)).fill(NOBODY));
    }
  }
  for (const [index, memberId] of memberIds.entries()) {
    const { topics, assignment } = members.get(memberId)!;
    for (const [topicId, partitions] of assignment) {
      if (!topics.has(topicId)) continue;
      const topic = owners.get(topicId)!;
      for (const partition of partitions) if (topic[partition] === NOBODY) topic[partition] = index;
    }
  }
  return owners;
};

/**
 * Equal subscriptions. Shares are given out in the order of the members, the larger ones first to those that already
 * have that many, so that nobody gives up a partition only to let another round up.
 */
const shareEqually = (owners: Owners, loads: Int32Array): void => {
  let total = 0;
  for (const topic of owners.values()) total += topic.length;
  const share = Math.floor(total / loads.length);
  let larger = total % loads.length;
  const shares = new Int32Array(loads.length).fill(share);
  for (let index = 0; index < loads.length && larger > 0; index++) {
    if (loads[index]! <= share) continue;
    shares[index]! += 1;
    larger -= 1;
  }
  for (let index = 0; index < loads.length && larger > 0; index++) {
    if (shares[index]! > share) continue;
    shares[index]! += 1;
    larger -= 1;
  }
  for (const topic of owners.values()) {
    for (let partition = topic.length - 1; partition >= 0; partition--) {
      const owner = topic[partition]!;
      if (owner === NOBODY || loads[owner]! <= shares[owner]!) continue;
      topic[partition] = NOBODY;
      loads[owner]! -= 1;
    }
  }
  let next = 0;
  for (const topic of owners.values()) {
    for (let partition = 0; partition < topic.length; partition++) {
      if (topic[partition] !== NOBODY) continue;
      while (loads[next]! >= shares[next]!) next += 1;
      topic[partition] = next;
      loads[next]! += 1;
    }
  }
};

/** Different subscriptions: topics with most partitions per subscriber first, each to its least loaded subscribers. */
const shareAmongSubscribers = (
  { members }: GroupSpecification,
  memberIds: ReadonlyArray<string>,
  owners: Owners,
  loads: Int32Array,
): void => {
  const subscribers = new Map<Uuid, number[]>();
  for (const [index, memberId] of memberIds.entries()) {
    for (const topicId of members.get(memberId)!.topics) {
      const present = subscribers.get(topicId);
      if (present === undefined) subscribers.set(topicId, [index]);
      else present.push(index);
    }
  }
  const order = [...owners.keys()].sort((a, b) => {
    const [manyA, manyB] = [subscribers.get(a)!.length, subscribers.get(b)!.length];
    const perSubscriber = owners.get(b)!.length / manyB - owners.get(a)!.length / manyA;
    return perSubscriber || manyA - manyB || (a < b ? -1 : 1);
  });
  for (const topicId of order) fillTopic(owners.get(topicId)!, subscribers.get(topicId)!, loads);
  const shared = order.filter((topicId) => subscribers.get(topicId)!.length > 1);
  for (let pass = 0; pass < MAX_PASSES; pass++) {
    let moved = 0;
    for (const topicId of shared) moved += balanceTopic(owners.get(topicId)!, subscribers.get(topicId)!, loads);
    if (moved === 0) return;
  }
};

const fillTopic = (topic: Int32Array, subscribers: ReadonlyArray<number>, loads: Int32Array): void => {
  let queue: LoadQueue | undefined;
  for (let partition = 0; partition < topic.length; partition++) {
    if (topic[partition] !== NOBODY) continue;
    queue ??= new LoadQueue(subscribers, loads, 1);
    const least = queue.take()!;
    topic[partition] = least;
    loads[least]! += 1;
    queue.put(least);
  }
};

/** Moves partitions of one topic from its most to its least loaded subscribers; answers how many moved. */
const balanceTopic = (topic: Int32Array, subscribers: ReadonlyArray<number>, loads: Int32Array): number => {
  let lowest = Number.POSITIVE_INFINITY;
  let highest = Number.NEGATIVE_INFINITY;
  for (const index of subscribers) {
    lowest = Math.min(lowest, loads[index]!);
    highest = Math.max(highest, loads[index]!);
  }
  if (highest - lowest <= 1) return 0;
  const owned = new Map<number, number[]>();
  for (let partition = 0; partition < topic.length; partition++) {
    const present = owned.get(topic[partition]!);
    if (present === undefined) owned.set(topic[partition]!, [partition]);
    else present.push(partition);
  }
  const most = new LoadQueue([...owned.keys()], loads, -1);
  const least = new LoadQueue(subscribers, loads, 1);
  for (let moved = 0; ; moved++) {
    const from = most.take();
    const to = least.take();
    if (from === undefined || to === undefined || loads[from]! - loads[to]! <= 1) return moved;
    const partitions = owned.get(from)!;
    topic[partitions.pop()!] = to;
    loads[from]! -= 1;
    loads[to]! += 1;
    if (partitions.length > 0) most.put(from);
    least.put(from);
    least.put(to);
  }
};

/**
 * A heap of members by load (`direction` 1: least first, -1: most first); of equals the one that comes first, or last, in the
 * order of the loads at the beginning, and then of the members, as in Kafka. A load that changed while its member waited is
 * noticed when it is taken: the stale entry is dropped, the member having been put again.
 */
class LoadQueue {
  private readonly members: number[] = [];
  private readonly keys: number[] = [];
  private readonly ranks = new Map<number, number>();

  constructor(
    members: ReadonlyArray<number>,
    private readonly loads: Int32Array,
    private readonly direction: 1 | -1,
  ) {
    const ranked = members.toSorted((a, b) => loads[a]! - loads[b]! || a - b);
    for (const [rank, member] of ranked.entries()) this.ranks.set(member, rank);
    for (const member of members) this.put(member);
  }

  put(member: number): void {
    let at = this.members.length;
    this.members.push(member);
    this.keys.push(this.loads[member]!);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!this.before(at, parent)) return;
      this.swap(at, parent);
      at = parent;
    }
  }

  take(): number | undefined {
    while (this.members.length > 0) {
      const member = this.members[0]!;
      const fresh = this.keys[0] === this.loads[member];
      this.removeFirst();
      if (fresh) return member;
    }
    return undefined;
  }

  private removeFirst(): void {
    this.swap(0, this.members.length - 1);
    this.members.pop();
    this.keys.pop();
    for (let at = 0; ; ) {
      const left = 2 * at + 1;
      const right = left + 1;
      let first = at;
      if (left < this.members.length && this.before(left, first)) first = left;
      if (right < this.members.length && this.before(right, first)) first = right;
      if (first === at) return;
      this.swap(at, first);
      at = first;
    }
  }

  private before(a: number, b: number): boolean {
    const order =
      this.keys[a]! - this.keys[b]! || this.ranks.get(this.members[a]!)! - this.ranks.get(this.members[b]!)!;
    return order * this.direction < 0;
  }

  private swap(a: number, b: number): void {
    const { members, keys } = this;
    [members[a], members[b]] = [members[b]!, members[a]!];
    [keys[a], keys[b]] = [keys[b]!, keys[a]!];
  }
}

const byMember = (memberIds: ReadonlyArray<string>, owners: Owners): Map<string, TargetAssignment> => {
  const targets = memberIds.map(() => new Map<Uuid, number[]>());
  for (const [topicId, topic] of owners) {
    for (let partition = 0; partition < topic.length; partition++) {
      const target = targets[topic[partition]!]!;
      const partitions = target.get(topicId);
      if (partitions === undefined) target.set(topicId, [partition]);
      else partitions.push(partition);
    }
  }
  return new Map(memberIds.map((memberId, index) => [memberId, targets[index] ?? NO_TARGET]));
};

export const UniformAssignor: Assignor = { name: "uniform", assign };
