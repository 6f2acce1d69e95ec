/**
 * The batches of one producer on their way: in order per partition, at most five of each unanswered, idempotent over
 * reconnects. What must stay true: a batch keeps its bytes, producer id, epoch and sequences through every attempt; after
 * a failure a partition is drained before anything of it is sent again; a new identity is taken only when nothing is in
 * flight and nothing that may have been written is left; a record is said to have failed only when it was not written.
 */
import type { ProducerIdentity } from "../gateway/Messages.ts";
import { Errors } from "../protocol/Errors.ts";
import type { CodecId, Codecs } from "../record/Compression.ts";
import { addToSequence } from "../record/RecordBatch.ts";
import { buildBatch, type NewRecord } from "../record/RecordBatchBuilder.ts";
import { Backoff } from "./Backoff.ts";
import { ClientError, isKafkaError, KafkaError, OutcomeUnknownError, TimeoutError } from "./ClientError.ts";
import { type Answer, type Connection, RequestLost } from "./Connection.ts";
import type { Session, SessionMember } from "./Session.ts";
import { partitionKey } from "./StreamPartition.ts";

/** Where a record went. */
export interface RecordMetadata {
  readonly topic: string;
  readonly partition: number;
  /** -1: the server has it (or, with `acks: 0`, was sent it) and did not say where. */
  readonly offset: number;
  /** Milliseconds since 1970: the log's own time under `LogAppendTime`, else the record's. */
  readonly timestamp: number;
}

export interface SenderSettings {
  readonly acks: -1 | 0 | 1;
  readonly idempotent: boolean;
  readonly transactionalId?: string | undefined;
  readonly lingerMs: number;
  readonly batchBytes: number;
  readonly batchRecords: number;
  readonly deliveryTimeoutMs: number;
  readonly requestTimeoutMs: number;
  readonly codec: CodecId;
  /** For `codec`. */
  readonly codecs?: Codecs | undefined;
}

export interface SentRecord {
  readonly record: NewRecord & { readonly timestamp: number };
  /** What it takes in the buffer. */
  readonly bytes: number;
  resolve(metadata: RecordMetadata): void;
  reject(error: unknown): void;
}

interface Batch {
  readonly records: SentRecord[];
  /** About what it will be, headers included. */
  size: number;
  /** Bytes and first sequence, once it was built under an identity. */
  built: { readonly bytes: Uint8Array; readonly sequence: number } | undefined;
  /** Its place among the batches of its partition that were built. */
  order: number;
  /** An attempt was made whose outcome is not known. */
  maybeWritten: boolean;
  /** Its records were told already: it is only waited for. */
  settled: boolean;
  lastError: ClientError | undefined;
  cancelDeadline: () => void;
}

interface Queue {
  readonly topic: string;
  readonly partition: number;
  /** Takes records. */
  open: Batch | undefined;
  cancelLinger: (() => void) | undefined;
  /** To be sent, in order. */
  ready: Batch[];
  /** Sent and not answered, in order. */
  inFlight: Batch[];
  nextSequence: number;
  nextOrder: number;
  /** Something failed: nothing is sent until everything in flight is answered. */
  draining: boolean;
  /** Set while it waits before it tries again. */
  cancelRest: (() => void) | undefined;
  readonly backoff: Backoff;
}

/** Kafka's bound for idempotent producers: so many batches from the oldest that is not answered to the newest. */
const MAX_IN_FLIGHT = 5;
/** Fields of a record beside its bytes, and of a batch. */
const RECORD_OVERHEAD = 24;
const BATCH_OVERHEAD = 61;
/** What a frame needs beside its batch, at most. */
const FRAME_OVERHEAD = 1024;
const RETRY_BACKOFF = { initialMs: 50, maxMs: 1000 };

/** Refused before anything was written: the same may be sent again, whatever the producer. */
const NOT_WRITTEN: ReadonlySet<number> = new Set([
  Errors.LEADER_NOT_AVAILABLE,
  Errors.NOT_ENOUGH_REPLICAS,
  Errors.THROTTLING_QUOTA_EXCEEDED,
  Errors.CONCURRENT_TRANSACTIONS,
  Errors.COORDINATOR_LOAD_IN_PROGRESS,
  Errors.COORDINATOR_NOT_AVAILABLE,
  Errors.NOT_COORDINATOR,
  Errors.REPLICA_NOT_AVAILABLE,
  Errors.CORRUPT_MESSAGE,
]);
/** The identity, or the sequence under it, is not what the broker expects. */
const IDENTITY_LOST: ReadonlySet<number> = new Set([Errors.INVALID_PRODUCER_EPOCH, Errors.UNKNOWN_PRODUCER_ID]);
/** Kafka calls it retriable; here a topic is there as soon as it is made. */
const FINAL: ReadonlySet<number> = new Set([Errors.UNKNOWN_TOPIC_OR_PARTITION, Errors.UNKNOWN_TOPIC_ID]);

