/**
 * A coordinator's journal on a partition that takes its appends later, as a mailbox does: what a coordinator decided
 * before it heard of a failure, or before it lost its state, must not end up where it does not belong.
 */
import { describe, expect, test } from "bun:test";
import { CoordinatorLog } from "../../actors/CoordinatorLog.ts";
import type { AppendCommand } from "../../src/api/Ports.ts";
import { decide, type PartitionRole } from "../../src/partition/Partition.ts";
import type { PartitionView } from "../../src/partition/PartitionView.ts";
import { Errors } from "../../src/protocol/Errors.ts";
import { LogDriver, noCodecs } from "../support/LogDriver.ts";
import { ManualClock } from "../support/ManualClock.ts";

const role: PartitionRole = { leaderEpoch: 0, isLeader: true, isrSize: 1, replicaCount: 1, minInSyncReplicas: 1 };
const text = new TextDecoder();

/** A partition with a mailbox, and one coordinator's journal on it. */
const open = async () => {
  const driver = await LogDriver.open();
  const mailbox: AppendCommand[] = [];
  const failures: number[] = [];
  const view = (): PartitionView => ({
    topic: "__consumer_offsets",
    topicId: "",
    partition: 0,
    leaderId: 1,
    leaderEpoch: 0,
    logStartOffset: 0,
    highWatermark: driver.end,
    lastStableOffset: driver.end,
    logEndOffset: driver.end,
    committedBytes: 0,
    log: driver.log,
    state: driver.state,
  });
  const journal = new CoordinatorLog(
    {
      clock: new ManualClock(),
      codecs: noCodecs,
      view,
      append: (command) => mailbox.push(command),
      maxBatchBytes: () => 1000,
    },
    (error) => failures.push(error),
  );
  /** Takes one append from the mailbox, or refuses it because there are too few replicas. */
  const take = async (refused = false): Promise<void> => {
    const { batch, acks, expectedOffset, settle } = mailbox.shift()!;
    const as = refused ? { ...role, replicaCount: 2, minInSyncReplicas: 2 } : role;
    const { event, reply } = decide(driver.state, as, { info: batch.info, acks, logAppendTime: -1, expectedOffset });
    if (event !== undefined) {
      driver.stage(batch.bytes);
      await driver.log.write();
    }
    settle(reply);
  };
  /** Forgets everything and reads the log: what is in it. */
  const load = (): string[] => {
    const found: string[] = [];
    let ready = false;
    journal.reset(Errors.NOT_COORDINATOR);
    journal.load({
      begin: () => undefined,
      fold: (key) => found.push(text.decode(key)),
      ready: () => {
        ready = true;
      },
      failed: (why) => {
        throw new Error(why);
      },
    });
    expect(ready).toBe(true);
    return found;
  };
  const append = (key: string): boolean => journal.append([{ key: Buffer.from(key), value: null }], false);
  return { load, append, take, failures };
};

describe("a coordinator's journal", () => {
  test("what is decided after the log was read again does not get in behind an append that was still on its way", async () => {
    const { load, append, take, failures } = await open();
    load();
    append("before");
    expect(load()).toEqual([]);
    append("decided without it");
    await take();
    await take();
    expect(failures).toEqual([Errors.NOT_LEADER_OR_FOLLOWER]);
    expect(load()).toEqual(["before"]);
    append("decided with it");
    await take();
    expect(load()).toEqual(["before", "decided with it"]);
  });

  test("what was decided upon an append that failed does not get in without it", async () => {
    const { load, append, take, failures } = await open();
    load();
    append("failing");
    append("decided upon it");
    await take(true);
    await take();
    expect(failures).toEqual([Errors.NOT_ENOUGH_REPLICAS]);
    expect(load()).toEqual([]);
  });
});
