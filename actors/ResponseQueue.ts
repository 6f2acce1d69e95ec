/**
 * A connection's outgoing side: responses leave in request order, whatever order they are ready in, and a socket that
 * takes only part of them continues when it drains. Records that are still in their file are read when the socket has room
 * for them, into one buffer that all connections share. What must stay true: no byte is sent twice or skipped; what is
 * ready together leaves in one write when it is small; a file is let go when the last of its bytes is taken.
 */
import type { FileRecords } from "../src/log/FileRecords.ts";
import { allocateUninitialised } from "../src/platform/Memory.ts";
import type { Socket } from "../src/platform/Network.ts";
import { isPending } from "../src/prelude/Types.ts";

export type ResponsePiece = Uint8Array | Pick<FileRecords, "elsewhere" | "length" | "read" | "release">;

/** A place in the order of responses. */
export interface ResponseSlot {
  /** The encoded response; an empty list for a request that gets none; undefined while it is not ready. */
  chunks: ReadonlyArray<ResponsePiece> | undefined;
}

/** Below this, chunks are joined: one write instead of several (Bun does not cork). */
const JOIN_BELOW = 64 * 1024;
/** What is read of files for one write: it is copied while it is in the processor's cache. */
const FILE_CHUNK = 256 * 1024;

export interface ResponseQueueOwner {
  /** Bytes left that had to wait for the disk. */
  sentLater(): void;
  /** Records could be promised but not read: nothing more is sent. */
  broken(error: unknown): void;
}

/** Written from and filled again: a socket keeps nothing of it. */
let shared: Uint8Array | undefined;

export class ResponseQueue {
  private slots: ResponseSlot[] = [];
  private outgoing: ResponsePiece[] = [];
  /** The first piece that is not sent whole, and what the socket has taken of it. */
  private first = 0;
  private taken = 0;
  /** The disk is waited for. */
  private reading = false;
  /** Bytes ready but not yet taken by the socket. */
  queuedBytes = 0;

  constructor(
    private readonly socket: Socket,
    private readonly owner: ResponseQueueOwner,
  ) {}

  /** Requests without a response yet, and responses that wait for them. */
  get inFlight(): number {
    return this.slots.length;
  }

  reserve(): ResponseSlot {
    const slot: ResponseSlot = { chunks: undefined };
    this.slots.push(slot);
    return slot;
  }

  /** Sends what is ready and first in line, as far as the socket takes it. */
  flush(): void {
    let ready = 0;
    while (ready < this.slots.length && this.slots[ready]!.chunks !== undefined) {
      for (const chunk of this.slots[ready]!.chunks!) {
        if (chunk.length === 0) continue;
        this.outgoing.push(chunk);
        this.queuedBytes += chunk.length;
      }
      ready += 1;
    }
    if (ready > 0) this.slots.splice(0, ready);
    this.send();
  }

  private send(): void {
    if (this.reading) return;
    try {
      while (this.first < this.outgoing.length) {
        const chunk = this.nextWrite();
        if (chunk === undefined || !this.write(chunk)) return;
      }
    } catch (error) {
      this.fail(error);
    }
  }

  /** Nothing behind what is missing may be sent. */
  private fail(error: unknown): void {
    this.reading = true;
    this.owner.broken(error);
  }

  /** Whether the socket took all of it. */
  private write(chunk: Uint8Array): boolean {
    const taken = this.socket.write(chunk);
    this.queuedBytes -= taken;
    this.taken += taken;
    while (this.first < this.outgoing.length) {
      const piece = this.outgoing[this.first]!;
      if (this.taken < piece.length) break;
      this.taken -= piece.length;
      this.first += 1;
      if (!(piece instanceof Uint8Array)) piece.release();
    }
    if (this.first === this.outgoing.length || this.first > 1000) {
      this.outgoing = this.outgoing.slice(this.first);
      this.first = 0;
    }
    return taken === chunk.length;
  }

  /** What one write should carry: many small pieces joined, or one large one; undefined when the disk is waited for. */
  private nextWrite(): Uint8Array | undefined {
    const head = this.outgoing[this.first]!;
    const alone = this.first + 1 === this.outgoing.length;
    if (head instanceof Uint8Array && (alone || head.length - this.taken >= JOIN_BELOW))
      return this.taken === 0 ? head : head.subarray(this.taken);
    const buffer = (shared ??= allocateUninitialised(FILE_CHUNK));
    let filled = 0;
    let room = JOIN_BELOW;
    for (let index = this.first; index < this.outgoing.length && filled < room; index += 1) {
      const piece = this.outgoing[index]!;
      const from = index === this.first ? this.taken : 0;
      if (piece instanceof Uint8Array) {
        if (piece.length - from > room - filled) break;
        buffer.set(from === 0 ? piece : piece.subarray(from), filled);
        filled += piece.length - from;
        continue;
      }
      room = FILE_CHUNK;
      const count = Math.min(piece.length - from, room - filled);
      const read = piece.read(buffer.subarray(filled, filled + count), from);
      filled += count;
      if (isPending(read)) return this.writeLater(buffer.subarray(0, filled), read);
    }
    return buffer.subarray(0, filled);
  }

  private writeLater(chunk: Uint8Array, read: Promise<void>): undefined {
    // The others get another buffer meanwhile.
    shared = undefined;
    this.reading = true;
    read
      .then(() => {
        this.reading = false;
        if (this.write(chunk)) this.send();
        this.owner.sentLater();
      })
      .catch((error: unknown) => this.fail(error));
  }
}
