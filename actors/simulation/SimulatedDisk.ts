/**
 * A disk that keeps apart what is readable and what is durable, per file and per directory entry, and can lose, tear or
 * reorder the difference. It is the platter and survives its processes; `attach` gives one process its Disk port. It owns
 * the tree of names, the locks, and how much room and time there is. What must stay true: everything it draws comes from
 * its seed, in the order of the operations, and a power cut leaves no more than `PowerCut.ts` allows.
 */
import { type Disk, DiskError } from "../../src/platform/Disk.ts";
import { AttachedDisk } from "./AttachedDisk.ts";
import { Attachment, type DiskUser } from "./Attachment.ts";
import { byName, DirectoryNode, type DiskNode, partsOf, reachable } from "./DirectoryNode.ts";
import type { DiskFault, DiskOperation } from "./DiskFault.ts";
import { FileNode } from "./FileNode.ts";
import { afterPowerCut, type PowerCut } from "./PowerCut.ts";
import type { SeededRandom } from "./SeededRandom.ts";

export interface SimulatedDiskOptions {
  readonly random: SeededRandom;
  readonly capacityBytes?: number;
  /** What becomes durable or is lost as one (default 512, a sector; a larger one hides faults behind their neighbours). */
  readonly pageBytes?: number;
  /** Whether `flushFileSystem` exists (default true). */
  readonly syncfs?: boolean;
  /** How often a `read`, `write` or `flush` that may wait does (default 0.5). */
  readonly pendingChance?: number;
  /** Longest latency of a pending operation in virtual milliseconds (default 4). */
  readonly latencyMs?: number;
}

export class SimulatedDisk {
  /** Operations that changed something, or tried to, since the disk was made. */
  operations = 0;
  /** Called before each operation: may refuse it, or take an `image`, or cut the power. */
  beforeOperation: ((operation: DiskOperation) => DiskFault | undefined) | undefined;
  readonly pageBytes: number;

  private root = new DirectoryNode();
  private readonly locks = new Map<string, DiskUser>();
  private readonly random: SeededRandom;

  constructor(private readonly options: SimulatedDiskOptions) {
    this.random = options.random;
    this.pageBytes = options.pageBytes ?? 512;
  }

  /** The disk as `user` sees it; deaf once the user is no longer alive. */
  attach(user: DiskUser): Disk {
    return new AttachedDisk(new Attachment(this, user));
  }

  /** Puts files there, with their directories and last written at that time: what a world begins with. */
  restore(files: ReadonlyMap<string, Uint8Array>, modifiedAt: number): void {
    for (const [path, bytes] of files) {
      let directory = this.root;
      const parts = partsOf(path);
      for (const part of parts.slice(0, -1)) {
        const inner = directory.entries.get(part) ?? new DirectoryNode();
        if (inner.kind !== "directory") throw new DiskError("EEXIST", "restore", path);
        directory.entries.set(part, inner);
        directory = inner;
      }
      const file = new FileNode(this.pageBytes);
      file.content.write(0, bytes);
      file.modifiedAt = modifiedAt;
      directory.entries.set(parts.at(-1)!, file);
    }
    this.settle();
  }

  /** Makes everything durable: the state a world begins with. */
  settle(): void {
    for (const node of this.everything()) node.settle();
  }

  /** The disk as it would be found after a power cut now. This disk is left as it is. */
  image(cut: PowerCut, random: SeededRandom): SimulatedDisk {
    const found = new SimulatedDisk({ ...this.options, random: random.fork("image") });
    found.root = afterPowerCut(this.root, cut, random);
    return found;
  }

  /** Cuts the power: only what `image` keeps is left, and all of that is durable. The machine's processes must be dead. */
  powerCut(cut: PowerCut, random: SeededRandom): void {
    this.root = afterPowerCut(this.root, cut, random);
    this.locks.clear();
  }

