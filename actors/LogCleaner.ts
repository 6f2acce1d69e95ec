/**
 * The log cleaner: one compaction at a time, the dirtiest log first. The work on bytes is another thread's where there is
 * one, so that clients do not notice; here chunks are read and written. What must stay true: a log changes only in its
 * partition's actor; a crash at any moment leaves a group of segments as it was or as it became (C9); what cannot be
 * cleaned is told once and left alone.
 */
import type { BrokerConfig } from "../src/config/BrokerConfig.ts";
import type { TopicConfig } from "../src/config/TopicConfig.ts";
import type { LastBatch } from "../src/log/BatchCleaner.ts";
import { partitionDirectory } from "../src/log/Checkpoints.ts";
import { CleaningPass, type CleaningWork, type PassStart } from "../src/log/CleaningPass.ts";
import {
  buildOffsetMap,
  type Cleanable,
  cleanableOf,
  cleanGroup,
  describeCleaned,
  groupSegments,
  type Pace,
  removeLeftovers,
} from "../src/log/LogCleaner.ts";
import type { LogSegment } from "../src/log/LogSegment.ts";
import { BYTES_PER_KEY } from "../src/log/OffsetMap.ts";
import type { UnifiedLog } from "../src/log/UnifiedLog.ts";
import type { PartitionView } from "../src/partition/PartitionView.ts";
import type { Clock } from "../src/platform/Clock.ts";
import { type Disk, DiskError } from "../src/platform/Disk.ts";
import type { Random } from "../src/platform/Random.ts";
import type { MaybePending, Offset, ProducerId } from "../src/prelude/Types.ts";
import type { Codecs } from "../src/record/Compression.ts";
import type { LogDirectory } from "./LogDirectory.ts";
import type { Partition } from "./Partition.ts";

export interface LogCleanerEnvironment {
  readonly clock: Clock;
  readonly random: Random;
  readonly disk: Disk;
  readonly codecs: Codecs;
  /** Another thread for the work on bytes; without one it is done here, a little at a time. */
  readonly cleaningWork: (() => CleaningWork) | undefined;
  readonly config: () => BrokerConfig;
  readonly directory: Pick<LogDirectory, "cleanedOffsetOf" | "noteCleaned">;
  /** Every hosted partition with records whose topic is compacted. */
  readonly maintained: (
    wanted: (config: TopicConfig) => boolean,
  ) => AsyncIterable<{ readonly partition: Partition; readonly config: TopicConfig }>;
  /** Removes the files of segments that are out of the log, after their delay. */
  readonly removeLater: (segments: ReadonlyArray<LogSegment>, delayMs: number) => void;
  readonly log: (level: "info" | "warn" | "error", message: string) => void;
}

/** Work in one go: half of what the event loop may be held up, because one more batch may follow. */
const SLICE_MS = 2;
/** And where the clock stands still (a simulation), so many bytes. */
const SLICE_BYTES = 4 * 1024 * 1024;
/** What one batch may decompress to, as for a produced one. */
const MIN_DECOMPRESSED_LIMIT = 32 * 1024 * 1024;

interface Job {
  readonly partition: Partition;
  readonly config: TopicConfig;
  readonly view: PartitionView;
  readonly cleanable: Cleanable;
}

/** The broker stops, or the log is no longer what it was: the work is given up and nothing is wrong. */
class GivenUp extends Error {}

export class LogCleaner {
  private cancel: (() => void) | undefined;
  private stopped = false;
  private readonly uncleanable = new Set<string>();

  constructor(private readonly environment: LogCleanerEnvironment) {
    this.arm();
  }

  stop(): void {
    this.stopped = true;
    this.cancel?.();
  }

  private arm(): void {
    if (this.stopped) return;
    const { clock, config, log } = this.environment;
    this.cancel = clock.after(config().number("log.cleaner.backoff.ms"), () => {
      void this.cleanAll()
        .catch((error: unknown) => log("error", `the log cleaner failed: ${String(error)}`))
        .then(() => this.arm());
    });
  }

