/**
 * Transactions of one transactional id: what `txn` sends, and the offsets it commits, become visible together or not at
 * all. What must stay true: one transaction is open at a time; it is committed only when everything of it was
 * acknowledged; an end whose answer was lost is asked for again as it was; whoever is fenced says so and stops.
 */
import type { GroupIdentity, OffsetToCommit, ProducerIdentity } from "../gateway/Messages.ts";
import { Errors } from "../protocol/Errors.ts";
import { abortable } from "./Abortable.ts";
import {
  ClientError,
  ClosedError,
  FencedError,
  isFencing,
  KafkaError,
  OutcomeUnknownError,
  TransactionAbortedError,
} from "./ClientError.ts";
import type { CommitPlace } from "./Consumer.ts";
import type { ConsumerBatch, SavedPosition } from "./ConsumerOptions.ts";
import { refuse, whole } from "./Options.ts";
import { CLOSE_TIMEOUT_MS, closeAfter, type ProducerOptions, type ProducerRecord } from "./Producer.ts";
import { RecordIntake } from "./RecordIntake.ts";
import type { RecordMetadata } from "./Sender.ts";
import type { AskOptions, Session } from "./Session.ts";
import type { TopicCache } from "./TopicCache.ts";

export interface TransactionalOptions<Key, Value> extends Omit<ProducerOptions<Key, Value>, "idempotent" | "acks"> {
  /** After this the coordinator aborts on its own, in milliseconds (default 60,000). */
  readonly transactionTimeoutMs?: number;
}

/** Whoever has a place in a group: a consumer. */
export interface OffsetSource {
  identityFor(offsets?: ReadonlyArray<OffsetToCommit>): GroupIdentity;
  position(): SavedPosition;
}

/** What the function given to `txn` works with. Of no use after it has ended. */
export interface Transaction<Key, Value> {
  /** As `Producer.send`. Need not be awaited: the transaction is committed only when all of it was acknowledged. */
  send(record: ProducerRecord<Key, Value>): Promise<RecordMetadata>;
  /**
   * Makes consumed offsets part of the transaction: a consumer's whole position, or a batch's, or places of one's own.
   * The consumer must not commit by itself (`autoCommit: false`). Rejects, and with it the transaction, when the group has
   * taken a partition away since the records were handed out, even if it gave it back.
   */
  sendOffsets(
    consumer: OffsetSource,
    places?: Pick<ConsumerBatch<unknown, unknown>, "position"> | ReadonlyArray<CommitPlace>,
  ): Promise<void>;
}

/** A transaction that is to be ended by hand. */
export interface RunningTransaction<Key, Value> extends Transaction<Key, Value> {
  /** Resolves when everything sent was acknowledged; rejects with the first error. */
  settled(): Promise<void>;
  /** Waits for what was sent and commits; when something failed it aborts and rejects with that. */
  commit(): Promise<void>;
  /** Aborts; resolves with the error to pass on. */
  abort(cause: unknown): Promise<unknown>;
}

/** The coordinator has rolled the transaction back, or the broker has lost its track: what is left is to abort. */
const ABORTED: ReadonlySet<number> = new Set([
  Errors.INVALID_PRODUCER_EPOCH,
  Errors.INVALID_PRODUCER_ID_MAPPING,
  Errors.UNKNOWN_PRODUCER_ID,
  Errors.INVALID_TXN_STATE,
  Errors.TRANSACTION_ABORTABLE,
]);
/** Errors of a coordinator that is busy or moving. */
const BUSY: ReadonlySet<number> = new Set([
  Errors.CONCURRENT_TRANSACTIONS,
  Errors.COORDINATOR_LOAD_IN_PROGRESS,
  Errors.COORDINATOR_NOT_AVAILABLE,
  Errors.NOT_COORDINATOR,
  Errors.REQUEST_TIMED_OUT,
  Errors.UNSTABLE_OFFSET_COMMIT,
]);
const TRANSACTION_TIMEOUT_MS = 60_000;

export class TransactionalProducer<Key, Value> {
  private readonly intake: RecordIntake<Key, Value>;
  private readonly timeoutMs: number;
  private turns: Promise<unknown> = Promise.resolve();
  /** The identity to go on with. Undefined: none yet. */
  private identity: ProducerIdentity | undefined;
  /** The identity has to be made sure of before the next transaction. */
  private unsure = true;
  private fenced: FencedError | undefined;
  private closing: Promise<void> | undefined;

  /** Use `client.transactional`. */
  constructor(
    private readonly session: Session,
    topics: TopicCache,
    readonly transactionalId: string,
    options: TransactionalOptions<Key, Value>,
  ) {
    if (typeof transactionalId !== "string" || transactionalId === "")
      refuse("transactionalId", "a string that is not empty", transactionalId);
    whole("transactionTimeoutMs", options.transactionTimeoutMs, 1);
    this.timeoutMs = options.transactionTimeoutMs ?? TRANSACTION_TIMEOUT_MS;
    this.intake = new RecordIntake(session, topics, { ...options, transactionalId });
    session.parts.add(this);
  }

