/**
 * Programs about groups, drawn from a seed: members of both protocols, joining, syncing, beating, leaving, committing and being
 * described in any order and version, with right and wrong generations, epochs, ids and instances. A program is plain data whose
 * steps name members by number, so that it still runs with steps left out.
 */
import { SeededRandom } from "../../actors/simulation/SeededRandom.ts";
import { ByteWriter } from "../../src/prelude/ByteWriter.ts";
import { ZERO_UUID } from "../../src/prelude/Types.ts";
import { ApiKey } from "../../src/protocol/ApiKeys.ts";
import { Errors } from "../../src/protocol/Errors.ts";
import { encodeConsumerProtocolAssignment } from "../../src/protocol/generated/ConsumerProtocolAssignment.ts";
import {
  emptyConsumerProtocolSubscription,
  encodeConsumerProtocolSubscription,
} from "../../src/protocol/generated/ConsumerProtocolSubscription.ts";
import { between, chance, weighted } from "./Draw.ts";
import { type Place, Talk } from "./Talk.ts";

/** Whose id is given: the member's own, none, or one nobody has. */
type Who = "own" | "none" | "bogus";
/** Which topics: of the two there are, or one that is not. */
type Topics = ReadonlyArray<"a" | "b" | "missing">;

interface Join {
  readonly kind: "join";
  readonly member: number;
  readonly version: number;
  readonly who: Who;
  readonly type: string;
  readonly protocols: ReadonlyArray<string>;
  readonly topics: Topics;
  readonly garbage: boolean;
  readonly instance: boolean;
}
interface Sync {
  readonly kind: "sync";
  readonly member: number;
  readonly version: number;
  readonly who: Who;
  readonly by: number;
  readonly protocol: "right" | "wrong" | "none";
  readonly instance: boolean;
}
interface Beat {
  readonly kind: "heartbeat";
  readonly member: number;
  readonly version: number;
  readonly who: Who;
  readonly by: number;
  readonly instance: boolean;
}
interface Leave {
  readonly kind: "leave";
  readonly members: ReadonlyArray<number>;
  readonly version: number;
  readonly who: Who;
  readonly instance: boolean;
}
interface Commit {
  readonly kind: "commit";
  readonly member: number;
  readonly version: number;
  readonly who: Who;
  readonly by: number;
  readonly topic: "a" | "b" | "missing";
  readonly partition: number;
  readonly offset: number;
  readonly metadata: string;
  readonly instance: boolean;
}
interface FetchOffsets {
  readonly kind: "fetch";
  readonly member: number;
  readonly version: number;
  readonly who: Who;
  readonly by: number;
  readonly all: boolean;
  readonly stable: boolean;
}
interface ConsumerBeat {
  readonly kind: "consumer";
  readonly member: number;
  readonly version: number;
  readonly epoch: "own" | "join" | "leave" | "leave static" | "behind" | "ahead";
  readonly whole: boolean;
  readonly topics: Topics | null;
  readonly regex: string | null;
  readonly assignor: string | null;
  readonly owned: "assigned" | "none" | "unsaid" | "all";
  readonly instance: boolean;
  readonly rebalanceTimeout: number;
}
interface Admin {
  readonly kind: "describe" | "consumer describe" | "list" | "delete" | "delete offsets";
  readonly version: number;
  readonly topic: "a" | "b" | "missing";
}
export type GroupStep = Join | Sync | Beat | Leave | Commit | FetchOffsets | ConsumerBeat | Admin;

export interface GroupProgram {
  readonly steps: ReadonlyArray<GroupStep>;
}

const CLASSIC_MEMBERS = 3;
const CONSUMERS = 3;
const TIMEOUT_MS = 60_000;
const PARTITIONS = { a: 3, b: 2 } as const;

const who = (random: SeededRandom): Who =>
  weighted(random, [
    [14, "own"],
    [1, "none"],
    [1, "bogus"],
  ]);
const by = (random: SeededRandom): number =>
  weighted(random, [
    [12, 0],
    [1, 1],
    [1, -1],
  ]);
const topics = (random: SeededRandom): Topics =>
  random.pick<Topics>([["a"], ["a"], ["a", "b"], ["b"], ["missing"], ["a", "missing"], []]);
const topic = (random: SeededRandom) => random.pick(["a", "a", "b", "missing"] as const);

