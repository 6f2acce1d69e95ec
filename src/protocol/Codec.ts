/**
 * What the generated codecs share: lists of primitives, and the refusals. Nothing here knows a message. Lists are read
 * only after their count has been checked against the bytes that are left.
 */
import type { ByteReader } from "../prelude/ByteReader.ts";
import type { ByteWriter } from "../prelude/ByteWriter.ts";
import { ProtocolError } from "../prelude/ProtocolError.ts";
import type { Uuid } from "../prelude/Types.ts";

/** The default of every byte field that is not null. */
export const EMPTY_BYTES: Uint8Array = new Uint8Array(0);

/** Kafka's "non-nullable field was serialized as null", both ways. */
export function required<T>(value: T | null, field: string): T {
  if (value === null) throw new ProtocolError(`${field} must not be null`);
  return value;
}

/** As `required` where `allowed` is false: the field may be null in some versions only. */
export function optional<T>(value: T | null, allowed: boolean, field: string): T | null {
  if (value === null && !allowed) throw new ProtocolError(`${field} must not be null in this version`);
  return value;
}

export function unsupportedVersion(message: string, version: number): never {
  throw new ProtocolError(`${message} has no version ${version}`);
}

/** A value that is not the default, in a field the version does not have and that may not be left out silently. */
export function notInVersion(field: string, version: number): never {
  throw new ProtocolError(`${field} is set but version ${version} does not have it`);
}

export function unexpectedTag(tag: number, struct: string, version: number): never {
  throw new ProtocolError(`tag ${tag} is not valid in version ${version} of ${struct}`);
}

export function readBools(reader: ByteReader, compact: boolean): boolean[] | null {
  const count = reader.arrayLength(compact, 1);
  if (count < 0) return null;
  const list: boolean[] = [];
  for (let i = 0; i < count; i++) list.push(reader.bool());
  return list;
}

export function writeBools(writer: ByteWriter, list: readonly boolean[] | null, compact: boolean): void {
  writer.arrayLength(list === null ? -1 : list.length, compact);
  if (list === null) return;
  for (let i = 0; i < list.length; i++) writer.bool(list[i]!);
}

export function readInt8s(reader: ByteReader, compact: boolean): number[] | null {
  const count = reader.arrayLength(compact, 1);
  if (count < 0) return null;
  const list: number[] = [];
  for (let i = 0; i < count; i++) list.push(reader.int8());
  return list;
}

export function writeInt8s(writer: ByteWriter, list: readonly number[] | null, compact: boolean): void {
  writer.arrayLength(list === null ? -1 : list.length, compact);
  if (list === null) return;
  for (let i = 0; i < list.length; i++) writer.int8(list[i]!);
}

export function readInt16s(reader: ByteReader, compact: boolean): number[] | null {
  const count = reader.arrayLength(compact, 2);
  if (count < 0) return null;
  const list: number[] = [];
  for (let i = 0; i < count; i++) list.push(reader.int16());
  return list;
}

export function writeInt16s(writer: ByteWriter, list: readonly number[] | null, compact: boolean): void {
  writer.arrayLength(list === null ? -1 : list.length, compact);
  if (list === null) return;
  for (let i = 0; i < list.length; i++) writer.int16(list[i]!);
}

export function readInt32s(reader: ByteReader, compact: boolean): number[] | null {
  const count = reader.arrayLength(compact, 4);
  if (count < 0) return null;
  const list: number[] = [];
  for (let i = 0; i < count; i++) list.push(reader.int32());
  return list;
}

export function writeInt32s(writer: ByteWriter, list: readonly number[] | null, compact: boolean): void {
  writer.arrayLength(list === null ? -1 : list.length, compact);
  if (list === null) return;
  for (let i = 0; i < list.length; i++) writer.int32(list[i]!);
}

export function readInt64s(reader: ByteReader, compact: boolean): number[] | null {
  const count = reader.arrayLength(compact, 8);
  if (count < 0) return null;
  const list: number[] = [];
  for (let i = 0; i < count; i++) list.push(reader.int64());
  return list;
}

export function writeInt64s(writer: ByteWriter, list: readonly number[] | null, compact: boolean): void {
  writer.arrayLength(list === null ? -1 : list.length, compact);
  if (list === null) return;
  for (let i = 0; i < list.length; i++) writer.int64(list[i]!);
}

export function readUuids(reader: ByteReader, compact: boolean): Uuid[] | null {
  const count = reader.arrayLength(compact, 16);
  if (count < 0) return null;
  const list: Uuid[] = [];
  for (let i = 0; i < count; i++) list.push(reader.uuid());
  return list;
}

export function writeUuids(writer: ByteWriter, list: readonly Uuid[] | null, compact: boolean): void {
  writer.arrayLength(list === null ? -1 : list.length, compact);
  if (list === null) return;
  for (let i = 0; i < list.length; i++) writer.uuid(list[i]!);
}

export function readStrings(reader: ByteReader, compact: boolean): string[] | null {
  const count = reader.arrayLength(compact, compact ? 1 : 2);
  if (count < 0) return null;
  const list: string[] = [];
  for (let i = 0; i < count; i++) list.push(compact ? reader.compactString() : reader.string());
  return list;
}

export function writeStrings(writer: ByteWriter, list: readonly string[] | null, compact: boolean): void {
  writer.arrayLength(list === null ? -1 : list.length, compact);
  if (list === null) return;
  for (let i = 0; i < list.length; i++) {
    if (compact) writer.compactString(list[i]!);
    else writer.string(list[i]!);
  }
}

export function readByteFields(reader: ByteReader, compact: boolean): Uint8Array[] | null {
  const count = reader.arrayLength(compact, compact ? 1 : 4);
  if (count < 0) return null;
  const list: Uint8Array[] = [];
  for (let i = 0; i < count; i++) list.push(compact ? reader.compactByteField() : reader.byteField());
  return list;
}

export function writeByteFields(writer: ByteWriter, list: readonly Uint8Array[] | null, compact: boolean): void {
  writer.arrayLength(list === null ? -1 : list.length, compact);
  if (list === null) return;
  for (let i = 0; i < list.length; i++) {
    if (compact) writer.compactByteField(list[i]!);
    else writer.byteField(list[i]!);
  }
}
