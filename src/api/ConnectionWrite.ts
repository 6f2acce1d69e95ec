/** Marks a request that changes metadata as a write of its connection, so that later reads on it see the change. */
import * as Effect from "effect/Effect";
import type { RequestContext } from "./RequestContext.ts";

/** Runs `effect` as a write: reads that follow on the connection wait until it ends, however it ends. */
export const asWrite = <A, E>(context: RequestContext, effect: Effect.Effect<A, E>): Effect.Effect<A, E> =>
  Effect.suspend(() => {
    const applied = context.connection.beginWrite();
    return Effect.ensuring(effect, Effect.sync(applied));
  });