const drawClassic = (random: SeededRandom, instances: boolean): GroupStep => {
  const member = random.below(CLASSIC_MEMBERS);
  const instance = instances && member > 0 && !chance(random, 5);
  const common = { member, instance };
  return weighted<() => GroupStep>(random, [
    [
      10,
      () => ({
        ...common,
        kind: "join",
        version: random.pick(instance ? [5, 6, 7, 8, 9] : [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]),
        who: who(random),
        type: chance(random, 96) ? "consumer" : "connect",
        protocols: random.pick([["range"], ["range", "rr"], ["rr", "range"], ["rr"], ["range"], ["range"], []]),
        topics: topics(random),
        garbage: chance(random, 6),
      }),
    ],
    [
      9,
      () => ({
        ...common,
        kind: "sync",
        version: instance ? between(random, 3, 5) : between(random, 0, 5),
        who: who(random),
        by: by(random),
        protocol: weighted(random, [
          [8, "right"],
          [1, "wrong"],
          [1, "none"],
        ]),
      }),
    ],
    [
      5,
      () => ({
        ...common,
        kind: "heartbeat",
        version: instance ? between(random, 3, 4) : between(random, 0, 4),
        who: who(random),
        by: by(random),
      }),
    ],
    [
      2,
      () => ({
        kind: "leave",
        instance,
        members: chance(random, 80) ? [member] : [member, random.below(CLASSIC_MEMBERS)],
        version: between(random, instance ? 3 : 0, 5),
        who: who(random),
      }),
    ],
    [
      3,
      () => ({
        ...common,
        kind: "commit",
        version: instance ? between(random, 7, 10) : between(random, 2, 10),
        who: who(random),
        by: by(random),
        topic: topic(random),
        partition: random.pick([0, 0, 1, 2, 7]),
        offset: random.below(100),
        metadata: random.pick(["", "m", "metadata"]),
      }),
    ],
    [1, () => ({ ...drawFetch(random, member) })],
  ])();
};

const drawFetch = (random: SeededRandom, member: number): FetchOffsets => ({
  kind: "fetch",
  member,
  version: between(random, 1, 10),
  who: random.pick<Who>(["own", "none", "none", "bogus"]),
  by: by(random),
  all: chance(random, 30),
  stable: chance(random, 30),
});

const drawConsumer = (random: SeededRandom, instances: boolean): GroupStep => {
  const member = CLASSIC_MEMBERS + random.below(CONSUMERS);
  const instance = instances && member === CLASSIC_MEMBERS;
  if (chance(random, 12)) {
    return {
      kind: "commit",
      member,
      instance: false,
      version: between(random, 2, 10),
      who: who(random),
      by: by(random),
      topic: topic(random),
      partition: random.pick([0, 0, 1, 2, 7]),
      offset: random.below(100),
      metadata: "",
    };
  }
  if (chance(random, 6)) return drawFetch(random, member);
  const epoch = weighted<ConsumerBeat["epoch"]>(random, [
    [20, "own"],
    [5, "join"],
    [2, "leave"],
    [1, "leave static"],
    [1, "behind"],
    [1, "ahead"],
  ]);
  const regex = chance(random, 12) ? random.pick(["fuzz.*", "fuzz-a", "fuzz-[ab]", "", "(", "x.*"]) : null;
  const subscribes = chance(random, epoch === "join" ? 95 : 15);
  return {
    kind: "consumer",
    member,
    instance,
    version: regex !== null ? 1 : between(random, 0, 1),
    epoch,
    whole: chance(random, epoch === "join" ? 97 : 15),
    topics: subscribes && (regex === null || chance(random, 30)) ? topics(random) : null,
    regex,
    assignor: chance(random, 15) ? random.pick(["range", "uniform", "nobody"]) : null,
    owned: weighted<ConsumerBeat["owned"]>(random, [
      [10, "assigned"],
      [2, "none"],
      [3, "unsaid"],
      [1, "all"],
    ]),
    rebalanceTimeout: chance(random, 97) ? TIMEOUT_MS : random.pick([0, -5]),
  };
};

const drawAdmin = (random: SeededRandom): GroupStep => {
  const kind = weighted<Admin["kind"]>(random, [
    [3, "describe"],
    [2, "consumer describe"],
    [2, "list"],
    [1, "delete"],
    [2, "delete offsets"],
  ]);
  const newest = { describe: 6, "consumer describe": 1, list: 5, delete: 2, "delete offsets": 0 }[kind];
  return { kind, version: between(random, 0, newest), topic: topic(random) };
};

