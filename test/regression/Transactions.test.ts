/** Real bugs of transactional brokers (correctness.md §7), each as the scenario that showed it. */
import { describe, expect, test } from "bun:test";
import { evolve, LogState } from "../../src/log/LogState.ts";
import { Verifications } from "../../src/log/Verifications.ts";
import { type Decision, decide, type PartitionRole } from "../../src/partition/Partition.ts";
import { Errors } from "../../src/protocol/Errors.ts";
import { readBatchInfo } from "../../src/record/RecordBatch.ts";
import { buildBatch, buildEndTransactionMarker } from "../../src/record/RecordBatchBuilder.ts";
import { TransactionState } from "../../src/transaction/TransactionMetadata.ts";
import { Coordinator } from "../transaction/Coordinator.ts";

const ID = "tx";

/** An id whose producer has used up its epochs but one. */
const nearlyExhausted = (): { coordinator: Coordinator; producerId: number; producerEpoch: number } => {
  const coordinator = new Coordinator();
  const { producerId } = coordinator.init(ID);
  const producerEpoch = 32_766;
  coordinator.journal.set(ID, { ...coordinator.of(ID)!, producerEpoch });
  return { coordinator, producerId, producerEpoch };
};

const ROLE: PartitionRole = { leaderEpoch: 0, isLeader: true, isrSize: 1, replicaCount: 1, minInSyncReplicas: 1 };

/** A partition without its actor: what is decided is folded in. */
class SmallPartition {
  readonly state = new LogState(0);
  readonly verifications = new Verifications();

  verify(producerId: number, producerEpoch: number, supportsEpochBump = true) {
    return this.verifications.begin(
      { producerId, producerEpoch, baseSequence: 0, supportsEpochBump },
      0,
      Number.POSITIVE_INFINITY,
    );
  }

  produce(producerId: number, producerEpoch: number, guard: ReturnType<SmallPartition["verify"]> | undefined) {
    const bytes = buildBatch([{ value: null }], { producerId, producerEpoch, baseSequence: 0, transactional: true });
    const verification = this.verifications.of(producerId, guard, true);
    return this.append(bytes, { origin: "client", verification });
  }

  mark(producerId: number, producerEpoch: number, result: "abort" | "commit", transactionVersion = 2) {
    const bytes = buildEndTransactionMarker(result, { producerId, producerEpoch, coordinatorEpoch: 0, timestamp: 0 });
    return this.append(bytes, { origin: "coordinator", transactionVersion });
  }

  private append(bytes: Uint8Array, rules: Parameters<typeof decide>[2]["rules"] & object): number {
    const decision: Decision = decide(this.state, ROLE, {
      info: readBatchInfo(bytes, 0),
      acks: -1,
      logAppendTime: -1,
      rules,
    });
    if (decision.event !== undefined) {
      evolve(this.state, decision.event);
      this.verifications.written(decision.event);
    }
    return decision.reply.error;
  }
}

describe("coordinator", () => {
  test("KAFKA-18660: the commit that exhausts an epoch answers the id and epoch the producer goes on with", () => {
    const { coordinator, producerId, producerEpoch } = nearlyExhausted();
    coordinator.add(ID, producerId, producerEpoch);
    const answer = coordinator.end(ID, producerId, producerEpoch, true);
    expect(answer.error).toBe(Errors.NONE);
    expect([answer.producerId === producerId, answer.producerEpoch]).toEqual([false, 0]);
    coordinator.finish(ID);
    coordinator.restart();
    expect(coordinator.end(ID, producerId, producerEpoch, true)).toEqual(answer);
    expect(coordinator.add(ID, answer.producerId, 0)).toBe(Errors.NONE);
  });

  test("KAFKA-18575: the next transaction's partition while the last one is completed waits, whatever its id", () => {
    const { coordinator, producerId, producerEpoch } = nearlyExhausted();
    coordinator.add(ID, producerId, producerEpoch);
    const next = coordinator.end(ID, producerId, producerEpoch, true);
    expect(coordinator.add(ID, next.producerId, next.producerEpoch)).toBe(Errors.CONCURRENT_TRANSACTIONS);
    expect(coordinator.of(ID)!.state).toBe(TransactionState.PrepareCommit);
  });

  test("KAFKA-19367: fencing bumps the epoch once, however often it is asked for, and never below zero", () => {
    const { coordinator, producerId, producerEpoch } = nearlyExhausted();
    coordinator.add(ID, producerId, producerEpoch);
    for (let again = 0; again < 5; again++) expect(coordinator.init(ID).error).toBe(Errors.CONCURRENT_TRANSACTIONS);
    expect(coordinator.of(ID)!.producerEpoch).toBe(32_767);
    coordinator.finish(ID);
    for (let again = 0; again < 5; again++) expect(coordinator.init(ID).producerEpoch).toBeGreaterThanOrEqual(0);
  });

  test("KAFKA-17754: an EndTxn that was late on its way does not end the next transaction", () => {
    const coordinator = new Coordinator();
    const { producerId } = coordinator.init(ID);
    coordinator.add(ID, producerId, 0);
    coordinator.end(ID, producerId, 0, false);
    coordinator.finish(ID);
    coordinator.add(ID, producerId, 1);
    for (const committed of [true, false]) {
      expect(coordinator.end(ID, producerId, 0, committed).error).toBe(Errors.PRODUCER_FENCED);
    }
    expect(coordinator.of(ID)!.state).toBe(TransactionState.Ongoing);
  });
});

