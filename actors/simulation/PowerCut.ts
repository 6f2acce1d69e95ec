/**
 * What a power cut leaves of a simulated disk: of each directory some of the changes of names that nothing flushed, of
 * each file some of the writes. What must stay true: what was flushed and not touched since is left, nothing
 * appears that was never written but zeros in the gaps, a rename happened in both its directories or in neither, and the
 * tree that is cut is only looked at.
 */
import { assign, byName, DirectoryNode, type EntryChange, reachable } from "./DirectoryNode.ts";
import { type Content, type FileChange, FileNode } from "./FileNode.ts";
import type { SeededRandom } from "./SeededRandom.ts";

/**
 * What a power cut does to everything not durable. `lost`: all of it is gone. `kept`: the kernel had just written it.
 * `torn`: each file keeps a prefix of its writes, the last one cut at any byte, each directory a prefix of its changes.
 * `reordered`: each page holds what it held at some moment since the last flush; what is missing below a survivor reads
 * as zeros. `mixed`: one of these per file and directory.
 */
export type PowerCut = "lost" | "kept" | "torn" | "reordered" | "mixed";

export const POWER_CUTS: ReadonlyArray<PowerCut> = ["lost", "kept", "torn", "reordered", "mixed"];

/** The tree under `root` as it would be found after a power cut now: all of what is left is durable. */
export const afterPowerCut = (root: DirectoryNode, cut: PowerCut, random: SeededRandom): DirectoryNode => {
  const modeOf = (): PowerCut => (cut === "mixed" ? random.pick(["lost", "kept", "torn", "reordered"]) : cut);
  const applied = new Set<EntryChange>();
  for (const node of reachable(root)) {
    if (node.kind !== "directory") continue;
    for (const change of node.pending.slice(0, changesLeft(node, modeOf(), random))) applied.add(change);
  }
  const files = new Map<FileNode, FileNode>();
  const directories = new Map<DirectoryNode, DirectoryNode>();
  const copyFile = (node: FileNode): FileNode => {
    const known = files.get(node);
    if (known !== undefined) return known;
    const file = new FileNode(node.pageBytes, contentLeft(node, modeOf(), random));
    file.modifiedAt = node.modifiedAt;
    file.settle();
    files.set(node, file);
    return file;
  };
  const copyDirectory = (node: DirectoryNode): DirectoryNode => {
    const known = directories.get(node);
    if (known !== undefined) return known;
    const directory = new DirectoryNode();
    directories.set(node, directory);
    const entries = new Map(node.durable);
    for (const change of node.pending) {
      if (!applied.has(change)) continue;
      for (const [where, name, target] of change.assigns) if (where === node) assign(entries, name, target);
    }
    for (const [name, target] of [...entries].sort(byName)) {
      directory.entries.set(name, target.kind === "file" ? copyFile(target) : copyDirectory(target));
    }
    directory.settle();
    return directory;
  };
  return copyDirectory(root);
};

/** How many of a directory's changes, oldest first, had been written. */
const changesLeft = ({ pending }: DirectoryNode, mode: PowerCut, random: SeededRandom): number =>
  mode === "lost" ? 0 : mode === "kept" ? pending.length : random.between(0, pending.length);

const contentLeft = (file: FileNode, mode: PowerCut, random: SeededRandom): Content => {
  const content = file.durable.copy();
  if (mode === "kept") {
    for (const change of file.changes) apply(change, content);
  } else if (mode === "torn" && file.changes.length > 0) {
    tear(file.changes, random, content);
  } else if (mode === "reordered") {
    reorder(file, random, content);
    // The size may be written without the bytes: what is missing reads as zeros.
    if (content.size < file.content.size && random.chance(0.5)) content.resize(file.content.size);
  }
  return content;
};

/** Applies a change, of a write only the first `length` bytes. */
const apply = (change: FileChange, content: Content, length = Number.POSITIVE_INFINITY): void => {
  if (change.kind === "truncate") content.resize(change.size);
  else if (length > 0) content.write(change.position, change.bytes.subarray(0, length));
};

/** A prefix of the changes was written, the last of them perhaps in part. */
const tear = (changes: ReadonlyArray<FileChange>, random: SeededRandom, content: Content): void => {
  const whole = random.below(changes.length);
  for (const change of changes.slice(0, whole)) apply(change, content);
  const last = changes[whole]!;
  if (last.kind === "truncate") apply(last, content);
  else {
    const cut = random.between(0, last.bytes.length);
    // A disk writes whole sectors, a file system or a controller may not.
    apply(last, content, random.chance(0.5) ? cut : cut - (cut % 512));
  }
};

/** Each page is written back at a moment of its own, or never: it holds what it held then. */
const reorder = ({ changes, pageBytes }: FileNode, random: SeededRandom, content: Content): void => {
  const touches = new Map<number, number>();
  for (const change of changes) {
    for (const { page } of pagesOf(change, pageBytes)) touches.set(page, (touches.get(page) ?? 0) + 1);
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
      if (random.chance(0.5)) apply(change, content);
      continue;
    }
    for (const { page, start, end } of pagesOf(change, pageBytes)) {
      const left = kept.get(page) ?? 0;
      if (left === 0) continue;
      kept.set(page, left - 1);
      content.write(change.position + start, change.bytes.subarray(start, end));
    }
  }
};

/** The parts of a write's bytes by the pages they fall into. */
const pagesOf = (
  change: FileChange,
  pageBytes: number,
): ReadonlyArray<{ readonly page: number; readonly start: number; readonly end: number }> => {
  if (change.kind === "truncate") return [];
  const { position, bytes } = change;
  const parts: Array<{ page: number; start: number; end: number }> = [];
  for (let start = 0; start < bytes.length; ) {
    const page = Math.floor((position + start) / pageBytes);
    const end = Math.min(bytes.length, (page + 1) * pageBytes - position);
    parts.push({ page, start, end });
    start = end;
  }
  return parts;
};
