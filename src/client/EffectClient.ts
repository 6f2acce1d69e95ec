/**
 * The stream client for programs in Effect: the same core, with consumers as streams, lifetimes as scopes and errors in
 * the type. What must stay true: nothing is decided here, so that both faces do the same; an interruption closes what it
 * interrupts.
 */
import * as Context from "effect/Context";
import * as Effect from "effect/Effect";
import * as Exit from "effect/Exit";
import * as Layer from "effect/Layer";
import type * as Scope from "effect/Scope";
import * as Stream from "effect/Stream";
import { type Client, ClientError, type ConnectOptions, connect } from "./Client.ts";
import type { CommitPlace, Consumer } from "./Consumer.ts";
import type {
  ConsumeOptions,
  ConsumerBatch,
  ConsumerRecord,
  Int64Mode,
  Int64Of,
  PartitionLag,
  SavedPosition,
} from "./ConsumerOptions.ts";
import type { ProducerOptions, ProducerRecord } from "./Producer.ts";
import type { RecordMetadata } from "./Sender.ts";
import type { StateEvent } from "./Session.ts";
import type { OffsetSource, TransactionalOptions } from "./TransactionalProducer.ts";

const clientError = (error: unknown): ClientError =>
  error instanceof ClientError
    ? error
    : new ClientError(error instanceof Error ? error.message : String(error), { cause: error });

const attempt = <A>(work: (signal: AbortSignal) => Promise<A>): Effect.Effect<A, ClientError> =>
  Effect.tryPromise({ try: (signal) => work(signal), catch: clientError });

/** Closes in order when the scope does. */
const scoped = <A extends { close(): Promise<void> }>(open: () => A): Effect.Effect<A, never, Scope.Scope> =>
  Effect.acquireRelease(Effect.sync(open), (part) => Effect.promise(() => part.close()));

export interface ConsumerService<Key, Value, Int64 extends number | bigint> {
  /**
   * What comes of one partition is one chunk, and counts as finished when the next one is asked for: operators that
   * buffer finish what they only hold.
   */
  readonly records: Stream.Stream<ConsumerRecord<Key, Value, Int64>, ClientError>;
  readonly batches: Stream.Stream<ConsumerBatch<Key, Value, Int64>, ClientError>;
  readonly commit: (
    what?: { readonly topic: string; readonly partition: number; readonly offset: Int64 } | ReadonlyArray<CommitPlace>,
  ) => Effect.Effect<void, ClientError>;
  readonly seek: (places: Parameters<Consumer<Key, Value, Int64>["seek"]>[0]) => Effect.Effect<void, ClientError>;
  readonly position: Effect.Effect<SavedPosition>;
  readonly lag: Effect.Effect<ReadonlyArray<PartitionLag>>;
  /** For what is not here, and for transactions. */
  readonly consumer: Consumer<Key, Value, Int64>;
}

export interface ProducerService<Key, Value> {
  readonly send: (record: ProducerRecord<Key, Value>) => Effect.Effect<RecordMetadata, ClientError>;
  /** There is room in the buffer. */
  readonly ready: Effect.Effect<void, ClientError>;
  readonly flush: Effect.Effect<void, ClientError>;
}

export interface TransactionService<Key, Value> {
  readonly send: (record: ProducerRecord<Key, Value>) => Effect.Effect<RecordMetadata, ClientError>;
  readonly sendOffsets: (
    consumer: OffsetSource,
    places?: Pick<ConsumerBatch<unknown, unknown>, "position"> | ReadonlyArray<CommitPlace>,
  ) => Effect.Effect<void, ClientError>;
}

export interface TransactionalService<Key, Value> {
  /** Commits what the effect has sent when it succeeds, aborts it when it fails or is interrupted. */
  readonly txn: <A, E, R>(
    work: (transaction: TransactionService<Key, Value>) => Effect.Effect<A, E, R>,
  ) => Effect.Effect<A, E | ClientError, R>;
}

export interface StreamClientService {
  readonly consume: <Key = Uint8Array, Value = Uint8Array, Mode extends Int64Mode = "number">(
    options: ConsumeOptions<Key, Value, Mode>,
  ) => Stream.Stream<ConsumerRecord<Key, Value, Int64Of<Mode>>, ClientError>;
  /** A consumer for as long as the scope lives, with its commits and seeks. */
  readonly consumer: <Key = Uint8Array, Value = Uint8Array, Mode extends Int64Mode = "number">(
    options: ConsumeOptions<Key, Value, Mode>,
  ) => Effect.Effect<ConsumerService<Key, Value, Int64Of<Mode>>, never, Scope.Scope>;
  readonly producer: <Key = Uint8Array, Value = Uint8Array>(
    options?: ProducerOptions<Key, Value>,
  ) => Effect.Effect<ProducerService<Key, Value>, never, Scope.Scope>;
  readonly transactional: <Key = Uint8Array, Value = Uint8Array>(
    transactionalId: string,
    options?: TransactionalOptions<Key, Value>,
  ) => Effect.Effect<TransactionalService<Key, Value>, never, Scope.Scope>;
  /** Anything else the client can do, as `use((client, signal) => client.topics.list({ signal }))`. */
  readonly use: <A>(work: (client: Client, signal: AbortSignal) => Promise<A>) => Effect.Effect<A, ClientError>;
  /** How the connection fares, from now on. */
  readonly states: Stream.Stream<StateEvent>;
}

