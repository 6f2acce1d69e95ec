/** The checker judged: a hand-made history for every anomaly, and clean ones for everything Kafka allows. */
import { describe, expect, test } from "bun:test";
import { analyse, dependencies } from "../../actors/testing/Anomalies.ts";
import { type Anomaly, check, checkTwice, type SubscribedVia } from "../../actors/testing/ConsistencyChecker.ts";
import { exchangesOf, HistoryRecorder, type Mop, type Op } from "../../actors/testing/History.ts";

type Line = readonly [process: number, type: Op["type"], f: Op["f"], value: Op["value"], more?: Partial<Op>];

const historyOf = (...lines: Line[]): Op[] =>
  lines.map(([process, type, f, value, more], index) => ({
    index,
    time: index * 10,
    process,
    type,
    f,
    value,
    ...more,
  }));

/** One operation that nothing overlaps. */
const done = (process: number, type: "ok" | "info" | "fail", value: Mop[], more: Partial<Op> = {}): Line[] => [
  [process, "invoke", "txn", value.map((mop): Mop => (mop[0] === "poll" ? ["poll"] : mop))],
  [process, type, "txn", value, more],
];
const sent = (key: number, offset: number | null, value: number): Mop => ["send", key, [offset, value]];
const polled = (key: number, ...pairs: Array<readonly [number | null, number]>): Mop => ["poll", { [key]: pairs }];
const assigned = (process: number, f: "assign" | "subscribe", keys: number[]): Line[] => [
  [process, "invoke", f, keys],
  [process, "ok", f, keys],
];

/** Values 1, 2, 3 at offsets 0, 1, 2 of key 0, all acknowledged. */
const three = [0, 1, 2].flatMap((offset) => done(9, "ok", [sent(0, offset, offset + 1)]));
const seeThree = done(8, "ok", [polled(0, [0, 1], [1, 2], [2, 3])]);

const badOf = (lines: Line[], subVia: SubscribedVia = "assign"): ReadonlyArray<Anomaly> => {
  const { bad, valid } = checkTwice(historyOf(...lines), subVia);
  expect(valid).toBe(bad.length === 0);
  return bad;
};

