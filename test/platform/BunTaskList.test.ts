import { describe, expect, test } from "bun:test";
import * as Effect from "effect/Effect";
import * as Scheduler from "effect/Scheduler";
import { BunTaskList } from "../../src/platform/BunTaskList.ts";
import { makeTaskListScheduler } from "../../src/platform/TaskListScheduler.ts";

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe("BunTaskList", () => {
  test("a task runs later, in order, at the next turn at the latest", async () => {
    const tasks = new BunTaskList();
    const ran: number[] = [];
    for (let i = 0; i < 5; i++) tasks.schedule(() => ran.push(i));
    expect(ran).toEqual([]);
    await turn();
    expect(ran).toEqual([0, 1, 2, 3, 4]);
  });

  test("drain runs everything now, including what tasks schedule meanwhile", () => {
    const tasks = new BunTaskList();
    const ran: string[] = [];
    tasks.schedule(() => {
      ran.push("a");
      tasks.schedule(() => ran.push("c"));
    });
    tasks.schedule(() => ran.push("b"));
    tasks.drain();
    expect(ran).toEqual(["a", "b", "c"]);
  });

  test("drain inside a task runs nothing inside that task", () => {
    const tasks = new BunTaskList();
    const ran: string[] = [];
    tasks.schedule(() => {
      tasks.schedule(() => ran.push("second"));
      tasks.drain();
      ran.push("first");
    });
    tasks.drain();
    expect(ran).toEqual(["first", "second"]);
  });

  test("a chain without end leaves drain, and the event loop gets its turns", async () => {
    const tasks = new BunTaskList();
    let steps = 0;
    let stop = false;
    const step = (): void => {
      steps += 1;
      if (!stop) tasks.schedule(step);
    };
    tasks.schedule(step);
    tasks.drain();
    const first = steps;
    expect(first).toBeGreaterThan(1);
    await new Promise<void>((resolve) => setTimeout(resolve, 1));
    expect(steps).toBeGreaterThan(first);
    stop = true;
    await turn();
    const last = steps;
    await turn();
    expect(steps).toBe(last);
  });

  test("a task that throws loses none of the others", async () => {
    const tasks = new BunTaskList();
    const ran: string[] = [];
    tasks.schedule(() => ran.push("before"));
    tasks.schedule(() => {
      throw new Error("planted");
    });
    tasks.schedule(() => ran.push("after"));
    expect(() => tasks.drain()).toThrow("planted");
    await turn();
    expect(ran).toEqual(["before", "after"]);
  });

  test("Effect's fibers run as tasks of the list", async () => {
    const tasks = new BunTaskList();
    const order: string[] = [];
    const fiber = (name: string) =>
      Effect.gen(function* () {
        for (let i = 0; i < 2; i++) {
          order.push(`${name}${i}`);
          yield* Effect.yieldNow;
        }
      });
    const done = Effect.runPromise(
      Effect.all([fiber("a"), fiber("b")], { concurrency: "unbounded" }).pipe(
        Effect.provideService(Scheduler.Scheduler, makeTaskListScheduler(tasks)),
      ),
    );
    tasks.schedule(() => order.push("plain"));
    tasks.drain();
    await done;
    expect(order.toSorted()).toEqual(["a0", "a1", "b0", "b1", "plain"]);
    expect(order.indexOf("b0")).toBeLessThan(order.indexOf("a1"));
  });
});
