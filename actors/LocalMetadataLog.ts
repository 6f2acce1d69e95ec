/**
 * The metadata log of a single controller: Kafka's records in the folder `__cluster_metadata-0`, written through a
 * Partition actor like any other log, with snapshots beside it. What must stay true: an append is one batch, so that a
 * torn tail keeps all or none of its records; an append is answered when it is durable, in the order of appends; the
 * epoch is above every epoch found in the log; of the log only goes what the last but one snapshot stands for, when the
 * last one is durable, so that one snapshot may be damaged and nothing is lost.
 */

import type { BrokerConfig } from "../src/config/BrokerConfig.ts";
import type { LogSegment } from "../src/log/LogSegment.ts";
import { replaceFile } from "../src/log/ReplaceFile.ts";
import { DEFAULT_LOG_CONFIG } from "../src/log/UnifiedLog.ts";
import { decodeMetadataBatch, encodeMetadataBatch } from "../src/metadata/MetadataBatch.ts";
import { applyRecords } from "../src/metadata/MetadataDelta.ts";
import { emptyImage, type MetadataImage } from "../src/metadata/MetadataImage.ts";
import type { AppendOutcome, MetadataAppend, MetadataLog, SnapshotId } from "../src/metadata/MetadataLog.ts";
import type { MetadataRecord } from "../src/metadata/MetadataRecords.ts";
import {
  encodeSnapshot,
  loadSnapshot,
  parseSnapshotFileName,
  snapshotFileName,
  snapshotId,
} from "../src/metadata/MetadataSnapshot.ts";
import { CLUSTER_METADATA_TOPIC } from "../src/metadata/TopicName.ts";
import type { AppendReply } from "../src/partition/Partition.ts";
import { type Disk, DiskError } from "../src/platform/Disk.ts";
import { buggify } from "../src/prelude/Buggify.ts";
import type { LeaderEpoch, Offset, Uuid } from "../src/prelude/Types.ts";
import { isPending } from "../src/prelude/Types.ts";
import { Errors, errorName } from "../src/protocol/Errors.ts";
import type { Codecs } from "../src/record/Compression.ts";
import { batchSize, forEachBatch, lastOffsetOf, leaderEpochOf, readBatchInfo } from "../src/record/RecordBatch.ts";
import type { ActorContext } from "./Actor.ts";
import { RESERVE } from "./FreeSpace.ts";
import type { LogDirectory } from "./LogDirectory.ts";
import { type LoadedLog, Partition } from "./Partition.ts";
import { StartupError } from "./StartupError.ts";

/** Kafka's folder and topic id of the metadata log. */
export const METADATA_FOLDER = `${CLUSTER_METADATA_TOPIC}-0`;
const TOPIC_ID: Uuid = "AAAAAAAAAAAAAAAAAAAAAQ";
const READ_BYTES = 1024 * 1024;

export interface OpenedMetadataLog {
  readonly log: LocalMetadataLog;
  readonly partition: Partition;
  readonly image: MetadataImage;
}

export interface MetadataLogServices {
  readonly disk: Disk;
  readonly codecs: Codecs;
  readonly directory: LogDirectory;
  readonly nodeId: number;
  readonly config: BrokerConfig;
}

/** Opens the log, replays it on top of its newest snapshot, and begins a new epoch. */
export const openMetadataLog = async (
  context: ActorContext,
  services: MetadataLogServices,
): Promise<OpenedMetadataLog> => {
  const { disk, codecs, directory, nodeId, config } = services;
  const folder = `${directory.path}/${METADATA_FOLDER}`;
  const opening = directory.openFolder(METADATA_FOLDER, TOPIC_ID, {
    ...DEFAULT_LOG_CONFIG,
    segmentBytes:
      config.optionalNumber("internal.metadata.log.segment.bytes") ?? config.number("metadata.log.segment.bytes"),
    segmentMs: config.number("metadata.log.segment.ms"),
  });
  const opened = isPending(opening) ? await opening : opening;
  const newest = newestSnapshot(context, disk, folder, directory.clusterId, codecs);
  const begins = opened.log.segments[0]!.baseOffset;
  const covered = newest?.id.endOffset ?? 0;
  if (covered < begins || covered > opened.state.logEndOffset) {
    const snapshot =
      newest === undefined ? "no snapshot can be read" : `the newest snapshot that can be read ends at ${covered}`;
    throw new StartupError(
      `${folder}: the log has offsets ${begins} to ${opened.state.logEndOffset} and ${snapshot}: metadata is missing, nothing was touched`,
    );
  }
  const replayed = await replay(opened, newest?.image ?? emptyImage(directory.clusterId), codecs);
  const epoch = Math.max(opened.state.leaderEpochs.latestEpoch, newest?.id.epoch ?? -1) + 1;
  const role = { leaderEpoch: epoch, isLeader: true, isrSize: 1, replicaCount: 1, minInSyncReplicas: 1 };
  const settings = { policy: "ack", flushMessages: Number.MAX_SAFE_INTEGER, flushMs: Number.MAX_SAFE_INTEGER } as const;
  const identity = { topic: CLUSTER_METADATA_TOPIC, topicId: TOPIC_ID, partition: 0, nodeId };
  const partition = new Partition(identity, opened, role, settings, opened.durableOffset, {
    ...context,
    reopen: (broken, keepBelow, owed) => directory.reopen(broken, keepBelow, owed),
    dirty: (log) => directory.flusher.tell(log),
    space: RESERVE,
    published: () => undefined,
    wentOffline: (_identity, why) => context.log("error", `the metadata log is offline: ${why}`),
  });
  const log = new LocalMetadataLog(partition, folder, epoch, opened.state.logEndOffset, newest, replayed.bytes, {
    ...context,
    disk,
    snapshotBytes: config.number("metadata.log.max.record.bytes.between.snapshots"),
    snapshotMs: config.number("metadata.log.max.snapshot.interval.ms"),
    deleteDelayMs: config.number("internal.metadata.delete.delay.millis"),
  });
  return { log, partition, image: replayed.image };
};

