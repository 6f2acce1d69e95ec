import { describe, expect, test } from "bun:test";
import { evolve, LogState } from "../../src/log/LogState.ts";
import { decide, type PartitionRole } from "../../src/partition/Partition.ts";
import { Errors } from "../../src/protocol/Errors.ts";
import type { BatchInfo } from "../../src/record/BatchInfo.ts";

const role: PartitionRole = { leaderEpoch: 7, isLeader: true, isrSize: 1, replicaCount: 1, minInSyncReplicas: 1 };

const batch = (changes: Partial<BatchInfo> = {}): BatchInfo => ({
  baseOffset: 0,
  lastOffset: 1,
  leaderEpoch: -1,
  sizeInBytes: 100,
  attributes: 0,
  baseTimestamp: 5,
  maxTimestamp: 5,
  producerId: -1,
  producerEpoch: -1,
  baseSequence: -1,
  lastSequence: -1,
  recordCount: 2,
  ...changes,
});

const idempotent = (sequence: number): BatchInfo =>
  batch({ producerId: 9, producerEpoch: 0, baseSequence: sequence, lastSequence: sequence + 1 });

const append = (state: LogState, info: BatchInfo, acks: -1 | 0 | 1 = -1, as: PartitionRole = role) => {
  const decision = decide(state, as, { info, acks, logAppendTime: -1 });
  if (decision.event !== undefined) evolve(state, decision.event);
  return decision;
};

describe("the partition as leader", () => {
  test("L1: offsets go on from the log's end, stamped with the leader epoch; acks=all waits for its own last offset", () => {
    const state = new LogState(0);
    append(state, batch());
    const second = append(state, batch());
    expect(second.event).toMatchObject({ baseOffset: 2, lastOffset: 3, leaderEpoch: 7 });
    expect(second.reply).toMatchObject({ error: Errors.NONE, baseOffset: 2, logStartOffset: 0 });
    expect(second.release).toEqual({ at: "committed", offset: 4 });
    expect(append(state, batch(), 1).release.at).toBe("written");
  });

  test("decides nothing by itself: the same state and command give the same decision", () => {
    const state = new LogState(0);
    const command = { info: idempotent(0), acks: -1, logAppendTime: -1 } as const;
    expect(decide(state, role, command)).toEqual(decide(state, role, command));
    expect(state.logEndOffset).toBe(0);
  });

  test("#25 a duplicate is answered with the original's offset and waits for the original's commit", () => {
    const state = new LogState(0);
    append(state, idempotent(0));
    append(state, idempotent(2));
    const retry = append(state, idempotent(0));
    expect(retry.event).toBeUndefined();
    expect(retry.reply).toMatchObject({ error: Errors.NONE, baseOffset: 0, logAppendTime: 5 });
    expect(retry.release).toEqual({ at: "committed", offset: 2 });
  });

  test("#25 a gap is refused with the log's start beside it, and nothing is appended", () => {
    const state = new LogState(0);
    append(state, idempotent(0));
    const gap = append(state, idempotent(9));
    expect(gap.event).toBeUndefined();
    expect(gap.reply).toMatchObject({ error: Errors.OUT_OF_ORDER_SEQUENCE_NUMBER, baseOffset: -1, logStartOffset: 0 });
    expect(state.logEndOffset).toBe(2);
  });

  test("#27 acks=all needs min(min.insync.replicas, number of replicas); other acks do not", () => {
    const state = new LogState(0);
    expect(append(state, batch(), -1, { ...role, minInSyncReplicas: 2 }).reply.error).toBe(Errors.NONE);
    const three = { ...role, replicaCount: 3, minInSyncReplicas: 2 };
    expect(append(state, batch(), -1, three).reply.error).toBe(Errors.NOT_ENOUGH_REPLICAS);
    expect(append(state, batch(), 1, three).reply.error).toBe(Errors.NONE);
  });

  test("a batch that is meant for another end of the log is refused, whatever it is", () => {
    const state = new LogState(0);
    append(state, batch());
    const at = (expectedOffset: number) => ({ info: batch(), acks: -1, logAppendTime: -1, expectedOffset }) as const;
    for (const elsewhere of [0, 1, 3]) {
      const refused = decide(state, role, at(elsewhere));
      expect(refused).toMatchObject({ event: undefined, reply: { error: Errors.NOT_LEADER_OR_FOLLOWER } });
    }
    expect(decide(state, role, at(2)).event).toMatchObject({ baseOffset: 2 });
  });

  test("who does not lead refuses", () => {
    const decision = append(new LogState(0), batch(), -1, { ...role, isLeader: false });
    expect(decision).toMatchObject({ event: undefined, reply: { error: Errors.NOT_LEADER_OR_FOLLOWER } });
  });
});
