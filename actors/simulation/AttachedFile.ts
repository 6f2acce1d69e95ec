/**
 * A file that one process has open on a simulated disk: its reads, writes and flushes, answered at once or later. What
 * must stay true: a chunk belongs to the disk until its write is answered, a flush that waits for a failing one fails
 * too, and whoever closes a file in the middle of a read or a write is told.
 */
import { DiskError, type DiskFile } from "../../src/platform/Disk.ts";
import type { MaybePending, Position } from "../../src/prelude/Types.ts";
import { type Attachment, type DiskUser, never } from "./Attachment.ts";
import { type DiskFault, errorOf, isHang } from "./DiskFault.ts";
import type { FileNode } from "./FileNode.ts";
import type { SimulatedDisk } from "./SimulatedDisk.ts";

export class AttachedFile implements DiskFile {
  private readonly disk: SimulatedDisk;
  private readonly user: DiskUser;
  private open = true;

  constructor(
    private readonly attachment: Attachment,
    readonly path: string,
    private readonly node: FileNode,
  ) {
    this.disk = attachment.disk;
    this.user = attachment.user;
  }

  size(): number {
    this.check();
    return this.node.content.size;
  }

  write(chunks: ReadonlyArray<Uint8Array>, position: Position): MaybePending<number> {
    this.check();
    const fault = this.attachment.begin("write", this.path);
    if (isHang(fault)) return never();
    const joined = Buffer.concat(chunks);
    let taken = joined.length;
    if (fault !== undefined && "short" in fault) taken = Math.min(taken, fault.short);
    const growth = (length: number): number => Math.max(0, position + length - this.node.content.size);
    if (!this.disk.hasRoomFor(growth(taken))) taken = Math.max(0, taken - growth(taken) + this.disk.freeBytes());
    const wait = this.disk.latency(fault);
    const full = taken === 0 && joined.length > 0;
    const error =
      errorOf(fault, "write", this.path) ?? (full ? new DiskError("ENOSPC", "write", this.path) : undefined);
    if (error !== undefined) {
      if (wait === undefined) throw error;
      return new Promise((_, reject) => this.user.after(wait, () => reject(error)));
    }
    if (wait === undefined) {
      this.node.write(position, joined.subarray(0, taken), this.user.wall());
      return taken;
    }
    // Part of it is there before the answer is, as on a real disk.
    const early = this.disk.part(position, taken);
    this.node.write(position, joined.subarray(0, early), this.user.wall());
    return new Promise((resolve, reject) => {
      this.user.after(wait, () => {
        if (!this.open) return reject(this.closedMeanwhile("write"));
        if (!Buffer.concat(chunks).equals(joined)) {
          reject(new Error(`${this.path}: a chunk was changed while it belonged to the disk`));
          return;
        }
        this.node.write(position + early, joined.subarray(early, taken), this.user.wall());
        resolve(taken);
      });
    });
  }

  read(target: Uint8Array, position: Position): MaybePending<number> {
    return this.readAfter(target, position, (fault) => this.disk.latency(fault));
  }

  async readAside(target: Uint8Array, position: Position): Promise<number> {
    return this.readAfter(target, position, (fault) => this.disk.latency(fault) ?? 0);
  }

  private readAfter(
    target: Uint8Array,
    position: Position,
    latency: (fault: DiskFault | undefined) => number | undefined,
  ): MaybePending<number> {
    this.check();
    const fault = this.attachment.begin("read", this.path);
    if (isHang(fault)) return never();
    const error = errorOf(fault, "read", this.path);
    const copy = (): number => {
      const bytes = this.node.content.bytes().subarray(position, position + target.length);
      target.set(bytes);
      return bytes.length;
    };
    const wait = latency(fault);
    if (wait === undefined) {
      if (error !== undefined) throw error;
      return copy();
    }
    return new Promise((resolve, reject) => {
      this.user.after(wait, () => {
        if (!this.open) reject(this.closedMeanwhile("read"));
        else if (error === undefined) resolve(copy());
        else reject(error);
      });
    });
  }

  flush(): MaybePending<void> {
    this.check();
    const fault = this.attachment.begin("flush", this.path);
    const node = this.node;
    const end = node.beginFlush();
    const before = node.flushing;
    if (before === undefined) {
      const answer = this.attachment.answerFlush(fault, "flush", this.path, end);
      if (answer instanceof Promise) this.remember(answer);
      return answer;
    }
    // The kernel makes this flush wait for the pages the other one is writing, and tells both when that failed.
    const answer = before.then(
      () => this.attachment.answerFlush(fault, "flush", this.path, end),
      () => {
        end(false);
        throw new DiskError("EIO", "flush", this.path);
      },
    );
    this.remember(answer);
    return answer;
  }

  truncate(size: number): void {
    this.check();
    this.attachment.beginOrThrow("truncate", this.path);
    this.node.truncate(size, this.user.wall());
  }

  close(): void {
    this.open = false;
  }

  /** Its descriptor may be another file's by then. */
  private closedMeanwhile(operation: string): Error {
    return new Error(`${this.path} was closed in the middle of a ${operation}`);
  }

  private remember(flush: Promise<void>): void {
    const node = this.node;
    node.flushing = flush;
    const forget = (): void => {
      if (node.flushing === flush) node.flushing = undefined;
    };
    flush.then(forget, forget);
  }

  private check(): void {
    this.attachment.check();
    if (!this.open) throw new Error(`${this.path} was used after it was closed`);
  }
}
