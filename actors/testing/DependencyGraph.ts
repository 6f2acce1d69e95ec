/**
 * Dependencies between operations and their cycles: who wrote before whom (ww), who read whose write (wr), one process's
 * order, and real time. What must stay true: a cycle is named by the weakest kinds of edges that close it; real time is
 * reduced to the frontier (an operation points only to those that no other operation in between already stands before),
 * so that edges stay linear in the history.
 */

export type EdgeKind = "ww" | "wr" | "process" | "realtime";
export type CycleName = "G0" | "G0-process" | "G0-realtime" | "G1c" | "G1c-process" | "G1c-realtime";

const BITS: Readonly<Record<EdgeKind, number>> = { ww: 1, wr: 2, process: 4, realtime: 8 };
const ALL = 15;

/** Weakest first. */
const LEVELS: ReadonlyArray<readonly [CycleName, number]> = [
  ["G0", BITS.ww],
  ["G1c", BITS.ww | BITS.wr],
  ["G0-process", BITS.ww | BITS.process],
  ["G1c-process", BITS.ww | BITS.wr | BITS.process],
  ["G0-realtime", BITS.ww | BITS.process | BITS.realtime],
  ["G1c-realtime", ALL],
];

export interface Cycle {
  readonly name: CycleName;
  /** Indexes of the invocations of a strongly connected component, ascending. */
  readonly operations: ReadonlyArray<number>;
}

export class DependencyGraph {
  /** By operation: its targets, each behind the bit of its kind. */
  private readonly edges = new Map<number, number[]>();
  /** Edges added so far. */
  edgeCount = 0;

  add(kind: EdgeKind, from: number, to: number): void {
    if (from === to) return;
    this.edgeCount += 1;
    const targets = this.edges.get(from);
    if (targets === undefined) this.edges.set(from, [BITS[kind], to]);
    else targets.push(BITS[kind], to);
  }

  /** Every component with a cycle that holds no smaller one of a weaker name; `wwDeps`: whether ww edges count. */
  cycles(wwDeps: boolean): Cycle[] {
    const counted = wwDeps ? ALL : ALL & ~BITS.ww;
    // Most histories have none at all: then one look over everything has said so.
    const suspects = this.components(counted, this.edges.keys()).flat();
    if (suspects.length === 0) return [];
    const found: Cycle[] = [];
    for (const [name, kinds] of LEVELS) {
      for (const component of this.components(kinds & counted, suspects)) {
        const members = new Set(component);
        if (found.some(({ operations }) => operations.every((operation) => members.has(operation)))) continue;
        found.push({ name, operations: component.sort((left, right) => left - right) });
      }
    }
    return found;
  }

  /** Tarjan's strongly connected components of more than one node, without recursion. */
  private components(kinds: number, starts: Iterable<number>): number[][] {
    const order = new Map<number, number>();
    const low = new Map<number, number>();
    const onStack = new Set<number>();
    const stack: number[] = [];
    const found: number[][] = [];
    const path: Array<{ readonly node: number; readonly targets: ReadonlyArray<number>; next: number }> = [];
    const enter = (node: number): void => {
      const place = order.size;
      order.set(node, place);
      low.set(node, place);
      stack.push(node);
      onStack.add(node);
      path.push({ node, targets: this.edges.get(node) ?? [], next: 0 });
    };
    const lower = (node: number, to: number): void => {
      if (to < low.get(node)!) low.set(node, to);
    };
    for (const start of starts) {
      if (!order.has(start)) enter(start);
      while (path.length > 0) {
        const frame = path[path.length - 1]!;
        if (frame.next < frame.targets.length) {
          const kind = frame.targets[frame.next]!;
          const target = frame.targets[frame.next + 1]!;
          frame.next += 2;
          if ((kind & kinds) === 0) continue;
          const place = order.get(target);
          if (place === undefined) enter(target);
          else if (onStack.has(target)) lower(frame.node, place);
          continue;
        }
        path.pop();
        const parent = path[path.length - 1];
        const least = low.get(frame.node)!;
        if (parent !== undefined) lower(parent.node, least);
        if (least !== order.get(frame.node)) continue;
        const component = stack.splice(stack.lastIndexOf(frame.node));
        for (const node of component) onStack.delete(node);
        if (component.length > 1) found.push(component);
      }
    }
    return found;
  }
}
