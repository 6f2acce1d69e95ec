import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { Errors } from "../../src/protocol/Errors.ts";
import { timedOut } from "../../src/transaction/TransactionCoordinator.ts";
import {
  type TransactionMetadata,
  TransactionState,
  VALID_PREVIOUS,
} from "../../src/transaction/TransactionMetadata.ts";
import { Coordinator } from "./Coordinator.ts";

const ID = "copier";
const { Empty, Ongoing, PrepareCommit, PrepareAbort, CompleteCommit, CompleteAbort } = TransactionState;

const begun = (coordinator: Coordinator): { producerId: number; producerEpoch: number } => {
  const { producerId, producerEpoch } = coordinator.init(ID);
  return { producerId, producerEpoch };
};

/** At `epoch`, which takes as many fences as that in real life. */
const at = (coordinator: Coordinator, epoch: number): { producerId: number; producerEpoch: number } => {
  const { producerId } = begun(coordinator);
  coordinator.journal.set(ID, { ...coordinator.of(ID)!, producerEpoch: epoch });
  return { producerId, producerEpoch: epoch };
};

describe("EndTxn v5 with nothing open (Kafka's table)", () => {
  const cases: ReadonlyArray<[state: string, committed: boolean, retry: boolean, error: number, bumps: boolean]> = [
    ["Empty", false, true, Errors.PRODUCER_FENCED, false],
    ["Empty", false, false, Errors.NONE, true],
    ["Empty", true, true, Errors.PRODUCER_FENCED, false],
    ["Empty", true, false, Errors.INVALID_TXN_STATE, false],
    ["CompleteAbort", false, true, Errors.NONE, false],
    ["CompleteAbort", false, false, Errors.NONE, true],
    ["CompleteAbort", true, true, Errors.INVALID_TXN_STATE, false],
    ["CompleteAbort", true, false, Errors.INVALID_TXN_STATE, false],
    ["CompleteCommit", false, true, Errors.INVALID_TXN_STATE, false],
    ["CompleteCommit", false, false, Errors.NONE, true],
    ["CompleteCommit", true, true, Errors.NONE, false],
    ["CompleteCommit", true, false, Errors.INVALID_TXN_STATE, false],
  ];
  test.each(cases)("%s, commit %p, retry %p", (state, committed, retry, error, bumps) => {
    const coordinator = new Coordinator();
    const { producerId } = begun(coordinator);
    if (state === "Empty") coordinator.init(ID, { producerId, producerEpoch: 0 });
    else {
      coordinator.add(ID, producerId, 0);
      coordinator.end(ID, producerId, 0, state === "CompleteCommit");
      coordinator.finish(ID);
    }
    const epoch = coordinator.of(ID)!.producerEpoch;
    const reply = coordinator.end(ID, producerId, retry ? epoch - 1 : epoch, committed);
    expect(reply.error).toBe(error);
    expect(coordinator.of(ID)!.producerEpoch).toBe(bumps ? epoch + 1 : epoch);
    if (error === Errors.NONE) expect(reply).toEqual({ error, producerId, producerEpoch: bumps ? epoch + 1 : epoch });
  });
});

describe("EndTxn up to v4", () => {
  test("answers no producer, repeats its answer for the same end and refuses the other one", () => {
    const coordinator = new Coordinator();
    const { producerId } = begun(coordinator);
    expect(coordinator.end(ID, producerId, 0, false, 0).error).toBe(Errors.INVALID_TXN_STATE);
    coordinator.add(ID, producerId, 0, 0);
    expect(coordinator.end(ID, producerId, 0, true, 0)).toEqual({ error: 0, producerId: -1, producerEpoch: -1 });
    expect(coordinator.end(ID, producerId, 0, true, 0).error).toBe(Errors.CONCURRENT_TRANSACTIONS);
    coordinator.finish(ID);
    expect(coordinator.of(ID)).toMatchObject({ state: CompleteCommit, producerEpoch: 0 });
    expect(coordinator.end(ID, producerId, 0, true, 0).error).toBe(Errors.NONE);
    expect(coordinator.end(ID, producerId, 0, false, 0).error).toBe(Errors.INVALID_TXN_STATE);
    expect(coordinator.end(ID, producerId, 1, true, 0).error).toBe(Errors.PRODUCER_FENCED);
    expect(coordinator.end(ID, producerId + 1, 0, true, 0).error).toBe(Errors.INVALID_PRODUCER_ID_MAPPING);
    expect(coordinator.end("nobody", producerId, 0, true, 0).error).toBe(Errors.INVALID_PRODUCER_ID_MAPPING);
  });
});

