/**
 * `odradek produce`: the standard input becomes records. What must stay true: they are written in the order they came,
 * partition by partition; memory stays bounded whatever the input's size; the exit code is 0 only when everything was
 * acknowledged, and with a transaction either all of it is committed or none of it.
 */
import type { ConsumedRecord, InputRecord } from "../src/cli/ConsumedRecord.ts";
import { InputError } from "../src/cli/InputBuffer.ts";
import type { ProduceArguments } from "../src/cli/ProduceArguments.ts";
import type { RecordDoor, RecordSink, Sent } from "../src/cli/RecordDoor.ts";
import { StickyPartitions } from "../src/client/Partitioner.ts";
import { OutputClosed, type Terminal } from "../src/platform/Terminal.ts";
import { partitionForKey } from "../src/record/Murmur2.ts";
import { TIMESTAMP_TYPE_BIT, TRANSACTIONAL_BIT } from "../src/record/RecordBatch.ts";
import { withDoor } from "./Doors.ts";
import { type Outgoing, ProduceBatches, type SentBatch, sizeOf } from "./ProduceBatches.ts";
import { Progress } from "./Progress.ts";
import { RecordPrinter } from "./RecordPrinter.ts";
import type { ExitCode, Tool } from "./Tool.ts";
import type { ClientPlatform } from "./testing/KafkaConnection.ts";

export const runProduceTool: Tool<ProduceArguments> = (args, platform, terminal) =>
  withDoor(platform, args, (door) => new ProduceTool(args, door, platform, terminal).run());

const asError = (error: unknown): Error => (error instanceof Error ? error : new Error(String(error)));

class ProduceTool {
  private readonly sink: RecordSink;
  private readonly batches: ProduceBatches;
  private readonly sticky: StickyPartitions;
  private readonly progress: Progress;
  private printer: RecordPrinter | undefined;
  /** Partitions of each topic. */
  private readonly topics = new Map<string, number>();
  /** One write after the other. */
  private printing: Promise<void> = Promise.resolve();
  private failed = 0;
  private unknown = 0;
  /** Reading is to stop: for a Ctrl-C, or for what went wrong. */
  private isStopped = false;
  private failure: Error | undefined;
  /** Ends the waiting for input. */
  private wake = (): void => {};

  constructor(
    private readonly args: ProduceArguments,
    private readonly door: RecordDoor,
    private readonly platform: ClientPlatform,
    private readonly terminal: Terminal,
  ) {
    const { acks, codec, deliveryTimeoutMs, transaction, batchBytes, output } = args;
    const { clock, random } = platform;
    this.sink = door.write({ acks, codec, deliveryTimeoutMs, transaction });
    this.batches = new ProduceBatches(this.sink, clock, {
      batchBytes,
      keepRecords: output !== undefined,
      onSent: (batch, sent) => this.sent(batch, sent),
    });
    this.sticky = new StickyPartitions(random, batchBytes);
    this.progress = new Progress(terminal, () => clock.monotonic(), terminal.isTyped);
    this.printer = output === undefined ? undefined : new RecordPrinter(terminal, output);
  }

  async run(): Promise<ExitCode> {
    const { terminal, args } = this;
    const onInterrupt = (): void => this.stop(undefined);
    if (terminal.interrupted.aborted) onInterrupt();
    terminal.interrupted.addEventListener("abort", onInterrupt);
    await this.sink.begin();
    await this.readAll().catch((error: unknown) => this.stop(asError(error)));
    return args.transaction === undefined ? this.end() : this.endTransaction();
  }

  private stop(why: Error | undefined): void {
    this.isStopped = true;
    this.failure ??= why;
    this.wake();
  }

  /** Reads until the input ends or something is wrong. */
  private async readAll(): Promise<void> {
    const { reader } = this.args.input;
    while (!this.isStopped) {
      const chunk = await this.nextChunk();
      if (this.isStopped) return;
      if (chunk === undefined) reader.end();
      else reader.push(chunk);
      for (let record = reader.next(); record !== undefined; record = reader.next()) {
        await this.batches.add(await this.outgoing(record));
        if (this.isStopped) return;
      }
      if (chunk === undefined) return;
    }
  }

  /** Undefined at the input's end, and when nothing more is wanted. */
  private nextChunk(): Promise<Uint8Array | undefined> {
    return new Promise((resolve, reject) => {
      this.wake = () => resolve(undefined);
      this.terminal.read().then(resolve, reject);
    });
  }

