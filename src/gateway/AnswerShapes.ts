/**
 * Parts of what verbs answer, as shapes: for the OpenAPI document, and for the tests that hold real answers against it.
 * Nothing is parsed with them while the broker runs.
 */
import { partitionIndex, topicName } from "./ClientFrames.ts";
import { anyBytes } from "./HttpBody.ts";
import type { DeliveredRecord, PartitionOutcome, WireError } from "./Messages.ts";
import {
  boolean,
  custom,
  described,
  either,
  INT32_MAX,
  int,
  int32,
  optional,
  refuse,
  type Shape,
  struct,
  text,
} from "./Shape.ts";

/** Anything that is text, empty included. */
export const anyText = text(INT32_MAX, 0);

export const error: Shape<WireError> = struct({
  code: described("Kafka's number of the error.", int(-1, 0x7fff)),
  name: described("Kafka's name of it.", text()),
  message: anyText,
  retriable: described("The same request may succeed later.", boolean),
});

export const outcome: Shape<PartitionOutcome> = struct({
  topic: topicName,
  partition: partitionIndex,
  error: optional(error),
});

/** An entry, or its name with an error in place of the rest. */
export const orError = <Name, Good>(
  named: Shape<Name>,
  good: Shape<Good>,
): Shape<Good | (Name & { error: WireError })> =>
  either(
    custom(
      { allOf: [named.schema, { type: "object", properties: { error: error.schema }, required: ["error"] }] },
      (value, at) => ({ ...named.parse(value, at), ...struct({ error }).parse(value, at) }),
    ),
    good,
  );

/** Of a record, a batch or a place; -1 where Kafka says that there is none. */
export const someOffset = int(-1);
export const someEpoch = int32(-1);

export const deliveredRecord: Shape<DeliveredRecord> = custom(
  {
    type: "array",
    description: "offset, timestamp, key, value and, when there are any, headers as [name, value]",
    prefixItems: [{ type: "integer" }, { type: "integer" }, anyBytes.schema, anyBytes.schema, { type: "array" }],
    minItems: 4,
    maxItems: 5,
  },
  (value, at) =>
    Array.isArray(value) && (value.length === 4 || value.length === 5)
      ? (value as unknown as DeliveredRecord)
      : refuse(at, "[offset, timestamp, key, value] or with headers", value),
);
