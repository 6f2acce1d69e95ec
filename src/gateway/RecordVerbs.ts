/**
 * Reading records by request (a long poll by offset): one Fetch over the partitions named, answered with whole records in
 * the form of the stream protocol and the position behind them.
 */
import * as Effect from "effect/Effect";
import { Unpackr } from "msgpackr/unpack";
import { ApiKey, type RequestOf, type ResponseOf } from "../protocol/ApiKeys.ts";
import { Errors } from "../protocol/Errors.ts";
import { emptyFetchRequestFetchPartition } from "../protocol/generated/FetchRequest.ts";
import { CompressionError } from "../record/Compression.ts";
import { RecordFormatError } from "../record/RecordFormatError.ts";
import { deliveredRecord, orError, someEpoch, someOffset } from "./AnswerShapes.ts";
import type { Refused } from "./Caller.ts";
import { from, partitionIndex, topicName } from "./ClientFrames.ts";
import { type Delivery, deliveryOf } from "./Delivery.ts";
import { checkHistory } from "./History.ts";
import { MessagePackWriter } from "./MessagePack.ts";
import type { DeliveredRecord, PartitionAt, TopicPartition, Verbs, WireError } from "./Messages.ts";
import { isolationLevel, resolvePositions } from "./Positions.ts";
import { described, int, int32, list, optional, struct, text } from "./Shape.ts";
import { isolation } from "./TopicVerbs.ts";
import { type AnyVerb, defineVerb, type VerbContext } from "./Verb.ts";
import { wireError } from "./WireError.ts";

const MAX_FETCHED_PARTITIONS = 1000;
const DEFAULT_BYTES = 256 * 1024;
const MAX_WAIT_MS = 60_000;

type FetchBody = Verbs["records.fetch"]["body"];
type Entry = Verbs["records.fetch"]["answer"]["partitions"][number];
type Failed = TopicPartition & { readonly error: WireError };

const unpackr = new Unpackr({ useRecords: false, int64AsType: "number" });

/** Pieces `[from, to)` as values. */
export const recordsOf = (delivery: Delivery, start: number, end: number): ReadonlyArray<DeliveredRecord> => {
  const writer = new MessagePackWriter();
  writer.arrayHeader(end - start);
  writer.raw(delivery.bytes, delivery.startOf(start), delivery.startOf(end));
  return unpackr.unpack(writer.finish()) as DeliveredRecord[];
};

/** Where each partition begins, or why it cannot. */
const places = (
  { partitions, isolation: level }: FetchBody,
  { caller }: VerbContext,
): Effect.Effect<ReadonlyArray<PartitionAt | Failed>> =>
  Effect.all(
    partitions.map((asked) => {
      const { topic, partition } = asked;
      const placed = Effect.gen(function* () {
        const [at] = yield* resolvePositions(caller, [asked], level);
        const { offset, leaderEpoch } = at!.position;
        if (leaderEpoch === -1) return at!;
        const view = yield* checkHistory(caller, { topic, partition, offset, leaderEpoch }, -1);
        if (view.kind === "fine") return at!;
        const cut = `the log was cut: what was read up to ${offset} is there up to ${view.kind === "diverged" ? view.offset : "an unknown place"} only`;
        return view.kind === "failed"
          ? { topic, partition, error: wireError(view.error) }
          : { topic, partition, error: wireError(Errors.OFFSET_OUT_OF_RANGE, cut) };
      });
      return Effect.catchTag(placed, "Refused", ({ error }: Refused) => Effect.succeed({ topic, partition, error }));
    }),
    { concurrency: 1 },
  );

const fetchRequest = (
  placed: ReadonlyArray<PartitionAt>,
  { maxBytes: wanted = DEFAULT_BYTES, maxWaitMs = 0, isolation: level }: FetchBody,
  maxAnswerBytes: number,
): Partial<RequestOf<1>> => {
  // What the answer has no room for is not read.
  const maxBytes = Math.min(wanted, maxAnswerBytes);
  const topics = new Map<string, RequestOf<1>["topics"][number]>();
  for (const { partition, position } of placed) {
    let topic = topics.get(position.topicId);
    if (topic === undefined) {
      topic = { topic: "", topicId: position.topicId, partitions: [] };
      topics.set(position.topicId, topic);
    }
    topic.partitions.push({
      ...emptyFetchRequestFetchPartition(),
      partition,
      fetchOffset: position.offset,
      partitionMaxBytes: maxBytes,
    });
  }
  return { maxWaitMs, minBytes: 1, maxBytes, isolationLevel: isolationLevel(level), topics: [...topics.values()] };
};

