/**
 * Which partition a record goes to: Java's hash of the key, so that every client of a topic agrees, or without a key one
 * partition for as long as a batch fills, then another one. What must stay true: equal keys go to equal partitions as
 * long as a topic has as many.
 */
import type { ClientRandom } from "./ClientPlatform.ts";

/** What an application's own partitioner is asked: an integer from 0 to `partitions` − 1. */
export type Partitioner = (record: {
  readonly topic: string;
  readonly key: Uint8Array | null;
  readonly value: Uint8Array | null;
  readonly partitions: number;
}) => number;

/** Records without a key stay with one partition until it has had `stickyBytes`, then go to any other (KIP-794). */
export class StickyPartitions {
  private readonly current = new Map<string, { partition: number; bytes: number }>();

  constructor(
    private readonly random: ClientRandom,
    private readonly stickyBytes: number,
  ) {}

  next(topic: string, count: number, bytes: number): number {
    let sticky = this.current.get(topic);
    if (sticky === undefined || sticky.partition >= count)
      this.current.set(topic, (sticky = { partition: this.random.below(count), bytes: 0 }));
    else if (sticky.bytes >= this.stickyBytes) {
      // Any but the last one, each as likely.
      if (count > 1) sticky.partition = (sticky.partition + 1 + this.random.below(count - 1)) % count;
      sticky.bytes = 0;
    }
    sticky.bytes += bytes;
    return sticky.partition;
  }
}
