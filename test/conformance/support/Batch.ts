/**
 * Record batches for the wire tests, built byte by byte and breakable in every field. It shares nothing with `src/record`.
 */
import { gzipSync } from "node:zlib";

export interface TestRecord {
  readonly key?: string | null;
  readonly value?: string | Uint8Array | null;
  readonly timestamp?: number;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface BatchOptions {
  readonly records?: readonly TestRecord[];
  readonly baseOffset?: number;
  readonly leaderEpoch?: number;
  readonly magic?: number;
  readonly attributes?: number;
  readonly producerId?: number;
  readonly producerEpoch?: number;
  readonly sequence?: number;
  /** Compresses the records with gzip and sets the codec bits. */
  readonly gzip?: boolean;
  /** Replaces the (compressed) records section. */
  readonly payload?: Uint8Array;
  readonly count?: number;
  readonly lastOffsetDelta?: number;
  readonly maxTimestamp?: number;
  /** Added to the right CRC. */
  readonly crcError?: number;
  /** Added to the right batch length. */
  readonly lengthError?: number;
}

const table = new Uint32Array(256).map((_, index) => {
  let value = index;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0x82f63b78 : value >>> 1;
  return value >>> 0;
});

export const crc32c = (bytes: Uint8Array): number => {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = (crc >>> 8) ^ (table[(crc ^ byte) & 255] ?? 0);
  return (crc ^ 0xffffffff) >>> 0;
};

const varint = (value: number): Buffer => {
  let rest = (BigInt(value) << 1n) ^ (BigInt(value) >> 63n);
  rest = BigInt.asUintN(64, rest);
  const bytes: number[] = [];
  while (rest > 127n) {
    bytes.push(Number(rest & 127n) | 128);
    rest >>= 7n;
  }
  bytes.push(Number(rest));
  return Buffer.from(bytes);
};

const sized = (value: string | Uint8Array | null | undefined): Buffer => {
  if (value === null || value === undefined) return varint(-1);
  const bytes = Buffer.from(value as Uint8Array);
  return Buffer.concat([varint(bytes.length), bytes]);
};

const recordBytes = (record: TestRecord, index: number, firstTimestamp: number, timestamp: number): Buffer => {
  const headers = Object.entries(record.headers ?? {});
  const body = Buffer.concat([
    Buffer.from([0]),
    varint(timestamp - firstTimestamp),
    varint(index),
    sized(record.key),
    sized(record.value),
    varint(headers.length),
    ...headers.flatMap(([name, value]) => [sized(name), sized(value)]),
  ]);
  return Buffer.concat([varint(body.length), body]);
};

/** A record batch v2, correct unless told otherwise. */
export const batch = (options: BatchOptions = {}): Buffer => {
  const records = options.records ?? [{ value: "value" }];
  const now = Date.now();
  const stamps = records.map((record) => record.timestamp ?? now);
  const first = stamps[0] ?? now;
  const plain = Buffer.concat(records.map((record, index) => recordBytes(record, index, first, stamps[index] ?? now)));
  const payload = options.payload ?? (options.gzip ? gzipSync(plain) : plain);
  const header = Buffer.alloc(61);
  header.writeBigInt64BE(BigInt(options.baseOffset ?? 0), 0);
  header.writeInt32BE(49 + payload.length + (options.lengthError ?? 0), 8);
  header.writeInt32BE(options.leaderEpoch ?? -1, 12);
  header.writeInt8(options.magic ?? 2, 16);
  header.writeInt16BE(options.attributes ?? (options.gzip ? 1 : 0), 21);
  header.writeInt32BE(options.lastOffsetDelta ?? records.length - 1, 23);
  header.writeBigInt64BE(BigInt(first), 27);
  header.writeBigInt64BE(BigInt(options.maxTimestamp ?? Math.max(first, ...stamps)), 35);
  header.writeBigInt64BE(BigInt(options.producerId ?? -1), 43);
  header.writeInt16BE(options.producerEpoch ?? -1, 51);
  header.writeInt32BE(options.sequence ?? -1, 53);
  header.writeInt32BE(options.count ?? records.length, 57);
  const bytes = Buffer.concat([header, payload]);
  bytes.writeUInt32BE((crc32c(bytes.subarray(21)) + (options.crcError ?? 0)) >>> 0, 17);
  return bytes;
};

export const values = (...texts: string[]): TestRecord[] => texts.map((value) => ({ value }));

export interface StoredBatch {
  readonly baseOffset: number;
  readonly lastOffset: number;
  readonly leaderEpoch: number;
  readonly attributes: number;
  readonly firstTimestamp: number;
  readonly maxTimestamp: number;
  readonly producerId: number;
  readonly sequence: number;
  readonly count: number;
  readonly crcGood: boolean;
  readonly bytes: Buffer;
}

/** Headers of the whole batches in a fetched chunk; a cut batch at the end is left out, as clients do. */
export const storedBatches = (chunk: Uint8Array): StoredBatch[] => {
  const bytes = Buffer.from(chunk);
  const found: StoredBatch[] = [];
  for (let start = 0; start + 61 <= bytes.length; ) {
    const size = 12 + bytes.readInt32BE(start + 8);
    if (start + size > bytes.length) break;
    const one = bytes.subarray(start, start + size);
    const baseOffset = Number(one.readBigInt64BE(0));
    found.push({
      baseOffset,
      lastOffset: baseOffset + one.readInt32BE(23),
      leaderEpoch: one.readInt32BE(12),
      attributes: one.readInt16BE(21),
      firstTimestamp: Number(one.readBigInt64BE(27)),
      maxTimestamp: Number(one.readBigInt64BE(35)),
      producerId: Number(one.readBigInt64BE(43)),
      sequence: one.readInt32BE(53),
      count: one.readInt32BE(57),
      crcGood: crc32c(one.subarray(21)) === one.readUInt32BE(17),
      bytes: one,
    });
    start += size;
  }
  return found;
};
