/**
 * Keys and values as bytes: the codecs an application gives to consumers and producers. What must stay true: a codec is
 * pure and synchronous, and never sees Kafka's null, which stays null on both sides.
 */

/** `Out` is what `decode` gives, `In` what `encode` takes: they differ where a schema transforms. */
export interface Codec<Out, In = Out> {
  encode(value: In): Uint8Array;
  decode(bytes: Uint8Array): Out;
}

/** The interface of standardschema.dev (version 1) that validators of all kinds have, as far as it is used here. */
export interface StandardSchema<In = unknown, Out = In> {
  readonly "~standard": {
    readonly version: 1;
    readonly vendor: string;
    readonly validate: (value: unknown) => StandardResult<Out> | Promise<StandardResult<Out>>;
    readonly types?: { readonly input: In; readonly output: Out } | undefined;
  };
}

type StandardResult<Out> =
  | { readonly value: Out; readonly issues?: undefined }
  | {
      readonly issues: ReadonlyArray<{
        readonly message: string;
        readonly path?: ReadonlyArray<PropertyKey | { readonly key: PropertyKey }> | undefined;
      }>;
    };

/**
 * As they are. What is handed out is a copy: keeping one value does not keep the frame it came in. What is sent must not
 * be changed before it is acknowledged.
 */
export const bytes: Codec<Uint8Array> = {
  encode(value) {
    if (!(value instanceof Uint8Array)) throw new TypeError(`${typeof value} is no Uint8Array: give a codec`);
    return value;
  },
  decode: (value) => value.slice(),
};

const toUtf8 = new TextEncoder();
/** A byte order mark is a character, malformed UTF-8 an error: bytes that are no text are not made into some. */
const fromUtf8 = new TextDecoder("utf-8", { ignoreBOM: true, fatal: true });

/** UTF-8. */
export const string: Codec<string> = {
  encode(value) {
    if (typeof value !== "string") throw new TypeError(`${typeof value} is no string: give a codec`);
    return toUtf8.encode(value);
  },
  decode: (value) => fromUtf8.decode(value),
};

/** JSON in UTF-8; with a schema, what does not pass it is refused on both sides. */
export function json<T = unknown>(): Codec<T>;
export function json<In, Out>(schema: StandardSchema<In, Out>): Codec<Out, In>;
export function json(schema?: StandardSchema): Codec<unknown> {
  const plain: Codec<unknown> = {
    encode(value) {
      const text = JSON.stringify(value);
      if (text === undefined) throw new TypeError(`${typeof value} is no JSON`);
      return toUtf8.encode(text);
    },
    decode: (value) => JSON.parse(fromUtf8.decode(value)),
  };
  return schema === undefined ? plain : validated(plain, schema);
}

/**
 * `inner` with a schema on both sides: what was decoded is validated and handed out as the schema transforms it, what is
 * to be encoded is validated and encoded as it is. The schema must validate synchronously.
 */
export const validated = <In, Out>(inner: Codec<unknown>, schema: StandardSchema<In, Out>): Codec<Out, In> => ({
  encode(value) {
    validate(schema, value);
    return inner.encode(value);
  },
  decode: (value) => validate(schema, inner.decode(value)),
});

const validate = <In, Out>(schema: StandardSchema<In, Out>, value: unknown): Out => {
  const result = schema["~standard"].validate(value);
  if (result instanceof Promise) throw new TypeError(`the schema (${schema["~standard"].vendor}) is asynchronous`);
  if (result.issues === undefined) return result.value;
  throw new TypeError(result.issues.map(({ message, path = [] }) => `${pathOf(path)}${message}`).join("; "));
};

const pathOf = (path: ReadonlyArray<PropertyKey | { readonly key: PropertyKey }>): string =>
  path.length === 0 ? "" : `${path.map((part) => String(typeof part === "object" ? part.key : part)).join(".")}: `;

const INT64_BYTES = 8;

const viewOf = (value: Uint8Array): DataView => {
  if (value.length !== INT64_BYTES) throw new TypeError(`an int64 has 8 bytes, not ${value.length}`);
  return new DataView(value.buffer, value.byteOffset, INT64_BYTES);
};

/** Kafka's `LongSerializer`, any int64. */
export const int64AsBigint: Codec<bigint> = {
  encode(value) {
    if (BigInt.asIntN(64, value) !== value) throw new RangeError(`${value} is no int64`);
    const encoded = new Uint8Array(INT64_BYTES);
    viewOf(encoded).setBigInt64(0, value);
    return encoded;
  },
  decode: (value) => viewOf(value).getBigInt64(0),
};

/** Kafka's `LongSerializer` for numbers; one beyond ±(2^53 − 1) is an error, never a wrong number. */
export const int64: Codec<number> = {
  encode(value) {
    if (!Number.isSafeInteger(value)) throw new RangeError(`${value} is no integer within ±(2^53 − 1)`);
    return int64AsBigint.encode(BigInt(value));
  },
  decode(value) {
    const exact = int64AsBigint.decode(value);
    const number = Number(exact);
    if (!Number.isSafeInteger(number)) throw new RangeError(`${exact} is beyond ±(2^53 − 1): use int64AsBigint`);
    return number;
  },
};