describe("InitProducerId", () => {
  test("a second producer bumps the epoch; the first one's recovery is fenced", () => {
    const coordinator = new Coordinator();
    const first = begun(coordinator);
    expect(coordinator.init(ID)).toEqual({ error: 0, producerId: first.producerId, producerEpoch: 1 });
    expect(coordinator.init(ID, first).error).toBe(Errors.PRODUCER_FENCED);
    expect(coordinator.init(ID, { producerId: 7, producerEpoch: 1 }).error).toBe(Errors.PRODUCER_FENCED);
  });

  test("a lost answer to a bump is given again (KIP-360), until the coordinator restarts", () => {
    const coordinator = new Coordinator();
    const first = begun(coordinator);
    const bumped = coordinator.init(ID, first);
    expect(bumped.producerEpoch).toBe(1);
    expect(coordinator.init(ID, first)).toEqual(bumped);
    coordinator.restart();
    expect(coordinator.init(ID, first).error).toBe(Errors.PRODUCER_FENCED);
    expect(coordinator.init(ID, { ...first, producerEpoch: 1 }).producerEpoch).toBe(2);
  });

  test.each([0, 2])("an open transaction is aborted first, with one bump (server at version %p)", (version) => {
    const coordinator = new Coordinator();
    coordinator.transactionVersion = version;
    const { producerId } = begun(coordinator);
    coordinator.add(ID, producerId, 0, version);
    expect(coordinator.init(ID).error).toBe(Errors.CONCURRENT_TRANSACTIONS);
    expect(coordinator.of(ID)).toMatchObject({ state: PrepareAbort, producerEpoch: 1 });
    expect(coordinator.init(ID).error).toBe(Errors.CONCURRENT_TRANSACTIONS);
    coordinator.finish(ID);
    expect(coordinator.init(ID)).toEqual({ error: 0, producerId, producerEpoch: 2 });
    expect(coordinator.add(ID, producerId, 0)).toBe(Errors.PRODUCER_FENCED);
  });

  test("an exhausted epoch gets another producer id, and its retry the same one", () => {
    const coordinator = new Coordinator();
    const last = at(coordinator, 32_766);
    const renewed = coordinator.init(ID, last);
    expect(renewed).toEqual({ error: 0, producerId: last.producerId + 1, producerEpoch: 0 });
    expect(coordinator.init(ID, last)).toEqual(renewed);
  });
});

describe("epoch exhaustion at the end of a transaction", () => {
  test("the producer goes on with the next id at epoch 0, and a retry is told the same (KAFKA-18660)", () => {
    const coordinator = new Coordinator();
    const { producerId } = at(coordinator, 32_766);
    coordinator.add(ID, producerId, 32_766);
    const reply = coordinator.end(ID, producerId, 32_766, true);
    expect(reply).toEqual({ error: 0, producerId: producerId + 1, producerEpoch: 0 });
    // The markers of the old id carry the last epoch there is.
    expect(coordinator.of(ID)).toMatchObject({ state: PrepareCommit, producerId, producerEpoch: 32_767 });
    expect(coordinator.add(ID, producerId + 1, 0)).toBe(Errors.CONCURRENT_TRANSACTIONS);
    expect(coordinator.end(ID, producerId, 32_766, true).error).toBe(Errors.CONCURRENT_TRANSACTIONS);
    coordinator.finish(ID);
    expect(coordinator.end(ID, producerId, 32_766, true)).toEqual(reply);
    expect(coordinator.end(ID, producerId, 32_766, false).error).toBe(Errors.INVALID_TXN_STATE);
    expect(coordinator.add(ID, producerId + 1, 0)).toBe(Errors.NONE);
  });

  test.each([0, 2])("a fence at the last epoch neither wraps nor goes negative (server at version %p)", (version) => {
    const coordinator = new Coordinator();
    coordinator.transactionVersion = version;
    const { producerId } = at(coordinator, 32_766);
    coordinator.add(ID, producerId, 32_766, version);
    coordinator.init(ID);
    expect(coordinator.of(ID)!.producerEpoch).toBe(32_767);
    coordinator.finish(ID);
    const { producerId: next, producerEpoch } = coordinator.init(ID);
    expect(next).not.toBe(producerId);
    expect(producerEpoch).toBe(version === 2 ? 1 : 0);
  });
});

