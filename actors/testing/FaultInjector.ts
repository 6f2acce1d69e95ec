/**
 * Does what FaultDecisions.ts decides, at the handlers of a broker that serves real sockets. It owns the numbering of
 * connections and requests, which goes on over the broker's restarts, and the log of what it did.
 *
 * What must stay true: a fault is one that a client of Kafka can meet. An error that says "it did not happen" is answered
 * for a request that was never handled; what was handled is answered with an error that says "unknown", or not at all;
 * what was acknowledged stays. Errors come from behind the handlers' ports, so that each handler answers them as it would.
 */
import * as Effect from "effect/Effect";
import { clientOf } from "../../src/api/GroupRequest.ts";
import type { Ports } from "../../src/api/Ports.ts";
import type { ConnectionContext, RequestContext } from "../../src/api/RequestContext.ts";
import { CloseConnection, type Handler, HandlerTable } from "../../src/api/Router.ts";
import { ApiKey, apiName, type KnownApiKey, type RequestOf, type ResponseOf } from "../../src/protocol/ApiKeys.ts";
import { Errors, errorName } from "../../src/protocol/Errors.ts";
import { emptyConsumerGroupHeartbeatRequest } from "../../src/protocol/generated/ConsumerGroupHeartbeatRequest.ts";
import {
  decideFault,
  type FaultDecision,
  type FaultKind,
  type FaultPlan,
  type InjectedFault,
  type RequestPlace,
  SPARED_CLIENT_ID,
} from "./FaultDecisions.ts";
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

interface Member {
  readonly groupId: string;
  readonly memberId: string;
  readonly protocol: "classic" | "consumer";
}

/** Members remembered; more than any test has. */
const MAX_MEMBERS = 1000;

