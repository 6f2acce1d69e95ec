/**
 * MessagePack as the gateway writes it and what it lets in. The writer exists beside `msgpackr` because integers beyond
 * 32 bits must leave as integers (msgpackr makes them floats) and because records go from a batch into a frame without
 * an object each. What must stay true: bytes that pass `messagePackProblem` cost a decoder no more depth, items or
 * memory than it allows, hold no extension, and have maps whose keys are strings other than `__proto__`. No platform
 * functions: a browser runs this too.
 */

/** A value that `write` takes. An undefined field of a map is left out. */
export type Packable =
  | null
  | undefined
  | boolean
  | number
  | string
  | Uint8Array
  | ReadonlyArray<Packable>
  | { readonly [key: string]: Packable };

const TWO_32 = 0x1_0000_0000;
const utf8 = new TextEncoder();

export class MessagePackWriter {
  private buffer: Uint8Array;
  private view: DataView;
  private at = 0;

  constructor(capacity = 256) {
    this.buffer = new Uint8Array(capacity);
    this.view = new DataView(this.buffer.buffer);
  }

  get length(): number {
    return this.at;
  }

  /** The bytes written; the writer is of no further use. */
  finish(): Uint8Array {
    return this.buffer.subarray(0, this.at);
  }

  value(value: Packable): void {
    if (value === null || value === undefined) this.byte(0xc0);
    else if (typeof value === "boolean") this.byte(value ? 0xc3 : 0xc2);
    else if (typeof value === "number") this.number(value);
    else if (typeof value === "string") this.string(value);
    else if (value instanceof Uint8Array) this.binary(value);
    else if (isList(value)) {
      this.arrayHeader(value.length);
      for (const item of value) this.value(item);
    } else this.map(value);
  }

  private map(map: { readonly [key: string]: Packable }): void {
    const fields = Object.entries(map).filter(([, value]) => value !== undefined);
    this.mapHeader(fields.length);
    for (const [key, value] of fields) {
      this.string(key);
      this.value(value);
    }
  }

  nil(): void {
    this.byte(0xc0);
  }

  /** An integer in its shortest form, anything else as a 64-bit float. */
  number(value: number): void {
    if (!Number.isSafeInteger(value)) {
      const at = this.room(9);
      this.buffer[at] = 0xcb;
      this.view.setFloat64(at + 1, value);
    } else if (value >= 0) this.positive(value);
    else this.negative(value);
  }

  private positive(value: number): void {
    if (value < 0x80) this.byte(value);
    else if (value < 0x100) {
      const at = this.room(2);
      this.buffer[at] = 0xcc;
      this.buffer[at + 1] = value;
    } else if (value < 0x1_0000) {
      const at = this.room(3);
      this.buffer[at] = 0xcd;
      this.view.setUint16(at + 1, value);
    } else if (value < TWO_32) {
      const at = this.room(5);
      this.buffer[at] = 0xce;
      this.view.setUint32(at + 1, value);
    } else this.wide(0xcf, value);
  }

  private negative(value: number): void {
    if (value >= -0x20) this.byte(value & 0xff);
    else if (value >= -0x80) {
      const at = this.room(2);
      this.buffer[at] = 0xd0;
      this.buffer[at + 1] = value;
    } else if (value >= -0x8000) {
      const at = this.room(3);
      this.buffer[at] = 0xd1;
      this.view.setInt16(at + 1, value);
    } else if (value >= -0x8000_0000) {
      const at = this.room(5);
      this.buffer[at] = 0xd2;
      this.view.setInt32(at + 1, value);
    } else this.wide(0xd3, value);
  }

  private wide(head: number, value: number): void {
    const at = this.room(9);
    this.buffer[at] = head;
    const high = Math.floor(value / TWO_32);
    this.view.setInt32(at + 1, high);
    this.view.setUint32(at + 5, value - high * TWO_32);
  }

  string(value: string): void {
    const length = value.length;
    if (length < 32 && isAscii(value)) {
      const at = this.room(1 + length);
      this.buffer[at] = 0xa0 | length;
      for (let index = 0; index < length; index++) this.buffer[at + 1 + index] = value.charCodeAt(index);
      return;
    }
    const bytes = utf8.encode(value);
    this.stringHeader(bytes.length);
    this.raw(bytes);
  }

  stringHeader(length: number): void {
    if (length < 32) this.byte(0xa0 | length);
    else this.header(0xd9, 0xda, 0xdb, length);
  }

  binary(bytes: Uint8Array): void {
    this.binaryHeader(bytes.length);
    this.raw(bytes);
  }

  binaryHeader(length: number): void {
    this.header(0xc4, 0xc5, 0xc6, length);
  }

  arrayHeader(count: number): void {
    if (count < 16) this.byte(0x90 | count);
    else this.header(undefined, 0xdc, 0xdd, count);
  }

  mapHeader(count: number): void {
    if (count < 16) this.byte(0x80 | count);
    else this.header(undefined, 0xde, 0xdf, count);
  }

  /** `bytes[start, end)` as they are. */
  raw(bytes: Uint8Array, start = 0, end = bytes.length): void {
    const length = end - start;
    const at = this.room(length);
    if (length > SMALL) this.buffer.set(start === 0 && end === bytes.length ? bytes : bytes.subarray(start, end), at);
    else for (let index = 0; index < length; index++) this.buffer[at + index] = bytes[start + index]!;
  }

  private header(one: number | undefined, two: number, four: number, length: number): void {
    if (one !== undefined && length < 0x100) {
      const at = this.room(2);
      this.buffer[at] = one;
      this.buffer[at + 1] = length;
    } else if (length < 0x1_0000) {
      const at = this.room(3);
      this.buffer[at] = two;
      this.view.setUint16(at + 1, length);
    } else {
      const at = this.room(5);
      this.buffer[at] = four;
      this.view.setUint32(at + 1, length);
    }
  }

