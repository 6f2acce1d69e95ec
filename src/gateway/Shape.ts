/**
 * What a client's value must look like: small parsers that also say themselves as JSON Schema, shared by the frames of
 * the stream protocol and the verbs of the HTTP API. What must stay true: a refusal is one line that names the field,
 * what it is and what is allowed; unknown fields are ignored; nothing is parsed per byte.
 */

/** The value is not what the shape allows; the message is for the client. */
export class ShapeError extends Error {
  override readonly name = "ShapeError";
}

export type JsonSchema = { readonly [key: string]: unknown };

export interface Shape<A> {
  /** `at` is the field's path, for the message. Throws `ShapeError`. */
  parse(value: unknown, at: string): A;
  readonly schema: JsonSchema;
  readonly optional?: boolean;
}

export type Parsed<S> = S extends Shape<infer A> ? A : never;

const shown = (value: unknown): string => {
  if (value === undefined) return "missing";
  if (value === null) return "null";
  if (typeof value === "string") return JSON.stringify(value.length > 64 ? `${value.slice(0, 64)}…` : value);
  if (typeof value === "number" || typeof value === "boolean" || typeof value === "bigint") return String(value);
  if (value instanceof Uint8Array) return `${value.length} bytes`;
  return Array.isArray(value) ? "an array" : "a map";
};

export const refuse = (at: string, expected: string, value: unknown): never => {
  throw new ShapeError(`${at}: expected ${expected}, got ${shown(value)}`);
};

const shape = <A>(schema: JsonSchema, parse: Shape<A>["parse"]): Shape<A> => ({ schema, parse });

/** The same with a line of meaning for the OpenAPI page. */
export const described = <A>(description: string, inner: Shape<A>): Shape<A> => ({
  ...inner,
  schema: { ...inner.schema, description },
});

export const int = (min = Number.MIN_SAFE_INTEGER, max = Number.MAX_SAFE_INTEGER): Shape<number> => {
  const range = min === Number.MIN_SAFE_INTEGER ? "an integer" : `an integer of ${min} … ${max}`;
  const schema = { type: "integer", ...(min === Number.MIN_SAFE_INTEGER ? {} : { minimum: min, maximum: max }) };
  return shape(schema, (value, at) => {
    const number = typeof value === "bigint" ? Number(value) : value;
    if (typeof number !== "number" || !Number.isSafeInteger(number) || number < min || number > max) {
      return refuse(at, range, value);
    }
    return number;
  });
};

export const INT32_MAX = 0x7fff_ffff;
export const int32 = (min = 0, max = INT32_MAX): Shape<number> => int(min, max);

export const boolean: Shape<boolean> = shape({ type: "boolean" }, (value, at) =>
  typeof value === "boolean" ? value : refuse(at, "true or false", value),
);

/** A string of at most `max` UTF-16 units; not empty unless `min` is 0. */
export const text = (max = 32_767, min = 1): Shape<string> => {
  const expected = min === 0 ? `a string of at most ${max} characters` : `a string of ${min} … ${max} characters`;
  return shape({ type: "string", minLength: min, maxLength: max }, (value, at) =>
    typeof value === "string" && value.length >= min && value.length <= max ? value : refuse(at, expected, value),
  );
};

export const oneOf = <const V extends ReadonlyArray<string | number>>(...values: V): Shape<V[number]> => {
  const expected = values.map((value) => JSON.stringify(value)).join(" or ");
  return shape({ enum: values }, (value, at) => {
    const found = values.find((each) => each === value);
    return found === undefined ? refuse(at, expected, value) : found;
  });
};

/** MessagePack's bin, and nothing else. */
export const binary: Shape<Uint8Array> = shape({ type: "string", contentEncoding: "base64" }, (value, at) =>
  value instanceof Uint8Array ? value : refuse(at, "bytes", value),
);

export const nullable = <A>(inner: Shape<A>): Shape<A | null> =>
  shape({ anyOf: [inner.schema, { type: "null" }] }, (value, at) => (value === null ? null : inner.parse(value, at)));

/** The first of two forms that fits; the refusal is the second one's. */
export const either = <A, B>(first: Shape<A>, second: Shape<B>): Shape<A | B> =>
  shape<A | B>({ anyOf: [first.schema, second.schema] }, (value, at) => {
    try {
      return first.parse(value, at);
    } catch (error) {
      if (!(error instanceof ShapeError)) throw error;
      return second.parse(value, at);
    }
  });

export const list = <A>(item: Shape<A>, max = 100_000): Shape<ReadonlyArray<A>> =>
  shape({ type: "array", items: item.schema, maxItems: max }, (value, at) => {
    if (!Array.isArray(value)) return refuse(at, "an array", value);
    if (value.length > max) throw new ShapeError(`${at}: at most ${max} entries are allowed, got ${value.length}`);
    return value.map((each: unknown, index) => item.parse(each, `${at}[${index}]`));
  });

type Fields = Readonly<Record<string, Shape<unknown>>>;
type OptionalKeys<F extends Fields> = { [K in keyof F]: F[K] extends { optional: true } ? K : never }[keyof F];
type Struct<F extends Fields> = { readonly [K in Exclude<keyof F, OptionalKeys<F>>]: Parsed<F[K]> } & {
  readonly [K in OptionalKeys<F>]?: Exclude<Parsed<F[K]>, undefined>;
};

export const isMap = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Uint8Array);

/** A field that may be left out; undefined and null both mean that it is. */
export const optional = <A>(inner: Shape<A>): Shape<A | undefined> & { readonly optional: true } => ({
  schema: inner.schema,
  parse: (value, at) => (value === undefined || value === null ? undefined : inner.parse(value, at)),
  optional: true,
});

/** A map with these fields; others are ignored, absent optional ones are left out. */
export const struct = <const F extends Fields>(fields: F): Shape<Struct<F>> => {
  const entries = Object.entries(fields);
  const schema = {
    type: "object",
    properties: Object.fromEntries(entries.map(([name, field]) => [name, field.schema])),
    required: entries.filter(([, field]) => field.optional !== true).map(([name]) => name),
  };
  return shape(schema, (value, at) => {
    if (!isMap(value)) return refuse(at === "" ? "the body" : at, "a map", value);
    const parsed: Record<string, unknown> = {};
    for (const [name, field] of entries) {
      const result = field.parse(value[name], at === "" ? name : `${at}.${name}`);
      if (result !== undefined) parsed[name] = result;
    }
    return parsed as Struct<F>;
  });
};

/** What `inner` gives, checked or changed further. `check` throws `ShapeError` through `refuse`. */
export const refined = <A, B>(inner: Shape<A>, check: (value: A, at: string) => B): Shape<B> =>
  shape(inner.schema, (value, at) => check(inner.parse(value, at), at));

/** Whatever `parse` makes of it. */
export const custom = <A>(schema: JsonSchema, parse: Shape<A>["parse"]): Shape<A> => shape(schema, parse);
