/** Virtual time: when timers fire, when they do not, and what each process's clocks say meanwhile. */
import { describe, expect, test } from "bun:test";
import * as EffectClock from "effect/Clock";
import * as Effect from "effect/Effect";
import * as Fiber from "effect/Fiber";
import { type SimulatedProcess, Simulation } from "../../actors/simulation/Simulation.ts";

const sleep = (process: SimulatedProcess, ms: number): Promise<void> =>
  new Promise((resolve) => process.clock.after(ms, resolve));

describe("SimulatedClock", () => {
  test("every timer fires once, at its time, unless it was cancelled before it ran", () => {
    for (let seed = 0; seed < 30; seed++) {
      const fired: string[] = [];
      const expected: string[] = [];
      new Simulation({ seed }).run(async (world) => {
        const process = world.process("p");
        const { random } = process;
        for (let index = 0; index < 60; index++) {
          const began = world.clock.now;
          const delay = random.below(50);
          const cancel = process.clock.after(delay, () => fired.push(`${index} at ${world.clock.now}`));
          if (random.below(3) === 0) cancel();
          else expected.push(`${index} at ${began + delay}`);
          if (random.below(3) === 0) await sleep(process, random.below(10));
        }
        await sleep(process, 100);
      });
      expect(fired.sort()).toEqual(expected.sort());
    }
  });

  test("of timers due at one moment any may be the first, and it may cancel the others", () => {
    const firsts = new Set<string>();
    for (let seed = 0; seed < 30; seed++) {
      const fired: string[] = [];
      new Simulation({ seed }).run(async (world) => {
        const process = world.process("p");
        const cancels = ["a", "b", "c"].map((name) =>
          process.clock.after(5, () => {
            fired.push(name);
            for (const cancel of cancels) cancel();
          }),
        );
        await sleep(process, 10);
      });
      expect(fired).toHaveLength(1);
      firsts.add(fired[0]!);
    }
    expect(firsts).toEqual(new Set(["a", "b", "c"]));
  });

  test("a timer that was cancelled, one of the dead and one for never move no time", () => {
    const world = new Simulation({ seed: 1 });
    const stuck = (): unknown =>
      world.run(() => {
        const process = world.process("p");
        const doomed = world.process("doomed");
        process.clock.after(10, () => {})();
        process.clock.after(Number.POSITIVE_INFINITY, () => {});
        doomed.clock.after(20, () => {});
        doomed.kill();
        doomed.clock.after(30, () => {});
        return new Promise(() => {});
      });
    expect(stuck).toThrow("nothing is runnable and no timer is set");
    expect(world.clock.now).toBe(0);
  });

  test("each process has its own idea of the time, and Effect has the process's", () => {
    new Simulation({ seed: 1 }).run(async (world) => {
      const right = world.process("right");
      const wrong = world.process("wrong", { wallSkewMs: -5000 });
      expect(wrong.clock.wall()).toBe(right.clock.wall() - 5000);
      expect(wrong.clock.monotonic()).not.toBe(right.clock.monotonic());
      wrong.jumpWall(1000);
      wrong.jumpWall(1000);
      const began = right.clock.wall();
      await sleep(right, 20.5);
      expect(right.clock.wall()).toBe(began + 20);
      expect(wrong.clock.wall()).toBe(began + 20 - 3000);
      wrong.disk.open("/a", "write");
      expect(wrong.disk.modifiedAt("/a")).toBe(wrong.clock.wall());
      const told = await wrong.runPromise(
        EffectClock.clockWith((clock) =>
          Effect.all([clock.currentTimeMillis, clock.currentTimeNanos, clock.monotonicTimeNanos]),
        ),
      );
      const nanos = (ms: number): bigint => BigInt(ms * 4) * 250_000n;
      expect(told).toEqual([wrong.clock.wall(), nanos(wrong.clock.wall()), nanos(wrong.clock.monotonic())]);
    });
  });

  test("an Effect that sleeps for ever does, and one that is interrupted leaves no timer", () => {
    const world = new Simulation({ seed: 1 });
    const woke: string[] = [];
    const stuck = (): unknown =>
      world.run(async () => {
        const process = world.process("p");
        await process.runPromise(
          Effect.gen(function* () {
            const fiber = yield* Effect.forkChild(
              Effect.delay(
                Effect.sync(() => woke.push("late")),
                "1 hour",
              ),
            );
            yield* Effect.sleep("1 second");
            yield* Fiber.interrupt(fiber);
            yield* Effect.sleep(Number.POSITIVE_INFINITY);
            woke.push("never");
          }),
        );
      });
    expect(stuck).toThrow("nothing is runnable and no timer is set");
    expect([woke, world.clock.now]).toEqual([[], 1000]);
  });
});
