/**
 * The Disk port on Bun: `node:fs` for everything, libc through `bun:ffi` (src/platform/Libc.ts) where `node:fs` cannot
 * say it: a read that never waits for the disk, an exclusive lock that dies with its process, `syncfs`.
 *
 * What must stay true: a write goes to an explicit position and reports what was taken; a flush runs on the thread
 * pool, never on the event loop, and so does what the kernel has to do for a large file that is removed; libc and the syncfs worker are loaded on first use, because start-up is counted in
 * milliseconds; every failure leaves as a `DiskError`.
 */
import fs from "node:fs";
import { dirname } from "node:path";
import type { MaybePending, Position } from "../prelude/Types.ts";
import { type Disk, DiskError, type DiskErrorCode, type DiskFile } from "./Disk.ts";
import { type Libc, libc } from "./Libc.ts";
import { flushFileSystem } from "./Syncfs.ts";

/** Linux refuses longer vectors (IOV_MAX); what is beyond becomes a short write. */
const MAX_VECTOR = 1024;
/** Without `RWF_NOWAIT` nobody can tell warm from cold: below this a read is made at once, above on the thread pool. */
const SYNCHRONOUS_READ = 256 * 1024;
/** To take the pages and blocks of a file of 1 GiB back costs the kernel 40 ms of CPU, and hundreds on a busy disk. */
const LARGE_FILE = 4 * 1024 * 1024;

const codes: Record<string, DiskErrorCode> = {
  EIO: "EIO",
  ENOSPC: "ENOSPC",
  EDQUOT: "ENOSPC",
  EACCES: "EACCES",
  EPERM: "EACCES",
  EMFILE: "EMFILE",
  ENFILE: "EMFILE",
  ENOENT: "ENOENT",
  EEXIST: "EEXIST",
  EROFS: "EROFS",
};

const diskError = (operation: string, path: string, cause: unknown): DiskError => {
  if (cause instanceof DiskError) return cause;
  const original =
    typeof cause === "object" && cause !== null && "code" in cause && typeof cause.code === "string" ? cause.code : "";
  const code = codes[original] ?? "OTHER";
  if (code !== "OTHER") return new DiskError(code, operation, path);
  return new DiskError(code, operation, path, cause instanceof Error ? cause.message : String(cause));
};

const attempt = <A>(operation: string, path: string, action: () => A): A => {
  try {
    return action();
  } catch (cause) {
    throw diskError(operation, path, cause);
  }
};

/** The call on the thread pool, as a promise of a `DiskError` or nothing. */
const pooled = (
  operation: string,
  path: string,
  start: (done: (error: NodeJS.ErrnoException | null) => void) => void,
): Promise<void> =>
  new Promise((resolve, reject) => {
    start((error) => (error === null ? resolve() : reject(diskError(operation, path, error))));
  });

class BunDiskFile implements DiskFile {
  private closed = false;

  constructor(
    readonly path: string,
    private readonly descriptor: number,
  ) {}

  size(): number {
    return attempt("stat", this.path, () => fs.fstatSync(this.descriptor).size);
  }

  write(chunks: ReadonlyArray<Uint8Array>, position: Position): number {
    try {
      if (chunks.length === 1) return fs.writeSync(this.descriptor, chunks[0]!, 0, chunks[0]!.length, position);
      return fs.writevSync(this.descriptor, chunks.slice(0, MAX_VECTOR), position);
    } catch (cause) {
      throw diskError("write", this.path, cause);
    }
  }

  read(target: Uint8Array, position: Position): MaybePending<number> {
    if (target.length === 0) return 0;
    const native: Libc | undefined = libc();
    if (native?.readWarm === undefined) {
      return target.length < SYNCHRONOUS_READ ? this.readNow(target, position) : this.readPooled(target, 0, position);
    }
    let done = 0;
    for (;;) {
      const taken = native.readWarm(this.descriptor, done === 0 ? target : target.subarray(done), position + done);
      if (taken === 0) return done;
      if (taken < 0) return this.readPooled(target, done, position);
      done += taken;
      if (done === target.length) return done;
    }
  }

  /** The event loop takes up whatever the pool has done before it looks at sockets, so a fast pool would keep it for itself. */
  async readAside(target: Uint8Array, position: Position): Promise<number> {
    const taken = await this.readPooled(target, 0, position);
    await new Promise<void>((resolve) => setImmediate(resolve));
    return taken;
  }

  private readNow(target: Uint8Array, position: Position): number {
    try {
      let done = 0;
      while (done < target.length) {
        const taken = fs.readSync(this.descriptor, target, done, target.length - done, position + done);
        if (taken === 0) break;
        done += taken;
      }
      return done;
    } catch (cause) {
      throw diskError("read", this.path, cause);
    }
  }

  private readPooled(target: Uint8Array, done: number, position: Position): Promise<number> {
    return new Promise((resolve, reject) => {
      const next = (at: number): void => {
        fs.read(this.descriptor, target, at, target.length - at, position + at, (error, taken) => {
          if (error !== null) reject(diskError("read", this.path, error));
          else if (taken === 0 || at + taken === target.length) resolve(at + taken);
          else next(at + taken);
        });
      };
      next(done);
    });
  }

