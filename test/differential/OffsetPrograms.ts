/**
 * Programs about offsets in transactions and beside them, drawn from a seed: two transactional producers and a member of either
 * protocol commit to the same few partitions, in transactions and without, with present and stale generations, while an
 * administrator deletes offsets and groups.
 */
import { SeededRandom } from "../../actors/simulation/SeededRandom.ts";
import { ZERO_UUID } from "../../src/prelude/Types.ts";
import { ApiKey } from "../../src/protocol/ApiKeys.ts";
import { Errors } from "../../src/protocol/Errors.ts";
import { between, chance, weighted } from "./Draw.ts";
import { type Place, Talk } from "./Talk.ts";

/** Who a commit says it is: nobody, the member, the member of the generation before or after, or somebody unknown. */
type Identity = "nobody" | "member" | "before" | "after" | "unknown";

export type OffsetStep =
  | { readonly kind: "begin"; readonly producer: number }
  | {
      readonly kind: "commit in transaction";
      readonly producer: number;
      readonly version: number;
      readonly as: Identity;
      readonly partition: number;
      readonly offset: number;
    }
  | { readonly kind: "end"; readonly producer: number; readonly committed: boolean }
  | {
      readonly kind: "commit";
      readonly version: number;
      readonly as: Identity;
      readonly partition: number;
      readonly offset: number;
    }
  | { readonly kind: "join" | "beat" | "leave" | "delete offsets" | "delete group" };

export interface OffsetProgram {
  readonly protocol: "classic" | "consumer";
  readonly steps: ReadonlyArray<OffsetStep>;
}

const PARTITIONS = 2;
/** The first version of TxnOffsetCommit that adds the group's partition to the transaction. */
const ADDS_OFFSETS = 5;
const TIMEOUT_MS = 60_000;
const MAX_LOOKS = 400;

const identity = (random: SeededRandom): Identity =>
  weighted<Identity>(random, [
    [5, "nobody"],
    [5, "member"],
    [1, "before"],
    [1, "after"],
    [1, "unknown"],
  ]);

const drawStep = (random: SeededRandom): OffsetStep => {
  const producer = random.below(2);
  const place = { as: identity(random), partition: random.below(PARTITIONS), offset: random.below(100) };
  return weighted<() => OffsetStep>(random, [
    [2, () => ({ kind: "begin", producer })],
    [9, () => ({ kind: "commit in transaction", producer, version: between(random, 3, 5), ...place })],
    [6, () => ({ kind: "end", producer, committed: chance(random, 60) })],
    [5, () => ({ kind: "commit", version: between(random, 7, 9), ...place })],
    [4, () => ({ kind: "join" })],
    [2, () => ({ kind: "beat" })],
    [3, () => ({ kind: "leave" })],
    [2, () => ({ kind: "delete offsets" })],
    [2, () => ({ kind: "delete group" })],
  ])();
};

/** The program of a seed. */
export const drawOffsetProgram = (seed: number): OffsetProgram => {
  const random = new SeededRandom(`offsets ${seed}`);
  const protocol = random.pick(["classic", "consumer"] as const);
  const steps = Array.from({ length: between(random, 8, 24) }, () => drawStep(random));
  return { protocol, steps: [{ kind: "begin", producer: 0 }, { kind: "begin", producer: 1 }, ...steps] };
};

class OffsetRun {
  private readonly talk: Talk;
  private readonly producers = [0, 1].map(() => ({ producerId: -1, producerEpoch: -1 }));
  private memberId = "";
  private generation = -1;

  constructor(
    place: Place,
    run: string,
    private readonly protocol: "classic" | "consumer",
  ) {
    this.talk = new Talk(place, run);
  }

  run(steps: ReadonlyArray<OffsetStep>): Promise<string[]> {
    const topics = { [this.topic]: PARTITIONS, "offsets-b": PARTITIONS };
    return this.talk.play(
      topics,
      steps,
      (step) => this.take(step),
      () => this.look(),
    );
  }

  private get topic(): string {
    return "offsets-a";
  }

  private get group(): string {
    return `${this.talk.run}-g`;
  }

  private as(who: Identity): { readonly memberId: string; readonly generation: number } {
    const { memberId, generation } = this;
    switch (who) {
      case "nobody":
        return { memberId: "", generation: -1 };
      case "member":
        return { memberId, generation };
      case "before":
        return { memberId, generation: generation - 1 };
      case "after":
        return { memberId, generation: generation + 1 };
      default:
        return { memberId: "unknown", generation };
    }
  }

  private topics(partition: number, offset: number) {
    const committed = { committedOffset: offset, committedLeaderEpoch: -1, committedMetadata: "" };
    return [{ name: this.topic, topicId: ZERO_UUID, partitions: [{ partitionIndex: partition, ...committed }] }];
  }

