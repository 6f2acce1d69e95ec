/**
 * One cleaning of a log as far as it is work on bytes: first the keys of the dirty part go into the map, then chunk after
 * chunk comes back without what is superseded. `CleaningWork` is the same from outside, done here or by a thread: what
 * must stay true is that both do exactly this class's work.
 */
import { invariant } from "../prelude/Invariant.ts";
import type { MaybePending, Offset, ProducerId, Timestamp } from "../prelude/Types.ts";
import type { Codecs } from "../record/Compression.ts";
import { batchSize, checkCrc, readBatchInfo } from "../record/RecordBatch.ts";
import { cleanBatch, indexKeys, type LastBatch } from "./BatchCleaner.ts";
import { CleanedTransactions } from "./CleanedTransactions.ts";
import { KeptBatches } from "./KeptBatches.ts";
import { OffsetMap } from "./OffsetMap.ts";
import { RecordFates } from "./RecordFates.ts";
import type { AbortedTransaction } from "./TransactionIndex.ts";

export interface PassStart {
  /** Memory for the key map, and how full it may get. */
  readonly mapBytes: number;
  readonly loadFactor: number;
  /** Four words: nobody can aim at the map's hashes. */
  readonly hashKey: ReadonlyArray<number>;
  /** What one batch may decompress to. */
  readonly maxDecompressedBytes: number;
}

export interface PassTimes {
  readonly now: Timestamp;
  /** `delete.retention.ms`. */
  readonly deleteRetentionMs: number;
}

export interface GroupState {
  readonly producers: ReadonlyMap<ProducerId, LastBatch>;
  readonly highWatermark: Offset;
}

export interface IndexedChunk {
  /** The map had no room for all of it. */
  readonly full: boolean;
  /** Up to here, inclusive, all keys are in the map. */
  readonly latestOffset: Offset;
  /** Where in the chunk a batch does not have its checksum; nothing of the chunk counts then. */
  readonly damagedAt: number | undefined;
}

export interface CleanedChunk {
  /** What stays, whole batches. */
  readonly bytes: Uint8Array;
  readonly changed: boolean;
  /** Markers that stay for data that went. */
  readonly aborted: ReadonlyArray<AbortedTransaction>;
  readonly damagedAt: number | undefined;
}

/** A pass, wherever it is worked on. Calls are one at a time, in this order; chunks are given away. */
export interface CleaningWork {
  /** Bytes of a chunk that are worth a call, and no more of a turn than it may take. */
  readonly chunkBytes: number;
  begin(start: PassStart): MaybePending<void>;
  /** Aborted transactions of the batches that come next. */
  aborted(transactions: ReadonlyArray<AbortedTransaction>): MaybePending<void>;
  /** Takes in the keys at or above `from` of whole batches. */
  index(chunk: Uint8Array, from: Offset): MaybePending<IndexedChunk>;
  /** No more keys: from here on it cleans, from the log's beginning. */
  beginCleaning(times: PassTimes): MaybePending<void>;
  beginGroup(state: GroupState): MaybePending<void>;
  /** `endsGroup`: the chunk's last batch keeps its place. */
  clean(chunk: Uint8Array, endsGroup: boolean): MaybePending<CleanedChunk>;
  /** The pass is over, or given up. */
  end(): void;
}

/** Small enough for the event loop; a large batch takes the time it takes. */
const INLINE_CHUNK = 64 * 1024;

/** Records whose fate is kept from the first walk to the second, a byte each: so many for a byte of the key map. */
const FATES_PER_MAP_BYTE = 1 / 8;

/** What a pass works with from its beginning to its end. */
interface PassMemory {
  readonly start: PassStart;
  readonly map: OffsetMap;
  readonly fates: RecordFates;
  readonly judged: RecordFates;
}

export class CleaningPass implements CleaningWork {
  private memory: PassMemory | undefined;
  private transactions = new CleanedTransactions();
  private times: PassTimes | undefined;
  private group: GroupState | undefined;

  constructor(
    private readonly codecs: Codecs,
    readonly chunkBytes = INLINE_CHUNK,
  ) {}

  begin(start: PassStart): void {
    this.memory = {
      start,
      map: new OffsetMap(start.mapBytes, start.loadFactor, start.hashKey),
      fates: new RecordFates(Math.ceil(start.mapBytes * FATES_PER_MAP_BYTE)),
      judged: new RecordFates(start.maxDecompressedBytes),
    };
    this.transactions = new CleanedTransactions();
  }

  aborted(transactions: ReadonlyArray<AbortedTransaction>): void {
    this.transactions.add(transactions);
  }

  index(chunk: Uint8Array, from: Offset): IndexedChunk {
    const { memory, transactions, codecs } = this;
    invariant(memory !== undefined, "a pass has begun");
    const { map, fates, start } = memory;
    if (map.latestOffset < 0) fates.begin(from);
    const rules = { map, fates, transactions, codecs, maxDecompressedBytes: start.maxDecompressedBytes };
    for (let at = 0; at < chunk.length; at += batchSize(chunk, at)) {
      if (!checkCrc(chunk, at)) return { full: false, latestOffset: map.latestOffset, damagedAt: at };
      const whole = indexKeys(chunk, at, readBatchInfo(chunk, at), from, rules);
      if (!whole) return { full: true, latestOffset: map.latestOffset, damagedAt: undefined };
    }
    return { full: false, latestOffset: map.latestOffset, damagedAt: undefined };
  }

  beginCleaning(times: PassTimes): void {
    this.times = times;
    this.transactions = new CleanedTransactions();
  }

  beginGroup(state: GroupState): void {
    this.group = state;
  }

  clean(chunk: Uint8Array, endsGroup: boolean): CleanedChunk {
    const { memory, transactions, codecs, times, group } = this;
    invariant(memory !== undefined && times !== undefined && group !== undefined, "a group has begun");
    const { start, map, fates, judged } = memory;
    const { maxDecompressedBytes } = start;
    const rules = { map, fates, judged, transactions, codecs, maxDecompressedBytes, ...times, ...group };
    const kept = new KeptBatches(chunk);
    const aborted: AbortedTransaction[] = [];
    for (let at = 0; at < chunk.length; ) {
      if (!checkCrc(chunk, at)) return { bytes: chunk.subarray(0, 0), changed: false, aborted: [], damagedAt: at };
      const info = readBatchInfo(chunk, at);
      const behind = at + info.sizeInBytes;
      const marker = cleanBatch(chunk, at, info, endsGroup && behind === chunk.length, rules, kept);
      if (marker !== undefined) aborted.push(marker);
      at = behind;
    }
    return { bytes: kept.bytes, changed: kept.changed, aborted, damagedAt: undefined };
  }

  end(): void {
    this.memory = undefined;
    this.group = undefined;
  }
}
