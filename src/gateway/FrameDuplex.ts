/**
 * The frame-duplex port: one message-oriented connection as both of its ends see it, a WebSocket in production and two
 * queues under the seeded scheduler in simulation. What must stay true: frames arrive whole, in order, or not at all;
 * `onClose` is called exactly once, whichever side ended it, and nothing is delivered after it.
 */

/**
 * `sent`: on its way. `queued`: taken, but send nothing more before `onDrain`. `dropped`: not taken; the connection is
 * not usable any more and its end follows.
 */
export type SendOutcome = "sent" | "queued" | "dropped";

export interface FrameDuplex {
  /** Nobody writes into the frame again; the same one may be sent to many. */
  send(frame: Uint8Array): SendOutcome;
  /** Nothing is delivered until `resume`. */
  pause(): void;
  resume(): void;
  /** Ends it after what was taken has been sent. Codes are those of WebSockets (RFC 6455, 4000–4999 ours). */
  close(code: number, reason: string): void;
}

export interface FrameHandlers {
  /** The frame may be kept: nobody writes into it again. */
  onFrame(frame: Uint8Array): void;
  onDrain(): void;
  /** 1006 when the connection broke. */
  onClose(code: number, reason: string): void;
}
