/**
 * A Disk whose files are open only while they are used: beyond a limit the ones used longest ago are closed, and opened
 * again by whoever uses them next (a close and an open are 2 µs). Whoever holds a file notices nothing.
 *
 * What must stay true: a file in the middle of an operation is not closed; one with bytes written since its last flush is
 * flushed before, and when that fails its next flush fails too (what the kernel knows of failed writes it tells an open
 * file only); a file that is renamed is found again, and one that is removed or replaced while somebody holds it stays
 * open until he lets go.
 */
import { buggify } from "../prelude/Buggify.ts";
import { isPending, type MaybePending, type Position } from "../prelude/Types.ts";
import { type Disk, DiskError, type DiskFile } from "./Disk.ts";

/** Closed at once, as a share of the limit: closing one by one would look at all of them every time. */
const CLOSED_AT_ONCE = 1 / 8;

export interface OpenFiles extends Disk {
  /** Files open now, and held by somebody (open or not). */
  readonly openFiles: () => { readonly open: number; readonly held: number };
}

/** `limit` may change while the disk is in use. Files that cannot be closed are beyond it. */
export const limitOpenFiles = (disk: Disk, limit: () => number): OpenFiles => new LimitedDisk(disk, limit);

const parentOf = (path: string): string => path.slice(0, Math.max(0, path.lastIndexOf("/")));

class LimitedDisk implements OpenFiles {
  private readonly open_ = new Set<LimitedFile>();
  /** Files somebody holds, by the directory they are in. */
  private readonly held = new Map<string, Set<LimitedFile>>();
  private heldCount = 0;
  private tick = 0;

  constructor(
    readonly inner: Disk,
    private readonly limit: () => number,
  ) {}

  readonly openFiles = (): { readonly open: number; readonly held: number } => ({
    open: this.open_.size,
    held: this.heldCount,
  });

  open(path: string, mode: "read" | "write"): DiskFile {
    const file = new LimitedFile(this, path, mode, this.openInner(path, mode));
    this.hold(file);
    this.opened(file);
    return file;
  }

  openInner(path: string, mode: "read" | "write"): DiskFile {
    try {
      return this.inner.open(path, mode);
    } catch (error) {
      // Too many for the system: all that can be closed is, and then it must do.
      if (!(error instanceof DiskError) || error.code !== "EMFILE") throw error;
      this.closeIdle(this.open_.size);
      return this.inner.open(path, mode);
    }
  }

  opened(file: LimitedFile): void {
    this.open_.add(file);
    file.usedAt = ++this.tick;
    if (buggify("an open file is closed early")) this.closeIdle(1, file);
    this.trim(file);
  }

  /** Closes what is too much, and some more. */
  trim(except?: LimitedFile): void {
    const limit = this.limit();
    if (this.open_.size > limit) this.closeIdle(this.open_.size - limit + Math.floor(limit * CLOSED_AT_ONCE), except);
  }

  used(file: LimitedFile): void {
    file.usedAt = ++this.tick;
  }

  closed(file: LimitedFile): void {
    this.open_.delete(file);
  }

  private closeIdle(count: number, except?: LimitedFile): void {
    const idle = [...this.open_].filter((file) => file !== except && file.isIdle).sort((a, b) => a.usedAt - b.usedAt);
    for (const file of idle.slice(0, count)) file.closeInner();
  }

  hold(file: LimitedFile): void {
    const directory = parentOf(file.path);
    const files = this.held.get(directory);
    if (files === undefined) this.held.set(directory, new Set([file]));
    else files.add(file);
    this.heldCount++;
  }

  letGo(file: LimitedFile): void {
    const directory = parentOf(file.path);
    const files = this.held.get(directory);
    if (files?.delete(file) !== true) return;
    this.heldCount--;
    if (files.size === 0) this.held.delete(directory);
  }

  /** Files held at `path`, or anywhere below it. */
  private heldAt(path: string): LimitedFile[] {
    const found = [...(this.held.get(parentOf(path)) ?? [])].filter((file) => file.path === path);
    if (found.length > 0) return found;
    const below = `${path}/`;
    for (const [directory, files] of this.held) {
      if (directory === path || directory.startsWith(below)) found.push(...files);
    }
    return found;
  }

  /** The name goes, the files stay with whoever has them. */
  private outlive(path: string): void {
    for (const file of this.heldAt(path)) {
      file.keepOpen();
      this.letGo(file);
    }
  }

  rename(from: string, to: string): void {
    this.outlive(to);
    const moved = this.heldAt(from);
    this.inner.rename(from, to);
    for (const file of moved) {
      this.letGo(file);
      file.path = to + file.path.slice(from.length);
      this.hold(file);
    }
  }

  remove(path: string): void {
    this.outlive(path);
    this.inner.remove(path);
  }

  removeDirectory(path: string): void {
    this.outlive(path);
    this.inner.removeDirectory(path);
  }

  replaceFile(path: string, content: Uint8Array): void {
    this.outlive(path);
    this.inner.replaceFile(path, content);
  }

