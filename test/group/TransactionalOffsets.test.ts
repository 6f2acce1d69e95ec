/**
 * Offsets that are committed with transactions, beside plain ones, through restarts and compaction, against a model that
 * knows every commit and how its transaction ended (O1, O3, O4, O5), and who may commit so (O6, KIP-447).
 */
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { Errors } from "../../src/protocol/Errors.ts";
import { ClassicClient, commitOffset, SESSION_MS } from "./ClassicClient.ts";
import { CoordinatorWorld, plainJournal, topicIdOf } from "./CoordinatorWorld.ts";

const GROUP = "g";
const DAY = 86_400_000;
const PARTITIONS = 2;
const PRODUCERS = 2;

const world = (): CoordinatorWorld =>
  new CoordinatorWorld({ "group.initial.rebalance.delay.ms": "0", "offsets.retention.check.interval.ms": "60000" });

interface Who {
  readonly generationId: number;
  readonly memberId: string;
  readonly groupInstanceId: string | null;
}

const NOBODY: Who = { generationId: -1, memberId: "", groupInstanceId: null };

/** Commits in a producer's transaction; the error of the one partition. */
const commitIn = (w: CoordinatorWorld, producerId: number, partition: number, offset: number, who = NOBODY): number => {
  const topics = [
    {
      name: "t",
      partitions: [
        { partitionIndex: partition, committedOffset: offset, committedLeaderEpoch: -1, committedMetadata: "" },
      ],
    },
  ];
  const request = { transactionalId: "tx", groupId: GROUP, producerId, producerEpoch: 0, ...who, topics };
  const named = topics.map((topic) => ({ ...topic, topicId: topicIdOf(topic.name) }));
  const command = {
    type: "TxnOffsetCommit",
    request,
    topics: named,
    guard: undefined,
    supportsEpochBump: true,
  } as const;
  return w.answer<"TxnOffsetCommit">(command).topics[0]!.partitions[0]!.errorCode;
};

/** The offset, or the error code below zero. */
const fetch = (w: CoordinatorWorld, partition: number, requireStable: boolean): number => {
  const topics = [{ name: "t", topicId: topicIdOf("t"), partitionIndexes: [partition] }];
  const group = { groupId: GROUP, memberId: null, memberEpoch: -1, topics };
  const answer = w.answer<"OffsetFetch">({ type: "OffsetFetch", group, requireStable, version: 9 });
  const { committedOffset, errorCode } = answer.topics[0]!.partitions[0]!;
  return errorCode === Errors.NONE ? committedOffset : -1000 - errorCode;
};

const UNSTABLE = -1000 - Errors.UNSTABLE_OFFSET_COMMIT;

/** Every commit there was, in the order of the log. */
class Model {
  private readonly commits: Array<{
    readonly partition: number;
    readonly offset: number;
    producer: number;
    counts: boolean;
  }> = [];

  commit(partition: number, offset: number, producer: number): void {
    this.commits.push({ partition, offset, producer, counts: producer < 0 });
  }

  end(producer: number, committed: boolean): void {
    for (const commit of this.commits) {
      if (commit.producer !== producer) continue;
      commit.producer = -1;
      commit.counts = committed;
    }
  }

  visible(partition: number): number {
    return this.commits.findLast((commit) => commit.partition === partition && commit.counts)?.offset ?? -1;
  }

  isOpen(partition: number): boolean {
    return this.commits.some((commit) => commit.partition === partition && commit.producer >= 0);
  }
}

const action = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constant("plain" as const), partition: fc.nat({ max: PARTITIONS - 1 }) }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant("transactional" as const),
      partition: fc.nat({ max: PARTITIONS - 1 }),
      producer: fc.nat({ max: PRODUCERS - 1 }),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant("end" as const),
      producer: fc.nat({ max: PRODUCERS - 1 }),
      committed: fc.boolean(),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constantFrom("restart" as const, "compact" as const) }) },
);

describe("offsets in transactions", () => {
  test("O1, O3, O4: the newest commit that counts is told, an open one makes it unstable; replay is the state", () => {
    fc.assert(
      fc.property(fc.array(action, { maxLength: 40 }), (actions) => {
        const w = world();
        const model = new Model();
        for (const [index, step] of actions.entries()) {
          switch (step.do) {
            case "plain":
              commitOffset(w, GROUP, "t", step.partition, index);
              model.commit(step.partition, index, -1);
              break;
            case "transactional":
              expect(commitIn(w, step.producer, step.partition, index)).toBe(Errors.NONE);
              model.commit(step.partition, index, step.producer);
              break;
            case "end":
              w.endTransaction(step.producer, step.committed);
              model.end(step.producer, step.committed);
              break;
            case "compact":
              w.compact(true);
              w.restart();
              break;
            case "restart":
              w.restart();
          }
          for (let partition = 0; partition < PARTITIONS; partition++) {
            const visible = model.visible(partition);
            expect(fetch(w, partition, false)).toBe(visible);
            expect(fetch(w, partition, true)).toBe(model.isOpen(partition) ? UNSTABLE : visible);
          }
          expect(plainJournal(w.replayed())).toEqual(plainJournal(w.journal));
          expect(plainJournal(w.shadowJournal)).toEqual(plainJournal(w.journal));
        }
      }),
      { numRuns: 1000, includeErrorInReport: true },
    );
  });

  test("O5: what an open transaction has committed keeps its group, and the offsets beside it, however old", () => {
    const w = world();
    commitOffset(w, GROUP, "t", 0, 5);
    w.advance(6 * DAY);
    expect(commitIn(w, 0, 0, 7)).toBe(Errors.NONE);
    w.advance(3 * DAY);
    expect(fetch(w, 0, false)).toBe(5);
    w.endTransaction(0, false);
    w.advance(DAY);
    expect(fetch(w, 0, false)).toBe(-1);
  });

  test("O6: only the group's present generation, member and instance; nobody at all where none is named", () => {
    const w = world();
    const client = new ClassicClient(w, GROUP, { instance: "i" });
    client.join();
    w.advance(1);
    client.settle();
    const { memberId, generation: generationId } = client;
    const me: Who = { generationId, memberId, groupInstanceId: "i" };
    const cases: ReadonlyArray<readonly [who: Who, error: number]> = [
      [me, Errors.NONE],
      [{ ...me, generationId: generationId - 1 }, Errors.ILLEGAL_GENERATION],
      [{ ...me, generationId: generationId + 1 }, Errors.ILLEGAL_GENERATION],
      [{ ...me, memberId: "another", groupInstanceId: null }, Errors.UNKNOWN_MEMBER_ID],
      [{ ...me, memberId: "another" }, Errors.FENCED_INSTANCE_ID],
      // Producers of before KIP-447 say nothing of the group.
      [NOBODY, Errors.NONE],
    ];
    for (const [index, [who, error]] of cases.entries()) expect(commitIn(w, index, 0, index, who)).toBe(error);
    // A rebalance later the old generation is a zombie's.
    const other = new ClassicClient(w, GROUP);
    other.join();
    for (let beat = 0; beat < 3; beat++) {
      w.advance(SESSION_MS / 4);
      for (const each of [client, other]) each.settle();
      if (client.heartbeat() !== Errors.NONE) client.join();
    }
    expect(commitIn(w, 10, 0, 10, me)).toBe(Errors.ILLEGAL_GENERATION);
    expect(commitIn(w, 11, 0, 11, { ...me, generationId: client.generation })).toBe(Errors.NONE);
  });
});
