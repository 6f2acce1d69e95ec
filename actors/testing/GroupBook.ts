/**
 * What members of groups did and were told, with the time at which it was so, and the judgement on it: one owner per
 * partition, generations that only go up, one leader per generation and its assignment for everybody, committed offsets
 * that do not go back, every record processed (correctness.md 4.5, G and O). Pure: the same book gives the same lines.
 *
 * What must stay true: a member owns nothing any more, whatever it believes, once the coordinator may rightly have given
 * up on it: its last heartbeat that was answered, plus a session. After a silence of a session a classic heartbeat that is
 * answered may be answered blindly (Kafka's does so while it loads the group): it counts unless the member is then turned
 * away.
 */
import type { TopicPartition } from "../../src/prelude/Types.ts";
import { type GroupEvent, partitionName } from "./GroupMembership.ts";

type Timed = GroupEvent & { readonly at: number };

/** A commit of one partition's offset, from its beginning to its end. */
export interface CommitRecord {
  readonly group: string;
  readonly key: number;
  readonly offset: number;
  readonly from: number;
  /** Infinite when it may take effect at any later time: unknown, or an earlier attempt of it is. */
  to: number;
  type: "ok" | "info" | "fail";
}

export interface FetchRecord {
  readonly group: string;
  readonly key: number;
  /** -1: nothing is committed. */
  readonly offset: number;
  readonly from: number;
  readonly to: number;
}

interface Ownership {
  readonly who: number;
  readonly partition: string;
  readonly from: number;
  to: number;
}

export class GroupBook {
  private readonly events: Timed[] = [];
  private readonly commits: CommitRecord[] = [];
  private readonly fetches: FetchRecord[] = [];
  /** Members that died, and when. */
  private readonly deaths = new Map<number, number>();
  private readonly processed = new Map<string, Map<number, Set<number>>>();

  constructor(private readonly now: () => number) {}

  /** What a membership tells its observer; `clock` is its own monotonic one. */
  observe(event: GroupEvent, clockNow: number): void {
    const at = this.now();
    this.events.push(
      event.type === "heartbeat" ? { ...event, at, sentAt: at - (clockNow - event.sentAt) } : { ...event, at },
    );
  }

  /** Only the first time counts: a machine may die long after a consumer on it was given up. */
  died(instance: number): void {
    if (!this.deaths.has(instance)) this.deaths.set(instance, this.now());
  }

  /** Begins a commit; the answer ends it. */
  commit(group: string, key: number, offset: number): (type: CommitRecord["type"], repeated: boolean) => void {
    const record: CommitRecord = { group, key, offset, from: this.now(), to: Number.POSITIVE_INFINITY, type: "info" };
    this.commits.push(record);
    return (type, repeated) => {
      record.type = type;
      if (type === "ok" && !repeated) record.to = this.now();
    };
  }

  /** A look at a committed offset that took so long until now. */
  fetched(group: string, key: number, offset: number, tookMs: number): void {
    const to = this.now();
    this.fetches.push({ group, key, offset, from: to - tookMs, to });
  }

  process(group: string, key: number, offset: number): void {
    let keys = this.processed.get(group);
    if (keys === undefined) this.processed.set(group, (keys = new Map()));
    let offsets = keys.get(key);
    if (offsets === undefined) keys.set(key, (offsets = new Set()));
    offsets.add(offset);
  }

  hasProcessed(group: string, key: number, offset: number): boolean {
    return this.processed.get(group)?.get(key)?.has(offset) === true;
  }

  get groups(): string[] {
    return [...new Set([...this.events.map(({ group }) => group), ...this.commits.map(({ group }) => group)])];
  }

  /** Everything that is wrong, a line each. */
  judge(): string[] {
    return this.groups
      .flatMap((group) => {
        const events = this.events.filter((event) => event.group === group);
        return [...doubleOwners(group, events, this.deaths), ...generations(group, events)];
      })
      .concat(wrongOffsets(this.commits, this.fetches));
  }
}

