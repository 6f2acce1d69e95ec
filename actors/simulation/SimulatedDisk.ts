/**
 * A disk that keeps apart what is readable and what is durable, per file and per directory entry, and can lose, tear or
 * reorder the difference. What must stay true: bytes become durable only through a flush that succeeded and began after
 * they were written, names only through a flush of their directory; after a failed flush its bytes are clean but not
 * durable (they read back, a later flush does not save them, a power cut loses them), as Linux file systems do it.
 *
 * One `SimulatedDisk` is the platter and survives its processes; `attach` gives one process its Disk port.
 */
import { type Disk, DiskError, type DiskErrorCode, type DiskFile } from "../../src/platform/Disk.ts";
import type { MaybePending, Position } from "../../src/prelude/Types.ts";
import type { SeededRandom } from "./SeededRandom.ts";
import type { TaskOwner } from "./SeededTaskList.ts";

/**
 * What a power cut does to everything not durable. `lost`: all of it is gone. `kept`: the kernel had just written it.
 * `torn`: each file keeps a prefix of its writes, the last one cut at any byte, each directory a prefix of its changes.
 * `reordered`: each page holds what it held at some moment since the last flush; what is missing below
 * a survivor reads as zeros.
 * `mixed`: one of these per file and directory.
 */
export type PowerCut = "lost" | "kept" | "torn" | "reordered" | "mixed";

export const POWER_CUTS: ReadonlyArray<PowerCut> = ["lost", "kept", "torn", "reordered", "mixed"];

/** An operation about to happen. Those that change something are counted from 0 by `index`; reads have index -1. */
export interface DiskOperation {
  readonly index: number;
  readonly kind:
    | "create"
    | "write"
    | "truncate"
    | "rename"
    | "remove"
    | "makeDirectory"
    | "flush"
    | "flushDirectory"
    | "flushFileSystem"
    | "read";
  readonly path: string;
}

/**
 * What goes wrong with an operation. `error`: refused with that code (a flush fails after its pages were marked clean).
 * `short`: a write takes only so many bytes. `hang`: a pending operation never answers. `delayMs`: it takes that long.
 * `lie`: a flush answers success and does nothing (a drive that ignores it, or a broker that never asked).
 */
export type DiskFault =
  | { readonly error: DiskErrorCode }
  | { readonly short: number }
  | { readonly hang: true }
  | { readonly delayMs: number }
  | { readonly lie: true };

/** Thrown to code of a process that is no more and still calls; everything it does about it is as deaf. */
export class SimulatedCrash extends Error {
  override readonly name = "SimulatedCrash";
}

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

/** How one process reaches the platter. */
export interface DiskUser {
  readonly owner: TaskOwner;
  after(delayMs: number, task: () => void): void;
  wall(): number;
  trace(line: string): void;
}

type Change =
  | { readonly kind: "write"; readonly sequence: number; readonly position: number; readonly bytes: Uint8Array }
  | { readonly kind: "truncate"; readonly sequence: number; readonly size: number };

/** Bytes that grow. Beyond `size` the buffer is always zero. */
class Content {
  buffer = new Uint8Array(0);
  size = 0;

  write(position: number, bytes: Uint8Array): void {
    this.grow(position + bytes.length);
    this.buffer.set(bytes, position);
    this.size = Math.max(this.size, position + bytes.length);
  }

  resize(size: number): void {
    this.grow(size);
    if (size < this.size) this.buffer.fill(0, size, this.size);
    this.size = size;
  }

  bytes(): Uint8Array {
    return this.buffer.subarray(0, this.size);
  }

  copy(): Content {
    const content = new Content();
    content.write(0, this.bytes());
    return content;
  }

  private grow(size: number): void {
    if (size <= this.buffer.length) return;
    const larger = new Uint8Array(Math.max(size, 2 * this.buffer.length, 256));
    larger.set(this.bytes());
    this.buffer = larger;
  }
}

