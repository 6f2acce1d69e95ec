/**
 * Kafka's own message definitions, read from the `kafka-clients` jar and interpreted field by field: a second codec that shares
 * nothing with `src/protocol`, so that a mistake there cannot hide in the wire tests. Slow on purpose: it is a measuring tool.
 */
import { join } from "node:path";
import { inflateRawSync } from "node:zlib";
import { KAFKA_VERSION, kafkaLibs } from "./Cache.ts";

/** A message as a tree: structs are objects with Kafka's camel-case field names, int64 are numbers. */
export type Value = null | boolean | number | bigint | string | Uint8Array | readonly Value[] | Fields;
export interface Fields {
  readonly [name: string]: Value | undefined;
}

interface Versions {
  readonly min: number;
  readonly max: number;
}

interface FieldJson {
  readonly name: string;
  readonly type: string;
  readonly versions?: string;
  readonly nullableVersions?: string;
  readonly taggedVersions?: string;
  readonly flexibleVersions?: string;
  readonly tag?: number;
  readonly default?: string | number | boolean;
  readonly fields?: readonly FieldJson[];
}

interface MessageJson {
  readonly apiKey?: number;
  readonly name: string;
  readonly validVersions: string;
  readonly flexibleVersions: string;
  readonly fields?: readonly FieldJson[];
  readonly commonStructs?: readonly { readonly name: string; readonly fields: readonly FieldJson[] }[];
}

const parseVersions = (text: string | undefined): Versions => {
  if (text === undefined || text === "none" || text === "") return { min: 1, max: 0 };
  const match = /^(\d+)(?:-(\d+)|(\+))?$/.exec(text);
  if (match === null) throw new Error(`versions ${text}`);
  const min = Number(match[1]);
  return { min, max: match[2] !== undefined ? Number(match[2]) : match[3] === "+" ? 32767 : min };
};

const within = (versions: Versions, version: number): boolean => version >= versions.min && version <= versions.max;

interface Field {
  readonly name: string;
  readonly type: string;
  readonly versions: Versions;
  readonly nullable: Versions;
  readonly tagged: Versions;
  readonly flexible: Versions | undefined;
  readonly tag: number;
  readonly fallback: string | number | boolean | undefined;
  readonly fields: readonly Field[] | undefined;
}

export interface Definition {
  readonly name: string;
  readonly apiKey: number;
  readonly valid: Versions;
  readonly flexible: Versions;
  readonly fields: readonly Field[];
}

const camel = (name: string): string => name.slice(0, 1).toLowerCase() + name.slice(1);

const compile = (json: MessageJson): Definition => {
  const common = new Map((json.commonStructs ?? []).map((struct) => [struct.name, struct.fields]));
  const field = (each: FieldJson): Field => {
    const element = each.type.replace(/^\[\]/, "");
    const inner = each.fields ?? common.get(element);
    return {
      name: camel(each.name),
      type: each.type,
      versions: parseVersions(each.versions ?? each.taggedVersions),
      nullable: parseVersions(each.nullableVersions),
      tagged: parseVersions(each.taggedVersions),
      flexible: each.flexibleVersions === undefined ? undefined : parseVersions(each.flexibleVersions),
      tag: each.tag ?? -1,
      fallback: each.default,
      fields: inner?.map(field),
    };
  };
  return {
    name: json.name,
    apiKey: json.apiKey ?? -1,
    valid: parseVersions(json.validVersions),
    flexible: parseVersions(json.flexibleVersions),
    fields: (json.fields ?? []).map(field),
  };
};

/** Files of a zip archive whose names the filter takes; stored and deflated entries, no zip64. */
const unzip = (archive: Buffer, take: (name: string) => boolean): Map<string, Buffer> => {
  const files = new Map<string, Buffer>();
  const end = archive.lastIndexOf(Buffer.from("PK\x05\x06", "latin1"));
  let at = archive.readUInt32LE(end + 16);
  for (let left = archive.readUInt16LE(end + 10); left > 0; left--) {
    const method = archive.readUInt16LE(at + 10);
    const size = archive.readUInt32LE(at + 20);
    const nameLength = archive.readUInt16LE(at + 28);
    const skip = archive.readUInt16LE(at + 30) + archive.readUInt16LE(at + 32);
    const name = archive.toString("latin1", at + 46, at + 46 + nameLength);
    const local = archive.readUInt32LE(at + 42);
    if (take(name)) {
      const data = local + 30 + archive.readUInt16LE(local + 26) + archive.readUInt16LE(local + 28);
      const bytes = archive.subarray(data, data + size);
      files.set(name, method === 8 ? inflateRawSync(bytes) : bytes);
    }
    at += 46 + nameLength + skip;
  }
  return files;
};