describe("every anomaly has a history that shows it, and nothing else", () => {
  const cases: ReadonlyArray<readonly [Anomaly, Line[], ...Anomaly[]]> = [
    [
      "inconsistent-offsets",
      [...three, ...done(2, "info", [sent(0, null, 4)]), ...seeThree, ...done(1, "ok", [polled(0, [2, 4])])],
    ],
    [
      "duplicate",
      [...three, ...seeThree, ...done(1, "ok", [polled(0, [2, 3])]), ...done(2, "ok", [polled(0, [3, 3])])],
    ],
    ["phantom", [...three, ...done(1, "ok", [polled(0, [0, 1], [1, 2], [2, 3], [3, 99])])]],
    ["G1a", [...done(1, "fail", [sent(0, null, 1)]), ...done(2, "ok", [polled(0, [0, 1])])]],
    ["precommitted-read", done(1, "ok", [sent(0, 0, 1), polled(0, [0, 1])])],
    ["lost-write", [...three, ...done(1, "ok", [polled(0, [0, 1], [2, 3])])], "int-poll-skip", "unseen"],
    [
      "poll-skip",
      [...three, ...seeThree, ...done(1, "ok", [polled(0, [0, 1])]), ...done(1, "ok", [polled(0, [2, 3])])],
    ],
    [
      "nonmonotonic-poll",
      [...three, ...seeThree, ...done(1, "ok", [polled(0, [1, 2])]), ...done(1, "ok", [polled(0, [0, 1])])],
    ],
    ["int-poll-skip", [...three, ...seeThree, ...done(1, "ok", [polled(0, [0, 1], [2, 3])])]],
    ["int-nonmonotonic-poll", [...three, ...seeThree, ...done(1, "ok", [polled(0, [1, 2], [0, 1])])]],
    [
      "int-nonmonotonic-send",
      [...done(1, "ok", [sent(0, 1, 1), sent(0, 0, 2)]), ...done(2, "ok", [polled(0, [0, 2], [1, 1])])],
    ],
    [
      "nonmonotonic-send",
      [
        ...done(1, "ok", [sent(0, 1, 1)]),
        ...done(1, "ok", [sent(0, 0, 2)]),
        ...done(2, "ok", [polled(0, [0, 2], [1, 1])]),
      ],
    ],
    ["unseen", [...three, ...done(1, "ok", [polled(0, [0, 1], [1, 2])])]],
    [
      "G1c",
      [
        [1, "invoke", "txn", [["send", 0, 1], ["poll"]]],
        [2, "invoke", "txn", [["send", 1, 2], ["poll"]]],
        [1, "ok", "txn", [sent(0, 0, 1), polled(1, [0, 2])]],
        [2, "ok", "txn", [sent(1, 0, 2), polled(0, [0, 1])]],
      ],
    ],
    [
      "G1c-process",
      [
        // Process 1 reads what it writes only later; overlapped by nobody's real time, because the read never ended.
        [1, "invoke", "poll", [["poll"]]],
        [1, "info", "poll", [polled(0, [0, 1])]],
        [1, "invoke", "send", [["send", 0, 1]]],
        [1, "ok", "send", [sent(0, 0, 1)]],
        [2, "invoke", "poll", [["poll"]]],
        [2, "ok", "poll", [polled(0, [0, 1])]],
      ],
    ],
    ["G1c-realtime", [...done(1, "ok", [polled(0, [0, 1])]), ...done(2, "ok", [sent(0, 0, 1)])]],
  ];
  /** What is the same anomaly by another clause of its definition. */
  const variants: ReadonlyArray<readonly [string, Line[], ...Anomaly[]]> = [
    [
      "a read of one's own write among others'",
      [...done(2, "ok", [sent(0, 0, 1)]), ...done(1, "ok", [sent(0, 1, 2), polled(0, [0, 1], [1, 2])])],
      "precommitted-read",
    ],
    [
      "the last two of three sends go back; with the operation before only the first is compared",
      [
        ...done(1, "ok", [sent(0, 1, 1)]),
        ...done(1, "ok", [sent(0, 2, 2), sent(0, 3, 3), sent(0, 0, 4)]),
        ...done(2, "ok", [polled(0, [0, 4], [1, 1], [2, 2], [3, 3])]),
      ],
      "int-nonmonotonic-send",
    ],
    [
      "a send that goes back behind one of unknown end",
      [
        ...done(1, "info", [sent(0, null, 1)]),
        ...done(1, "ok", [sent(0, 0, 2)]),
        ...done(2, "ok", [polled(0, [0, 2], [1, 1])]),
      ],
      "nonmonotonic-send",
    ],
    [
      "an offset with two values, one of which nobody reads",
      [...done(1, "ok", [sent(0, 0, 1)]), ...done(2, "ok", [sent(0, 0, 2)]), ...done(3, "ok", [polled(0, [0, 1])])],
      "inconsistent-offsets",
      "lost-write",
      "unseen",
    ],
    [
      "what only an unknown poll was shown is unseen, and nothing below it is lost yet",
      [...three, ...done(1, "ok", [polled(0, [0, 1])]), ...done(2, "info", [polled(0, [2, 3])])],
      "unseen",
    ],
    [
      "a duplicate that was read counts where it is first",
      [
        ...done(1, "ok", [sent(0, 0, 1)]),
        ...done(1, "ok", [sent(0, 1, 2)]),
        ...done(2, "ok", [polled(0, [0, 1])]),
        ...done(3, "info", [polled(0, [2, 1])]),
      ],
      "duplicate",
      "unseen",
    ],
    [
      "a duplicate that was not read counts where it is last",
      [
        ...done(1, "ok", [sent(0, 0, 1)]),
        ...done(1, "ok", [sent(0, 1, 2)]),
        ...done(2, "ok", [polled(0, [1, 2])]),
        ...done(3, "info", [polled(0, [2, 1])]),
      ],
      "duplicate",
      "unseen",
    ],
    [
      "a value whose place nobody knows says nothing of how much was to be read",
      [
        ...done(1, "ok", [sent(0, null, 1)]),
        ...done(1, "ok", [sent(0, 0, 2)]),
        ...done(1, "ok", [sent(0, 1, 3)]),
        ...done(2, "ok", [polled(0, [null, 1], [0, 2])]),
      ],
      "unseen",
    ],
    [
      "what nobody wrote is a phantom in an unknown poll too, and not lost",
      [
        ...done(1, "ok", [sent(0, 0, 1)]),
        ...done(1, "ok", [sent(0, 2, 3)]),
        ...done(2, "info", [polled(0, [1, 99])]),
        ...done(3, "ok", [polled(0, [0, 1])]),
        ...done(4, "ok", [polled(0, [2, 3])]),
      ],
      "phantom",
    ],
    [
      "a cycle through a transaction of unknown end",
      [
        [1, "invoke", "txn", [["send", 0, 1], ["poll"]]],
        [2, "invoke", "txn", [["send", 1, 2], ["poll"]]],
        [1, "info", "txn", [["send", 0, 1], polled(1, [0, 2])]],
        [2, "ok", "txn", [sent(1, 0, 2), polled(0, [0, 1])]],
        ...done(3, "ok", [polled(1, [0, 2])]),
      ],
      "G1c",
    ],
    [
      "a cycle of three transactions",
      [
        [1, "invoke", "txn", [["send", 0, 1], ["poll"]]],
        [2, "invoke", "txn", [["send", 1, 2], ["poll"]]],
        [3, "invoke", "txn", [["send", 2, 3], ["poll"]]],
        [1, "ok", "txn", [sent(0, 0, 1), polled(2, [0, 3])]],
        [2, "ok", "txn", [sent(1, 0, 2), polled(0, [0, 1])]],
        [3, "ok", "txn", [sent(2, 0, 3), polled(1, [0, 2])]],
      ],
      "G1c",
    ],
    [
      "a read of what is written only later, with an unknown end",
      [...done(1, "ok", [polled(0, [0, 1])]), ...done(2, "info", [["send", 0, 1]])],
      "G1c-realtime",
    ],
  ];
  test.each(variants)("%s", (_, lines, ...expected) => {
    expect([...badOf(lines)].sort()).toEqual([...expected].sort());
  });

  test.each(cases)("%s", (name, lines, ...others) => {
    expect([...badOf(lines)].sort()).toEqual([name, ...others].sort());
  });

  test.each([
    [
      "G0",
      [
        [
          1,
          "invoke",
          "txn",
          [
            ["send", 0, 1],
            ["send", 1, 1],
          ],
        ],
        [
          2,
          "invoke",
          "txn",
          [
            ["send", 0, 2],
            ["send", 1, 2],
          ],
        ],
        [1, "ok", "txn", [sent(0, 0, 1), sent(1, 1, 1)]],
        [2, "ok", "txn", [sent(0, 1, 2), sent(1, 0, 2)]],
      ],
    ],
    [
      "G0-process",
      [
        [1, "invoke", "send", [["send", 0, 1]]],
        [1, "info", "send", [sent(0, 1, 1)]],
        ...done(1, "ok", [sent(0, 0, 2)]),
      ],
    ],
    ["G0-process", [...done(1, "ok", [sent(0, 1, 1)]), ...done(1, "info", [sent(0, 0, 2)])]],
    ["G0-realtime", [...done(1, "ok", [sent(0, 1, 1)]), ...done(2, "ok", [sent(0, 0, 2)])]],
  ] as ReadonlyArray<readonly [Anomaly, Line[]]>)("%s is found and allowed", (name, lines) => {
    const seen = done(7, "ok", [polled(0, [0, name === "G0" ? 1 : 2], [1, name === "G0" ? 2 : 1])]);
    const more = name === "G0" ? done(7, "ok", [polled(1, [0, 2], [1, 1])]) : [];
    const report = check(historyOf(...lines, ...seen, ...more), { wwDeps: true, subVia: "assign" });
    expect(Object.keys(report.errors)).toContain(name);
    expect(report.bad.filter((found) => found.startsWith("G"))).toEqual([]);
  });

  test("a cycle is told whole, and what only hangs on it is none of it", () => {
    const ring = [1, 2, 3].flatMap((key): Line[] => [[key, "invoke", "txn", [["send", key, key], ["poll"]]]]);
    const ends = [1, 2, 3].map(
      (key): Line => [key, "ok", "txn", [sent(key, 0, key), polled((key % 3) + 1, [0, (key % 3) + 1])]],
    );
    const lines: Line[] = [...ring, ...ends, ...done(4, "ok", [polled(1, [0, 1])])];
    const { errors } = check(historyOf(...lines), { wwDeps: false, subVia: "assign" });
    expect(errors).toEqual({ G1c: [{ name: "G1c", operations: [0, 1, 2] }] });
  });

  test("int-send-skip is found and allowed: another producer's record may lie between two of one batch's", () => {
    const lines = [
      ...done(1, "ok", [sent(0, 0, 1), sent(0, 2, 3)]),
      ...done(2, "ok", [sent(0, 1, 2)]),
      ...done(3, "ok", [polled(0, [0, 1], [1, 2], [2, 3])]),
    ];
    const report = checkTwice(historyOf(...lines), "assign");
    expect(Object.keys(report.errors)).toContain("int-send-skip");
    expect(report.bad).toEqual([]);
  });
});

