/**
 * One log directory (`log.dirs`): its lock, its identity (`meta.properties`), its checkpoints, its Flusher, and the
 * opening and closing of the logs in it. What must stay true: two brokers never share it; a directory of another
 * cluster or node, or of a later format, is refused untouched; the clean-shutdown marker exists only while no broker
 * runs on it and every log in it was closed with its state on disk; a recovery point in its file is never above what
 * was flushed; what the files say of a removed partition is gone from them before another has its name.
 */
import type { BrokerConfig } from "../src/config/BrokerConfig.ts";
import type { TopicConfig } from "../src/config/TopicConfig.ts";
import {
  CLEAN_SHUTDOWN_FILE,
  CLEANER_OFFSET_FILE,
  decodeMetaProperties,
  decodePartitionMetadata,
  encodeCleanShutdown,
  encodeMetaProperties,
  encodePartitionMetadata,
  LOCK_FILE,
  META_PROPERTIES_FILE,
  PARTITION_METADATA_FILE,
  partitionDirectory,
  partitionOfDirectory,
} from "../src/log/Checkpoints.ts";
import { loadLog, reload } from "../src/log/LogLoader.ts";
import { TailBudget } from "../src/log/LogTail.ts";
import type { LogConfig } from "../src/log/UnifiedLog.ts";
import { type Disk, diskTrouble } from "../src/platform/Disk.ts";
import type { Random } from "../src/platform/Random.ts";
import { isPending, type MaybePending, type Offset, type Uuid } from "../src/prelude/Types.ts";
import type { ActorContext, ActorRef } from "./Actor.ts";
import { type Flushable, type Flusher, flushTicket, startFlusher } from "./Flusher.ts";
import { FreeSpace } from "./FreeSpace.ts";
import { NewFolder } from "./NewFolder.ts";
import { OffsetCheckpoints } from "./OffsetCheckpoints.ts";
import type { LoadedLog, Partition } from "./Partition.ts";
import { StartupError } from "./StartupError.ts";

/** Kafka's suffixes of folders that are to go, and of those no metadata knows. */
const DELETE_SUFFIX = "-delete";
const STRAY_SUFFIX = "-stray";

export interface LogIdentity {
  readonly topic: string;
  readonly topicId: Uuid;
  readonly partition: number;
}

export interface OpenedLog extends LoadedLog {
  /** Everything below is durable now. */
  readonly durableOffset: Offset;
  /** Of a log that was just made: what its first flush must also make durable. */
  readonly created: NewFolder | undefined;
}

export interface LogDirectoryServices {
  readonly disk: Disk;
  readonly random: Random;
  readonly config: BrokerConfig;
  /** With what was set at run time. */
  readonly currentConfig: () => BrokerConfig;
  /** The cluster id for an empty directory; undefined: a random one. */
  readonly clusterId: string | undefined;
}

export class LogDirectory {
  readonly flusherMetrics: Flusher["metrics"];
  readonly flusher: ActorRef<Flushable>;
  private readonly disk: Disk;
  private readonly budget: TailBudget;
  /** A partition opened later takes its own from here. */
  private readonly checkpoints: OffsetCheckpoints;
  readonly freeSpace: FreeSpace;

  private constructor(
    private readonly context: ActorContext,
    private readonly services: LogDirectoryServices,
    readonly path: string,
    readonly clusterId: string,
    readonly id: Uuid,
    /** The broker before this one stopped in an orderly way. */
    readonly wasClean: boolean,
    private readonly unlock: () => void,
  ) {
    this.disk = services.disk;
    this.budget = new TailBudget();
    this.checkpoints = new OffsetCheckpoints(this.disk, path);
    const minFreeBytes = (): number => services.currentConfig().number("log.min.free.bytes");
    this.freeSpace = new FreeSpace({ ...context, disk: this.disk, path, minFreeBytes });
    const flusher = startFlusher(context, this.disk, path);
    this.flusher = flusher.actor;
    this.flusherMetrics = flusher.metrics;
  }

