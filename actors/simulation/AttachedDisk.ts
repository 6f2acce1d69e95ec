/**
 * The Disk port of one process at a simulated disk. What must stay true: every change is an operation of its own, at which
 * a hook can refuse it or cut the power, and a refused one changed nothing; what a real disk does in several steps
 * (`replaceFile`, `removeDirectory`) is as many operations here.
 */
import { type Disk, DiskError, type DiskFile } from "../../src/platform/Disk.ts";
import type { MaybePending } from "../../src/prelude/Types.ts";
import { AttachedFile } from "./AttachedFile.ts";
import type { Attachment, DiskUser } from "./Attachment.ts";
import { DirectoryNode, type DiskNode, enter, partsOf } from "./DirectoryNode.ts";
import { errorOf, isFlushed } from "./DiskFault.ts";
import { FileNode } from "./FileNode.ts";
import type { SimulatedDisk } from "./SimulatedDisk.ts";

export class AttachedDisk implements Disk {
  private readonly disk: SimulatedDisk;
  private readonly user: DiskUser;

  constructor(private readonly attachment: Attachment) {
    this.disk = attachment.disk;
    this.user = attachment.user;
  }

  get flushFileSystem(): ((directory: string) => MaybePending<void>) | undefined {
    return this.disk.hasSyncfs ? this.syncfs : undefined;
  }

  open(path: string, mode: "read" | "write"): DiskFile {
    this.attachment.check();
    const found = this.disk.find(path);
    if (found?.kind === "file") return new AttachedFile(this.attachment, path, found);
    if (found !== undefined) throw new DiskError("OTHER", "open", path, "a directory");
    if (mode === "read") throw new DiskError("ENOENT", "open", path);
    this.attachment.beginOrThrow("create", path);
    const [parent, name] = this.disk.parentOf(path, "open");
    const file = new FileNode(this.disk.pageBytes);
    file.modifiedAt = this.user.wall();
    enter([[parent, name, file]]);
    return new AttachedFile(this.attachment, path, file);
  }

  exists(path: string): boolean {
    this.attachment.check();
    return this.disk.find(path) !== undefined;
  }

  fileSize(path: string): number | undefined {
    this.attachment.check();
    const node = this.disk.find(path);
    return node?.kind === "file" ? node.content.size : undefined;
  }

  modifiedAt(path: string): number | undefined {
    this.attachment.check();
    const node = this.disk.find(path);
    return node?.kind === "file" ? node.modifiedAt : undefined;
  }

  list(directory: string): string[] {
    this.attachment.check();
    const node = this.disk.find(directory);
    return node?.kind === "directory" ? [...node.entries.keys()].sort() : [];
  }

  isDirectory(path: string): boolean {
    this.attachment.check();
    return this.disk.find(path)?.kind === "directory";
  }

  makeDirectory(path: string): void {
    const parts = partsOf(path);
    for (let depth = 1; depth <= parts.length; depth++) {
      const partial = parts.slice(0, depth).join("/");
      const node = this.disk.find(partial);
      if (node?.kind === "directory") continue;
      if (node !== undefined) throw new DiskError("EEXIST", "makeDirectory", path);
      this.attachment.beginOrThrow("makeDirectory", `/${partial}`);
      const [parent, name] = this.disk.parentOf(partial, "makeDirectory");
      enter([[parent, name, new DirectoryNode()]]);
    }
  }

  rename(from: string, to: string): void {
    this.attachment.check();
    const node = this.disk.find(from);
    if (node === undefined) throw new DiskError("ENOENT", "rename", from);
    const [fromParent, fromName] = this.disk.parentOf(from, "rename");
    const [toParent, toName] = this.disk.parentOf(to, "rename");
    const target = toParent.entries.get(toName);
    if (target === node) return;
    if (target?.kind === "directory" && target.entries.size > 0) throw new DiskError("EEXIST", "rename", to);
    this.attachment.beginOrThrow("rename", from);
    enter([
      [fromParent, fromName, undefined],
      [toParent, toName, node],
    ]);
  }