export class FaultInjector {
  private active = true;
  private readonly places = new WeakMap<ConnectionContext, { readonly connection: number; requests: number }>();
  private readonly inDoubt = new ProducersInDoubt();
  private connections = 0;
  private readonly counts = new Map<FaultKind, number>();
  /** By member id, those who joined last at the end. */
  private readonly members = new Map<string, Member>();

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
    const handled = this.remembering(handler, request, context);
    const place = this.placeOf(handler.apiKey, context);
    if (place === undefined || !this.active) return handled;
    const spared = this.inDoubt.spares(handler.apiKey, request, context.connection);
    const decision = decideFault(this.plan, place);
    if (decision === undefined || this.isSpent(decision.kind)) return handled;
    if (spared && decision.kind !== "slowAnswer") return handled;
    return this.inject(decision, place, handler, request, context) ?? handled;
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
  private inject(
    decision: FaultDecision,
    place: RequestPlace,
    handler: Handler,
    request: unknown,
    context: RequestContext,
  ): Answer | undefined {
    const { kind, after, delayMs } = decision;
    const handled = this.remembering(handler, request, context);
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
        return this.answerError(decision, handler, request, context, log);
      case "rebalance": {
        const member = this.memberOf(decision, handler.apiKey, request);
        if (member === undefined) return undefined;
        // Both are told to the coordinator now, in this order.
        const both = Effect.all([evict(member, context), handled], { concurrency: "unbounded" });
        this.members.delete(member.memberId);
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
    handler: Handler,
    request: unknown,
    context: RequestContext,
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

  /** Handles the request and learns from the answer who is in which group. */
  private remembering(handler: Handler, request: unknown, context: RequestContext): Answer {
    const answer = handler.handle(request, context);
    const learn = (groupId: string, memberId: string, errorCode: number, protocol: Member["protocol"]): void => {
      if (errorCode !== Errors.NONE || memberId === "") return;
      this.members.delete(memberId);
      this.members.set(memberId, { groupId, memberId, protocol });
      if (this.members.size > MAX_MEMBERS) this.members.delete(this.members.keys().next().value!);
    };
    if (handler.apiKey === ApiKey.JoinGroup) {
      const { groupId } = request as RequestOf<typeof ApiKey.JoinGroup>;
      return Effect.tap(answer, (response) => {
        const { memberId, errorCode } = response as ResponseOf<typeof ApiKey.JoinGroup>;
        return Effect.sync(() => learn(groupId, memberId, errorCode, "classic"));
      });
    }
    if (handler.apiKey === ApiKey.ConsumerGroupHeartbeat) {
      const { groupId, memberId: asked, memberEpoch } = request as RequestOf<typeof ApiKey.ConsumerGroupHeartbeat>;
      return Effect.tap(answer, (response) => {
        const { memberId, errorCode } = response as ResponseOf<typeof ApiKey.ConsumerGroupHeartbeat>;
        return Effect.sync(() => {
          if (memberEpoch < 0) this.members.delete(asked);
          else learn(groupId, memberId ?? asked, errorCode, "consumer");
        });
      });
    }
    if (handler.apiKey === ApiKey.LeaveGroup) {
      const { memberId, members } = request as RequestOf<typeof ApiKey.LeaveGroup>;
      for (const left of [memberId, ...members.map((member) => member.memberId)]) this.members.delete(left);
    }
    return answer;
  }

  /** Whom a rebalance hits: the member that asks, or with a Fetch, which names none, any that is known. */
  private memberOf({ pick }: FaultDecision, apiKey: number, request: unknown): Member | undefined {
    if (apiKey !== ApiKey.Fetch) return this.members.get((request as { readonly memberId: string }).memberId);
    const known = [...this.members.values()];
    return known[Math.floor(pick * known.length)];
  }
}

/** What a coordinator does when a member's session has ended. */
const evict = ({ groupId, memberId, protocol }: Member, context: RequestContext): Effect.Effect<unknown> => {
  const { groups, random } = context.ports;
  if (protocol === "consumer") {
    const request = { ...emptyConsumerGroupHeartbeatRequest(), groupId, memberId, memberEpoch: -1 };
    const client = clientOf(context);
    return groups.ask(groupId, { type: "ConsumerGroupHeartbeat", request, version: 1, client, uuid: random.uuid() });
  }
  const members = [{ memberId, groupInstanceId: null, reason: "an injected fault" }];
  return groups.ask(groupId, { type: "LeaveGroup", request: { groupId, memberId: "", members }, version: 5 });
};

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

/** The port with some of its functions replaced; the others work on the port itself. */
const replaced = <Port extends object>(port: Port, changes: Partial<Port>): Port =>
  new Proxy(port, {
    get(target, name) {
      if (name in changes) return Reflect.get(changes, name);
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });

/** Partitions that are led elsewhere or lack replicas, coordinators that do not answer: nothing gets through to them. */
const refusing = (ports: Ports, code: number): Ports =>
  replaced(ports, {
    replicas: replaced(ports.replicas, {
      view: () => code,
      beginVerification: () => code,
      append: (_topicId, _partition, { settle, applied }) => {
        applied();
        settle({ error: code, baseOffset: -1, logAppendTime: -1, logStartOffset: -1, message: null });
      },
    }),
    groups: replaced(ports.groups, { ask: () => Effect.succeed(code) }),
    transactions: replaced(ports.transactions, { ask: () => Effect.succeed(code) }),
  });

const withoutCoordinators = (ports: Ports): Ports =>
  replaced(ports, {
    groups: replaced(ports.groups, { partitionOf: () => undefined }),
    transactions: replaced(ports.transactions, { partitionOf: () => undefined }),
  });

/** What is appended is appended, and answered with a code that leaves it open. */
const appendingWith = (ports: Ports, code: number): Ports =>
  replaced(ports, {
    replicas: replaced(ports.replicas, {
      append: (topicId, partition, command) =>
        ports.replicas.append(topicId, partition, {
          ...command,
          settle: (reply) =>
            command.settle(
              reply.error === Errors.NONE ? { ...reply, error: code, baseOffset: -1, logAppendTime: -1 } : reply,
            ),
        }),
    }),
  });

/** What is committed is committed, and answered as when the coordinator's own append took too long. */
const committingWith = (ports: Ports): Ports =>
  replaced(ports, {
    groups: replaced(ports.groups, {
      ask: (groupId, command) => Effect.map(ports.groups.ask(groupId, command), () => Errors.COORDINATOR_NOT_AVAILABLE),
    }),
  });

const leaderless = (response: ResponseOf<typeof ApiKey.Metadata>): ResponseOf<typeof ApiKey.Metadata> => ({
  ...response,
  topics: response.topics.map((topic) => ({
    ...topic,
    partitions: topic.partitions.map((partition) => ({
      ...partition,
      errorCode: Errors.LEADER_NOT_AVAILABLE,
      leaderId: -1,
    })),
  })),
});
