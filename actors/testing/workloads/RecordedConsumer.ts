/**
 * A consumer whose polls are operations of the history, each held against what was promised before: offsets ascend, stay
 * below the high watermark, hold what they held, and watermarks do not go back (correctness.md 4, L2, L5, L6, L11, H6).
 */
import { Errors } from "../../../src/protocol/Errors.ts";
import { RecordFormatError } from "../../../src/record/RecordFormatError.ts";
import type { Mop, Value } from "../History.ts";
import type { KafkaClient } from "../KafkaClient.ts";
import { ProtocolViolation } from "../KafkaConnection.ts";
import type { ConsumerOptions, ConsumerTrouble, KafkaConsumer, PolledPartition } from "../KafkaConsumer.ts";
import { KafkaError } from "../KafkaError.ts";
import { messageOf, type Stage, valueIn } from "../Stage.ts";

export interface Shown {
  readonly key: number;
  readonly offset: number;
  readonly value: Value;
}

export class RecordedConsumer {
  readonly consumer: KafkaConsumer;
  private readonly highWatermarks = new Map<number, number>();
  /** Keys that were rebalanced since the last poll began. */
  private rebalanced: number[] = [];

  constructor(
    private readonly stage: Stage,
    readonly client: KafkaClient,
    /** The process of the history. */
    readonly owner: number,
    options: ConsumerOptions = {},
  ) {
    const moved = (partitions: ReadonlyArray<{ topic: string; partition: number }>): void => {
      this.rebalanced.push(...partitions.map((one) => stage.keyAt(one)));
    };
    this.consumer = client.consumer({
      autoOffsetReset: "earliest",
      maxPartitionBytes: 4096,
      ...options,
      onTrouble: (trouble) => this.trouble(trouble),
      onAssigned: (partitions) => {
        moved(partitions);
        return options.onAssigned?.(partitions);
      },
      onRevoked: async (partitions) => {
        await options.onRevoked?.(partitions);
        moved(partitions);
      },
      onLost: (partitions) => {
        options.onLost?.(partitions);
        moved(partitions);
      },
    });
  }

  /** Keys it has not had are read from their beginning. */
  assign(keys: ReadonlyArray<number>): void {
    this.stage.recorder.invoke(this.owner, "assign", keys)("ok");
    this.consumer.assign(keys.map((key) => this.stage.placeOf(key)));
  }

  subscribe(topic: string): void {
    this.stage.recorder.invoke(this.owner, "subscribe", this.stage.keysOf(topic))("ok");
    this.consumer.subscribe([topic]);
  }

  /** One poll as one operation; undefined when nothing could be had. */
  async poll(maxWaitMs: number): Promise<ReadonlyArray<Shown> | undefined> {
    const end = this.stage.recorder.invoke(this.owner, "poll", [["poll"]]);
    const shown = await this.read(maxWaitMs);
    const rebalanceLog = this.takeRebalances();
    if (typeof shown === "string") end("info", [["poll"]], shown, rebalanceLog);
    else end("ok", [pollMop(shown)], undefined, rebalanceLog);
    return typeof shown === "string" ? undefined : shown;
  }

  /** One poll that is part of some other operation; a text says why there is none. */
  async read(maxWaitMs: number): Promise<ReadonlyArray<Shown> | string> {
    let polled: ReadonlyArray<PolledPartition>;
    try {
      polled = await this.consumer.poll(maxWaitMs);
    } catch (error) {
      if (error instanceof ProtocolViolation || error instanceof RecordFormatError)
        this.stage.violation(`protocol: client ${this.owner}: ${error.message}`);
      else if (!(error instanceof KafkaError)) throw error;
      return messageOf(error);
    }
    return polled.flatMap((partition) => this.judge(partition));
  }

  takeRebalances(): ReadonlyArray<{ readonly keys: ReadonlyArray<number> }> | undefined {
    if (this.rebalanced.length === 0) return undefined;
    const keys = this.rebalanced;
    this.rebalanced = [];
    return [{ keys }];
  }

  private trouble({ kind, position, errorCode, ...partition }: ConsumerTrouble): void {
    const { stage } = this;
    const key = stage.keyAt(partition);
    if (kind === "refused") return;
    const vanishing = stage.plan.topics.some(({ name, vanishing }) => name === partition.topic && vanishing);
    if (vanishing && kind === "out of range") return;
    stage.violation(`lost: client ${this.owner} at ${key}@${position} is ${kind} (${errorCode || Errors.NONE})`);
  }

  private judge(polled: PolledPartition): Shown[] {
    const { stage } = this;
    const { from, records, highWatermark, lastStableOffset, logStartOffset } = polled;
    const key = stage.keyAt(polled);
    const where = `client ${this.owner} at ${key}@${from}`;
    if (logStartOffset > lastStableOffset || lastStableOffset > highWatermark)
      stage.violation(
        `L6: ${where}: start ${logStartOffset}, stable ${lastStableOffset}, high watermark ${highWatermark}`,
      );
    const before = this.highWatermarks.get(key) ?? 0;
    if (highWatermark < before)
      stage.violation(`H6: ${where}: the high watermark was ${before} and is ${highWatermark}`);
    this.highWatermarks.set(key, Math.max(before, highWatermark));
    let last = from - 1;
    const shown: Shown[] = [];
    for (const record of records) {
      // A tombstone is known by its key.
      const value = record.value === null && record.key !== null ? textOf(record.key) : valueIn(record.value);
      if (value === undefined || (typeof value === "number" && stage.keyOf.get(value) !== key))
        stage.violation(`phantom: ${where}: nobody sent what is at ${record.offset} (${value})`);
      if (record.offset <= last) stage.violation(`L2: ${where}: offset ${record.offset} behind ${last}`);
      if (record.offset >= highWatermark)
        stage.violation(`L11: ${where}: offset ${record.offset}, high watermark ${highWatermark}`);
      last = record.offset;
      stage.show(key, record.offset, value ?? -1, where);
      shown.push({ key, offset: record.offset, value: value ?? -1 });
    }
    if (shown.length > 0)
      stage.note(`${where} reads ${shown.map(({ offset, value }) => `${offset}:${value}`).join(" ")}`);
    return shown;
  }
}

const textOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString("latin1");

/** What was read as a micro-operation. */
export const pollMop = (shown: ReadonlyArray<Shown>): Mop => {
  const pairs: Record<number, Array<readonly [number, Value]>> = {};
  for (const { key, offset, value } of shown) (pairs[key] ??= []).push([offset, value]);
  return ["poll", pairs];
};