  /** Throws `StartupError` with one clear line; then nothing was touched. */
  static open(context: ActorContext, services: LogDirectoryServices): MaybePending<LogDirectory> {
    const { disk, config } = services;
    const [path, ...more] = config.logDirs;
    if (path === undefined || more.length > 0) {
      throw new StartupError(
        `log.dirs: one directory is supported, ${config.logDirs.length} are given: ${config.logDirs.join(", ")}`,
      );
    }
    const parents = missingParents(disk, path);
    try {
      disk.makeDirectory(path);
    } catch (error) {
      throw new StartupError(`log.dirs: ${path} cannot be created: ${diskTrouble(error)}`);
    }
    const unlock = lock(disk, path);
    try {
      const { clusterId, directoryId } = identify(services, path);
      const marker = `${path}/${CLEAN_SHUTDOWN_FILE}`;
      const wasClean = disk.exists(marker);
      const open = (): LogDirectory =>
        new LogDirectory(context, services, path, clusterId, directoryId, wasClean, unlock);
      // From the first write on this run is unclean: the removal must be durable before it, and so must the folder's name.
      if (wasClean) disk.remove(marker);
      const flushing = flushDirectories(disk, wasClean ? [path, ...parents] : parents);
      return isPending(flushing) ? flushing.then(open) : open();
    } catch (error) {
      unlock();
      throw error;
    }
  }

  /** Opens a partition's log, made when there is none; recovered and made durable when the last stop was unclean. */
  open(identity: LogIdentity, topic: TopicConfig): MaybePending<OpenedLog> {
    return this.openFolder(partitionDirectory(identity), identity.topicId, this.logConfig(topic));
  }

  openFolder(name: string, topicId: Uuid, config: LogConfig): MaybePending<OpenedLog> {
    const folder = `${this.path}/${name}`;
    const isNew = !this.disk.isDirectory(folder);
    const made = isNew ? this.create(name, folder, topicId) : this.existing(name, folder, topicId);
    const load = (owed: NewFolder | undefined): MaybePending<OpenedLog> => this.load(name, folder, config, owed, isNew);
    return isPending(made) ? made.then(load) : load(made);
  }

  private load(
    name: string,
    folder: string,
    config: LogConfig,
    owed: NewFolder | undefined,
    isNew: boolean,
  ): MaybePending<OpenedLog> {
    const loading = loadLog(this.disk, folder, config, {
      clean: this.wasClean,
      recoveryPoint: this.checkpoints.recoveryPointOf(name),
      logStartOffset: this.checkpoints.logStartOffsetOf(name),
      budget: this.budget,
    });
    const finish = (loaded: LoadedLog & { repairs: ReadonlyArray<string> }): MaybePending<OpenedLog> => {
      for (const repair of loaded.repairs) this.context.log("warn", repair);
      // A new folder's first round is everybody's.
      if (isNew) return this.opened(loaded, owed);
      const durable = this.makeDurable(loaded, owed);
      const close = (): void => owed?.close();
      if (isPending(durable)) return durable.finally(close);
      close();
      return durable;
    };
    return isPending(loading) ? loading.then(finish) : finish(loading);
  }

  /**
   * After a failed write or flush: cut to the last good length, or lower, and folded again. Rejects with the `DiskError`
   * of a flush when that could not be made durable: what a power cut would bring back of the part cut off must be gone
   * before anything takes its place, or the two would be mixed. `owed`: what no round has made durable yet of a new folder,
   * without which nothing in it is.
   */
  async reopen(broken: LoadedLog, keepBelow: Offset | undefined, owed: NewFolder | undefined): Promise<LoadedLog> {
    const { logStartOffset } = broken.state;
    const loaded = await reload(this.disk, broken.log, {
      logStartOffset,
      budget: this.budget,
      ...(keepBelow === undefined ? {} : { endOffset: keepBelow }),
    });
    return this.makeDurable(loaded, owed);
  }

  /** Up to where a partition's log is cleaned, as far as that is known. */
  cleanedOffsetOf(identity: Pick<LogIdentity, "topic" | "partition">): Offset | undefined {
    return this.checkpoints.cleanedOffsetOf(partitionDirectory(identity));
  }

  async noteCleaned(identity: Pick<LogIdentity, "topic" | "partition">, offset: Offset): Promise<void> {
    try {
      await this.checkpoints.cleaned(partitionDirectory(identity), offset);
    } catch (error) {
      // What was cleaned is cleaned again after a restart.
      this.context.log("warn", `${CLEANER_OFFSET_FILE} was not written: ${String(error)}`);
    }
  }