describe("partition", () => {
  test("KAFKA-19999: a marker whose answer was lost is taken again, and ends nothing of the next transaction", () => {
    const partition = new SmallPartition();
    expect(partition.produce(7, 0, partition.verify(7, 0))).toBe(Errors.NONE);
    expect(partition.mark(7, 1, "commit")).toBe(Errors.NONE);
    expect(partition.mark(7, 1, "commit")).toBe(Errors.NONE);
    expect(partition.produce(7, 1, partition.verify(7, 1))).toBe(Errors.NONE);
    expect(partition.mark(7, 1, "commit")).toBe(Errors.INVALID_PRODUCER_EPOCH);
    expect(partition.state.producers.firstUndecidedOffset).toBe(3);
  });

  test("KAFKA-14884: an answer about one transaction lets nothing into the next one of the same epoch", () => {
    const partition = new SmallPartition();
    const first = partition.verify(7, 0, false);
    // The transaction ends before its batch comes in, and another one of the producer begins elsewhere.
    expect(partition.mark(7, 0, "abort", 0)).toBe(Errors.NONE);
    partition.verify(7, 0, false);
    expect(partition.produce(7, 0, first)).toBe(Errors.INVALID_TXN_STATE);
    expect(partition.produce(7, 0, undefined)).toBe(Errors.INVALID_TXN_STATE);
    expect(partition.produce(7, 0, partition.verify(7, 0, false))).toBe(Errors.NONE);
  });

  test("the last transaction's marker, written while the next one is being verified, leaves its guard alone", () => {
    const partition = new SmallPartition();
    expect(partition.produce(7, 0, partition.verify(7, 0))).toBe(Errors.NONE);
    // EndTxn is answered before the markers are written: the producer goes on with epoch 1 at once.
    const next = partition.verify(7, 1);
    expect(partition.mark(7, 1, "commit")).toBe(Errors.NONE);
    expect(partition.produce(7, 1, next)).toBe(Errors.NONE);
    // But a marker of a later epoch, the fence's, takes it.
    const fenced = partition.verify(7, 1);
    expect(partition.mark(7, 2, "abort")).toBe(Errors.NONE);
    expect(partition.produce(7, 1, fenced)).toBe(Errors.INVALID_PRODUCER_EPOCH);
  });

  test("a marker of another epoch of the producer ends nothing (a key of the producer's id alone would)", () => {
    const partition = new SmallPartition();
    expect(partition.produce(7, 3, partition.verify(7, 3))).toBe(Errors.NONE);
    expect(partition.mark(7, 2, "commit", 0)).toBe(Errors.INVALID_PRODUCER_EPOCH);
    expect(partition.mark(7, 3, "commit", 2)).toBe(Errors.INVALID_PRODUCER_EPOCH);
    expect(partition.state.producers.firstUndecidedOffset).toBe(0);
    expect(partition.mark(7, 4, "abort", 2)).toBe(Errors.NONE);
    expect(partition.state.producers.firstUndecidedOffset).toBe(-1);
    expect(partition.produce(7, 3, undefined)).toBe(Errors.INVALID_PRODUCER_EPOCH);
  });
});
