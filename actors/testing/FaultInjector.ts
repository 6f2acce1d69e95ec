/**
 * Does what FaultDecisions.ts decides, at the handlers of a broker that serves real sockets. It owns the numbering of
 * connections and requests, which goes on over the broker's restarts, and the log of what it did.
 *
 * What must stay true: a fault is one that a client of Kafka can meet. An error that says "it did not happen" is answered
 * for a request that was never handled; what was handled is answered with an error that says "unknown", or not at all;
 * what was acknowledged stays. Errors come from behind the handlers' ports, so that each handler answers them as it would.
 */
import * as Effect from "effect/Effect";
import type { Ports } from "../../src/api/Ports.ts";
import type { ConnectionContext, RequestContext } from "../../src/api/RequestContext.ts";
import { CloseConnection, type Handler, HandlerTable } from "../../src/api/Router.ts";
import { ApiKey, apiName, type KnownApiKey, type RequestOf, type ResponseOf } from "../../src/protocol/ApiKeys.ts";
import { Errors, errorName } from "../../src/protocol/Errors.ts";
import { appendingWith, committingWith, leaderless, refusing, withoutCoordinators } from "./BrokenPorts.ts";
import {
  decideFault,
  type FaultDecision,
  type FaultKind,
  type FaultPlan,
  type InjectedFault,
  type RequestPlace,
  SPARED_CLIENT_ID,
} from "./FaultDecisions.ts";
import { evict, KnownMembers } from "./KnownMembers.ts";
import { beginsProducer, ProducersInDoubt } from "./ProducersInDoubt.ts";

/** What the injector cannot do by itself. */
export interface FaultLevers {
  /** The coordinator forgets everything and reads its log again. */
  readonly moveCoordinator: (of: "group" | "transaction", key: string) => void;
  /** kill -9 now, and a start after so many milliseconds; false: the broker is going down already. */
  readonly crash: (downMs: number) => boolean;
  /** Between `crash` and its taking effect: nobody is served any more. */
  readonly isFalling: () => boolean;
  readonly log: (fault: InjectedFault) => void;
}

type Answer = Effect.Effect<unknown, CloseConnection>;

/** A request, and what handles it when nothing goes wrong. */
interface Arrived {
  readonly handler: Handler;
  readonly request: unknown;
  readonly context: RequestContext;
  readonly handled: Answer;
}

export class FaultInjector {
  private active = true;
  private readonly places = new WeakMap<ConnectionContext, { readonly connection: number; requests: number }>();
  private readonly inDoubt = new ProducersInDoubt();
  private connections = 0;
  private readonly counts = new Map<FaultKind, number>();
  private readonly members = new KnownMembers();

  constructor(
    private readonly plan: FaultPlan,
    private readonly levers: FaultLevers,
  ) {}

  /** No more faults. */
  heal(): void {
    this.active = false;
  }

  /** The same handlers with faults between them and their clients. */
  wrap(handlers: HandlerTable): HandlerTable {
    return new HandlerTable(
      handlers.all().map((handler) => ({
        ...handler,
        handle: (request, context) => Effect.suspend(() => this.handle(handler, request, context)),
      })),
    );
  }

  private handle(handler: Handler, request: unknown, context: RequestContext): Answer {
    if (this.levers.isFalling()) return Effect.never;
    const handled = Effect.tap(
      Effect.suspend(() => handler.handle(request, context)),
      (response) => Effect.sync(() => this.members.handled(handler.apiKey, request, response)),
    );
    const place = this.placeOf(handler.apiKey, context);
    if (place === undefined || !this.active) return handled;
    const spared = this.inDoubt.spares(handler.apiKey, request, context.connection);
    const decision = decideFault(this.plan, place);
    if (decision === undefined || this.isSpent(decision.kind)) return handled;
    if (spared && decision.kind !== "slowAnswer") return handled;
    return this.inject(decision, place, { handler, request, context, handled }) ?? handled;
  }

  private isSpent(kind: FaultKind): boolean {
    return (this.counts.get(kind) ?? 0) >= this.plan.atMost[kind];
  }

  private placeOf(apiKey: number, { clientId, connection }: RequestContext): RequestPlace | undefined {
    if (clientId === SPARED_CLIENT_ID) return undefined;
    let place = this.places.get(connection);
    if (place === undefined) {
      this.connections += 1;
      place = { connection: this.connections, requests: 0 };
      this.places.set(connection, place);
    }
    place.requests += 1;
    return { connection: place.connection, request: place.requests, apiKey };
  }

