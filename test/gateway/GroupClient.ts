/**
 * A group member as an application would be one, on a bare stream: it knows what it owns and where it is, and does what
 * it is asked to unless a test takes that over.
 */
import type { DeliveredRecord, Position, TopicPartition } from "../../src/gateway/Messages.ts";
import type { FrameClient, Pushed } from "./FrameClient.ts";

export interface Assigned extends TopicPartition {
  readonly position: Position;
  readonly committed: boolean;
}

export interface GroupClientOptions {
  readonly memberId: string;
  readonly group?: object;
  readonly from?: "earliest" | "latest" | "none";
  readonly credit?: { readonly records: number; readonly bytes: number };
  /** Whether a revoke is answered by commit and release at once (default true). */
  readonly releases?: boolean;
  /** Sees each record while the partition is owned. */
  readonly onRecord?: (record: DeliveredRecord, place: TopicPartition) => void;
}

export const keyOf = ({ topic, partition }: TopicPartition): string => `${topic}-${partition}`;
const PLENTY = { records: 100_000, bytes: 64 * 1024 * 1024 };

export class GroupClient {
  /** By `topic-partition`: where the application goes on. */
  readonly positions = new Map<string, Assigned>();
  readonly seen: DeliveredRecord[] = [];
  /** Pushes about the membership, in order. */
  readonly events: Pushed[] = [];
  memberEpoch = 0;
  private waiting: Array<() => void> = [];

  constructor(
    readonly client: FrameClient,
    readonly options: GroupClientOptions,
    readonly stream = 1,
  ) {
    client.watch = (frame) => this.hear(frame);
  }

  get owned(): string[] {
    return [...this.positions.keys()].sort();
  }

  open(fields: object = {}): Promise<Readonly<Record<string, unknown>>> {
    const { memberId, group = { topics: ["t"] }, from = "earliest", credit = PLENTY } = this.options;
    return this.client.request("open", {
      stream: this.stream,
      group: { id: "g", memberId, ...group, ...fields },
      from,
      credit,
    });
  }

  /** What a client that comes back says of itself. */
  get resume(): object {
    const owned = [...this.positions.values()].map(({ topic, partition, position }) => ({
      topic,
      partition,
      position,
    }));
    return { memberEpoch: this.memberEpoch, owned };
  }

  commit(): Promise<Readonly<Record<string, unknown>>> {
    const offsets = [...this.positions.values()].map(({ topic, partition, position: { offset } }) => ({
      topic,
      partition,
      offset,
    }));
    return this.client.request("commit", { stream: this.stream, offsets });
  }

  release(partitions: ReadonlyArray<TopicPartition>): void {
    for (const named of partitions) this.positions.delete(keyOf(named));
    this.client.send({ t: "release", stream: this.stream, partitions });
    this.wake();
  }

  async until(holds: () => boolean): Promise<void> {
    while (!holds()) {
      if (this.client.closed !== undefined) throw new Error(`closed: ${this.client.closed.code}`);
      await new Promise<void>((resolve) => this.waiting.push(resolve));
    }
  }

  wake(): void {
    for (const resolve of this.waiting.splice(0)) resolve();
  }

  private hear(frame: Pushed): void {
    switch (frame.t) {
      case "records":
        for (const batch of frame.batches) {
          const owned = this.positions.get(keyOf(batch));
          if (owned === undefined) continue;
          for (const record of batch.records ?? []) {
            this.seen.push(record);
            this.options.onRecord?.(record, batch);
          }
          const [offset, leaderEpoch] = batch.next;
          this.positions.set(keyOf(batch), { ...owned, position: { ...owned.position, offset, leaderEpoch } });
        }
        break;
      case "assigned":
        this.events.push(frame);
        this.memberEpoch = frame.memberEpoch;
        for (const partition of frame.partitions) this.positions.set(keyOf(partition), partition);
        break;
      case "lost":
        this.events.push(frame);
        for (const named of frame.partitions) this.positions.delete(keyOf(named));
        break;
      case "revoke": {
        this.events.push(frame);
        this.memberEpoch = frame.memberEpoch;
        if (this.options.releases !== false) void this.letGo(frame.partitions);
        break;
      }
      case "closed":
        this.events.push(frame);
        break;
    }
    this.wake();
  }

  private async letGo(partitions: ReadonlyArray<TopicPartition>): Promise<void> {
    const offsets = partitions.flatMap((named) => {
      const owned = this.positions.get(keyOf(named));
      return owned === undefined ? [] : [{ ...named, offset: owned.position.offset }];
    });
    for (const named of partitions) this.positions.delete(keyOf(named));
    await this.client.request("commit", { stream: this.stream, offsets }).catch(() => {});
    this.client.send({ t: "release", stream: this.stream, partitions });
    this.wake();
  }
}
