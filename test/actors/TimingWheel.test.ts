import { expect, test } from "bun:test";
import fc from "fast-check";
import { TimingWheel } from "../../actors/TimingWheel.ts";
import { ManualClock } from "../support/ManualClock.ts";

test("tasks run once, not before their deadline, in the order of deadlines; cancelled ones never", () => {
  const entry = fc.record({ delay: fc.integer({ min: 0, max: 50 }), cancelled: fc.boolean() });
  fc.assert(
    fc.property(fc.array(entry, { maxLength: 40 }), fc.array(fc.integer({ min: 1, max: 20 })), (entries, steps) => {
      const clock = new ManualClock();
      const wheel = new TimingWheel(clock);
      const ran: Array<{ index: number; at: number }> = [];
      const cancels = entries.map(({ delay }, index) =>
        wheel.after(delay, () => ran.push({ index, at: clock.monotonic() })),
      );
      entries.forEach(({ cancelled }, index) => {
        if (cancelled) cancels[index]!();
      });
      for (const step of steps) clock.advance(step);
      clock.advance(100);
      const expected = entries
        .map(({ delay, cancelled }, index) => ({ delay, cancelled, index }))
        .filter(({ cancelled }) => !cancelled)
        .sort((a, b) => a.delay - b.delay || a.index - b.index);
      expect(ran.map(({ index }) => index)).toEqual(expected.map(({ index }) => index));
      for (const { index, at } of ran) expect(at).toBe(entries[index]!.delay);
      expect(wheel.size).toBe(0);
    }),
    { numRuns: 300 },
  );
});

test("an idle wheel arms nothing, and one timer serves all deadlines", () => {
  const clock = new ManualClock();
  const wheel = new TimingWheel(clock);
  expect(clock.pending).toBe(0);
  for (let delay = 100; delay > 0; delay -= 1) wheel.after(delay, () => undefined);
  expect(clock.pending).toBe(1);
  clock.advance(100);
  expect(clock.pending).toBe(0);
});

test("a deadline set by an expiring task is not lost", () => {
  const clock = new ManualClock();
  const wheel = new TimingWheel(clock);
  const ran: number[] = [];
  wheel.after(5, () => {
    ran.push(5);
    wheel.after(0, () => ran.push(0));
    wheel.after(7, () => ran.push(7));
  });
  clock.advance(20);
  expect(ran).toEqual([5, 0, 7]);
});