/** The client as a service; `StreamClient.layer(url)` connects it for as long as the layer lives. */
export class StreamClient extends Context.Service<StreamClient, StreamClientService>()("odradek/client/StreamClient") {
  static layer(url: string | URL, options?: ConnectOptions): Layer.Layer<StreamClient, ClientError> {
    const connecting = Effect.acquireRelease(
      attempt((signal) => connectWithin(url, options, signal)),
      (client) => Effect.promise(() => client.close()),
    );
    return Layer.effect(StreamClient, Effect.map(connecting, serviceOf));
  }
}

/** The signal ends the connecting only, not the client that came of it. */
const connectWithin = async (
  url: string | URL,
  options: ConnectOptions | undefined,
  signal: AbortSignal,
): Promise<Client> => {
  const connecting = connect(url, options);
  const given = (): void => void connecting.then((client) => client.close()).catch(() => {});
  signal.addEventListener("abort", given, { once: true });
  try {
    return await connecting;
  } finally {
    signal.removeEventListener("abort", given);
  }
};

export const serviceOf = (client: Client): StreamClientService => {
  const consumer: StreamClientService["consumer"] = (options) =>
    Effect.map(
      scoped(() => client.consume(options)),
      consumerService,
    );
  return {
    consumer,
    consume: (options) => Stream.unwrap(Effect.map(consumer(options), ({ records }) => records)),
    producer: (options) =>
      Effect.map(
        scoped(() => client.producer(options)),
        (producer) => ({
          send: (record) => attempt((signal) => producer.send(record, { signal })),
          ready: attempt((signal) => producer.ready({ signal })),
          flush: attempt((signal) => producer.flush({ signal })),
        }),
      ),
    transactional: <Key, Value>(transactionalId: string, options?: TransactionalOptions<Key, Value>) =>
      Effect.map(
        scoped(() => client.transactional<Key, Value>(transactionalId, options)),
        (producer): TransactionalService<Key, Value> => ({
          txn: (work) =>
            Effect.uninterruptibleMask((restore) =>
              Effect.gen(function* () {
                const transaction = yield* restore(attempt((signal) => producer.begin({ signal })));
                const exit = yield* Effect.exit(
                  restore(
                    work({
                      send: (record) => attempt(() => transaction.send(record)),
                      sendOffsets: (source, places) => attempt(() => transaction.sendOffsets(source, places)),
                    }),
                  ),
                );
                if (Exit.isSuccess(exit)) yield* attempt(() => transaction.commit());
                else yield* attempt(() => transaction.abort(exit.cause));
                return yield* exit;
              }),
            ),
        }),
      ),
    use: (work) => attempt((signal) => work(client, signal)),
    states: Stream.suspend(() => Stream.fromAsyncIterable(statesOf(client), clientError)).pipe(Stream.orDie),
  };
};

const consumerService = <Key, Value, Int64 extends number | bigint>(
  consumer: Consumer<Key, Value, Int64>,
): ConsumerService<Key, Value, Int64> => {
  const batches = Stream.suspend(() => Stream.fromAsyncIterable(consumer.batches(), clientError));
  return {
    batches,
    records: Stream.flattenArray(Stream.map(batches, ({ records }) => records as NonEmpty<(typeof records)[number]>)),
    commit: (what) => attempt((signal) => consumer.commit(what, { signal })),
    seek: (places) => attempt((signal) => consumer.seek(places, { signal })),
    position: Effect.sync(() => consumer.position()),
    lag: Effect.sync(() => consumer.lag()),
    consumer,
  };
};

type NonEmpty<T> = readonly [T, ...T[]];

/** State events until the client is closed. No generator: one that waits can not be ended from outside. */
const statesOf = (client: Client): AsyncIterable<StateEvent> => ({
  [Symbol.asyncIterator]() {
    const events: StateEvent[] = [];
    let over = false;
    let waiting: ((result: IteratorResult<StateEvent>) => void) | undefined;
    const done = { done: true, value: undefined } as const;
    const stop = client.on("state", (event) => {
      if (waiting === undefined) events.push(event);
      else waiting({ done: false, value: event });
      waiting = undefined;
      if (event.state === "closed") stop();
    });
    return {
      next() {
        const event = events.shift();
        if (event?.state === "closed" || (event === undefined && client.state === "closed")) over = true;
        if (event !== undefined) return Promise.resolve({ done: false, value: event });
        if (over) return Promise.resolve(done);
        return new Promise((resolve) => {
          waiting = resolve;
        });
      },
      return() {
        over = true;
        stop();
        waiting?.(done);
        return Promise.resolve(done);
      },
    };
  },
});
