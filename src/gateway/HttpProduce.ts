/**
 * Produce by HTTP: records of one topic, each to the partition it names, its key's, or one for the request. What must
 * stay true: each record has its own outcome, in the order of the request; with an idempotency key the request is written
 * once in its partition, however often it comes, restarts included.
 *
 * The idempotency key becomes an idempotent producer of its own: its id is 2^52 and 52 bits of a hash of principal and key
 * (Kafka's ids are counted from 0 and never get there), epoch and sequence are bits of a hash of the body. So the
 * partition's own producer state, which is in the log and its snapshots, finds a retry to be a duplicate and a different
 * body to be out of sequence. It is remembered for `producer.id.expiration.ms` after the records' own time, is never part
 * of a transaction, and a partition takes `MAX_KEYS` of them at a time.
 */
import * as Effect from "effect/Effect";
import { ZERO_UUID } from "../prelude/Types.ts";
import { ApiKey } from "../protocol/ApiKeys.ts";
import { Errors } from "../protocol/Errors.ts";
import { partitionForKey } from "../record/Murmur2.ts";
import { type Caller, Refused, refused } from "./Caller.ts";
import { FRAME_LIMITS, partitionIndex } from "./ClientFrames.ts";
import { anyBytes } from "./HttpBody.ts";
import type { ProducedRecord, WireError, WireHeaders } from "./Messages.ts";
import { batchOf } from "./Producing.ts";
import {
  custom,
  described,
  int,
  int32,
  isMap,
  list,
  oneOf,
  optional,
  refined,
  refuse,
  type Shape,
  struct,
} from "./Shape.ts";
import { invalidRequest, wireError } from "./WireError.ts";

interface HttpRecord {
  readonly record: ProducedRecord;
  readonly partition: number | undefined;
}

const headers: Shape<WireHeaders> = custom({}, (value, at): WireHeaders => {
  const entries: unknown = isMap(value) ? Object.entries(value) : value;
  if (!Array.isArray(entries)) return refuse(at, "a map or an array of [name, value]", value);
  return entries.map((entry: unknown, index) => {
    if (!Array.isArray(entry) || entry.length !== 2 || typeof entry[0] !== "string") {
      return refuse(`${at}[${index}]`, "[name, value]", entry);
    }
    return [entry[0], anyBytes.parse(entry[1], `${at}[${index}][1]`)] as const;
  });
});

const RECORD_SCHEMA = {
  type: "object",
  properties: {
    key: anyBytes.schema,
    value: anyBytes.schema,
    headers: { description: "A map, or an array of [name, value] where order or repetition matters." },
    partition: { type: "integer", minimum: 0 },
    timestamp: { type: "integer", description: "Milliseconds since 1970; default: now." },
  },
};

const timestamp = int(0);

const record: Shape<HttpRecord> = custom(RECORD_SCHEMA, (value, at) => {
  // The stream protocol's form, too.
  const fields = Array.isArray(value)
    ? { key: value[0], value: value[1], headers: value[2], timestamp: value[3], partition: undefined }
    : isMap(value)
      ? value
      : refuse(at, "a map", value);
  const key = anyBytes.parse(fields.key, `${at}.key`);
  const content = anyBytes.parse(fields.value, `${at}.value`);
  const listed = fields.headers == null ? null : headers.parse(fields.headers, `${at}.headers`);
  const partition = fields.partition == null ? undefined : partitionIndex.parse(fields.partition, `${at}.partition`);
  if (fields.timestamp == null) return { record: [key, content, listed], partition };
  return { record: [key, content, listed, timestamp.parse(fields.timestamp, `${at}.timestamp`)], partition };
});

export const produceBody = struct({
  records: refined(list(record, FRAME_LIMITS.items), (records, at) =>
    records.length === 0 ? refuse(at, "at least one record", records) : records,
  ),
  partition: optional(described("Of all records that name none. Default: the key's, or any.", partitionIndex)),
  acks: optional(oneOf(-1, 0, 1)),
  timeoutMs: optional(int32()),
});

export interface ProduceContext {
  readonly caller: Caller;
  readonly randomBelow: (bound: number) => number;
  /** Of the partition: how many producers it knows, and whether this one is among them. */
  readonly producers: (topicId: string, partition: number, producerId: number) => ProducersKnown;
}

export interface ProducersKnown {
  readonly count: number;
  readonly known: boolean;
}

/** What an idempotency key and a body stand for, from their SHA-256 digests. */
export interface IdempotentRequest {
  readonly producer: { readonly id: number; readonly epoch: number; readonly sequence: number };
  /** Chooses the partition when nothing else does. */
  readonly choice: number;
}

/** Producers that one partition remembers at a time, those of idempotency keys and all others. */
export const MAX_KEYS = 50_000;
const IDS_FROM = 2 ** 52;
/** A batch has fewer records, so that no sequence wraps. */
const SEQUENCES = 0x7fff_ffff - FRAME_LIMITS.items;

const unsigned = (digest: Uint8Array, at: number): number =>
  ((digest[at]! << 24) | (digest[at + 1]! << 16) | (digest[at + 2]! << 8) | digest[at + 3]!) >>> 0;

