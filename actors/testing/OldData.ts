/**
 * What a data directory holds that a run begins with, by a list that was made when it was written. What must stay true: the
 * list is the whole truth, so that the history and the books of a run begin as if its clients had been there.
 */
import type { Mop } from "./History.ts";
import type { Stage } from "./Stage.ts";

/** How the transaction stands that a record is of. `open`: nobody is left to end it. */
export type OldState = "committed" | "aborted" | "open";

export interface OldRecord {
  readonly topic: string;
  readonly partition: number;
  readonly offset: number;
  readonly key: string | null;
  /** The number that its bytes begin with; null: a tombstone. */
  readonly value: number | null;
  /** Position in `transactions`; null: of none. */
  readonly transaction: number | null;
}

export interface OldData {
  /** In the order in which they were written, one after the other was acknowledged. */
  readonly records: ReadonlyArray<OldRecord>;
  readonly transactions: ReadonlyArray<{ readonly transactionalId: string; readonly state: OldState }>;
  /** The committed offset of a group and partition; what an open transaction holds is not among them. */
  readonly offsets: ReadonlyArray<{
    readonly group: string;
    readonly topic: string;
    readonly partition: number;
    readonly offset: number;
  }>;
  /** Values and the values of their copies, whatever became of those. */
  readonly copies: ReadonlyArray<readonly [source: number, copy: number]>;
  /** In the order in which they were initialized. */
  readonly producers: ReadonlyArray<{
    readonly producerId: number;
    readonly producerEpoch: number;
    readonly transactionalId: string | null;
  }>;
  /** What idempotent producers sent last, the records deleted since or not: whoever has their ids may go on from there. */
  readonly last: ReadonlyArray<LastBatch>;
}

export interface LastBatch {
  readonly producerId: number;
  readonly producerEpoch: number;
  readonly topic: string;
  readonly partition: number;
  /** Of the batch's first record, as its offset. */
  readonly sequence: number;
  readonly offset: number;
  readonly values: ReadonlyArray<number>;
}

/** Writes what is there into the history and the books of a run that has not begun yet. */
export const remember = (stage: Stage, data: OldData): void => {
  const owner = stage.recorder.newProcess();
  const vanishing = new Set(stage.plan.topics.filter((topic) => topic.vanishing).map(({ name }) => name));
  const open = data.transactions.map(({ transactionalId, state }, at) => {
    const record = stage.transactions.begin(`old transaction ${at} of ${transactionalId}`);
    // Whoever left it open will not commit it any more.
    record.end = state === "committed" ? "ok" : "fail";
    return record;
  });
  for (const { topic, partition, offset, key: name, value, transaction } of data.records) {
    const key = stage.keyAt({ topic, partition });
    if (key < 0) throw new Error(`the plan has no ${topic}-${partition}`);
    if (value !== null) stage.knowValue(key, value);
    if (vanishing.has(topic)) {
      stage.keyed.write({ key, name, value, offset, outcome: "ok", timestamp: 0 });
      continue;
    }
    if (value === null) throw new Error(`a tombstone in ${topic}, which is not compacted`);
    const record = transaction === null ? undefined : open[transaction]!;
    record?.writes.push({ key, value });
    const end = stage.recorder.invoke(owner, "send", [["send", key, value]]);
    const told: Mop = ["send", key, [offset, value]];
    if (record === undefined || record.end === "ok") end("ok", [told]);
    else end("fail", [told], "aborted");
  }
  stage.lastBatches = data.last;
  for (const [source, copy] of data.copies) stage.transactions.copy(source, copy);
  for (const { group, topic, partition, offset } of data.offsets) {
    const key = stage.keyAt({ topic, partition });
    stage.groups.commit(group, key, offset)("ok", false);
    for (let at = 0; at < offset; at++) stage.groups.process(group, key, at);
  }
  for (const { producerId, producerEpoch, transactionalId } of data.producers) {
    stage.producerIds.set(producerId, transactionalId);
    if (transactionalId !== null) stage.transactions.initialized(transactionalId, producerId, producerEpoch);
  }
};