  /** Takes a removed partition's folder out of the way: renamed now, so that its name is free, gone later. */
  markDeleted({ topic, partition }: LogIdentity, delayMs: number): void {
    const name = partitionDirectory({ topic, partition });
    this.checkpoints.forget(name);
    const folder = `${this.path}/${name}`;
    if (!this.disk.isDirectory(folder)) return;
    const unique = this.services.random.uuid().replaceAll("-", "_");
    const doomed = `${this.path}/${doomedName(topic, partition)}.${unique}${DELETE_SUFFIX}`;
    this.disk.rename(folder, doomed);
    this.context.clock.after(delayMs, () => void this.removeDeleted(name, doomed));
  }

  private async removeDeleted(name: string, doomed: string): Promise<void> {
    // While the folder is there a start knows that what the files say is of a removed partition.
    if (this.checkpoints.tellOfForgotten(name) && !(await this.confirmForgotten())) return;
    try {
      this.disk.removeDirectory(doomed);
    } catch (error) {
      // The next start removes it.
      this.context.log("warn", `${doomed} was not removed: ${String(error)}`);
    }
  }

  private async confirmForgotten(): Promise<boolean> {
    try {
      await this.checkpoints.write();
      return true;
    } catch (error) {
      this.context.log("warn", `the checkpoints were not written: ${String(error)}`);
      return false;
    }
  }

  /** Removes what earlier deletions left; folders the metadata does not know are renamed and kept (S1). */
  async sweep(known: (folder: string, topicId: Uuid | undefined) => boolean): Promise<void> {
    const doomed: string[] = [];
    const names = new Set(this.disk.list(this.path));
    for (const name of names) {
      const folder = `${this.path}/${name}`;
      if (!/-\d+(\.|$)/.test(name) || !this.disk.isDirectory(folder)) continue;
      if (name.endsWith(DELETE_SUFFIX)) doomed.push(name);
      else if (!name.endsWith(STRAY_SUFFIX) && !this.isHosted(name, known)) {
        // A topic of the same name may have left one before.
        let stray = `${name}${STRAY_SUFFIX}`;
        for (let next = 2; this.disk.exists(`${this.path}/${stray}`); next++) stray = `${name}.${next}${STRAY_SUFFIX}`;
        this.context.log("warn", `${folder} belongs to no known partition: kept as ${stray}`);
        this.disk.rename(folder, `${this.path}/${stray}`);
        this.checkpoints.forget(name);
        names.delete(name);
      }
    }
    this.forgetRemoved(names, doomed, known);
    if (this.checkpoints.tellOfForgotten() && !(await this.confirmForgotten())) return;
    for (const name of doomed) this.disk.removeDirectory(`${this.path}/${name}`);
  }

  /**
   * One that does not say whose it is, is its name's if records in it are known to have counted. Others are nobody's, as for
   * Kafka: it was not durable with them, and they may be a deleted topic's that had the name.
   */
  private isHosted(name: string, known: (folder: string, topicId: Uuid | undefined) => boolean): boolean {
    const folder = `${this.path}/${name}`;
    const topicId = this.topicIdOf(folder);
    const isNobodys = topicId === undefined && !this.hasCounted(name);
    if (isNobodys && this.disk.list(folder).some((file) => file !== PARTITION_METADATA_FILE)) return false;
    return known(name, topicId);
  }

  /** Whether something of the partition is known to have been flushed, and with it whose it is. */
  private hasCounted(name: string): boolean {
    return this.checkpoints.recoveryPointOf(name) > 0;
  }

  /** The broker died before the files said that a partition is removed: its folder has another name, or is gone. */
  private forgetRemoved(
    names: ReadonlySet<string>,
    doomed: ReadonlyArray<string>,
    known: (folder: string, topicId: undefined) => boolean,
  ): void {
    const removed = new Set(doomed.map((name) => name.slice(0, name.lastIndexOf("."))));
    for (const name of this.checkpoints.names) {
      if (names.has(name)) continue;
      const { topic, partition } = partitionOfDirectory(name)!;
      if (removed.has(doomedName(topic, partition)) || !known(name, undefined)) this.checkpoints.forget(name);
    }
  }