class FileNode {
  readonly kind = "file";
  content = new Content();
  durable = new Content();
  dirty = new Set<number>();
  /** What was done since the last flush that took part in it, oldest first. */
  changes: Change[] = [];
  modifiedAt = 0;
  /** The flush in progress: the next one waits for it and shares its failure. */
  flushing: Promise<void> | undefined;
  /** Pages that flushes in progress have marked clean. */
  readonly writeback = new Set<ReadonlyArray<number>>();
}

interface EntryChange {
  durable: boolean;
  readonly assigns: ReadonlyArray<readonly [DirectoryNode, string, Node | undefined]>;
}

class DirectoryNode {
  readonly kind = "directory";
  entries = new Map<string, Node>();
  durable = new Map<string, Node>();
  pending: EntryChange[] = [];
}

type Node = FileNode | DirectoryNode;

const assign = (entries: Map<string, Node>, name: string, node: Node | undefined): void => {
  if (node === undefined) entries.delete(name);
  else entries.set(name, node);
};

/** Parts of the paths that were asked for lately: a run asks for a few again and again. */
const partsOf = new Map<string, ReadonlyArray<string>>();
const MOST_PARTS = 10_000;

const split = (path: string): ReadonlyArray<string> => {
  const known = partsOf.get(path);
  if (known !== undefined) return known;
  const parts = path.split("/").filter((part) => part !== "" && part !== ".");
  if (partsOf.size >= MOST_PARTS) partsOf.clear();
  partsOf.set(path, parts);
  return parts;
};

export class SimulatedDisk {
  /** Operations that changed something, or tried to, since the disk was made. */
  operations = 0;
  /** Called before each operation: may refuse it, or take an `image`, or cut the power. */
  beforeOperation: ((operation: DiskOperation) => DiskFault | undefined) | undefined;

  private root = new DirectoryNode();
  private sequence = 0;
  private readonly locks = new Map<string, DiskUser>();
  private readonly random: SeededRandom;
  private readonly pageBytes: number;

  constructor(private readonly options: SimulatedDiskOptions) {
    this.random = options.random;
    this.pageBytes = options.pageBytes ?? 512;
  }

  /** The disk as `user` sees it; deaf once the user is no longer alive. */
  attach(user: DiskUser): Disk {
    return new AttachedDisk(this, user);
  }

  /** Puts files there, with their directories and last written at that time: what a world begins with. */
  restore(files: ReadonlyMap<string, Uint8Array>, modifiedAt: number): void {
    for (const [path, bytes] of files) {
      let directory = this.root;
      const parts = split(path);
      for (const part of parts.slice(0, -1)) {
        const inner = directory.entries.get(part) ?? new DirectoryNode();
        if (inner.kind !== "directory") throw new DiskError("EEXIST", "restore", path);
        directory.entries.set(part, inner);
        directory = inner;
      }
      const file = new FileNode();
      file.content.write(0, bytes);
      file.modifiedAt = modifiedAt;
      directory.entries.set(parts.at(-1)!, file);
    }
    this.settle();
  }

  /** Makes everything durable: the state a world begins with. */
  settle(): void {
    for (const node of this.everything()) {
      if (node.kind === "file") {
        node.durable = node.content.copy();
        node.dirty.clear();
        node.changes = [];
      } else {
        node.durable = new Map(node.entries);
        node.pending = [];
      }
    }
  }

  /** The disk as it would be found after a power cut now. This disk is left as it is. */
  image(cut: PowerCut, random: SeededRandom): SimulatedDisk {
    const modeOf = (): PowerCut => (cut === "mixed" ? random.pick(["lost", "kept", "torn", "reordered"]) : cut);
    const applied = new Set<EntryChange>();
    const nodes = this.everything();
    for (const node of nodes) {
      if (node.kind !== "directory") continue;
      const mode = modeOf();
      const count =
        mode === "lost" ? 0 : mode === "kept" ? node.pending.length : random.between(0, node.pending.length);
      for (const change of node.pending.slice(0, count)) applied.add(change);
    }
    const copies = new Map<Node, Node>();
    const copyOf = (node: Node): Node => {
      const known = copies.get(node);
      if (known !== undefined) return known;
      if (node.kind === "file") {
        const file = new FileNode();
        copies.set(node, file);
        file.content = this.survivor(node, modeOf(), random);
        file.durable = file.content.copy();
        file.modifiedAt = node.modifiedAt;
        return file;
      }
      const directory = new DirectoryNode();
      copies.set(node, directory);
      const entries = new Map(node.durable);
      for (const change of node.pending) {
        if (!applied.has(change)) continue;
        for (const [where, name, target] of change.assigns) if (where === node) assign(entries, name, target);
      }
      for (const [name, target] of [...entries].sort(([left], [right]) => (left < right ? -1 : 1))) {
        directory.entries.set(name, copyOf(target));
      }
      directory.durable = new Map(directory.entries);
      return directory;
    };
    const found = new SimulatedDisk({ ...this.options, random: random.fork("image") });
    found.root = copyOf(this.root) as DirectoryNode;
    return found;
  }