  /** Cleans until no log is dirty enough. */
  async cleanAll(): Promise<void> {
    for (;;) {
      const job = this.stopped ? undefined : await this.dirtiest();
      if (job === undefined || !(await this.run(job))) return;
    }
  }

  private async dirtiest(): Promise<Job | undefined> {
    const { clock, directory, maintained } = this.environment;
    let best: Job | undefined;
    for await (const { partition, config } of maintained((each) => each.compacted)) {
      const { view } = partition;
      if (this.stopped) return undefined;
      if (view === undefined || this.uncleanable.has(uncleanableKey(partition))) continue;
      const cleanable = await cleanableOf(
        view.log,
        {
          logStartOffset: view.logStartOffset,
          lastStableOffset: view.lastStableOffset,
          flushedOffset: partition.recoveryPoint,
          cleanedOffset: directory.cleanedOffsetOf(partition.identity),
        },
        {
          minCleanableRatio: config.number("min.cleanable.dirty.ratio"),
          minLagMs: config.number("min.compaction.lag.ms"),
          maxLagMs: config.number("max.compaction.lag.ms"),
        },
        clock.wall(),
      );
      if (cleanable?.due !== true) continue;
      if (best === undefined || cleanable.ratio > best.cleanable.ratio) best = { partition, config, view, cleanable };
    }
    return best;
  }

  /** False ends the round: something is in the way that time may take away. */
  private async run(job: Job): Promise<boolean> {
    const { partition, view } = job;
    const name = partitionDirectory(partition.identity);
    const { directory, log } = this.environment;
    try {
      const offset = await this.clean(job);
      // Of a partition that is removed nothing is known any more: another may have its name.
      if (partition.view?.log !== view.log) return false;
      await directory.noteCleaned(partition.identity, offset);
      return true;
    } catch (error) {
      if (error instanceof GivenUp) return false;
      if (error instanceof DiskError) {
        log("warn", `${name} was not compacted: ${String(error)}`);
        return false;
      }
      this.uncleanable.add(uncleanableKey(partition));
      log("error", `${name} cannot be compacted: ${String(error)}`);
      return true;
    }
  }

  /** Answers the offset up to which the log is clean now. */
  private async clean(job: Job): Promise<Offset> {
    const { codecs, cleaningWork } = this.environment;
    const work = cleaningWork?.() ?? new CleaningPass(codecs);
    try {
      return await this.cleanWith(work, job);
    } finally {
      work.end();
    }
  }

  private async cleanWith(work: CleaningWork, { partition, config, view, cleanable }: Job): Promise<Offset> {
    const { clock, disk } = this.environment;
    const { log } = view;
    // A segment that an earlier pass left under its swap name has to have its own first: the next would take it away.
    for (const segment of log.segments) if (segment.isSwapped) await this.finishSwap(partition, log, segment);
    removeLeftovers(this.environment.disk, log);
    const pace = this.pace(() => partition.view?.log === log);
    const { firstDirtyOffset, endOffset } = cleanable;
    await work.begin(this.passStart(endOffset - firstDirtyOffset, config));
    const end = await buildOffsetMap(log, firstDirtyOffset, endOffset, work, pace);
    if (end <= firstDirtyOffset) throw new Error("log.cleaner.dedupe.buffer.size is too small for one batch's keys");
    await work.beginCleaning({ now: clock.wall(), deleteRetentionMs: config.number("delete.retention.ms") });
    for (const group of groupSegments(log, end)) {
      const now = partition.view ?? view;
      const live = { producers: lastBatches(now), highWatermark: now.highWatermark };
      const cleaned = await cleanGroup(disk, log, group, live, work, pace);
      const old = group.map(({ segment }) => segment);
      if (cleaned !== undefined) await this.swap(partition, log, old, cleaned, config);
    }
    return end;
  }

