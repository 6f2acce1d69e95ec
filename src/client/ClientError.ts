/**
 * Everything the client throws or rejects with, each with what to do: `retriable`, the same call may succeed when it is
 * made again; `fatal`, the object it came from (client, consumer, producer) is of no more use. What must stay true: an
 * error that does not say `OutcomeUnknownError` means that nothing was written.
 */
import type { WireError } from "../gateway/Messages.ts";
import { Errors } from "../protocol/Errors.ts";

export interface ErrorNature {
  readonly retriable?: boolean;
  readonly fatal?: boolean;
  readonly cause?: unknown;
}

export class ClientError extends Error {
  override readonly name: string = "ClientError";
  /** The same call may succeed when it is made again. */
  readonly retriable: boolean;
  /** The client, consumer or producer that gave it has ended. */
  readonly fatal: boolean;

  constructor(message: string, nature: ErrorNature = {}) {
    super(message, nature.cause === undefined ? undefined : { cause: nature.cause });
    this.retriable = nature.retriable ?? false;
    this.fatal = nature.fatal ?? false;
  }
}

/** One of Kafka's errors, as the server answered it. */
export class KafkaError extends ClientError {
  override readonly name: string = "KafkaError";
  /** Kafka's number and name, as in `UNKNOWN_TOPIC_OR_PARTITION` (3). */
  readonly code: number;
  readonly kafkaName: string;
  /** Of a produce: which records of the batch were refused, and why. */
  readonly recordErrors: ReadonlyArray<{ readonly index: number; readonly message: string | null }>;
  private readonly detail: string;

  constructor(
    error: WireError,
    what?: string,
    nature: Pick<ErrorNature, "fatal"> & { readonly recordErrors?: KafkaError["recordErrors"] } = {},
  ) {
    const text = `${error.name}: ${error.message}`;
    super(what === undefined ? text : `${what}: ${text}`, { ...nature, retriable: error.retriable });
    this.code = error.code;
    this.kafkaName = error.name;
    this.recordErrors = nature.recordErrors ?? [];
    this.detail = error.message;
  }

  /** The same one, saying of what. */
  of(what: string): KafkaError {
    const { code, kafkaName, detail, retriable, fatal, recordErrors } = this;
    return new KafkaError(wireErrorOf(code, kafkaName, detail, retriable), what, { fatal, recordErrors });
  }
}

/** No connection could be made, or it ended, and the request was not carried out. */
export class ConnectionError extends ClientError {
  override readonly name: string = "ConnectionError";
  /** The WebSocket's close code; 1006 when it just broke. */
  readonly closeCode: number;

  constructor(message: string, closeCode: number, nature: ErrorNature = {}) {
    super(message, { retriable: true, ...nature });
    this.closeCode = closeCode;
  }
}

/** The connection ended, or time, before the answer came: what was asked may have been done or not. */
export class OutcomeUnknownError extends ClientError {
  override readonly name = "OutcomeUnknownError";
}

/** Not done in time. Nothing was written. */
export class TimeoutError extends ClientError {
  override readonly name = "TimeoutError";

  constructor(message: string) {
    super(message, { retriable: true });
  }
}

/** Used after it was closed. */
export class ClosedError extends ClientError {
  override readonly name = "ClosedError";

  constructor(what: string, cause?: unknown) {
    super(`${what} is closed`, { fatal: true, cause });
  }
}

/** A newer producer with the same transactional id, or a newer member with the same identity, has taken over. */
export class FencedError extends ClientError {
  override readonly name = "FencedError";

  constructor(message: string, cause?: unknown) {
    super(message, { fatal: true, cause });
  }
}

/** The transaction was rolled back; nothing of it will be seen by `read_committed`. It may be tried as a whole again. */
export class TransactionAbortedError extends ClientError {
  override readonly name = "TransactionAbortedError";

  constructor(message: string, cause?: unknown) {
    super(message, { retriable: true, cause });
  }
}

/**
 * A consumer's place is not in the log: retention or DeleteRecords took it, or it was never there. The partition stands
 * still until `seek`; the others go on.
 */
export class OffsetOutOfRangeError extends ClientError {
  override readonly name = "OffsetOutOfRangeError";

  constructor(
    readonly topic: string,
    readonly partition: number,
    readonly offset: number,
    /** The first offset that is there. */
    readonly earliest: number,
    /** The offset the next record will get. */
    readonly latest: number,
  ) {
    super(`${topic}-${partition} has no offset ${offset}: it holds ${earliest} up to ${latest}`);
  }
}

/** The log was cut below a consumer's place and has another history (KIP-320). The partition stands still until `seek`. */
export class LogTruncationError extends ClientError {
  override readonly name = "LogTruncationError";

  constructor(
    readonly topic: string,
    readonly partition: number,
    /** Where the consumer was. */
    readonly offset: number,
    /** Up to here (exclusive) log and consumer agree. */
    readonly divergentOffset: number,
  ) {
    super(`${topic}-${partition} was cut at ${divergentOffset}, the consumer was at ${offset}`);
  }
}

/** One partition cannot be read any more (deleted, not authorised, …). The others go on. */
export class PartitionError extends KafkaError {
  override readonly name = "PartitionError";

  constructor(
    readonly topic: string,
    readonly partition: number,
    error: WireError,
  ) {
    super(error, `${topic}-${partition}`);
  }
}

/** A key or value is not what the codec takes. A consumer that is asked again goes on behind the record. */
export class CodecError extends ClientError {
  override readonly name = "CodecError";

  constructor(
    message: string,
    /** Where the record is; undefined when it was to be sent. */
    readonly where: { readonly topic: string; readonly partition: number; readonly offset: number } | undefined,
    cause: unknown,
  ) {
    super(message, { cause });
  }
}

export const wireErrorOf = (code: number, name: string, message: string, retriable = false): WireError => ({
  code,
  name,
  message,
  retriable,
});

export const isKafkaError = (error: unknown, ...codes: number[]): error is KafkaError =>
  error instanceof KafkaError && codes.includes(error.code);

/** What Kafka's clients take for "somebody newer has my identity". */
export const isFencing = (error: unknown): boolean =>
  isKafkaError(error, Errors.PRODUCER_FENCED, Errors.FENCED_INSTANCE_ID, Errors.TRANSACTION_COORDINATOR_FENCED);
