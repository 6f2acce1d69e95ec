/**
 * One configuration key and the grammar of its values: how Kafka's ConfigDef reads, checks and prints the nine types.
 * Values are kept as text, the way they were written; what must stay true is that every refusal has Kafka 4.3.1's own
 * words (`org.apache.kafka.common.config.ConfigDef`), because tools show them and tests compare them.
 */

export type ConfigType = "BOOLEAN" | "STRING" | "INT" | "SHORT" | "LONG" | "DOUBLE" | "LIST" | "CLASS" | "PASSWORD";

/** Whether a broker key can change while the broker runs, and for whom (KIP-226). */
export type UpdateMode = "read-only" | "per-broker" | "cluster-wide";

/** What a value of the right type must also be. */
export type Valid =
  | { readonly kind: "range"; readonly min: number; readonly max?: number; readonly or?: number }
  | { readonly kind: "oneOf"; readonly values: ReadonlyArray<string>; readonly ignoreCase?: true }
  | { readonly kind: "list"; readonly values?: ReadonlyArray<string>; readonly filled?: true }
  | { readonly kind: "nonEmpty" }
  | { readonly kind: "throttledReplicas" };

export interface ConfigKey<Type extends ConfigType = ConfigType, Nullable extends boolean = boolean> {
  readonly type: Type;
  /** The built-in value as text, as Kafka prints it; null: unset. */
  readonly default: string | (Nullable extends true ? null : never);
  readonly mode: UpdateMode;
  /** One or two sentences for DescribeConfigs and the documentation. */
  readonly doc: string;
  readonly valid: Valid | undefined;
  /** Accepted but neither listed nor described, as in Kafka. */
  readonly internal: boolean;
  /** Kafka's own default, where ours is another. */
  readonly kafkaDefault: string | null | undefined;
  /** Of a topic's key: the broker's key that sets it for topics that do not. */
  readonly synonym: string | undefined;
}

export interface KeyOptions {
  readonly internal?: true;
  readonly kafkaDefault?: string | null;
  readonly synonym?: string;
}

type Default = string | number | boolean | null;
type KeyOf<Type extends ConfigType, D> = ConfigKey<Type, D extends null ? true : false>;

const key =
  <Type extends ConfigType>(type: Type) =>
  <D extends Default>(
    value: D,
    mode: UpdateMode,
    doc: string,
    valid?: Valid,
    options?: KeyOptions,
  ): KeyOf<Type, D> => ({
    type,
    default: (value === null ? null : String(value)) as KeyOf<Type, D>["default"],
    mode,
    doc,
    valid,
    internal: options?.internal === true,
    kafkaDefault: options?.kafkaDefault,
    synonym: options?.synonym,
  });

export const boolean = key("BOOLEAN");
export const string = key("STRING");
export const int = key("INT");
export const short = key("SHORT");
export const long = key("LONG");
export const double = key("DOUBLE");
export const list = key("LIST");
export const javaClass = key("CLASS");
export const password = key("PASSWORD");

export const atLeast = (min: number): Valid => ({ kind: "range", min });
export const between = (min: number, max: number): Valid => ({ kind: "range", min, max });
export const oneOf = (...values: string[]): Valid => ({ kind: "oneOf", values });
export const oneOfIgnoringCase = (...values: string[]): Valid => ({ kind: "oneOf", values, ignoreCase: true });
export const listOf = (...values: string[]): Valid => ({ kind: "list", values });
export const filledList: Valid = { kind: "list", filled: true };
export const nonEmpty: Valid = { kind: "nonEmpty" };

/** A value as code uses it. A LONG beyond 2^53 − 1 is saturated there, as all int64 are. */
export type ConfigValue = string | number | boolean | ReadonlyArray<string>;

export type Parsed =
  | { readonly ok: true; readonly value: ConfigValue }
  | { readonly ok: false; readonly error: string };

const integerBounds = {
  INT: [-2147483648n, 2147483647n],
  SHORT: [-32768n, 32767n],
  LONG: [-(2n ** 63n), 2n ** 63n - 1n],
} as const;

function saturated(value: bigint): number {
  if (value > Number.MAX_SAFE_INTEGER) return Number.MAX_SAFE_INTEGER;
  if (value < Number.MIN_SAFE_INTEGER) return Number.MIN_SAFE_INTEGER;
  return Number(value);
}

/** Java's `Double.parseDouble`, without its hexadecimal form. */
const javaDoubleText = /^[+-]?(NaN|Infinity|(\d+\.?\d*|\.\d+)(e[+-]?\d+)?[dfDF]?)$/i;

/** Java's `Double.toString`: 0.5, 2.0, 1.0E10, 1.7976931348623157E308. */
function printDouble(value: number): string {
  if (!Number.isFinite(value)) return String(value);
  const magnitude = Math.abs(value);
  if (magnitude === 0) return Object.is(value, -0) ? "-0.0" : "0.0";
  if (magnitude >= 1e-3 && magnitude < 1e7) return Number.isInteger(value) ? `${value}.0` : String(value);
  const [digits, exponent] = value.toExponential().split("e");
  return `${digits?.includes(".") ? digits : `${digits}.0`}E${Number(exponent)}`;
}

const splitList = (text: string): string[] => (text === "" ? [] : text.split(/\s*,\s*/));

const describe = (name: string, value: string, why: string) =>
  `Invalid value ${value} for configuration ${name}: ${why}`;

