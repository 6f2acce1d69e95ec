/**
 * Snapshots of the metadata image in Kafka's `.checkpoint` form: a control batch with the SnapshotHeaderRecord, data
 * batches with the records that make the image from nothing, a control batch with the SnapshotFooterRecord (Kafka's
 * `RecordsSnapshotWriter`, `MetadataImage.write`). What must stay true: the image of a snapshot's records is the image
 * it was taken from, and a snapshot without its footer is no snapshot.
 */
import { ByteWriter } from "../prelude/ByteWriter.ts";
import { invariant } from "../prelude/Invariant.ts";
import type { Timestamp } from "../prelude/Types.ts";
import type { Codecs } from "../record/Compression.ts";
import { controlRecordKey } from "../record/ControlRecord.ts";
import { attributesOf, checkCrc, forEachBatch, isControl, records as recordsOf } from "../record/RecordBatch.ts";
import { buildBatch, type NewRecord } from "../record/RecordBatchBuilder.ts";
import { readInt16 } from "../record/Wire.ts";
import { decodeMetadataBatch } from "./MetadataBatch.ts";
import { applyRecords } from "./MetadataDelta.ts";
import {
  emptyImage,
  METADATA_VERSION_FEATURE,
  type MetadataImage,
  metadataVersion,
  type TopicImage,
} from "./MetadataImage.ts";
import type { SnapshotId } from "./MetadataLog.ts";
import { encodeMetadataRecord, type MetadataRecord, MetadataRecordError } from "./MetadataRecords.ts";

/** Kafka's `ControlRecordType` ids of a snapshot's first and last record. */
const SNAPSHOT_HEADER = 3;
const SNAPSHOT_FOOTER = 4;
/** Records of one data batch are collected up to this many bytes. */
const BATCH_BYTES = 1024 * 1024;

/** The records that make `image` from an empty one; metadata.version first, as Kafka's readers want it. */
export const snapshotRecords = (image: MetadataImage): MetadataRecord[] => {
  invariant(image.transaction === undefined, "no snapshot inside a metadata transaction");
  const records: MetadataRecord[] = [];
  const version = metadataVersion(image);
  if (version > 0) records.push(featureLevel(METADATA_VERSION_FEATURE, version));
  for (const [name, level] of image.features) {
    if (name !== METADATA_VERSION_FEATURE) records.push(featureLevel(name, level));
  }
  for (const broker of image.brokers.values()) records.push({ type: "RegisterBrokerRecord", message: broker });
  for (const topic of image.topicsById.values()) pushTopic(records, topic);
  for (const [key, overrides] of image.configs.entries()) {
    const slash = key.indexOf("/");
    const resourceType = Number(key.slice(0, slash));
    const resourceName = key.slice(slash + 1);
    for (const [name, value] of overrides) {
      records.push({ type: "ConfigRecord", message: { resourceType, resourceName, name, value } });
    }
  }
  if (image.nextProducerId > 0) {
    const message = { brokerId: -1, brokerEpoch: -1, nextProducerId: image.nextProducerId };
    records.push({ type: "ProducerIdsRecord", message });
  }
  for (const message of image.others) records.push({ type: "OtherRecord", message });
  return records;
};

const featureLevel = (name: string, level: number): MetadataRecord => ({
  type: "FeatureLevelRecord",
  message: { name, featureLevel: level },
});

const pushTopic = (records: MetadataRecord[], topic: TopicImage): void => {
  records.push({ type: "TopicRecord", message: { name: topic.name, topicId: topic.id } });
  topic.partitions.forEach((partition, partitionId) => {
    records.push({
      type: "PartitionRecord",
      message: {
        partitionId,
        topicId: topic.id,
        replicas: [...partition.replicas],
        isr: [...partition.isr],
        removingReplicas: [...partition.removingReplicas],
        addingReplicas: [...partition.addingReplicas],
        leader: partition.leader,
        leaderRecoveryState: partition.leaderRecoveryState,
        leaderEpoch: partition.leaderEpoch,
        partitionEpoch: partition.partitionEpoch,
        directories: [...partition.directories],
        eligibleLeaderReplicas: partition.elr.length === 0 ? null : [...partition.elr],
        lastKnownElr: partition.lastKnownElr.length === 0 ? null : [...partition.lastKnownElr],
      },
    });
  });
};

