/** The judgement on groups, transactions and vanishing records: a hand-made book for everything it can find, and clean ones. */
import { describe, expect, test } from "bun:test";
import { GroupBook } from "../../actors/testing/GroupBook.ts";
import type { GroupNews } from "../../actors/testing/GroupMembership.ts";
import { KeyedBook, type Written } from "../../actors/testing/KeyedBook.ts";
import { lost } from "../../actors/testing/Play.ts";
import { TransactionBook } from "../../actors/testing/TransactionBook.ts";

const P0 = { topic: "t", partition: 0 };
const P1 = { topic: "t", partition: 1 };

/** How far a member's own clock is ahead of the book's. */
const AHEAD = 7_000_000;

class Group {
  now = 0;
  readonly book = new GroupBook(() => this.now);

  /** Something happens to a member, then so many milliseconds pass. */
  tell(instance: number, news: GroupNews, passMs = 1, generation = 1): this {
    this.book.observe({ group: "g", instance, memberId: `m${instance}`, generation, ...news }, this.now + AHEAD);
    this.now += passMs;
    return this;
  }

  heartbeat(instance: number, passMs = 1, isBlind = false): this {
    return this.tell(instance, { type: "heartbeat", sentAt: this.now + AHEAD, sessionTimeoutMs: 100, isBlind }, passMs);
  }

  joins(instance: number, leader: string, generation: number): this {
    return this.tell(instance, { type: "joined", leader, protocol: "range" }, 1, generation);
  }
}

