/**
 * One append of the metadata log as bytes: a record batch v2 whose values are framed metadata records, without keys,
 * as Kafka writes `__cluster_metadata`. Control batches (leader change, snapshot header and footer) count in offsets
 * and hold no metadata records.
 */
import type { LeaderEpoch, Offset, Timestamp } from "../prelude/Types.ts";
import type { Codecs } from "../record/Compression.ts";
import { attributesOf, isControl, records as recordsOf } from "../record/RecordBatch.ts";
import { buildBatch } from "../record/RecordBatchBuilder.ts";
import {
  decodeMetadataRecord,
  encodeMetadataRecord,
  type MetadataRecord,
  MetadataRecordError,
} from "./MetadataRecords.ts";

export interface MetadataBatchOptions {
  readonly baseOffset: Offset;
  readonly epoch: LeaderEpoch;
  readonly timestamp: Timestamp;
}

/** `records` (at least one) as one batch, CRC included. */
export const encodeMetadataBatch = (
  records: ReadonlyArray<MetadataRecord>,
  options: MetadataBatchOptions,
): Uint8Array =>
  buildBatch(
    records.map((record) => ({ value: encodeMetadataRecord(record) })),
    { baseOffset: options.baseOffset, leaderEpoch: options.epoch, timestamp: options.timestamp },
  );

/** The metadata records of the batch at `start`; none of a control batch. Throws `MetadataRecordError`. */
export const decodeMetadataBatch = (bytes: Uint8Array, start: number, codecs: Codecs): MetadataRecord[] => {
  if (isControl(attributesOf(bytes, start))) return [];
  const decoded: MetadataRecord[] = [];
  for (const { value, offset } of recordsOf(bytes, start, codecs)) {
    if (value === null) throw new MetadataRecordError(`The record at offset ${offset} of the metadata log is empty`);
    decoded.push(decodeMetadataRecord(value));
  }
  return decoded;
};