  /** As much memory as the dirty part's keys can need, and no more than is allowed. */
  private passStart(records: number, topic: TopicConfig): PassStart {
    const { config, random } = this.environment;
    const loadFactor = config().number("log.cleaner.io.buffer.load.factor");
    const allowed = config().number("log.cleaner.dedupe.buffer.size");
    const needed = (Math.ceil((records + 1) / loadFactor) + 2) * BYTES_PER_KEY;
    return {
      mapBytes: Math.min(allowed, needed),
      loadFactor,
      hashKey: Array.from({ length: 4 }, () => random.below(0x1_0000_0000)),
      maxDecompressedBytes: Math.max(MIN_DECOMPRESSED_LIMIT, 4 * topic.number("max.message.bytes")),
    };
  }

  /**
   * Described, cleaned, then swap, then in place (Kafka's `replaceSegments`): each step's names are durable before the next
   * begins, so that `LogLoader` can tell from the names alone whether to finish or to undo.
   */
  private async swap(
    partition: Partition,
    log: UnifiedLog,
    old: ReadonlyArray<LogSegment>,
    cleaned: LogSegment,
    config: TopicConfig,
  ): Promise<void> {
    const { disk, removeLater } = this.environment;
    const flushNames = (): MaybePending<void> => disk.flushDirectory(log.directory);
    try {
      await describeCleaned(disk, log, old, cleaned);
      cleaned.renameToSwap();
      await flushNames();
    } catch (error) {
      cleaned.discard();
      throw error;
    }
    const swapped = await new Promise<boolean>((resolve) =>
      partition.actor.tell({ kind: "swap", log, old, cleaned, swapped: resolve }),
    );
    if (!swapped) {
      cleaned.discard();
      throw new GivenUp();
    }
    removeLater(old, config.number("file.delete.delay.ms"));
    await this.finishSwap(partition, log, cleaned);
  }

  /** Takes a segment that is in the log under its swap name to its own, once those it was made from are durably gone. */
  private async finishSwap(partition: Partition, log: UnifiedLog, cleaned: LogSegment): Promise<void> {
    const { disk } = this.environment;
    const flushNames = (): MaybePending<void> => disk.flushDirectory(log.directory);
    await flushNames();
    const finished = await new Promise<boolean>((resolve) =>
      partition.actor.tell({ kind: "finishSwap", log, cleaned, finished: resolve }),
    );
    if (!finished) throw new GivenUp();
    await flushNames();
  }

  private pace(wanted: () => boolean): Pace {
    const { clock, config } = this.environment;
    const begun = clock.monotonic();
    let sliceBegan = begun;
    let sliceBytes = 0;
    let allBytes = 0;
    return {
      spent: (bytes) => {
        sliceBytes += bytes;
        allBytes += bytes;
        return sliceBytes >= SLICE_BYTES || clock.monotonic() - sliceBegan >= SLICE_MS;
      },
      rest: async () => {
        const limit = config().number("log.cleaner.io.max.bytes.per.second");
        const ahead = (allBytes / limit) * 1000 - (clock.monotonic() - begun);
        await new Promise<void>((resolve) => void clock.after(Math.max(0, ahead), resolve));
        if (this.stopped || !wanted()) throw new GivenUp();
        sliceBytes = 0;
        sliceBegan = clock.monotonic();
      },
    };
  }
}

const uncleanableKey = ({ identity }: Partition): string => `${identity.topicId}/${identity.partition}`;

const lastBatches = ({ state }: PartitionView): Map<ProducerId, LastBatch> => {
  const last = new Map<ProducerId, LastBatch>();
  for (const { producerId, epoch, batches } of state.producers.entries()) {
    last.set(producerId, { lastOffset: batches.at(-1)?.lastOffset ?? -1, epoch });
  }
  return last;
};