/** Why a value of the right type is refused, or undefined. */
function refusal(name: string, definition: ConfigKey, value: ConfigValue): string | undefined {
  const { valid } = definition;
  if (valid === undefined) return undefined;
  switch (valid.kind) {
    case "range": {
      if (typeof value !== "number") return undefined;
      const shown = definition.type === "DOUBLE" ? printDouble(value) : String(value);
      if (valid.or !== undefined) {
        if (value === valid.or || (value >= valid.min && value <= (valid.max ?? value))) return undefined;
        return describe(name, shown, `Value must be between ${valid.min} and ${valid.max} or equal to ${valid.or}`);
      }
      if (value < valid.min) return describe(name, shown, `Value must be at least ${valid.min}`);
      if (valid.max !== undefined && value > valid.max)
        return describe(name, shown, `Value must be no more than ${valid.max}`);
      return undefined;
    }
    case "oneOf": {
      const text = String(value);
      const found = valid.ignoreCase
        ? valid.values.some((each) => each.toUpperCase() === text.toUpperCase())
        : valid.values.includes(text);
      if (found) return undefined;
      const hint = valid.ignoreCase ? "String must be one of (case insensitive): " : "String must be one of: ";
      return describe(name, text, hint + valid.values.join(", "));
    }
    case "list": {
      const elements = Array.isArray(value) ? value : [];
      if (valid.filled && elements.length === 0)
        return `Configuration '${name}' must not be empty. Valid values include: any non-empty value`;
      for (const element of elements) {
        if (element === "") return `Configuration '${name}' values must not be empty.`;
        if (valid.values !== undefined && !valid.values.includes(element))
          return describe(name, element, `String must be one of: ${valid.values.join(", ")}`);
      }
      return undefined;
    }
    case "nonEmpty":
      return value === "" ? describe(name, "", "String must be non-empty") : undefined;
    case "throttledReplicas": {
      const elements = Array.isArray(value) ? value : [];
      // As Kafka has it, what stands between two commas may be nothing.
      if (elements.join("") === "*" || elements.every((element) => /^(\d+:\d+)?$/.test(element))) return undefined;
      return describe(
        name,
        `[${elements.join(", ")}]`,
        `${name} must be the literal '*' or a list of replicas in the following format: [partitionId]:[brokerId],[partitionId]:[brokerId],...`,
      );
    }
  }
}

function parseText(name: string, definition: ConfigKey, text: string): Parsed {
  const trimmed = text.trim();
  switch (definition.type) {
    case "BOOLEAN": {
      const lower = trimmed.toLowerCase();
      if (lower === "true" || lower === "false") return { ok: true, value: lower === "true" };
      return { ok: false, error: describe(name, text, "Expected value to be either true or false") };
    }
    case "INT":
    case "SHORT":
    case "LONG": {
      const [min, max] = integerBounds[definition.type];
      // 20 characters hold every int64: nothing longer is worth a big integer.
      if (/^[+-]?\d{1,40}$/.test(trimmed)) {
        const value = BigInt(trimmed.replace("+", ""));
        if (value >= min && value <= max) return { ok: true, value: saturated(value) };
      }
      return { ok: false, error: describe(name, text, `Not a number of type ${definition.type}`) };
    }
    case "DOUBLE":
      if (!javaDoubleText.test(trimmed))
        return { ok: false, error: describe(name, text, "Not a number of type DOUBLE") };
      return { ok: true, value: Number(trimmed.replace(/[dfDF]$/, "")) };
    case "LIST": {
      const elements = splitList(trimmed);
      // Kafka 4 drops repeated elements with a warning, but not these.
      const repeats = definition.valid?.kind === "throttledReplicas";
      return { ok: true, value: repeats ? elements : [...new Set(elements)] };
    }
    case "PASSWORD":
      return { ok: true, value: text };
    case "STRING":
    case "CLASS":
      return { ok: true, value: trimmed };
  }
}

/** Reads and checks one value; the error is Kafka's message. */
export function parseConfigValue(name: string, definition: ConfigKey, text: string): Parsed {
  const parsed = parseText(name, definition, text);
  if (!parsed.ok) return parsed;
  const error = refusal(name, definition, parsed.value);
  return error === undefined ? parsed : { ok: false, error };
}

/**
 * A value in the form Kafka prints it (`ConfigDef.convertToString`): "+5" as 5, "TRUE" as true, a list joined by commas;
 * an internal key's as it was written.
 */
export function printConfigValue(name: string, definition: ConfigKey, text: string): string {
  if (definition.internal) return text;
  const parsed = parseConfigValue(name, definition, text);
  if (!parsed.ok) return text;
  const { value } = parsed;
  if (definition.type === "LONG") return BigInt(text.trim().replace("+", "")).toString();
  if (definition.type === "DOUBLE" && typeof value === "number") return printDouble(value);
  return Array.isArray(value) ? value.join(",") : String(value);
}

/** What is allowed, in words, for an error message or a table: "an integer of at least 1". */
export function allowedValues(definition: ConfigKey): string {
  const nouns: Record<ConfigType, string> = {
    BOOLEAN: "true or false",
    STRING: "a text",
    INT: "a whole number (32 bits)",
    SHORT: "a whole number (16 bits)",
    LONG: "a whole number (64 bits)",
    DOUBLE: "a number",
    LIST: "a list separated by commas",
    CLASS: "a class name",
    PASSWORD: "a secret",
  };
  const noun = nouns[definition.type];
  const { valid } = definition;
  switch (valid?.kind) {
    case "range": {
      const range = valid.max === undefined ? `of at least ${valid.min}` : `from ${valid.min} to ${valid.max}`;
      return `${noun} ${range}${valid.or === undefined ? "" : `, or ${valid.or}`}`;
    }
    case "oneOf":
      return `one of ${valid.values.join(", ")}`;
    case "list":
      return valid.values === undefined ? noun : `${noun}, of ${valid.values.join(", ")}`;
    case "nonEmpty":
      return `${noun}, not empty`;
    case "throttledReplicas":
      return "* or partition:broker pairs separated by commas";
    default:
      return noun;
  }
}
