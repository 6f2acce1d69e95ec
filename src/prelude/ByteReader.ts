/**
 * Reads Kafka's primitive types from bytes somebody else wrote. Owns a position and nothing else: what it hands out are
 * views into `bytes`, never copies. What must stay true: nothing is read beyond `end`, nothing is allocated by a declared
 * length before that many bytes are known to be there, every loop is bounded, and everything wrong is a `ProtocolError`.
 */
import { ProtocolError } from "./ProtocolError.ts";
import type { Uuid } from "./Types.ts";
import { uuidFromBytes } from "./Uuid.ts";

const TWO_32 = 4294967296;
/** High words between which `high * 2^32 + low` is a safe integer. */
const HIGH_LIMIT = 2097152;

/** Strings up to this many bytes are looked up among those seen last. */
const SHORT_STRING = 64;

/**
 * The same topic, client and group names come with every request. A small direct-mapped memory of the short ASCII
 * strings seen last answers them without a decoder, and always with the same string, whose hash a `Map` then has
 * already. Fixed size; it holds values only, so it cannot change an answer.
 */
const MEMORY_SLOTS = 2048;
const memory: string[] = new Array<string>(MEMORY_SLOTS).fill("");

/** Array elements a reader hands out before it gives up, unless told otherwise. */
const MAX_ELEMENTS = 4194304;

// Kafka keeps a byte order mark as a character; so must we, or a re-encoded string is three bytes shorter.
const UTF8 = new TextDecoder("utf-8", { ignoreBOM: true });

export class ByteReader {
  readonly bytes: Uint8Array;
  /** Where the next byte is read: an index into `bytes`, `start … end`. */
  position: number;
  /** The first index that may not be read. */
  readonly end: number;
  /**
   * Array elements that may still be read, all arrays together. Two bytes can stand for an object of a hundred: without
   * this, one frame of 100 MiB becomes gigabytes. A reader of our own files may raise it.
   */
  elementsLeft: number = MAX_ELEMENTS;
  private readonly view: DataView;

