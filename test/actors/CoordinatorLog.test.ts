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
  const clock = new ManualClock();
  const journal = new CoordinatorLog(
    { clock, codecs: noCodecs, view, append: tell, maxBatchBytes: () => 1000 },
    (error) => failures.push(error),
  );
  /** Forgets everything and reads the log: what is in it, once it has been read. */
  const load = (): { readonly keys: ReadonlyArray<string> | undefined } => {
    const found: { keys: ReadonlyArray<string> | undefined } = { keys: undefined };
    const keys: string[] = [];
    journal.reset(Errors.NOT_COORDINATOR);
    journal.load({
      begin: () => keys.splice(0),
      fold: (key) => keys.push(text.decode(key)),
      ready: () => {
        found.keys = keys;
      },
      failed: (why) => {
        throw new Error(why);
      },
    });
    return found;
  };
  const append = (key: string): boolean => journal.append([{ key: Buffer.from(key), value: null }], false);
  return { load, append, partition, clock, failures };
};

describe("a coordinator's journal", () => {
  test("the log is read when no append is on its way any more, not before", async () => {
    const { load, append, partition, clock, failures } = await open();
    load();
    append("first");
    append("second");
    const found = load();
    for (let taken = 0; taken < 2; taken += 1) {
      clock.advance(1000);
      expect(found.keys).toBeUndefined();
      await partition.take();
    }
    clock.advance(1000);
    expect(found.keys).toEqual(["first", "second"]);
    append("third");
    await partition.take();
    expect(load().keys).toEqual(["first", "second", "third"]);
    expect(failures).toEqual([]);
  });

  test("what was decided upon an append that failed does not get in without it", async () => {
    const { load, append, partition, failures } = await open();
    load();
    append("failing");
    append("decided upon it");
    await partition.take(true);
    await partition.take();
    expect(failures).toEqual([Errors.NOT_ENOUGH_REPLICAS]);
    expect(load().keys).toEqual([]);
  });
});
