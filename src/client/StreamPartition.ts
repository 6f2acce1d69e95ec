/**
 * One partition of a stream as the client sees it: how far records were received, handed out and finished. What must
 * stay true: finished ≤ handed ≤ received along the log; `received` is where a new connection goes on, `handed` what an
 * application saves, `finished` what may be committed for it.
 */
import type { From, Position, TopicPartition } from "../gateway/Messages.ts";
import type { Delivery } from "./Delivery.ts";

export interface Place {
  readonly offset: number;
  /** -1: unknown. */
  readonly leaderEpoch: number;
}

/** Somebody who waits for a seek to be confirmed. */
export interface SeekWaiter {
  resolve(): void;
  reject(error: unknown): void;
}

export const partitionKey = (topic: string, partition: number): string => `${partition} ${topic}`;

export class StreamPartition implements TopicPartition {
  readonly key: string;
  topicId = "";
  received: Place = { offset: -1, leaderEpoch: -1 };
  handed: Place = this.received;
  finished: Place = this.received;
  /** As far as this client has committed it (or found it committed); -1: not at all. */
  committed = -1;
  /** Where it is to begin, not yet confirmed by the server: what comes meanwhile is of the old place. */
  origin: From | undefined;
  /** Changes whenever `origin` does: tells which answer is the one waited for. */
  originVersion = 0;
  seeks: SeekWaiter[] = [];
  /** Changes when what was received and not handed out is void. */
  version = 0;
  /** Deliveries that came and are not exhausted, in order; the first may be in the application's hands. */
  readonly queued: Delivery[] = [];
  /** Those that wait for `onAssigned`; undefined when nothing has to. */
  hold: Delivery[] | undefined;
  /** A record or batch was handed out and is not finished. */
  busy = false;
  /** Told that it can not go on: nothing more is said until it was moved. */
  stopped = false;
  /** Asked back by the group. */
  revoking = false;
  /** The server knows on this connection that it is ours. */
  confirmed = false;
  highWatermark = -1;
  lastStableOffset = -1;
  logStartOffset = -1;

  constructor(
    readonly topic: string,
    readonly partition: number,
    origin: From | undefined,
  ) {
    this.key = partitionKey(topic, partition);
    this.moveTo(origin);
  }

  get name(): string {
    return `${this.topic}-${this.partition}`;
  }

  moveTo(origin: From | undefined): void {
    this.origin = origin;
    this.originVersion += 1;
    this.stopped = false;
  }

  /** The server has confirmed where it begins. */
  beginsAt(position: Position): void {
    this.origin = undefined;
    this.topicId = position.topicId;
    this.goOnAt({ offset: position.offset, leaderEpoch: position.leaderEpoch });
  }

  /** Nothing lies between what was received so far and `place`. */
  goOnAt(place: Place): void {
    this.received = place;
    const last = this.queued.at(-1);
    if (last !== undefined) last.next = place;
    else this.passTo(place);
  }

  /** Everything before `place` was handed out and finished, or there was nothing to hand out. */
  passTo(place: Place): void {
    this.handed = place;
    this.finished = place;
  }

  /** What was handed out is finished. */
  finish(): void {
    this.busy = false;
    this.finished = this.handed;
  }

  /** Where the application is in it, or is to begin; undefined while only the server could say. */
  get place(): Position | undefined {
    const { origin, handed } = this;
    if (origin === undefined) return handed.offset < 0 ? undefined : this.position(handed);
    return typeof origin === "object" && "topicId" in origin ? origin : undefined;
  }

  /** With the topic's id, as the server takes it. */
  position(place: Place): Position {
    return { offset: place.offset, leaderEpoch: place.leaderEpoch, topicId: this.topicId };
  }
}
