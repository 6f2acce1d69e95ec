/**
 * What the stream client needs from the outside: connections that carry frames, time, chance, and decoders of compressed
 * batches. What must stay true: the core touches nothing else, so that a simulator can run it from one seed; the shapes
 * of clock and random are those of the broker's own ports, and one object fills both.
 */
import type { FrameDuplex, FrameHandlers } from "../gateway/FrameDuplex.ts";
import type { CompressionCodec } from "../record/Compression.ts";

export interface ClientClock {
  /** Milliseconds since 1970-01-01 UTC. */
  wall(): number;
  /** Milliseconds from an arbitrary start; never goes back. */
  monotonic(): number;
  /** Calls `task` once, no earlier than `delayMs` from now; answers the function that cancels it. */
  after(delayMs: number, task: () => void): () => void;
}

export interface ClientRandom {
  /** An integer, `0 ≤ result < bound`, bound ≤ 2^32. */
  below(bound: number): number;
  /** A UUID in Kafka's text form. */
  uuid(): string;
}

export interface OpeningHandlers extends FrameHandlers {
  /** Frames may be sent. Without it `onClose` comes: the connection could not be made. */
  onOpen(): void;
}

/** Decodes what one compressed batch holds. The answer may come later; it never has more than `maxOutput` bytes. */
export type Decompress = (
  codec: CompressionCodec,
  bytes: Uint8Array,
  maxOutput: number,
) => Uint8Array | Promise<Uint8Array>;

export interface ClientPlatform {
  readonly clock: ClientClock;
  readonly random: ClientRandom;
  /** Begins to connect. No handler is called before this returns. */
  open(url: string, protocols: ReadonlyArray<string>, handlers: OpeningHandlers): FrameDuplex;
  /** Asked for when the first compressed batch comes. */
  decompressor(): Promise<Decompress>;
  /** Calls `task` whenever the network is said to be back; answers how to stop that. Not every platform can tell. */
  onOnline?(task: () => void): () => void;
}
