/**
 * A member of a consumer group that processes what it is shown and commits then: every record is processed by somebody,
 * whoever comes and goes. With both protocols in a plan, members speak either.
 */

import type { TopicPartition } from "../../../src/prelude/Types.ts";
import type { SeededRandom } from "../../simulation/SeededRandom.ts";
import type { ConsumerOptions } from "../KafkaConsumer.ts";
import { TOPIC } from "../Scenario.ts";
import type { Machine, Stage } from "../Stage.ts";
import type { ClientKind } from "./ClientKind.ts";
import { RecordedConsumer } from "./RecordedConsumer.ts";

export const GROUP = "g";

/** What a member of the plan's groups is like. */
export const memberOptions = (
  { plan: { knobs } }: Stage,
  random: SeededRandom,
): Pick<ConsumerOptions, "groupProtocol" | "assignors" | "sessionTimeoutMs" | "heartbeatIntervalMs"> => ({
  groupProtocol: knobs.groupProtocol === "both" ? random.pick(["classic", "consumer"]) : knobs.groupProtocol,
  assignors: [knobs.assignor],
  sessionTimeoutMs: knobs.sessionTimeoutMs,
  heartbeatIntervalMs: 60,
});

/** Options that write a member's doings into the stage's book. `instance` is unique in the run. */
export const watched = (stage: Stage, machine: Machine, group: string, instance: number): Partial<ConsumerOptions> => {
  const { clock } = machine.platform;
  return {
    observe: (event) => {
      stage.note(`member ${instance} of ${group}: ${JSON.stringify(event)} clock ${clock.monotonic()}`);
      stage.groups.observe({ ...event, instance }, clock.monotonic());
    },
    onCommitted: (committed, askedAt) =>
      stage.groups.fetched(group, stage.keyAt(committed), committed.offset, clock.monotonic() - askedAt),
  };
};

export const groupMember: ClientKind = {
  role: "reader",
  async live(stage, { machine, random }) {
    const client = stage.client(machine);
    while (!stage.groupsDone) {
      const instance = stage.nextInstance(machine);
      const owner = stage.recorder.newProcess();
      /** Processed and not yet committed: the next offset by partition. */
      const pending = new Map<number, number>();
      const commit = async (only?: ReadonlyArray<TopicPartition>): Promise<void> => {
        const keys = only?.map((one) => stage.keyAt(one));
        const entries = [...pending].filter(([key]) => keys === undefined || keys.includes(key));
        if (entries.length === 0) return;
        const ends = entries.map(([key, offset]) => stage.groups.commit(GROUP, key, offset));
        stage.note(`member ${instance} commits ${entries.map((entry) => entry.join("@")).join(" ")}`);
        const offsets = entries.map(([key, offset]) => ({ ...stage.placeOf(key), offset }));
        const outcome = await member.consumer.commit(offsets, 2000);
        stage.note(`member ${instance} committed: ${JSON.stringify(outcome)}`);
        for (const end of ends) end(outcome.type, outcome.type === "ok" && outcome.repeated === true);
        // What was refused in the middle of a rebalance is tried again, unless it is not its own any more.
        if (outcome.type !== "ok" && only === undefined) return;
        for (const [key, offset] of entries) if (pending.get(key) === offset) pending.delete(key);
      };
      const member: RecordedConsumer = new RecordedConsumer(stage, client, owner, {
        groupId: GROUP,
        ...memberOptions(stage, random),
        ...watched(stage, machine, GROUP, instance),
        maxPollIntervalMs: 30_000,
        metadataMaxAgeMs: 1000,
        fetchSessions: random.chance(0.5),
        onRevoked: (partitions) => commit(partitions),
        onLost: (partitions) => {
          for (const one of partitions) pending.delete(stage.keyAt(one));
        },
      });
      member.subscribe(TOPIC);
      const polls = random.pick([10, 40, 1000]);
      for (let poll = 0; poll < polls && !stage.groupsDone; poll++) {
        const shown = await member.poll(random.pick([0, 20, 100]));
        if (shown === undefined) break;
        for (const { key, offset } of shown) {
          stage.groups.process(GROUP, key, offset);
          pending.set(key, offset + 1);
        }
        if (random.chance(0.6)) await commit();
        if (shown.length === 0 || random.chance(0.2)) await client.sleep(random.below(60));
      }
      // It leaves in order, or is gone without a word.
      if (random.chance(0.6) || stage.groupsDone) await member.consumer.close(2000);
      else {
        member.consumer.abandon();
        stage.groups.died(instance);
      }
    }
    client.close();
  },
};