/** The program of a seed. */
export const drawGroupProgram = (seed: number): GroupProgram => {
  const random = new SeededRandom(`groups ${seed}`);
  const mode = random.pick(["classic", "classic", "consumer", "consumer", "both", "both"] as const);
  const instances = chance(random, 50);
  const steps = Array.from({ length: between(random, 8, 26) }, (): GroupStep => {
    if (chance(random, 12)) return drawAdmin(random);
    const classic = mode === "both" ? chance(random, 50) : mode === "classic";
    return classic ? drawClassic(random, instances) : drawConsumer(random, instances);
  });
  return { steps };
};

interface Member {
  memberId: string;
  /** Generation or epoch. */
  generation: number;
  protocol: string;
  joining: boolean;
  /** Of whom it leads. */
  followers: ReadonlyArray<string>;
  assigned: ReadonlyArray<{ readonly topicId: string; readonly partitions: number[] }>;
}

class GroupRun {
  private readonly members: Member[];
  private readonly talk: Talk;
  private readonly group: string;

  constructor(place: Place, run: string) {
    this.talk = new Talk(place, run);
    this.group = `${run}-group`;
    this.members = Array.from({ length: CLASSIC_MEMBERS + CONSUMERS }, (_, index) => ({
      memberId: index < CLASSIC_MEMBERS ? "" : `consumer-${index}`,
      generation: index < CLASSIC_MEMBERS ? -1 : 0,
      protocol: "range",
      joining: false,
      followers: [],
      assigned: [],
    }));
  }

  run({ steps }: GroupProgram): Promise<string[]> {
    const topics = { [this.topic("a")]: PARTITIONS.a, [this.topic("b")]: PARTITIONS.b };
    return this.talk.play(
      topics,
      steps,
      (step) => this.take(step),
      () => this.look(),
    );
  }

  private topic(name: string): string {
    return `fuzz-${name}`;
  }

  private topicId(name: string): string {
    return this.talk.topicIds.get(this.topic(name)) ?? "AAAAAAAAAAAAAAAAAAAAAQ";
  }

  private id(member: Member, whose: Who): string {
    if (whose === "own") return member.memberId;
    return whose === "none" ? "" : "nobody";
  }

  private instanceOf(index: number, has: boolean): string | null {
    return has ? `i${index}` : null;
  }

  /** What everybody can see of the group. */
  private async look(): Promise<void> {
    const { talk, group } = this;
    talk.say("classic", (await talk.call(ApiKey.DescribeGroups, 6, { groups: [group] })).groups[0]);
    talk.say("consumer", (await talk.call(ApiKey.ConsumerGroupDescribe, 1, { groupIds: [group] })).groups[0]);
  }

  private take(step: GroupStep): void {
    switch (step.kind) {
      case "join":
        return this.join(step);
      case "sync":
        return this.sync(step);
      case "heartbeat":
        return this.heartbeat(step);
      case "leave":
        return this.leave(step);
      case "commit":
        return this.commit(step);
      case "fetch":
        return this.fetch(step);
      case "consumer":
        return this.consumer(step);
      default:
        return this.admin(step);
    }
  }

  private subscription({ topics: names, garbage }: Join): Uint8Array {
    if (garbage) return Buffer.from("junk");
    const writer = new ByteWriter();
    writer.int16(1);
    const message = { ...emptyConsumerProtocolSubscription(), topics: names.map((name) => this.topic(name)) };
    encodeConsumerProtocolSubscription(writer, message, 1);
    return writer.toBytes();
  }

  private join(step: Join): void {
    const member = this.members[step.member]!;
    // Kafka never answers the first of two joins of one member.
    if (member.joining && step.who === "own") return;
    const metadata = this.subscription(step);
    const { version } = step;
    const request = {
      groupId: this.group,
      sessionTimeoutMs: TIMEOUT_MS,
      ...(version >= 1 ? { rebalanceTimeoutMs: TIMEOUT_MS } : {}),
      memberId: this.id(member, step.who),
      ...(version >= 5 ? { groupInstanceId: this.instanceOf(step.member, step.instance) } : {}),
      protocolType: step.type,
      protocols: step.protocols.map((name) => ({ name, metadata })),
    };
    member.joining = true;
    this.talk.ask(`join ${step.member}`, ApiKey.JoinGroup, version, request, (answer) => {
      member.joining = false;
      if (answer.memberId !== "") {
        member.memberId = answer.memberId;
        this.talk.name(answer.memberId, `m${step.member}.`);
      }
      if (answer.errorCode !== Errors.NONE) return;
      member.generation = answer.generationId;
      member.protocol = answer.protocolName ?? "";
      const leads = answer.leader === answer.memberId;
      member.followers = leads ? answer.members.map(({ memberId }) => memberId) : [];
    });
  }

