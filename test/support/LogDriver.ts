/**
 * A log, its state and a model of both: what tests append through, so that what the log answers can be compared with a
 * plain list of batches.
 */
import { type LoadedLog, type LoadOptions, loadLog } from "../../src/log/LogLoader.ts";
import { evolve, type LogState, snapshotOf } from "../../src/log/LogState.ts";
import type { AbortedTransaction } from "../../src/log/TransactionIndex.ts";
import { DEFAULT_LOG_CONFIG, type LogConfig, type UnifiedLog } from "../../src/log/UnifiedLog.ts";
import type { BatchInfo } from "../../src/record/BatchInfo.ts";
import type { Codecs } from "../../src/record/Compression.ts";
import { readBatchInfo, stampBatch } from "../../src/record/RecordBatch.ts";
import { type BatchOptions, buildBatch, buildEndTransactionMarker } from "../../src/record/RecordBatchBuilder.ts";
import { MemoryDisk } from "./MemoryDisk.ts";

export const DIRECTORY = "data/topic-0";

/** Segments and index steps of a few batches. */
export const TINY: LogConfig = { ...DEFAULT_LOG_CONFIG, segmentBytes: 900, indexIntervalBytes: 150 };

export interface ModelBatch {
  readonly info: BatchInfo;
  readonly bytes: Uint8Array;
  readonly timestamps: ReadonlyArray<number>;
}

/** Tests write uncompressed batches only. */
export const noCodecs: Codecs = {
  compress: () => {
    throw new Error("no codecs in this test");
  },
  decompress: () => {
    throw new Error("no codecs in this test");
  },
};

export class LogDriver {
  readonly batches: ModelBatch[] = [];
  readonly aborted: AbortedTransaction[] = [];
  leaderEpoch = 0;

  private constructor(
    readonly disk: MemoryDisk,
    public log: UnifiedLog,
    public state: LogState,
  ) {}

  static async open(config: LogConfig = TINY, disk = new MemoryDisk()): Promise<LogDriver> {
    const { log, state } = await loadLog(disk, DIRECTORY, config, {
      clean: false,
      recoveryPoint: 0,
      logStartOffset: 0,
    });
    return new LogDriver(disk, log, state);
  }

  get end(): number {
    return this.state.logEndOffset;
  }

  stage(bytes: Uint8Array, timestamps: ReadonlyArray<number> = []): BatchInfo {
    stampBatch(bytes, 0, this.end, this.leaderEpoch);
    const info = readBatchInfo(bytes, 0);
    this.log.stage(bytes, info, () => snapshotOf(this.state));
    const ended = evolve(this.state, info);
    if (ended !== undefined) {
      this.log.stageAborted(ended);
      if (ended.aborted) {
        const { producerId, firstOffset, lastOffset, lastStableOffset } = ended;
        this.aborted.push({ producerId, firstOffset, lastOffset, lastStableOffset });
      }
    }
    this.batches.push({ info, bytes, timestamps });
    return info;
  }

  stageRecords(timestamps: ReadonlyArray<number>, valueSize: number, options: BatchOptions = {}): BatchInfo {
    const value = new Uint8Array(valueSize).fill(0x61 + (this.batches.length % 20));
    const records = timestamps.map((timestamp) => ({ timestamp, value }));
    return this.stage(buildBatch(records, options), timestamps);
  }

  async append(timestamps: ReadonlyArray<number>, valueSize = 20, options: BatchOptions = {}): Promise<BatchInfo> {
    const info = this.stageRecords(timestamps, valueSize, options);
    await this.log.write();
    return info;
  }

  async endTransaction(result: "abort" | "commit", producerId: number, producerEpoch = 0): Promise<void> {
    this.stage(
      buildEndTransactionMarker(result, { producerId, producerEpoch, coordinatorEpoch: 1, timestamp: 5 }),
      [5],
    );
    await this.log.write();
  }

  flush(): void {
    const ticket = this.log.beginFlush();
    if (ticket !== undefined) this.log.flushed(ticket);
  }

  /** An orderly stop. */
  stop(): void {
    const ticket = this.log.prepareClose(snapshotOf(this.state));
    if (ticket !== undefined) this.log.flushed(ticket);
    this.log.close();
  }

  /** Opens the directory of any disk as this log's would be. */
  async load(options: Partial<LoadOptions> = {}, disk: MemoryDisk = this.disk.copy()): Promise<LoadedLog> {
    return loadLog(disk, DIRECTORY, this.log.config, { clean: false, recoveryPoint: 0, logStartOffset: 0, ...options });
  }

  adopt({ log, state }: LoadedLog): void {
    this.log = log;
    this.state = state;
  }

  /** What a read must answer: the batches from the one that contains `offset`, within one segment. */
  expectedRead(log: UnifiedLog, offset: number, maxBytes: number, bound: number, minOneBatch: boolean): Uint8Array {
    const first = this.batches.findIndex((batch) => batch.info.lastOffset >= offset);
    if (first < 0) return new Uint8Array(0);
    const starts = log.segments.map((segment) => segment.baseOffset);
    const next = starts.find((start) => start > this.batches[first]!.info.baseOffset) ?? Number.POSITIVE_INFINITY;
    const taken: Uint8Array[] = [];
    let size = 0;
    for (const { info, bytes } of this.batches.slice(first)) {
      if (info.baseOffset >= bound || info.baseOffset >= next) break;
      if (size + bytes.length > maxBytes && !(taken.length === 0 && minOneBatch)) break;
      taken.push(bytes);
      size += bytes.length;
      if (size > maxBytes) break;
    }
    return Buffer.concat(taken);
  }
}

/** Every batch of a log, read through its front door. */
export const readAll = async (log: UnifiedLog, from = 0): Promise<Uint8Array> => {
  const all: Uint8Array[] = [];
  for (let offset = from; ; ) {
    const { records, endOffset } = await log.read(offset, 1000, Number.POSITIVE_INFINITY, true);
    if (records.length === 0) return Buffer.concat(all);
    all.push(records);
    offset = endOffset;
  }
};
