/**
 * A gateway in memory, as small as the protocol allows: one topic `t`, streams with credit, idempotent produce. It moves
 * one piece at a time when the test says so, so that every order of events and every place for a cut can be tried. What
 * must stay true: it never sends beyond credit, and refuses a sequence that is not the next one.
 */
import type {
  ClientFrame,
  Credit,
  DeliveredBatch,
  DeliveredRecord,
  From,
  OkFrame,
  Position,
} from "../../../src/gateway/Messages.ts";
import { makeBunCodecs } from "../../../src/platform/BunCodecs.ts";
import type { CodecId } from "../../../src/record/Compression.ts";
import { recordCountOf } from "../../../src/record/RecordBatch.ts";
import { buildBatch } from "../../../src/record/RecordBatchBuilder.ts";
import { type Produce, producedIn } from "./Batches.ts";
import { FakeNetwork, HELLO, type ServerLink } from "./FakeNetwork.ts";

export const MODEL_TOPIC_ID = "AAAAAAAAAAAAAAAAAAAAAQ";

const codecs = makeBunCodecs();
const CODECS: readonly CodecId[] = [0, 0, 1, 2, 3, 4];

interface LogRecord {
  readonly offset: number;
  readonly value: string;
}

interface ProducerState {
  epoch: number;
  next: number;
  /** The last five batches. */
  recent: Array<{ readonly sequence: number; readonly offset: number }>;
}

class Log {
  readonly records: LogRecord[] = [];
  /** Where the next record goes; there are holes between records. */
  end = 0;
  start = 0;
  readonly producers = new Map<number, ProducerState>();
}

interface ModelStream {
  readonly raw: boolean;
  credit: { records: number; bytes: number };
  readonly places: Map<number, { offset: number; told: boolean; stopped: boolean }>;
  starved: boolean;
}

const cost = (value: string): number => 16 + value.length;

export class ModelGateway {
  readonly network: FakeNetwork;
  readonly logs: Log[];
  /** What a produce is answered with instead, each once: before or after it is appended. */
  trouble: (
    frame: Produce,
  ) =>
    | { readonly code: number; readonly name: string; readonly retriable: boolean; readonly append: boolean }
    | undefined = () => undefined;
  /** Credit that was granted and is not spent, of every open stream: looked at whenever some is granted. */
  onCredit: (unspent: Credit) => void = () => {};
  private readonly streams = new Map<ServerLink, Map<number, ModelStream>>();
  private nextProducerId = 100;

  constructor(
    seed: number,
    readonly partitions: number,
  ) {
    this.network = new FakeNetwork({ seed, manual: true });
    this.logs = Array.from({ length: partitions }, () => new Log());
    this.network.onAccept = (link) => {
      this.streams.set(link, new Map());
      link.onFrame = (frame) => this.receive(frame, link);
      link.onClose = () => void this.streams.delete(link);
    };
  }

  private random(bound: number): number {
    return this.network.random(bound);
  }

  /** Appends a record; sometimes offsets are left out before it, as transaction markers do. */
  append(partition: number, value: string): number {
    const log = this.logs[partition]!;
    if (this.random(5) === 0) log.end += 1 + this.random(3);
    const offset = log.end++;
    log.records.push({ offset, value });
    return offset;
  }

  /** Sends one batch of one stream, if credit and records allow; answers whether anything was sent. */
  push(): boolean {
    const streams = [...this.streams].flatMap(([link, open]) =>
      [...open].map(([id, stream]) => ({ link, id, stream })),
    );
    const picked = streams[this.random(Math.max(1, streams.length))];
    if (picked === undefined) return false;
    const { link, id, stream } = picked;
    const places = [...stream.places];
    const [partition, place] = places[this.random(Math.max(1, places.length))] ?? [];
    if (partition === undefined || place === undefined || place.stopped) return false;
    const log = this.logs[partition]!;
    if (place.offset < log.start || place.offset > log.end) return this.outOfRange(link, id, partition, place);
    const wanted = 1 + this.random(4);
    const records = log.records.filter(({ offset }) => offset >= place.offset).slice(0, wanted);
    const behind = records.length === 0 ? log.end : records.at(-1)!.offset + 1;
    if (records.length === 0 && place.told && behind === place.offset) return false;
    const batch = stream.raw ? this.rawOf(log, records) : recordsOf(records);
    if (batch.cost.records > stream.credit.records || batch.cost.bytes > stream.credit.bytes) {
      if (stream.starved) return false;
      stream.starved = true;
      link.send({ t: "starved", stream: id, ...batch.cost });
      return true;
    }
    stream.credit.records -= batch.cost.records;
    stream.credit.bytes -= batch.cost.bytes;
    place.offset = behind;
    place.told = true;
    const ends = { highWatermark: log.end, lastStableOffset: log.end, logStartOffset: log.start };
    const delivered: DeliveredBatch = { topic: "t", partition, next: [behind, 0], ...ends, ...batch.content };
    link.send({ t: "records", stream: id, batches: [delivered] });
    return true;
  }

