/**
 * The log directory's housekeeping, on timers: checkpoint files, and retention. What must stay true: an idle broker
 * writes nothing; a checkpoint never holds a recovery point above what was flushed; a segment's files go only after the
 * log start behind it is durable, and each partition's own actor takes them out of its log.
 */
import type { BrokerConfig } from "../src/config/BrokerConfig.ts";
import type { TopicConfig } from "../src/config/TopicConfig.ts";
import { partitionDirectory } from "../src/log/Checkpoints.ts";
import type { LogSegment } from "../src/log/LogSegment.ts";
import { RetentionScan } from "../src/log/Retention.ts";
import type { PartitionView } from "../src/partition/PartitionView.ts";
import type { Clock } from "../src/platform/Clock.ts";
import type { Offset } from "../src/prelude/Types.ts";
import type { LogDirectory } from "./LogDirectory.ts";
import type { Partition } from "./Partition.ts";

export interface LogMaintenanceEnvironment {
  readonly clock: Clock;
  readonly config: () => BrokerConfig;
  readonly directory: LogDirectory;
  /** Every partition whose log is open. */
  readonly partitions: () => Iterable<Partition>;
  /** Those that retention looks at. */
  readonly maintained: () => AsyncIterable<{ readonly partition: Partition; readonly config: TopicConfig }>;
  readonly log: (level: "info" | "warn" | "error", message: string) => void;
}

/** Partitions looked at before other work gets a turn. */
const SLICE = 64;
/** A reader still has a segment that is to go: looked at again after this. */
const IN_USE_RETRY_MS = 1000;

/** A partition whose log begins behind some of its segments. */
interface Expired {
  readonly partition: Partition;
  readonly config: TopicConfig;
  readonly before: Offset;
  /** Its active segment is one of them. */
  readonly activeToo: boolean;
}

export class LogMaintenance {
  private readonly timers = new Map<string, () => void>();
  private stopped = false;
  private checkpointed = 0;
  /** Sum of all log starts as they were written: none goes back, so that it changes when one moves. */
  private checkpointedStarts = 0;

  constructor(private readonly environment: LogMaintenanceEnvironment) {
    const { config } = environment;
    this.checkpointedStarts = this.logStarts();
    this.every("log.flush.offset.checkpoint.interval.ms", undefined, () => this.checkpoint());
    this.every("log.retention.check.interval.ms", config().number("log.initial.task.delay.ms"), () => this.retain());
  }

  stop(): void {
    this.stopped = true;
    for (const cancel of this.timers.values()) cancel();
    this.timers.clear();
  }

  private every(
    key: "log.flush.offset.checkpoint.interval.ms" | "log.retention.check.interval.ms",
    first: number | undefined,
    task: () => void | Promise<void>,
  ): void {
    const { clock, config, log } = this.environment;
    const arm = (delay: number): void => {
      if (this.stopped) return;
      this.timers.set(
        key,
        clock.after(delay, () => {
          void Promise.resolve(task())
            .catch((error: unknown) => log("error", `log maintenance failed: ${String(error)}`))
            .then(() => arm(config().number(key)));
        }),
      );
    };
    arm(first ?? config().number(key));
  }

  private async checkpoint(): Promise<void> {
    const { rounds } = this.environment.directory.flusherMetrics;
    if (rounds === this.checkpointed && this.logStarts() === this.checkpointedStarts) return;
    await this.writeCheckpoints();
  }

  private logStarts(): number {
    let sum = 0;
    for (const { view } of this.environment.partitions()) sum += view?.logStartOffset ?? 0;
    return sum;
  }

  private async writeCheckpoints(): Promise<boolean> {
    const { directory, partitions, log } = this.environment;
    const { rounds } = directory.flusherMetrics;
    const starts = this.logStarts();
    try {
      await directory.checkpoint(partitions());
      this.checkpointed = rounds;
      this.checkpointedStarts = starts;
      return true;
    } catch (error) {
      // The old files stay: recovery starts earlier, nothing is lost.
      log("warn", `the checkpoints were not written: ${String(error)}`);
      return false;
    }
  }

  /** One round of retention over every partition. */
  async retain(): Promise<void> {
    const { log } = this.environment;
    const expired: Expired[] = [];
    let looked = 0;
    for await (const { partition, config } of this.environment.maintained()) {
      if (this.stopped) return;
      const found = await this.expired(partition, config).catch((error: unknown) => {
        // Of this log alone: the others' records expire all the same.
        log(
          "error",
          `${partitionDirectory(partition.identity)} cannot be looked through by retention: ${String(error)}`,
        );
        return undefined;
      });
      if (found !== undefined) expired.push(found);
      if (++looked % SLICE === 0) await this.pause(0);
    }
    if (expired.length === 0) return;
    await Promise.all(expired.map((each) => this.expire(each)));
    if (this.stopped || !(await this.writeCheckpoints())) return;
    for (const { partition, config, before } of expired) {
      const detached = (segments: LogSegment[]): void => {
        if (segments.length > 0) this.removeLater(segments, config.number("file.delete.delay.ms"));
      };
      partition.actor.tell({ kind: "detach", before, detached });
    }
  }

  /** Where the partition's log may begin, when segments lie below that; undefined: nothing goes. */
  private async expired(partition: Partition, config: TopicConfig): Promise<Expired | undefined> {
    const { view } = partition;
    if (view === undefined) return undefined;
    const scan = new RetentionScan(
      { logStartOffset: view.logStartOffset, highWatermark: view.highWatermark, logSize: view.log.size },
      {
        deletes: config.list("cleanup.policy").includes("delete"),
        retentionMs: config.number("retention.ms"),
        retentionBytes: config.number("retention.bytes"),
      },
      this.environment.clock.wall(),
    );
    if (!(await takeExpired(view, scan))) return undefined;
    return { partition, config, before: scan.logStartOffset, activeToo: scan.takesActive };
  }

  private expire({ partition, before, activeToo }: Expired): Promise<void> {
    return new Promise((moved) => partition.actor.tell({ kind: "expire", before, activeToo, moved }));
  }

  /** The files go when their time has come and no reader has them any more. */
  removeLater(segments: ReadonlyArray<LogSegment>, delayMs: number): void {
    const { clock, log } = this.environment;
    clock.after(delayMs, () => {
      const inUse = segments.filter((segment) => segment.inUse);
      for (const segment of segments) {
        if (segment.inUse) continue;
        try {
          segment.removeFiles();
        } catch (error) {
          log("warn", `${segment.path(".log")} was not removed: ${String(error)}`);
        }
      }
      if (inUse.length > 0 && !this.stopped) this.removeLater(inUse, IN_USE_RETRY_MS);
    });
  }

  private pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.environment.clock.after(ms, resolve);
    });
  }
}

/** Lets the scan take segments of the view's log from the oldest on; answers whether it took any. */
const takeExpired = async ({ log, logEndOffset }: PartitionView, scan: RetentionScan): Promise<boolean> => {
  const { segments } = log;
  for (const [index, segment] of segments.entries()) {
    const next = segments[index + 1];
    segment.acquire();
    try {
      const taken = scan.takes({
        endOffset: next?.baseOffset ?? logEndOffset,
        size: segment.size,
        active: next === undefined,
        largestTimestamp: await segment.age(),
      });
      if (!taken) return index > 0;
    } finally {
      segment.release();
    }
  }
  return segments.length > 0;
};
