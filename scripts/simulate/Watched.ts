/**
 * A run with what only the event loop tells: promises that nobody looked after when they failed, which would end a
 * broker's process. What must stay true: a seed that fails by one while seeds are explored fails by it when it is run
 * again, or made smaller.
 */
import type { RunResult } from "../../actors/simulation/ScenarioRun.ts";
import type { Plan } from "../../actors/testing/Scenario.ts";

export type WatchedRun = (plan: Plan, keepTrace?: boolean) => Promise<RunResult>;

export const watched =
  (run: (plan: Plan, keepTrace: boolean) => RunResult): WatchedRun =>
  async (plan, keepTrace = false) => {
    const unhandled: string[] = [];
    const note = (error: unknown): void => {
      unhandled.push(`unhandled: ${error instanceof Error ? error.message : String(error)}`);
    };
    process.on("unhandledRejection", note);
    try {
      const result = run(plan, keepTrace);
      // They are reported when the event loop comes round.
      await new Promise((resolve) => setImmediate(resolve));
      return { ...result, violations: [...result.violations, ...unhandled] };
    } finally {
      process.off("unhandledRejection", note);
    }
  };
