import { describe, expect, test } from "bun:test";
import { makeBunClock } from "../../src/platform/BunClock.ts";

const clock = makeBunClock();

describe("BunClock", () => {
  test("a task runs once and never early, also with a fraction of a millisecond", async () => {
    const early: number[] = [];
    const waits = Array.from({ length: 40 }, (_, index) => {
      const delay = 1 + index * 0.37;
      const started = clock.monotonic();
      return new Promise<void>((resolve) =>
        clock.after(delay, () => {
          const elapsed = clock.monotonic() - started;
          if (elapsed < delay) early.push(elapsed - delay);
          resolve();
        }),
      );
    });
    await Promise.all(waits);
    expect(early).toEqual([]);
  });

  test("a cancelled task never runs, and cancelling twice or after is nothing", async () => {
    let runs = 0;
    const cancel = clock.after(1, () => {
      runs += 1;
    });
    cancel();
    cancel();
    await new Promise<void>((resolve) => clock.after(5, resolve));
    expect(runs).toBe(0);
  });

  test("a delay beyond 2^31 − 1 ms does not fire at once", async () => {
    let runs = 0;
    const cancel = clock.after(2 ** 40, () => {
      runs += 1;
    });
    await new Promise<void>((resolve) => clock.after(5, resolve));
    cancel();
    expect(runs).toBe(0);
  });

  test("wall is milliseconds since 1970 and monotonic never goes back", () => {
    expect(Math.abs(clock.wall() - Date.now())).toBeLessThan(1000);
    let last = clock.monotonic();
    for (let i = 0; i < 1000; i++) {
      const now = clock.monotonic();
      expect(now).toBeGreaterThanOrEqual(last);
      last = now;
    }
  });

  test("without keepAlive a waiting task does not hold the process", async () => {
    const run = async (keepAlive: boolean): Promise<string> => {
      const source = `
        import { makeBunClock } from ${JSON.stringify(new URL("../../src/platform/BunClock.ts", import.meta.url).pathname)};
        makeBunClock({ keepAlive: ${keepAlive} }).after(${keepAlive ? 60 : 10_000}, () => console.log("ran"));`;
      const child = Bun.spawn([process.execPath, "-e", source], { stdout: "pipe", stderr: "inherit" });
      return (await new Response(child.stdout).text()).trim();
    };
    expect(await Promise.all([run(true), run(false)])).toEqual(["ran", ""]);
  });
});
