/**
 * A consumer's side of one incremental fetch session (KIP-227): what is asked for in full at first and as changes later,
 * and what an answer leaves out because nothing changed. What must stay true: after anything that leaves the broker's
 * side in doubt the next request is a full one.
 */
import { ZERO_UUID } from "../../src/prelude/Types.ts";
import type { RequestOf, ResponseOf } from "../../src/protocol/ApiKeys.ts";
import { Errors } from "../../src/protocol/Errors.ts";
import { emptyFetchRequestFetchPartition } from "../../src/protocol/generated/FetchRequest.ts";

export interface WantedPartition {
  readonly topic: string;
  readonly topicId: string;
  readonly partition: number;
  readonly fetchOffset: number;
  readonly currentLeaderEpoch: number;
  readonly lastFetchedEpoch: number;
  readonly partitionMaxBytes: number;
}

type SessionFields = Pick<RequestOf<1>, "sessionId" | "sessionEpoch" | "topics" | "forgottenTopicsData">;

const FINAL_EPOCH = -1;
const INITIAL_EPOCH = 0;
const MAX_EPOCH = 0x7fff_ffff;

const keyOf = ({ topicId, topic, partition }: WantedPartition): string => `${topicId}/${topic}-${partition}`;

const sameWish = (left: WantedPartition, right: WantedPartition): boolean =>
  left.fetchOffset === right.fetchOffset &&
  left.currentLeaderEpoch === right.currentLeaderEpoch &&
  left.lastFetchedEpoch === right.lastFetchedEpoch &&
  left.partitionMaxBytes === right.partitionMaxBytes;

const grouped = (wanted: ReadonlyArray<WantedPartition>, byId: boolean) =>
  [...Map.groupBy(wanted, ({ topic, topicId }) => `${topicId}/${topic}`).values()].map((ofTopic) => ({
    ...(byId ? { topic: "", topicId: ofTopic[0]!.topicId } : { topic: ofTopic[0]!.topic, topicId: ZERO_UUID }),
    ofTopic,
  }));

export class FetchSessionHandler {
  private sessionId = 0;
  private epoch = INITIAL_EPOCH;
  private known = new Map<string, WantedPartition>();

  /** `useSessions` false: every fetch is one of its own. */
  constructor(private readonly useSessions: boolean) {}

  /** Of the next request for exactly these partitions. */
  request(wanted: ReadonlyArray<WantedPartition>, byId: boolean): SessionFields {
    const topicsOf = (partitions: ReadonlyArray<WantedPartition>): SessionFields["topics"] =>
      grouped(partitions, byId).map(({ topic, topicId, ofTopic }) => ({
        topic,
        topicId,
        partitions: ofTopic.map((one) => ({
          ...emptyFetchRequestFetchPartition(),
          partition: one.partition,
          currentLeaderEpoch: one.currentLeaderEpoch,
          fetchOffset: one.fetchOffset,
          lastFetchedEpoch: one.lastFetchedEpoch,
          partitionMaxBytes: one.partitionMaxBytes,
        })),
      }));
    const next = new Map(wanted.map((one) => [keyOf(one), one]));
    if (!this.useSessions || this.epoch === INITIAL_EPOCH) {
      this.known = next;
      return {
        sessionId: this.sessionId,
        sessionEpoch: this.useSessions ? INITIAL_EPOCH : FINAL_EPOCH,
        topics: topicsOf(wanted),
        forgottenTopicsData: [],
      };
    }
    const changed = wanted.filter((one) => {
      const before = this.known.get(keyOf(one));
      return before === undefined || !sameWish(before, one);
    });
    const gone = [...this.known].filter(([key]) => !next.has(key)).map(([, one]) => one);
    this.known = next;
    return {
      sessionId: this.sessionId,
      sessionEpoch: this.epoch,
      topics: topicsOf(changed),
      forgottenTopicsData: grouped(gone, byId).map(({ topic, topicId, ofTopic }) => ({
        topic,
        topicId,
        partitions: ofTopic.map(({ partition }) => partition),
      })),
    };
  }

  /** Takes the answer's session over; false when the session is lost and the next request has to be a full one. */
  answered({ errorCode, sessionId }: ResponseOf<1>): boolean {
    if (!this.useSessions) return errorCode === Errors.NONE;
    if (errorCode !== Errors.NONE) {
      if (errorCode === Errors.FETCH_SESSION_ID_NOT_FOUND) this.sessionId = 0;
      this.epoch = INITIAL_EPOCH;
      return false;
    }
    if (sessionId === 0) this.reset();
    else {
      this.sessionId = sessionId;
      this.epoch = this.epoch === MAX_EPOCH ? 1 : this.epoch + 1;
    }
    return true;
  }

  /** The answer did not come: the broker may or may not have gone on. */
  reset(): void {
    this.epoch = INITIAL_EPOCH;
  }
}
