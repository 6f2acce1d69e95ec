/** What it takes to be a kind of client: a name for plans, a part in the play, and a life on a machine. */
import type { SeededRandom } from "../../simulation/SeededRandom.ts";
import type { ClientPlan } from "../Scenario.ts";
import type { Machine, Stage } from "../Stage.ts";

/** One client of a plan over all its lives: a machine may die and another one goes on. */
export interface ClientLife {
  readonly plan: ClientPlan;
  readonly machine: Machine;
  /** This life's own choices. */
  readonly random: SeededRandom;
  /** Operations that are left to begin; shared by all lives. */
  readonly steps: { left: number };
  /** Counted from 0: what a life after the first one finds has been there before. */
  readonly number: number;
}

export interface ClientKind {
  /** A `writer` ends when its steps are done, a `reader` when the stage says that the writers are. */
  readonly role: "writer" | "reader";
  /** Ends when there is nothing left to do. Rejects only for what is a defect. */
  live(stage: Stage, life: ClientLife): Promise<void>;
}
