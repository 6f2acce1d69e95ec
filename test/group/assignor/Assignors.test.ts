/** What every assignor owes, and what each promises beside it; and the examples of Kafka's own documentation. */
import { describe, expect, test } from "bun:test";
import * as fc from "fast-check";
import { NO_TARGET, type TargetAssignment } from "../../../src/group/Assignment.ts";
import type { Assignor, AssignorMember, GroupSpecification } from "../../../src/group/assignor/Assignor.ts";
import { ASSIGNORS } from "../../../src/group/assignor/Assignors.ts";
import { RangeAssignor } from "../../../src/group/assignor/RangeAssignor.ts";
import { UniformAssignor } from "../../../src/group/assignor/UniformAssignor.ts";

type Plan = Readonly<Record<string, ReadonlyArray<string>>>;
type Counts = Readonly<Record<string, number>>;

const member = (topics: ReadonlyArray<string>, assignment?: TargetAssignment, instanceId?: string): AssignorMember => ({
  instanceId: instanceId ?? null,
  topics: new Set(topics),
  assignment: assignment ?? NO_TARGET,
});

const specification = (members: ReadonlyMap<string, AssignorMember>, counts: Counts): GroupSpecification => {
  const subscriptions = new Set([...members.values()].map(({ topics }) => [...topics].sort().join()));
  return { members, homogeneous: subscriptions.size <= 1, partitionCount: (topicId) => counts[topicId]! };
};

const assign = (assignor: Assignor, plan: Plan, counts: Counts, before?: Map<string, TargetAssignment>) =>
  assignor.assign(
    specification(new Map(Object.entries(plan).map(([id, topics]) => [id, member(topics, before?.get(id))])), counts),
  );

const loads = (assignment: Map<string, TargetAssignment>): number[] =>
  [...assignment.values()].map((target) => [...target.values()].reduce((sum, { length }) => sum + length, 0));

const shown = (assignment: Map<string, TargetAssignment>) =>
  Object.fromEntries([...assignment].map(([id, target]) => [id, Object.fromEntries(target)]));

const expectLegal = (plan: Plan, counts: Counts, assignment: Map<string, TargetAssignment>): void => {
  const owners = new Map<string, string>();
  for (const [memberId, target] of assignment) {
    for (const [topicId, partitions] of target) {
      if (!plan[memberId]!.includes(topicId)) throw new Error(`${memberId} does not subscribe to ${topicId}`);
      if (partitions.some((p, at) => at > 0 && p <= partitions[at - 1]!)) throw new Error("not ascending");
      for (const partition of partitions) {
        const key = `${topicId}-${partition}`;
        if (partition < 0 || partition >= counts[topicId]! || owners.has(key)) throw new Error(`${key} is wrong`);
        owners.set(key, memberId);
      }
    }
  }
  const subscribed = new Set(Object.values(plan).flat());
  expect(owners.size).toBe([...subscribed].reduce((sum, topicId) => sum + counts[topicId]!, 0));
};

const topicIds = ["t1", "t2", "t3", "t4"];
const countsOf: fc.Arbitrary<Counts> = fc
  .array(fc.integer({ min: 1, max: 20 }), { minLength: 4, maxLength: 4 })
  .map((sizes) => Object.fromEntries(topicIds.map((id, at) => [id, sizes[at]!])));
const some = fc.subarray(topicIds);
const planOf = (subscription: fc.Arbitrary<string[]>, many: number): fc.Arbitrary<Plan> =>
  fc
    .array(subscription, { minLength: 1, maxLength: many })
    .map((each) => Object.fromEntries(each.map((topics, at) => [`m${at}`, topics])));
const samePlan = fc
  .tuple(some, fc.integer({ min: 1, max: 12 }))
  .map(([topics, many]): Plan => Object.fromEntries(Array.from({ length: many }, (_, at) => [`m${at}`, topics])));
const anyPlan = fc.oneof(samePlan, planOf(some, 10));

/** A plan and the plan after it: members come, go and change their mind. */
const moved = (before: Map<string, TargetAssignment>, after: Map<string, TargetAssignment>): number => {
  const old = new Map<string, string>();
  for (const [id, target] of before) for (const [t, ps] of target) for (const p of ps) old.set(`${t}-${p}`, id);
  let count = 0;
  for (const [id, target] of after) {
    for (const [t, ps] of target) for (const p of ps) if ((old.get(`${t}-${p}`) ?? id) !== id) count += 1;
  }
  return count;
};

const options = { seed: 7, numRuns: 300 };

for (const assignor of ASSIGNORS.values()) {
  describe(assignor.name, () => {
    test("gives every partition to one subscriber, also after a change", () => {
      fc.assert(
        fc.property(anyPlan, anyPlan, countsOf, (plan, next, counts) => {
          const first = assign(assignor, plan, counts);
          expectLegal(plan, counts, first);
          expectLegal(next, counts, assign(assignor, next, counts, first));
        }),
        options,
      );
    });

    test("is a function of what it is given", () => {
      fc.assert(
        fc.property(anyPlan, countsOf, (plan, counts) => {
          expect(shown(assign(assignor, plan, counts))).toEqual(shown(assign(assignor, plan, counts)));
        }),
        { ...options, numRuns: 50 },
      );
    });

    test("without members, topics or anything to change", () => {
      expect(assignor.assign(specification(new Map(), {})).size).toBe(0);
      expect(loads(assign(assignor, { a: [], b: [] }, {}))).toEqual([0, 0]);
    });
  });
}

