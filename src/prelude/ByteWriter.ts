/**
 * Writes Kafka's primitive types into one growing buffer; big byte fields are spliced in as views instead of copied, so
 * that record bytes go from the log to the socket untouched. What must stay true: bytes already handed out by `finish`
 * are never written again, and a spliced view must not change until it has been sent.
 */
import { concatenated } from "./Concatenated.ts";
import { ProtocolError } from "./ProtocolError.ts";
import type { Uuid } from "./Types.ts";
import { uuidIntoBytes } from "./Uuid.ts";

const TWO_32 = 4294967296;
const TWO_63 = 2 ** 63;

/** Byte fields from this size on are spliced in, not copied. */
const SPLICE_BYTES = 4096;
/** Strings up to this many characters are tried as ASCII first. */
const SHORT_STRING = 128;

const UTF8 = new TextEncoder();

/** Bytes that are not in memory: only their number is written, and whoever sends the pieces reads them. */
export interface BytesElsewhere {
  readonly length: number;
  readonly elsewhere: true;
}

export type Piece = Uint8Array | BytesElsewhere;

export class ByteWriter {
  private buffer: Uint8Array;
  private view: DataView;
  /** Where the piece being written begins in `buffer`, and its end. */
  private pieceStart = 0;
  private at = 0;
  private pieces: Piece[] = [];
  private piecesLength = 0;

  constructor(capacity = 256) {
    this.buffer = new Uint8Array(Math.max(16, capacity));
    this.view = new DataView(this.buffer.buffer);
  }

  /** Bytes written so far, spliced ones included. */
  get length(): number {
    return this.piecesLength + this.at - this.pieceStart;
  }

  /** Makes room for `count` bytes, answers where they go and moves past them. */
  private room(count: number): number {
    const at = this.at;
    if (at + count > this.buffer.length) return this.grow(count);
    this.at = at + count;
    return at;
  }

  private grow(count: number): number {
    const used = this.at - this.pieceStart;
    const bigger = new Uint8Array(Math.max(256, this.buffer.length * 2, used + count));
    bigger.set(this.buffer.subarray(this.pieceStart, this.at));
    this.buffer = bigger;
    this.view = new DataView(bigger.buffer);
    this.pieceStart = 0;
    this.at = used + count;
    return used;
  }

  bool(value: boolean): void {
    const at = this.room(1);
    this.buffer[at] = value ? 1 : 0;
  }

  int8(value: number): void {
    const at = this.room(1);
    this.buffer[at] = value;
  }

  uint8(value: number): void {
    const at = this.room(1);
    this.buffer[at] = value;
  }

  int16(value: number): void {
    const at = this.room(2);
    this.view.setInt16(at, value);
  }

  uint16(value: number): void {
    const at = this.room(2);
    this.view.setUint16(at, value);
  }

  int32(value: number): void {
    const at = this.room(4);
    this.view.setInt32(at, value);
  }

  uint32(value: number): void {
    const at = this.room(4);
    this.view.setUint32(at, value);
  }

  /** A number as an int64; beyond int64's range it is clamped. */
  int64(value: number): void {
    const at = this.room(8);
    this.putInt64(at, value);
  }

  private putInt64(at: number, value: number): void {
    if (value >= TWO_63) {
      this.view.setUint32(at, 0x7fffffff);
      this.view.setUint32(at + 4, 0xffffffff);
    } else if (value < -TWO_63) {
      this.view.setUint32(at, 0x80000000);
      this.view.setUint32(at + 4, 0);
    } else {
      const high = Math.floor(value / TWO_32);
      this.view.setInt32(at, high);
      this.view.setUint32(at + 4, value - high * TWO_32);
    }
  }

  float64(value: number): void {
    const at = this.room(8);
    this.view.setFloat64(at, value);
  }

  /** A UUID in Kafka's text form as its 16 bytes. */
  uuid(value: Uuid): void {
    const at = this.room(16);
    uuidIntoBytes(value, this.buffer, at);
  }

  /** `0 … 2^32 − 1` as an unsigned varint. */
  uvarint(value: number): void {
    if (value < 128) {
      const at = this.room(1);
      this.buffer[at] = value;
      return;
    }
    let at = this.room(5);
    const buffer = this.buffer;
    let rest = value >>> 0;
    while (rest >= 128) {
      buffer[at++] = (rest & 127) | 128;
      rest >>>= 7;
    }
    buffer[at++] = rest;
    this.at = at;
  }

  /** An int32 as a zigzag varint. */
  varint(value: number): void {
    this.uvarint(((value << 1) ^ (value >> 31)) >>> 0);
  }

  /** A safe integer as a zigzag varlong. */
  varlong(value: number): void {
    if (value >= -1073741824 && value <= 1073741823) {
      this.varint(value);
      return;
    }
    // 2 * magnitude may pass 2^53: keep the lowest seven bits apart from the rest, which never does.
    const magnitude = value < 0 ? -value - 1 : value;
    let rest = Math.floor(magnitude / 64);
    let byte = ((magnitude % 64) << 1) | (value < 0 ? 1 : 0);
    while (rest > 0) {
      this.uint8(byte | 128);
      byte = rest % 128;
      rest = Math.floor(rest / 128);
    }
    this.uint8(byte);
  }

