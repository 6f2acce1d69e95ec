/**
 * The history of a run as Jepsen writes it: what every client began and how it ended. What must stay true: every
 * invocation has at most one completion; a value is written at most once per key; nothing here judges.
 *
 * A key is one partition of one incarnation of a topic. `ok` is acknowledged, `fail` did certainly not happen, `info`
 * is unknown (time-outs, lost connections, UNKNOWN_SERVER_ERROR, NOT_LEADER_OR_FOLLOWER).
 */

export type Value = string | number;

/** A write with its value, and with its offset once that is known. */
export type SendMop = readonly ["send", number, Value | readonly [number | null, Value]];
/** What a poll was shown, by key, in the order it was shown. */
export type PollMop = readonly ["poll", Readonly<Record<number, ReadonlyArray<readonly [number | null, Value]>>>?];
export type Mop = SendMop | PollMop;

export type OpType = "invoke" | "ok" | "info" | "fail";

export interface Op {
  /** Position in the history. */
  readonly index: number;
  /** Any unit; the same in the whole history. */
  readonly time: number;
  readonly process: number;
  readonly type: OpType;
  readonly f: "send" | "poll" | "txn" | "assign" | "subscribe" | "crash";
  /** Micro-operations, or the keys of an `assign` or `subscribe`. */
  readonly value: ReadonlyArray<Mop> | ReadonlyArray<number>;
  readonly rebalanceLog?: ReadonlyArray<{ readonly keys: ReadonlyArray<number> }>;
  /** Of a completion: the index of its invocation. Needed only where a process has several operations under way. */
  readonly invocation?: number;
  /** Of `info` and `fail`: why. */
  readonly error?: string;
}

/** Micro-operations of an operation; none of an `assign`, `subscribe` or `crash`. */
export const mopsOf = (op: Op): ReadonlyArray<Mop> =>
  op.f === "send" || op.f === "poll" || op.f === "txn" ? (op.value as ReadonlyArray<Mop>) : [];

export interface Write {
  readonly key: number;
  readonly value: Value;
  /** Null when the client was never told. */
  readonly offset: number | null;
}

export const writesOf = (op: Op): Write[] => {
  const writes: Write[] = [];
  for (const mop of mopsOf(op)) {
    if (mop[0] !== "send") continue;
    const [, key, written] = mop;
    if (typeof written === "object") writes.push({ key, offset: written[0], value: written[1] });
    else writes.push({ key, offset: null, value: written });
  }
  return writes;
};

/** What an operation read, by key, in order, over all its polls. */
export const readsOf = (op: Op): Map<number, Array<readonly [number | null, Value]>> => {
  const reads = new Map<number, Array<readonly [number | null, Value]>>();
  for (const mop of mopsOf(op)) {
    if (mop[0] !== "poll" || mop[1] === undefined) continue;
    for (const [name, pairs] of Object.entries(mop[1])) {
      const key = Number(name);
      const list = reads.get(key);
      if (list === undefined) reads.set(key, [...pairs]);
      else list.push(...pairs);
    }
  }
  return reads;
};

/** An invocation with its end, and what is known of both. */
export interface Exchange {
  readonly invocation: Op;
  /** Undefined for what never ended. */
  readonly completion: Op | undefined;
  /** How it ended; `info` when it never did. */
  readonly type: Exclude<OpType, "invoke">;
  /** The completion, or the invocation of what never ended. */
  readonly op: Op;
  /** Of `op`. */
  readonly writes: ReadonlyArray<Write>;
  /** Of `op`. */
  readonly reads: ReadonlyMap<number, ReadonlyArray<readonly [number | null, Value]>>;
}

/**
 * Pairs invocations with completions, in the order of the invocations. A completion without `invocation` ends its
 * process's oldest open operation.
 */
export const exchangesOf = (history: ReadonlyArray<Op>): Exchange[] => {
  const completions = new Map<number, Op>();
  const open = new Map<number, Op[]>();
  const invocations: Op[] = [];
  for (const op of history) {
    const waiting = open.get(op.process) ?? [];
    open.set(op.process, waiting);
    if (op.type === "invoke") {
      invocations.push(op);
      waiting.push(op);
      continue;
    }
    const at = op.invocation === undefined ? 0 : waiting.findIndex(({ index }) => index === op.invocation);
    const [invocation] = at < 0 ? [] : waiting.splice(at, 1);
    if (invocation === undefined) throw new Error(`operation ${op.index} ends what never began`);
    completions.set(invocation.index, op);
  }
  return invocations.map((invocation) => {
    const completion = completions.get(invocation.index);
    const type = completion === undefined || completion.type === "invoke" ? "info" : completion.type;
    const op = completion ?? invocation;
    return { invocation, completion, type, op, writes: writesOf(op), reads: readsOf(op) };
  });
};

/** Collects a history while a run goes on. */
export class HistoryRecorder {
  readonly ops: Op[] = [];
  private nextProcess = 0;

  constructor(private readonly now: () => number) {}

  /** A worker that crashed goes on under a new number. */
  newProcess(): number {
    return this.nextProcess++;
  }

  /** Records the beginning of an operation; the answer records its end. */
  invoke(
    process: number,
    f: Op["f"],
    value: Op["value"],
  ): (type: "ok" | "info" | "fail", value?: Op["value"], error?: string, rebalanceLog?: Op["rebalanceLog"]) => void {
    const index = this.ops.length;
    this.ops.push({ index, time: this.now(), process, type: "invoke", f, value });
    return (type, ended = value, error, rebalanceLog) => {
      this.ops.push({
        index: this.ops.length,
        time: this.now(),
        process,
        type,
        f,
        value: ended,
        invocation: index,
        ...(error === undefined ? {} : { error }),
        ...(rebalanceLog === undefined ? {} : { rebalanceLog }),
      });
    };
  }
}
