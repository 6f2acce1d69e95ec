/**
 * `odradek dump-log`: what the files of a partition hold, in the words of Kafka's DumpLogSegments or as JSON lines, and
 * whether they hold it rightly. It only reads. What must stay true: damage is something to print, never a reason to
 * stop; a log is read in pieces, however large it is.
 */
import { scanBatches } from "../log/BatchScan.ts";
import { decodeSnapshot } from "../log/LogSnapshot.ts";
import { abortedInOrder, readAborted, TRANSACTION_ENTRY_SIZE } from "../log/TransactionIndex.ts";
import { decodeMetadataRecord } from "../metadata/MetadataRecords.ts";
import type { Disk, DiskFile } from "../platform/Disk.ts";
import { ByteReader } from "../prelude/ByteReader.ts";
import type { Offset, Position, Timestamp } from "../prelude/Types.ts";
import type { BatchInfo } from "../record/BatchInfo.ts";
import { type Codecs, codecName } from "../record/Compression.ts";
import {
  addToSequence,
  checkCrc,
  codecOf,
  HEADER_SIZE,
  hasDeleteHorizon,
  isControl,
  isTransactional,
  lastOffsetOf,
  magicOf,
  readBatchInfo,
  records,
  storedCrc,
  timestampTypeOf,
} from "../record/RecordBatch.ts";
import type { RecordView } from "../record/RecordView.ts";
import { readInt16, readInt32, readInt64 } from "../record/Wire.ts";
import { coordinatorRecordText, type DecodedText, jsonText } from "./CoordinatorRecordText.ts";
import type { DumpDecoder, DumpLogOptions } from "./DumpLogArguments.ts";

export interface DumpLogEnvironment {
  readonly disk: Disk;
  readonly codecs: Codecs;
  readonly out: (line: string) => void;
  /** Where Kafka writes what is wrong: beside the output. */
  readonly err: (line: string) => void;
}

type Fields = Readonly<Record<string, unknown>>;

const OFFSET_ENTRY = 8;
const TIME_ENTRY = 12;
const KNOWN = /\.(log|checkpoint|index|timeindex|txnindex|snapshot)$/;

const optional = (value: number): string => (value < 0 ? "OptionalLong.empty" : `OptionalLong[${value}]`);
const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
const nameOf = (path: string): string => path.slice(path.lastIndexOf("/") + 1);
const baseOffsetOfFile = (path: string): Offset => {
  if (!/^\d+\./.test(nameOf(path))) throw new Error("its name does not begin with an offset and a dot");
  return Number.parseInt(nameOf(path), 10);
};

/** What was found: files that are not there, and (those among them) everything that is not as it must be. */
export interface Dumped {
  readonly missing: number;
  readonly problems: number;
}

export const dumpLog = async (options: DumpLogOptions, environment: DumpLogEnvironment): Promise<Dumped> => {
  const dumper = new Dumper(options, environment);
  for (const file of expand(options.files, environment.disk)) await dumper.dump(file);
  return { missing: dumper.missing, problems: dumper.problems };
};

/** Damage is what is asked for, unless it is a verdict that is; a file that is not there is an error (in Kafka's tool too). */
export const dumpExitCode = ({ missing, problems }: Dumped, { verify }: DumpLogOptions): number =>
  missing > 0 || (verify && problems > 0) ? 1 : 0;

/** A folder stands for its files, in the order of their offsets. */
const expand = (files: ReadonlyArray<string>, disk: Disk): string[] =>
  files.flatMap((file) => {
    if (!disk.isDirectory(file)) return [file];
    const folder = file.replace(/\/+$/, "");
    return disk.list(folder).flatMap((name) => (KNOWN.test(name) ? [`${folder}/${name}`] : []));
  });

class Dumper {
  missing = 0;
  problems = 0;

  constructor(
    private readonly options: DumpLogOptions,
    private readonly environment: DumpLogEnvironment,
  ) {}

