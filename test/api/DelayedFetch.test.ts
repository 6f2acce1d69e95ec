import { describe, expect, test } from "bun:test";
import { DelayedFetches, WaitingFetch } from "../../src/api/DelayedFetch.ts";
import type { PartitionView } from "../../src/partition/PartitionView.ts";
import { BunTaskList } from "../../src/platform/BunTaskList.ts";

const TOPIC = "AAAAAAAAAAAAAAAAAAAAAg";

/** Only what a waiting fetch looks at; the log is an identity to it. */
const viewOf = (partition: number, changes: Partial<PartitionView> = {}): PartitionView =>
  ({
    topic: "t",
    topicId: TOPIC,
    partition,
    leaderEpoch: 3,
    highWatermark: 10,
    lastStableOffset: 10,
    committedBytes: 1000,
    log: logs[partition],
    ...changes,
  }) as PartitionView;

const logs = [{}, {}, {}];

const setup = () => {
  const tasks = new BunTaskList();
  const fetches = new DelayedFetches(tasks);
  const wait = (missingBytes: number, views: PartitionView[], readCommitted = false) => {
    const state = { completed: 0 };
    const fetch = new WaitingFetch(missingBytes, readCommitted, () => {
      state.completed += 1;
    });
    fetches.wait(fetch, views);
    const completed = (): number => {
      tasks.drain();
      return state.completed;
    };
    return { fetch, completed };
  };
  return { fetches, wait };
};

describe("DelayedFetches (#31)", () => {
  test("counts what became visible on all its partitions, and completes once when it is enough", () => {
    const { fetches, wait } = setup();
    const { completed } = wait(100, [viewOf(0), viewOf(1)]);
    fetches.published(viewOf(0, { highWatermark: 11, lastStableOffset: 11, committedBytes: 1060 }));
    expect(completed()).toBe(0);
    fetches.published(viewOf(1, { highWatermark: 11, lastStableOffset: 11, committedBytes: 1039 }));
    expect(completed()).toBe(0);
    fetches.published(viewOf(1, { highWatermark: 12, lastStableOffset: 12, committedBytes: 1040 }));
    fetches.published(viewOf(1, { highWatermark: 13, lastStableOffset: 13, committedBytes: 1900 }));
    expect(completed()).toBe(1);
    expect(fetches.size).toBe(0);
  });

  test("a partition that is not its own wakes nobody", () => {
    const { fetches, wait } = setup();
    const { completed } = wait(1, [viewOf(0)]);
    fetches.published(viewOf(2, { committedBytes: 5000 }));
    expect(completed()).toBe(0);
  });

  test("a change of leadership, a reopened log and a lost partition end the wait", () => {
    for (const end of [
      (fetches: DelayedFetches) => fetches.published(viewOf(0, { leaderEpoch: 4 })),
      (fetches: DelayedFetches) => fetches.published(viewOf(0, { log: logs[2] as PartitionView["log"] })),
      (fetches: DelayedFetches) => fetches.lost(TOPIC, 0),
      (fetches: DelayedFetches) => fetches.finishAll(),
    ]) {
      const { fetches, wait } = setup();
      const { completed } = wait(1_000_000, [viewOf(0), viewOf(1)]);
      end(fetches);
      expect(completed()).toBe(1);
      expect(fetches.size).toBe(0);
    }
  });

  test("bytes of an open transaction do not count for read_committed: it wakes when the stable offset moves (#55)", () => {
    const { fetches, wait } = setup();
    const open = { highWatermark: 20, lastStableOffset: 10, committedBytes: 9000 };
    const { completed } = wait(100, [viewOf(0)], true);
    fetches.published(viewOf(0, open));
    expect(completed()).toBe(0);
    fetches.published(viewOf(0, { ...open, lastStableOffset: 20 }));
    expect(completed()).toBe(1);
  });

  test("a cancelled wait never completes", () => {
    const { fetches, wait } = setup();
    const { fetch, completed } = wait(1, [viewOf(0)]);
    fetches.cancel(fetch);
    fetches.published(viewOf(0, { committedBytes: 5000 }));
    expect(completed()).toBe(0);
    expect(fetches.size).toBe(0);
  });
});
