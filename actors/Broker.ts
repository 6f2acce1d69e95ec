/**
 * The root of the actors: it starts a broker in order (lock and read the log directory, replay the metadata, register,
 * recover what needs it, listen) and stops it in order (no new connections, answers out, logs flushed, clean-shutdown
 * marker). What must stay true: no client is served before recovery is done; the marker is written only when every log
 * was closed properly; whatever fails at start leaves the data as it was.
 */
import * as Effect from "effect/Effect";
import type * as Fiber from "effect/Fiber";
import * as Scheduler from "effect/Scheduler";
import { DelayedFetches } from "../src/api/DelayedFetch.ts";
import { FetchSessions } from "../src/api/FetchSession.ts";
import { makeHandlers } from "../src/api/Handlers.ts";
import type { Ports } from "../src/api/Ports.ts";
import type { HandlerTable } from "../src/api/Router.ts";
import type { BrokerConfig } from "../src/config/BrokerConfig.ts";
import { type BrokerListener, resolveListeners } from "../src/config/Listeners.ts";
import type { CleaningWork } from "../src/log/CleaningPass.ts";
import { controllerRules } from "../src/metadata/ControllerRules.ts";
import { EffectiveConfig } from "../src/metadata/EffectiveConfig.ts";
import type { Clock } from "../src/platform/Clock.ts";
import type { Disk } from "../src/platform/Disk.ts";
import { type Endpoint, type Network, NetworkError } from "../src/platform/Network.ts";
import { limitOpenFiles } from "../src/platform/OpenFiles.ts";
import type { Random } from "../src/platform/Random.ts";
import type { TaskList } from "../src/platform/TaskList.ts";
import { makeTaskListScheduler } from "../src/platform/TaskListScheduler.ts";
import type { Codecs } from "../src/record/Compression.ts";
import type { ActorContext } from "./Actor.ts";
import { ByteCredit } from "./ByteCredit.ts";
import { Controller } from "./Controller.ts";
import { GroupCoordinators } from "./GroupCoordinators.ts";
import { KafkaListener, UNSERVED } from "./KafkaListener.ts";
import { METADATA_FOLDER, openMetadataLog } from "./LocalMetadataLog.ts";
import { LogCleaner } from "./LogCleaner.ts";
import { LogDirectory } from "./LogDirectory.ts";
import { LogMaintenance } from "./LogMaintenance.ts";
import { LogScrubber, type ScrubMetrics } from "./LogScrubber.ts";
import type { Partition } from "./Partition.ts";
import { ReplicaManager } from "./ReplicaManager.ts";
import { StartupError } from "./StartupError.ts";
import { TimingWheel } from "./TimingWheel.ts";
import { TransactionCoordinators } from "./TransactionCoordinators.ts";

/** Everything outside: the ports, real or simulated. */
export interface Platform {
  readonly disk: Disk;
  readonly network: Network;
  readonly clock: Clock;
  readonly random: Random;
  readonly tasks: TaskList;
  readonly codecs: Codecs;
  /** A thread for compaction's work on bytes; none in a simulation, where everything happens in one. */
  readonly cleaningWork?: () => CleaningWork;
}

export interface BrokerOptions {
  readonly config: BrokerConfig;
  /** The cluster id an empty directory gets; undefined: a random one. */
  readonly clusterId?: string | undefined;
  readonly log: (level: "info" | "warn" | "error", message: string) => void;
  /** The request log while an operator has it on. */
  readonly requestLog: () => ((line: string) => void) | undefined;
  /** The broker cannot go on (its controller failed): the process should end. */
  readonly fatal: (why: string) => void;
  /** What stands between the handlers and their clients; for tests that want answers to go wrong. */
  readonly handlers?: (handlers: HandlerTable) => HandlerTable;
}

/** What another way in than the Kafka listeners serves its clients with. */
export interface DoorEnvironment extends ActorContext {
  readonly ports: Ports;
  /** What unanswered requests may hold in memory, all doors together. */
  readonly credit: ByteCredit;
  /** The first Kafka listener: whose addresses clients are told. */
  readonly listenerName: string;
  readonly run: <A, E>(effect: Effect.Effect<A, E>) => Fiber.Fiber<A, E>;
  readonly requestLog: BrokerOptions["requestLog"];
}

/** A way in, as the stop of the broker sees it. */
export interface Door {
  /** No connection is accepted and no request read any more; what is in flight goes on. */
  mute(): void;
  /** Nothing is in flight. */
  readonly isIdle: boolean;
  closeConnections(why: string): void;
}

export interface BrokerMetrics {
  readonly openFiles: number;
  /** Flush rounds, and how many failed. */
  readonly flushRounds: number;
  readonly flushFailures: number;
  /** Batches refused for want of free space. */
  readonly refusedForSpace: number;
  readonly scrub: Readonly<ScrubMetrics>;
}

