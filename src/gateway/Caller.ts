/**
 * How the gateway asks the broker: typed requests to the handlers that serve TCP clients, at the latest version, in the
 * order of the caller's connection. A refusal of the broker is a `Refused` with Kafka's error; anything else that a
 * handler does is a defect.
 */
import * as Data from "effect/Data";
import * as Effect from "effect/Effect";
import type { MetadataImage, TopicImage } from "../metadata/MetadataImage.ts";
import { GROUP_METADATA_TOPIC, TRANSACTION_STATE_TOPIC } from "../metadata/TopicName.ts";
import type { Timestamp } from "../prelude/Types.ts";
import { ApiKey, type KnownApiKey, type RequestOf, type ResponseOf } from "../protocol/ApiKeys.ts";
import { Errors } from "../protocol/Errors.ts";
import type { WireError } from "./Messages.ts";
import { wireError } from "./WireError.ts";

export interface RecordError {
  readonly index: number;
  readonly message: string | null;
}

export class Refused extends Data.TaggedError("Refused")<{
  readonly error: WireError;
  readonly recordErrors?: ReadonlyArray<RecordError>;
}> {}

export interface Caller {
  /** Fields left out have Kafka's defaults. The request reaches its handler before `call`'s effect first waits. */
  call<K extends KnownApiKey>(key: K, request: Partial<RequestOf<K>>): Effect.Effect<ResponseOf<K>>;
  image(): MetadataImage;
  /** Milliseconds since 1970. */
  now(): Timestamp;
  /** Milliseconds by the broker's timers. */
  pause(ms: number): Effect.Effect<void>;
  /** What comes behind this request on its connection waits until the answer is called. */
  hold(): () => void;
}

export const refused = (code: number, message?: string | null, retriable?: boolean): Effect.Effect<never, Refused> =>
  Effect.fail(new Refused({ error: wireError(code, message, retriable) }));

/** The topic, or UNKNOWN_TOPIC_OR_PARTITION with its name. */
export const topicOf = (caller: Caller, topic: string): Effect.Effect<TopicImage, Refused> => {
  const found = caller.image().topicsByName.get(topic);
  return found === undefined ? unknownTopic(topic) : Effect.succeed(found);
};

export const unknownTopic = (topic: string): Effect.Effect<never, Refused> =>
  refused(Errors.UNKNOWN_TOPIC_OR_PARTITION, `there is no topic ${topic}`);

export const CoordinatorType = { GROUP: 0, TRANSACTION: 1 } as const;

/** Makes the internal topic behind a coordinator when nobody has asked for it before; what comes behind waits. */
export const withCoordinator = (
  caller: Caller,
  type: (typeof CoordinatorType)[keyof typeof CoordinatorType],
  key: string,
): Effect.Effect<void> => {
  const topic = type === CoordinatorType.GROUP ? GROUP_METADATA_TOPIC : TRANSACTION_STATE_TOPIC;
  if (caller.image().topicsByName.has(topic)) return Effect.void;
  const release = caller.hold();
  const asked = caller.call(ApiKey.FindCoordinator, { keyType: type, coordinatorKeys: [key] });
  return Effect.ensuring(Effect.asVoid(asked), Effect.sync(release));
};

/** How often something that passes by itself (a log being opened, a coordinator being made) is asked for again. */
const ATTEMPTS = 8;
const FIRST_PAUSE_MS = 20;

/** Asks again, with growing pauses (2.5 s in all), while the refusal is one of `codes`. */
export const patiently = <A>(
  caller: Caller,
  codes: ReadonlySet<number>,
  ask: Effect.Effect<A, Refused>,
  attempt = 1,
): Effect.Effect<A, Refused> =>
  Effect.catchTag(ask, "Refused", (refusal) =>
    attempt >= ATTEMPTS || !codes.has(refusal.error.code)
      ? Effect.fail(refusal)
      : Effect.andThen(caller.pause(FIRST_PAUSE_MS * 2 ** (attempt - 1)), patiently(caller, codes, ask, attempt + 1)),
  );

/**
 * Asks again while an answer holds one of `codes`: what passes by itself is waited for, what does not stays in its entry.
 */
export const settled = <A>(
  caller: Caller,
  codes: ReadonlySet<number>,
  ask: Effect.Effect<A>,
  errorsOf: (answer: A) => Iterable<number>,
  attempt = 1,
): Effect.Effect<A> =>
  Effect.flatMap(ask, (answer) => {
    let passes = false;
    for (const error of errorsOf(answer)) passes ||= codes.has(error);
    if (!passes || attempt >= ATTEMPTS) return Effect.succeed(answer);
    const pause = caller.pause(FIRST_PAUSE_MS * 2 ** (attempt - 1));
    return Effect.andThen(pause, settled(caller, codes, ask, errorsOf, attempt + 1));
  });

/** A coordinator that is being made or reads its log. */
export const PASSING_COORDINATOR_ERRORS: ReadonlySet<number> = new Set([
  Errors.COORDINATOR_LOAD_IN_PROGRESS,
  Errors.COORDINATOR_NOT_AVAILABLE,
  Errors.NOT_COORDINATOR,
]);

/** A log that is being opened, or whose disk has hiccups. */
export const PASSING_LOG_ERRORS: ReadonlySet<number> = new Set([
  Errors.LEADER_NOT_AVAILABLE,
  Errors.NOT_LEADER_OR_FOLLOWER,
  Errors.KAFKA_STORAGE_ERROR,
]);