describe("groups", () => {
  test("a partition that is given before it is given up has two owners", () => {
    const group = new Group().tell(0, { type: "owned", partitions: [P0] }).heartbeat(0, 10);
    group
      .tell(1, { type: "owned", partitions: [P0] })
      .heartbeat(1)
      .tell(0, { type: "released", partitions: [P0] });
    expect(group.book.judge()).toEqual(["two owners: t-0 of g: member 0 until 13, member 1 from 11"]);
  });

  test("given up, taken away, left by the dead, or after a session that has passed it has one", () => {
    for (const how of ["released", "lost", "died", "passed"] as const) {
      const group = new Group().tell(0, { type: "owned", partitions: [P0, P1] }).heartbeat(0);
      if (how === "died") group.book.died(0);
      else if (how === "passed") group.now += 100;
      else group.tell(0, { type: how, partitions: [P0, P1] });
      group.now += 1;
      group.tell(1, { type: "owned", partitions: [P0] }).heartbeat(1);
      // What the first one still believes counts for nothing any more.
      group.tell(0, { type: "lost", partitions: [P0, P1] });
      expect([how, group.book.judge()]).toEqual([how, []]);
    }
  });

  test("who was given up and whose machine dies later died when it was given up", () => {
    // Found by consumer-groups 9001777.
    const group = new Group().tell(0, { type: "owned", partitions: [P0] }).heartbeat(0, 10);
    group.book.died(0);
    group.tell(1, { type: "owned", partitions: [P0] }, 10).heartbeat(1);
    group.book.died(0);
    expect(group.book.judge()).toEqual([]);
  });

  test("who hears of its partitions only when its session is over has never owned them", () => {
    const late = new Group().heartbeat(0, 200);
    late.tell(1, { type: "owned", partitions: [P0] }).heartbeat(1);
    late.tell(0, { type: "owned", partitions: [P0] }).tell(0, { type: "lost", partitions: [P0] });
    expect(late.heartbeat(1).book.judge()).toEqual([]);
  });

  test("who joins again after its session has owned nothing in between", () => {
    const group = new Group().tell(0, { type: "owned", partitions: [P0] }).heartbeat(0, 200);
    group
      .tell(1, { type: "owned", partitions: [P0] })
      .heartbeat(1)
      .tell(1, { type: "released", partitions: [P0] });
    group.joins(0, "m0", 2).heartbeat(0);
    expect(group.tell(0, { type: "lost", partitions: [P0] }).book.judge()).toEqual([]);
  });

  test("everybody who is given a partition while its first owner still has it is told", () => {
    const group = new Group().tell(0, { type: "owned", partitions: [P0] }).heartbeat(0);
    for (const next of [1, 2])
      group
        .tell(next, { type: "owned", partitions: [P0] })
        .heartbeat(next)
        .tell(next, { type: "released", partitions: [P0] });
    expect(group.tell(0, { type: "released", partitions: [P0] }).book.judge()).toHaveLength(2);
  });

  test("a heartbeat that is answered keeps a session that seemed to be over", () => {
    const group = new Group()
      .tell(0, { type: "owned", partitions: [P0] })
      .heartbeat(0, 200)
      .heartbeat(0);
    group.tell(1, { type: "owned", partitions: [P0] }, 5).heartbeat(1);
    expect(group.book.judge()).toHaveLength(1);
  });

  test("a blind answer after a session that has passed gives nothing back to a member that is turned away then", () => {
    const silent = (isBlind: boolean) => {
      const group = new Group()
        .tell(0, { type: "owned", partitions: [P0] })
        .heartbeat(0, 150)
        .heartbeat(0, 5, isBlind);
      group.tell(1, { type: "owned", partitions: [P0] }).heartbeat(1);
      return group.tell(0, { type: "lost", partitions: [P0] }).book.judge();
    };
    expect(silent(true)).toEqual([]);
    expect(silent(false)).toEqual(["two owners: t-0 of g: member 0 until 158, member 1 from 156"]);
    // Within its session no answer is blind in a way that matters.
    const alive = new Group()
      .tell(0, { type: "owned", partitions: [P0] })
      .heartbeat(0, 50)
      .heartbeat(0, 5, true);
    alive
      .tell(1, { type: "owned", partitions: [P0] })
      .heartbeat(1)
      .tell(0, { type: "lost", partitions: [P0] });
    expect(alive.book.judge()).toEqual(["two owners: t-0 of g: member 0 until 58, member 1 from 56"]);
    // Once it has joined again it is known.
    const back = new Group()
      .tell(0, { type: "owned", partitions: [P0] })
      .heartbeat(0, 150)
      .heartbeat(0, 5, true);
    back
      .joins(0, "m0", 2)
      .tell(1, { type: "owned", partitions: [P0] })
      .heartbeat(1);
    back.tell(0, { type: "released", partitions: [P0] });
    expect(back.book.judge()).toHaveLength(1);
  });

  test("generations: two leaders, one that goes back, an assignment that is not the leader's", () => {
    const synced = { type: "synced", partitions: [P0] } as const;
    const twice = new Group().joins(0, "m0", 3).tell(0, synced, 1, 3).joins(1, "m1", 3).tell(1, synced, 1, 3);
    expect(twice.book.judge()).toEqual(["G4: generation 3 of g is led by m0 and by m1"]);
    const back = new Group().joins(0, "m0", 3).tell(0, synced, 1, 3).joins(0, "m0", 2).tell(0, synced, 1, 2);
    expect(back.book.judge()).toEqual(["G1: m0 of g went from generation 3 to 2"]);
    const again = new Group().joins(0, "m0", 3).tell(0, synced, 1, 3).tell(0, synced, 1, 3);
    expect(again.book.judge()).toEqual([]);
    const other = new Group().joins(0, "m0", 1);
    other.tell(0, { type: "assigned", assignment: new Map([["m0", [P1]]]) }).tell(0, synced);
    expect(other.book.judge()).toEqual(["G3: m0 of g was given something else than its leader decided"]);
    const forgotten = new Group().joins(0, "m0", 3).joins(1, "m1", 3).tell(1, synced, 1, 3);
    expect(forgotten.book.judge()).toEqual([]);
    // Between the two it was a group of the other protocol.
    const anew = new Group().joins(0, "m0", 3).tell(0, synced, 1, 3).tell(2, synced, 1, 4);
    expect(anew.joins(1, "m1", 3).tell(1, synced, 1, 3).book.judge()).toEqual([]);
  });

  const offsets = (body: (group: Group) => void): string[] => {
    const group = new Group();
    body(group);
    return group.book.judge();
  };
  const commit = (group: Group, offset: number, type: "ok" | "info" | "fail" = "ok", repeated = false): void => {
    const end = group.book.commit("g", 0, offset);
    group.now += 10;
    end(type, repeated);
    group.now += 10;
  };
  const fetch = (group: Group, offset: number): void => {
    group.now += 10;
    group.book.fetched("g", 0, offset, 5);
  };

  test("an acknowledged commit is not followed by an older one, nor by none, nor by one that failed", () => {
    for (const seen of [5, -1, 9]) {
      const found = offsets((group) => {
        commit(group, 5);
        commit(group, 7);
        commit(group, 9, "fail");
        fetch(group, seen);
      });
      expect(found).toEqual([`O2: g has ${seen} committed for 0; acknowledged were 5, 7`]);
    }
  });

  test("what is unknown, repeated, or under way may be seen", () => {
    const clean: Array<(group: Group) => void> = [
      (group) => fetch(group, -1),
      (group) => {
        commit(group, 0);
        fetch(group, 0);
      },
      (group) => {
        commit(group, 5);
        commit(group, 7);
        fetch(group, 7);
      },
      (group) => {
        commit(group, 5, "info");
        commit(group, 7);
        fetch(group, 5);
      },
      (group) => {
        commit(group, 5, "ok", true);
        commit(group, 7);
        fetch(group, 5);
      },
      (group) => {
        commit(group, 5);
        group.book.commit("g", 0, 7);
        fetch(group, 5);
        fetch(group, 7);
      },
    ];
    for (const body of clean) expect(offsets(body)).toEqual([]);
  });

  test("what was processed is known by group, key and offset", () => {
    const { book } = new Group();
    book.process("g", 1, 7);
    expect([book.hasProcessed("g", 1, 7), book.hasProcessed("g", 1, 8), book.hasProcessed("h", 1, 7)]).toEqual([
      true,
      false,
      false,
    ]);
  });
});