export interface Broker {
  /** For whoever opens another door; `attach` makes it part of the stop. */
  readonly doorEnvironment: DoorEnvironment;
  attach(door: Door): void;
  readonly clusterId: string;
  readonly nodeId: number;
  readonly listeners: ReadonlyArray<{ readonly name: string; readonly endpoint: Endpoint }>;
  readonly directory: string;
  /** What an operator may want to watch, as it is now. */
  readonly metrics: () => BrokerMetrics;
  /**
   * As if the coordinator of a group or of a transactional id had moved to another broker and back: whoever waits for it
   * is told so, and its log is read again.
   */
  readonly moveCoordinator: (of: "group" | "transaction", key: string) => void;
  /** Orderly: everything in flight is answered, everything written is flushed, the marker is written. */
  readonly stop: Effect.Effect<void>;
}

/** What in-flight requests get before their connections are closed. */
const DRAIN_MS = 1000;
/** Frames not yet answered, all connections together, when `queued.max.request.bytes` does not say. */
const DEFAULT_REQUEST_BYTES = 512 * 1024 * 1024;
/** Kafka's `min.incremental.fetch.session.eviction.ms`, a constant. */
const FETCH_SESSION_EVICTION_MS = 120_000;
/** How often a stopping broker looks whether its connections are idle. */
const DRAIN_STEP_MS = 5;

/** Fails (a defect with one clear line) when the data directory or a listener cannot be had. */
export const startBroker = (platform: Platform, options: BrokerOptions): Effect.Effect<Broker> =>
  Effect.gen(function* () {
    const { network, clock, random, tasks, codecs } = platform;
    const { config } = options;
    // Until the metadata has been read: what was set at run time counts from then on.
    let settled = (): BrokerConfig => config;
    const disk = limitOpenFiles(platform.disk, () => settled().number("log.max.open.files"));
    const scheduler = makeTaskListScheduler(tasks);
    const run = <A, E>(effect: Effect.Effect<A, E>): Fiber.Fiber<A, E> =>
      Effect.runFork(Effect.provideService(effect, Scheduler.Scheduler, scheduler));
    const context: ActorContext = { tasks, clock, fork: run, log: options.log };
    const timers = new TimingWheel(clock);
    const delayedFetches = new DelayedFetches(tasks);
    const { nodeId } = config;

    const bindings = listenersOf(config);
    for (const binding of bindings) probe(network, binding);
    const directory = yield* Effect.promise(async () =>
      LogDirectory.open(context, {
        disk,
        random,
        config,
        currentConfig: () => settled(),
        clusterId: options.clusterId,
      }),
    );
    const metadata = yield* Effect.promise(() => openMetadataLog(context, { disk, codecs, directory, nodeId, config }));
    // What was set at run time counts wherever a setting is read while the broker runs.
    const effective = new EffectiveConfig(config, nodeId);
    const current = (): BrokerConfig => effective.of(controller.image());
    const replicas: ReplicaManager = new ReplicaManager({
      ...context,
      nodeId,
      config: current,
      codecs,
      directory,
      delayedFetches,
    });
    const controller: Controller = new Controller(metadata.image, {
      ...context,
      metadataLog: metadata.log,
      rules: () => controllerRules(current()),
      published: (image, records) => {
        replicas.apply(image, records);
        groups.published(image, records);
        metadata.log.considerSnapshot(image);
      },
      fatal: options.fatal,
    });
    const groups = new GroupCoordinators({
      ...context,
      nodeId,
      config: current,
      codecs,
      timers,
      replicas,
      image: () => controller.image(),
    });
    const transactions: TransactionCoordinators = new TransactionCoordinators({
      ...context,
      nodeId,
      config: current,
      codecs,
      timers,
      replicas,
      groups,
      image: () => controller.image(),
      nextProducerId: (give) => void run(Effect.map(controller.nextProducerId(), ({ producerId }) => give(producerId))),
    });
    settled = current;
    replicas.host(metadata.image);
    const isKnown = (folder: string, topicId: string | undefined): boolean =>
      folder === METADATA_FOLDER || replicas.hosts(folder, topicId);
    yield* Effect.promise(() => directory.sweep(isKnown));
    if (!directory.wasClean) yield* Effect.promise(() => replicas.openAll());

    const ports: Ports = {
      nodeId,
      clusterId: directory.clusterId,
      get config() {
        return current();
      },
      clock,
      random,
      codecs,
      metadata: controller,
      controller,
      replicas,
      groups,
      transactions,
      delayedFetches,
      fetchSessions: new FetchSessions(
        config.number("max.incremental.fetch.session.cache.slots"),
        FETCH_SESSION_EVICTION_MS,
        () => clock.monotonic(),
        (bound) => random.below(bound),
      ),
      timers,
      handlers: options.handlers?.(makeHandlers()) ?? makeHandlers(),
    };

    const queued = config.number("queued.max.request.bytes");
    const credit = new ByteCredit(queued > 0 ? queued : DEFAULT_REQUEST_BYTES);
    const limits = {
      get maxConnections() {
        return current().number("max.connections");
      },
      get maxConnectionsPerIp() {
        return current().number("max.connections.per.ip");
      },
      sendBufferBytes: config.number("socket.send.buffer.bytes"),
    };
    const listeners: Array<{ name: string; endpoint: Endpoint; listener: KafkaListener }> = [];
    for (const { name, bind } of bindings) {
      const listener = new KafkaListener(network, bind, limits, {
        ...context,
        ports,
        credit,
        listenerName: name,
        maxFrameBytes: config.number("socket.request.max.bytes"),
        maxIdleMs: config.number("connections.max.idle.ms"),
        run,
        requestLog: options.requestLog,
      });
      listeners.push({ name, endpoint: listener.endpoint, listener });
    }
    const endPoints = listeners.map(({ name, endpoint }) => ({ name, ...endpoint, securityProtocol: 0 }));
    yield* controller.ask({ type: "Activate" });
    const registration = yield* controller.ask({
      type: "RegisterBroker",
      clusterId: directory.clusterId,
      brokerId: nodeId,
      incarnationId: random.uuid(),
      endPoints,
      features: [],
      rack: config.optionalString("broker.rack") ?? null,
      logDirs: [directory.id],
      fenced: false,
      cleanShutdown: directory.wasClean,
    });
    if (registration.error !== undefined) {
      throw new StartupError(registration.error.message ?? "the controller refused this broker's registration");
    }
    controller.registered(nodeId, registration.brokerEpoch);
    transactions.resume();
    for (const { listener } of listeners) listener.open();
    const partitions = (): Partition[] => [...replicas.opened(), metadata.partition];
    const maintenance = new LogMaintenance({
      clock,
      config: current,
      directory,
      partitions,
      maintained: () => replicas.maintained(),
      log: options.log,
    });
    const scrubber = new LogScrubber({
      clock,
      disk,
      config: current,
      path: directory.path,
      maintained: () => replicas.maintained(),
      log: options.log,
    });
    const cleaner = config.boolean("log.cleaner.enable")
      ? new LogCleaner({
          clock,
          random,
          disk,
          codecs,
          cleaningWork: platform.cleaningWork,
          config: current,
          directory,
          maintained: (wanted) => replicas.maintained(wanted),
          removeLater: (segments, delayMs) => maintenance.removeLater(segments, delayMs),
          log: options.log,
        })
      : undefined;

    const doors: Door[] = listeners.map(({ listener }) => listener);
    const stop = Effect.gen(function* () {
      for (const door of doors) door.mute();
      delayedFetches.finishAll();
      yield* Effect.promise(() => drained(doors, clock));
      for (const door of doors) door.closeConnections("the broker is stopping");
      maintenance.stop();
      scrubber.stop();
      transactions.stop();
      groups.stop();
      cleaner?.stop();
      yield* Effect.promise(() => metadata.log.stop());
      yield* Effect.promise(() => directory.closeAll(partitions(), registration.brokerEpoch));
    });
    const listenerName = bindings[0]!.name;
    const { requestLog } = options;
    const doorEnvironment: DoorEnvironment = { ...context, ports, credit, listenerName, run, requestLog };
    const attach = (door: Door): void => void doors.push(door);
    const { clusterId, path } = directory;
    const metrics = (): BrokerMetrics => ({
      openFiles: disk.openFiles().open,
      flushRounds: directory.flusherMetrics.rounds,
      flushFailures: directory.flusherMetrics.failures,
      refusedForSpace: directory.freeSpace.refused,
      scrub: scrubber.metrics,
    });
    const moveCoordinator: Broker["moveCoordinator"] = (of, key) =>
      (of === "group" ? groups : transactions).reload(key, "it moved away and back");
    return { clusterId, nodeId, listeners, directory: path, metrics, doorEnvironment, attach, moveCoordinator, stop };
  });