let loaded: Promise<Map<string, Definition>> | undefined;

const load = async (): Promise<Map<string, Definition>> => {
  const jar = join(await kafkaLibs(), "libs", `kafka-clients-${KAFKA_VERSION}.jar`);
  const files = unzip(Buffer.from(await Bun.file(jar).arrayBuffer()), (name) =>
    /^common\/message\/\w+\.json$/.test(name),
  );
  const definitions = new Map<string, Definition>();
  for (const text of files.values()) {
    const json: MessageJson = JSON.parse(
      text
        .toString()
        .replace(/^\s*\/\/.*$/gm, "")
        .replace(/\s\/\/ .*$/gm, ""),
    );
    definitions.set(json.name, compile(json));
  }
  return definitions;
};

export const definition = async (name: string): Promise<Definition> => {
  loaded ??= load();
  const found = (await loaded).get(name);
  if (found === undefined) throw new Error(`no message ${name} in Kafka's definitions`);
  return found;
};

export const requestNames = async (): Promise<readonly string[]> => {
  loaded ??= load();
  return [...(await loaded).keys()].filter((name) => name.endsWith("Request")).map((name) => name.slice(0, -7));
};

export const isFlexible = (message: Definition, version: number): boolean => within(message.flexible, version);

class Writer {
  private parts: Buffer[] = [];
  raw(bytes: Uint8Array): void {
    this.parts.push(Buffer.from(bytes));
  }
  private fixed(size: number, fill: (buffer: Buffer) => void): void {
    const buffer = Buffer.alloc(size);
    fill(buffer);
    this.parts.push(buffer);
  }
  int8(value: number): void {
    this.fixed(1, (buffer) => buffer.writeInt8(value));
  }
  int16(value: number): void {
    this.fixed(2, (buffer) => buffer.writeInt16BE(value));
  }
  uint16(value: number): void {
    this.fixed(2, (buffer) => buffer.writeUInt16BE(value));
  }
  int32(value: number): void {
    this.fixed(4, (buffer) => buffer.writeInt32BE(value));
  }
  uint32(value: number): void {
    this.fixed(4, (buffer) => buffer.writeUInt32BE(value));
  }
  int64(value: number | bigint): void {
    this.fixed(8, (buffer) => buffer.writeBigInt64BE(BigInt(value)));
  }
  float64(value: number): void {
    this.fixed(8, (buffer) => buffer.writeDoubleBE(value));
  }
  uvarint(value: number): void {
    const bytes: number[] = [];
    let rest = value;
    while (rest > 127) {
      bytes.push((rest & 127) | 128);
      rest >>>= 7;
    }
    bytes.push(rest);
    this.parts.push(Buffer.from(bytes));
  }
  length(value: number, flexible: boolean, short: boolean): void {
    if (flexible) this.uvarint(value + 1);
    else if (short) this.int16(value);
    else this.int32(value);
  }
  bytes(): Buffer {
    return Buffer.concat(this.parts);
  }
}

const uuidBytes = (text: string): Buffer => Buffer.from(text, "base64url");
const zeroUuid = "AAAAAAAAAAAAAAAAAAAAAA";

const fallbackOf = (field: Field): Value => {
  if (field.type.startsWith("[]")) return field.fallback === "null" ? null : [];
  switch (field.type) {
    case "bool":
      return field.fallback === true || field.fallback === "true";
    case "string":
      return field.fallback === "null" ? null : String(field.fallback ?? "");
    case "uuid":
      return zeroUuid;
    case "bytes":
    case "records":
      return field.fallback === "null" ? null : field.type === "records" ? null : new Uint8Array(0);
    default:
      if (field.fields !== undefined) return field.fallback === "null" ? null : structFallback(field.fields);
      return Number(field.fallback ?? 0);
  }
};

const structFallback = (fields: readonly Field[]): Fields =>
  Object.fromEntries(fields.map((field) => [field.name, fallbackOf(field)]));

const numeric = (value: Value, name: string): number => {
  if (typeof value !== "number") throw new Error(`${name} must be a number, not ${String(value)}`);
  return value;
};