  /** Bytes of a partition's segments, whether it is open or not. */
  sizeOf(identity: LogIdentity): number {
    const folder = `${this.path}/${partitionDirectory(identity)}`;
    let size = 0;
    for (const name of this.disk.list(folder)) {
      if (name.endsWith(".log")) size += this.disk.fileSize(`${folder}/${name}`) ?? 0;
    }
    return size;
  }

  /** Of the file system the directory is on. */
  space(): { readonly totalBytes: number; readonly usableBytes: number } {
    return { totalBytes: this.disk.totalBytes(this.path), usableBytes: this.disk.freeBytes(this.path) };
  }

  /** Writes the checkpoint files; partitions not opened in this run keep what the files had. */
  checkpoint(partitions: Iterable<Partition>): Promise<void> {
    // An offline or closed partition has no view; where its log begins is known all the same.
    for (const partition of partitions) this.checkpoints.note(partitionDirectory(partition.identity), partition);
    return this.checkpoints.write();
  }

  /** The orderly end: snapshots, one flush, checkpoints, marker, lock. No marker when any log was offline. */
  async closeAll(partitions: ReadonlyArray<Partition>, brokerEpoch: number): Promise<void> {
    const closings = await Promise.all(partitions.map((partition) => partition.shutDown()));
    let clean = closings.every((closing) => closing.clean);
    const tickets = closings.flatMap(({ ticket }) => (ticket === undefined ? [] : [ticket]));
    try {
      await Promise.all(tickets.map((ticket) => flushTicket(this.disk, ticket)));
    } catch (error) {
      clean = false;
      this.context.log("error", `the last flush failed: ${String(error)}`);
    }
    if (clean) {
      for (const [index, partition] of partitions.entries()) partition.confirmShutDown(closings[index]!.ticket);
      await this.checkpoint(partitions);
      this.disk.replaceFile(`${this.path}/${CLEAN_SHUTDOWN_FILE}`, encodeCleanShutdown(brokerEpoch));
    }
    await this.checkpoints.settled();
    for (const partition of partitions) partition.close();
    this.unlock();
  }

  logConfig(topic: TopicConfig): LogConfig {
    const jitter = Math.min(topic.number("segment.jitter.ms"), topic.number("segment.ms"));
    return {
      segmentBytes: topic.segmentBytes,
      segmentMs: topic.segmentMs,
      segmentJitterMs: () => (jitter > 0 ? this.services.random.below(Math.min(jitter, 0xffff_ffff)) : 0),
      segmentIndexBytes: topic.number("segment.index.bytes"),
      indexIntervalBytes: topic.number("index.interval.bytes"),
    };
  }

  private create(name: string, folder: string, topicId: Uuid): MaybePending<NewFolder> {
    const make = (): MaybePending<NewFolder> =>
      NewFolder.write(this.disk, folder, this.path, encodePartitionMetadata(topicId));
    return this.checkpoints.tellOfForgotten(name) ? this.checkpoints.write().then(make) : make();
  }

  /** A folder of the same name under another topic id is not this partition's. */
  private existing(name: string, folder: string, topicId: Uuid): MaybePending<NewFolder | undefined> {
    const content = this.disk.readFile(`${folder}/${PARTITION_METADATA_FILE}`);
    const found = content === undefined ? undefined : decodePartitionMetadata(content);
    // Lost or damaged: the name says whose it is, as long as no other topic has taken it.
    if (content === undefined || found === undefined) return this.create(name, folder, topicId);
    if (found !== topicId) throw new Error(`${folder} belongs to topic id ${found}, not ${topicId}`);
    // The last run may have died between making the folder and its first flush, or right after one that failed: names and
    // content may be in memory only.
    return this.wasClean || this.hasCounted(name) ? undefined : NewFolder.write(this.disk, folder, this.path, content);
  }

  private topicIdOf(folder: string): Uuid | undefined {
    const content = this.disk.readFile(`${folder}/${PARTITION_METADATA_FILE}`);
    return content === undefined ? undefined : decodePartitionMetadata(content);
  }

