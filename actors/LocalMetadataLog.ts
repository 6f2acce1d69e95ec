/**
 * The metadata log of a single controller: Kafka's records in the folder `__cluster_metadata-0`, written through a
 * Partition actor like any other log, with snapshots beside it. What must stay true: an append is one batch, so that a
 * torn tail keeps all or none of its records; an append is answered when it is durable, in the order of appends; the
 * epoch is above every epoch found in the log.
 */

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
import type { Clock } from "../src/platform/Clock.ts";
import type { Disk } from "../src/platform/Disk.ts";
import type { LeaderEpoch, Offset, Uuid } from "../src/prelude/Types.ts";
import { isPending } from "../src/prelude/Types.ts";
import { Errors, errorName } from "../src/protocol/Errors.ts";
import type { Codecs } from "../src/record/Compression.ts";
import { forEachBatch, lastOffsetOf, leaderEpochOf, readBatchInfo } from "../src/record/RecordBatch.ts";
import type { ActorContext } from "./Actor.ts";
import { RESERVE } from "./FreeSpace.ts";
import type { LogDirectory } from "./LogDirectory.ts";
import { type LoadedLog, Partition } from "./Partition.ts";

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
  /** Records appended since the newest snapshot after which another one is taken. */
  readonly snapshotBytes: number;
}

/** Opens the log, replays it on top of its newest snapshot, and begins a new epoch. */
export const openMetadataLog = async (
  context: ActorContext,
  services: MetadataLogServices,
): Promise<OpenedMetadataLog> => {
  const { disk, codecs, directory, nodeId } = services;
  const folder = `${directory.path}/${METADATA_FOLDER}`;
  const opening = directory.openFolder(METADATA_FOLDER, TOPIC_ID, DEFAULT_LOG_CONFIG);
  const opened = isPending(opening) ? await opening : opening;
  const newest = newestSnapshot(context, disk, folder, directory.clusterId, codecs);
  const image = await replay(opened, newest?.image ?? emptyImage(directory.clusterId), codecs);
  const epoch = opened.state.leaderEpochs.latestEpoch + 1;
  const role = { leaderEpoch: epoch, isLeader: true, isrSize: 1, replicaCount: 1, minInSyncReplicas: 1 };
  const settings = { policy: "ack", flushMessages: Number.MAX_SAFE_INTEGER, flushMs: Number.MAX_SAFE_INTEGER } as const;
  const identity = { topic: CLUSTER_METADATA_TOPIC, topicId: TOPIC_ID, partition: 0, nodeId };
  const partition = new Partition(identity, opened, role, settings, opened.durableOffset, {
    ...context,
    reopen: (broken, keepBelow) => directory.reopen(broken, keepBelow),
    dirty: (log) => directory.flusher.tell(log),
    space: RESERVE,
    published: () => undefined,
    wentOffline: (_identity, why) => context.log("error", `the metadata log is offline: ${why}`),
  });
  const log = new LocalMetadataLog(
    partition,
    folder,
    epoch,
    opened.state.logEndOffset,
    disk,
    context.clock,
    newest,
    services.snapshotBytes,
  );
  return { log, partition, image };
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

const replay = async ({ log, state }: LoadedLog, from: MetadataImage, codecs: Codecs): Promise<MetadataImage> => {
  let image = from;
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
    });
    offset = endOffset;
  }
  return image;
};

export class LocalMetadataLog implements MetadataLog {
  private endOffset: Offset;
  private bytesSinceSnapshot = 0;
  private readonly watchers = new Set<(append: MetadataAppend) => void>();

  constructor(
    private readonly partition: Partition,
    readonly directory: string,
    readonly epoch: LeaderEpoch,
    endOffset: Offset,
    private readonly disk: Disk,
    private readonly clock: Clock,
    private snapshot: { readonly id: SnapshotId; readonly bytes: Uint8Array } | undefined,
    private readonly snapshotBytes: number,
  ) {
    this.endOffset = endOffset;
  }

  /** Takes a snapshot of the committed image when enough was appended since the last one. */
  considerSnapshot(image: MetadataImage): void {
    if (this.bytesSinceSnapshot < this.snapshotBytes || image.transaction !== undefined) return;
    this.bytesSinceSnapshot = 0;
    const now = this.clock.wall();
    this.writeSnapshot(snapshotId(image), encodeSnapshot(image, now, now));
  }

  append(
    records: ReadonlyArray<MetadataRecord>,
    expectedEndOffset: Offset,
    epoch: LeaderEpoch,
  ): Promise<AppendOutcome> | AppendOutcome {
    if (epoch !== this.epoch || expectedEndOffset !== this.endOffset) return { kind: "fenced" };
    const baseOffset = this.endOffset;
    this.endOffset += records.length;
    const bytes = encodeMetadataBatch(records, { baseOffset, epoch, timestamp: this.clock.wall() });
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

  writeSnapshot(id: SnapshotId, bytes: Uint8Array): void {
    this.disk.replaceFile(`${this.directory}/${snapshotFileName(id)}`, bytes);
    if (this.snapshot !== undefined && this.snapshot.id.endOffset < id.endOffset) {
      this.disk.remove(`${this.directory}/${snapshotFileName(this.snapshot.id)}`);
    }
    this.snapshot = { id, bytes };
  }
}