describe("what Kafka allows is not called bad", () => {
  test.each([
    ["a plain history", [...three, ...seeThree]],
    [
      "gaps in the offsets",
      [
        ...done(1, "ok", [sent(0, 3, 1)]),
        ...done(1, "ok", [sent(0, 9, 2)]),
        ...done(2, "ok", [polled(0, [3, 1], [9, 2])]),
      ],
    ],
    ["an unknown write that is nowhere", [...three, ...done(1, "info", [sent(0, null, 4)]), ...seeThree]],
    ["an unknown write that is there", [...done(1, "info", [sent(0, null, 1)]), ...done(2, "ok", [polled(0, [0, 1])])]],
    ["a failed write that nobody sees", [...three, ...done(1, "fail", [sent(0, null, 4)]), ...seeThree]],
    [
      "a transaction of unknown end that nobody sees leaves no hole where its records were acknowledged",
      [
        ...done(1, "ok", [sent(0, 0, 1)]),
        ...done(2, "info", [sent(0, 1, 2)]),
        ...done(1, "ok", [sent(0, 2, 3)]),
        ...done(3, "ok", [polled(0, [0, 1], [2, 3])]),
      ],
    ],
    [
      "a failed write that only an unknown poll was shown: it is neither an ok read nor a lost write",
      [
        ...done(1, "ok", [sent(0, 0, 1)]),
        ...done(2, "fail", [sent(0, null, 2)]),
        ...done(1, "ok", [sent(0, 2, 3)]),
        ...done(3, "info", [polled(0, [1, 2])]),
        ...done(4, "ok", [polled(0, [0, 1])]),
        ...done(5, "ok", [polled(0, [2, 3])]),
      ],
    ],
    [
      "a send before which one failed that turns up behind it",
      [
        ...done(1, "fail", [sent(0, null, 1)]),
        ...done(1, "ok", [sent(0, 0, 2)]),
        ...done(2, "info", [polled(0, [0, 2], [1, 1])]),
        ...done(3, "ok", [polled(0, [0, 2])]),
      ],
    ],
    ["a poll that was shown nothing of a key", [...three, ...seeThree, ...done(1, "ok", [polled(0)])]],
    [
      "an acknowledgement without an offset",
      [...done(1, "ok", [sent(0, null, 1)]), ...done(2, "ok", [polled(0, [0, 1])])],
    ],
    [
      "a poll that failed is repeated from where the last good one ended",
      [
        ...three,
        ...seeThree,
        ...done(1, "ok", [polled(0, [0, 1])]),
        ...done(1, "fail", [polled(0, [1, 2])]),
        ...done(1, "ok", [polled(0, [1, 2])]),
      ],
    ],
    [
      "a new assignment begins anywhere with keys it did not have",
      [
        ...three,
        ...seeThree,
        ...done(1, "ok", [polled(0, [0, 1])]),
        ...assigned(1, "assign", [5]),
        ...assigned(1, "assign", [0]),
        ...done(1, "ok", [polled(0, [2, 3])]),
      ],
    ],
    [
      "a key that was rebalanced inside an operation",
      [...three, ...seeThree, ...done(1, "ok", [polled(0, [0, 1], [2, 3])], { rebalanceLog: [{ keys: [0] }] })],
    ],
    [
      "a write that was invoked and never ended",
      [[4, "invoke", "send", [["send", 0, 1]]], ...done(2, "ok", [polled(0, [0, 1])])],
    ],
  ] as ReadonlyArray<readonly [string, Line[]]>)("%s", (_, lines) => {
    expect(badOf(lines)).toEqual([]);
  });

  test("poll-skip and nonmonotonic-poll with subscribe, and only then", () => {
    const back = [
      ...three,
      ...seeThree,
      ...done(1, "ok", [polled(0, [2, 3])]),
      ...done(1, "ok", [polled(0, [0, 1])]),
      ...done(1, "ok", [polled(0, [2, 3])]),
    ];
    expect(badOf(back, "subscribe")).toEqual([]);
    expect([...badOf(back)].sort()).toEqual(["nonmonotonic-poll", "poll-skip"]);
  });

  test("with both, a step of a subscribed process is allowed, one of an assigned process is not", () => {
    const skip = (f: "assign" | "subscribe") => [
      ...three,
      ...seeThree,
      ...assigned(1, f, [0]),
      ...done(1, "ok", [polled(0, [0, 1])]),
      ...done(1, "ok", [polled(0, [2, 3])]),
    ];
    expect(badOf(skip("subscribe"), "both")).toEqual([]);
    expect(badOf(skip("assign"), "both")).toEqual(["poll-skip"]);
    // Neither excuses the other.
    const other = skip("assign")
      .slice(8)
      .map(([, ...line]): Line => [2, ...line]);
    expect(badOf([...skip("subscribe"), ...other], "both")).toEqual(["poll-skip"]);
    // Nor one of a process that has done neither.
    expect(badOf(skip("assign").toSpliced(8, 2), "both")).toEqual(["poll-skip"]);
  });

  test("G1c through the order of writes, and only then", () => {
    // 2 read what 1 wrote, and wrote before it on another key.
    const lines: Line[] = [
      [
        1,
        "invoke",
        "txn",
        [
          ["send", 0, 1],
          ["send", 1, 1],
        ],
      ],
      [2, "invoke", "txn", [["send", 1, 2], ["poll"]]],
      [1, "ok", "txn", [sent(0, 0, 1), sent(1, 1, 1)]],
      [2, "ok", "txn", [sent(1, 0, 2), polled(0, [0, 1])]],
      ...done(3, "ok", [polled(0, [0, 1]), polled(1, [0, 2], [1, 1])]),
    ];
    const history = historyOf(...lines);
    expect(check(history, { wwDeps: true, subVia: "assign" }).errors.G1c).toHaveLength(1);
    expect(check(history, { wwDeps: false, subVia: "assign" }).errors.G1c).toBeUndefined();
    const twice = checkTwice(history, "assign");
    expect([twice.bad, twice.errors.G1c?.length]).toEqual([[], 1]);
  });
});