  remove(path: string): void {
    this.attachment.check();
    const node = this.disk.find(path);
    if (node === undefined) return;
    if (node.kind === "directory") throw new DiskError("OTHER", "remove", path, "a directory");
    this.attachment.beginOrThrow("remove", path);
    const [parent, name] = this.disk.parentOf(path, "remove");
    enter([[parent, name, undefined]]);
  }

  removeDirectory(path: string): void {
    this.attachment.check();
    const node = this.disk.find(path);
    if (node === undefined) return;
    if (node.kind === "file") {
      this.remove(path);
      return;
    }
    for (const name of this.list(path)) this.removeDirectory(`${path}/${name}`);
    this.attachment.beginOrThrow("remove", path);
    const [parent, name] = this.disk.parentOf(path, "removeDirectory");
    enter([[parent, name, undefined]]);
  }

  flushDirectory(directory: string): MaybePending<void> {
    const fault = this.attachment.begin("flushDirectory", directory);
    const end = this.disk.directory(directory, "flushDirectory").beginFlush();
    return this.attachment.answerFlush(fault, "flushDirectory", directory, end);
  }

  readFile(path: string): Uint8Array | undefined {
    this.attachment.check();
    const node = this.disk.find(path);
    if (node === undefined) return undefined;
    if (node.kind === "directory") throw new DiskError("OTHER", "readFile", path, "a directory");
    this.attachment.beginOrThrow("read", path);
    return node.content.bytes().slice();
  }

  replaceFile(path: string, content: Uint8Array): void {
    const temporary = `${path}.tmp`;
    this.remove(temporary);
    const file = this.open(temporary, "write");
    const node = this.disk.file(temporary, "replaceFile");
    try {
      if (content.length > 0) {
        const error = errorOf(this.attachment.begin("write", temporary), "replaceFile", path);
        if (error !== undefined) throw error;
        if (!this.disk.hasRoomFor(content.length)) throw new DiskError("ENOSPC", "replaceFile", path);
        node.write(0, content, this.user.wall());
      }
      this.flushReplaced("flush", temporary, node, path);
    } finally {
      file.close();
    }
    this.rename(temporary, path);
    const [parent] = this.disk.parentOf(path, "replaceFile");
    this.flushReplaced("flushDirectory", path, parent, path);
  }

  freeBytes(): number {
    this.attachment.check();
    return this.disk.freeBytes();
  }

  totalBytes(): number {
    this.attachment.check();
    return this.disk.totalBytes();
  }

  lock(path: string): (() => void) | undefined {
    this.open(path, "write").close();
    return this.disk.lock(path, this.user);
  }

  private readonly syncfs = (directory: string): MaybePending<void> => {
    const fault = this.attachment.begin("flushFileSystem", directory);
    const nodes = this.disk.everything();
    const before = nodes.flatMap((node) => (node.kind === "file" && node.flushing ? [node.flushing] : []));
    const ends = nodes.map((node) => node.beginFlush());
    const end = (success: boolean): void => {
      for (const one of ends) one(success);
    };
    const answer = (): MaybePending<void> => this.attachment.answerFlush(fault, "flushFileSystem", directory, end);
    if (before.length === 0) return answer();
    // As a file's flush does: the kernel waits for the pages that others are writing, and tells when that failed.
    return Promise.all(before).then(answer, () => {
      end(false);
      throw new DiskError("EIO", "flushFileSystem", directory);
    });
  };

  /** A flush within `replaceFile`, which answers at once. */
  private flushReplaced(kind: "flush" | "flushDirectory", flushed: string, node: DiskNode, path: string): void {
    const fault = this.attachment.begin(kind, flushed);
    node.beginFlush()(isFlushed(fault));
    const error = errorOf(fault, "replaceFile", path);
    if (error !== undefined) throw error;
  }
}