type Fetched = ResponseOf<1>["responses"][number]["partitions"][number];

/** What fits into the answer of what was fetched of one partition. */
const entryOf = (
  { topic, partition, position }: PartitionAt,
  fetched: Fetched | undefined,
  { codecs }: VerbContext,
  roomBytes: number,
): { readonly entry: Entry; readonly bytes: number } => {
  const error = fetched?.errorCode ?? Errors.UNKNOWN_TOPIC_OR_PARTITION;
  if (fetched === undefined || error !== Errors.NONE) {
    return { entry: { topic, partition, error: wireError(error) }, bytes: 0 };
  }
  const { highWatermark, lastStableOffset, logStartOffset, abortedTransactions } = fetched;
  const known = { topic, partition, highWatermark, lastStableOffset, logStartOffset };
  const records = fetched.records ?? new Uint8Array(0);
  let delivery: Delivery | undefined;
  try {
    delivery = deliveryOf({ records, abortedTransactions }, false, codecs);
  } catch (failure) {
    if (!(failure instanceof CompressionError || failure instanceof RecordFormatError)) throw failure;
    return { entry: { topic, partition, error: wireError(Errors.CORRUPT_MESSAGE, failure.message, false) }, bytes: 0 };
  }
  if (delivery === undefined || roomBytes <= 0) return { entry: { ...known, position, records: [] }, bytes: 0 };
  const start = delivery.pieceAt(position.offset);
  const all = { records: Number.POSITIVE_INFINITY, bytes: Number.POSITIVE_INFINITY };
  const end = start + delivery.fitting(start, all, roomBytes);
  const whole = end === delivery.count;
  const next = {
    offset: whole ? delivery.endOffset : delivery.lastOffsets[end - 1]! + 1,
    leaderEpoch: whole ? delivery.endEpoch : delivery.epochs[end - 1]!,
    topicId: position.topicId,
  };
  return {
    entry: { ...known, position: next, records: recordsOf(delivery, start, end) },
    bytes: delivery.startOf(end) - delivery.startOf(start),
  };
};

const placeNamed = struct({ topic: topicName, partition: partitionIndex });

/** Of one partition: its records and where to go on, or an error. */
export const fetched = orError(
  placeNamed,
  struct({
    topic: topicName,
    partition: partitionIndex,
    position: described("Where to go on.", struct({ offset: int(0), leaderEpoch: someEpoch, topicId: text(22, 22) })),
    records: list(deliveredRecord),
    highWatermark: someOffset,
    lastStableOffset: someOffset,
    logStartOffset: someOffset,
  }),
);

const fetchRecords = defineVerb({
  name: "records.fetch",
  method: "POST",
  path: "/v1/fetch",
  summary:
    "Records from places on, waiting up to maxWaitMs for the first; position is where to go on. A record is [offset, timestamp, key, value] or, with headers, [offset, timestamp, key, value, headers].",
  body: struct({
    partitions: list(struct({ topic: topicName, partition: partitionIndex, from }), MAX_FETCHED_PARTITIONS),
    isolation,
    maxBytes: optional(int32(1)),
    maxWaitMs: optional(int32(0, MAX_WAIT_MS)),
  }),
  answer: struct({ partitions: list(fetched) }),
  run: (body, context) =>
    Effect.gen(function* () {
      const placed = yield* places(body, context);
      const good = placed.filter((each): each is PartitionAt => "position" in each);
      // What cannot be read is told at once.
      const maxWaitMs = good.length < placed.length ? 0 : (body.maxWaitMs ?? 0);
      const fetched = new Map<string, Fetched>();
      if (good.length > 0) {
        const response = yield* context.caller.call(
          ApiKey.Fetch,
          fetchRequest(good, { ...body, maxWaitMs }, context.maxAnswerBytes),
        );
        for (const { topicId, partitions } of response.responses) {
          for (const partition of partitions) fetched.set(`${partition.partitionIndex} ${topicId}`, partition);
        }
      }
      let room = context.maxAnswerBytes;
      return {
        partitions: placed.map((each) => {
          if (!("position" in each)) return each;
          const answer = fetched.get(`${each.partition} ${each.position.topicId}`);
          const { entry, bytes } = entryOf(each, answer, context, room);
          room -= bytes;
          return entry;
        }),
      };
    }),
});

export const recordVerbs: ReadonlyArray<AnyVerb> = [fetchRecords];