/** The newest snapshot that can be read. A damaged one is passed over: what it stood for is in the log as well. */
const newestSnapshot = (
  context: ActorContext,
  disk: Disk,
  folder: string,
  clusterId: string,
  codecs: Codecs,
): { id: SnapshotId; bytes: Uint8Array; image: MetadataImage } | undefined => {
  for (const name of disk.list(folder).reverse()) {
    const id = parseSnapshotFileName(name);
    const bytes = id === undefined ? undefined : disk.readFile(`${folder}/${name}`);
    if (id === undefined || bytes === undefined) continue;
    try {
      return { id, bytes, image: loadSnapshot(clusterId, id, bytes, codecs) };
    } catch (error) {
      context.log("warn", `${folder}/${name} is damaged and passed over: ${String(error)}`);
    }
  }
  return undefined;
};

const replay = async (
  { log, state }: LoadedLog,
  from: MetadataImage,
  codecs: Codecs,
): Promise<{ readonly image: MetadataImage; readonly bytes: number }> => {
  let image = from;
  let bytes = 0;
  const end = state.logEndOffset;
  for (let offset = image.provenance.lastContainedOffset + 1; offset < end; ) {
    const reading = log.read(offset, READ_BYTES, end, true);
    const { records, endOffset } = isPending(reading) ? await reading : reading;
    if (endOffset <= offset) throw new Error(`the metadata log cannot be read at offset ${offset}`);
    forEachBatch(records, 0, records.length, (start) => {
      const last = lastOffsetOf(records, start);
      if (last < offset) return;
      const decoded = decodeMetadataBatch(records, start, codecs);
      image = applyRecords(image, decoded, last + 1, leaderEpochOf(records, start));
      bytes += batchSize(records, start);
    });
    offset = endOffset;
  }
  return { image, bytes };
};

interface LocalMetadataLogServices extends ActorContext {
  readonly disk: Disk;
  /** Bytes of records, and the time, after which there is another snapshot. */
  readonly snapshotBytes: number;
  readonly snapshotMs: number;
  /** How long files stay that are out of the log. */
  readonly deleteDelayMs: number;
}

/** Longer than a timer can be set to means never. */
const MAX_TIMER_MS = 0x7fff_ffff;

export class LocalMetadataLog implements MetadataLog {
  private endOffset: Offset;
  private readonly watchers = new Set<(append: MetadataAppend) => void>();
  private latest: MetadataImage | undefined;
  /** Ends when the snapshot that is being written is there, or is not. */
  private writing: Promise<void> | undefined;
  private cancelTimer: (() => void) | undefined;
  private stopped = false;

  constructor(
    private readonly partition: Partition,
    readonly directory: string,
    readonly epoch: LeaderEpoch,
    endOffset: Offset,
    /** The newest one that is known to be whole. */
    private snapshot: { readonly id: SnapshotId; readonly bytes: Uint8Array } | undefined,
    private bytesSinceSnapshot: number,
    private readonly services: LocalMetadataLogServices,
  ) {
    this.endOffset = endOffset;
  }

  /** Takes a snapshot of the committed image when enough was appended since the last one, or it is old. */
  considerSnapshot(image: MetadataImage): void {
    this.latest = image;
    const { snapshotBytes, snapshotMs, clock } = this.services;
    const isEarly = this.bytesSinceSnapshot > 0 && buggify("a metadata snapshot is taken early", 0.5);
    if (isEarly || this.bytesSinceSnapshot >= snapshotBytes) return this.takeSnapshot();
    if (this.stopped || this.cancelTimer !== undefined || this.bytesSinceSnapshot === 0) return;
    if (snapshotMs <= 0 || snapshotMs > MAX_TIMER_MS) return;
    this.cancelTimer = clock.after(snapshotMs, () => {
      this.cancelTimer = undefined;
      if (this.bytesSinceSnapshot > 0) this.takeSnapshot();
    });
  }

