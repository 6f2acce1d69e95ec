/**
 * The Router: the one table from API key to handler, where both doors meet. A handler turns a typed request and a
 * context into an effect of the typed response; the versions it serves stand in its own file and are what ApiVersions
 * advertises. `undefined` as a response means that the client gets none (Produce with acks=0).
 */
import * as Data from "effect/Data";
import type * as Effect from "effect/Effect";
import type { RequestContext } from "./RequestContext.ts";

/** The client is wrong in a way Kafka answers by closing the connection, with the reason for the log. */
export class CloseConnection extends Data.TaggedError("CloseConnection")<{ readonly reason: string }> {}

export interface Handler<Request = unknown, Response = unknown> {
  readonly apiKey: number;
  /** Served (decodable and working) versions, both inclusive. */
  readonly minVersion: number;
  readonly maxVersion: number;
  /** What ApiVersions advertises when it differs (Produce: KAFKA-18659). */
  readonly advertisedMinVersion?: number;
  /** A read waits until earlier writes of its own connection are applied. */
  readonly reads?: boolean;
  handle(request: Request, context: RequestContext): Effect.Effect<Response | undefined, CloseConnection>;
}

export const defineHandler = <Request, Response>(handler: Handler<Request, Response>): Handler<Request, Response> =>
  handler;

export class HandlerTable {
  private readonly byKey: ReadonlyArray<Handler | undefined>;

  constructor(handlers: ReadonlyArray<Handler>) {
    const byKey: Array<Handler | undefined> = [];
    for (const handler of handlers) byKey[handler.apiKey] = handler;
    this.byKey = byKey;
  }

  get(apiKey: number): Handler | undefined {
    return this.byKey[apiKey];
  }

  /** Every handler, by API key. */
  all(): ReadonlyArray<Handler> {
    return this.byKey.filter((handler) => handler !== undefined);
  }
}
