/**
 * A directory of a simulated disk: the names that lead somewhere now, those that would after a power cut, and the
 * changes between the two. What must stay true: a name becomes durable only through a flush of its directory; a rename
 * is one change of both its directories, so it is durable in both or in neither; and every walk goes by names, never by
 * the order in which things were made.
 */
import type { FileNode } from "./FileNode.ts";

export type DiskNode = FileNode | DirectoryNode;

/** Names given and taken (`undefined`) as one. */
export interface EntryChange {
  durable: boolean;
  readonly assigns: ReadonlyArray<readonly [DirectoryNode, string, DiskNode | undefined]>;
}

export class DirectoryNode {
  readonly kind = "directory";
  readonly entries = new Map<string, DiskNode>();
  durable = new Map<string, DiskNode>();
  /** What was done since it was flushed, oldest first. */
  pending: EntryChange[] = [];

  /** What the first `depth` parts of a path from here lead to. */
  find(parts: ReadonlyArray<string>, depth = parts.length): DiskNode | undefined {
    let node: DiskNode | undefined = this;
    for (let at = 0; at < depth; at++) {
      if (node?.kind !== "directory") return undefined;
      node = node.entries.get(parts[at]!);
    }
    return node;
  }

  /** Begins a flush of the changes so far; the answer ends it, well or not. */
  beginFlush(): (success: boolean) => void {
    const changes = [...this.pending];
    return (success) => {
      if (success) for (const change of changes) makeDurable(change);
    };
  }

  /** Makes every name that is there durable. */
  settle(): void {
    this.durable = new Map(this.entries);
    this.pending = [];
  }
}

export const assign = (entries: Map<string, DiskNode>, name: string, node: DiskNode | undefined): void => {
  if (node === undefined) entries.delete(name);
  else entries.set(name, node);
};

/** Gives and takes names, at once readable. */
export const enter = (assigns: EntryChange["assigns"]): void => {
  const change: EntryChange = { durable: false, assigns };
  for (const [directory, name, node] of assigns) {
    assign(directory.entries, name, node);
    if (directory.pending.at(-1) !== change) directory.pending.push(change);
  }
};

const makeDurable = (change: EntryChange): void => {
  // The flush of another directory may have done it meanwhile.
  if (change.durable) return;
  change.durable = true;
  for (const [where, name, node] of change.assigns) {
    assign(where.durable, name, node);
    where.pending = where.pending.filter((other) => other !== change);
  }
};

export const byName = ([left]: readonly [string, DiskNode], [right]: readonly [string, DiskNode]): number =>
  left < right ? -1 : left > right ? 1 : 0;

/** Everything under a directory, itself first, now or after a power cut. */
export const reachable = (root: DirectoryNode): ReadonlyArray<DiskNode> => {
  const seen = new Set<DiskNode>();
  const walk = (node: DiskNode): void => {
    if (seen.has(node)) return;
    seen.add(node);
    if (node.kind !== "directory") return;
    const next: Array<readonly [string, DiskNode]> = [...node.entries, ...node.durable];
    for (const change of node.pending) {
      for (const [, name, target] of change.assigns) if (target !== undefined) next.push([name, target]);
    }
    // Sorting is stable, so nodes of one name stay in the order above.
    for (const [, child] of next.sort(byName)) walk(child);
  };
  walk(root);
  return [...seen];
};

/** Parts of the paths that were asked for lately: a run asks for a few again and again. */
const known = new Map<string, ReadonlyArray<string>>();
const MOST_PATHS = 10_000;

export const partsOf = (path: string): ReadonlyArray<string> => {
  const found = known.get(path);
  if (found !== undefined) return found;
  const parts = path.split("/").filter((part) => part !== "" && part !== ".");
  if (known.size >= MOST_PATHS) known.clear();
  known.set(path, parts);
  return parts;
};
