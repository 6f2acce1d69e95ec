import { describe, expect, test } from "bun:test";
import * as fc from "fast-check";
import { type Outgoing, ProduceBatches, sizeOf } from "../../actors/ProduceBatches.ts";
import type { RecordSink, Sent } from "../../src/cli/RecordDoor.ts";
import { ManualClock } from "../support/ManualClock.ts";

/** A sink that answers when it is told to. */
class HeldSink implements RecordSink {
  readonly producerId = 1;
  readonly producerEpoch = 0;
  readonly batches: Array<{ readonly records: ReadonlyArray<Outgoing>; readonly answer: (sent: Sent) => void }> = [];

  send(_topic: string, _partition: number, records: ReadonlyArray<Outgoing>): Promise<Sent> {
    return new Promise((answer) => this.batches.push({ records, answer }));
  }

  begin = async (): Promise<void> => {};
  commit = async (): Promise<undefined> => undefined;
  abort = async (): Promise<undefined> => undefined;
}

const ok: Sent = { type: "ok", offsetOf: () => 0, timestampOf: () => -1 };
const record = (partition: number, size: number, number = 0): Outgoing => ({
  topic: "t",
  partition,
  timestamp: number,
  key: null,
  value: new Uint8Array(size),
  headers: [],
});

describe("batches of a command line", () => {
  test("a partition's records are sent in order, in batches that are not too large", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.record({ partition: fc.nat({ max: 3 }), size: fc.nat({ max: 600 }) }), { maxLength: 60 }),
        async (given) => {
          const sink = new HeldSink();
          const batches = new ProduceBatches(sink, new ManualClock(), {
            batchBytes: 1000,
            keepRecords: false,
            onSent: async () => {},
          });
          for (const [index, { partition, size }] of given.entries()) await batches.add(record(partition, size, index));
          const flushed = batches.flush();
          for (const { answer } of sink.batches) answer(ok);
          await flushed;
          for (const partition of [0, 1, 2, 3]) {
            const sent = sink.batches.flatMap(({ records }) => records).filter((each) => each.partition === partition);
            const added = given.flatMap((each, index) => (each.partition === partition ? [index] : []));
            expect(sent.map(({ timestamp }) => timestamp)).toEqual(added);
          }
          for (const { records } of sink.batches) {
            expect(new Set(records.map(({ partition }) => partition)).size).toBe(1);
            expect(records.reduce((sum, each) => sum + sizeOf(each), 0)).toBeLessThanOrEqual(1000);
          }
        },
      ),
    );
  });

  test("what waits goes when it has waited", async () => {
    const sink = new HeldSink();
    const clock = new ManualClock();
    const batches = new ProduceBatches(sink, clock, { batchBytes: 1000, keepRecords: false, onSent: async () => {} });
    await batches.add(record(0, 10));
    await batches.add(record(1, 10));
    expect(sink.batches).toHaveLength(0);
    clock.advance(5);
    expect(sink.batches).toHaveLength(2);
  });

  test("16 MiB wait to be acknowledged and printed, and no more are taken before some are", async () => {
    const sink = new HeldSink();
    let printed = (): void => {};
    const batches = new ProduceBatches(sink, new ManualClock(), {
      batchBytes: 1_000_000,
      keepRecords: false,
      onSent: () =>
        new Promise((resolve) => {
          printed = resolve;
        }),
    });
    let taken = 0;
    const adding = (async () => {
      for (; taken < 100; taken += 1) await batches.add(record(0, 1_000_000));
    })();
    // Adding goes on until it has to wait, without anything from outside.
    await new Promise((turn) => setImmediate(turn));
    expect(taken).toBeGreaterThan(14);
    expect(taken).toBeLessThan(18);
    const before = taken;
    sink.batches[0]!.answer(ok);
    await new Promise((turn) => setImmediate(turn));
    expect(taken).toBe(before);
    printed();
    await new Promise((turn) => setImmediate(turn));
    expect(taken).toBe(before + 1);
    void adding;
  });
});
