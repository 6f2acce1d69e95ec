/**
 * A coordinator's journal on a partition that takes its appends later, as a mailbox does: what a coordinator decided
 * before it heard of a failure, or before it lost its state, must not end up where it does not belong.
 */
import { describe, expect, test } from "bun:test";
import { CoordinatorLog } from "../../actors/CoordinatorLog.ts";
import { Errors } from "../../src/protocol/Errors.ts";
import { JournalPartition } from "../support/JournalPartition.ts";
import { noCodecs } from "../support/LogDriver.ts";
import { ManualClock } from "../support/ManualClock.ts";

const text = new TextDecoder();

/** A partition, and one coordinator's journal on it. */
const open = async () => {
  const partition = await JournalPartition.open();
  const failures: number[] = [];
  const { view, append: tell } = partition;
  const journal = new CoordinatorLog(
    { clock: new ManualClock(), codecs: noCodecs, view, append: tell, maxBatchBytes: () => 1000 },
    (error) => failures.push(error),
  );
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
  return { load, append, partition, failures };
};

describe("a coordinator's journal", () => {
  test("what is decided after the log was read again does not get in behind an append that was still on its way", async () => {
    const { load, append, partition, failures } = await open();
    load();
    append("before");
    expect(load()).toEqual([]);
    append("decided without it");
    await partition.take();
    await partition.take();
    expect(failures).toEqual([Errors.NOT_LEADER_OR_FOLLOWER]);
    expect(load()).toEqual(["before"]);
    append("decided with it");
    await partition.take();
    expect(load()).toEqual(["before", "decided with it"]);
  });

  test("what was decided upon an append that failed does not get in without it", async () => {
    const { load, append, partition, failures } = await open();
    load();
    append("failing");
    append("decided upon it");
    await partition.take(true);
    await partition.take();
    expect(failures).toEqual([Errors.NOT_ENOUGH_REPLICAS]);
    expect(load()).toEqual([]);
  });
});