  async dump(file: string): Promise<void> {
    const { disk } = this.environment;
    const suffix = KNOWN.exec(file)?.[1];
    const before = this.problems;
    this.say({ dumping: file }, `Dumping ${file}`);
    if (suffix === undefined) return this.note({ file, ignored: "unknown file" }, `Ignoring unknown file ${file}`);
    if (!disk.exists(file)) {
      this.missing += 1;
      return this.problem(file, "there is no such file");
    }
    try {
      if (suffix === "log" || suffix === "checkpoint") await this.dumpBatches(file);
      else if (suffix === "index") await this.dumpIndex(file);
      else if (suffix === "timeindex") await this.dumpTimeIndex(file);
      else if (suffix === "txnindex") this.dumpTransactionIndex(file);
      else this.dumpSnapshot(file);
    } catch (error) {
      this.problem(file, error instanceof Error ? error.message : String(error));
    }
    if (this.options.verify && this.problems === before)
      this.environment.out(this.options.json ? jsonText({ file, ok: true }) : `${file} ok`);
  }

  /** One line: JSON, or Kafka's words. Nothing while only problems are wanted. */
  private say(fields: Fields, line: string): void {
    if (this.options.verify) return;
    this.environment.out(this.options.json ? jsonText(fields) : line);
  }

  /** What is worth knowing and no damage. */
  private note(fields: Fields, line: string): void {
    this.environment.err(this.options.json ? jsonText(fields) : line);
  }

  private problem(file: string, what: string, line = `${file}: ${what}`): void {
    this.problems += 1;
    this.environment.err(this.options.json ? jsonText({ file, problem: what }) : line);
  }

  // — batches

  private async dumpBatches(path: string): Promise<void> {
    const { disk } = this.environment;
    const isLog = path.endsWith(".log");
    if (isLog) {
      const start = baseOffsetOfFile(path);
      this.say({ startOffset: start }, `Log starting offset: ${start}`);
    } else {
      const [offset, epoch] = nameOf(path).split(".")[0]!.split("-").map(Number);
      this.say({ snapshotEndOffset: offset, epoch }, `Snapshot end offset: ${offset}, epoch: ${epoch}`);
    }
    const decoder = this.options.decoder ?? decoderOf(path);
    const file = disk.open(path, "read");
    try {
      const whole = file.size();
      const size = Math.min(whole, this.options.maxBytes);
      let last: Offset = isLog ? baseOffsetOfFile(path) - 1 : -1;
      const gaps: Array<readonly [Offset, Offset]> = [];
      const scan = await scanBatches(file, 0, size, (bytes, at, length, position) => {
        const info = readBatchInfo(bytes, at);
        const valid = checkCrc(bytes.subarray(0, at + length), at);
        this.sayBatch(info, position, storedCrc(bytes, at), valid);
        if (!valid) this.problem(path, `the batch at position ${position} has a wrong CRC`);
        if (info.baseOffset <= last) {
          this.problem(path, `the batch at position ${position} begins at ${info.baseOffset}, not behind ${last}`);
        }
        if (this.options.deep) {
          try {
            for (const record of records(bytes, at, this.environment.codecs)) {
              if (record.offset !== last + 1) gaps.push([last, record.offset]);
              last = record.offset;
              this.sayRecord(info, record, decoder);
            }
          } catch (error) {
            this.problem(path, `the batch at position ${position} cannot be read: ${String(error)}`);
          }
        }
        last = info.lastOffset;
        return true;
      });
      if (scan.position < size && size === whole) {
        const line = `Found ${size - scan.position} invalid bytes at the end of ${nameOf(path)}`;
        this.say({ invalidBytes: size - scan.position }, line);
        if (this.options.verify) this.problem(path, line);
      }
      if (this.options.verify || gaps.length === 0) return;
      // Compaction leaves them.
      const lines = [
        `Non-consecutive offsets in ${path}`,
        ...gaps.map(([from, to]) => `  ${from} is followed by ${to}`),
      ];
      this.note({ file: path, gaps }, lines.join("\n"));
    } finally {
      file.close();
    }
  }

  private sayBatch(info: BatchInfo, position: Position, crc: number, valid: boolean): void {
    const { attributes } = info;
    const fields = {
      baseOffset: info.baseOffset,
      lastOffset: info.lastOffset,
      count: info.recordCount,
      baseSequence: info.baseSequence,
      lastSequence: info.lastSequence,
      producerId: info.producerId,
      producerEpoch: info.producerEpoch,
      partitionLeaderEpoch: info.leaderEpoch,
      isTransactional: isTransactional(attributes),
      isControl: isControl(attributes),
      deleteHorizonMs: hasDeleteHorizon(attributes) ? info.baseTimestamp : null,
      position,
      [timestampName(attributes)]: info.maxTimestamp,
      size: info.sizeInBytes,
      magic: 2,
      compresscodec: codecName(codecOf(attributes)) ?? String(codecOf(attributes)),
      crc,
      isvalid: valid,
    };
    const horizon = optional(fields.deleteHorizonMs ?? -1);
    const line = Object.entries(fields).map(
      ([name, value]) => `${name}: ${name === "deleteHorizonMs" ? horizon : value}`,
    );
    this.say(fields, line.join(" "));
  }