export class Sender implements SessionMember {
  identity: ProducerIdentity | undefined;
  /** Bytes of records that are not settled. */
  bufferedBytes = 0;
  /** Why nothing can be sent any more. */
  fatal: ClientError | undefined;
  /** Of a transactional sender: why the transaction can only be aborted. */
  doomed: ClientError | undefined;
  /** Whether anything was sent under the present identity. */
  used = false;
  private readonly queues = new Map<string, Queue>();
  private connection: Connection | undefined;
  /** Of the last connection. */
  private frameBytes = Number.POSITIVE_INFINITY;
  /** Sequences have a hole: a new identity is to be taken as soon as nothing of the old one is open. */
  private renewing = false;
  private identifying = false;
  private flushing = 0;
  private idlers: Array<() => void> = [];

  constructor(
    private readonly session: Session,
    private readonly settings: SenderSettings,
    /** Called when records were settled: there is room in the buffer. */
    private readonly onRoom: () => void,
  ) {
    session.attach(this);
  }

  /** The largest record that fits into a frame, in bytes of key, value and headers. */
  get maxRecordBytes(): number {
    return this.frameBytes - FRAME_OVERHEAD - BATCH_OVERHEAD - RECORD_OVERHEAD;
  }

  /** Why no record is taken. */
  get refusal(): ClientError | undefined {
    return this.fatal ?? this.doomed;
  }

  /** Takes a record; it is sent with others of its partition. */
  add(topic: string, partition: number, sent: SentRecord): void {
    const error = this.refusal;
    if (error !== undefined) {
      sent.reject(error);
      return;
    }
    this.bufferedBytes += sent.bytes;
    const queue = this.queueOf(topic, partition);
    const { batchBytes, batchRecords } = this.settings;
    const limit = Math.min(batchBytes, this.maxRecordBytes + BATCH_OVERHEAD + RECORD_OVERHEAD);
    const size = sent.bytes + RECORD_OVERHEAD;
    if (queue.open !== undefined && queue.open.size + size > limit) this.closeBatch(queue);
    const batch = (queue.open ??= this.newBatch(queue));
    batch.records.push(sent);
    batch.size += size;
    if (batch.size >= limit || batch.records.length >= batchRecords) {
      this.closeBatch(queue);
      this.pump(queue);
    }
  }

  /** Resolves when everything that was taken so far is settled, however. */
  async flush(): Promise<void> {
    this.flushing += 1;
    for (const queue of this.queues.values()) {
      this.closeBatch(queue);
      this.pump(queue);
    }
    while (this.bufferedBytes > 0 || this.unanswered()) {
      const idle = Promise.withResolvers<void>();
      this.idlers.push(idle.resolve);
      await idle.promise;
    }
    this.flushing -= 1;
  }

  /** A transaction begins, or the next one does: sequences begin at 0. */
  become(identity: ProducerIdentity | undefined): void {
    this.identity = identity;
    this.doomed = undefined;
    this.used = false;
    this.renewing = false;
    for (const queue of this.queues.values()) this.renumber(queue);
    this.pumpAll();
  }

  /** Rejects what was not sent yet, and waits only for what was: a transaction is going to be aborted. */
  doom(error: ClientError): void {
    this.doomed ??= error;
    for (const queue of this.queues.values()) {
      this.closeBatch(queue);
      for (const batch of queue.ready.splice(0)) this.settle(batch, this.doomed);
    }
    this.told();
  }

  /** Ends it: what is not answered is rejected. */
  end(error: ClientError): void {
    this.session.detach(this);
    this.onEnded(error);
  }

  // -------------------------------------------------------------------------------------------- what the session calls

  onConnected(connection: Connection): void {
    this.connection = connection;
    this.frameBytes = connection.hello!.limits.frameBytes;
    this.pumpAll();
  }

  onDisconnected(): void {
    this.connection = undefined;
  }