describe("details of the definitions", () => {
  test("reading one write of an unknown operation makes its others mandatory", () => {
    const lines = [
      ...done(1, "info", [sent(0, 0, 1), sent(0, 1, 2)]),
      ...done(2, "ok", [sent(0, 2, 3)]),
      ...done(3, "ok", [polled(0, [0, 1], [2, 3])]),
    ];
    expect(badOf(lines)).toEqual(["lost-write", "int-poll-skip"]);
  });

  test("where a write was lost tells truncation from corruption", () => {
    const whereOf = (...seen: number[]): unknown[] => {
      const pairs = seen.map((value) => [value - 1, value] as const);
      const { errors } = check(historyOf(...three, ...done(1, "ok", [polled(0, ...pairs)])), {
        wwDeps: false,
        subVia: "assign",
      });
      return (errors["lost-write"] ?? []).map((witness) => (witness as { where: string }).where);
    };
    expect(whereOf(2, 3)).toEqual(["prefix"]);
    expect(whereOf(1, 3)).toEqual(["middle"]);
    expect(whereOf(1, 2)).toEqual([]);
    const shadowed = [...three, ...done(1, "ok", [sent(0, 2, 4)]), ...seeThree];
    expect(check(historyOf(...shadowed), { wwDeps: false, subVia: "assign" }).errors["lost-write"]).toEqual([
      { key: 0, value: 4, writer: 7, where: "postfix" },
    ]);
  });

  test("operations of one process that overlap are ordered by their beginnings", () => {
    const recorder = new HistoryRecorder(() => 0);
    const process = recorder.newProcess();
    const first = recorder.invoke(process, "send", [["send", 0, 1]]);
    const second = recorder.invoke(process, "send", [["send", 0, 2]]);
    second("ok", [["send", 0, [0, 2]]]);
    first("ok", [["send", 0, [1, 1]]]);
    recorder.invoke(recorder.newProcess(), "poll", [["poll"]])("ok", [polled(0, [0, 2], [1, 1])]);
    expect(checkTwice(recorder.ops, "assign").bad).toEqual(["nonmonotonic-send"]);
  });

  test("real time is kept as a frontier: edges grow with the history, not with its square", () => {
    const lines = Array.from({ length: 500 }, (_, index) => done(index, "ok", [sent(0, index, index)])).flat();
    const history = historyOf(...lines);
    const graph = dependencies(analyse(history, exchangesOf(history)));
    // As many of real time as of the writes' order.
    expect(graph.edgeCount).toBe(2 * 499);
  });

  test("a poll lags by how long it had been known that there is more", () => {
    // Offset 2 is known at 50; the poll that begins at 60 ends with what is below it.
    const stale = [...three, ...done(1, "ok", [polled(0, [0, 1], [1, 2])]), ...seeThree];
    const { worstRealtimeLag } = check(historyOf(...stale), { wwDeps: false, subVia: "assign" });
    expect(worstRealtimeLag).toEqual({ process: 1, key: 0, time: 60, lag: 10 });
    // Whoever was assigned a key and has read nothing of it lags as well.
    const nothing = [...three, ...assigned(2, "assign", [0]), ...done(2, "ok", [["poll", {}]]), ...seeThree];
    const of = check(historyOf(...nothing), { wwDeps: false, subVia: "assign" }).worstRealtimeLag;
    expect(of).toEqual({ process: 2, key: 0, time: 80, lag: 70 });
    // A subscription forgets what was read before it.
    const first: Line[] = [
      [1, "invoke", "poll", [["poll"]]],
      [1, "ok", "poll", [polled(0, [0, 1])]],
    ];
    const anew = [...three, ...first, ...assigned(1, "subscribe", [0]), ...done(1, "ok", [["poll", {}]])];
    const forgotten = check(historyOf(...anew), { wwDeps: false, subVia: "subscribe" }).worstRealtimeLag;
    expect(forgotten).toEqual({ process: 1, key: 0, time: 60, lag: 30 });
  });

  test("consume counts are of subscribed processes: an assigned one may read what it likes again", () => {
    const again = (f: "assign" | "subscribe"): unknown[] => {
      const twice = [
        ...done(1, "ok", [polled(0, [0, 1], [1, 2])]),
        ...done(1, "ok", [polled(0, [0, 1])]),
        // What an unknown poll was shown is not consumed.
        ...done(1, "info", [polled(0, [1, 2])]),
      ];
      const history = historyOf(...three, ...assigned(1, f, [0]), ...twice, ...seeThree);
      return [...check(history, { wwDeps: false, subVia: "both" }).consumedAgain];
    };
    expect(again("subscribe")).toEqual([{ process: 1, key: 0, value: 1, count: 2 }]);
    expect(again("assign")).toEqual([]);
  });

  test("an assignment that failed changes nothing: the poll behind it goes on where the last one ended", () => {
    const failed: Line[] = [
      [1, "invoke", "assign", [5]],
      [1, "fail", "assign", [5]],
    ];
    const lines = [...three, ...seeThree, ...done(1, "ok", [polled(0, [0, 1])]), ...failed];
    expect(badOf([...lines, ...done(1, "ok", [polled(0, [2, 3])])])).toEqual(["poll-skip"]);
    // Nor does one that never ended.
    const open: Line[] = [
      [1, "invoke", "assign", [5]],
      [1, "invoke", "poll", [["poll"]]],
      [1, "ok", "poll", [polled(0, [2, 3])], { invocation: 11 }],
    ];
    expect(badOf([...three, ...seeThree, ...done(1, "ok", [polled(0, [0, 1])]), ...open])).toEqual(["poll-skip"]);
  });

  test("lag and causes", () => {
    const report = check(
      historyOf(...three, ...done(1, "info", [sent(0, null, 9)], { error: "LOCAL_TIMED_OUT" }), ...seeThree),
      { wwDeps: false, subVia: "assign" },
    );
    expect(report.worstRealtimeLag?.lag).toBe(0);
    expect(report.infoCauses).toEqual(["LOCAL_TIMED_OUT"]);
  });

  test("what is no history is refused", () => {
    expect(() => check(historyOf([1, "ok", "send", []]), { wwDeps: true, subVia: "assign" })).toThrow("never began");
    const twice = [...done(1, "ok", [sent(0, 0, 1)]), ...done(1, "ok", [sent(0, 1, 1)])];
    expect(() => badOf(twice)).toThrow("twice");
  });
});