  private sayRecord(info: BatchInfo, record: RecordView, decoder: DumpDecoder): void {
    const { key, value, offset, timestamp } = record;
    const { skipRecordMetadata, printData } = this.options;
    const sequence = info.baseSequence < 0 ? -1 : addToSequence(info.baseSequence, record.offsetDelta);
    const headerKeys = record.headers.map((header) => header.key);
    const control = isControl(info.attributes);
    let line = "";
    let fields: Fields = {};
    if (!skipRecordMetadata) {
      const type = timestampName(info.attributes);
      const [keySize, valueSize] = [key?.length ?? -1, value?.length ?? -1];
      fields = { offset, [type]: timestamp, keySize, valueSize, sequence, headerKeys };
      line = `| offset: ${offset} ${type}: ${timestamp} keySize: ${keySize} valueSize: ${valueSize} sequence: ${sequence} headerKeys: [${headerKeys.join(",")}]`;
      if (control) {
        const marker = controlText(info, key);
        fields = { ...fields, control: marker };
        line += ` ${marker}`;
      }
    }
    if (printData && !control) {
      const decoded = decodeRecord(record, decoder);
      fields = { ...fields, ...decoded };
      let prefix = skipRecordMetadata ? "| " : " ";
      for (const name of ["key", "payload"] as const) {
        if (decoded[name] === undefined) continue;
        line += `${prefix}${name}: ${decoded[name]}`;
        prefix = " ";
      }
    }
    this.say(fields, line);
  }

  // — indexes

  /** The log an index belongs to; undefined (and told) when it is gone. */
  private logOf(path: string): DiskFile | undefined {
    const log = path.replace(/\.(time)?index$/, ".log");
    if (this.environment.disk.exists(log)) return this.environment.disk.open(log, "read");
    this.problem(path, `its log ${nameOf(log)} is missing`);
    return undefined;
  }

  private async dumpIndex(path: string): Promise<void> {
    const entries = this.environment.disk.readFile(path)!;
    const base = baseOffsetOfFile(path);
    const count = Math.floor(entries.length / OFFSET_ENTRY);
    if (count === 0) return this.say({ file: path, empty: true }, `${path} is empty.`);
    const offsetAt = (slot: number): Offset => base + readInt32(entries, slot * OFFSET_ENTRY);
    if (entries.length % OFFSET_ENTRY !== 0 || offsetAt(count - 1) < base) {
      return this.problem(path, "would not pass the sanity check");
    }
    if (this.options.indexSanityOnly) {
      return this.say({ file: path, sane: true }, `${path} passed sanity check.`);
    }
    const log = this.logOf(path);
    if (log === undefined) return;
    const header = new Uint8Array(HEADER_SIZE);
    const mismatches: Array<readonly [Offset, Offset]> = [];
    try {
      let previous = base - 1;
      for (let slot = 0; slot < count; slot += 1) {
        const offset = offsetAt(slot);
        // Kafka's preallocated files end in zeros.
        if (offset === base && slot > 0) break;
        const position = readInt32(entries, slot * OFFSET_ENTRY + 4);
        const there = await log.read(header, position);
        const found = there < HEADER_SIZE || magicOf(header, 0) !== 2 ? -1 : lastOffsetOf(header, 0);
        if (found !== offset) mismatches.push([offset, found]);
        if (offset <= previous) this.problem(path, `entry ${slot} (offset ${offset}) is not behind ${previous}`);
        previous = offset;
        if (!this.options.verifyIndexOnly) this.say({ offset, position }, `offset: ${offset} position: ${position}`);
      }
    } finally {
      log.close();
    }
    if (mismatches.length === 0) return;
    if (!this.options.json) this.environment.err(`Mismatches in :${path}`);
    for (const [offset, found] of mismatches.reverse()) {
      const what = `Index offset: ${offset}, log offset: ${found}`;
      this.problem(path, what, `  ${what}`);
    }
  }