  onEnded(error: ClientError): void {
    this.fatal ??= error;
    this.connection = undefined;
    for (const queue of this.queues.values()) {
      this.closeBatch(queue);
      queue.cancelRest?.();
      for (const batch of queue.inFlight.splice(0)) this.settle(batch, unknown("the producer was closed", error));
      for (const batch of queue.ready.splice(0))
        this.settle(batch, batch.maybeWritten ? unknown("the producer was closed", error) : error);
    }
    this.told();
  }

  // ---------------------------------------------------------------------------------------------------------- batching

  private queueOf(topic: string, partition: number): Queue {
    const key = partitionKey(topic, partition);
    let queue = this.queues.get(key);
    if (queue === undefined) {
      queue = {
        topic,
        partition,
        open: undefined,
        cancelLinger: undefined,
        ready: [],
        inFlight: [],
        nextSequence: 0,
        nextOrder: 0,
        draining: false,
        cancelRest: undefined,
        backoff: new Backoff(this.session.platform.random, RETRY_BACKOFF),
      };
      this.queues.set(key, queue);
    }
    return queue;
  }

  private newBatch(queue: Queue): Batch {
    const batch: Batch = {
      records: [],
      size: BATCH_OVERHEAD,
      built: undefined,
      order: -1,
      maybeWritten: false,
      settled: false,
      lastError: undefined,
      cancelDeadline: () => {},
    };
    const { clock } = this.session.platform;
    batch.cancelDeadline = clock.after(this.settings.deliveryTimeoutMs, () => this.expire(queue, batch));
    const { lingerMs } = this.settings;
    const close = (): void => {
      if (queue.open === batch) this.closeBatch(queue);
      this.pump(queue);
    };
    // What is sent in one go becomes one batch even without a linger.
    if (this.flushing > 0 || lingerMs === 0) void Promise.resolve().then(() => this.pump(queue));
    else queue.cancelLinger = clock.after(lingerMs, close);
    return batch;
  }

  private closeBatch(queue: Queue): void {
    queue.cancelLinger?.();
    queue.cancelLinger = undefined;
    if (queue.open !== undefined) queue.ready.push(queue.open);
    queue.open = undefined;
  }

  // ----------------------------------------------------------------------------------------------------------- sending

  private pumpAll(): void {
    for (const queue of this.queues.values()) this.pump(queue);
  }

  /** Sends of a partition what may be sent now. */
  private pump(queue: Queue): void {
    const { connection } = this;
    if (connection?.isOpen !== true || !this.identified(queue)) return;
    while (queue.cancelRest === undefined) {
      if (queue.draining && queue.inFlight.length > 0) return;
      queue.draining = false;
      // The broker remembers five batches: the oldest that is not answered must be among them when it is sent again.
      const oldest = queue.inFlight.reduce((least, { order }) => Math.min(least, order), queue.nextOrder);
      const roomForNew = queue.nextOrder - oldest < MAX_IN_FLIGHT;
      // Without a linger a batch is closed when it can leave: what piles up behind others leaves together.
      if (roomForNew && queue.ready.length === 0 && queue.cancelLinger === undefined) this.closeBatch(queue);
      // Under a lost identity only that is sent again whose outcome has to be learnt.
      const at = this.renewing ? queue.ready.findIndex(({ maybeWritten }) => maybeWritten) : 0;
      const batch = queue.ready[at];
      if (batch === undefined || (batch.built === undefined && !roomForNew)) return;
      queue.ready.splice(at, 1);
      this.send(queue, batch, connection);
    }
  }

  /** Whether there is an identity to send with, if one is needed; asks for one. */
  private identified(queue: Queue): boolean {
    const { idempotent, transactionalId } = this.settings;
    if (!idempotent) return true;
    if (this.renewing) this.renewWhenQuiet();
    if (this.identity !== undefined) return true;
    if (transactionalId === undefined && (queue.open !== undefined || queue.ready.length > 0)) this.identify();
    return false;
  }

  private identify(): void {
    if (this.identifying) return;
    this.identifying = true;
    const options = { kind: "read", timeoutMs: this.settings.deliveryTimeoutMs } as const;
    this.session.ask("initProducer", {}, options).then(
      ({ producer }) => {
        this.identifying = false;
        this.become(producer);
      },
      (error: unknown) => {
        this.identifying = false;
        if (error instanceof KafkaError && !error.retriable) this.end(error);
        else if (this.fatal === undefined) this.pumpAll();
      },
    );
  }

