/**
 * Kafka's message definitions as data: parses the JSON (with `//` comments) of one definition into a `MessageSpec` with
 * version ranges as numbers. What must stay true: anything this generator does not understand is an error, never skipped.
 */

/** First and last version, inclusive; `last` is `OPEN` for "and later". Empty when `first > last`. */
export interface Versions {
  readonly first: number;
  readonly last: number;
}

export const OPEN = 32767;
export const NO_VERSIONS: Versions = { first: 0, last: -1 };

export const isEmpty = (range: Versions): boolean => range.first > range.last;
export const intersect = (a: Versions, b: Versions): Versions => {
  const range = { first: Math.max(a.first, b.first), last: Math.min(a.last, b.last) };
  return isEmpty(range) ? NO_VERSIONS : range;
};
export const hull = (a: Versions, b: Versions): Versions =>
  isEmpty(a) ? b : isEmpty(b) ? a : { first: Math.min(a.first, b.first), last: Math.max(a.last, b.last) };
export const covers = (outer: Versions, inner: Versions): boolean =>
  isEmpty(inner) || (outer.first <= inner.first && outer.last >= inner.last);

export interface FieldSpec {
  /** Camel case. */
  readonly name: string;
  readonly type: string;
  /** The element's type where `type` is an array, else `type`. */
  readonly element: string;
  readonly isArray: boolean;
  readonly versions: Versions;
  readonly tagged: Versions;
  readonly tag: number;
  readonly nullable: Versions;
  /** Kafka's text; empty when the type's own default holds. */
  readonly fallback: string;
  readonly ignorable: boolean;
  /** Whether the field keeps the classic form in flexible versions (`"flexibleVersions": "none"`). */
  readonly neverFlexible: boolean;
  readonly fields: readonly FieldSpec[] | undefined;
}

export interface MessageSpec {
  readonly name: string;
  readonly type: string;
  readonly apiKey: number | undefined;
  readonly versions: Versions;
  readonly flexible: Versions;
  readonly listeners: readonly string[];
  readonly latestVersionUnstable: boolean;
  readonly fields: readonly FieldSpec[];
  readonly structs: ReadonlyMap<string, { readonly versions: Versions; readonly fields: readonly FieldSpec[] }>;
}

type Json = { readonly [key: string]: unknown };

export function parseVersions(text: unknown): Versions {
  if (text === undefined || text === null || text === "none" || text === "") return NO_VERSIONS;
  if (typeof text !== "string") throw new Error(`versions ${JSON.stringify(text)}`);
  const match = /^(\d+)(?:(\+)|-(\d+))?$/.exec(text);
  if (match === null) throw new Error(`versions ${text}`);
  const first = Number(match[1]);
  return { first, last: match[2] === "+" ? OPEN : match[3] === undefined ? first : Number(match[3]) };
}

/** Removes `//` comments outside strings. */
export function withoutComments(text: string): string {
  return text.replace(/"(?:[^"\\]|\\.)*"|\/\/[^\n]*/g, (token) => (token.startsWith("//") ? "" : token));
}

const FIELD_KEYS = new Set(
  "name type versions taggedVersions tag nullableVersions default ignorable flexibleVersions fields about entityType mapKey zeroCopy".split(
    " ",
  ),
);
const MESSAGE_KEYS = new Set(
  "name type apiKey validVersions flexibleVersions listeners latestVersionUnstable fields commonStructs deprecatedVersions".split(
    " ",
  ),
);

function knownKeys(json: Json, known: ReadonlySet<string>, where: string): void {
  for (const key of Object.keys(json)) if (!known.has(key)) throw new Error(`unknown property ${key} in ${where}`);
}

function text(json: Json, key: string): string {
  const value = json[key];
  if (typeof value !== "string") throw new Error(`no ${key} in ${JSON.stringify(json).slice(0, 200)}`);
  return value;
}

function parseField(json: Json): FieldSpec {
  const name = text(json, "name");
  knownKeys(json, FIELD_KEYS, name);
  const type = text(json, "type");
  const tagged = parseVersions(json.taggedVersions);
  const fallback = json.default;
  const flexible = json.flexibleVersions;
  if (flexible !== undefined && flexible !== "none") throw new Error(`flexibleVersions ${flexible} of ${name}`);
  const fields = json.fields;
  return {
    name: name.slice(0, 1).toLowerCase() + name.slice(1),
    type,
    element: type.replace("[]", ""),
    isArray: type.startsWith("[]"),
    versions: json.versions === undefined ? tagged : parseVersions(json.versions),
    tagged,
    tag: typeof json.tag === "number" ? json.tag : -1,
    nullable: parseVersions(json.nullableVersions),
    fallback: fallback === undefined || fallback === null ? "" : String(fallback),
    ignorable: json.ignorable === true || json.ignorable === "true",
    neverFlexible: flexible === "none",
    fields: Array.isArray(fields) ? fields.map(parseField) : undefined,
  };
}

export function parseMessage(source: string): MessageSpec {
  const json: Json = JSON.parse(withoutComments(source));
  const name = text(json, "name");
  knownKeys(json, MESSAGE_KEYS, name);
  const structs = new Map<string, { versions: Versions; fields: readonly FieldSpec[] }>();
  const common = json.commonStructs;
  if (Array.isArray(common)) {
    for (const struct of common as Json[]) {
      structs.set(text(struct, "name"), {
        versions: parseVersions(struct.versions),
        fields: (struct.fields as Json[]).map(parseField),
      });
    }
  }
  const fields = (json.fields as Json[] | undefined)?.map(parseField) ?? [];
  const collect = (list: readonly FieldSpec[]): void => {
    for (const field of list) {
      if (field.fields === undefined) continue;
      if (structs.has(field.element)) throw new Error(`struct ${field.element} twice in ${name}`);
      structs.set(field.element, { versions: field.versions, fields: field.fields });
      collect(field.fields);
    }
  };
  for (const struct of [...structs.values()]) collect(struct.fields);
  collect(fields);
  const listeners = json.listeners;
  return {
    name,
    type: text(json, "type"),
    apiKey: typeof json.apiKey === "number" ? json.apiKey : undefined,
    versions: parseVersions(json.validVersions),
    flexible: parseVersions(json.flexibleVersions),
    listeners: Array.isArray(listeners) ? listeners.map(String) : [],
    latestVersionUnstable: json.latestVersionUnstable === true,
    fields,
    structs,
  };
}