  /**
   * The processes using the disk died (kill -9): everything written stays readable, and what they were flushing is as
   * dirty as if they had not begun.
   */
  abandonFlushes(): void {
    for (const node of this.everything()) if (node.kind === "file") node.abandonFlushes();
  }

  /** Every file with its readable bytes, by path: for comparing disks in tests. */
  files(): Map<string, Uint8Array> {
    const files = new Map<string, Uint8Array>();
    const walk = (directory: DirectoryNode, prefix: string): void => {
      for (const [name, node] of [...directory.entries].sort(byName)) {
        if (node.kind === "file") files.set(`${prefix}/${name}`, node.content.bytes().slice());
        else walk(node, `${prefix}/${name}`);
      }
    };
    walk(this.root, "");
    return files;
  }

  /** Flips one bit of a file, readable and durable: what an unreliable medium does. */
  flipBit(path: string, bit: number): void {
    const file = this.file(path, "flipBit");
    for (const content of [file.content, file.durable]) {
      const position = bit >>> 3;
      if (position < content.size) content.buffer[position] = content.buffer[position]! ^ (1 << (bit & 7));
    }
  }

  // The rest is what `AttachedDisk` builds the port from.

  /** Whether an operation that may wait waits, and how long. */
  latency(fault: DiskFault | undefined): number | undefined {
    if (fault !== undefined && "delayMs" in fault) return fault.delayMs;
    if (!this.random.chance(this.options.pendingChance ?? 0.5)) return undefined;
    // Some answers come at once, but as another task.
    return this.random.chance(0.3) ? 0 : this.random.fraction() * (this.options.latencyMs ?? 4);
  }

  /**
   * How much of a write is there before its answer: whole pages, because a kernel fills a page under its lock. A page
   * that holds half of a write is what short writes are for.
   */
  part(position: number, length: number): number {
    const end = position + this.random.between(0, length);
    return end === position + length ? length : Math.max(0, end - (end % this.pageBytes) - position);
  }

  get hasSyncfs(): boolean {
    return this.options.syncfs ?? true;
  }

  /** What a name still leads to takes space; what was removed does not, durably or not. */
  freeBytes(): number {
    const used = (directory: DirectoryNode): number => {
      let sum = 0;
      for (const node of directory.entries.values()) sum += node.kind === "file" ? node.content.size : used(node);
      return sum;
    };
    return Math.max(0, this.totalBytes() - used(this.root));
  }

  totalBytes(): number {
    return this.options.capacityBytes ?? 2 ** 40;
  }

  hasRoomFor(bytes: number): boolean {
    return this.options.capacityBytes === undefined || bytes <= 0 || this.freeBytes() >= bytes;
  }

  find(path: string): DiskNode | undefined {
    return this.root.find(partsOf(path));
  }

  file(path: string, operation: string): FileNode {
    const node = this.find(path);
    if (node?.kind !== "file") throw new DiskError(node === undefined ? "ENOENT" : "OTHER", operation, path);
    return node;
  }

  directory(path: string, operation: string): DirectoryNode {
    const node = this.find(path);
    if (node?.kind !== "directory") throw new DiskError(node === undefined ? "ENOENT" : "OTHER", operation, path);
    return node;
  }

  parentOf(path: string, operation: string): readonly [DirectoryNode, string] {
    const parts = partsOf(path);
    const name = parts.at(-1);
    if (name === undefined) throw new DiskError("OTHER", operation, path, "no name");
    const parent = this.root.find(parts, parts.length - 1);
    if (parent?.kind === "directory") return [parent, name];
    throw new DiskError(parent === undefined ? "ENOENT" : "OTHER", operation, path);
  }

  /** Everything reachable now or after a power cut, in an order that depends on names only. */
  everything(): ReadonlyArray<DiskNode> {
    return reachable(this.root);
  }

  lock(path: string, user: DiskUser): (() => void) | undefined {
    const holder = this.locks.get(path);
    if (holder?.owner.alive) return undefined;
    this.locks.set(path, user);
    return () => {
      if (this.locks.get(path) === user) this.locks.delete(path);
    };
  }
}
