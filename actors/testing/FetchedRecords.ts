/**
 * The records in a Fetch answer as a consumer is shown them. What must stay true: checksums are checked (Kafka's
 * `check.crcs`), control batches and, of aborted transactions, data are never shown, a batch that is cut at the end of
 * the answer is left for the next one.
 */
import type { LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, Timestamp } from "../../src/prelude/Types.ts";
import type { Codecs } from "../../src/record/Compression.ts";
import {
  attributesOf,
  checkCrc,
  forEachBatch,
  isControl,
  isTransactional,
  readBatchInfo,
  records,
} from "../../src/record/RecordBatch.ts";
import { RecordFormatError } from "../../src/record/RecordFormatError.ts";
import type { RecordHeader } from "../../src/record/RecordView.ts";

export interface FetchedRecord {
  readonly offset: Offset;
  readonly timestamp: Timestamp;
  readonly key: Uint8Array | null;
  readonly value: Uint8Array | null;
  readonly headers: ReadonlyArray<RecordHeader>;
  readonly producerId: ProducerId;
  readonly producerEpoch: ProducerEpoch;
  readonly sequence: Sequence;
  readonly leaderEpoch: LeaderEpoch;
  /** Of its batch: codec, timestamp type, transactional. */
  readonly attributes: number;
}

/** A transaction whose data is not to be shown, as the broker lists it. */
export interface AbortedTransaction {
  readonly producerId: ProducerId;
  readonly firstOffset: Offset;
}

export interface FetchedRecords {
  /** From the offset asked for on. */
  readonly records: ReadonlyArray<FetchedRecord>;
  /** Where to go on: behind the last whole batch, or the offset asked for. */
  readonly nextOffset: Offset;
  /** Leader epoch of the last whole batch; -1 when there is none. */
  readonly lastEpoch: LeaderEpoch;
}

/** Throws `RecordFormatError` when a batch's checksum is wrong. */
export const readFetched = (
  bytes: Uint8Array,
  from: Offset,
  aborted: ReadonlyArray<AbortedTransaction>,
  codecs: Codecs,
): FetchedRecords => {
  const list: FetchedRecord[] = [];
  let nextOffset = from;
  let lastEpoch = -1;
  const open = new Set<ProducerId>();
  const starts = aborted.toSorted((left, right) => left.firstOffset - right.firstOffset);
  forEachBatch(bytes, 0, bytes.length, (position) => {
    const info = readBatchInfo(bytes, position);
    if (!checkCrc(bytes, position))
      throw new RecordFormatError(`the batch at offset ${info.baseOffset} has a wrong CRC`);
    nextOffset = Math.max(nextOffset, info.lastOffset + 1);
    lastEpoch = info.leaderEpoch;
    while (starts.length > 0 && starts[0]!.firstOffset <= info.lastOffset) open.add(starts.shift()!.producerId);
    const attributes = attributesOf(bytes, position);
    if (isControl(attributes)) {
      if (info.control?.type === "abort") open.delete(info.producerId);
      return true;
    }
    if (isTransactional(attributes) && open.has(info.producerId)) return true;
    for (const record of records(bytes, position, codecs)) {
      if (record.offset < from) continue;
      list.push({
        offset: record.offset,
        timestamp: record.timestamp,
        key: record.key,
        value: record.value,
        headers: record.headers,
        producerId: info.producerId,
        producerEpoch: info.producerEpoch,
        sequence: info.baseSequence < 0 ? -1 : info.baseSequence + record.offsetDelta,
        leaderEpoch: info.leaderEpoch,
        attributes,
      });
    }
    return true;
  });
  return { records: list, nextOffset, lastEpoch };
};