  private send(queue: Queue, batch: Batch, connection: Connection): void {
    const { acks, requestTimeoutMs, transactionalId } = this.settings;
    const { bytes } = (batch.built ??= this.build(queue, batch));
    queue.inFlight.push(batch);
    this.used = true;
    const body = {
      topic: queue.topic,
      partition: queue.partition,
      batch: bytes,
      acks,
      timeoutMs: requestTimeoutMs,
      ...(transactionalId === undefined ? {} : { transactionalId }),
    };
    connection.request("produce", body, (outcome) => this.answered(queue, batch, outcome));
  }

  private build(queue: Queue, batch: Batch): { bytes: Uint8Array; sequence: number } {
    const { codec, codecs, transactionalId } = this.settings;
    const { records } = batch;
    const sequence = queue.nextSequence;
    queue.nextSequence = addToSequence(sequence, records.length);
    batch.order = queue.nextOrder++;
    const { identity } = this;
    const bytes = buildBatch(
      records.map(({ record }) => record),
      {
        codec,
        ...(codecs === undefined ? {} : { codecs }),
        transactional: transactionalId !== undefined,
        ...(identity === undefined
          ? {}
          : { producerId: identity.id, producerEpoch: identity.epoch, baseSequence: sequence }),
      },
    );
    return { bytes, sequence };
  }

  private answered(queue: Queue, batch: Batch, outcome: Answer<"produce"> | ClientError): void {
    const at = queue.inFlight.indexOf(batch);
    if (at < 0) return;
    if (outcome instanceof RequestLost) this.lost(queue, batch, outcome);
    else {
      queue.inFlight.splice(at, 1);
      if (!(outcome instanceof ClientError)) this.acknowledge(queue, batch, outcome);
      else if (isKafkaError(outcome, Errors.DUPLICATE_SEQUENCE_NUMBER))
        this.acknowledge(queue, batch, { offset: -1, timestamp: -1, logStartOffset: -1 });
      else this.refused(queue, batch, outcome, at === 0);
    }
    this.pump(queue);
    if (this.renewing) this.renewWhenQuiet();
    this.told();
  }

  private acknowledge(queue: Queue, batch: Batch, { offset, timestamp }: Answer<"produce">): void {
    queue.backoff.reset();
    if (batch.settled) return;
    this.leave(batch);
    const { topic, partition } = queue;
    batch.records.forEach(({ record, resolve }, index) => {
      resolve({
        topic,
        partition,
        offset: offset < 0 ? -1 : offset + index,
        timestamp: timestamp < 0 ? record.timestamp : timestamp,
      });
    });
  }

  /** The connection ended before the answer: sent again under the next one, unchanged and in order. */
  private lost(queue: Queue, batch: Batch, why: RequestLost): void {
    queue.inFlight = queue.inFlight.filter((other) => other !== batch);
    batch.lastError = why;
    if (why.sent) batch.maybeWritten = true;
    if (batch.settled) this.holed();
    else if (this.settings.idempotent || !why.sent) this.sendAgain(queue, batch);
    else this.settle(batch, unknown(`${queue.topic}-${queue.partition}: the connection ended before the answer`, why));
  }

  private refused(queue: Queue, batch: Batch, error: ClientError, isFirst: boolean): void {
    batch.lastError = error;
    const { idempotent, transactionalId } = this.settings;
    const code = error instanceof KafkaError ? error.code : Errors.UNKNOWN_SERVER_ERROR;
    if (code === Errors.OUT_OF_ORDER_SEQUENCE_NUMBER && idempotent) {
      // The broker remembers more batches than are in flight: what it does not know, it does not have.
      batch.maybeWritten = false;
      const isNext = isFirst && !this.isBehind(queue, batch) && !this.renewing;
      if (!isNext && !batch.settled) return this.sendAgain(queue, batch);
    }
    if (error.retriable && !FINAL.has(code)) {
      if (!NOT_WRITTEN.has(code)) batch.maybeWritten = true;
      if (!batch.settled && (idempotent || !batch.maybeWritten)) {
        this.rest(queue);
        return this.sendAgain(queue, batch);
      }
    }
    if (code === Errors.UNKNOWN_SERVER_ERROR) batch.maybeWritten = true;
    // Never written and not the broker's fault: it goes again under a new identity.
    const anew = IDENTITY_LOST.has(code) && idempotent && transactionalId === undefined;
    if (anew && !batch.maybeWritten && !batch.settled) {
      this.sendAgain(queue, batch);
      return this.holed();
    }
    const where = `${queue.topic}-${queue.partition}`;
    const told = error instanceof KafkaError ? error.of(where) : error;
    this.settle(batch, batch.maybeWritten ? unknown(`${where}: ${error.message}`, error) : told);
    this.holed();
  }