  private async dumpTimeIndex(path: string): Promise<void> {
    const entries = this.environment.disk.readFile(path)!;
    const base = baseOffsetOfFile(path);
    const count = Math.floor(entries.length / TIME_ENTRY);
    const sane =
      entries.length % TIME_ENTRY === 0 &&
      (count === 0 ||
        (readInt64(entries, (count - 1) * TIME_ENTRY) >= readInt64(entries, 0) &&
          readInt32(entries, (count - 1) * TIME_ENTRY + 8) >= 0));
    if (!sane) return this.problem(path, "would not pass the sanity check");
    if (this.options.indexSanityOnly) return this.say({ file: path, sane: true }, `${path} passed sanity check.`);
    const log = this.logOf(path);
    if (log === undefined) return;
    try {
      let previous: Timestamp = -1;
      let from: Position = 0;
      for (let slot = 0; slot < count; slot += 1) {
        const timestamp = readInt64(entries, slot * TIME_ENTRY);
        const offset = base + readInt32(entries, slot * TIME_ENTRY + 8);
        if (offset === base && slot > 0) break;
        const found = await this.batchOf(log, from, offset);
        if (found?.lastOffset !== offset) {
          const what = `Indexed offset: ${offset}, found log offset: ${found?.lastOffset ?? -1}`;
          this.problem(path, what, `The following indexed offsets are not found in :${path}\n${what}`);
        } else if (found.timestamp !== timestamp) {
          const what = `Index timestamp: ${timestamp}, log timestamp: ${found.timestamp}`;
          this.problem(path, what, `Found timestamp mismatch in :${path}\n  ${what}`);
        }
        if (previous >= timestamp) {
          const what = `Index timestamp: ${timestamp}, Previously indexed timestamp: ${previous}`;
          this.problem(path, what, `Found out of order timestamp in :${path}\n  ${what}`);
        }
        if (!this.options.verifyIndexOnly) {
          this.say({ timestamp, offset }, `timestamp: ${timestamp} offset: ${offset}`);
        }
        previous = timestamp;
        if (found !== undefined) from = found.position;
      }
    } finally {
      log.close();
    }
  }

  /** The first batch from `from` on that ends at or behind `offset`, and the largest timestamp of its records. */
  private async batchOf(log: DiskFile, from: Position, offset: Offset) {
    let found: { position: Position; lastOffset: Offset; timestamp: Timestamp } | undefined;
    await scanBatches(log, from, log.size(), (bytes, at, _, position) => {
      if (lastOffsetOf(bytes, at) < offset) return true;
      let timestamp: Timestamp = -1;
      for (const record of records(bytes, at, this.environment.codecs))
        timestamp = Math.max(timestamp, record.timestamp);
      found = { position, lastOffset: lastOffsetOf(bytes, at), timestamp };
      return false;
    });
    return found;
  }

  private dumpTransactionIndex(path: string): void {
    const bytes = this.environment.disk.readFile(path)!;
    const inOrder = abortedInOrder(baseOffsetOfFile(path));
    let sane = bytes.length % TRANSACTION_ENTRY_SIZE === 0;
    for (let at = 0; at + TRANSACTION_ENTRY_SIZE <= bytes.length; at += TRANSACTION_ENTRY_SIZE) {
      sane = inOrder(bytes, at) && sane;
      const { producerId, firstOffset, lastOffset, lastStableOffset } = readAborted(bytes, at);
      const fields = { version: 0, producerId, firstOffset, lastOffset, lastStableOffset };
      this.say(fields, spaced(fields));
    }
    if (!sane) this.problem(path, "its entries are cut, out of order or of another version");
  }

  private dumpSnapshot(path: string): void {
    const snapshot = decodeSnapshot(this.environment.disk.readFile(path)!);
    if (snapshot === undefined)
      return this.problem(path, "the snapshot is cut, of another version, or its CRC is wrong");
    for (const entry of snapshot.producers) {
      const last = entry.batches.at(-1);
      const fields = {
        producerId: entry.producerId,
        producerEpoch: entry.epoch,
        coordinatorEpoch: entry.coordinatorEpoch,
        currentTxnFirstOffset: optional(entry.transactionFirstOffset),
        lastTimestamp: entry.lastTimestamp,
        ...(last === undefined
          ? {}
          : {
              firstSequence: last.firstSequence,
              lastSequence: last.lastSequence,
              lastOffset: last.lastOffset,
              offsetDelta: last.lastOffset - last.firstOffset,
              timestamp: last.timestamp,
            }),
      };
      const { transactionFirstOffset } = entry;
      const open = transactionFirstOffset < 0 ? null : transactionFirstOffset;
      this.say({ ...fields, currentTxnFirstOffset: open }, spaced(fields));
    }
  }
}