  exists = (path: string): boolean => this.inner.exists(path);
  fileSize = (path: string): number | undefined => this.inner.fileSize(path);
  modifiedAt = (path: string): number | undefined => this.inner.modifiedAt(path);
  list = (directory: string): string[] => this.inner.list(directory);
  isDirectory = (path: string): boolean => this.inner.isDirectory(path);
  makeDirectory = (path: string): void => this.inner.makeDirectory(path);
  flushDirectory = (directory: string): MaybePending<void> => this.inner.flushDirectory(directory);
  readFile = (path: string): Uint8Array | undefined => this.inner.readFile(path);
  freeBytes = (directory: string): number => this.inner.freeBytes(directory);
  totalBytes = (directory: string): number => this.inner.totalBytes(directory);
  lock = (path: string): (() => void) | undefined => this.inner.lock(path);

  get flushFileSystem(): Disk["flushFileSystem"] {
    return this.inner.flushFileSystem === undefined ? undefined : this.flushAll;
  }

  private readonly flushAll = (directory: string): MaybePending<void> => {
    const open = [...this.open_].map((file) => file.writesSoFar());
    const flushed = (): void => {
      for (const durable of open) durable();
      this.trim();
    };
    const flushing = this.inner.flushFileSystem!(directory);
    return isPending(flushing) ? flushing.then(flushed) : flushed();
  };
}

class LimitedFile implements DiskFile {
  usedAt = 0;
  /** Operations that have not answered yet. */
  private pending = 0;
  /** Counts writes; the last one that a flush which succeeded began after. */
  private writes = 0;
  private flushedWrites = 0;
  private flushing = false;
  private failure: unknown;
  /** Its name is gone. */
  private nameless = false;
  private isClosed = false;

  constructor(
    private readonly disk: LimitedDisk,
    public path: string,
    private readonly mode: "read" | "write",
    private inner: DiskFile | undefined,
  ) {}

  private get file(): DiskFile {
    if (this.inner !== undefined) {
      this.disk.used(this);
      return this.inner;
    }
    if (this.isClosed) throw new DiskError("OTHER", "use after close", this.path);
    this.inner = this.disk.openInner(this.path, this.mode);
    this.disk.opened(this);
    return this.inner;
  }

  /** Nothing is under way, it can be opened again, and no flush has failed that only this descriptor remembers. */
  get isIdle(): boolean {
    return this.pending === 0 && !this.nameless && !this.flushing && this.failure === undefined;
  }

  /** Closes it, once what was written is durable; what happens to it meanwhile keeps it open. */
  closeInner(): void {
    const { inner, writes, flushedWrites } = this;
    if (inner === undefined) return;
    if (writes === flushedWrites) return this.release();
    this.flushing = true;
    const ended = (failure?: unknown): void => {
      this.flushing = false;
      if (failure !== undefined) this.failure = failure;
      else this.flushedWrites = Math.max(this.flushedWrites, writes);
      if (this.isClosed || (this.isIdle && this.writes === this.flushedWrites)) this.release();
    };
    try {
      const flush = inner.flush();
      if (isPending(flush)) flush.then(() => ended(), ended).finally(() => this.disk.trim());
      else ended();
    } catch (error) {
      ended(error);
    }
  }

  private release(): void {
    this.inner?.close();
    this.inner = undefined;
    this.disk.closed(this);
  }

  /** Its name is about to go: it must be open from now on. */
  keepOpen(): void {
    if (this.isClosed) return;
    try {
      void this.file;
    } catch {
      // Then there is nothing to keep.
    }
    this.nameless = true;
  }

  private during<A>(operation: (file: DiskFile) => MaybePending<A>): MaybePending<A> {
    const answer = operation(this.file);
    if (!isPending(answer)) return answer;
    this.pending++;
    return answer.finally(() => {
      this.pending--;
      this.disk.trim();
    });
  }

  size(): number {
    return this.file.size();
  }

  write(chunks: ReadonlyArray<Uint8Array>, position: Position): MaybePending<number> {
    this.writes++;
    return this.during((file) => file.write(chunks, position));
  }

  read(target: Uint8Array, position: Position): MaybePending<number> {
    const { inner } = this;
    if (inner === undefined) return this.during((file) => file.read(target, position));
    this.disk.used(this);
    const answer = inner.read(target, position);
    return isPending(answer) ? this.during(() => answer) : answer;
  }

  async readAside(target: Uint8Array, position: Position): Promise<number> {
    return this.during((file) => file.readAside(target, position));
  }

  flush(): MaybePending<void> {
    if (this.failure !== undefined) throw this.failure;
    const flushed = this.writesSoFar();
    const failed = (error: unknown): never => {
      this.failure = error;
      throw error;
    };
    try {
      const answer = this.during((file) => file.flush());
      return isPending(answer) ? answer.then(flushed, failed) : flushed();
    } catch (error) {
      return failed(error);
    }
  }

  /** Called when all that was written by now is durable. */
  writesSoFar(): () => void {
    const { writes } = this;
    return () => {
      this.flushedWrites = Math.max(this.flushedWrites, writes);
    };
  }

  truncate(size: number): void {
    this.writes++;
    this.file.truncate(size);
  }

  close(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.disk.letGo(this);
    if (!this.flushing) this.release();
  }
}
