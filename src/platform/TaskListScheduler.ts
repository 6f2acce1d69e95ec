/**
 * Effect's scheduler on the task list: every fiber's steps are tasks of the one list. What must stay true: all
 * dispatchers share it (Effect makes one per fiber, and a choice inside each of them would reorder nothing).
 */
import type * as Scheduler from "effect/Scheduler";
import type { TaskList } from "./TaskList.ts";

export const makeTaskListScheduler = (tasks: TaskList): Scheduler.Scheduler => {
  const dispatcher: Scheduler.SchedulerDispatcher = {
    scheduleTask: (task) => tasks.schedule(task),
    flush: () => tasks.drain(),
  };
  return {
    executionMode: "async",
    shouldYield: (fiber) => fiber.currentOpCount >= fiber.cache.maxOpsBeforeYield,
    makeDispatcher: () => dispatcher,
  };
};