  private byte(value: number): void {
    const at = this.room(1);
    this.buffer[at] = value;
  }

  private room(count: number): number {
    const at = this.at;
    const end = at + count;
    if (end > this.buffer.length) {
      const bigger = new Uint8Array(Math.max(this.buffer.length * 2, end));
      bigger.set(this.buffer.subarray(0, at));
      this.buffer = bigger;
      this.view = new DataView(bigger.buffer);
    }
    this.at = end;
    return at;
  }
}

/** Below this a loop copies faster than a call into the runtime. */
const SMALL = 48;

const isList = (value: object): value is ReadonlyArray<Packable> => Array.isArray(value);

const isAscii = (text: string): boolean => {
  for (let index = 0; index < text.length; index++) if (text.charCodeAt(index) > 0x7f) return false;
  return true;
};

export const pack = (value: Packable): Uint8Array => {
  const writer = new MessagePackWriter();
  writer.value(value);
  return writer.finish();
};

export interface MessagePackLimits {
  /** Nested arrays and maps, the outermost included. */
  readonly depth: number;
  /** Values of all kinds, keys included. */
  readonly items: number;
}

const isMap = (head: number): boolean => (head & 0xf0) === 0x80 || head === 0xde || head === 0xdf;

/** Why `bytes` are not exactly one MessagePack map within the limits; undefined when they are. */
export const messagePackProblem = (bytes: Uint8Array, limits: MessagePackLimits): string | undefined => {
  if (bytes.length === 0 || !isMap(bytes[0]!)) return "not a MessagePack map";
  return new Walk(bytes, limits).run();
};

class Walk {
  private at = 0;
  /** How many values are still to come, by level; in a map keys and values alternate, keys at even counts. */
  private readonly left: number[] = [];
  private readonly maps: boolean[] = [];
  private items = 0;
  private problem: string | undefined;

  constructor(
    private readonly bytes: Uint8Array,
    private readonly limits: MessagePackLimits,
  ) {}

  run(): string | undefined {
    this.one();
    while (this.left.length > 0 && this.problem === undefined) {
      const level = this.left.length - 1;
      if (this.left[level] === 0) {
        this.left.pop();
        this.maps.pop();
        continue;
      }
      const isKey = this.maps[level] === true && this.left[level]! % 2 === 0;
      this.left[level]! -= 1;
      if (isKey) this.key();
      else this.one();
    }
    if (this.problem !== undefined) return this.problem;
    return this.at === this.bytes.length ? undefined : "bytes behind the MessagePack map";
  }

  /** One value's head, and its bytes unless it is an array or a map. */
  private one(): void {
    this.items += 1;
    if (this.items > this.limits.items) return this.stop(`more than ${this.limits.items} values`);
    const head = this.unsigned(1);
    if (head < 0x80 || head >= 0xe0 || head === 0xc0 || head === 0xc2 || head === 0xc3) return;
    if (head < 0x90) return this.open(head & 0x0f, true);
    if (head < 0xa0) return this.open(head & 0x0f, false);
    if (head < 0xc0) return this.skip(head & 0x1f);
    switch (head) {
      case 0xc4:
      case 0xd9:
        return this.skip(this.unsigned(1));
      case 0xc5:
      case 0xda:
        return this.skip(this.unsigned(2));
      case 0xc6:
      case 0xdb:
        return this.skip(this.unsigned(4));
      case 0xcc:
      case 0xd0:
        return this.skip(1);
      case 0xcd:
      case 0xd1:
        return this.skip(2);
      case 0xca:
      case 0xce:
      case 0xd2:
        return this.skip(4);
      case 0xcb:
      case 0xcf:
      case 0xd3:
        return this.skip(8);
      case 0xdc:
        return this.open(this.unsigned(2), false);
      case 0xdd:
        return this.open(this.unsigned(4), false);
      case 0xde:
        return this.open(this.unsigned(2), true);
      case 0xdf:
        return this.open(this.unsigned(4), true);
      default:
        return this.stop(head === 0xc1 ? "a byte that MessagePack does not have" : "a MessagePack extension");
    }
  }

  private key(): void {
    const head = this.bytes[this.at] ?? 0xc0;
    const isString = (head & 0xe0) === 0xa0 || (head >= 0xd9 && head <= 0xdb);
    if (!isString) return this.stop("a map key that is not a string");
    const start = this.at + (head < 0xd9 ? 1 : 2 ** (head - 0xd9) + 1);
    this.one();
    if (this.at - start === PROTO.length && PROTO.every((byte, index) => this.bytes[start + index] === byte)) {
      this.stop("a map key __proto__");
    }
  }

  private open(count: number, isMapHead: boolean): void {
    if (this.left.length >= this.limits.depth) return this.stop(`nested deeper than ${this.limits.depth}`);
    // Each value has a byte at least: a count that cannot be is refused before anyone makes room for it.
    const values = isMapHead ? count * 2 : count;
    if (values > this.bytes.length - this.at) return this.stop("cut short");
    this.left.push(values);
    this.maps.push(isMapHead);
  }

  private unsigned(width: number): number {
    if (this.at + width > this.bytes.length) {
      this.stop("cut short");
      return 0;
    }
    let value = 0;
    for (let index = 0; index < width; index++) value = value * 256 + this.bytes[this.at + index]!;
    this.at += width;
    return value;
  }

  private skip(length: number): void {
    if (this.problem !== undefined) return;
    if (length > this.bytes.length - this.at) this.stop("cut short");
    else this.at += length;
  }

  private stop(problem: string): void {
    this.problem ??= problem;
  }
}

const PROTO = utf8.encode("__proto__");
