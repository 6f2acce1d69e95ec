/** The server-side assignors there are, by the name clients and `group.consumer.assignors` call them. */
import type { Assignor } from "./Assignor.ts";
import { RangeAssignor } from "./RangeAssignor.ts";
import { UniformAssignor } from "./UniformAssignor.ts";

export const ASSIGNORS: ReadonlyMap<string, Assignor> = new Map(
  [UniformAssignor, RangeAssignor].map((assignor) => [assignor.name, assignor]),
);