  /** The leader's plan: each of the members it was told of gets a partition of its own, in the order it was told. */
  private plan(member: Member): Array<{ memberId: string; assignment: Uint8Array }> {
    const order = member.followers.toSorted((left, right) =>
      this.index(left) === this.index(right) ? 0 : this.index(left) - this.index(right),
    );
    return order.map((memberId, place) => {
      const writer = new ByteWriter();
      writer.int16(0);
      const partitions = place < PARTITIONS.a ? [place] : [];
      const assignedPartitions = [{ topic: this.topic("a"), partitions }];
      encodeConsumerProtocolAssignment(writer, { assignedPartitions, userData: null }, 0);
      return { memberId, assignment: writer.toBytes() };
    });
  }

  private index(memberId: string): number {
    return this.members.findIndex((one) => one.memberId === memberId);
  }

  private sync(step: Sync): void {
    const member = this.members[step.member]!;
    const { version } = step;
    const named = step.protocol === "right" ? member.protocol : "wrong";
    const request = {
      groupId: this.group,
      generationId: member.generation + step.by,
      memberId: this.id(member, step.who),
      ...(version >= 3 ? { groupInstanceId: this.instanceOf(step.member, step.instance) } : {}),
      ...(version >= 5 && step.protocol !== "none" ? { protocolType: "consumer", protocolName: named } : {}),
      assignments: this.plan(member),
    };
    this.talk.ask(`sync ${step.member}`, ApiKey.SyncGroup, version, request);
  }

  private heartbeat(step: Beat): void {
    const member = this.members[step.member]!;
    const { version } = step;
    this.talk.ask(`heartbeat ${step.member}`, ApiKey.Heartbeat, version, {
      groupId: this.group,
      generationId: member.generation + step.by,
      memberId: this.id(member, step.who),
      ...(version >= 3 ? { groupInstanceId: this.instanceOf(step.member, step.instance) } : {}),
    });
  }

  private leave(step: Leave): void {
    const { version } = step;
    const leaving = step.members.map((index) => ({
      memberId: this.id(this.members[index]!, step.who),
      groupInstanceId: this.instanceOf(index, step.instance),
      reason: null,
    }));
    const request = version < 3 ? { memberId: leaving[0]!.memberId } : { members: leaving };
    this.talk.ask(`leave ${step.members}`, ApiKey.LeaveGroup, version, { groupId: this.group, ...request });
  }

  private commit(step: Commit): void {
    const member = this.members[step.member]!;
    const { version, partition, offset, metadata } = step;
    const where = version >= 10 ? { name: "", topicId: this.topicId(step.topic) } : this.named(step.topic);
    const committed = { committedOffset: offset, committedLeaderEpoch: -1, committedMetadata: metadata };
    this.talk.ask(`commit ${step.member}`, ApiKey.OffsetCommit, version, {
      groupId: this.group,
      generationIdOrMemberEpoch: step.who === "none" ? -1 : member.generation + step.by,
      memberId: this.id(member, step.who),
      ...(version >= 7 ? { groupInstanceId: this.instanceOf(step.member, step.instance) } : {}),
      topics: [{ ...where, partitions: [{ partitionIndex: partition, ...committed }] }],
    });
  }

  private named(name: string): { readonly name: string; readonly topicId: string } {
    return { name: this.topic(name), topicId: ZERO_UUID };
  }