  /** Undefined: there is nothing this fault could hit. */
  private inject(decision: FaultDecision, place: RequestPlace, arrived: Arrived): Answer | undefined {
    const { kind, after, delayMs } = decision;
    const { handler, request, context, handled } = arrived;
    const log = (what: string): void => {
      this.counts.set(kind, (this.counts.get(kind) ?? 0) + 1);
      const { connection, request: number } = place;
      const { clientId } = context;
      this.levers.log({ kind, api: apiName(handler.apiKey), connection, request: number, clientId, what });
    };
    switch (kind) {
      case "connectionCut": {
        const cut = Effect.suspend(() => {
          log(after ? "handled, and the connection cut before the answer" : "the connection cut, nothing handled");
          this.inDoubt.addThoseOn(context.connection);
          return Effect.fail(new CloseConnection({ reason: "an injected fault" }));
        });
        return after ? Effect.andThen(handled, cut) : cut;
      }
      case "slowAnswer":
        return Effect.tap(handled, () => {
          log(`answered ${delayMs} ms late`);
          return Effect.callback<void>((resume) => void context.ports.timers.after(delayMs, () => resume(Effect.void)));
        });
      case "crash": {
        if (this.inDoubt.any) return undefined;
        const crash = Effect.suspend(() => {
          if (!this.isSpent(kind) && this.levers.crash(delayMs)) {
            this.inDoubt.addAll();
            log(`the broker killed ${after ? "after" : "before"} it was handled, down for ${delayMs} ms`);
          }
          return Effect.never;
        });
        return after ? Effect.andThen(handled, crash) : crash;
      }
      case "retriableError":
        return this.answerError(decision, arrived, log);
      case "rebalance": {
        const member = this.members.take(handler.apiKey, request, decision.pick);
        if (member === undefined) return undefined;
        // Both are told to the coordinator now, in this order.
        const both = Effect.all([evict(member, context), handled], { concurrency: "unbounded" });
        log(`member ${member.memberId} of ${member.groupId} put out of its group`);
        return Effect.map(both, ([, response]) => response);
      }
      case "coordinatorMove": {
        const moved = coordinatorOf(handler.apiKey, request);
        if (moved === undefined) return undefined;
        this.levers.moveCoordinator(moved.of, moved.key);
        log(`the coordinator of ${moved.of} ${moved.key} moved away and back, answered NOT_COORDINATOR`);
        return handler.handle(request, { ...context, ports: refusing(context.ports, Errors.NOT_COORDINATOR) });
      }
    }
  }

  private answerError(
    { after, pick }: FaultDecision,
    { handler, request, context }: Arrived,
    log: (what: string) => void,
  ): Answer | undefined {
    const { ports } = context;
    const choose = (codes: ReadonlyArray<number>): number => codes[Math.floor(pick * codes.length)]!;
    const answer = (code: number, what: string, ports: Ports): Answer => {
      log(`${errorName(code)} answered, ${what}`);
      return handler.handle(request, { ...context, ports });
    };
    const nothingDone = "nothing was done";
    switch (handler.apiKey) {
      case ApiKey.Produce: {
        const { acks } = request as RequestOf<typeof ApiKey.Produce>;
        // Without acknowledgement an error is a closed connection: that is another fault.
        if (acks === 0) return undefined;
        if (after && acks === -1) {
          const code = choose([Errors.REQUEST_TIMED_OUT, Errors.NOT_ENOUGH_REPLICAS_AFTER_APPEND]);
          this.inDoubt.add(request as RequestOf<typeof ApiKey.Produce>);
          return answer(code, "and appended all the same", appendingWith(ports, code));
        }
        // A partition takes whatever comes first from a producer: what is pipelined behind would take the place of this.
        if (beginsProducer(request as RequestOf<typeof ApiKey.Produce>)) return undefined;
        const code = choose([Errors.NOT_LEADER_OR_FOLLOWER, Errors.NOT_ENOUGH_REPLICAS]);
        return answer(code, "nothing was appended", refusing(ports, code));
      }
      case ApiKey.Fetch:
      case ApiKey.ListOffsets:
      case ApiKey.OffsetForLeaderEpoch:
        return answer(Errors.NOT_LEADER_OR_FOLLOWER, nothingDone, refusing(ports, Errors.NOT_LEADER_OR_FOLLOWER));
      case ApiKey.Metadata: {
        log("LEADER_NOT_AVAILABLE answered for every partition");
        return Effect.map(handler.handle(request, context), (response) => leaderless(response as ResponseOf<3>));
      }
      case ApiKey.OffsetCommit:
        if (after) {
          return answer(Errors.COORDINATOR_NOT_AVAILABLE, "and committed all the same", committingWith(ports));
        }
        break;
      case ApiKey.Heartbeat: {
        // A coordinator that reads its log answers heartbeats as if nothing were.
        const code = choose([Errors.COORDINATOR_NOT_AVAILABLE, Errors.NOT_COORDINATOR]);
        return answer(code, nothingDone, refusing(ports, code));
      }
      case ApiKey.FindCoordinator:
        return answer(Errors.COORDINATOR_NOT_AVAILABLE, nothingDone, withoutCoordinators(ports));
      case ApiKey.InitProducerId:
        // Without a transactional id no coordinator is asked.
        if ((request as RequestOf<typeof ApiKey.InitProducerId>).transactionalId === null) return undefined;
    }
    const code = choose([
      Errors.COORDINATOR_LOAD_IN_PROGRESS,
      Errors.COORDINATOR_NOT_AVAILABLE,
      Errors.NOT_COORDINATOR,
    ]);
    return answer(code, nothingDone, refusing(ports, code));
  }
}

const coordinatorOf = (
  apiKey: number,
  request: unknown,
): { readonly of: "group" | "transaction"; readonly key: string } | undefined => {
  switch (apiKey as KnownApiKey) {
    case ApiKey.OffsetFetch: {
      const { groupId, groups } = request as RequestOf<typeof ApiKey.OffsetFetch>;
      return { of: "group", key: groups[0]?.groupId ?? groupId };
    }
    case ApiKey.InitProducerId: {
      const { transactionalId } = request as RequestOf<typeof ApiKey.InitProducerId>;
      return transactionalId === null ? undefined : { of: "transaction", key: transactionalId };
    }
    case ApiKey.AddPartitionsToTxn: {
      const { transactions, v3AndBelowTransactionalId } = request as RequestOf<typeof ApiKey.AddPartitionsToTxn>;
      return { of: "transaction", key: transactions[0]?.transactionalId ?? v3AndBelowTransactionalId };
    }
    case ApiKey.AddOffsetsToTxn:
    case ApiKey.EndTxn:
      return { of: "transaction", key: (request as { readonly transactionalId: string }).transactionalId };
    default:
      return { of: "group", key: (request as { readonly groupId: string }).groupId };
  }
};
