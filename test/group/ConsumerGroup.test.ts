/** Model-based: consumers, an administrator and failures at random, in virtual time, over the coordinator's `decide`. */
import { describe, expect, test } from "bun:test";
import * as fc from "fast-check";
import type { Uuid } from "../../src/prelude/Types.ts";
import { ZERO_UUID } from "../../src/prelude/Types.ts";
import { Consumer, Coordinator, compact, noDoubleClientAssignment, plain, replay } from "./ConsumerWorld.ts";

const TOPICS = ["a", "b", "c"];
const REGEXES = ["[ab]", "b|c", ".*"];

type Step =
  | {
      readonly do: "join";
      readonly topics: number;
      readonly regex: boolean;
      readonly static: boolean;
      readonly slow: number;
      readonly range: boolean;
    }
  | { readonly do: "beat"; readonly who: number; readonly lost: boolean }
  | { readonly do: "leave" | "crash" | "leaveForNow"; readonly who: number }
  | { readonly do: "subscribe"; readonly who: number; readonly topics: number; readonly regex: boolean }
  | { readonly do: "create" | "grow" | "drop"; readonly topic: number; readonly partitions: number }
  | { readonly do: "wait"; readonly ms: number }
  | { readonly do: "restart"; readonly cleaned: number; readonly known: number };

const who = fc.nat(7);
const topics = fc.integer({ min: 1, max: 7 });
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant("join" as const),
      topics,
      regex: fc.boolean(),
      static: fc.boolean(),
      slow: fc.nat(2),
      range: fc.boolean(),
    }),
  },
  { weight: 20, arbitrary: fc.record({ do: fc.constant("beat" as const), who, lost: fc.boolean() }) },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constantFrom("leave" as const, "crash" as const, "leaveForNow" as const), who }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("subscribe" as const), who, topics, regex: fc.boolean() }) },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constantFrom("create" as const, "grow" as const, "drop" as const),
      topic: fc.nat(2),
      partitions: fc.integer({ min: 1, max: 7 }),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constant("wait" as const), ms: fc.constantFrom(1, 5000, 20_000, 50_000) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant("restart" as const), cleaned: fc.nat(1000), known: fc.nat(1000) }),
  },
);

class Run {
  readonly coordinator = new Coordinator();
  readonly consumers: Consumer[] = [];
  private joined = 0;

  constructor() {
    this.coordinator.cluster.create({ name: "a", numPartitions: 3 }, { name: "b", numPartitions: 5 });
  }

  private subscription(mask: number, regex: boolean) {
    return regex
      ? { regex: REGEXES[mask % REGEXES.length]! }
      : { names: TOPICS.filter((_, index) => (mask >> index) & 1) };
  }

  take(step: Step): void {
    const { coordinator, consumers } = this;
    const { cluster } = coordinator;
    switch (step.do) {
      case "join": {
        if (consumers.filter(({ alive }) => alive).length >= 6) return;
        this.joined += 1;
        const instance = step.static ? `i${step.topics % 2}` : null;
        const consumer = new Consumer(
          coordinator,
          `m${this.joined}`,
          this.subscription(step.topics, step.regex),
          instance,
          step.range ? "range" : null,
        );
        consumer.slowness = step.slow;
        consumers.push(consumer);
        consumer.beat();
        return;
      }
      case "beat":
        consumers.at(-1 - step.who)?.beat(step.lost && step.who % 3 === 0);
        return;
      case "leave":
        return consumers.at(-1 - step.who)?.leave();
      case "crash":
        return consumers.at(-1 - step.who)?.crash();
      case "leaveForNow":
        return consumers.at(-1 - step.who)?.leaveForNow();
      case "subscribe":
        return consumers.at(-1 - step.who)?.subscribe(this.subscription(step.topics, step.regex));
      case "create":
        cluster.create({ name: TOPICS[step.topic]!, numPartitions: step.partitions });
        return;
      case "grow":
        cluster.ask({
          type: "CreatePartitions",
          topics: [{ name: TOPICS[step.topic]!, count: step.partitions, assignments: null }],
          validateOnly: false,
          seed: 1,
        });
        return;
      case "drop":
        cluster.ask({ type: "DeleteTopics", topics: [{ name: TOPICS[step.topic]!, topicId: ZERO_UUID }] });
        return;
      case "wait":
        return coordinator.advance(step.ms);
      case "restart": {
        const end = coordinator.log.length;
        const [cleaned, known] = [Math.floor((step.cleaned / 1000) * end), Math.floor((step.known / 1000) * end)];
        return coordinator.restart(compact(coordinator.log, Math.min(cleaned, known), Math.max(cleaned, known)));
      }
    }
  }

  check(): void {
    noDoubleClientAssignment(this.consumers);
    const { coordinator } = this;
    expect(plain(replay(coordinator.log))).toEqual(plain(coordinator.journal));
  }

  /** Nobody new, nothing changes any more: in bounded time everyone has its share. */
  settle(): void {
    const { coordinator, consumers } = this;
    for (let round = 0; round < 24; round++) {
      for (const consumer of consumers) consumer.beat();
      noDoubleClientAssignment(consumers);
      coordinator.advance(5000);
    }
    const group = coordinator.group();
    const alive = consumers.filter((consumer) => consumer.alive);
    if (group === undefined) return expect(alive.length).toBe(0);
    expect(group.state()).toBe(alive.length === 0 ? "Empty" : "Stable");
    expect([...group.members.keys()].sort()).toEqual(alive.map(({ memberId }) => memberId).sort());
    const { image } = coordinator.cluster;
    const wanted = new Set<Uuid>();
    for (const member of group.members.values()) {
      for (const name of [
        ...member.subscribedTopicNames,
        ...(group.regexes.get(member.subscribedTopicRegex)?.topics ?? []),
      ]) {
        const topic = image.topicsByName.get(name);
        for (let p = 0; p < (topic?.partitions.length ?? 0); p++) wanted.add(`${topic!.id}-${p}`);
      }
    }
    const owned = alive.flatMap((consumer) => [...consumer.owned]);
    expect(owned.sort()).toEqual([...wanted].sort());
  }
}

describe("whatever consumers, administrators and failures do", () => {
  const seed = Number(Bun.env.SEED ?? 848);
  const numRuns = Number(Bun.env.RUNS ?? 150);

  test("no partition has two owners, targets are legal, epochs grow, replay is the state, and it converges", () => {
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 80 }), (steps) => {
        const run = new Run();
        for (const each of steps) {
          run.take(each);
          noDoubleClientAssignment(run.consumers);
        }
        run.check();
        run.settle();
        run.check();
      }),
      { seed, numRuns },
    );
  }, 30_000);

  test("a log in any stage of compaction gives the same state (KAFKA-19862)", () => {
    fc.assert(
      fc.property(fc.array(step, { minLength: 20, maxLength: 80 }), fc.nat(1000), fc.nat(1000), (steps, one, other) => {
        const run = new Run();
        for (const each of steps) if (each.do !== "restart") run.take(each);
        const { log, journal } = run.coordinator;
        const at = (share: number) => Math.floor((share / 1000) * log.length);
        const [cleaned, known] = [Math.min(at(one), at(other)), Math.max(at(one), at(other))];
        expect(plain(replay(compact(log, cleaned, known)))).toEqual(plain(journal));
        expect(plain(replay(compact(log, log.length, log.length, false)))).toEqual(plain(journal));
      }),
      { seed, numRuns: Math.floor(numRuns / 2) },
    );
  }, 30_000);
});
