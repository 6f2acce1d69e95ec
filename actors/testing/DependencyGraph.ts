/**
 * Dependencies between operations and their cycles: who wrote before whom (ww), who read whose write (wr), one process's
 * order, and real time. What must stay true: a cycle is named by the weakest kinds of edges that close it; real time is
 * reduced to the frontier (an operation points only to those that no other operation in between already stands before),
 * so that edges stay linear in the history.
 */

export type EdgeKind = "ww" | "wr" | "process" | "realtime";
export type CycleName = "G0" | "G0-process" | "G0-realtime" | "G1c" | "G1c-process" | "G1c-realtime";

/** Weakest first. */
const LEVELS: ReadonlyArray<readonly [CycleName, ReadonlyArray<EdgeKind>]> = [
  ["G0", ["ww"]],
  ["G1c", ["ww", "wr"]],
  ["G0-process", ["ww", "process"]],
  ["G1c-process", ["ww", "wr", "process"]],
  ["G0-realtime", ["ww", "process", "realtime"]],
  ["G1c-realtime", ["ww", "wr", "process", "realtime"]],
];

export interface Cycle {
  readonly name: CycleName;
  /** Indexes of the invocations of a strongly connected component, ascending. */
  readonly operations: ReadonlyArray<number>;
}

export class DependencyGraph {
  private readonly edges: Record<EdgeKind, Map<number, Set<number>>> = {
    ww: new Map(),
    wr: new Map(),
    process: new Map(),
    realtime: new Map(),
  };
  private readonly nodes = new Set<number>();

  add(kind: EdgeKind, from: number, to: number): void {
    if (from === to) return;
    this.nodes.add(from).add(to);
    const targets = this.edges[kind].get(from);
    if (targets === undefined) this.edges[kind].set(from, new Set([to]));
    else targets.add(to);
  }

  get edgeCount(): number {
    let count = 0;
    for (const kind of Object.values(this.edges)) for (const targets of kind.values()) count += targets.size;
    return count;
  }

  /** Every component with a cycle that holds no smaller one of a weaker name. */
  cycles(): Cycle[] {
    const found: Cycle[] = [];
    for (const [name, kinds] of LEVELS) {
      for (const component of this.components(kinds)) {
        const members = new Set(component);
        if (found.some(({ operations }) => operations.every((operation) => members.has(operation)))) continue;
        found.push({ name, operations: component.sort((left, right) => left - right) });
      }
    }
    return found;
  }

  /** Tarjan's strongly connected components of more than one node, without recursion. */
  private components(kinds: ReadonlyArray<EdgeKind>): number[][] {
    const order = new Map<number, number>();
    const low = new Map<number, number>();
    const onStack = new Set<number>();
    const stack: number[] = [];
    const found: number[][] = [];
    const targetsOf = (node: number): number[] => kinds.flatMap((kind) => [...(this.edges[kind].get(node) ?? [])]);
    const lower = (node: number, to: number): void => {
      low.set(node, Math.min(low.get(node)!, to));
    };
    for (const start of this.nodes) {
      if (order.has(start)) continue;
      const path: Array<{ readonly node: number; readonly targets: number[]; next: number }> = [];
      const enter = (node: number): void => {
        order.set(node, order.size);
        low.set(node, order.size - 1);
        stack.push(node);
        onStack.add(node);
        path.push({ node, targets: targetsOf(node), next: 0 });
      };
      enter(start);
      while (path.length > 0) {
        const frame = path[path.length - 1]!;
        const target = frame.targets[frame.next++];
        if (target !== undefined) {
          if (!order.has(target)) enter(target);
          else if (onStack.has(target)) lower(frame.node, order.get(target)!);
          continue;
        }
        path.pop();
        const parent = path[path.length - 1];
        if (parent !== undefined) lower(parent.node, low.get(frame.node)!);
        if (low.get(frame.node) !== order.get(frame.node)) continue;
        const component = stack.splice(stack.indexOf(frame.node));
        for (const node of component) onStack.delete(node);
        if (component.length > 1) found.push(component);
      }
    }
    return found;
  }
}