  private async outgoing(record: InputRecord): Promise<Outgoing> {
    const { defaults, input } = this.args;
    const isJson = input.kind === "json";
    // Of an envelope, what it says of its record is where that came from: what was asked for here goes first.
    const topic = isJson ? (defaults.topic ?? record.topic) : (record.topic ?? defaults.topic);
    if (topic === undefined) throw new InputError("a record without a topic: name one");
    const key = this.nullable(record.key === undefined ? (defaults.key ?? null) : record.key);
    const value = this.nullable(record.value);
    const timestamp =
      (isJson ? (defaults.timestamp ?? record.timestamp) : (record.timestamp ?? defaults.timestamp)) ??
      this.platform.clock.wall();
    const headers = defaults.headers.length === 0 ? record.headers : [...defaults.headers, ...record.headers];
    const chosen = isJson ? (defaults.partition ?? record.partition) : (record.partition ?? defaults.partition);
    const count = this.topics.get(topic) ?? (await this.learn(topic));
    const partition =
      chosen !== undefined && chosen >= 0
        ? chosen
        : key !== null
          ? partitionForKey(key, count)
          : this.sticky.next(topic, count, sizeOf({ key, value, headers }));
    if (partition >= count)
      throw new InputError(
        `${topic} has no partition ${partition}, only 0 to ${count - 1} (--partition -1 goes by key)`,
      );
    return { topic, partition, timestamp, key, value, headers };
  }

  private nullable(bytes: Uint8Array | null): Uint8Array | null {
    return this.args.defaults.emptyIsNull && bytes?.length === 0 ? null : bytes;
  }

  private async learn(topic: string): Promise<number> {
    const count = await this.door.partitionsOf(topic);
    this.topics.set(topic, count);
    return count;
  }

  private sent(batch: SentBatch, sent: Sent): Promise<void> {
    if (sent.type === "ok") {
      this.progress.add(batch.count);
      return this.print(batch.records, sent);
    }
    if (sent.type === "fail") this.failed += batch.count;
    else this.unknown += batch.count;
    this.stop(new Error(`${batch.topic} [${batch.partition}]: ${sent.error}`));
    return Promise.resolve();
  }

  private print(records: ReadonlyArray<Outgoing>, sent: Extract<Sent, { readonly type: "ok" }>): Promise<void> {
    const { printer } = this;
    if (printer === undefined) return Promise.resolve();
    this.printing = this.printing.then(async () => {
      for (const [index, record] of records.entries()) printer.add(this.written(record, index, sent), undefined);
      await printer.flush();
    });
    return this.printing.catch((error: unknown) => {
      this.printing = Promise.resolve();
      // Nobody reads what was written: the writing itself goes on.
      if (error instanceof OutputClosed) this.printer = undefined;
      else this.stop(asError(error));
    });
  }

  private written(
    record: Outgoing,
    index: number,
    { offsetOf, timestampOf }: Extract<Sent, { readonly type: "ok" }>,
  ): ConsumedRecord {
    const { codec, transaction } = this.args;
    const timestamp = timestampOf(index);
    const appended = timestamp >= 0;
    return {
      ...record,
      offset: offsetOf(index),
      timestamp: appended ? timestamp : record.timestamp,
      leaderEpoch: -1,
      producerId: this.sink.producerId,
      producerEpoch: this.sink.producerEpoch,
      attributes: codec | (appended ? TIMESTAMP_TYPE_BIT : 0) | (transaction === undefined ? 0 : TRANSACTIONAL_BIT),
      broker: -1,
    };
  }

  private async end(): Promise<ExitCode> {
    await this.batches.flush();
    if (this.failure !== undefined)
      throw new Error(`${this.failure.message} (${this.counts()})`, { cause: this.failure });
    this.detail(this.counts());
    return 0;
  }

  private async endTransaction(): Promise<ExitCode> {
    if (!this.isStopped) await this.batches.flush();
    if (!this.isStopped) {
      const refused = await this.sink.commit();
      if (refused === undefined) {
        this.detail(`committed: ${this.counts()}`);
        return 0;
      }
      this.failure = new Error(`the transaction was not committed: ${refused}`);
    }
    const refused = await this.sink.abort();
    const ending = refused === undefined ? "the transaction is aborted" : `it could not be aborted: ${refused}`;
    throw new Error(`${this.failure?.message ?? "interrupted"} (${ending})`, { cause: this.failure });
  }

  private counts(): string {
    const refused = this.failed === 0 ? "" : `, ${this.failed} refused`;
    const unknown = this.unknown === 0 ? "" : `, ${this.unknown} perhaps written`;
    return `${this.progress.count} records written${refused}${unknown}`;
  }

  private detail(line: string): void {
    if (this.args.notes === "verbose") this.terminal.note(line);
  }
}