  private take(step: OffsetStep): void {
    const { talk, group } = this;
    const transactionalId = "producer" in step ? `${talk.run}-x${step.producer}` : "";
    switch (step.kind) {
      case "begin":
        return talk.ask(
          `begin ${step.producer}`,
          ApiKey.InitProducerId,
          5,
          { transactionalId, transactionTimeoutMs: TIMEOUT_MS },
          (answer) => {
            if (answer.errorCode === Errors.NONE) this.producers[step.producer] = answer;
          },
        );
      case "commit in transaction": {
        const { producerId, producerEpoch } = this.producers[step.producer]!;
        const who = { transactionalId, producerId, producerEpoch, groupId: group };
        const { memberId, generation: generationId } = this.as(step.as);
        const topics = this.topics(step.partition, step.offset);
        const request = { ...who, memberId, generationId, topics };
        const commit = (): void => talk.ask(`txn ${step.producer}`, ApiKey.TxnOffsetCommit, step.version, request);
        if (step.version >= ADDS_OFFSETS) return commit();
        return talk.ask(`add ${step.producer}`, ApiKey.AddOffsetsToTxn, 3, who, commit);
      }
      case "end": {
        const { producerId, producerEpoch } = this.producers[step.producer]!;
        const request = { transactionalId, producerId, producerEpoch, committed: step.committed };
        return talk.ask(`end ${step.producer}`, ApiKey.EndTxn, 5, request, (answer) => {
          if (answer.errorCode === Errors.NONE) this.producers[step.producer] = answer;
        });
      }
      case "commit": {
        const { memberId, generation } = this.as(step.as);
        const topics = this.topics(step.partition, step.offset);
        const request = { groupId: group, memberId, generationIdOrMemberEpoch: generation, topics };
        return talk.ask("commit", ApiKey.OffsetCommit, step.version, request);
      }
      case "join":
        return this.protocol === "classic" ? this.joinClassic() : this.beatConsumer(0);
      case "beat":
        return this.protocol === "classic" ? this.syncClassic() : this.beatConsumer(Math.max(0, this.generation));
      case "leave":
        if (this.protocol === "consumer") return this.beatConsumer(-1);
        return talk.ask("leave", ApiKey.LeaveGroup, 1, { groupId: group, memberId: this.memberId });
      case "delete offsets":
        return talk.ask("delete offsets", ApiKey.OffsetDelete, 0, {
          groupId: group,
          topics: [{ name: this.topic, partitions: [{ partitionIndex: 0 }] }],
        });
      default:
        return talk.ask("delete group", ApiKey.DeleteGroups, 2, { groupsNames: [group] });
    }
  }

  private joinClassic(): void {
    const request = {
      groupId: this.group,
      sessionTimeoutMs: TIMEOUT_MS,
      rebalanceTimeoutMs: TIMEOUT_MS,
      memberId: this.memberId,
      protocolType: "consumer",
      protocols: [{ name: "range", metadata: new Uint8Array([0, 0, 0, 0, 0, 0, 255, 255, 255, 255]) }],
    };
    this.talk.ask("join", ApiKey.JoinGroup, 3, request, (answer) => {
      this.memberId = answer.errorCode === Errors.NONE ? answer.memberId : "";
      if (answer.memberId !== "") this.talk.name(answer.memberId, "m");
      this.generation = answer.generationId;
    });
  }

  private syncClassic(): void {
    this.talk.ask("sync", ApiKey.SyncGroup, 3, {
      groupId: this.group,
      generationId: this.generation,
      memberId: this.memberId,
      assignments: [],
    });
  }

  private beatConsumer(memberEpoch: number): void {
    this.memberId = "consumer";
    const whole = memberEpoch === 0;
    const request = {
      groupId: this.group,
      memberId: this.memberId,
      memberEpoch,
      rebalanceTimeoutMs: whole ? TIMEOUT_MS : -1,
      subscribedTopicNames: whole ? ["offsets-b"] : null,
      topicPartitions: whole ? [] : null,
    };
    this.talk.ask("beat", ApiKey.ConsumerGroupHeartbeat, 1, request, (answer) => {
      if (answer.errorCode === Errors.NONE) this.generation = answer.memberEpoch;
    });
  }

  /** The state of the transactions once none is ending, the group, and what it has committed. */
  private async look(): Promise<void> {
    const { talk } = this;
    const transactionalIds = [0, 1].map((producer) => `${talk.run}-x${producer}`);
    for (let look = 0; ; look++) {
      const { transactionStates } = await talk.call(ApiKey.DescribeTransactions, 0, { transactionalIds });
      if (look >= MAX_LOOKS || !transactionStates.some(({ transactionState }) => /Prepare/.test(transactionState))) {
        talk.say("transactions", transactionStates);
        break;
      }
      await talk.sleep(talk.place.restMs);
    }
    talk.say("classic", (await talk.call(ApiKey.DescribeGroups, 6, { groups: [this.group] })).groups[0]);
    const partitionIndexes = Array.from({ length: PARTITIONS }, (_, partition) => partition);
    for (const requireStable of [false, true]) {
      const topics = [{ name: this.topic, topicId: ZERO_UUID, partitionIndexes }];
      const groups = [{ groupId: this.group, memberId: null, memberEpoch: -1, topics }];
      const answer = await talk.call(ApiKey.OffsetFetch, 9, { requireStable, groups });
      talk.say(`offsets, stable ${requireStable}`, answer.groups);
    }
    const all = [{ groupId: this.group, memberId: null, memberEpoch: -1, topics: null }];
    talk.say("all offsets", (await talk.call(ApiKey.OffsetFetch, 9, { requireStable: true, groups: all })).groups);
  }
}

/** What the broker answers to a program. */
export const offsetTranscript = (place: Place, { protocol, steps }: OffsetProgram, run: string): Promise<string[]> =>
  new OffsetRun(place, run, protocol).run(steps);
