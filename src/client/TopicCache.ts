/**
 * How many partitions topics have, as last heard. What must stay true: an answer is never older than it was allowed to
 * be, and a question that is under way is not asked twice.
 */
import { Errors } from "../protocol/Errors.ts";
import { KafkaError, wireErrorOf } from "./ClientError.ts";
import type { Session } from "./Session.ts";

interface Known {
  readonly partitions: number;
  readonly at: number;
}

export class TopicCache {
  private readonly known = new Map<string, Known>();
  private readonly asking = new Map<string, Promise<number>>();

  constructor(
    private readonly session: Session,
    private readonly timeoutMs: number,
  ) {}

  /** Rejects with `KafkaError` when there is no such topic. */
  partitionsOf(topic: string, maxAgeMs: number): number | Promise<number> {
    const found = this.known.get(topic);
    if (found !== undefined && this.session.platform.clock.monotonic() - found.at <= maxAgeMs) return found.partitions;
    let asked = this.asking.get(topic);
    if (asked === undefined) {
      asked = this.ask(topic).finally(() => this.asking.delete(topic));
      this.asking.set(topic, asked);
    }
    return asked;
  }

  forget(topic: string): void {
    this.known.delete(topic);
  }

  private async ask(topic: string): Promise<number> {
    const options = { kind: "read", timeoutMs: this.timeoutMs } as const;
    const answer = await this.session.call("topics.describe", { topics: [topic] }, options);
    const described = answer.topics.find(({ name }) => name === topic);
    if (described === undefined || "error" in described) {
      this.known.delete(topic);
      const missing = wireErrorOf(Errors.UNKNOWN_TOPIC_OR_PARTITION, "UNKNOWN_TOPIC_OR_PARTITION", "no such topic");
      throw new KafkaError(described?.error ?? missing, topic);
    }
    const { length } = described.partitions;
    this.known.set(topic, { partitions: length, at: this.session.platform.clock.monotonic() });
    return length;
  }
}
