/**
 * Fetch sessions (KIP-227): what a client asked for last, so that the next request names only changes and the answer
 * only what is new. Owns the cache of sessions, bounded by `max.incremental.fetch.session.cache.slots`. What must stay
 * true (W6): the incremental answers of a session, folded, equal a full fetch at every step; a session belongs to no
 * connection; a wrong epoch changes nothing.
 *
 * Epochs: 0 asks for a new session, -1 for none, n > 0 continues; an id given with 0 or -1 is closed.
 * Eviction (Kafka's `FetchSessionCacheShard`): a session unused for `evictionMs` goes first; else a larger newcomer
 * displaces the smallest session older than that; else the newcomer gets none, which is always legal.
 */
import { buggify } from "../prelude/Buggify.ts";
import type { LeaderEpoch, MonotonicMs, Offset, Uuid } from "../prelude/Types.ts";
import { Errors } from "../protocol/Errors.ts";

/** One partition as the client asked for it. `topic` is "" when the id names none. */
export interface FetchPartition {
  readonly topic: string;
  readonly topicId: Uuid;
  readonly partition: number;
  readonly fetchOffset: Offset;
  readonly maxBytes: number;
  /** -1 when the client does not know. */
  readonly currentLeaderEpoch: LeaderEpoch;
  /** Epoch of the last record the client has; -1 before v12. */
  readonly lastFetchedEpoch: LeaderEpoch;
}

/** What an answer says about a partition, as far as "did anything change" goes. */
export interface AnsweredPartition {
  readonly errorCode: number;
  readonly highWatermark: Offset;
  readonly logStartOffset: Offset;
  readonly hasRecords: boolean;
  readonly diverging: boolean;
}

interface CachedPartition {
  request: FetchPartition;
  highWatermark: Offset;
  logStartOffset: Offset;
}

const partitionKey = (
  usesTopicIds: boolean,
  { topic, topicId, partition }: Pick<FetchPartition, "topic" | "topicId" | "partition">,
): string => `${usesTopicIds ? topicId : topic}:${partition}`;

export class FetchSession {
  /** In the order in which partitions are served: those that returned records move to the end. */
  private readonly partitions = new Map<string, CachedPartition>();
  epoch = 1;
  lastUsed: MonotonicMs;

  constructor(
    readonly id: number,
    readonly usesTopicIds: boolean,
    readonly createdAt: MonotonicMs,
  ) {
    this.lastUsed = createdAt;
  }

  get size(): number {
    return this.partitions.size;
  }

  requested(): FetchPartition[] {
    return Array.from(this.partitions.values(), (cached) => cached.request);
  }

  /** Applies an incremental request: new and changed partitions, then the forgotten ones. */
  update(
    changed: ReadonlyArray<FetchPartition>,
    forgotten: ReadonlyArray<Pick<FetchPartition, "topic" | "topicId" | "partition">>,
  ): void {
    for (const request of changed) {
      const key = partitionKey(this.usesTopicIds, request);
      const cached = this.partitions.get(key);
      if (cached === undefined) this.partitions.set(key, { request, highWatermark: -1, logStartOffset: -1 });
      else cached.request = request;
    }
    for (const request of forgotten) this.partitions.delete(partitionKey(this.usesTopicIds, request));
  }

  /** Says whether an incremental answer must name the partition, and remembers what the client then knows. */
  mustAnswer(request: FetchPartition, answer: AnsweredPartition): boolean {
    const key = partitionKey(this.usesTopicIds, request);
    const cached = this.partitions.get(key);
    if (cached === undefined) return true;
    const changed =
      answer.hasRecords ||
      answer.diverging ||
      cached.highWatermark !== answer.highWatermark ||
      cached.logStartOffset !== answer.logStartOffset;
    cached.highWatermark = answer.highWatermark;
    cached.logStartOffset = answer.logStartOffset;
    if (answer.hasRecords) {
      this.partitions.delete(key);
      this.partitions.set(key, cached);
    }
    if (answer.errorCode === Errors.NONE) return changed;
    // A partition in error is repeated in every answer, and told anew when the error has gone.
    cached.highWatermark = -1;
    return true;
  }
}

/** What a request's session fields ask for. */
export type SessionChoice =
  | { readonly kind: "error"; readonly error: number }
  | { readonly kind: "sessionless" }
  /** A session is made with the answer, when there is room. */
  | { readonly kind: "full" }
  | { readonly kind: "incremental"; readonly session: FetchSession };

export class FetchSessions {
  private readonly sessions = new Map<number, FetchSession>();

  constructor(
    private readonly slots: number,
    private readonly evictionMs: number,
    private readonly now: () => MonotonicMs,
    private readonly randomBelow: (bound: number) => number,
  ) {}

  get size(): number {
    return this.sessions.size;
  }

  choose(
    sessionId: number,
    epoch: number,
    usesTopicIds: boolean,
    changed: ReadonlyArray<FetchPartition>,
    forgotten: ReadonlyArray<Pick<FetchPartition, "topic" | "topicId" | "partition">>,
  ): SessionChoice {
    if (epoch === 0 || epoch === -1) {
      this.sessions.delete(sessionId);
      return { kind: epoch === 0 ? "full" : "sessionless" };
    }
    if (buggify("a fetch session is evicted", 0.3)) this.sessions.delete(sessionId);
    const session = this.sessions.get(sessionId);
    if (session === undefined) return { kind: "error", error: Errors.FETCH_SESSION_ID_NOT_FOUND };
    if (session.epoch !== epoch) return { kind: "error", error: Errors.INVALID_FETCH_SESSION_EPOCH };
    if (session.usesTopicIds !== usesTopicIds) return { kind: "error", error: Errors.FETCH_SESSION_TOPIC_ID_ERROR };
    session.update(changed, forgotten);
    if (session.size === 0) {
      this.sessions.delete(sessionId);
      return { kind: "sessionless" };
    }
    this.touch(session);
    session.epoch = session.epoch === 0x7fff_ffff ? 1 : session.epoch + 1;
    return { kind: "incremental", session };
  }

  /** The session for a full request's answer, or undefined when there is no room for it. */
  create(usesTopicIds: boolean, partitions: ReadonlyArray<FetchPartition>): FetchSession | undefined {
    if (partitions.length === 0 || !this.makeRoom(partitions.length)) return undefined;
    let id = 0;
    while (id === 0 || this.sessions.has(id)) id = this.randomBelow(0x7fff_ffff);
    const session = new FetchSession(id, usesTopicIds, this.now());
    session.update(partitions, []);
    this.sessions.set(id, session);
    return session;
  }

  /** The map's order is the order of last use. */
  private touch(session: FetchSession): void {
    session.lastUsed = this.now();
    this.sessions.delete(session.id);
    this.sessions.set(session.id, session);
  }

  private makeRoom(size: number): boolean {
    if (this.sessions.size < this.slots) return true;
    const now = this.now();
    const oldest = this.sessions.values().next().value;
    if (oldest === undefined) return false;
    if (now - oldest.lastUsed > this.evictionMs) return this.sessions.delete(oldest.id);
    let smallest: FetchSession | undefined;
    for (const session of this.sessions.values()) {
      if (now - session.createdAt <= this.evictionMs) continue;
      if (smallest === undefined || session.size < smallest.size) smallest = session;
    }
    return smallest !== undefined && smallest.size <= size && this.sessions.delete(smallest.id);
  }
}