  /** Cuts the power: only what `image` keeps is left, and all of that is durable. The machine's processes must be dead. */
  powerCut(cut: PowerCut, random: SeededRandom): void {
    this.root = this.image(cut, random).root;
    this.locks.clear();
  }

  /**
   * The processes using the disk died (kill -9): everything written stays readable, and what they were flushing is as
   * dirty as if they had not begun.
   */
  abandonFlushes(): void {
    for (const node of this.everything()) {
      if (node.kind !== "file") continue;
      node.flushing = undefined;
      for (const pages of node.writeback) for (const page of pages) node.dirty.add(page);
      node.writeback.clear();
    }
  }

  /** Every file with its readable bytes, by path: for comparing disks in tests. */
  files(): Map<string, Uint8Array> {
    const files = new Map<string, Uint8Array>();
    const walk = (directory: DirectoryNode, prefix: string): void => {
      for (const [name, node] of [...directory.entries].sort(([left], [right]) => (left < right ? -1 : 1))) {
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

  begin(user: DiskUser, kind: DiskOperation["kind"], path: string): DiskFault | undefined {
    if (!user.owner.alive) throw new SimulatedCrash(`${user.owner.name} is no more`);
    const index = kind === "read" ? -1 : this.operations++;
    const fault = this.beforeOperation?.({ index, kind, path });
    if (kind !== "read") user.trace(`disk ${index} ${kind} ${path}${fault ? ` ${JSON.stringify(fault)}` : ""}`);
    // The hook may have killed the user: the operation then never happens.
    if (!user.owner.alive) throw new SimulatedCrash(`${user.owner.name} is no more`);
    return fault;
  }

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

  find(path: string): Node | undefined {
    const parts = split(path);
    return this.step(parts, parts.length);
  }

  private step(parts: ReadonlyArray<string>, depth: number): Node | undefined {
    let node: Node | undefined = this.root;
    for (let at = 0; at < depth; at++) {
      if (node?.kind !== "directory") return undefined;
      node = node.entries.get(parts[at]!);
    }
    return node;
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
    const parts = split(path);
    const name = parts.at(-1);
    if (name === undefined) throw new DiskError("OTHER", operation, path, "no name");
    const parent = this.step(parts, parts.length - 1);
    if (parent?.kind === "directory") return [parent, name];
    throw new DiskError(parent === undefined ? "ENOENT" : "OTHER", operation, path);
  }

  enter(assigns: EntryChange["assigns"]): void {
    const change: EntryChange = { durable: false, assigns };
    for (const [directory, name, node] of assigns) {
      assign(directory.entries, name, node);
      if (directory.pending.at(-1) !== change) directory.pending.push(change);
    }
  }

  write(file: FileNode, position: number, bytes: Uint8Array, now: number): void {
    if (bytes.length === 0) return;
    file.changes.push({ kind: "write", sequence: this.sequence++, position, bytes: new Uint8Array(bytes) });
    // A hole before the position is part of what the flush must save.
    this.soil(file, Math.min(file.content.size, position), position + bytes.length);
    file.content.write(position, bytes);
    file.modifiedAt = now;
  }

  truncate(file: FileNode, size: number, now: number): void {
    file.changes.push({ kind: "truncate", sequence: this.sequence++, size });
    this.soil(file, Math.min(size, file.content.size), Math.max(size, file.content.size));
    file.content.resize(size);
    file.modifiedAt = now;
  }

  /** Begins a flush of what was written so far; the answer ends it, well or not. */
  beginFlush(file: FileNode): (success: boolean) => void {
    const size = file.content.size;
    const upTo = this.sequence;
    const pages = [...file.dirty].map((page): readonly [number, Uint8Array] => {
      const start = page * this.pageBytes;
      return [start, file.content.buffer.slice(start, Math.min(size, start + this.pageBytes))];
    });
    // The kernel marks pages clean when it begins to write them, and leaves them so when it fails.
    const taken = [...file.dirty];
    file.dirty.clear();
    file.writeback.add(taken);
    return (success) => {
      if (!file.writeback.delete(taken)) return;
      file.changes = file.changes.filter((change) => change.sequence >= upTo);
      if (!success) return;
      file.durable.resize(size);
      for (const [start, bytes] of pages) if (bytes.length > 0) file.durable.write(start, bytes);
    };
  }

  /** Makes these changes of directories durable, as far as no other flush has done it already. */
  flushEntries(changes: ReadonlyArray<EntryChange>): void {
    for (const change of changes) {
      if (change.durable) continue;
      change.durable = true;
      for (const [where, name, node] of change.assigns) {
        assign(where.durable, name, node);
        where.pending = where.pending.filter((other) => other !== change);
      }
    }
  }

  /** Everything reachable now or after a power cut, in an order that depends on names only. */
  everything(): Node[] {
    const seen = new Set<Node>();
    const walk = (node: Node): void => {
      if (seen.has(node)) return;
      seen.add(node);
      if (node.kind !== "directory") return;
      const next: Array<readonly [string, Node]> = [...node.entries, ...node.durable];
      for (const change of node.pending) {
        for (const [, name, target] of change.assigns) if (target !== undefined) next.push([name, target]);
      }
      // Sorting is stable, so nodes of one name stay in the order above.
      for (const [, child] of next.sort(([left], [right]) => (left < right ? -1 : left > right ? 1 : 0))) walk(child);
    };
    walk(this.root);
    return [...seen];
  }

  lock(path: string, user: DiskUser): (() => void) | undefined {
    const holder = this.locks.get(path);
    if (holder?.owner.alive) return undefined;
    this.locks.set(path, user);
    return () => {
      if (this.locks.get(path) === user) this.locks.delete(path);
    };
  }

  private soil(file: FileNode, start: number, end: number): void {
    for (let page = Math.floor(start / this.pageBytes); page * this.pageBytes < end; page++) file.dirty.add(page);
  }

  private survivor(file: FileNode, mode: PowerCut, random: SeededRandom): Content {
    const content = file.durable.copy();
    const apply = (change: Change, length = Number.POSITIVE_INFINITY): void => {
      if (change.kind === "truncate") content.resize(change.size);
      else if (length > 0) content.write(change.position, change.bytes.subarray(0, length));
    };
    if (mode === "kept") {
      for (const change of file.changes) apply(change);
    } else if (mode === "torn" && file.changes.length > 0) {
      const whole = random.below(file.changes.length);
      for (const change of file.changes.slice(0, whole)) apply(change);
      const last = file.changes[whole]!;
      if (last.kind === "truncate") apply(last);
      else {
        const cut = random.between(0, last.bytes.length);
        // A disk writes whole sectors, a file system or a controller may not.
        apply(last, random.chance(0.5) ? cut : cut - (cut % 512));
      }
    } else if (mode === "reordered") {
      this.reorder(file.changes, random, apply, content);
      // The size may be written without the bytes: what is missing reads as zeros.
      if (content.size < file.content.size && random.chance(0.5)) content.resize(file.content.size);
    }
    return content;
  }

  /** Each page is written back at a moment of its own, or never: it holds what it held then. */
  private reorder(
    changes: ReadonlyArray<Change>,
    random: SeededRandom,
    apply: (change: Change) => void,
    content: Content,
  ): void {
    const touches = new Map<number, number>();
    for (const change of changes) {
      for (const { page } of this.pagesOf(change)) touches.set(page, (touches.get(page) ?? 0) + 1);
    }
    // Half of them never: between two writes a page's moment is rare, and a lost page is the interesting one.
    const kept = new Map(
      [...touches].map(([page, count]) => [
        page,
        random.chance(0.5) ? count : random.chance(0.5) ? 0 : random.below(count),
      ]),
    );
    for (const change of changes) {
      if (change.kind === "truncate") {
        if (random.chance(0.5)) apply(change);
        continue;
      }
      for (const { page, start, end } of this.pagesOf(change)) {
        const left = kept.get(page) ?? 0;
        if (left === 0) continue;
        kept.set(page, left - 1);
        content.write(change.position + start, change.bytes.subarray(start, end));
      }
    }
  }

  /** The parts of a write's bytes by the pages they fall into. */
  private pagesOf(change: Change): Array<{ readonly page: number; readonly start: number; readonly end: number }> {
    if (change.kind === "truncate") return [];
    const { position, bytes } = change;
    const parts: Array<{ page: number; start: number; end: number }> = [];
    for (let start = 0; start < bytes.length; ) {
      const page = Math.floor((position + start) / this.pageBytes);
      const end = Math.min(bytes.length, (page + 1) * this.pageBytes - position);
      parts.push({ page, start, end });
      start = end;
    }
    return parts;
  }
}

const never = <A>(): Promise<A> => new Promise<A>(() => {});

class AttachedDisk implements Disk {
  constructor(
    private readonly disk: SimulatedDisk,
    private readonly user: DiskUser,
  ) {}

  get flushFileSystem(): ((directory: string) => MaybePending<void>) | undefined {
    return this.disk.hasSyncfs ? this.syncfs : undefined;
  }

  open(path: string, mode: "read" | "write"): DiskFile {
    this.check();
    const found = this.disk.find(path);
    if (found?.kind === "file") return new AttachedFile(this.disk, this.user, path, found);
    if (found !== undefined) throw new DiskError("OTHER", "open", path, "a directory");
    if (mode === "read") throw new DiskError("ENOENT", "open", path);
    this.refuse("create", path);
    const [parent, name] = this.disk.parentOf(path, "open");
    const file = new FileNode();
    file.modifiedAt = this.user.wall();
    this.disk.enter([[parent, name, file]]);
    return new AttachedFile(this.disk, this.user, path, file);
  }

  exists(path: string): boolean {
    this.check();
    return this.disk.find(path) !== undefined;
  }

  fileSize(path: string): number | undefined {
    this.check();
    const node = this.disk.find(path);
    return node?.kind === "file" ? node.content.size : undefined;
  }

  modifiedAt(path: string): number | undefined {
    this.check();
    const node = this.disk.find(path);
    return node?.kind === "file" ? node.modifiedAt : undefined;
  }

  list(directory: string): string[] {
    this.check();
    const node = this.disk.find(directory);
    return node?.kind === "directory" ? [...node.entries.keys()].sort() : [];
  }

  isDirectory(path: string): boolean {
    this.check();
    return this.disk.find(path)?.kind === "directory";
  }

  makeDirectory(path: string): void {
    const parts = split(path);
    for (let depth = 1; depth <= parts.length; depth++) {
      const partial = parts.slice(0, depth).join("/");
      const node = this.disk.find(partial);
      if (node?.kind === "directory") continue;
      if (node !== undefined) throw new DiskError("EEXIST", "makeDirectory", path);
      this.refuse("makeDirectory", `/${partial}`);
      const [parent, name] = this.disk.parentOf(partial, "makeDirectory");
      this.disk.enter([[parent, name, new DirectoryNode()]]);
    }
  }

  rename(from: string, to: string): void {
    this.check();
    const node = this.disk.find(from);
    if (node === undefined) throw new DiskError("ENOENT", "rename", from);
    const [fromParent, fromName] = this.disk.parentOf(from, "rename");
    const [toParent, toName] = this.disk.parentOf(to, "rename");
    const target = toParent.entries.get(toName);
    if (target === node) return;
    if (target?.kind === "directory" && target.entries.size > 0) throw new DiskError("EEXIST", "rename", to);
    this.refuse("rename", from);
    this.disk.enter([
      [fromParent, fromName, undefined],
      [toParent, toName, node],
    ]);
  }

  remove(path: string): void {
    this.check();
    const node = this.disk.find(path);
    if (node === undefined) return;
    if (node.kind === "directory") throw new DiskError("OTHER", "remove", path, "a directory");
    this.refuse("remove", path);
    const [parent, name] = this.disk.parentOf(path, "remove");
    this.disk.enter([[parent, name, undefined]]);
  }

  removeDirectory(path: string): void {
    this.check();
    const node = this.disk.find(path);
    if (node === undefined) return;
    if (node.kind === "file") {
      this.remove(path);
      return;
    }
    for (const name of this.list(path)) this.removeDirectory(`${path}/${name}`);
    this.refuse("remove", path);
    const [parent, name] = this.disk.parentOf(path, "removeDirectory");
    this.disk.enter([[parent, name, undefined]]);
  }

  flushDirectory(directory: string): MaybePending<void> {
    const fault = this.disk.begin(this.user, "flushDirectory", directory);
    const node = this.disk.directory(directory, "flushDirectory");
    const changes = [...node.pending];
    return settle(this.disk, this.user, fault, "flushDirectory", directory, (success) => {
      if (success) this.disk.flushEntries(changes);
    });
  }

  readFile(path: string): Uint8Array | undefined {
    this.check();
    const node = this.disk.find(path);
    if (node === undefined) return undefined;
    if (node.kind === "directory") throw new DiskError("OTHER", "readFile", path, "a directory");
    this.refuse("read", path);
    return node.content.bytes().slice();
  }

  replaceFile(path: string, content: Uint8Array): void {
    const temporary = `${path}.tmp`;
    this.remove(temporary);
    const file = this.open(temporary, "write");
    const node = this.disk.file(temporary, "replaceFile");
    try {
      if (content.length > 0) {
        const fault = this.disk.begin(this.user, "write", temporary);
        if (fault !== undefined && "error" in fault) throw new DiskError(fault.error, "replaceFile", path);
        if (!this.disk.hasRoomFor(content.length)) throw new DiskError("ENOSPC", "replaceFile", path);
        this.disk.write(node, 0, content, this.user.wall());
      }
      const fault = this.disk.begin(this.user, "flush", temporary);
      const failed = fault !== undefined && "error" in fault;
      this.disk.beginFlush(node)(!failed && !(fault !== undefined && "lie" in fault));
      if (failed) throw new DiskError(fault.error, "replaceFile", path);
    } finally {
      file.close();
    }
    this.rename(temporary, path);
    const [parent] = this.disk.parentOf(path, "replaceFile");
    const fault = this.disk.begin(this.user, "flushDirectory", path);
    if (fault !== undefined && "error" in fault) throw new DiskError(fault.error, "replaceFile", path);
    if (!(fault !== undefined && "lie" in fault)) this.disk.flushEntries([...parent.pending]);
  }

  freeBytes(): number {
    this.check();
    return this.disk.freeBytes();
  }

  totalBytes(): number {
    this.check();
    return this.disk.totalBytes();
  }

  lock(path: string): (() => void) | undefined {
    this.open(path, "write").close();
    return this.disk.lock(path, this.user);
  }

  private readonly syncfs = (directory: string): MaybePending<void> => {
    const fault = this.disk.begin(this.user, "flushFileSystem", directory);
    const ends: Array<(success: boolean) => void> = [];
    for (const node of this.disk.everything()) {
      if (node.kind === "file") ends.push(this.disk.beginFlush(node));
      else {
        const changes = [...node.pending];
        ends.push((success) => {
          if (success) this.disk.flushEntries(changes);
        });
      }
    }
    return settle(this.disk, this.user, fault, "flushFileSystem", directory, (success) => {
      for (const end of ends) end(success);
    });
  };

  private check(): void {
    if (!this.user.owner.alive) throw new SimulatedCrash(`${this.user.owner.name} is no more`);
  }

  private refuse(kind: DiskOperation["kind"], path: string): void {
    const fault = this.disk.begin(this.user, kind, path);
    if (fault !== undefined && "error" in fault) throw new DiskError(fault.error, kind, path);
  }
}

const settle = (
  disk: SimulatedDisk,
  user: DiskUser,
  fault: DiskFault | undefined,
  operation: string,
  path: string,
  end: (success: boolean) => void,
): MaybePending<void> => {
  if (fault !== undefined && "hang" in fault) return never();
  const finish = (): DiskError | undefined => {
    const error = fault !== undefined && "error" in fault ? new DiskError(fault.error, operation, path) : undefined;
    end(error === undefined && !(fault !== undefined && "lie" in fault));
    return error;
  };
  const wait = disk.latency(fault);
  if (wait === undefined) {
    const error = finish();
    if (error !== undefined) throw error;
    return;
  }
  return new Promise((resolve, reject) => {
    user.after(wait, () => {
      const error = finish();
      if (error === undefined) resolve();
      else reject(error);
    });
  });
};

class AttachedFile implements DiskFile {
  private open = true;

  constructor(
    private readonly disk: SimulatedDisk,
    private readonly user: DiskUser,
    readonly path: string,
    private readonly node: FileNode,
  ) {}

  size(): number {
    this.check();
    return this.node.content.size;
  }

  write(chunks: ReadonlyArray<Uint8Array>, position: Position): MaybePending<number> {
    this.check();
    const fault = this.disk.begin(this.user, "write", this.path);
    if (fault !== undefined && "hang" in fault) return never();
    const joined = Buffer.concat(chunks);
    let taken = joined.length;
    if (fault !== undefined && "short" in fault) taken = Math.min(taken, fault.short);
    const growth = (length: number): number => Math.max(0, position + length - this.node.content.size);
    if (!this.disk.hasRoomFor(growth(taken))) taken = Math.max(0, taken - growth(taken) + this.disk.freeBytes());
    const wait = this.disk.latency(fault);
    if ((fault !== undefined && "error" in fault) || (taken === 0 && joined.length > 0)) {
      const error = new DiskError(fault !== undefined && "error" in fault ? fault.error : "ENOSPC", "write", this.path);
      if (wait === undefined) throw error;
      return new Promise((_, reject) => this.user.after(wait, () => reject(error)));
    }
    if (wait === undefined) {
      this.disk.write(this.node, position, joined.subarray(0, taken), this.user.wall());
      return taken;
    }
    // Part of it is there before the answer is, as on a real disk.
    const early = this.disk.part(position, taken);
    this.disk.write(this.node, position, joined.subarray(0, early), this.user.wall());
    return new Promise((resolve, reject) => {
      this.user.after(wait, () => {
        if (!this.open) return reject(this.closedMeanwhile("write"));
        if (!Buffer.concat(chunks).equals(joined)) {
          reject(new Error(`${this.path}: a chunk was changed while it belonged to the disk`));
          return;
        }
        this.disk.write(this.node, position + early, joined.subarray(early, taken), this.user.wall());
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
    const fault = this.disk.begin(this.user, "read", this.path);
    if (fault !== undefined && "hang" in fault) return never();
    const error = fault !== undefined && "error" in fault ? new DiskError(fault.error, "read", this.path) : undefined;
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
    const fault = this.disk.begin(this.user, "flush", this.path);
    const node = this.node;
    const end = this.disk.beginFlush(node);
    const before = node.flushing;
    if (before === undefined) {
      const answer = settle(this.disk, this.user, fault, "flush", this.path, end);
      if (answer instanceof Promise) this.remember(answer);
      return answer;
    }
    // The kernel makes this flush wait for the pages the other one is writing, and tells both when that failed.
    const answer = before.then(
      () => settle(this.disk, this.user, fault, "flush", this.path, end),
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
    const fault = this.disk.begin(this.user, "truncate", this.path);
    if (fault !== undefined && "error" in fault) throw new DiskError(fault.error, "truncate", this.path);
    this.disk.truncate(this.node, size, this.user.wall());
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
    if (!this.user.owner.alive) throw new SimulatedCrash(`${this.user.owner.name} is no more`);
    if (!this.open) throw new Error(`${this.path} was used after it was closed`);
  }
}