const writeOne = (
  writer: Writer,
  type: string,
  field: Field,
  value: Value,
  version: number,
  flexible: boolean,
): void => {
  switch (type) {
    case "bool":
      writer.int8(value === true ? 1 : 0);
      return;
    case "int8":
      writer.int8(numeric(value, field.name));
      return;
    case "int16":
      writer.int16(numeric(value, field.name));
      return;
    case "uint16":
      writer.uint16(numeric(value, field.name));
      return;
    case "int32":
      writer.int32(numeric(value, field.name));
      return;
    case "uint32":
      writer.uint32(numeric(value, field.name));
      return;
    case "int64":
      writer.int64(typeof value === "bigint" ? value : numeric(value, field.name));
      return;
    case "float64":
      writer.float64(numeric(value, field.name));
      return;
    case "uuid":
      writer.raw(uuidBytes(String(value)));
      return;
    case "string": {
      if (value === null) {
        writer.length(-1, flexible, true);
        return;
      }
      const bytes = Buffer.from(String(value));
      writer.length(bytes.length, flexible, true);
      writer.raw(bytes);
      return;
    }
    case "bytes":
    case "records": {
      if (value === null) {
        writer.length(-1, flexible, false);
        return;
      }
      if (!(value instanceof Uint8Array)) throw new Error(`${field.name} must be bytes`);
      writer.length(value.length, flexible, false);
      writer.raw(value);
      return;
    }
    default: {
      if (field.fields === undefined) throw new Error(`type ${type}`);
      if (value === null || typeof value !== "object" || Array.isArray(value) || value instanceof Uint8Array) {
        throw new Error(`${field.name} must be a struct`);
      }
      writeFields(writer, field.fields, value as Fields, version, flexible);
      return;
    }
  }
};

const writeValue = (writer: Writer, field: Field, value: Value, version: number, messageFlexible: boolean): void => {
  const flexible = field.flexible === undefined ? messageFlexible : messageFlexible && within(field.flexible, version);
  if (field.type.startsWith("[]")) {
    if (value === null) {
      writer.length(-1, flexible, false);
      return;
    }
    if (!Array.isArray(value)) throw new Error(`${field.name} must be an array`);
    writer.length(value.length, flexible, false);
    for (const each of value) writeOne(writer, field.type.slice(2), field, each, version, flexible);
    return;
  }
  if (field.fields !== undefined && within(field.nullable, version)) {
    writer.int8(value === null ? -1 : 1);
    if (value === null) return;
  }
  writeOne(writer, field.type, field, value, version, flexible);
};

const writeFields = (
  writer: Writer,
  fields: readonly Field[],
  values: Fields,
  version: number,
  flexible: boolean,
): void => {
  for (const name of Object.keys(values)) {
    if (name !== "unknownTags" && !fields.some((field) => field.name === name)) throw new Error(`no field ${name}`);
  }
  const tags: { tag: number; bytes: Buffer }[] = [];
  for (const field of fields) {
    if (!within(field.versions, version)) continue;
    const given = values[field.name];
    const value = given === undefined ? fallbackOf(field) : given;
    if (flexible && within(field.tagged, version)) {
      if (given === undefined) continue;
      const inner = new Writer();
      writeValue(inner, field, value, version, flexible);
      tags.push({ tag: field.tag, bytes: inner.bytes() });
    } else writeValue(writer, field, value, version, flexible);
  }
  if (!flexible) return;
  const unknown = values.unknownTags;
  if (unknown !== null && typeof unknown === "object" && !Array.isArray(unknown) && !(unknown instanceof Uint8Array)) {
    for (const [tag, bytes] of Object.entries(unknown)) {
      if (bytes instanceof Uint8Array) tags.push({ tag: Number(tag), bytes: Buffer.from(bytes) });
    }
  }
  writer.uvarint(tags.length);
  for (const { tag, bytes } of tags.sort((a, b) => a.tag - b.tag)) {
    writer.uvarint(tag);
    writer.uvarint(bytes.length);
    writer.raw(bytes);
  }
};

/** Bytes of a message body; absent fields have Kafka's defaults. `unknownTags` on any struct adds raw tagged fields. */
export const encode = (message: Definition, version: number, values: Fields): Buffer => {
  const writer = new Writer();
  writeFields(writer, message.fields, values, version, isFlexible(message, version));
  return writer.bytes();
};

