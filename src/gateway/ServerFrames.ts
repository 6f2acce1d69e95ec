/**
 * What the gateway says over the stream protocol, as bytes. Answers and notes are small and packed as they are; a
 * `records` frame is put together from the pieces of a `Delivery`, which were packed before.
 */
import type { LeaderEpoch, Offset } from "../prelude/Types.ts";
import type { Delivery } from "./Delivery.ts";
import { MessagePackWriter, type Packable, pack } from "./MessagePack.ts";
import type { Requests, RequestType, ServerFrame, WireError } from "./Messages.ts";

/** Every frame but `records`. */
export const encodeFrame = (frame: Exclude<ServerFrame, { t: "records" }>): Uint8Array => pack(frame as Packable);

export const encodeOk = <T extends RequestType>(id: number, answer: Requests[T]["answer"]): Uint8Array =>
  pack({ t: "ok", id, ...(answer as { readonly [key: string]: Packable }) });

export const encodeError = (
  id: number,
  error: WireError,
  recordErrors?: ReadonlyArray<{ readonly index: number; readonly message: string | null }>,
): Uint8Array => pack({ t: "error", id, error: error as unknown as Packable, recordErrors: recordErrors as Packable });

/** The partition a batch is of, and what is known of its log. */
export interface BatchPlace {
  readonly topic: string;
  readonly partition: number;
  readonly highWatermark: Offset;
  readonly lastStableOffset: Offset;
  readonly logStartOffset: Offset;
}

/** Beside its pieces a `records` frame has at most so many bytes, and the topic's name. */
const FRAME_HEADER_BYTES = 256;

/**
 * One batch with the pieces `[from, to)` of the delivery; `next` is where the partition goes on behind them. Readers of
 * the same pieces that number their streams alike (most have one) share the frame.
 */
export const encodeRecords = (
  stream: number,
  place: BatchPlace,
  delivery: Delivery,
  from: number,
  to: number,
  next: readonly [Offset, LeaderEpoch],
): Uint8Array => {
  const { highWatermark, lastStableOffset, logStartOffset } = place;
  const key = `${stream} ${from} ${to} ${next[0]} ${highWatermark} ${lastStableOffset} ${logStartOffset}`;
  if (delivery.lastFrame?.key === key) return delivery.lastFrame.bytes;
  const bytes = recordsFrame(stream, place, delivery, from, to, next);
  delivery.lastFrame = { key, bytes };
  return bytes;
};

const recordsFrame = (
  stream: number,
  place: BatchPlace,
  delivery: Delivery,
  from: number,
  to: number,
  next: readonly [Offset, LeaderEpoch],
): Uint8Array => {
  const start = delivery.startOf(from);
  const end = to === 0 ? 0 : delivery.ends[to - 1]!;
  const writer = new MessagePackWriter(end - start + FRAME_HEADER_BYTES + place.topic.length * 3);
  writer.mapHeader(3);
  writer.string("t");
  writer.string("records");
  writer.string("stream");
  writer.number(stream);
  writer.string("batches");
  writer.arrayHeader(1);
  writer.mapHeader(7);
  writer.string("topic");
  writer.string(place.topic);
  writer.string("partition");
  writer.number(place.partition);
  if (delivery.raw) {
    writer.string("raw");
    writer.binaryHeader(end - start);
  } else {
    writer.string("records");
    writer.arrayHeader(to - from);
  }
  writer.raw(delivery.bytes, start, end);
  writer.string("next");
  writer.value(next);
  writer.string("highWatermark");
  writer.number(place.highWatermark);
  writer.string("lastStableOffset");
  writer.number(place.lastStableOffset);
  writer.string("logStartOffset");
  writer.number(place.logStartOffset);
  return writer.finish();
};
