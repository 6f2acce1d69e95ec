import { describe, expect, test } from "bun:test";
import { type CoordinatorTimer, CoordinatorTimers } from "../../actors/CoordinatorTimers.ts";
import { TimingWheel } from "../../actors/TimingWheel.ts";
import type { GroupCommand } from "../../src/group/GroupCoordinator.ts";
import { ManualClock } from "../support/ManualClock.ts";

const command = (memberId: string): GroupCommand => ({ type: "SessionDeadline", groupId: "g", memberId });

/** Timers whose reached deadlines are looked at by hand, as the actor's mailbox would have it. */
const timers = () => {
  const clock = new ManualClock();
  const reached: CoordinatorTimer[] = [];
  const table = new CoordinatorTimers(new TimingWheel(clock), clock, (timer) => reached.push(timer));
  return { clock, reached, table };
};

/** The event loop stands still: time passes, and no timer is called before it is over. */
const stall = (clock: ManualClock, ms: number): void => {
  let resume = false;
  const after = clock.after.bind(clock);
  const monotonic = clock.monotonic.bind(clock);
  const end = monotonic() + ms;
  clock.monotonic = () => (resume ? monotonic() : monotonic() >= end ? monotonic() : Math.max(monotonic(), end));
  clock.advance(ms);
  resume = true;
  clock.monotonic = monotonic;
  clock.after = after;
};

describe("a coordinator's timers", () => {
  test("a deadline is reached once, and not before", () => {
    const { clock, reached, table } = timers();
    table.arm("a", 1000, command("a"));
    clock.advance(999);
    expect(reached).toHaveLength(0);
    clock.advance(2);
    expect(reached).toHaveLength(1);
    expect([table.due(reached[0]!), table.due(reached[0]!), table.size]).toEqual([true, false, 0]);
  });

  test("arming anew moves the deadline without a new timer; a nearer one comes nearer; cancelled ones never", () => {
    const { clock, reached, table } = timers();
    table.arm("a", 1000, command("a"));
    for (let beat = 0; beat < 100; beat += 1) {
      clock.advance(50);
      table.arm("a", 1000, command("a"));
    }
    expect(reached).toHaveLength(0);
    // About one timer per thousand milliseconds, however often it was armed.
    expect(clock.armed).toBeLessThan(10);
    table.arm("a", 10, command("a"));
    clock.advance(11);
    expect(reached).toHaveLength(1);
    table.due(reached[0]!);
    table.arm("b", 10, command("b"));
    table.cancel("b");
    clock.advance(100);
    expect(reached).toHaveLength(1);
  });

  test("a sign of life between a deadline's coming and its turn counts", () => {
    const { clock, reached, table } = timers();
    table.arm("a", 1000, command("a"));
    clock.advance(1001);
    expect(reached).toHaveLength(1);
    table.arm("a", 1000, command("a"));
    expect(table.due(reached[0]!)).toBe(false);
    clock.advance(1001);
    expect(reached).toHaveLength(2);
    expect(table.due(reached[1]!)).toBe(true);
  });

  test("a stall of the event loop does not count: whoever would have ended meanwhile has as long again", () => {
    const { clock, reached, table } = timers();
    table.arm("a", 1000, command("a"));
    table.arm("soon after", 5200, command("b"));
    stall(clock, 5000);
    expect(reached).toHaveLength(0);
    clock.advance(900);
    expect(reached).toHaveLength(0);
    clock.advance(200);
    expect(reached.map(({ key }) => key)).toEqual(["a"]);
    clock.advance(4000);
    expect(reached.map(({ key }) => key)).toEqual(["a", "soon after"]);
  });
});
