/**
 * A disk in memory for log tests: files are byte arrays, everything is done at once and durable at once. Writes can be
 * told to be short or to fail. Faults in time (lost, torn, reordered pages) are the simulated disk's.
 */
import { type Disk, DiskError, type DiskFile } from "../../src/platform/Disk.ts";
import type { MaybePending } from "../../src/prelude/Types.ts";

interface Content {
  bytes: Uint8Array;
  size: number;
}

export class MemoryDisk implements Disk {
  readonly files = new Map<string, Content>();
  private readonly directories = new Set<string>();
  private readonly locks = new Set<string>();
  /** Answers how many of the bytes a write takes; throws to fail it. */
  onWrite: (path: string, size: number) => number = (_, size) => size;
  /** Nothing grows any more; what is there may be written again in its place. */
  full = false;
  /** Throws to fail a read. */
  onRead: (path: string) => void = () => {};
  /** Makes reads and writes answer promises. */
  pending = false;
  opened = 0;
  readonly flushFileSystem = undefined;

  private later<A>(answer: A): MaybePending<A> {
    return this.pending ? Promise.resolve(answer) : answer;
  }

  content(path: string): Uint8Array {
    const file = this.files.get(path);
    if (file === undefined) throw new DiskError("ENOENT", "content", path);
    return file.bytes.slice(0, file.size);
  }

  put(path: string, bytes: Uint8Array): void {
    this.files.set(path, { bytes: bytes.slice(), size: bytes.length });
  }

  /** An independent copy of everything, as a crash would leave it. */
  copy(): MemoryDisk {
    const other = new MemoryDisk();
    for (const [path, { bytes, size }] of this.files) other.files.set(path, { bytes: bytes.slice(0, size), size });
    return other;
  }

  open(path: string, mode: "read" | "write"): DiskFile {
    let content = this.files.get(path);
    if (content === undefined) {
      if (mode === "read") throw new DiskError("ENOENT", "open", path);
      content = { bytes: new Uint8Array(0), size: 0 };
      this.files.set(path, content);
    }
    this.opened++;
    const file = content;
    let closed = false;
    const alive = (): void => {
      if (closed) throw new DiskError("OTHER", "use after close", path);
    };
    const readNow = (target: Uint8Array, position: number): number => {
      alive();
      this.onRead(path);
      const there = file.bytes.subarray(position, Math.min(file.size, position + target.length));
      target.set(there);
      return there.length;
    };
    return {
      path,
      size: () => file.size,
      write: (chunks, position) => {
        alive();
        if (mode === "read") throw new DiskError("EACCES", "write", path);
        let size = 0;
        for (const chunk of chunks) size += chunk.length;
        const allowed = this.onWrite(path, size);
        const end = position + allowed;
        if (this.full && end > file.size) throw new DiskError("ENOSPC", "write", path);
        if (end > file.bytes.length) {
          const larger = new Uint8Array(Math.max(end, file.bytes.length * 2));
          larger.set(file.bytes.subarray(0, file.size));
          file.bytes = larger;
        }
        let at = position;
        for (const chunk of chunks) {
          const taken = chunk.subarray(0, Math.max(0, end - at));
          file.bytes.set(taken, at);
          at += taken.length;
        }
        file.size = Math.max(file.size, end);
        return this.later(allowed);
      },
      read: (target, position) => this.later(readNow(target, position)),
      readAside: async (target, position) => readNow(target, position),
      flush: () => {
        alive();
        return this.later(undefined);
      },
      truncate: (size) => {
        alive();
        const kept = new Uint8Array(size);
        kept.set(file.bytes.subarray(0, Math.min(size, file.size)));
        file.bytes = kept;
        file.size = size;
      },
      close: () => {
        closed = true;
      },
    };
  }

  exists(path: string): boolean {
    return this.files.has(path) || this.isDirectory(path);
  }
  fileSize(path: string): number | undefined {
    return this.files.get(path)?.size;
  }
  modifiedAt(path: string): number | undefined {
    return this.files.has(path) ? 0 : undefined;
  }
  list(directory: string): string[] {
    const prefix = `${directory}/`;
    const names = [...this.files.keys(), ...this.directories]
      .filter((path) => path.startsWith(prefix))
      .map((path) => path.slice(prefix.length).split("/")[0]!);
    return [...new Set(names)].sort();
  }
  isDirectory(path: string): boolean {
    return this.directories.has(path) || [...this.files.keys()].some((name) => name.startsWith(`${path}/`));
  }
  makeDirectory(path: string): void {
    this.directories.add(path);
  }
  rename(from: string, to: string): void {
    const file = this.files.get(from);
    if (file === undefined) throw new DiskError("ENOENT", "rename", from);
    this.files.delete(from);
    this.files.set(to, file);
  }
  remove(path: string): void {
    this.files.delete(path);
  }
  removeDirectory(path: string): void {
    for (const name of this.files.keys()) if (name.startsWith(`${path}/`)) this.files.delete(name);
    this.directories.delete(path);
  }
  flushDirectory(): MaybePending<void> {
    return this.later(undefined);
  }
  readFile(path: string): Uint8Array | undefined {
    return this.files.has(path) ? this.content(path) : undefined;
  }
  replaceFile(path: string, content: Uint8Array): void {
    if (this.full) throw new DiskError("ENOSPC", "replaceFile", path);
    this.put(path, content);
  }
  freeBytes(): number {
    return Number.MAX_SAFE_INTEGER;
  }
  totalBytes(): number {
    return Number.MAX_SAFE_INTEGER;
  }
  lock(path: string): (() => void) | undefined {
    if (this.locks.has(path)) return undefined;
    this.locks.add(path);
    return () => this.locks.delete(path);
  }
}
