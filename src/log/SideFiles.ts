/**
 * The three index files of a segment as open files: those that look-ups read, and those that are written and wait for
 * their flush. Owns these descriptors. What must stay true: a file is reached under the name its segment has at the
 * moment; one that is removed is closed first, and waits for no flush any more.
 */
import type { Disk, DiskFile } from "../platform/Disk.ts";
import type { IndexFile } from "./IndexEntries.ts";

export const INDEX_SUFFIXES = [".index", ".timeindex", ".txnindex"] as const;
export type IndexSuffix = (typeof INDEX_SUFFIXES)[number];

export class SideFiles {
  private readonly readers = new Map<IndexSuffix, DiskFile>();
  private readonly unflushed = new Map<IndexSuffix, DiskFile>();

  /** `path` knows their names of the moment. */
  constructor(
    private readonly disk: Disk,
    private readonly path: (suffix: IndexSuffix) => string,
  ) {}

  private openWriter(suffix: IndexSuffix): DiskFile {
    return this.disk.open(this.path(suffix), "write");
  }

  /** How an index reaches its file. */
  of(suffix: IndexSuffix): IndexFile {
    return {
      openToSave: () => this.openWriter(suffix),
      openToRead: () => {
        let reader = this.readers.get(suffix);
        if (reader === undefined) this.readers.set(suffix, (reader = this.disk.open(this.path(suffix), "read")));
        return reader;
      },
    };
  }

  /** In bytes; undefined when there is no such file. */
  size(suffix: IndexSuffix): number | undefined {
    return this.disk.fileSize(this.path(suffix));
  }

  /** Makes the file, empty, unless it is there. */
  ensure(suffix: IndexSuffix): void {
    if (!this.disk.exists(this.path(suffix))) this.unflushed.set(suffix, this.openWriter(suffix));
  }

  remove(suffix: IndexSuffix): void {
    for (const files of [this.readers, this.unflushed]) {
      files.get(suffix)?.close();
      files.delete(suffix);
    }
    this.disk.remove(this.path(suffix));
  }

  /** Opens those that a flush of the segment has to include. */
  openToFlush(): DiskFile[] {
    for (const suffix of INDEX_SUFFIXES) {
      if (this.unflushed.has(suffix) || !this.disk.exists(this.path(suffix))) continue;
      this.unflushed.set(suffix, this.openWriter(suffix));
    }
    return [...this.unflushed.values()];
  }

  /** Those that wait for their flush. */
  get waiting(): Iterable<DiskFile> {
    return this.unflushed.values();
  }

  /** Closes those whose flush is over. */
  closeFlushed(isOver: (file: DiskFile) => boolean = () => true): void {
    for (const [suffix, file] of this.unflushed) {
      if (!isOver(file)) continue;
      file.close();
      this.unflushed.delete(suffix);
    }
  }

  close(): void {
    for (const file of this.readers.values()) file.close();
    this.readers.clear();
    this.closeFlushed();
  }
}