/** Where a snapshot of this image stands in the log. */
export const snapshotId = (image: MetadataImage): SnapshotId => ({
  endOffset: image.provenance.lastContainedOffset + 1,
  epoch: image.provenance.lastContainedEpoch,
});

/** Kafka's file name: end offset and epoch, in 20 and 10 digits. */
export const snapshotFileName = (id: SnapshotId): string =>
  `${String(id.endOffset).padStart(20, "0")}-${String(id.epoch).padStart(10, "0")}.checkpoint`;

/** The id in a snapshot's file name, or undefined when the name is no snapshot's. */
export const parseSnapshotFileName = (name: string): SnapshotId | undefined => {
  const match = /^(\d{20})-(\d{10})\.checkpoint$/.exec(name);
  return match === null ? undefined : { endOffset: Number(match[1]), epoch: Number(match[2]) };
};

/** The whole `.checkpoint` file. `now` stamps its batches, `lastLogTimestamp` is that of the last record it stands for. */
export const encodeSnapshot = (image: MetadataImage, now: Timestamp, lastLogTimestamp: Timestamp): Uint8Array => {
  const file = new ByteWriter(64 * 1024);
  const leaderEpoch = image.provenance.lastContainedEpoch;
  let baseOffset = 0;
  const put = (records: NewRecord[], control: boolean): void => {
    file.raw(buildBatch(records, { baseOffset, leaderEpoch, timestamp: now, control }));
    baseOffset += records.length;
  };
  put([{ key: controlRecordKey(SNAPSHOT_HEADER), value: headerValue(lastLogTimestamp) }], true);
  let pending: NewRecord[] = [];
  let pendingBytes = 0;
  for (const record of snapshotRecords(image)) {
    const value = encodeMetadataRecord(record);
    pending.push({ value });
    pendingBytes += value.length;
    if (pendingBytes < BATCH_BYTES) continue;
    put(pending, false);
    pending = [];
    pendingBytes = 0;
  }
  if (pending.length > 0) put(pending, false);
  put([{ key: controlRecordKey(SNAPSHOT_FOOTER), value: footerValue() }], true);
  return file.toBytes();
};

/** SnapshotHeaderRecord, version 0. */
const headerValue = (lastLogTimestamp: Timestamp): Uint8Array => {
  const writer = new ByteWriter(16);
  writer.int16(0);
  writer.int64(lastLogTimestamp);
  writer.uvarint(0);
  return writer.toBytes();
};

/** SnapshotFooterRecord, version 0. */
const footerValue = (): Uint8Array => {
  const writer = new ByteWriter(4);
  writer.int16(0);
  writer.uvarint(0);
  return writer.toBytes();
};

/** The records of a `.checkpoint` file. Throws `MetadataRecordError` when it is damaged or not whole. */
export const decodeSnapshot = (bytes: Uint8Array, codecs: Codecs): MetadataRecord[] => {
  const decoded: MetadataRecord[] = [];
  let started = false;
  let ended = false;
  const scan = forEachBatch(bytes, 0, bytes.length, (start) => {
    if (!checkCrc(bytes, start)) throw new MetadataRecordError(`A batch of the snapshot is damaged at byte ${start}`);
    const control = snapshotControl(bytes, start, codecs);
    if (!started && control !== SNAPSHOT_HEADER) {
      throw new MetadataRecordError("The snapshot does not begin with its header");
    }
    started = true;
    ended = control === SNAPSHOT_FOOTER;
    decoded.push(...decodeMetadataBatch(bytes, start, codecs));
    return !ended;
  });
  if (!ended) throw new MetadataRecordError(`The snapshot has no end (${scan.stop} at byte ${scan.position})`);
  return decoded;
};

/** The type of the first control record of a control batch, or undefined of a data batch. */
const snapshotControl = (bytes: Uint8Array, start: number, codecs: Codecs): number | undefined => {
  if (!isControl(attributesOf(bytes, start))) return undefined;
  for (const { key } of recordsOf(bytes, start, codecs)) {
    return key === null || key.length < 4 ? undefined : readInt16(key, 2);
  }
  return undefined;
};

/** The image a snapshot stands for. */
export const loadSnapshot = (clusterId: string, id: SnapshotId, bytes: Uint8Array, codecs: Codecs): MetadataImage =>
  applyRecords(emptyImage(clusterId), decodeSnapshot(bytes, codecs), id.endOffset, id.epoch);