  constructor(bytes: Uint8Array, start = 0, end: number = bytes.length) {
    if (!(start >= 0 && start <= end && end <= bytes.length)) {
      throw new ProtocolError(`no bytes ${start} to ${end} in ${bytes.length}`);
    }
    this.bytes = bytes;
    this.position = start;
    this.end = end;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** Bytes not yet read. */
  get remaining(): number {
    return this.end - this.position;
  }

  /** Answers the position and moves past `count` bytes, which are there. */
  private take(count: number): number {
    const at = this.position;
    if (count > this.end - at) this.short(count);
    this.position = at + count;
    return at;
  }

  private short(count: number): never {
    throw new ProtocolError(`${count} bytes wanted, ${this.end - this.position} left`);
  }

  skip(count: number): void {
    if (count < 0) throw new ProtocolError(`negative length ${count}`);
    this.take(count);
  }

  bool(): boolean {
    return this.bytes[this.take(1)] !== 0;
  }

  int8(): number {
    return (this.bytes[this.take(1)]! << 24) >> 24;
  }

  uint8(): number {
    return this.bytes[this.take(1)]!;
  }

  int16(): number {
    return this.view.getInt16(this.take(2));
  }

  uint16(): number {
    return this.view.getUint16(this.take(2));
  }

  int32(): number {
    return this.view.getInt32(this.take(4));
  }

  uint32(): number {
    return this.view.getUint32(this.take(4));
  }

  /** An int64 as a number, saturated to ±(2^53 − 1). */
  int64(): number {
    const at = this.take(8);
    const high = this.view.getInt32(at);
    const low = this.view.getUint32(at + 4);
    if (high >= HIGH_LIMIT) return Number.MAX_SAFE_INTEGER;
    if (high < -HIGH_LIMIT || (high === -HIGH_LIMIT && low === 0)) return Number.MIN_SAFE_INTEGER;
    return high * TWO_32 + low;
  }

  float64(): number {
    return this.view.getFloat64(this.take(8));
  }

  /** 16 bytes in Kafka's text form. */
  uuid(): Uuid {
    return uuidFromBytes(this.bytes, this.take(16));
  }

  /** An unsigned varint of at most 32 bits (5 bytes), `0 … 2^32 − 1`. */
  uvarint(): number {
    const bytes = this.bytes;
    let at = this.position;
    if (at < this.end) {
      const first = bytes[at]!;
      if (first < 128) {
        this.position = at + 1;
        return first;
      }
    }
    let value = 0;
    let factor = 1;
    for (let i = 0; i < 5; i++) {
      if (at >= this.end) this.short(1);
      const byte = bytes[at++]!;
      value += (byte & 127) * factor;
      if (byte < 128) {
        this.position = at;
        if (value >= TWO_32) throw new ProtocolError("varint beyond 32 bits");
        return value;
      }
      factor *= 128;
    }
    throw new ProtocolError("varint of more than 5 bytes");
  }

  /** A zigzag varint: int32. */
  varint(): number {
    const value = this.uvarint();
    return (value >>> 1) ^ -(value & 1);
  }

  /** A zigzag varlong (at most 10 bytes): int64 as a number, saturated to ±(2^53 − 1). */
  varlong(): number {
    const bytes = this.bytes;
    let at = this.position;
    let low = 0;
    let high = 0;
    for (let shift = 0; shift < 70; shift += 7) {
      if (at >= this.end) this.short(1);
      const byte = bytes[at++]!;
      const bits = byte & 127;
      if (shift < 28) low |= bits << shift;
      else if (shift === 28) {
        low |= bits << 28;
        high |= bits >> 4;
      } else if (shift < 63) high |= bits << (shift - 32);
      else {
        if (bits > 1) throw new ProtocolError("varlong beyond 64 bits");
        high |= bits << 31;
      }
      if (byte < 128) {
        this.position = at;
        const negative = (low & 1) !== 0;
        const half = ((high >>> 0) % 2) * 2147483648 + (low >>> 1);
        const top = high >>> 1;
        if (top >= HIGH_LIMIT) return negative ? Number.MIN_SAFE_INTEGER : Number.MAX_SAFE_INTEGER;
        const magnitude = top * TWO_32 + half;
        // zigzag: an odd number 2m + 1 means -(m + 1); `0 -` keeps minus zero out.
        if (!negative) return magnitude;
        return magnitude === Number.MAX_SAFE_INTEGER ? Number.MIN_SAFE_INTEGER : -magnitude - 1;
      }
    }
    throw new ProtocolError("varlong of more than 10 bytes");
  }

  /** `length` bytes as a view. */
  subarray(length: number): Uint8Array {
    if (length < 0) throw new ProtocolError(`negative length ${length}`);
    const at = this.take(length);
    return this.bytes.subarray(at, at + length);
  }

  /** `length` bytes as text; malformed UTF-8 becomes U+FFFD, as in Java. */
  text(length: number): string {
    if (length === 0) return "";
    const at = this.take(length);
    const bytes = this.bytes;
    const stop = at + length;
    if (length > SHORT_STRING) return UTF8.decode(bytes.subarray(at, stop));
    let hash = length;
    let seen = 0;
    for (let i = at; i < stop; i++) {
      const byte = bytes[i]!;
      seen |= byte;
      hash = (Math.imul(hash, 31) + byte) | 0;
    }
    if (seen >= 128) return UTF8.decode(bytes.subarray(at, stop));
    const slot = (hash ^ (hash >>> 11)) & (MEMORY_SLOTS - 1);
    const known = memory[slot]!;
    if (known.length === length) {
      let i = 0;
      while (i < length && known.charCodeAt(i) === bytes[at + i]) i++;
      if (i === length) return known;
    }
    const text = UTF8.decode(bytes.subarray(at, stop));
    memory[slot] = text;
    return text;
  }

  string(): string {
    const length = this.int16();
    if (length < 0) throw new ProtocolError(`string of length ${length}`);
    return this.text(length);
  }

  nullableString(): string | null {
    const length = this.int16();
    if (length === -1) return null;
    if (length < 0) throw new ProtocolError(`string of length ${length}`);
    return this.text(length);
  }

  compactString(): string {
    const length = this.uvarint() - 1;
    if (length < 0) throw new ProtocolError("null where a string must be");
    return this.text(this.stringLength(length));
  }

  compactNullableString(): string | null {
    const length = this.uvarint() - 1;
    return length < 0 ? null : this.text(this.stringLength(length));
  }

  private stringLength(length: number): number {
    // Kafka holds compact strings to the classic limit as well.
    if (length > 32767) throw new ProtocolError(`string of length ${length}`);
    return length;
  }

  /** An int32 length and that many bytes, as a view. */
  byteField(): Uint8Array {
    const length = this.int32();
    if (length < 0) throw new ProtocolError(`bytes of length ${length}`);
    return this.subarray(length);
  }

  nullableByteField(): Uint8Array | null {
    const length = this.int32();
    if (length === -1) return null;
    if (length < 0) throw new ProtocolError(`bytes of length ${length}`);
    return this.subarray(length);
  }

  compactByteField(): Uint8Array {
    const length = this.uvarint() - 1;
    if (length < 0) throw new ProtocolError("null where bytes must be");
    return this.subarray(length);
  }

  compactNullableByteField(): Uint8Array | null {
    const length = this.uvarint() - 1;
    return length < 0 ? null : this.subarray(length);
  }

  /**
   * The count before an array's elements, `-1` for null. `minBytes` (≥ 1) is the least an element takes: a count that
   * cannot fit into what is left, or is more than `elementsLeft`, is refused here, before anything is made.
   */
  arrayLength(compact: boolean, minBytes: number): number {
    const count = compact ? this.uvarint() - 1 : this.int32();
    if (count < -1) throw new ProtocolError(`array of length ${count}`);
    if (count * minBytes > this.end - this.position) {
      throw new ProtocolError(`array of ${count} elements in ${this.end - this.position} bytes`);
    }
    if (count > this.elementsLeft) throw new ProtocolError(`more than ${MAX_ELEMENTS} array elements`);
    if (count > 0) this.elementsLeft -= count;
    return count;
  }

  /** Reads a tagged field's size and answers the position at which the field ends. */
  tagEnd(): number {
    const size = this.uvarint();
    if (size > this.end - this.position) this.short(size);
    return this.position + size;
  }

  /** Checks that a tagged field's content took what its size said. */
  endTag(end: number): void {
    if (this.position !== end) throw new ProtocolError(`tagged field ends at ${this.position}, not at ${end}`);
  }

  /** Passes over a whole section of tagged fields. */
  skipTags(): void {
    for (let count = this.uvarint(); count > 0; count--) {
      this.uvarint();
      this.skip(this.uvarint());
    }
  }
}