  flush(): Promise<void> {
    return pooled("flush", this.path, (done) => fs.fdatasync(this.descriptor, done));
  }

  truncate(size: number): void {
    attempt("truncate", this.path, () => fs.ftruncateSync(this.descriptor, size));
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    attempt("close", this.path, () => fs.closeSync(this.descriptor));
  }
}

const flushDirectoryNow = (directory: string): void => {
  const descriptor = fs.openSync(directory, "r");
  try {
    fs.fsyncSync(descriptor);
  } finally {
    fs.closeSync(descriptor);
  }
};

const replaceFileNow = (path: string, content: Uint8Array): void => {
  const temporary = `${path}.tmp`;
  const descriptor = fs.openSync(temporary, "w");
  try {
    let done = 0;
    while (done < content.length) done += fs.writeSync(descriptor, content, done, content.length - done, done);
    fs.fsyncSync(descriptor);
  } finally {
    fs.closeSync(descriptor);
  }
  fs.renameSync(temporary, path);
  flushDirectoryNow(dirname(path));
};

/** Removed files that still take their space, each by an open descriptor: the last close gives it back. */
const removed: number[] = [];

/** One at a time: the rest of the thread pool is for others. */
const giveBack = (): void => {
  const [descriptor] = removed;
  if (descriptor === undefined) return;
  fs.close(descriptor, () => {
    removed.shift();
    giveBack();
  });
};

const removeNow = (path: string): void => {
  const size = fs.statSync(path, { throwIfNoEntry: false })?.size ?? 0;
  if (size < LARGE_FILE) return fs.rmSync(path, { force: true });
  const descriptor = fs.openSync(path, "r");
  fs.rmSync(path, { force: true });
  if (removed.push(descriptor) === 1) giveBack();
};

const removeDirectoryNow = (path: string): void => {
  const entries = fs.readdirSync(path, { withFileTypes: true });
  for (const entry of entries) if (entry.isFile()) removeNow(`${path}/${entry.name}`);
  fs.rmSync(path, { recursive: true, force: true });
};

const status = (path: string): fs.Stats | undefined =>
  attempt("stat", path, () => fs.statSync(path, { throwIfNoEntry: false }));

/** The real disk. Opening it touches nothing. */
export const bunDisk = (): Disk => ({
  open: (path, mode) =>
    attempt("open", path, () => {
      const flags = mode === "read" ? fs.constants.O_RDONLY : fs.constants.O_RDWR | fs.constants.O_CREAT;
      return new BunDiskFile(path, fs.openSync(path, flags, 0o644));
    }),
  exists: (path) => fs.existsSync(path),
  fileSize: (path) => status(path)?.size,
  modifiedAt: (path) => {
    const found = status(path);
    return found === undefined ? undefined : Math.floor(found.mtimeMs);
  },
  list: (directory) =>
    attempt("list", directory, () => {
      try {
        return fs.readdirSync(directory).sort();
      } catch (cause) {
        if (diskError("list", directory, cause).code === "ENOENT") return [];
        throw cause;
      }
    }),
  isDirectory: (path) => status(path)?.isDirectory() ?? false,
  makeDirectory: (path) => {
    attempt("makeDirectory", path, () => fs.mkdirSync(path, { recursive: true }));
  },
  rename: (from, to) => attempt("rename", from, () => fs.renameSync(from, to)),
  remove: (path) => attempt("remove", path, () => removeNow(path)),
  removeDirectory: (path) => {
    if (fs.existsSync(path)) attempt("removeDirectory", path, () => removeDirectoryNow(path));
  },
  flushDirectory: (directory) => {
    const descriptor = attempt("flushDirectory", directory, () => fs.openSync(directory, "r"));
    return pooled("flushDirectory", directory, (done) => fs.fsync(descriptor, done)).finally(() =>
      fs.closeSync(descriptor),
    );
  },
  readFile: (path) => {
    try {
      return fs.readFileSync(path);
    } catch (cause) {
      const error = diskError("readFile", path, cause);
      if (error.code === "ENOENT") return undefined;
      throw error;
    }
  },
  replaceFile: (path, content) => attempt("replaceFile", path, () => replaceFileNow(path, content)),
  flushFileSystem: process.platform === "linux" ? flushFileSystem : undefined,
  freeBytes: (directory) =>
    attempt("statfs", directory, () => {
      const found = fs.statfsSync(directory);
      return found.bavail * found.bsize;
    }),
  totalBytes: (directory) =>
    attempt("statfs", directory, () => {
      const found = fs.statfsSync(directory);
      return found.blocks * found.bsize;
    }),
  lock: (path) => {
    const native = libc();
    if (native === undefined) throw new DiskError("OTHER", "lock", path, "no file locks on this platform");
    const descriptor = attempt("lock", path, () =>
      fs.openSync(path, fs.constants.O_RDWR | fs.constants.O_CREAT, 0o644),
    );
    // The lock belongs to the open file: it ends with the process, whatever ends that, so none is ever stale.
    if (native.lockExclusive(descriptor)) return () => fs.closeSync(descriptor);
    fs.closeSync(descriptor);
    return undefined;
  },
});