const listenersOf = (config: BrokerConfig): ReadonlyArray<BrokerListener> => {
  const { listeners, errors } = resolveListeners(config);
  if (errors.length > 0) throw new StartupError(errors.join("; "));
  return listeners;
};

/** An address that cannot be had ends the start before anything on disk is touched. */
const probe = (network: Network, { name, bind }: BrokerListener): void => {
  if (bind.port === 0) return;
  try {
    network.listen(bind, () => UNSERVED).close();
  } catch (error) {
    if (!(error instanceof NetworkError)) throw error;
    const { host, port } = bind;
    const next = `--override listeners=${name}://${host}:${port + 1} takes the next port, port 0 any that is free`;
    const message = `listeners: ${host}:${port} cannot be bound: ${whyNot(error)}`;
    throw new StartupError(message, error.code === "EADDRINUSE" ? next : undefined);
  }
};

const whyNot = ({ code, message }: NetworkError): string => {
  if (code === "EADDRINUSE") return "the port is in use";
  if (code === "EADDRNOTAVAIL") return "this machine has no such address";
  if (code === "EACCES") return "that takes privileges this process does not have";
  return message.replace(/^listen \S+: /, "");
};

/** Resolves when no request is in flight, or when the time is up. Waiting fetches are answered with what there is. */
const drained = (doors: ReadonlyArray<Door>, clock: Clock): Promise<void> =>
  new Promise((resolve) => {
    const deadline = clock.monotonic() + DRAIN_MS;
    const look = (): void => {
      if (clock.monotonic() >= deadline || doors.every((door) => door.isIdle)) resolve();
      else clock.after(DRAIN_STEP_MS, look);
    };
    look();
  });
