/**
 * What of one log waits for a flush: segments, side files, names. What must stay true: a file is open from its write to the
 * end of a flush that began behind it; what a ticket holds is dirty again only when it is written again.
 */
import type { DiskFile } from "../platform/Disk.ts";
import type { Offset } from "../prelude/Types.ts";
import type { LogSegment } from "./LogSegment.ts";

/** What must be flushed so that everything below `offset` is durable. Settle it with `flushed` or `flushFailed`. */
export interface FlushTicket {
  readonly files: ReadonlyArray<DiskFile>;
  readonly directories: ReadonlyArray<string>;
  /** Exclusive. */
  readonly offset: Offset;
  readonly segments: ReadonlyArray<LogSegment>;
}

export class Unflushed {
  private segments: Set<LogSegment>;
  private files = new Set<DiskFile>();
  private names: boolean;
  /** Snapshots and the like that are closed behind their flush. */
  private closing: DiskFile[] = [];

  constructor(
    private readonly directory: string,
    recovered: ReadonlyArray<LogSegment>,
    namesChanged: boolean,
  ) {
    this.segments = new Set(recovered);
    this.names = namesChanged || recovered.length > 0;
    for (const segment of recovered) this.addFilesOf(segment);
  }

  addSegment(segment: LogSegment): void {
    this.segments.add(segment);
  }

  /** A segment's side files that are written. */
  addFilesOf(segment: LogSegment): void {
    for (const file of segment.sideFiles.openToFlush()) this.files.add(file);
  }

  /** A file that nobody else closes. */
  addClosing(file: DiskFile): void {
    this.files.add(file);
    this.closing.push(file);
  }

  /** The folder has other names in it. */
  addNames(): void {
    this.names = true;
  }

  /** A segment that is no longer the log's is owed nothing. */
  forget(segment: LogSegment): void {
    this.segments.delete(segment);
    for (const file of segment.sideFiles.waiting) this.files.delete(file);
  }

  /** Everything up to `offset`, which is where the log ends; undefined when nothing waits. */
  begin(offset: Offset): FlushTicket | undefined {
    if (this.segments.size === 0 && this.files.size === 0 && !this.names) return undefined;
    const segments = [...this.segments];
    const files = [...this.files];
    for (const segment of segments) {
      segment.acquire();
      if (segment.size > 0) files.push(segment.file);
    }
    const directories = this.names ? [this.directory] : [];
    this.segments = new Set();
    this.files = new Set();
    this.names = false;
    return { files, directories, offset, segments };
  }

  settle(ticket: FlushTicket): void {
    const files = new Set(ticket.files);
    for (const segment of ticket.segments) {
      segment.sideFiles.closeFlushed((file) => files.has(file) && !this.files.has(file));
      segment.release();
    }
    this.closing = this.closing.filter((file) => {
      if (!files.has(file)) return true;
      file.close();
      return false;
    });
  }

  /** Closes what waits. It stays unflushed. */
  close(): void {
    for (const file of this.closing) file.close();
    this.closing = [];
  }
}
