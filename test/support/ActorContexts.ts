/** An actor context for tests of single actors: the real task list, a manual clock, and a log that is kept. */
import * as Effect from "effect/Effect";
import * as Scheduler from "effect/Scheduler";
import type { ActorContext } from "../../actors/Actor.ts";
import { BunTaskList } from "../../src/platform/BunTaskList.ts";
import { makeTaskListScheduler } from "../../src/platform/TaskListScheduler.ts";
import { ManualClock } from "./ManualClock.ts";

export const testActorContext = () => {
  const tasks = new BunTaskList();
  const clock = new ManualClock();
  const lines: string[] = [];
  const scheduler = makeTaskListScheduler(tasks);
  const context: ActorContext = {
    tasks,
    clock,
    fork: (effect) => Effect.runFork(Effect.provideService(effect, Scheduler.Scheduler, scheduler)),
    log: (level, message) => lines.push(`${level} ${message}`),
  };
  return { context, tasks, clock, lines };
};