test("verification knows the partitions of the transaction that is open, and no others", () => {
  const coordinator = new Coordinator();
  const { producerId } = begun(coordinator);
  coordinator.add(ID, producerId, 0, 0, 3);
  const verify = (producerEpoch: number, transactionalId = ID) =>
    coordinator.ask<"VerifyPartitions">({
      type: "VerifyPartitions",
      transactionalId,
      producerId,
      producerEpoch,
      partitions: [3, 4].map((partition) => ({ topic: "t", partition })),
    }).errors;
  expect(verify(0)).toEqual([Errors.NONE, Errors.TRANSACTION_ABORTABLE]);
  expect(verify(1)).toEqual([Errors.PRODUCER_FENCED, Errors.PRODUCER_FENCED]);
  expect(verify(0, "nobody")[0]).toBe(Errors.INVALID_PRODUCER_ID_MAPPING);
  coordinator.end(ID, producerId, 0, true, 0);
  expect(verify(0)[0]).toBe(Errors.CONCURRENT_TRANSACTIONS);
  coordinator.finish(ID);
  expect(verify(0)[0]).toBe(Errors.TRANSACTION_ABORTABLE);
});

test("ids that nobody used go, never one with a transaction (T14)", () => {
  const coordinator = new Coordinator();
  for (const id of ["empty", "open", "ending", "done", "young"]) {
    if (id === "young") coordinator.now += 10;
    const { producerId } = coordinator.init(id);
    if (id === "empty" || id === "young") continue;
    coordinator.add(id, producerId, 0);
    if (id !== "open") coordinator.end(id, producerId, 0, true);
    if (id === "done") coordinator.finish(id);
  }
  coordinator.ask<"ExpireIds">({ type: "ExpireIds", before: coordinator.now - 10 });
  expect([...coordinator.journal.keys()]).toEqual(["open", "ending", "young"]);
  expect(coordinator.replayed).toEqual(coordinator.journal);
});

test("listing filters by state, producer, age and name", () => {
  const coordinator = new Coordinator();
  const { producerId } = begun(coordinator);
  const other = coordinator.init("other").producerId;
  coordinator.add(ID, producerId, 0);
  coordinator.now += 5;
  const list = (filter: Partial<Parameters<typeof coordinator.ask<"List">>[0]>) =>
    coordinator.ask<"List">({
      type: "List",
      states: [],
      producerIds: [],
      durationMs: -1,
      matches: () => true,
      ...filter,
    });
  const names = (filter: Parameters<typeof list>[0]) => list(filter).map((one) => one.transactionalId);
  expect(names({})).toEqual([ID, "other"]);
  expect(list({ states: ["Ongoing", "Foo", "Dead"] })).toEqual([
    { transactionalId: ID, producerId, transactionState: "Ongoing" },
  ]);
  expect(names({ states: ["Foo"] })).toEqual([]);
  expect(names({ producerIds: [other] })).toEqual(["other"]);
  expect(names({ durationMs: 5, states: ["Ongoing"] })).toEqual([]);
  expect(names({ durationMs: 4, states: ["Ongoing"] })).toEqual([ID]);
  expect(names({ matches: (id) => id.startsWith("o") })).toEqual(["other"]);
});

// — any sequence of commands

const step = fc.record({
  kind: fc.constantFrom("init", "recover", "add", "commit", "abort", "markers", "time", "restart", "sweep"),
  id: fc.constantFrom("a", "b"),
  /** Which of the epochs this client was given: 0 the newest. */
  stale: fc.constantFrom(0, 0, 0, 1, 2),
  version: fc.constantFrom(0, 2),
  partition: fc.integer({ min: 0, max: 3 }),
});

interface Given {
  readonly producerId: number;
  readonly producerEpoch: number;
}