describe("uniform", () => {
  test("equal subscriptions: nobody has more than one partition more, and only what must moves", () => {
    fc.assert(
      fc.property(samePlan, fc.integer({ min: 1, max: 12 }), countsOf, (plan, many, counts) => {
        const first = assign(UniformAssignor, plan, counts);
        expect(Math.max(...loads(first)) - Math.min(...loads(first))).toBeLessThanOrEqual(1);
        expect(shown(assign(UniformAssignor, plan, counts, first))).toEqual(shown(first));
        const [topics = []] = Object.values(plan);
        const next = Object.fromEntries(Array.from({ length: many }, (_, at) => [`m${at}`, topics]));
        const second = assign(UniformAssignor, next, counts, first);
        expect(Math.max(...loads(second)) - Math.min(...loads(second))).toBeLessThanOrEqual(1);
        // What new members get must move; nothing moves between those who stay.
        const newcomers = [...second].filter(([id]) => plan[id] === undefined);
        const given = loads(new Map(newcomers)).reduce((sum, load) => sum + load, 0);
        expect(moved(first, second)).toBe(
          many > Object.keys(plan).length
            ? given
            : moved(new Map([...first].filter(([id]) => next[id] === undefined)), second),
        );
      }),
      options,
    );
  });

  test("different subscriptions: no move of one partition would improve the balance of its topic", () => {
    fc.assert(
      fc.property(planOf(some, 8), planOf(some, 8), countsOf, (plan, next, counts) => {
        const assignment = assign(UniformAssignor, next, counts, assign(UniformAssignor, plan, counts));
        const load = new Map([...assignment.keys()].map((id, at) => [id, loads(assignment)[at]!]));
        for (const [id, target] of assignment) {
          for (const topicId of target.keys()) {
            for (const [other, topics] of Object.entries(next)) {
              if (topics.includes(topicId)) expect(load.get(id)! - load.get(other)!).toBeLessThanOrEqual(1);
            }
          }
        }
      }),
      options,
    );
  });

  test("a member that joins takes its share and moves nothing else", () => {
    const before = assign(UniformAssignor, { a: ["t"], b: ["t"] }, { t: 7 });
    const after = assign(UniformAssignor, { a: ["t"], b: ["t"], c: ["t"] }, { t: 7 }, before);
    expect(loads(after).sort()).toEqual([2, 2, 3]);
    expect(moved(before, after)).toBe(loads(after)[2]!);
  });

  test("of two with as many, the one that had less before gets the next, as Kafka 4.3.1 does", () => {
    const before = new Map([["n", new Map([["b", [0, 1]]])]]);
    expect(shown(assign(UniformAssignor, { n: ["a", "b"], o: ["a"] }, { a: 3, b: 2 }, before))).toEqual({
      n: { b: [0, 1] },
      o: { a: [0, 1, 2] },
    });
  });

  test("partitions that appear go to whoever has least", () => {
    const before = assign(UniformAssignor, { a: ["t"], b: ["t"] }, { t: 3 });
    const after = assign(UniformAssignor, { a: ["t"], b: ["t"] }, { t: 4 }, before);
    expect(loads(after)).toEqual([2, 2]);
    expect(moved(before, after)).toBe(0);
  });

  test("fifty members and ten thousand partitions in some milliseconds", () => {
    const plan = Object.fromEntries(Array.from({ length: 50 }, (_, at) => [`m${at}`, ["t", `own${at % 7}`]]));
    const counts = { t: 10_000, ...Object.fromEntries(Array.from({ length: 7 }, (_, at) => [`own${at}`, 100])) };
    const assignment = assign(UniformAssignor, plan, counts);
    expectLegal(plan, counts, assignment);
    expect(Math.max(...loads(assignment)) - Math.min(...loads(assignment))).toBeLessThanOrEqual(1);
  });
});

describe("range", () => {
  test("consecutive ranges, the first members larger", () => {
    expect(shown(assign(RangeAssignor, { b: ["t"], a: ["t"], c: ["t"] }, { t: 7 }))).toEqual({
      a: { t: [0, 1, 2] },
      b: { t: [3, 4] },
      c: { t: [5, 6] },
    });
  });

  test("equal subscriptions and counts: the same partitions of every topic (co-partitioning)", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: 20 }), (many, partitions) => {
        const plan = Object.fromEntries(Array.from({ length: many }, (_, at) => [`m${at}`, ["t1", "t2"]]));
        for (const target of assign(RangeAssignor, plan, { t1: partitions, t2: partitions }).values()) {
          expect(target.get("t1")).toEqual(target.get("t2"));
        }
      }),
      { ...options, numRuns: 50 },
    );
  });

  test("static members come first, by instance id, whatever their member id", () => {
    const members = (first: string, second: string) =>
      new Map([
        ["0-dynamic", member(["t"])],
        [second, member(["t"], undefined, "i2")],
        [first, member(["t"], undefined, "i1")],
      ]);
    const before = RangeAssignor.assign(specification(members("x", "y"), { t: 3 }));
    const after = RangeAssignor.assign(specification(members("z", "a"), { t: 3 }));
    expect(shown(before)).toEqual({ x: { t: [0] }, y: { t: [1] }, "0-dynamic": { t: [2] } });
    expect(shown(after)).toEqual({ z: { t: [0] }, a: { t: [1] }, "0-dynamic": { t: [2] } });
  });

  test("more members than partitions: the last get none", () => {
    expect(loads(assign(RangeAssignor, { a: ["t"], b: ["t"], c: ["t"] }, { t: 2 }))).toEqual([1, 1, 0]);
  });
});