const spaced = (fields: Fields): string =>
  Object.entries(fields)
    .map(([name, value]) => `${name}: ${value}`)
    .join(" ");

const timestampName = (attributes: number): string =>
  timestampTypeOf(attributes) === 1 ? "LogAppendTime" : "CreateTime";

/** A control record in Kafka's words: a transaction's end, or one of KRaft's by its type. */
const controlText = (info: BatchInfo, key: Uint8Array | null): string => {
  const { control } = info;
  if (control !== undefined && control.type !== "other") {
    return `endTxnMarker: ${control.type.toUpperCase()} coordinatorEpoch: ${control.coordinatorEpoch}`;
  }
  const kinds = [
    "ABORT",
    "COMMIT",
    "LEADER_CHANGE",
    "SNAPSHOT_HEADER",
    "SNAPSHOT_FOOTER",
    "KRAFT_VERSION",
    "KRAFT_VOTERS",
  ];
  const type = key === null || key.length < 4 ? -1 : readInt16(key, 2);
  return `controlType: ${kinds[type] ?? "UNKNOWN"}(${type})`;
};

// — keys and values

const decoderOf = (path: string): DumpDecoder => {
  if (/(^|\/)__consumer_offsets-\d+\//.test(path)) return "offsets";
  if (/(^|\/)__transaction_state-\d+\//.test(path)) return "transactions";
  return /(^|\/)__cluster_metadata-0\//.test(path) ? "metadata" : "text";
};

const decodeRecord = ({ key, value, offset }: RecordView, decoder: DumpDecoder): DecodedText => {
  try {
    if (decoder === "offsets" || decoder === "transactions") {
      if (key === null) {
        throw new Error(
          `Failed to decode message at offset ${offset} using the specified decoder (message had a missing key)`,
        );
      }
      return coordinatorRecordText(key, value, offset, decoder);
    }
    if (decoder === "metadata" && value !== null) return { payload: metadataText(value) };
  } catch (error) {
    const what = `Error at offset ${offset}, skipping. ${error instanceof Error ? error.message : String(error)}`;
    return decoder === "metadata" ? { payload: what } : { key: what };
  }
  return {
    ...(key === null ? {} : { key: text(key) }),
    ...(value === null ? {} : { payload: text(value) }),
  };
};

/** Kafka's names of the metadata records that are kept here without being understood, by their API key. */
const OTHER_METADATA_RECORDS: Readonly<Record<number, string>> = {
  7: "FENCE_BROKER_RECORD",
  8: "UNFENCE_BROKER_RECORD",
  10: "DELEGATION_TOKEN_RECORD",
  11: "USER_SCRAM_CREDENTIAL_RECORD",
  14: "CLIENT_QUOTA_RECORD",
  18: "ACCESS_CONTROL_ENTRY_RECORD",
  19: "REMOVE_ACCESS_CONTROL_ENTRY_RECORD",
  21: "ZK_MIGRATION_STATE_RECORD",
  22: "REMOVE_USER_SCRAM_CREDENTIAL_RECORD",
  26: "REMOVE_DELEGATION_TOKEN_RECORD",
  27: "REGISTER_CONTROLLER_RECORD",
  28: "CLEAR_ELR_RECORD",
};

/** `TopicRecord` → `TOPIC_RECORD`, as Kafka names the types. */
const metadataText = (value: Uint8Array): string => {
  const record = decodeMetadataRecord(value);
  const reader = new ByteReader(value);
  reader.uvarint();
  reader.uvarint();
  const version = reader.uvarint();
  const known = record.type.replace(/([a-z])([A-Z])/g, "$1_$2").toUpperCase();
  const type = record.type === "OtherRecord" ? (OTHER_METADATA_RECORDS[record.message.apiKey] ?? known) : known;
  return jsonText({ type, version, data: record.message });
};