export const idempotentRequest = (keyDigest: Uint8Array, bodyDigest: Uint8Array): IdempotentRequest => ({
  producer: {
    id: IDS_FROM + (unsigned(keyDigest, 0) & 0xf_ffff) * 2 ** 32 + unsigned(keyDigest, 4),
    epoch: unsigned(bodyDigest, 0) & 0x7fff,
    // Never 0: a later epoch that began with 0 would be taken for a new life of the producer.
    sequence: 1 + (unsigned(bodyDigest, 4) % SEQUENCES),
  },
  choice: unsigned(keyDigest, 8),
});

export type HttpOutcome =
  | { readonly partition: number; readonly offset: number }
  | { readonly partition: number; readonly error: WireError; readonly message?: string };

type ProduceBody = ReturnType<typeof produceBody.parse>;

const produceTimeoutMs = 30_000;

/** The outcome of each record; refused as a whole when all have failed in the same way. */
export const produceByHttp = (
  { caller, randomBelow, producers }: ProduceContext,
  topic: string,
  body: ProduceBody,
  idempotent?: IdempotentRequest,
): Effect.Effect<ReadonlyArray<HttpOutcome>, Refused> =>
  Effect.gen(function* () {
    const metadata = yield* caller.call(ApiKey.Metadata, {
      topics: [{ topicId: ZERO_UUID, name: topic }],
      allowAutoTopicCreation: true,
    });
    const { errorCode, topicId, partitions } = metadata.topics[0]!;
    if (errorCode !== Errors.NONE) return yield* refused(errorCode, null, false);
    const count = partitions.length;
    const free = body.partition ?? (idempotent === undefined ? randomBelow(count) : idempotent.choice % count);
    const placed = body.records.map(({ record: [key], partition }) => {
      if (partition !== undefined) return partition;
      return key === null || body.partition !== undefined ? free : partitionForKey(key, count);
    });
    const used = [...new Set(placed)];
    if (idempotent !== undefined) {
      if (used.length > 1) {
        const message =
          "Idempotency-Key: all records of the request go to one partition; name a partition, or give all one key or none";
        return yield* Effect.fail(new Refused({ error: invalidRequest(message) }));
      }
      const known = producers(topicId, used[0]!, idempotent.producer.id);
      if (!known.known && known.count >= MAX_KEYS) {
        const message = `Idempotency-Key: ${topic}-${used[0]} remembers ${known.count} producers already`;
        return yield* refused(Errors.THROTTLING_QUOTA_EXCEEDED, message);
      }
    }
    const { acks = -1 } = body;
    const response = yield* caller.call(ApiKey.Produce, {
      transactionalId: null,
      acks: acks === 0 ? 1 : acks,
      timeoutMs: body.timeoutMs ?? produceTimeoutMs,
      topicData: [
        {
          name: "",
          topicId,
          partitionData: used.map((index) => ({
            index,
            records: batchOf(
              body.records.filter((_, at) => placed[at] === index).map((each) => each.record),
              {
                transactional: false,
                now: caller.now(),
                ...(idempotent === undefined ? {} : { producer: idempotent.producer }),
              },
            ),
          })),
        },
      ],
    });
    const answers = new Map(response.responses[0]!.partitionResponses.map((each) => [each.index, each] as const));
    const written = new Map<number, number>();
    const outcomes = placed.map((partition): HttpOutcome => {
      const answer = answers.get(partition)!;
      const place = written.get(partition) ?? 0;
      written.set(partition, place + 1);
      if (answer.errorCode !== Errors.NONE) {
        const error = errorOf(answer.errorCode, answer.errorMessage, idempotent !== undefined);
        const message = answer.recordErrors.find(({ batchIndex }) => batchIndex === place)?.batchIndexErrorMessage;
        return message == null ? { partition, error } : { partition, error, message };
      }
      return { partition, offset: acks === 0 ? -1 : answer.baseOffset + place };
    });
    const first = outcomes[0]!;
    if ("error" in first && outcomes.every((each) => "error" in each && each.error.code === first.error.code)) {
      const { recordErrors } = answers.get(first.partition)!;
      return yield* Effect.fail(
        new Refused({
          error: first.error,
          ...(used.length > 1 || recordErrors.length === 0
            ? {}
            : {
                recordErrors: recordErrors.map(({ batchIndex: index, batchIndexErrorMessage: message }) => ({
                  index,
                  message,
                })),
              }),
        }),
      );
    }
    return outcomes;
  });

/** What an idempotent producer hears when its key has been used for something else. */
const REUSED: ReadonlySet<number> = new Set([
  Errors.OUT_OF_ORDER_SEQUENCE_NUMBER,
  Errors.INVALID_PRODUCER_EPOCH,
  Errors.DUPLICATE_SEQUENCE_NUMBER,
]);

const errorOf = (code: number, message: string | null, isIdempotent: boolean): WireError =>
  isIdempotent && REUSED.has(code)
    ? wireError(Errors.DUPLICATE_SEQUENCE_NUMBER, "Idempotency-Key: it was used for another body before", false)
    : wireError(code, message);
