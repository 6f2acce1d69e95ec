/**
 * The Disk port: every byte the broker keeps passes through here, so that a simulated disk can lose, tear, reorder or
 * refuse it. What must stay true: nothing outside `src/platform` and `actors/simulation` touches a file; a `write` is
 * readable at once and durable only after `flush`; a new or renamed name is durable only after `flushDirectory`.
 *
 * Operations that may have to wait answer `MaybePending` (done or a promise): `write`, `read`, `flush`,
 * `flushDirectory`, `flushFileSystem`. The rest is short metadata work and is synchronous. Failures are thrown (or
 * rejected) as `DiskError`.
 */
import type { MaybePending, Position } from "../prelude/Types.ts";

/** Why the operating system refused. `OTHER` keeps the original code in the message. */
export type DiskErrorCode = "EIO" | "ENOSPC" | "EACCES" | "EMFILE" | "ENOENT" | "EEXIST" | "EROFS" | "OTHER";

export class DiskError extends Error {
  readonly _tag = "DiskError";
  override readonly name = "DiskError";
  constructor(
    readonly code: DiskErrorCode,
    readonly operation: string,
    readonly path: string,
    detail = "",
  ) {
    super(`${operation} ${path}: ${code}${detail === "" ? "" : ` (${detail})`}`);
  }
}

const words: Readonly<Record<Exclude<DiskErrorCode, "OTHER">, string>> = {
  EIO: "the disk cannot be read or written (EIO)",
  ENOSPC: "the file system is full",
  EACCES: "permission denied",
  EMFILE: "too many files are open",
  ENOENT: "there is no such place",
  EEXIST: "there is a file of that name",
  EROFS: "the file system is read-only",
};

/** Why, for a person; whatever is no `DiskError` as it is. */
export const diskTrouble = (error: unknown): string =>
  error instanceof DiskError && error.code !== "OTHER" ? words[error.code] : String(error);

export interface DiskFile {
  readonly path: string;
  /** Bytes in the file now. */
  size(): number;
  /**
   * Writes the chunks one after another at `position` and answers how many bytes were taken: fewer than given is a
   * short write and the caller continues or gives up. The chunks belong to the disk until the answer is there.
   */
  write(chunks: ReadonlyArray<Uint8Array>, position: Position): MaybePending<number>;
  /** Reads into `target` from `position`; answers how many bytes were there (fewer only at the end of the file). */
  read(target: Uint8Array, position: Position): MaybePending<number>;
  /** As `read`, but whoever else has something to do gets a turn before it is done: for whoever reads much and has time. */
  readAside(target: Uint8Array, position: Position): Promise<number>;
  /** Makes every byte written before the call durable (fdatasync). After a failure the file is not to be trusted. */
  flush(): MaybePending<void>;
  truncate(size: number): void;
  close(): void;
}

export interface Disk {
  /** `"read"`: must exist, is never written. `"write"`: read and written, created when missing. */
  open(path: string, mode: "read" | "write"): DiskFile;
  exists(path: string): boolean;
  /** Bytes in the file, or undefined when there is none. */
  fileSize(path: string): number | undefined;
  /** Milliseconds since 1970 of the last write to the file, or undefined when there is none. */
  modifiedAt(path: string): number | undefined;
  /** Names (not paths) in a directory, sorted; empty when there is no such directory. */
  list(directory: string): string[];
  isDirectory(path: string): boolean;
  makeDirectory(path: string): void;
  rename(from: string, to: string): void;
  /** Removes a file; nothing happens when there is none. */
  remove(path: string): void;
  /** Removes a directory and everything in it; nothing happens when there is none. */
  removeDirectory(path: string): void;
  /** Makes names created, renamed or removed in the directory durable. */
  flushDirectory(directory: string): MaybePending<void>;
  /** The whole file, or undefined when there is none. For small files (checkpoints, snapshots). */
  readFile(path: string): Uint8Array | undefined;
  /**
   * Replaces a small file in one step: temporary file, fsync, rename, fsync of the directory. Afterwards the old or
   * the new content is there, never a mixture, also after a power cut.
   */
  replaceFile(path: string, content: Uint8Array): void;
  /** Makes everything on the file system of `directory` durable (syncfs), where the platform has it. */
  readonly flushFileSystem: ((directory: string) => MaybePending<void>) | undefined;
  /** Bytes an unprivileged writer may still write on the file system of `directory`. */
  freeBytes(directory: string): number;
  /** Size in bytes of the file system of `directory`. */
  totalBytes(directory: string): number;
  /**
   * Takes the exclusive lock file of a log directory (Kafka's `.lock`); answers the release function, or undefined
   * when another process holds it.
   */
  lock(path: string): (() => void) | undefined;
}