  /** Whether a batch of an earlier sequence waits to be sent again. */
  private isBehind(queue: Queue, batch: Batch): boolean {
    const first = queue.ready[0]?.built;
    return first !== undefined && batch.built !== undefined && before(first.sequence, batch.built.sequence);
  }

  /** Back to where it belongs: in front of everything later. */
  private sendAgain(queue: Queue, batch: Batch): void {
    queue.draining = true;
    if (this.doomed !== undefined) return this.settle(batch, this.doomed);
    const { built } = batch;
    const at = queue.ready.findIndex(
      (other) => other.built === undefined || before(built!.sequence, other.built.sequence),
    );
    queue.ready.splice(at < 0 ? queue.ready.length : at, 0, batch);
  }

  private rest(queue: Queue): void {
    queue.cancelRest?.();
    queue.cancelRest = this.session.platform.clock.after(queue.backoff.next(), () => {
      queue.cancelRest = undefined;
      this.pump(queue);
    });
  }

  // ---------------------------------------------------------------------------------------------------- giving up, anew

  /** Its time is over. */
  private expire(queue: Queue, batch: Batch): void {
    const where = `${queue.topic}-${queue.partition}`;
    const what = `${where}: not acknowledged in ${this.settings.deliveryTimeoutMs} ms`;
    if (queue.open === batch) this.closeBatch(queue);
    const flying = queue.inFlight.includes(batch);
    const error =
      flying || batch.maybeWritten ? unknown(what, batch.lastError) : (batch.lastError ?? new TimeoutError(what));
    this.settle(batch, error instanceof RequestLost ? new TimeoutError(what) : error);
    if (!flying) {
      queue.ready = queue.ready.filter((other) => other !== batch);
      if (batch.built !== undefined) this.holed();
    }
    this.told();
  }

  /** A batch that had sequences is out: those behind it would be refused for ever under this identity. */
  private holed(): void {
    const { idempotent, transactionalId } = this.settings;
    if (!idempotent) return;
    if (transactionalId === undefined) {
      this.renewing = true;
      this.renewWhenQuiet();
    } else this.doom(this.doomed ?? new ClientError("a batch of the transaction failed"));
  }

  private renewWhenQuiet(): void {
    if (!this.renewing || this.identity === undefined) return;
    for (const { inFlight, ready } of this.queues.values())
      if (inFlight.length > 0 || ready.some(({ maybeWritten }) => maybeWritten)) return;
    this.identity = undefined;
    this.renewing = false;
    for (const queue of this.queues.values()) this.renumber(queue);
    this.pumpAll();
  }

  private renumber(queue: Queue): void {
    queue.nextSequence = 0;
    queue.draining = false;
    for (const batch of queue.ready) batch.built = undefined;
  }

  private unanswered(): boolean {
    for (const { inFlight, ready, open } of this.queues.values())
      if (inFlight.length > 0 || ready.length > 0 || open !== undefined) return true;
    return false;
  }

  private settle(batch: Batch, error: ClientError): void {
    if (batch.settled) return;
    if (this.settings.transactionalId !== undefined) this.doomed ??= error;
    this.leave(batch);
    for (const { reject } of batch.records) reject(error);
  }

  private leave(batch: Batch): void {
    batch.settled = true;
    batch.cancelDeadline();
    for (const { bytes } of batch.records) this.bufferedBytes -= bytes;
  }

  /** Something was settled: others may go on. */
  private told(): void {
    this.onRoom();
    if (this.bufferedBytes > 0 || this.unanswered()) return;
    for (const resolve of this.idlers.splice(0)) resolve();
  }
}

const unknown = (what: string, cause: unknown): OutcomeUnknownError =>
  new OutcomeUnknownError(`${what}; it may have been written`, { cause });

/** Whether a sequence comes before another one, both within a few batches: they wrap at 2^31. */
const before = (one: number, other: number): boolean => one !== other && ((other - one) & 0x7fffffff) < 0x40000000;