  private outOfRange(
    link: ServerLink,
    id: number,
    partition: number,
    place: { offset: number; stopped: boolean },
  ): boolean {
    place.stopped = true;
    const { start, end } = this.logs[partition]!;
    link.send({
      ...{ t: "outOfRange", stream: id, topic: "t", partition, offset: place.offset },
      ...{ logStartOffset: start, highWatermark: end },
      error: { code: 1, name: "OFFSET_OUT_OF_RANGE", message: "", retriable: false },
    });
    return true;
  }

  /** One batch, sometimes with records before the place, compressed at will. */
  private rawOf(log: Log, records: ReadonlyArray<LogRecord>): { content: Partial<DeliveredBatch>; cost: Credit } {
    if (records.length === 0) return { content: { raw: new Uint8Array(0) }, cost: { records: 0, bytes: 0 } };
    const earlier = log.records.filter(({ offset }) => offset < records[0]!.offset);
    const all = [...earlier.slice(earlier.length - this.random(3)), ...records];
    const base = all[0]!.offset;
    const raw = buildBatch(
      all.map(({ offset, value }) => ({ value: Buffer.from(value), offsetDelta: offset - base, timestamp: 1000 })),
      { codec: CODECS[this.random(CODECS.length)]!, codecs, baseOffset: base, leaderEpoch: 0 },
    );
    return { content: { raw }, cost: { records: recordCountOf(raw, 0), bytes: raw.length } };
  }

  private receive(frame: ClientFrame, link: ServerLink): void {
    const streams = this.streams.get(link);
    switch (frame.t) {
      case "hello":
        return link.ok(frame, HELLO);
      case "open": {
        if (!("partitions" in frame)) throw new Error("no groups here");
        const { credit, raw = false } = frame;
        const stream: ModelStream = { raw, credit: { ...credit }, places: new Map(), starved: false };
        streams?.set(frame.stream, stream);
        this.onCredit(stream.credit);
        return link.ok(frame, this.place(stream, frame.partitions));
      }
      case "seek":
        return link.ok(frame, this.place(streams!.get(frame.stream)!, frame.partitions));
      case "credit": {
        const stream = streams!.get(frame.stream);
        if (stream === undefined) return;
        stream.credit.records += frame.records;
        stream.credit.bytes += frame.bytes;
        stream.starved = false;
        return this.onCredit(stream.credit);
      }
      case "close":
        streams?.delete(frame.stream);
        return link.ok(frame);
      case "initProducer":
        return link.ok(frame, { producer: { id: this.nextProducerId++, epoch: 0 } });
      case "produce":
        return this.produce(frame, link);
      case "ping":
        return link.send({ t: "pong", n: frame.n });
    }
  }

  private place(
    stream: ModelStream,
    partitions: ReadonlyArray<{ readonly topic: string; readonly partition: number; readonly from: From }>,
  ): Pick<OkFrame<"seek">, "partitions"> {
    return {
      partitions: partitions.map(({ topic, partition, from }) => {
        const log = this.logs[partition]!;
        const offset =
          from === "earliest" ? log.start : from === "latest" ? log.end : "offset" in from ? from.offset : 0;
        stream.places.set(partition, { offset, told: false, stopped: false });
        const position: Position = { offset, leaderEpoch: 0, topicId: MODEL_TOPIC_ID };
        return { topic, partition, position };
      }),
    };
  }

  private produce(frame: Produce, link: ServerLink): void {
    const trouble = this.trouble(frame);
    if (trouble !== undefined && !trouble.append)
      return link.refuse(frame, trouble.code, trouble.name, trouble.retriable);
    const { partition, producerId, producerEpoch, sequence, values } = producedIn(frame);
    const log = this.logs[partition]!;
    const known = log.producers.get(producerId);
    const state: ProducerState =
      known?.epoch === producerEpoch
        ? known
        : { epoch: producerEpoch, next: known === undefined ? sequence : 0, recent: [] };
    const duplicate = state.recent.find((batch) => batch.sequence === sequence);
    if (duplicate !== undefined)
      return link.ok(frame, { offset: duplicate.offset, timestamp: -1, logStartOffset: log.start });
    if (sequence !== state.next || (known === undefined && sequence !== 0))
      return link.refuse(frame, 45, "OUT_OF_ORDER_SEQUENCE_NUMBER");
    const offset = log.end;
    for (const value of values) {
      log.records.push({ offset: log.end, value });
      log.end += 1;
    }
    state.next = sequence + values.length;
    state.recent = [...state.recent, { sequence, offset }].slice(-5);
    log.producers.set(producerId, state);
    if (trouble !== undefined) link.refuse(frame, trouble.code, trouble.name, trouble.retriable);
    else link.ok(frame, { offset, timestamp: -1, logStartOffset: log.start });
  }
}

const recordsOf = (records: ReadonlyArray<LogRecord>): { content: Partial<DeliveredBatch>; cost: Credit } => ({
  content: {
    records: records.map(({ offset, value }): DeliveredRecord => [offset, 1000, null, Buffer.from(value)]),
  },
  cost: { records: records.length, bytes: records.reduce((sum, { value }) => sum + cost(value), 0) },
});