describe("transactions", () => {
  const judge = (end: "ok" | "info" | "fail", visible: number[]): string[] => {
    const book = new TransactionBook();
    const record = book.begin("x");
    record.writes.push({ key: 0, value: 1 }, { key: 1, value: 2 });
    record.end = end;
    return book.judge(new Set(visible), new Set());
  };

  test("a part of one is seen, one that did not commit is, one that committed is not", () => {
    expect(judge("info", [1])).toEqual(["T9: 1 of 2 records of x are seen"]);
    expect(judge("fail", [1, 2])).toEqual(["T8: x is not committed, 2 records are seen"]);
    expect(judge("ok", [])).toEqual(["T8: x is committed, 0 of 2 are seen"]);
  });

  test("whole ones of unknown end may be seen or not", () => {
    for (const visible of [[], [1, 2]]) expect(judge("info", visible)).toEqual([]);
    expect(judge("ok", [1, 2])).toEqual([]);
    expect(judge("fail", [])).toEqual([]);
  });

  test("a commit of a producer that was fenced before, by id and epoch", () => {
    const book = new TransactionBook();
    book.initialized("a", 7, 3);
    expect([
      book.isOlder("a", 7, 3),
      book.isOlder("a", 7, 2),
      book.isOlder("a", 6, 9),
      book.isOlder("b", 1, 1),
    ]).toEqual([false, true, true, false]);
    book.initialized("a", 7, 2);
    expect(book.isOlder("a", 7, 2)).toBe(true);
    book.committed("a", false);
    expect(book.judge(new Set(), new Set())).toEqual([]);
    book.committed("a", true);
    expect(book.judge(new Set(), new Set())).toEqual(["T13: a commit of a fenced producer of a was acknowledged"]);
  });

  test("every source has exactly one copy", () => {
    const book = new TransactionBook();
    for (const [source, copy] of [
      [1, 11],
      [1, 12],
      [2, 21],
      [3, 31],
    ] as const) {
      book.copy(source, copy);
    }
    expect(book.judge(new Set([12, 21, 31]), new Set([1, 2, 3]))).toEqual([]);
    expect(book.judge(new Set([11, 12, 21]), new Set([1, 2, 3]))).toEqual([
      "exactly once: 1 is copied 2 times",
      "exactly once: 3 is copied 0 times",
    ]);
    // What nobody had to copy may be copied, once.
    expect(book.judge(new Set([12, 21]), new Set([1, 2]))).toEqual([]);
    expect(book.judge(new Set([11, 12, 21]), new Set([2]))).toEqual(["exactly once: 1 is copied 2 times"]);
  });
});