  /** Bytes as they are, copied. */
  raw(bytes: Uint8Array): void {
    const at = this.room(bytes.length);
    this.buffer.set(bytes, at);
  }

  /** Bytes as they are: small ones are copied, big ones (≥ 4 KiB) become a chunk of their own. */
  splice(bytes: Piece): void {
    if (bytes instanceof Uint8Array && bytes.length < SPLICE_BYTES) {
      this.raw(bytes);
      return;
    }
    this.cut();
    this.pieces.push(bytes);
    this.piecesLength += bytes.length;
  }

  /** Everything another writer holds. */
  append(other: ByteWriter): void {
    for (const piece of other.finishPieces()) this.splice(piece);
  }

  /** Closes the piece being written. */
  private cut(): void {
    if (this.at === this.pieceStart) return;
    this.pieces.push(this.buffer.subarray(this.pieceStart, this.at));
    this.piecesLength += this.at - this.pieceStart;
    this.pieceStart = this.at;
  }

  string(value: string): void {
    const start = this.length;
    if (value.length <= SHORT_STRING) {
      const at = this.room(2 + value.length);
      if (this.ascii(value, at + 2)) {
        this.view.setInt16(at, value.length);
        return;
      }
      this.at = at;
    }
    const bytes = this.utf8(value, start);
    this.int16(bytes.length);
    this.raw(bytes);
  }

  nullableString(value: string | null): void {
    if (value === null) this.int16(-1);
    else this.string(value);
  }

  compactString(value: string): void {
    const start = this.length;
    // Below 127 the length is one byte, so the text can be written before it is known to be ASCII.
    if (value.length < 127) {
      const at = this.room(1 + value.length);
      if (this.ascii(value, at + 1)) {
        this.buffer[at] = value.length + 1;
        return;
      }
      this.at = at;
    }
    const bytes = this.utf8(value, start);
    this.uvarint(bytes.length + 1);
    this.raw(bytes);
  }

  compactNullableString(value: string | null): void {
    if (value === null) this.uvarint(0);
    else this.compactString(value);
  }

  /** Writes the characters at `at`, where there is room; answers false at the first that is not ASCII. */
  private ascii(value: string, at: number): boolean {
    const buffer = this.buffer;
    for (let i = 0; i < value.length; i++) {
      const code = value.charCodeAt(i);
      if (code >= 128) return false;
      buffer[at + i] = code;
    }
    return true;
  }

  private utf8(value: string, start: number): Uint8Array {
    const bytes = UTF8.encode(value);
    if (bytes.length > 32767) throw new ProtocolError(`string of ${bytes.length} bytes at ${start}`);
    return bytes;
  }

  byteField(value: Piece): void {
    this.int32(value.length);
    this.splice(value);
  }

  nullableByteField(value: Piece | null): void {
    if (value === null) this.int32(-1);
    else this.byteField(value);
  }

  compactByteField(value: Piece): void {
    this.uvarint(value.length + 1);
    this.splice(value);
  }

  compactNullableByteField(value: Piece | null): void {
    if (value === null) this.uvarint(0);
    else this.compactByteField(value);
  }

  /** The count before an array's elements; `-1` for null. */
  arrayLength(count: number, compact: boolean): void {
    if (compact) this.uvarint(count + 1);
    else this.int32(count);
  }

  /** Overwrites four bytes written earlier with `int32`; `position` counts from the first byte written. */
  setInt32(position: number, value: number): void {
    if (position >= this.piecesLength) {
      const at = this.pieceStart + position - this.piecesLength;
      if (position < 0 || at + 4 > this.at) throw new ProtocolError(`no int32 at ${position} to overwrite`);
      this.view.setInt32(at, value);
      return;
    }
    let start = 0;
    for (const piece of this.pieces) {
      if (position < start + piece.length) {
        if (position < start || position + 4 > start + piece.length || !(piece instanceof Uint8Array)) break;
        new DataView(piece.buffer, piece.byteOffset, piece.byteLength).setInt32(position - start, value);
        return;
      }
      start += piece.length;
    }
    throw new ProtocolError(`no int32 at ${position} to overwrite`);
  }

  /** Everything written, as chunks in order. The writer may go on; what was handed out stays as it is. */
  finish(): Uint8Array[] {
    return this.finishPieces().map(inMemory);
  }

  /** The same where some of it may be elsewhere. */
  finishPieces(): Piece[] {
    this.cut();
    return this.pieces.slice();
  }

  /** Everything written, joined. One piece is a view, several are copied. */
  toBytes(): Uint8Array {
    const pieces = this.finish();
    return pieces.length === 1 ? pieces[0]! : concatenated(pieces);
  }
}

const inMemory = (piece: Piece): Uint8Array => {
  if (piece instanceof Uint8Array) return piece;
  throw new ProtocolError(`${piece.length} bytes are not in memory`);
};