  /** What recovery keeps counts as flushed only after recovery has flushed it; so does whose folder it is in. */
  private makeDurable(loaded: LoadedLog, folder: NewFolder | undefined): MaybePending<OpenedLog> {
    const ticket = loaded.log.beginFlush();
    const flushed = (): OpenedLog => {
      if (ticket !== undefined) loaded.log.flushed(ticket);
      return this.opened(loaded, undefined);
    };
    const failed = (error: unknown): never => {
      if (ticket !== undefined) loaded.log.flushFailed(ticket);
      loaded.log.close();
      throw error;
    };
    const flushing = flushTicket(this.disk, {
      files: [...(ticket?.files ?? []), ...(folder?.files ?? [])],
      directories: new Set([...(ticket?.directories ?? []), ...(folder?.directories ?? [])]),
    });
    return isPending(flushing) ? flushing.then(flushed, failed) : flushed();
  }

  private opened(loaded: LoadedLog, created: NewFolder | undefined): OpenedLog {
    return { ...loaded, durableOffset: loaded.log.flushedOffset, created };
  }
}

/** The name of a removed partition's folder begins like this: Kafka cuts long ones, so that the rest has room. */
const doomedName = (topic: string, partition: number): string => `${topic.slice(0, 200)}-${partition}`;

/** The directories whose entries making `path` adds to: the parents of every level that is not there yet. */
const missingParents = (disk: Disk, path: string): string[] => {
  const parents: string[] = [];
  for (let level = path; !disk.isDirectory(level); ) {
    const slash = level.lastIndexOf("/");
    const parent = slash < 0 ? "." : slash === 0 ? "/" : level.slice(0, slash);
    parents.push(parent);
    if (slash <= 0) break;
    level = parent;
  }
  return parents;
};

const flushDirectories = (disk: Disk, directories: ReadonlyArray<string>): MaybePending<void> => {
  const pending: Promise<void>[] = [];
  try {
    for (const directory of directories) {
      const flush = disk.flushDirectory(directory);
      if (isPending(flush)) pending.push(flush);
    }
  } catch (error) {
    for (const flush of pending) flush.catch(() => {});
    throw error;
  }
  return pending.length === 0 ? undefined : Promise.all(pending).then(() => undefined);
};

const lock = (disk: Disk, path: string): (() => void) => {
  let unlock: (() => void) | undefined;
  try {
    unlock = disk.lock(`${path}/${LOCK_FILE}`);
  } catch (error) {
    throw new StartupError(`log.dirs: ${path} is not writable: ${diskTrouble(error)}`);
  }
  if (unlock === undefined) {
    const own = "a broker needs a directory of its own: --override log.dirs=ANOTHER";
    throw new StartupError(`log.dirs: ${path} is used by another process`, own);
  }
  return unlock;
};

/** Reads the directory's identity, or makes one in an empty directory. */
const identify = (services: LogDirectoryServices, path: string): { clusterId: string; directoryId: Uuid } => {
  const { disk, random, config } = services;
  const { nodeId } = config;
  const file = `${path}/${META_PROPERTIES_FILE}`;
  const content = disk.readFile(file);
  if (content === undefined) {
    // A power cut during the first start leaves the file's temporary name.
    const foreign = disk.list(path).filter((name) => name !== LOCK_FILE && !name.endsWith(".tmp"));
    if (foreign.length > 0) {
      throw new StartupError(`log.dirs: ${path} is not empty and has no ${META_PROPERTIES_FILE} (found ${foreign[0]})`);
    }
    const made = { clusterId: services.clusterId ?? random.uuid(), directoryId: random.uuid() };
    disk.replaceFile(file, encodeMetaProperties({ version: 1, nodeId, ...made }));
    return made;
  }
  const properties = decodeMetaProperties(content);
  if (properties === undefined) throw new StartupError(`${file} cannot be read`);
  if (properties.version !== 1) throw new StartupError(`${file}: version is ${properties.version}, 1 is supported`);
  if (properties.nodeId !== nodeId) {
    throw new StartupError(`${file}: node.id is ${properties.nodeId}, but this broker's node.id is ${nodeId}`);
  }
  if (services.clusterId !== undefined && services.clusterId !== properties.clusterId) {
    throw new StartupError(`${file}: cluster.id is ${properties.clusterId}, but CLUSTER_ID is ${services.clusterId}`);
  }
  return { clusterId: properties.clusterId, directoryId: properties.directoryId ?? random.uuid() };
};
