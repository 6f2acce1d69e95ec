/**
 * What the clients of a run share, wherever it is played (one simulated process or a real machine): the plan, the
 * history, the books of what was promised, and what they found wrong. What must stay true: nothing here knows whether
 * time is virtual; whoever needs a choice of its own forks the stage's random by a name of its own.
 */
import type { ClientPlatform as StreamPlatform } from "../../src/client/ClientPlatform.ts";
import type { Endpoint } from "../../src/platform/Network.ts";
import type { TopicPartition } from "../../src/prelude/Types.ts";
import type { NewRecord } from "../../src/record/RecordBatchBuilder.ts";
import type { SeededRandom } from "../simulation/SeededRandom.ts";
import { GroupBook } from "./GroupBook.ts";
import type { HistoryRecorder, Value } from "./History.ts";
import { type ClientOptions, KafkaClient } from "./KafkaClient.ts";
import type { ClientPlatform } from "./KafkaConnection.ts";
import { KeyedBook } from "./KeyedBook.ts";
import type { LastBatch } from "./OldData.ts";
import type { Plan } from "./Scenario.ts";
import { TransactionBook } from "./TransactionBook.ts";

/** Where a client runs: its ports. */
export interface Machine {
  readonly name: string;
  readonly platform: ClientPlatform;
  /** The same for a client of the stream protocol. */
  readonly stream: () => StreamPlatform;
}

/** What a stage needs of the world it stands in. */
export interface StageWorld {
  /** Milliseconds since the run began. */
  now(): number;
  /** A line of the trace. */
  note(line: string): void;
  /** Something is wrong whatever the history says. */
  violation(line: string): void;
}

export class Stage {
  /** Key of a value that was sent. */
  readonly keyOf = new Map<Value, number>();
  /** Transactional id of every producer id that was handed out; null: an idempotent producer's. */
  readonly producerIds = new Map<number, string | null>();
  /** Topics of the admin clients by name: whether they must exist; undefined when nobody can tell. */
  readonly churned = new Map<string, boolean | undefined>();
  /** Of idempotent producers that were there before this run. */
  lastBatches: ReadonlyArray<LastBatch> = [];
  readonly groups: GroupBook;
  readonly transactions = new TransactionBook();
  readonly keyed: KeyedBook;
  /** Set when the clients that only read may end, and when the groups have nothing left to do. */
  producersDone = false;
  groupsDone = false;
  private nextValue = 1;
  private members = 0;
  private readonly membersOn = new Map<Machine, number[]>();
  /** What readers were shown, by key and offset: it may vanish, but never change. */
  private readonly shown = new Map<number, Map<number, Value>>();
  private readonly partitions: ReadonlyArray<TopicPartition>;

  constructor(
    readonly plan: Plan,
    readonly world: StageWorld,
    readonly recorder: HistoryRecorder,
    /** Only to be forked. */
    readonly random: SeededRandom,
    readonly bootstrap: ReadonlyArray<Endpoint>,
  ) {
    this.partitions = plan.topics.flatMap(({ name, partitions }) =>
      Array.from({ length: partitions }, (_, partition) => ({ topic: name, partition })),
    );
    this.groups = new GroupBook(() => world.now());
    this.keyed = new KeyedBook();
  }

  /** Keys of a topic: one per partition. */
  keysOf(topic: string): number[] {
    return this.partitions.flatMap((one, key) => (one.topic === topic ? [key] : []));
  }

  /** Every key. */
  get keys(): number[] {
    return this.partitions.map((_, key) => key);
  }

  placeOf(key: number): TopicPartition {
    const place = this.partitions[key];
    if (place === undefined) throw new Error(`no key ${key}`);
    return place;
  }

  keyAt({ topic, partition }: TopicPartition): number {
    return this.partitions.findIndex((one) => one.topic === topic && one.partition === partition);
  }

  violation(...lines: string[]): void {
    for (const line of lines) this.world.violation(line);
  }

  note(line: string): void {
    this.world.note(line);
  }

  client(machine: Machine, options: Partial<ClientOptions> = {}): KafkaClient {
    return new KafkaClient(machine.platform, {
      bootstrap: this.bootstrap,
      clientId: machine.name,
      requestTimeoutMs: 1000,
      connectTimeoutMs: 500,
      callTimeoutMs: 20_000,
      retryBackoffMs: 20,
      ...options,
    });
  }

  /** A number for a consumer that joins a group from there. */
  nextInstance(machine: Machine): number {
    const instance = this.members++;
    const known = this.membersOn.get(machine);
    if (known === undefined) this.membersOn.set(machine, [instance]);
    else known.push(instance);
    return instance;
  }

  machineDied(machine: Machine): void {
    for (const instance of this.membersOn.get(machine) ?? []) this.groups.died(instance);
  }

  freshValues(key: number, count: number): number[] {
    return Array.from({ length: count }, () => {
      const value = this.nextValue++;
      this.keyOf.set(value, key);
      return value;
    });
  }

  /** A value that was sent before this run: none that is sent now is the same. */
  knowValue(key: number, value: number): void {
    this.nextValue = Math.max(this.nextValue, value + 1);
    this.keyOf.set(value, key);
  }

  records(random: SeededRandom, values: ReadonlyArray<Value>): NewRecord[] {
    return values.map((value) => ({ value: valueBytes(value, random.below(this.plan.knobs.valueBytes)) }));
  }

  /** A reader was shown a value: the same place never holds another. */
  show(key: number, offset: number, value: Value, where: string): void {
    let places = this.shown.get(key);
    if (places === undefined) this.shown.set(key, (places = new Map()));
    const before = places.get(offset);
    if (before === undefined) places.set(offset, value);
    else if (before !== value) this.violation(`L5: ${where}: offset ${offset} was ${before} and is ${value}`);
  }
}

/** What stands behind a value's number: a space and as many of these as its size asks for. */
const PADDING = Buffer.from(` ${"x".repeat(64 * 1024)}`, "latin1");

export const valueBytes = (value: Value, padding: number): Uint8Array =>
  Buffer.concat([Buffer.from(String(value), "latin1"), PADDING.subarray(0, 1 + padding)]);

/** The value a record carries, or undefined when its bytes are nobody's. */
export const valueIn = (bytes: Uint8Array | null): number | undefined => {
  if (bytes === null) return undefined;
  let value = 0;
  let at = 0;
  for (; at < bytes.length; at++) {
    const digit = bytes[at]! - 0x30;
    if (digit < 0 || digit > 9) break;
    value = value * 10 + digit;
  }
  const rest = bytes.length - at;
  const isWhole = at > 0 && Buffer.compare(bytes.subarray(at), PADDING.subarray(0, rest)) === 0;
  return isWhole ? value : undefined;
};

export const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
