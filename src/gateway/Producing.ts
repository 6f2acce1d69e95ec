/**
 * Produce as the gateway's clients say it: records become one batch (`RecordBatchBuilder`), a finished batch goes as it
 * is, both to the Produce handler at its latest version, so that order, idempotence, transactions and limits are those
 * of a Kafka client.
 */
import * as Effect from "effect/Effect";
import type { Timestamp } from "../prelude/Types.ts";
import { ApiKey, type ResponseOf } from "../protocol/ApiKeys.ts";
import { Errors } from "../protocol/Errors.ts";
import { buildBatch, type NewRecord } from "../record/RecordBatchBuilder.ts";
import { type Caller, Refused, topicOf } from "./Caller.ts";
import type { ProducedRecord, ProducerIdentity, Requests } from "./Messages.ts";
import { wireError } from "./WireError.ts";

type ProduceFrame = Requests["produce"]["request"];
type ProduceAnswer = Requests["produce"]["answer"];

const newRecord = ([key, value, headers, timestamp]: ProducedRecord): NewRecord => ({
  key,
  value,
  ...(headers == null ? {} : { headers: headers.map(([name, content]) => ({ key: name, value: content })) }),
  ...(timestamp === undefined ? {} : { timestamp }),
});

export interface BatchOf {
  readonly producer?: ProducerIdentity & { readonly sequence: number };
  readonly transactional: boolean;
  /** Of records that have none. */
  readonly now: Timestamp;
}

export const batchOf = (
  records: ReadonlyArray<ProducedRecord>,
  { producer, transactional, now }: BatchOf,
): Uint8Array =>
  buildBatch(records.map(newRecord), {
    timestamp: now,
    transactional,
    ...(producer === undefined
      ? {}
      : { producerId: producer.id, producerEpoch: producer.epoch, baseSequence: producer.sequence }),
  });

export const produce = (caller: Caller, frame: ProduceFrame): Effect.Effect<ProduceAnswer, Refused> =>
  Effect.flatMap(topicOf(caller, frame.topic), ({ id: topicId }) => {
    const { transactionalId, acks = -1 } = frame;
    const records =
      "batch" in frame
        ? frame.batch
        : batchOf(frame.records, {
            ...(frame.producer === undefined ? {} : { producer: frame.producer }),
            transactional: transactionalId !== undefined,
            now: caller.now(),
          });
    const call = caller.call(ApiKey.Produce, {
      transactionalId: transactionalId ?? null,
      // A frame is answered in any case: what Kafka says by closing the connection is said by an error.
      acks: acks === 0 ? 1 : acks,
      timeoutMs: frame.timeoutMs ?? DEFAULT_PRODUCE_TIMEOUT_MS,
      topicData: [{ name: "", topicId, partitionData: [{ index: frame.partition, records }] }],
    });
    return Effect.flatMap(call, (response) => answerOf(response, acks === 0));
  });

const answerOf = (response: ResponseOf<0>, unanswered: boolean): Effect.Effect<ProduceAnswer, Refused> => {
  const { errorCode, errorMessage, recordErrors, baseOffset, logAppendTimeMs, logStartOffset } =
    response.responses[0]!.partitionResponses[0]!;
  if (errorCode !== Errors.NONE) {
    const error = wireError(errorCode, errorMessage);
    if (recordErrors.length === 0) return Effect.fail(new Refused({ error }));
    return Effect.fail(
      new Refused({
        error,
        recordErrors: recordErrors.map(({ batchIndex, batchIndexErrorMessage }) => ({
          index: batchIndex,
          message: batchIndexErrorMessage,
        })),
      }),
    );
  }
  return Effect.succeed({ offset: unanswered ? -1 : baseOffset, timestamp: logAppendTimeMs, logStartOffset });
};

/** `request.timeout.ms` of Kafka's producers. */
const DEFAULT_PRODUCE_TIMEOUT_MS = 30_000;
