/**
 * The small text files of a log directory in Kafka's formats: the offset checkpoints (one file per log directory),
 * `leader-epoch-checkpoint` and `partition.metadata` (one per partition), `meta.properties` and the clean-shutdown
 * marker. Encoders and decoders only; written with `Disk.replaceFile`. A decoder answers undefined for anything it does
 * not understand: every one of these files may be lost. What must stay true: a digit that flipped on the disk is never
 * believed, where the file is ours (a checksum that Kafka's readers pass over is in it); Kafka's own have none.
 */
import type { Offset, Timestamp, TopicPartition, Uuid } from "../prelude/Types.ts";
import { crc32c } from "../record/Crc32c.ts";
import type { EpochEntry } from "./LeaderEpochCache.ts";

/** In the log directory: behind what is durable and whole, per partition. */
export const RECOVERY_POINT_FILE = "recovery-point-offset-checkpoint";
/** In the log directory: log starts that are above the first segment's base offset. */
export const LOG_START_OFFSET_FILE = "log-start-offset-checkpoint";
/** In the log directory, and ours alone: the same again, since nothing else says which records a client had deleted. */
export const LOG_START_OFFSET_COPY_FILE = "log-start-offset-checkpoint.copy";
/** In the log directory: high watermarks. */
export const HIGH_WATERMARK_FILE = "replication-offset-checkpoint";
/** In the log directory: up to where each compacted log was cleaned. */
export const CLEANER_OFFSET_FILE = "cleaner-offset-checkpoint";
/** In the log directory, and ours alone: how far the scrub is, and what it has found. */
export const SCRUB_FILE = "scrub-checkpoint";
export const LEADER_EPOCH_FILE = "leader-epoch-checkpoint";
export const PARTITION_METADATA_FILE = "partition.metadata";
export const META_PROPERTIES_FILE = "meta.properties";
export const CLEAN_SHUTDOWN_FILE = ".kafka_cleanshutdown";
export const LOCK_FILE = ".lock";

const VERSION = 0;
const utf8 = new TextEncoder();
const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
const INTEGER = /^-?\d{1,16}$/;
const TOPIC = /^[a-zA-Z0-9._-]{1,249}$/;

/** `topic-0`, the directory of a partition. */
export const partitionDirectory = ({ topic, partition }: TopicPartition): string => `${topic}-${partition}`;

/** The partition a directory is named for; undefined for any other directory (`-delete`, `-stray`, `-future` too). */
export const partitionOfDirectory = (name: string): TopicPartition | undefined => {
  const match = /^([a-zA-Z0-9._-]{1,249})-(0|[1-9]\d{0,9})$/.exec(name);
  return match === null ? undefined : { topic: match[1]!, partition: Number(match[2]) };
};

const encodeLines = (lines: ReadonlyArray<string>): Uint8Array =>
  utf8.encode(`${[String(VERSION), String(lines.length), ...lines].join("\n")}\n`);

/** The entries' lines; undefined for another version, another count, or a file that does not end with its last line. */
const decodeLines = (bytes: Uint8Array): string[] | undefined => {
  const lines = text(bytes).split("\n");
  if (lines.pop() !== "" || lines.shift() !== String(VERSION)) return undefined;
  return lines.shift() === String(lines.length) ? lines : undefined;
};

/**
 * A line of no topic, since no topic can have the name, nor with one bit of it flipped: Kafka looks up the partitions that
 * it knows and never meets it.
 */
const CHECKSUM = "#crc32c# 0";
const checksumOf = (lines: ReadonlyArray<string>): string => `${CHECKSUM} ${crc32c(utf8.encode(lines.join("\n")))}`;

const encodeChecked = (lines: ReadonlyArray<string>): Uint8Array => encodeLines([...lines, checksumOf(lines)]);

/** The lines without their checksum, when it is right or Kafka wrote the file. */
const decodeChecked = (bytes: Uint8Array): string[] | undefined => {
  const lines = decodeLines(bytes);
  if (lines?.at(-1)?.startsWith(CHECKSUM) !== true) return lines;
  return lines.pop() === checksumOf(lines) ? lines : undefined;
};

export interface PartitionOffset extends TopicPartition {
  readonly offset: Offset;
}

const partitionLine = ({ topic, partition, offset }: PartitionOffset): string => `${topic} ${partition} ${offset}`;

const readPartitionLine = (line: string): PartitionOffset | undefined => {
  const [topic, partition, offset, ...more] = line.split(/\s+/);
  if (topic === undefined || partition === undefined || offset === undefined || more.length > 0) return undefined;
  if (!TOPIC.test(topic) || !INTEGER.test(partition) || !INTEGER.test(offset)) return undefined;
  return { topic, partition: Number(partition), offset: Number(offset) };
};

export const encodeOffsetCheckpoint = (entries: Iterable<PartitionOffset>): Uint8Array =>
  encodeChecked(Array.from(entries, partitionLine));

export const decodeOffsetCheckpoint = (bytes: Uint8Array): PartitionOffset[] | undefined => {
  const entries = decodeChecked(bytes)?.map(readPartitionLine);
  return entries?.every((entry) => entry !== undefined) === true ? entries : undefined;
};

/** Where a round of the scrub is. */
export interface ScrubCheckpoint {
  readonly began: Timestamp;
  /** Segments that begin below were read in this round. */
  readonly done: ReadonlyArray<PartitionOffset>;
  /** Base offsets of segments that are damaged. */
  readonly damaged: ReadonlyArray<PartitionOffset>;
}

