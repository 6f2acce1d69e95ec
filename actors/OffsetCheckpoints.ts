/**
 * What the checkpoint files of a log directory say of its partitions (Kafka's `OffsetCheckpointFile`): recovery points,
 * log starts (twice, so that one file may be lost), high watermarks, and how far each log is cleaned. What must stay true:
 * the files are written by one write after another, without the event loop waiting for the disk, each with what is known
 * when its turn comes; none goes back to what an earlier one has replaced; a forgotten partition counts as such until the
 * files do not tell of it either.
 */
import {
  CLEANER_OFFSET_FILE,
  decodeOffsetCheckpoint,
  encodeOffsetCheckpoint,
  HIGH_WATERMARK_FILE,
  LOG_START_OFFSET_COPY_FILE,
  LOG_START_OFFSET_FILE,
  partitionDirectory,
  partitionOfDirectory,
  RECOVERY_POINT_FILE,
} from "../src/log/Checkpoints.ts";
import { replaceFile } from "../src/log/ReplaceFile.ts";
import type { Disk } from "../src/platform/Disk.ts";
import type { Offset } from "../src/prelude/Types.ts";

/** By the name of the partition's folder. */
type Offsets = Map<string, Offset>;

export interface PartitionOffsets {
  readonly recoveryPoint: Offset;
  readonly logStartOffset: Offset;
  readonly highWatermark: Offset;
}

export class OffsetCheckpoints {
  private readonly recoveryPoints: Offsets;
  private readonly logStartOffsets: Offsets;
  /** Of this run: nobody reads them back. */
  private readonly highWatermarks: Offsets = new Map();
  private readonly cleanedOffsets: Offsets;
  private readonly forgotten = new Set<string>();
  private last: Promise<void> = Promise.resolve();

  /** Reads the files; without one, or with a damaged one, nothing is known. */
  constructor(
    private readonly disk: Disk,
    private readonly path: string,
  ) {
    this.recoveryPoints = this.read(RECOVERY_POINT_FILE) ?? new Map();
    this.logStartOffsets = this.read(LOG_START_OFFSET_FILE) ?? this.read(LOG_START_OFFSET_COPY_FILE) ?? new Map();
    this.cleanedOffsets = this.read(CLEANER_OFFSET_FILE) ?? new Map();
  }

  /** 0 when it is not known. */
  recoveryPointOf(name: string): Offset {
    return this.recoveryPoints.get(name) ?? 0;
  }

  /** 0 when it is not known. */
  logStartOffsetOf(name: string): Offset {
    return this.logStartOffsets.get(name) ?? 0;
  }

  /** Up to where the log is cleaned; undefined when that is not known, or nowhere. */
  cleanedOffsetOf(name: string): Offset | undefined {
    return this.cleanedOffsets.get(name);
  }

  get names(): ReadonlySet<string> {
    return new Set([...this.recoveryPoints.keys(), ...this.logStartOffsets.keys(), ...this.cleanedOffsets.keys()]);
  }

  /** For the next write. */
  note(name: string, { recoveryPoint, logStartOffset, highWatermark }: PartitionOffsets): void {
    this.recoveryPoints.set(name, recoveryPoint);
    this.logStartOffsets.set(name, logStartOffset);
    this.highWatermarks.set(name, highWatermark);
  }

  /** The partition is removed: one made anew under its name begins without what is known of this one. */
  forget(name: string): void {
    this.highWatermarks.delete(name);
    const known = [this.recoveryPoints, this.logStartOffsets, this.cleanedOffsets].map((told) => told.delete(name));
    if (known.includes(true)) this.forgotten.add(name);
  }

  /** The files still tell of the partition, or, without a name, of any that is removed. */
  tellOfForgotten(name?: string): boolean {
    return name === undefined ? this.forgotten.size > 0 : this.forgotten.has(name);
  }

  /** Writes all files, after the writes that are under way. Rejects with `DiskError`: then any of them may be the old one. */
  write(): Promise<void> {
    return this.afterOthers(() => this.writeFiles());
  }

  /** The log is cleaned up to here. Rejects with `DiskError` when the file stays the old one. */
  cleaned(name: string, offset: Offset): Promise<void> {
    this.cleanedOffsets.set(name, offset);
    return this.afterOthers(() => this.replace(CLEANER_OFFSET_FILE, this.cleanedOffsets));
  }

  /** Nothing is being written any more. */
  settled(): Promise<void> {
    return this.last;
  }

  private afterOthers(write: () => Promise<void>): Promise<void> {
    const writing = this.last.then(write);
    this.last = writing.catch(() => undefined);
    return writing;
  }

  private async writeFiles(): Promise<void> {
    const forgotten = [...this.forgotten];
    if (forgotten.length > 0) await this.replace(CLEANER_OFFSET_FILE, this.cleanedOffsets);
    await this.replace(RECOVERY_POINT_FILE, this.recoveryPoints);
    await this.replace(LOG_START_OFFSET_COPY_FILE, this.logStartOffsets);
    await this.replace(LOG_START_OFFSET_FILE, this.logStartOffsets);
    for (const name of forgotten) this.forgotten.delete(name);
    await this.replace(HIGH_WATERMARK_FILE, this.highWatermarks);
  }

  private replace(file: string, offsets: Offsets): Promise<void> {
    const entries = Array.from(offsets, ([name, offset]) => ({ ...partitionOfDirectory(name)!, offset }));
    return replaceFile(this.disk, `${this.path}/${file}`, encodeOffsetCheckpoint(entries));
  }

  private read(name: string): Offsets | undefined {
    const content = this.disk.readFile(`${this.path}/${name}`);
    const entries = content === undefined ? undefined : decodeOffsetCheckpoint(content);
    return entries && new Map(entries.map((entry) => [partitionDirectory(entry), entry.offset]));
  }
}