  /** No more snapshots, and what is being written ends first: the directory may soon be another broker's. */
  async stop(): Promise<void> {
    this.stopped = true;
    this.cancelTimer?.();
    await this.writing;
  }

  private takeSnapshot(): void {
    const image = this.latest;
    // Whatever is in the way passes, and then another append comes.
    if (this.stopped || this.writing !== undefined || image === undefined || image.transaction !== undefined) return;
    const bytes = this.bytesSinceSnapshot;
    const now = this.services.clock.wall();
    this.writing = this.writeSnapshot(snapshotId(image), encodeSnapshot(image, now, now))
      .then(
        () => {
          this.bytesSinceSnapshot -= bytes;
        },
        (error: unknown) => {
          if (!(error instanceof DiskError)) throw error;
          this.services.log("warn", `a snapshot of the metadata was not written: ${String(error)}`);
        },
      )
      .finally(() => {
        this.writing = undefined;
      });
  }

  append(
    records: ReadonlyArray<MetadataRecord>,
    expectedEndOffset: Offset,
    epoch: LeaderEpoch,
  ): Promise<AppendOutcome> | AppendOutcome {
    if (epoch !== this.epoch || expectedEndOffset !== this.endOffset) return { kind: "fenced" };
    const baseOffset = this.endOffset;
    this.endOffset += records.length;
    const bytes = encodeMetadataBatch(records, { baseOffset, epoch, timestamp: this.services.clock.wall() });
    this.bytesSinceSnapshot += bytes.length;
    const relative = { ...readBatchInfo(bytes, 0), baseOffset: 0, lastOffset: records.length - 1 };
    return new Promise((resolve, reject) => {
      const settle = (reply: AppendReply): void => {
        if (reply.error !== Errors.NONE) return reject(new Error(errorName(reply.error)));
        const endOffset = reply.baseOffset + records.length;
        for (const watcher of this.watchers) watcher({ records, baseOffset: reply.baseOffset, endOffset, epoch });
        resolve({ kind: "appended", baseOffset: reply.baseOffset, endOffset });
      };
      const batch = { bytes, info: relative, logAppendTime: -1 };
      this.partition.actor.tell({ kind: "append", command: { batch, acks: -1, settle, applied: () => undefined } });
    });
  }

  /** Only what is appended from now on: whoever starts has read the log before. */
  watch(fromOffset: Offset, listener: (append: MetadataAppend) => void): () => void {
    if (fromOffset < this.endOffset)
      throw new RangeError(`the log ends at ${this.endOffset}, not before ${fromOffset}`);
    this.watchers.add(listener);
    return () => this.watchers.delete(listener);
  }

  latestSnapshot(): { readonly id: SnapshotId; readonly bytes: Uint8Array } | undefined {
    return this.snapshot;
  }

  /** Durable when done; then what the snapshot before this one stands for goes. */
  async writeSnapshot(id: SnapshotId, bytes: Uint8Array): Promise<void> {
    await replaceFile(this.services.disk, `${this.directory}/${snapshotFileName(id)}`, bytes);
    const { snapshot } = this;
    this.snapshot = { id, bytes };
    if (snapshot !== undefined && snapshot.id.endOffset < id.endOffset) this.forgetBefore(snapshot.id);
  }

  /** Snapshots older than this one go, and the log before it; the active segment ends, so that it can go next time. */
  private forgetBefore({ endOffset }: SnapshotId): void {
    const { disk, clock, log, deleteDelayMs } = this.services;
    const remove = (path: string, removal: () => void): void => {
      try {
        removal();
      } catch (error) {
        log("warn", `${path} was not removed: ${String(error)}`);
      }
    };
    for (const name of disk.list(this.directory)) {
      const id = parseSnapshotFileName(name);
      if (id === undefined || id.endOffset >= endOffset) continue;
      remove(name, () => disk.remove(`${this.directory}/${name}`));
    }
    const detached = (segments: ReadonlyArray<LogSegment>): void => {
      if (segments.length === 0) return;
      clock.after(deleteDelayMs, () => {
        // A start removes what is left.
        if (this.stopped) return;
        for (const segment of segments) remove(segment.path(".log"), () => segment.removeFiles());
      });
    };
    const { actor } = this.partition;
    actor.tell({ kind: "roll" });
    actor.tell({
      kind: "expire",
      before: endOffset,
      activeToo: false,
      moved: () => actor.tell({ kind: "detach", before: endOffset, detached }),
    });
  }
}