  private fetch(step: FetchOffsets): void {
    const member = this.members[step.member]!;
    const { version } = step;
    const names = ["a", "missing"];
    const partitionIndexes = [0, 1, 7];
    const old = step.all && version >= 2 ? null : names.map((name) => ({ name: this.topic(name), partitionIndexes }));
    const whole = names.map((name) => ({
      ...(version >= 10 ? { name: "", topicId: this.topicId(name) } : this.named(name)),
      partitionIndexes,
    }));
    const member9 = { memberId: this.id(member, step.who) || null, memberEpoch: member.generation + step.by };
    const none = { memberId: null, memberEpoch: -1 };
    const identity = version >= 9 && step.who !== "none" ? member9 : none;
    this.talk.ask(`fetch ${step.member}`, ApiKey.OffsetFetch, version, {
      ...(version >= 7 ? { requireStable: step.stable } : {}),
      ...(version >= 8
        ? { groups: [{ groupId: this.group, topics: step.all ? null : whole, ...identity }] }
        : { groupId: this.group, topics: old }),
    });
  }

  private epoch(member: Member, epoch: ConsumerBeat["epoch"]): number {
    switch (epoch) {
      case "own":
        return member.generation;
      case "join":
        return 0;
      case "leave":
        return -1;
      case "leave static":
        return -2;
      case "behind":
        return member.generation - 1;
      default:
        return member.generation + 1;
    }
  }

  private owned(member: Member, step: ConsumerBeat): Array<{ topicId: string; partitions: number[] }> | null {
    if (step.epoch === "join" && step.owned !== "all") return [];
    switch (step.owned) {
      case "unsaid":
        return null;
      case "none":
        return [];
      case "assigned":
        return member.assigned.map(({ topicId, partitions }) => ({ topicId, partitions }));
      default:
        return [{ topicId: this.topicId("a"), partitions: [0, 1, 2] }];
    }
  }

  private consumer(step: ConsumerBeat): void {
    const member = this.members[step.member]!;
    const request = {
      groupId: this.group,
      memberId: step.version === 0 && step.epoch === "join" && step.member === 5 ? "" : member.memberId,
      memberEpoch: this.epoch(member, step.epoch),
      instanceId: this.instanceOf(step.member, step.instance),
      rebalanceTimeoutMs: step.whole ? step.rebalanceTimeout : -1,
      subscribedTopicNames: step.topics === null ? null : step.topics.map((name) => this.topic(name)),
      ...(step.version >= 1 ? { subscribedTopicRegex: step.regex } : {}),
      serverAssignor: step.assignor,
      topicPartitions: this.owned(member, step),
    };
    this.talk.ask(`consumer ${step.member}`, ApiKey.ConsumerGroupHeartbeat, step.version, request, (answer) => {
      if (answer.errorCode !== Errors.NONE) return;
      if (answer.memberId !== null) {
        member.memberId = answer.memberId;
        this.talk.name(answer.memberId, `m${step.member}.`);
      }
      member.generation = Math.max(answer.memberEpoch, 0);
      if (answer.memberEpoch < 0) member.assigned = [];
      if (answer.assignment !== null) member.assigned = answer.assignment.topicPartitions;
    });
  }

  private admin(step: Admin): void {
    const { talk, group } = this;
    const { version } = step;
    switch (step.kind) {
      case "describe":
        return talk.ask("describe", ApiKey.DescribeGroups, version, { groups: [group] });
      case "consumer describe":
        return talk.ask("consumer describe", ApiKey.ConsumerGroupDescribe, version, { groupIds: [group] });
      case "list":
        return this.list(version);
      case "delete":
        return talk.ask("delete", ApiKey.DeleteGroups, version, { groupsNames: [group, `${group}-2`] });
      default:
        return talk.ask("delete offsets", ApiKey.OffsetDelete, version, {
          groupId: group,
          topics: [{ name: this.topic(step.topic), partitions: [{ partitionIndex: 0 }, { partitionIndex: 7 }] }],
        });
    }
  }

  private list(version: number): void {
    const filters = {
      ...(version >= 4 ? { statesFilter: ["Stable", "Empty", "PreparingRebalance", "completingrebalance"] } : {}),
      ...(version >= 5 ? { typesFilter: ["consumer", "Classic"] } : {}),
    };
    this.talk.call(ApiKey.ListGroups, version, filters).then((answer) => {
      const mine = answer.groups.filter(({ groupId }) => groupId === this.group);
      this.talk.lines.push(`list v${version}: ${this.talk.show({ ...answer, groups: mine })}`);
    });
  }
}

/** What the broker answers to a program. */
export const groupTranscript = (place: Place, program: GroupProgram, run: string): Promise<string[]> =>
  new GroupRun(place, run).run(program);