/** No two members own a partition at the same time. */
const doubleOwners = (group: string, events: ReadonlyArray<Timed>, deaths: ReadonlyMap<number, number>): string[] => {
  const owned: Ownership[] = [];
  for (const [instance, own] of Map.groupBy(events, (event) => event.instance)) {
    const open = new Map<string, Ownership>();
    let sessionEnd = Number.NEGATIVE_INFINITY;
    /** Where the session ended that was over when a heartbeat was answered that may have been answered blindly. */
    let doubtedEnd: number | undefined;
    const death = deaths.get(instance) ?? Number.POSITIVE_INFINITY;
    const close = (name: string, at: number): void => {
      const ownership = open.get(name);
      if (ownership === undefined) return;
      ownership.to = Math.min(at, death, Math.max(ownership.from, doubtedEnd ?? sessionEnd));
      open.delete(name);
    };
    for (const event of own) {
      // Whoever comes back after its session has owned nothing in between.
      if (event.at > sessionEnd)
        for (const name of [...open.keys()]) if (event.type !== "heartbeat") close(name, sessionEnd);
      if (event.type === "heartbeat") {
        if (!event.isBlind) doubtedEnd = undefined;
        else if (event.sentAt > sessionEnd && sessionEnd >= 0) doubtedEnd ??= sessionEnd;
        sessionEnd = Math.max(sessionEnd, event.sentAt + event.sessionTimeoutMs);
      } else if (event.type === "joined" || event.type === "synced") doubtedEnd = undefined;
      else if (event.type === "owned") {
        for (const partition of event.partitions) {
          const ownership = { who: instance, partition: partitionName(partition), from: event.at, to: event.at };
          open.set(ownership.partition, ownership);
          owned.push(ownership);
        }
      } else if (event.type === "released" || event.type === "lost") {
        for (const partition of event.partitions) close(partitionName(partition), event.at);
      }
    }
    for (const name of [...open.keys()]) close(name, sessionEnd);
  }
  const found: string[] = [];
  for (const [partition, ofPartition] of Map.groupBy(owned, (ownership) => ownership.partition)) {
    // Who learns what it owns when its session is over has never owned it.
    const real = ofPartition.filter(({ from, to }) => to > from);
    const sorted = real.toSorted((left, right) => left.from - right.from);
    let last: Ownership | undefined;
    for (const next of sorted) {
      if (last !== undefined && last.who !== next.who && next.from < last.to)
        found.push(
          `two owners: ${partition} of ${group}: member ${last.who} until ${last.to}, member ${next.who} from ${next.from}`,
        );
      if (last === undefined || next.to > last.to) last = next;
    }
  }
  return found;
};

const same = (left: ReadonlyArray<TopicPartition>, right: ReadonlyArray<TopicPartition>): boolean =>
  left.map(partitionName).sort().join() === right.map(partitionName).sort().join();

/**
 * Of the classic protocol: generations go up, each has one leader, and everybody gets what that one has decided. Counts
 * only what was synced: a generation that nobody was given an assignment in is not kept, and a crash may begin it again.
 */
const generations = (group: string, events: ReadonlyArray<Timed>): string[] => {
  const found: string[] = [];
  const joined = new Map<string, string>();
  const leaders = new Map<number, string>();
  const assigned = new Map<string, Extract<Timed, { type: "assigned" }>>();
  const reached = new Map<string, number>();
  for (const event of events) {
    const { type, memberId, generation } = event;
    if (type === "joined") joined.set(`${memberId} ${generation}`, event.leader);
    else if (type === "assigned") assigned.set(`${memberId} ${generation}`, event);
    else if (type === "synced") {
      const leader = joined.get(`${memberId} ${generation}`);
      // A group of the other protocol, which may take classic members in, has no leader; when it is empty, a classic one
      // may take its place and begins to count anew.
      if (leader === undefined || leader === "") {
        leaders.clear();
        continue;
      }
      const known = leaders.get(generation);
      if (known !== undefined && known !== leader)
        found.push(`G4: generation ${generation} of ${group} is led by ${known} and by ${leader}`);
      leaders.set(generation, leader);
      const before = reached.get(memberId) ?? -1;
      if (generation < before)
        found.push(`G1: ${memberId} of ${group} went from generation ${before} to ${generation}`);
      reached.set(memberId, generation);
      const expected = assigned.get(`${leader} ${generation}`)?.assignment.get(memberId);
      if (expected !== undefined && !same(expected, event.partitions))
        found.push(`G3: ${memberId} of ${group} was given something else than its leader decided`);
    }
  }
  return found;
};

/** A fetch answers a commit that may be the last one at that time: none that an acknowledged later one has replaced. */
const wrongOffsets = (commits: ReadonlyArray<CommitRecord>, fetches: ReadonlyArray<FetchRecord>): string[] => {
  const found: string[] = [];
  const byPlace = Map.groupBy(commits, ({ group, key }) => `${group} ${key}`);
  for (const { group, key, offset, from, to } of fetches) {
    const own = byPlace.get(`${group} ${key}`) ?? [];
    const replaced = (end: number): boolean =>
      own.some((later) => later.type === "ok" && later.from > end && later.to < from);
    const possible =
      offset < 0
        ? !replaced(Number.NEGATIVE_INFINITY)
        : own.some((one) => one.offset === offset && one.type !== "fail" && one.from <= to && !replaced(one.to));
    if (!possible) {
      const acked = own.filter((one) => one.type === "ok" && one.to < from).map((one) => one.offset);
      found.push(
        `O2: ${group} has ${offset} committed for ${key}; acknowledged were ${acked.slice(-5).join(", ") || "none"}`,
      );
    }
  }
  return found;
};