  /**
   * Runs `work` as one transaction and commits it. When `work` throws, or anything of it could not be written, the
   * transaction is aborted and the error passed on. Rejects with `TransactionAbortedError` when the coordinator had
   * rolled it back (time-out), `FencedError` when a newer producer has the id, `OutcomeUnknownError` when nobody can tell
   * whether it was committed. Transactions asked for meanwhile wait for their turn. The first one fences whoever had the id.
   */
  async txn<A>(
    work: (transaction: Transaction<Key, Value>) => A | Promise<A>,
    options: { readonly signal?: AbortSignal } = {},
  ): Promise<A> {
    const { signal } = options;
    const transaction = await this.begin(options);
    let result: A;
    try {
      result = await abortable((async () => work(transaction))(), signal);
      await abortable(transaction.settled(), signal);
      signal?.throwIfAborted();
    } catch (error) {
      throw await transaction.abort(error);
    }
    await transaction.commit();
    return result;
  }

  /**
   * What `txn` is made of, for whoever cannot give it a function: takes its turn and opens a transaction, which has to be
   * ended by its `commit` or `abort`, once.
   */
  begin(options: { readonly signal?: AbortSignal } = {}): Promise<RunningTransaction<Key, Value>> {
    if (this.closing !== undefined) return Promise.reject(new ClosedError("the producer"));
    const over = Promise.withResolvers<void>();
    const opening = this.turns.then(() => this.open(options.signal, over.resolve));
    this.turns = opening.then(
      () => over.promise,
      () => {},
    );
    return opening;
  }

  /** Gets the identity now, which fences whoever had the id and ends its open transaction; `txn` does it by itself. */
  init(): Promise<void> {
    const turn = this.turns.then(() => this.ensureIdentity(undefined));
    this.turns = turn.catch(() => {});
    return turn;
  }

  /** Waits for the transactions asked for, for at most `timeoutMs` (default 30,000). Never rejects. */
  close(options: { readonly timeoutMs?: number } = {}): Promise<void> {
    const flushed = { flush: async () => void (await this.turns), end: (error: ClientError) => this.intake.end(error) };
    const error = new ClosedError("the producer");
    this.closing ??= closeAfter(this.session, this, flushed, options.timeoutMs ?? CLOSE_TIMEOUT_MS, error);
    return this.closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  private async open(signal: AbortSignal | undefined, over: () => void): Promise<RunningTransaction<Key, Value>> {
    signal?.throwIfAborted();
    await this.ensureIdentity(signal);
    const who = () => ({ transactionalId: this.transactionalId, producer: this.identity! });
    const transaction = new OpenTransaction(this.intake, this.session, this.askOptions(), who);
    const ended = async <A>(how: () => Promise<A>): Promise<A> => {
      transaction.end();
      try {
        return await how();
      } finally {
        over();
      }
    };
    return Object.assign(transaction, {
      commit: async (): Promise<void> => {
        try {
          await transaction.settled();
        } catch (error) {
          throw await ended(() => this.abort(error, transaction));
        }
        await ended(async () => {
          if (this.isOpen(transaction)) await this.commit();
        });
      },
      abort: (cause: unknown): Promise<unknown> => ended(() => this.abort(cause, transaction)),
    });
  }

  private async ensureIdentity(signal: AbortSignal | undefined): Promise<void> {
    if (this.fenced !== undefined) throw this.fenced;
    if (!this.unsure) return;
    const { transactionalId, timeoutMs, identity } = this;
    const body = { transactionalId, transactionTimeoutMs: timeoutMs };
    try {
      const { producer } = await this.session.ask(
        "initProducer",
        identity === undefined ? body : { ...body, producer: identity },
        { ...this.askOptions(), signal },
      );
      this.become(producer);
    } catch (error) {
      throw this.fencedBy(error);
    }
  }

  private become(producer: ProducerIdentity): void {
    this.identity = producer;
    this.unsure = false;
    this.intake.sender.become(producer);
  }

  private async commit(): Promise<void> {
    let resent = false;
    try {
      await this.endWith(true, () => {
        resent = true;
      });
    } catch (error) {
      this.unsure = true;
      this.intake.doom(error instanceof ClientError ? error : new ClientError(String(error), { cause: error }));
      const fencing = this.fencedBy(error);
      // After a first answer that was lost the second one does not say what the first one did.
      if (resent && error instanceof KafkaError)
        throw new OutcomeUnknownError(`${this.transactionalId}: whether the transaction was committed is not known`, {
          cause: fencing,
          fatal: fencing instanceof FencedError,
        });
      if (fencing instanceof FencedError) throw fencing;
      if (error instanceof KafkaError && ABORTED.has(error.code))
        throw new TransactionAbortedError(`${this.transactionalId}: ${error.message}`, error);
      throw error;
    }
  }

  /** Rolls back; answers the error to reject with. */
  private async abort(cause: unknown, transaction: OpenTransaction<Key, Value>): Promise<unknown> {
    const error =
      cause instanceof ClientError ? cause : new TransactionAbortedError("the transaction is aborted", cause);
    this.intake.doom(error);
    await this.intake.flush();
    const lost = cause instanceof KafkaError && ABORTED.has(cause.code);
    if (isFencing(cause)) return this.fencedBy(cause);
    if (this.isOpen(transaction)) {
      try {
        await this.endWith(false, () => {});
      } catch (failure) {
        this.unsure = true;
        const fencing = this.fencedBy(failure);
        if (fencing instanceof FencedError) return fencing;
        if (!(failure instanceof KafkaError && ABORTED.has(failure.code))) this.session.report(failure);
      }
    } else this.intake.sender.become(this.identity);
    return lost ? new TransactionAbortedError(`${this.transactionalId}: ${cause.message}`, cause) : cause;
  }

  /** Whether the coordinator may know of it: it begins with the first thing that is sent. */
  private isOpen(transaction: OpenTransaction<Key, Value>): boolean {
    return this.intake.sender.used || transaction.sentOffsets;
  }

  /** Ends the open transaction and takes the identity of the next one. */
  private async endWith(commit: boolean, onResent: () => void): Promise<void> {
    const body = { transactionalId: this.transactionalId, producer: this.identity!, commit };
    const { producer } = await this.session.ask("endTxn", body, { ...this.askOptions(), onResent });
    this.become(producer);
  }

  private askOptions(): AskOptions {
    return {
      kind: "again",
      timeoutMs: this.timeoutMs,
      retriable: ({ code, retriable }) => BUSY.has(code) || (retriable && !ABORTED.has(code)),
    };
  }

  private fencedBy(error: unknown): unknown {
    if (!isFencing(error)) return error;
    this.fenced ??= new FencedError(`${this.transactionalId}: a newer producer has taken over`, error);
    this.intake.doom(this.fenced);
    return this.fenced;
  }
}

class OpenTransaction<Key, Value> implements Transaction<Key, Value> {
  sentOffsets = false;
  private over = false;
  /** Everything asked for, to be looked at before the commit. */
  private readonly parts: Promise<unknown>[] = [];

