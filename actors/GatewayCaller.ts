/**
 * The gateway's way to the handlers: what TCP's Connection does for a decoded request (latest version, reads after the
 * writes of their own connection, one context), for requests that were never bytes. What must stay true: a request
 * reaches its handler synchronously unless it is a read behind an unapplied write.
 */
import * as Effect from "effect/Effect";
import type { Ports } from "../src/api/Ports.ts";
import type { ConnectionContext } from "../src/api/RequestContext.ts";
import type { Caller } from "../src/gateway/Caller.ts";
import type { MetadataImage } from "../src/metadata/MetadataImage.ts";
import type { Endpoint } from "../src/platform/Network.ts";
import type { TaskList } from "../src/platform/TaskList.ts";
import { invariant } from "../src/prelude/Invariant.ts";
import { type Api, apiOf, type KnownApiKey, type RequestOf, type ResponseOf } from "../src/protocol/ApiKeys.ts";
import { ConnectionOrder } from "./ConnectionOrder.ts";

/** A connection of the gateway as handlers know it. */
export class GatewayConnection extends ConnectionOrder implements ConnectionContext {
  software = { name: "unknown", version: "unknown" };

  constructor(
    readonly id: number,
    readonly local: Endpoint,
    readonly remote: Endpoint,
    tasks: TaskList,
    held: () => void,
    released: () => void,
  ) {
    super(tasks, held, released);
  }
}

export class GatewayCaller implements Caller {
  constructor(
    private readonly ports: Ports,
    private readonly connection: GatewayConnection,
    private readonly listener: string,
    private readonly principal: () => string,
  ) {}

  call<K extends KnownApiKey>(key: K, fields: Partial<RequestOf<K>>): Effect.Effect<ResponseOf<K>> {
    const { ports, connection } = this;
    const handler = ports.handlers.get(key);
    const api = apiOf(key) as Api<K> | undefined;
    invariant(handler !== undefined && api !== undefined, `the gateway asks for API ${key}, which is not served`);
    const request = { ...api.request.empty(), ...fields };
    const handled = Effect.suspend(() =>
      handler.handle(request, {
        apiKey: key,
        version: handler.maxVersion,
        principal: this.principal(),
        listener: this.listener,
        clientId: connection.software.name,
        connection,
        ports,
      }),
    ).pipe(
      // Nothing the gateway asks is answered by closing the connection or not at all (Produce with acks=0).
      Effect.orDie,
      Effect.map((response) => response as ResponseOf<K>),
    );
    if (handler.reads !== true) return handled;
    return Effect.callback((resume) => connection.afterWrites(() => resume(handled)));
  }

  image(): MetadataImage {
    return this.ports.metadata.image();
  }

  now(): number {
    return this.ports.clock.wall();
  }

  pause(ms: number): Effect.Effect<void> {
    return Effect.callback((resume) => {
      const cancel = this.ports.timers.after(ms, () => resume(Effect.void));
      return Effect.sync(cancel);
    });
  }

  hold(): () => void {
    return this.connection.hold();
  }
}