export const encodeScrubCheckpoint = ({ began, done, damaged }: ScrubCheckpoint): Uint8Array =>
  encodeChecked([
    `began ${began}`,
    ...done.map((entry) => `done ${partitionLine(entry)}`),
    ...damaged.map((entry) => `damaged ${partitionLine(entry)}`),
  ]);

export const decodeScrubCheckpoint = (bytes: Uint8Array): ScrubCheckpoint | undefined => {
  const lines = decodeChecked(bytes);
  const began = /^began (\d{1,16})$/.exec(lines?.shift() ?? "")?.[1];
  if (lines === undefined || began === undefined) return undefined;
  const found: Record<"done" | "damaged", PartitionOffset[]> = { done: [], damaged: [] };
  for (const line of lines) {
    const space = line.indexOf(" ");
    const kind = line.slice(0, space);
    const entry = readPartitionLine(line.slice(space + 1));
    if (entry === undefined || (kind !== "done" && kind !== "damaged")) return undefined;
    found[kind].push(entry);
  }
  return { began: Number(began), ...found };
};

export const encodeLeaderEpochs = (entries: ReadonlyArray<EpochEntry>): Uint8Array =>
  encodeLines(entries.map(({ epoch, startOffset }) => `${epoch} ${startOffset}`));

export const decodeLeaderEpochs = (bytes: Uint8Array): EpochEntry[] | undefined => {
  const lines = decodeLines(bytes);
  if (lines === undefined) return undefined;
  const entries: EpochEntry[] = [];
  for (const line of lines) {
    const [epoch, startOffset, ...more] = line.split(/\s+/);
    if (epoch === undefined || startOffset === undefined || more.length > 0) return undefined;
    if (!INTEGER.test(epoch) || !INTEGER.test(startOffset)) return undefined;
    const last = entries.at(-1);
    const entry = { epoch: Number(epoch), startOffset: Number(startOffset) };
    if (last !== undefined && (entry.epoch <= last.epoch || entry.startOffset <= last.startOffset)) return undefined;
    entries.push(entry);
  }
  return entries;
};

const partitionMetadataLines = (topicId: Uuid): string => `version: ${VERSION}\ntopic_id: ${topicId}\n`;
const partitionMetadataChecksum = (topicId: Uuid): number => crc32c(utf8.encode(partitionMetadataLines(topicId)));

/** Kafka reads the first two lines. */
export const encodePartitionMetadata = (topicId: Uuid): Uint8Array =>
  utf8.encode(`${partitionMetadataLines(topicId)}crc32c: ${partitionMetadataChecksum(topicId)}\n`);

export const decodePartitionMetadata = (bytes: Uint8Array): Uuid | undefined => {
  const lines = /^version:\s+\d+\r?\ntopic_id:\s+([A-Za-z0-9_-]{22})\s*(?:\ncrc32c: (\d+)\n)?$/.exec(text(bytes));
  const topicId = lines?.[1];
  if (topicId === undefined || lines?.[2] === undefined) return topicId;
  return Number(lines[2]) === partitionMetadataChecksum(topicId) ? topicId : undefined;
};

/** Who a log directory belongs to (Kafka's `MetaProperties`, version 1). */
export interface MetaProperties {
  readonly version: number;
  readonly clusterId: string;
  readonly nodeId: number;
  readonly directoryId: Uuid | undefined;
}

export const encodeMetaProperties = (properties: MetaProperties): Uint8Array => {
  const lines = [`cluster.id=${properties.clusterId}`];
  if (properties.directoryId !== undefined) lines.push(`directory.id=${properties.directoryId}`);
  lines.push(`node.id=${properties.nodeId}`, `version=${properties.version}`);
  return utf8.encode(`#\n${lines.join("\n")}\n`);
};

/** Java's properties as Kafka writes them; `broker.id` is version 0's name of the node id. */
export const decodeMetaProperties = (bytes: Uint8Array): MetaProperties | undefined => {
  const values = new Map<string, string>();
  for (const line of text(bytes).split(/\r?\n/)) {
    const trimmed = line.trim();
    if (trimmed === "" || trimmed.startsWith("#") || trimmed.startsWith("!")) continue;
    const match = /^([^=:\s]+)\s*[=:\s]\s*(.*)$/.exec(trimmed);
    if (match !== null) values.set(match[1]!, match[2]!.replace(/\\(.)/g, "$1"));
  }
  const version = values.get("version") ?? "0";
  const nodeId = values.get("node.id") ?? values.get("broker.id");
  const clusterId = values.get("cluster.id");
  if (nodeId === undefined || clusterId === undefined || !INTEGER.test(nodeId) || !INTEGER.test(version)) {
    return undefined;
  }
  return { version: Number(version), clusterId, nodeId: Number(nodeId), directoryId: values.get("directory.id") };
};

/** The broker epoch tells the next registration which incarnation stopped in order (KIP-966). */
export const encodeCleanShutdown = (brokerEpoch: number): Uint8Array =>
  utf8.encode(JSON.stringify({ version: VERSION, brokerEpoch }));

/** The marker counts by being there; its broker epoch is -1 when it cannot be read. */
export const decodeCleanShutdown = (bytes: Uint8Array): number => {
  try {
    const content: unknown = JSON.parse(text(bytes));
    if (typeof content === "object" && content !== null && "brokerEpoch" in content) {
      return typeof content.brokerEpoch === "number" ? content.brokerEpoch : -1;
    }
  } catch {
    // Kafka before 4.0 left it empty.
  }
  return -1;
};
