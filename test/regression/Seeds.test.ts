/** Every seed that found a bug, with a line on what it was. They stay. */
import { expect, test } from "bun:test";
import { runPlan } from "../../actors/simulation/ScenarioRun.ts";
import { planOf } from "../../actors/testing/Scenario.ts";
import { scenarioOf } from "../../actors/testing/Scenarios.ts";
import { makeBunCodecs } from "../../src/platform/BunCodecs.ts";

const codecs = makeBunCodecs();

test.each([
  ["admin", 2, "a second stray folder of one name kept the broker from starting"],
  ["admin", 23, "the same, by another way of cuts"],
  [
    "admin",
    1005076,
    "whose folder it was stayed unflushed when a process died before its first flush: a new topic was given the records of a deleted one",
  ],
  [
    "consumer-groups",
    100180,
    "the client named what it owned by an id it had forgotten: the coordinator took it for given up",
  ],
  [
    "groups",
    200570,
    "the book took a heartbeat that a loading coordinator answers blindly, as Kafka's does, for a session",
  ],
  [
    "compaction",
    100252,
    "a compaction that ended between swap and snapshot cost leader epochs: readers were told of a cut",
  ],
  [
    "migration",
    200448,
    "the disk kept half of a write's page, which no kernel does, and recovery refused it for damage",
  ],
  ["copy", 1000310, "records that a hung flush brought to light when the copiers had gone home were asked of them"],
  ["migration", 1000615, "the same of the members of a group"],
  [
    "transactions",
    1000562,
    "a waiting fetch was thought asleep that a marker without data had woken with nothing to show",
  ],
  [
    "consumer-groups",
    1003646,
    "a coordinator that had read its log too early appended behind a join it had not seen: two owners of a partition",
  ],
  ["consumer-groups", 1003846, "the same, long after"],
  ["consumer-groups", 1004506, "the same without any fault but the coordinator's loss"],
  [
    "transactions",
    3000550,
    "the same where a transaction's first batch was refused before it came to its partition: the log could not be opened",
  ],
  ["disk", 116, "a batch pipelined behind a new producer's lost first batch was taken, and the first refused for good"],
  [
    "stream-groups",
    1004181,
    "a power cut while a failed flush was cut off left a snapshot and no segment: the log began there, acked or not",
  ],
  ["retention", 4002043, "a reader that never paused, on wires without latency, stopped the world's time"],
  [
    "copy",
    5000331,
    "a generation that could not be recorded was told again: a commit from the first time it was given counted in the second",
  ],
  [
    "copy",
    5000081,
    "a client that forgot a topic's id under way took what the group had committed for nothing committed",
  ],
  [
    "stream-groups",
    7001005,
    "a log opened again while its new folder's first flush was under way counted on a name that a power cut took back",
  ],
  [
    "transactions",
    10002599,
    "partitions of an aborted transaction were still being added when the producer had its next epoch, which that refusal ended",
  ],
  [
    "rot",
    262,
    "a bit that flipped in a transaction index under way: read_committed was shown aborted records, and not others",
  ],
] as const)(
  "%s %d: %s",
  (scenario, seed) => {
    expect(runPlan(planOf(scenarioOf(scenario), seed), { codecs }).violations).toEqual([]);
  },
  60_000,
);