describe("records that vanish", () => {
  const book = (...written: Array<Partial<Written>>): KeyedBook => {
    const made = new KeyedBook();
    for (const [index, one] of written.entries())
      made.write({ key: 0, name: "k", value: index, offset: index, outcome: "ok", timestamp: index * 10, ...one });
    return made;
  };
  const found = (offset: number, value: number | null, name: string | null = "k") => ({ offset, name, value });

  test("compaction may take all but the last of a key", () => {
    const three = book({}, {}, {});
    expect(three.judgeCompacted(0, [found(0, 0), found(1, 1), found(2, 2)], true)).toEqual([]);
    expect(three.judgeCompacted(0, [found(2, 2)], true)).toEqual([]);
    expect(three.judgeCompacted(0, [found(1, 1)], true)).toEqual(["C1: the last record of k, 0@2=2, is gone"]);
  });

  test("a tombstone goes when it is old enough, and with it its key", () => {
    // One that another record has replaced takes nothing with it.
    const alive = book({ value: null }, {});
    expect(alive.judgeCompacted(0, [], false)).toEqual(["C1: the last record of k, 0@1=1, is gone"]);
    const dead = book({}, { value: null });
    expect(dead.judgeCompacted(0, [], false)).toEqual([]);
    expect(dead.judgeCompacted(0, [], true)).toEqual(["C1: the last record of k, 0@1=null, is gone"]);
    expect(dead.judgeCompacted(0, [found(1, null)], true)).toEqual([]);
    const unknown = book({}, { value: null, outcome: "info", offset: undefined });
    expect(unknown.judgeCompacted(0, [], false)).toEqual([]);
    // Of a key that nothing was acknowledged for, nothing need be there.
    const doubtful = book({ outcome: "info", offset: undefined });
    expect(doubtful.judgeCompacted(0, [], true)).toEqual([]);
    expect([alive.acknowledged, unknown.acknowledged, doubtful.acknowledged]).toEqual([2, 1, 0]);
  });

  test("what is there is what was written there, once", () => {
    const two = book(
      {},
      { value: 7, offset: undefined, outcome: "info" },
      { value: 9, offset: undefined, outcome: "fail" },
    );
    expect(two.judgeCompacted(0, [found(0, 5)], false)).toEqual(["C2: 0@0 is k=5, acknowledged was k=0"]);
    expect(two.judgeCompacted(0, [found(0, 0), found(4, 5)], false)).toEqual(["phantom: 0@4: nobody wrote k=5 there"]);
    expect(two.judgeCompacted(0, [found(0, 0), found(4, 9)], false)).toEqual(["G1a: 0@4: k=9 was refused"]);
    expect(two.judgeCompacted(0, [found(0, 0), found(4, 7), found(5, 7)], false)).toEqual(["duplicate: 0: k=7"]);
  });

  test("retention takes what is old and what was asked to go, from the front", () => {
    const three = book({ name: null }, { name: null }, { name: null });
    const last = [found(2, 2, null)];
    expect(three.judgeExpiring(0, last, 2, 15)).toEqual([]);
    expect(three.judgeExpiring(0, last, 2, 5)).toEqual(["Ret1: 0@1=1 was deleted before its time"]);
    expect(three.judgeExpiring(0, last, 1, 5)).toEqual(["lost: 0@1=1 is behind the log start"]);
    expect(three.judgeExpiring(0, [found(1, 1, null), ...last], 2, 15)).toEqual(["Ret3: 0@1 is below the log start"]);
    three.deleting(0, 1);
    expect(three.judgeExpiring(0, last, 2, 5)).toEqual(["Ret1: 0@1=1 was deleted before its time"]);
    three.deleting(0, 2);
    expect(three.judgeExpiring(0, last, 2, 5)).toEqual([]);
    // Other partitions' records and those of unknown place are not missed.
    const others = book({ name: null, key: 1 }, { name: null, offset: undefined, outcome: "info" });
    expect(others.judgeExpiring(0, [], 0, 0)).toEqual([]);
  });
});

describe("the readers before and after the last crash", () => {
  const seen = (...offsets: number[]) => new Map([[0, new Map(offsets.map((offset) => [offset, offset + 100]))]]);

  test("what one was shown the other is shown, and more may have come", () => {
    expect(lost(seen(0, 1, 3), seen(0, 1, 3, 4))).toEqual([]);
    expect(lost(seen(0, 1, 3), seen(0, 1))).toEqual([
      "lost: 1 records of 0 from 3 (103) on did not survive the last crash",
    ]);
    expect(lost(seen(0, 1), new Map())).toHaveLength(1);
  });
});