test("any sequence of commands keeps the table, the epochs and the log's replay (T2-T6, T12-T15)", () => {
  fc.assert(
    fc.property(
      fc.array(step, { maxLength: 60 }),
      fc.constantFrom(0, 2),
      fc.constantFrom(0, 32_764),
      (steps, serverVersion, firstEpoch) => {
        const coordinator = new Coordinator();
        coordinator.transactionVersion = serverVersion;
        const given = new Map<string, Given[]>();
        /** By producer id: an epoch only goes up. */
        const epochs = new Map<number, number>();
        const owners = new Map<number, string>();
        const give = (id: string, { producerId, producerEpoch }: Given): void => {
          const list = given.get(id) ?? [];
          given.set(id, list);
          if (list.at(-1)?.producerId === producerId && list.at(-1)?.producerEpoch === producerEpoch) return;
          list.push({ producerId, producerEpoch });
          expect(owners.get(producerId) ?? id).toBe(id);
          owners.set(producerId, id);
          expect(producerEpoch).toBeLessThan(32_767);
        };
        for (const { kind, id, stale, version, partition } of steps) {
          coordinator.now += 1000;
          const list = given.get(id) ?? [];
          const mine = list.at(-1 - stale);
          const before = coordinator.of(id);
          const newest = stale === 0 || list.length <= stale;
          switch (kind) {
            case "init":
            case "recover": {
              const reply = coordinator.init(id, kind === "recover" ? mine : undefined);
              if (reply.error === Errors.NONE) {
                if (list.length === 0 && firstEpoch > 0) {
                  const jumped = { ...coordinator.of(id)!, producerEpoch: firstEpoch };
                  coordinator.journal.set(id, jumped);
                  coordinator.replayed.set(id, jumped);
                  give(id, { producerId: reply.producerId, producerEpoch: firstEpoch });
                } else give(id, reply);
              }
              if (before?.state === Ongoing && kind === "init")
                expect(reply.error).toBe(Errors.CONCURRENT_TRANSACTIONS);
              break;
            }
            case "add":
              if (mine === undefined) break;
              if (coordinator.add(id, mine.producerId, mine.producerEpoch, version, partition) === Errors.NONE) {
                expect(coordinator.of(id)).toMatchObject({ ...mine, state: Ongoing });
              }
              break;
            case "commit":
            case "abort": {
              if (mine === undefined) break;
              const reply = coordinator.end(id, mine.producerId, mine.producerEpoch, kind === "commit", version);
              // T6, T13: only who has the present epoch moves anything.
              const isPresent = before?.producerId === mine.producerId && before.producerEpoch === mine.producerEpoch;
              if (!isPresent) expect(coordinator.records).toEqual([]);
              if (reply.error === Errors.NONE && coordinator.records.length > 0 && version === 2) give(id, reply);
              if (newest && before?.state === Ongoing && isPresent) expect(reply.error).toBe(Errors.NONE);
              break;
            }
            case "markers":
              if (before !== undefined) coordinator.finish(id);
              break;
            case "time":
              coordinator.now += 70_000;
              break;
            case "restart":
              coordinator.restart();
              break;
            case "sweep":
              for (const metadata of timedOut(coordinator.journal, coordinator.now)) {
                coordinator.ask<"TimeOut">({ type: "TimeOut", ...metadata });
                // T12: whatever timed out is being aborted.
                expect(coordinator.of(metadata.transactionalId)!.state).toBe(PrepareAbort);
              }
          }
          const after = coordinator.of(id);
          if (kind === "restart") expect(after).toEqual(before);
          else if (after !== undefined) judge(before, after, kind, epochs);
          expect(coordinator.replayed).toEqual(coordinator.journal);
        }
      },
    ),
    { numRuns: 2000 },
  );
});

/** The rules again, in other words than the code's. */
const judge = (
  before: TransactionMetadata | undefined,
  after: TransactionMetadata,
  kind: string,
  epochs: Map<number, number>,
): void => {
  if (before !== undefined && before !== after) expect(VALID_PREVIOUS[after.state]).toContain(before.state);
  expect(after.producerEpoch).toBeGreaterThanOrEqual(epochs.get(after.producerId) ?? 0);
  epochs.set(after.producerId, after.producerEpoch);
  const sizeOf = ({ partitions }: TransactionMetadata): number =>
    [...partitions.values()].reduce((sum, one) => sum + one.size, 0);
  switch (after.state) {
    case Empty:
    case CompleteCommit:
    case CompleteAbort:
      expect(sizeOf(after)).toBe(0);
      if (after !== before && after.state !== Empty) {
        // T3: each end comes from its own Prepare and from nothing else.
        expect(before!.state).toBe(after.state === CompleteCommit ? PrepareCommit : PrepareAbort);
        expect(kind).toBe("markers");
      }
      break;
    case Ongoing:
      if (before?.state === Ongoing) expect(sizeOf(after)).toBeGreaterThanOrEqual(sizeOf(before));
      break;
    case PrepareCommit:
      if (before !== after) expect(kind).toBe("commit");
      expect(after.partitions).toEqual(before!.partitions);
      break;
    case PrepareAbort:
      expect(after.partitions).toEqual(before!.partitions);
  }
};
