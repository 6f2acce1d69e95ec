/**
 * What a consumer without a group reads: the partitions and places it was given, and every partition of its topics, those
 * included that a topic gets later. What must stay true: a partition that comes later is read from its beginning; a topic
 * that is in trouble keeps no other from being looked at.
 */
import type { PartitionFrom } from "../gateway/Messages.ts";
import { ClientError } from "./ClientError.ts";
import type { ConsumeAssigned } from "./ConsumerOptions.ts";
import type { Session } from "./Session.ts";
import type { Stream } from "./Stream.ts";
import type { TopicCache } from "./TopicCache.ts";

const METADATA_MAX_AGE_MS = 300_000;

export const listOf = (names: string | ReadonlyArray<string>): ReadonlyArray<string> =>
  typeof names === "string" ? [names] : names;

export class AssignedTopics {
  private readonly names: ReadonlyArray<string>;
  private readonly maxAgeMs: number;
  /** How many partitions of each topic were given to the stream: what the application takes away stays away. */
  private readonly given = new Map<string, number>();
  private ended = false;
  private cancelRefresh = (): void => {};

  constructor(
    private readonly session: Session,
    private readonly topics: TopicCache,
    private readonly stream: Stream,
    private readonly options: ConsumeAssigned,
  ) {
    this.names = listOf(options.topics ?? []);
    this.maxAgeMs = options.metadataMaxAgeMs ?? METADATA_MAX_AGE_MS;
  }

  /** Gives the stream its partitions. Rejects when a topic is not there, or there is nothing to read. */
  async begin(): Promise<void> {
    const { partitions = [], position = [], from = "latest" } = this.options;
    for (const { topic, partition, position: at } of position) this.stream.add(topic, partition, at);
    for (const one of partitions) this.stream.add(one.topic, one.partition, one.from);
    for (const topic of this.names) {
      const count = await this.topics.partitionsOf(topic, this.maxAgeMs);
      for (let partition = 0; partition < count; partition++) this.stream.add(topic, partition, from);
      this.given.set(topic, count);
    }
    if (this.stream.partitions.size === 0)
      throw new ClientError("nothing to consume: give topics, partitions or a position");
    if (this.names.length > 0) this.refreshLater();
  }

  end(): void {
    this.ended = true;
    this.cancelRefresh();
  }

  private get isOver(): boolean {
    return this.ended || this.stream.failure !== undefined;
  }

  private refreshLater(): void {
    this.cancelRefresh = this.session.platform.clock.after(this.maxAgeMs, () => {
      if (this.isOver) return;
      for (const topic of this.names) this.refresh(topic).catch((error: unknown) => this.session.report(error));
      this.refreshLater();
    });
  }

  private async refresh(topic: string): Promise<void> {
    const count = await this.topics.partitionsOf(topic, 0);
    if (this.isOver) return;
    const from = "earliest";
    const more: PartitionFrom[] = [];
    for (let partition = this.given.get(topic) ?? 0; partition < count; partition++)
      more.push({ topic, partition, from });
    if (more.length > 0) this.stream.assign(more, []);
    this.given.set(topic, Math.max(count, this.given.get(topic) ?? 0));
  }
}