class Reader {
  constructor(
    private readonly buffer: Buffer,
    public position: number,
  ) {}
  private take(size: number): number {
    const at = this.position;
    if (size < 0 || at + size > this.buffer.length)
      throw new Error(`answer ends early: ${size} bytes wanted at ${at} of ${this.buffer.length}`);
    this.position += size;
    return at;
  }
  int8(): number {
    return this.buffer.readInt8(this.take(1));
  }
  int16(): number {
    return this.buffer.readInt16BE(this.take(2));
  }
  uint16(): number {
    return this.buffer.readUInt16BE(this.take(2));
  }
  int32(): number {
    return this.buffer.readInt32BE(this.take(4));
  }
  uint32(): number {
    return this.buffer.readUInt32BE(this.take(4));
  }
  int64(): number {
    return Number(this.buffer.readBigInt64BE(this.take(8)));
  }
  float64(): number {
    return this.buffer.readDoubleBE(this.take(8));
  }
  uvarint(): number {
    let value = 0;
    for (let shift = 0; shift < 35; shift += 7) {
      const byte = this.buffer.readUInt8(this.take(1));
      value += (byte & 127) * 2 ** shift;
      if (byte < 128) return value;
    }
    throw new Error("varint too long");
  }
  length(flexible: boolean, short: boolean): number {
    return flexible ? this.uvarint() - 1 : short ? this.int16() : this.int32();
  }
  raw(size: number): Buffer {
    const at = this.take(size);
    return this.buffer.subarray(at, at + size);
  }
  get left(): number {
    return this.buffer.length - this.position;
  }
}

const readOne = (reader: Reader, type: string, field: Field, version: number, flexible: boolean): Value => {
  switch (type) {
    case "bool":
      return reader.int8() !== 0;
    case "int8":
      return reader.int8();
    case "int16":
      return reader.int16();
    case "uint16":
      return reader.uint16();
    case "int32":
      return reader.int32();
    case "uint32":
      return reader.uint32();
    case "int64":
      return reader.int64();
    case "float64":
      return reader.float64();
    case "uuid":
      return reader.raw(16).toString("base64url");
    case "string": {
      const length = reader.length(flexible, true);
      return length < 0 ? null : reader.raw(length).toString();
    }
    case "bytes":
    case "records": {
      const length = reader.length(flexible, false);
      return length < 0 ? null : new Uint8Array(reader.raw(length));
    }
    default:
      if (field.fields === undefined) throw new Error(`type ${type}`);
      return readFields(reader, field.fields, version, flexible);
  }
};

const readValue = (reader: Reader, field: Field, version: number, messageFlexible: boolean): Value => {
  const flexible = field.flexible === undefined ? messageFlexible : messageFlexible && within(field.flexible, version);
  if (field.type.startsWith("[]")) {
    const count = reader.length(flexible, false);
    if (count < 0) return null;
    const values: Value[] = [];
    for (let index = 0; index < count; index++)
      values.push(readOne(reader, field.type.slice(2), field, version, flexible));
    return values;
  }
  if (field.fields !== undefined && within(field.nullable, version) && reader.int8() < 0) return null;
  return readOne(reader, field.type, field, version, flexible);
};

const readFields = (reader: Reader, fields: readonly Field[], version: number, flexible: boolean): Fields => {
  const values: Record<string, Value> = {};
  for (const field of fields) {
    if (!within(field.versions, version)) continue;
    if (flexible && within(field.tagged, version)) values[field.name] = fallbackOf(field);
    else values[field.name] = readValue(reader, field, version, flexible);
  }
  if (!flexible) return values;
  for (let left = reader.uvarint(); left > 0; left--) {
    const tag = reader.uvarint();
    const size = reader.uvarint();
    const end = reader.position + size;
    const field = fields.find((each) => each.tag === tag && within(each.tagged, version));
    if (field === undefined) throw new Error(`answer has an unknown tag ${tag}`);
    values[field.name] = readValue(reader, field, version, flexible);
    if (reader.position !== end) throw new Error(`tag ${tag} has ${size} bytes, ${field.name} took another number`);
  }
  return values;
};

/** Decodes a body and insists that no byte is left over. Fields absent from the version are absent from the tree. */
export const decode = (message: Definition, version: number, bytes: Buffer, start: number): Fields => {
  const reader = new Reader(bytes, start);
  const values = readFields(reader, message.fields, version, isFlexible(message, version));
  if (reader.left !== 0) throw new Error(`${message.name} v${version}: ${reader.left} bytes left over`);
  return values;
};
