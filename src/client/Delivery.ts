/**
 * What lies between the socket and the application: pieces of a partition in the order they came, either decoded records
 * or one record batch as it lies in the log, or an error in their place. What must stay true: bytes are decoded only when
 * the application gets there, one batch at a time, so that what is held is what credit was given for.
 */
import type { Bytes, DeliveredBatch, DeliveredRecord, WireHeaders } from "../gateway/Messages.ts";
import { RECORD_OVERHEAD_BYTES } from "../gateway/Messages.ts";
import { isCompressionCodec } from "../record/Compression.ts";
import {
  attributesOf,
  batchSize,
  checkCrc,
  codecOf,
  DEFAULT_MAX_DECOMPRESSED,
  forEachBatch,
  HEADER_SIZE,
  lastOffsetOf,
  leaderEpochOf,
  recordCountOf,
  records,
} from "../record/RecordBatch.ts";
import { RecordFormatError } from "../record/RecordFormatError.ts";
import type { RecordView } from "../record/RecordView.ts";
import type { ClientError } from "./ClientError.ts";
import type { Decompress } from "./ClientPlatform.ts";
import type { Place, StreamPartition } from "./StreamPartition.ts";

export interface Delivery {
  readonly partition: StreamPartition;
  readonly content:
    | { readonly kind: "records"; readonly records: ReadonlyArray<DeliveredRecord> }
    | { readonly kind: "batch"; readonly bytes: Uint8Array; readonly start: number }
    | { readonly kind: "error"; readonly error: ClientError };
  /** Records below this offset are not of it. */
  readonly from: number;
  /** Where the partition goes on behind it. */
  next: Place;
  /** Leader epoch of what lies within, -1 when that is not known. */
  readonly leaderEpoch: number;
  /** Credit it holds. */
  records: number;
  bytes: number;
}

/** A record before the codecs have seen it. Key and value are views. */
export interface ReceivedRecord {
  readonly offset: number;
  readonly timestamp: number;
  readonly key: Bytes;
  readonly value: Bytes;
  readonly headers: WireHeaders;
}

const NO_HEADERS: WireHeaders = [];

/** Bytes of a string in UTF-8. */
export const utf8Length = (text: string): number => {
  let length = text.length;
  for (let at = 0; at < text.length; at++) {
    const unit = text.charCodeAt(at);
    // Both halves of a surrogate pair count two.
    if (unit >= 0x80) length += unit >= 0x800 && (unit < 0xd800 || unit > 0xdfff) ? 2 : 1;
  }
  return length;
};

/** What a delivered record costs. */
export const receivedCost = ({ key, value, headers }: Pick<ReceivedRecord, "key" | "value" | "headers">): number => {
  let cost = RECORD_OVERHEAD_BYTES + (key?.length ?? 0) + (value?.length ?? 0);
  for (const [name, content] of headers) cost += utf8Length(name) + (content?.length ?? 0);
  return cost;
};

/**
 * The pieces of a delivered batch, none when it is empty, and what it costs. `from` is where the partition was. Throws
 * `RecordFormatError` when raw bytes are not whole batches.
 */
export const deliveriesOf = (
  partition: StreamPartition,
  batch: DeliveredBatch,
): { readonly pieces: Delivery[]; readonly records: number; readonly bytes: number } => {
  const next: Place = { offset: batch.next[0], leaderEpoch: batch.next[1] };
  const from = partition.received.offset;
  if (batch.raw !== undefined) return piecesOf(partition, batch.raw, from, next);
  const delivered = batch.records ?? [];
  let bytes = 0;
  for (const [, , key, value, headers = NO_HEADERS] of delivered) bytes += receivedCost({ key, value, headers });
  if (delivered.length === 0) return { pieces: [], records: 0, bytes };
  // Between two places of the same epoch lies nothing of another.
  const leaderEpoch = partition.received.leaderEpoch === next.leaderEpoch ? next.leaderEpoch : -1;
  const content = { kind: "records", records: delivered } as const;
  const piece: Delivery = { partition, content, from, next, leaderEpoch, records: delivered.length, bytes };
  return { pieces: [piece], records: delivered.length, bytes };
};

const piecesOf = (
  partition: StreamPartition,
  raw: Uint8Array,
  from: number,
  next: Place,
): { pieces: Delivery[]; records: number; bytes: number } => {
  const pieces: Delivery[] = [];
  let count = 0;
  let place = from;
  const { position } = forEachBatch(raw, 0, raw.length, (start, size) => {
    if (size < HEADER_SIZE) return false;
    const leaderEpoch = leaderEpochOf(raw, start);
    const behind = lastOffsetOf(raw, start) + 1;
    const records = recordCountOf(raw, start);
    count += records;
    pieces.push({
      partition,
      content: { kind: "batch", bytes: raw, start },
      from: place,
      next: { offset: behind, leaderEpoch },
      leaderEpoch,
      records,
      bytes: size,
    });
    place = behind;
    return true;
  });
  if (position !== raw.length) throw new RecordFormatError(`${partition.name}: bytes that are no whole batch`);
  const last = pieces.at(-1);
  if (last !== undefined) last.next = next;
  return { pieces, records: count, bytes: raw.length };
};

/** The records of one delivery, one after the other. */
export interface Cursor {
  /** Undefined at the end. Throws `RecordFormatError` on malformed bytes. */
  next(): ReceivedRecord | undefined;
}

/** Opens a delivery of records; a compressed batch is decompressed here, so the answer may come later. */
export const openCursor = (
  { content, from }: Delivery,
  decompressor: () => Promise<Decompress>,
): Cursor | Promise<Cursor> => {
  if (content.kind === "error") throw content.error;
  if (content.kind === "records") return tupleCursor(content.records, from);
  const { bytes, start } = content;
  if (!checkCrc(bytes, start)) throw new RecordFormatError("the checksum of a batch is wrong");
  const codec = codecOf(attributesOf(bytes, start));
  if (codec === 0) return viewCursor(bytes, start, from, undefined);
  if (!isCompressionCodec(codec)) throw new RecordFormatError(`there is no codec ${codec}`);
  const payload = bytes.subarray(start + HEADER_SIZE, start + batchSize(bytes, start));
  const opening = async () => {
    const decompress = await decompressor();
    return viewCursor(bytes, start, from, await decompress(codec, payload, DEFAULT_MAX_DECOMPRESSED));
  };
  return opening();
};

const tupleCursor = (tuples: ReadonlyArray<DeliveredRecord>, from: number): Cursor => {
  let at = 0;
  return {
    next() {
      for (;;) {
        const tuple = tuples[at++];
        if (tuple === undefined) return undefined;
        const [offset, timestamp, key, value, headers = NO_HEADERS] = tuple;
        if (offset >= from) return { offset, timestamp, key, value, headers };
      }
    },
  };
};

const headersOf = (view: RecordView): WireHeaders =>
  view.headerCount === 0 ? NO_HEADERS : view.headers.map(({ key, value }) => [key, value] as const);

const viewCursor = (bytes: Uint8Array, start: number, from: number, plain: Uint8Array | undefined): Cursor => {
  const given = {
    decompress: () => plain ?? new Uint8Array(0),
    compress: () => new Uint8Array(0),
  };
  const views = records(bytes, start, given);
  return {
    next() {
      for (;;) {
        const { value: view } = views.next();
        if (view === undefined) return undefined;
        if (view.offset >= from)
          return {
            offset: view.offset,
            timestamp: view.timestamp,
            key: view.key,
            value: view.value,
            headers: headersOf(view),
          };
      }
    },
  };
};
