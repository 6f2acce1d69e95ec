/**
 * Cuts a connection's stream of bytes into frames (int32 size, then so many bytes). Pure: it owns the frame being
 * assembled and nothing else. What must stay true: memory follows the bytes that have arrived, never the size that was
 * declared, and a frame handed out owns its bytes, because record views into it outlive the call.
 */
import { ProtocolError } from "../prelude/ProtocolError.ts";

/** The bytes of the size in front of every frame. */
export const FRAME_SIZE_BYTES = 4;
/** Less than this cannot hold a request header (key, version, correlation id). */
const MIN_FRAME_BYTES = 8;
/** The room a frame gets before more than this of it has arrived. */
const FIRST_BUFFER_BYTES = 65536;

const NO_FRAMES: readonly Uint8Array[] = [];
const NO_BYTES = new Uint8Array(0);

/** Gives memory whose content does not matter: a frame is handed out only when it is filled to its last byte. */
export type Allocate = (size: number) => Uint8Array;

const zeroed: Allocate = (size) => new Uint8Array(size);

export class FrameAssembler {
  /** Kafka's `socket.request.max.bytes`: the largest frame taken. */
  readonly maxFrameBytes: number;
  private readonly minFrameBytes: number;
  private readonly allocate: Allocate;
  /** The size of the frame being assembled, and how many of its four bytes have come. */
  private size = 0;
  private sizeBytes = 0;
  private buffer: Uint8Array = NO_BYTES;
  private received = 0;
  private broken: ProtocolError | undefined;

  /** `minFrameBytes` is 8 for requests; a client reading responses gives 4. A broker gives memory that is not zeroed. */
  constructor(maxFrameBytes: number, minFrameBytes: number = MIN_FRAME_BYTES, allocate: Allocate = zeroed) {
    this.maxFrameBytes = maxFrameBytes;
    this.minFrameBytes = minFrameBytes;
    this.allocate = allocate;
  }

  /** Bytes held of the frame that is not complete yet, its size included. */
  get bytesBuffered(): number {
    return this.sizeBytes + this.received;
  }

  /** Bytes of memory set aside for that frame: at most twice what has come, or 64 KiB, and never more than the frame. */
  get bytesReserved(): number {
    return this.buffer.length;
  }

  /** What is wrong with the stream, once a size was refused: nothing more can be read from it. */
  get failure(): ProtocolError | undefined {
    return this.broken;
  }

  /**
   * Takes a chunk (which the caller may reuse afterwards) and answers the frames it completes, without their sizes, in
   * order. A size outside the limits throws `ProtocolError`; when the same chunk completed frames before it, these are
   * answered first and `failure` is set (the next call throws).
   */
  push(chunk: Uint8Array): readonly Uint8Array[] {
    if (this.broken !== undefined) throw this.broken;
    let frames: Uint8Array[] | undefined;
    let at = 0;
    while (at < chunk.length) {
      while (this.sizeBytes < FRAME_SIZE_BYTES && at < chunk.length) {
        this.size = (this.size << 8) | chunk[at++]!;
        this.sizeBytes++;
      }
      if (this.sizeBytes < FRAME_SIZE_BYTES) break;
      if (this.size < this.minFrameBytes || this.size > this.maxFrameBytes) {
        this.broken = new ProtocolError(
          `a frame of ${this.size} bytes, ${this.minFrameBytes} to ${this.maxFrameBytes} are taken`,
        );
        this.buffer = NO_BYTES;
        if (frames === undefined) throw this.broken;
        return frames;
      }
      const missing = this.size - this.received;
      const there = chunk.length - at;
      if (there < missing) {
        this.keep(chunk.subarray(at));
        break;
      }
      let frame: Uint8Array;
      if (this.received === 0) {
        frame = this.allocate(missing);
        frame.set(chunk.subarray(at, at + missing));
      } else {
        this.keep(chunk.subarray(at, at + missing));
        frame = this.buffer;
      }
      at += missing;
      this.size = 0;
      this.sizeBytes = 0;
      this.received = 0;
      this.buffer = NO_BYTES;
      if (frames === undefined) frames = [frame];
      else frames.push(frame);
    }
    return frames ?? NO_FRAMES;
  }

  /** Appends a part of the frame, growing the buffer to at most twice what has arrived and never beyond the frame. */
  private keep(part: Uint8Array): void {
    if (part.length === 0) return;
    const needed = this.received + part.length;
    if (needed > this.buffer.length) {
      const bigger = this.allocate(Math.min(this.size, Math.max(FIRST_BUFFER_BYTES, needed * 2)));
      bigger.set(this.buffer.subarray(0, this.received));
      this.buffer = bigger;
    }
    this.buffer.set(part, this.received);
    this.received = needed;
  }
}
