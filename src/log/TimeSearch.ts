/**
 * Look-up by time in one log (ListOffsets): the time indexes say from where on, the batches and records say which. What
 * must stay true: the answer is what a scan of every record in the range would give; a search that meets damage has none.
 */
import type { LeaderEpoch, Offset, Position, Timestamp } from "../prelude/Types.ts";
import type { Codecs } from "../record/Compression.ts";
import { baseOffsetOf, lastOffsetOf, leaderEpochOf, maxTimestampOf, records } from "../record/RecordBatch.ts";
import { type BatchVisitor, NEARBY, scanBatches } from "./BatchScan.ts";
import { type LogReader, segmentIndex } from "./LogReader.ts";
import type { LogSegment } from "./LogSegment.ts";

/** The first record at or above a timestamp, or the one with the largest. */
export interface OffsetAndTimestamp {
  readonly offset: Offset;
  readonly timestamp: Timestamp;
  readonly leaderEpoch: LeaderEpoch;
}

export interface SearchedLog {
  readonly segments: ReadonlyArray<LogSegment>;
  readonly reader: LogReader;
}

/** The first record in `[startOffset, upperBound)` whose timestamp is at least `timestamp`; undefined when none is. */
export const offsetForTimestamp = async (
  log: SearchedLog,
  timestamp: Timestamp,
  startOffset: Offset,
  upperBound: Offset,
  codecs: Codecs,
): Promise<OffsetAndTimestamp | undefined> => {
  for (let index = segmentIndex(log.segments, startOffset); index < log.segments.length; index++) {
    const segment = log.segments[index]!;
    if (segment.baseOffset >= upperBound) return undefined;
    segment.acquire();
    try {
      if ((await segment.indexes.largestTimestamp()).timestamp < timestamp) continue;
      const from = await segment.indexes.positionForTimestamp(timestamp);
      const found = await searchTime(log, segment, from, timestamp, startOffset, upperBound, codecs);
      if (found !== undefined) return found;
    } finally {
      segment.release();
    }
  }
  return undefined;
};

const searchTime = async (
  log: SearchedLog,
  segment: LogSegment,
  from: Position,
  timestamp: Timestamp,
  startOffset: Offset,
  upperBound: Offset,
  codecs: Codecs,
): Promise<OffsetAndTimestamp | undefined> => {
  let found: OffsetAndTimestamp | undefined;
  const look: BatchVisitor = (bytes, at) => {
    if (baseOffsetOf(bytes, at) >= upperBound) return false;
    if (maxTimestampOf(bytes, at) < timestamp || lastOffsetOf(bytes, at) < startOffset) return true;
    for (const record of records(bytes, at, codecs)) {
      if (record.timestamp >= timestamp && record.offset >= startOffset) {
        found = { offset: record.offset, timestamp: record.timestamp, leaderEpoch: leaderEpochOf(bytes, at) };
        return false;
      }
    }
    return true;
  };
  const scan = await scanBatches(segment.file, from, segment.readableEnd, look, NEARBY);
  log.reader.assertRead(segment, scan);
  return found;
};

/** The first record with the largest timestamp in `[startOffset, upperBound)` (KIP-734); undefined when it has none. */
export const maxTimestampOffset = async (
  log: SearchedLog,
  startOffset: Offset,
  upperBound: Offset,
  codecs: Codecs,
): Promise<OffsetAndTimestamp | undefined> => {
  let largest = -1;
  for (let index = segmentIndex(log.segments, startOffset); index < log.segments.length; index++) {
    if (log.segments[index]!.baseOffset >= upperBound) break;
    largest = Math.max(largest, (await log.segments[index]!.indexes.largestTimestamp()).timestamp);
  }
  if (largest < 0) return undefined;
  const found = await offsetForTimestamp(log, largest, startOffset, upperBound, codecs);
  // The largest of a segment may lie outside the range: then every batch in it has to be asked.
  return found ?? scanMaxTimestamp(log, startOffset, upperBound, codecs);
};

const scanMaxTimestamp = async (
  log: SearchedLog,
  startOffset: Offset,
  upperBound: Offset,
  codecs: Codecs,
): Promise<OffsetAndTimestamp | undefined> => {
  let best: OffsetAndTimestamp | undefined;
  for (let index = segmentIndex(log.segments, startOffset); index < log.segments.length; index++) {
    const segment = log.segments[index]!;
    if (segment.baseOffset >= upperBound) break;
    segment.acquire();
    try {
      const scan = await scanBatches(segment.file, 0, segment.readableEnd, (bytes, at) => {
        if (baseOffsetOf(bytes, at) >= upperBound) return false;
        if (lastOffsetOf(bytes, at) < startOffset || maxTimestampOf(bytes, at) <= (best?.timestamp ?? -1)) return true;
        for (const { offset, timestamp } of records(bytes, at, codecs)) {
          if (offset >= startOffset && timestamp > (best?.timestamp ?? -1)) {
            best = { offset, timestamp, leaderEpoch: leaderEpochOf(bytes, at) };
          }
        }
        return true;
      });
      log.reader.assertRead(segment, scan);
    } finally {
      segment.release();
    }
  }
  return best;
};
