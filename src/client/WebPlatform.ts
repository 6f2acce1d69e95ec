/**
 * The client's platform in browsers, Node and Bun alike: the global WebSocket, timers, the cryptographic random source.
 * What must stay true: nothing here is touched before a client is made, and nothing is used that one of the three lacks.
 */
import type { FrameDuplex, SendOutcome } from "../gateway/FrameDuplex.ts";
import { CloseCode } from "../gateway/Messages.ts";
import type { ClientPlatform, ClientRandom, OpeningHandlers } from "./ClientPlatform.ts";

export const webPlatform = (): ClientPlatform => ({
  clock: {
    wall: () => Date.now(),
    monotonic: () => performance.now(),
    after(delayMs, task) {
      // Longer delays than 2^31 − 1 would run at once.
      const timer = setTimeout(task, Math.min(delayMs, 0x7fffffff));
      return () => clearTimeout(timer);
    },
  },
  random: webRandom(),
  open: (url, protocols, handlers) => new WebSocketDuplex(url, protocols, handlers),
  decompressor: async () => (await import("./Decompression.ts")).decompress,
  onOnline(task) {
    const { addEventListener, removeEventListener } = globalThis as Partial<EventTarget>;
    if (addEventListener === undefined || removeEventListener === undefined) return () => {};
    addEventListener.call(globalThis, "online", task);
    return () => removeEventListener.call(globalThis, "online", task);
  },
});

const webRandom = (): ClientRandom => ({
  below(bound) {
    const word = new Uint32Array(1);
    const limit = 0x100000000 - (0x100000000 % bound);
    do crypto.getRandomValues(word);
    while (word[0]! >= limit);
    return word[0]! % bound;
  },
  uuid() {
    for (;;) {
      const bytes = crypto.getRandomValues(new Uint8Array(16));
      bytes[6] = (bytes[6]! & 0x0f) | 0x40;
      bytes[8] = (bytes[8]! & 0x3f) | 0x80;
      const text = btoa(String.fromCharCode(...bytes))
        .replaceAll("+", "-")
        .replaceAll("/", "_")
        .replaceAll("=", "");
      // Kafka's Uuid never begins like an option of a command line.
      if (!text.startsWith("-")) return text;
    }
  },
});

/** Above this the socket counts as full until half of it has left. Browsers have no event for that: it is looked at. */
const BUFFERED_BYTES = 4 * 1024 * 1024;
const LOOK_MS = 5;

class WebSocketDuplex implements FrameDuplex {
  private readonly socket: WebSocket;
  private paused: Uint8Array[] | undefined;
  private looking: ReturnType<typeof setTimeout> | undefined;
  private finished = false;

  constructor(
    url: string,
    protocols: ReadonlyArray<string>,
    private readonly handlers: OpeningHandlers,
  ) {
    this.socket = new WebSocket(url, [...protocols]);
    this.socket.binaryType = "arraybuffer";
    this.socket.onopen = () => handlers.onOpen();
    this.socket.onmessage = ({ data }) => {
      // Text is nothing of this protocol; as bytes it is no frame either.
      const frame = data instanceof ArrayBuffer ? new Uint8Array(data) : new Uint8Array(0);
      if (this.paused === undefined) handlers.onFrame(frame);
      else this.paused.push(frame);
    };
    this.socket.onclose = ({ code, reason }) => this.finish(code, reason);
    // Why is not told to pages. In Node no `close` follows when the connection could not be made.
    this.socket.onerror = () => this.finish(CloseCode.ABNORMAL, "");
  }

  private finish(code: number, reason: string): void {
    clearTimeout(this.looking);
    if (this.finished) return;
    this.finished = true;
    this.handlers.onClose(code, reason);
  }

  send(frame: Uint8Array): SendOutcome {
    if (this.socket.readyState !== WebSocket.OPEN) return "dropped";
    this.socket.send(frame as Uint8Array<ArrayBuffer>);
    if (this.socket.bufferedAmount <= BUFFERED_BYTES) return "sent";
    this.lookLater();
    return "queued";
  }

  pause(): void {
    this.paused ??= [];
  }

  resume(): void {
    const held = this.paused ?? [];
    this.paused = undefined;
    for (const frame of held) this.handlers.onFrame(frame);
  }

  close(code: number, reason: string): void {
    const { socket } = this;
    // A socket that is being opened can only be given up; a page may close with 1000 and codes of its own.
    const own = code === CloseCode.NORMAL || code >= 3000 ? code : CloseCode.NORMAL;
    socket.close(own, reason.slice(0, 40));
  }

  private lookLater(): void {
    this.looking = setTimeout(() => {
      if (this.socket.readyState !== WebSocket.OPEN) return;
      if (this.socket.bufferedAmount > BUFFERED_BYTES / 2) this.lookLater();
      else this.handlers.onDrain();
    }, LOOK_MS);
  }
}