  constructor(
    private readonly intake: RecordIntake<Key, Value>,
    private readonly session: Session,
    private readonly ask: AskOptions,
    private readonly who: () => { readonly transactionalId: string; readonly producer: ProducerIdentity },
  ) {}

  send(record: ProducerRecord<Key, Value>): Promise<RecordMetadata> {
    if (this.over) return Promise.reject(new ClientError("the transaction is over"));
    return this.part(this.intake.send(record));
  }

  async sendOffsets(
    consumer: OffsetSource,
    places?: Pick<ConsumerBatch<unknown, unknown>, "position"> | ReadonlyArray<CommitPlace>,
  ): Promise<void> {
    if (this.over) throw new ClientError("the transaction is over");
    await this.part(this.sendTo(consumer, places === undefined ? undefined : offsetsOf(places)));
  }

  /** Resolves when everything was acknowledged; rejects with the first error. */
  async settled(): Promise<void> {
    for (let seen = 0; seen < this.parts.length; ) {
      seen = this.parts.length;
      await Promise.all(this.parts);
    }
  }

  end(): void {
    this.over = true;
  }

  private part<A>(promise: Promise<A>): Promise<A> {
    // It is looked at in `settled`, whether the application does or not.
    promise.catch(() => {});
    this.parts.push(promise);
    return promise;
  }

  private async sendTo(consumer: OffsetSource, places: ReadonlyArray<OffsetToCommit> | undefined): Promise<void> {
    const group = consumer.identityFor(places);
    const offsets = places ?? offsetsOf(consumer.position());
    if (offsets.length === 0) return;
    this.sentOffsets = true;
    const { partitions } = await this.session.ask("txnOffsets", { ...this.who(), group, offsets }, this.ask);
    const refused = partitions.find(({ error }) => error !== undefined);
    if (refused?.error !== undefined)
      throw new KafkaError(refused.error, `offset of ${refused.topic}-${refused.partition}`);
  }
}

const offsetsOf = (
  places: SavedPosition | Pick<ConsumerBatch<unknown, unknown>, "position"> | ReadonlyArray<CommitPlace>,
): OffsetToCommit[] => {
  const list = "position" in places ? [places.position] : places;
  return list.map((place) => {
    if (!("position" in place)) return place;
    const { topic, partition, position } = place;
    return { topic, partition, offset: position.offset, leaderEpoch: position.leaderEpoch };
  });
};
