/**
 * Calls a handler as the Router would: the request goes through its codec, the response through its own, so that every
 * answer a test sees has been on the wire in that version. The controller is `Cluster`, without an actor.
 */
import * as Effect from "effect/Effect";
import * as Exit from "effect/Exit";
import { DelayedFetches } from "../../src/api/DelayedFetch.ts";
import { FetchSessions } from "../../src/api/FetchSession.ts";
import type { DeleteRecordsReply, Ports, ReplicaManagerPort } from "../../src/api/Ports.ts";
import type { RequestContext } from "../../src/api/RequestContext.ts";
import { type Handler, HandlerTable } from "../../src/api/Router.ts";
import { BrokerConfig } from "../../src/config/BrokerConfig.ts";
import { controllerRules } from "../../src/metadata/ControllerRules.ts";
import type { PartitionView } from "../../src/partition/PartitionView.ts";
import { makeBunCodecs } from "../../src/platform/BunCodecs.ts";
import { BunTaskList } from "../../src/platform/BunTaskList.ts";
import type { Endpoint } from "../../src/platform/Network.ts";
import { ByteReader } from "../../src/prelude/ByteReader.ts";
import { ByteWriter } from "../../src/prelude/ByteWriter.ts";
import { Defect } from "../../src/prelude/Invariant.ts";
import type { Uuid } from "../../src/prelude/Types.ts";
import { Apis, type KnownApiKey, type RequestOf, type ResponseOf } from "../../src/protocol/ApiKeys.ts";
import { Errors } from "../../src/protocol/Errors.ts";
import { type Cluster, oneBroker, topicId } from "../metadata/Cluster.ts";
import { ManualClock } from "../support/ManualClock.ts";

export interface HandlingOptions {
  readonly cluster?: Cluster;
  readonly settings?: Readonly<Record<string, string>>;
  readonly local?: Endpoint;
  readonly listener?: string;
  /** Views by `${topic id}-${partition}`. */
  readonly views?: ReadonlyMap<string, PartitionView | number>;
  readonly handlers?: ReadonlyArray<Handler>;
  readonly deleteRecords?: (topicId: Uuid, partition: number, before: number) => DeleteRecordsReply;
  readonly groups?: Ports["groups"];
  readonly transactions?: Ports["transactions"];
  readonly describeLogDirs?: ReplicaManagerPort["describeLogDirs"];
}

export class Handling {
  readonly cluster: Cluster;
  readonly ports: Ports;
  /** Writes begun and ended on the connection. */
  readonly writes = { begun: 0, ended: 0 };
  readonly connection: RequestContext["connection"];
  private nextId = 50_000;
  private nextProducerId = 4000;

  constructor(private readonly options: HandlingOptions = {}) {
    const cluster = options.cluster ?? oneBroker();
    const config = BrokerConfig.of(options.settings ?? {});
    const clock = new ManualClock();
    this.cluster = cluster;
    this.ports = {
      nodeId: 1,
      clusterId: cluster.image.clusterId,
      config,
      clock,
      random: { below: () => 0, uuid: () => topicId(++this.nextId) },
      codecs: makeBunCodecs(),
      metadata: { image: () => cluster.image },
      controller: {
        ask: (command) => Effect.sync(() => cluster.ask(command, controllerRules(config))),
        nextProducerId: () => Effect.sync(() => ({ producerId: this.nextProducerId++, producerEpoch: 0 })),
      },
      replicas: {
        view: (id, partition) => options.views?.get(`${id}-${partition}`) ?? Errors.NOT_LEADER_OR_FOLLOWER,
        append: () => {
          throw new Defect("no handler here appends");
        },
        beginVerification: () => {
          throw new Defect("no handler here verifies");
        },
        validationRules: () => {
          throw new Defect("no handler here validates");
        },
        deleteRecords: (id, partition, before, settle) => {
          const reply = options.deleteRecords?.(id, partition, before);
          settle(reply ?? { error: Errors.UNKNOWN_TOPIC_OR_PARTITION, lowWatermark: -1 });
        },
        describeLogDirs: (topics) => options.describeLogDirs?.(topics) ?? [],
      },
      groups: options.groups ?? {
        partitionOf: () => undefined,
        ask: () => Effect.succeed(Errors.NOT_COORDINATOR),
        completeTransaction: (_partition, _end, settle) => settle(Errors.NOT_LEADER_OR_FOLLOWER),
        askAll: () => Effect.succeed([]),
      },
      transactions: options.transactions ?? {
        partitionOf: () => undefined,
        tell: (_id, _command, settle) => settle(Errors.NOT_COORDINATOR),
        ask: () => Effect.succeed(Errors.NOT_COORDINATOR),
        askAll: () => Effect.succeed([]),
      },
      delayedFetches: new DelayedFetches(new BunTaskList()),
      fetchSessions: new FetchSessions(
        10,
        1000,
        () => clock.monotonic(),
        () => 0,
      ),
      timers: { after: () => () => {} },
      handlers: new HandlerTable(options.handlers ?? []),
    };
    this.connection = {
      id: 1,
      local: options.local ?? { host: "10.0.0.7", port: 19092 },
      remote: { host: "10.0.0.8", port: 50000 },
      software: { name: "unknown", version: "unknown" },
      beginWrite: () => {
        this.writes.begun += 1;
        return () => {
          this.writes.ended += 1;
        };
      },
      hold: () => () => {},
      afterWrites: (task) => task(),
      onClose: () => () => {},
    };
  }

  /** The response as the client reads it. `request` overrides the defaults of its message. */
  async call<K extends KnownApiKey>(
    key: K,
    handler: Handler<RequestOf<K>, ResponseOf<K>>,
    version: number,
    request: Partial<RequestOf<K>> = {},
  ): Promise<ResponseOf<K>> {
    const api = Apis[key];
    const sent = new ByteWriter();
    api.encodeRequest(sent, { ...api.request.empty(), ...request }, version);
    const received = api.decodeRequest(new ByteReader(sent.toBytes()), version);
    const exit = await Effect.runPromiseExit(handler.handle(received, this.context(key, version)));
    if (Exit.isFailure(exit)) throw new Defect(String(exit.cause));
    if (exit.value === undefined) throw new Defect("no response");
    const answered = new ByteWriter();
    api.encodeResponse(answered, exit.value, version);
    const reader = new ByteReader(answered.toBytes());
    const response = api.decodeResponse(reader, version);
    if (reader.remaining > 0) throw new Defect(`${reader.remaining} bytes behind the response`);
    return response;
  }

  private context(apiKey: number, version: number): RequestContext {
    return {
      apiKey,
      version,
      principal: "User:ANONYMOUS",
      listener: this.options.listener ?? "PLAINTEXT",
      clientId: "test",
      connection: this.connection,
      ports: this.ports,
    };
  }
}
