/**
 * A raw connection: frames out, frames in, nothing retried, nothing negotiated. It owns one socket and tells apart an answer, a
 * closed connection and silence, because Kafka's answer to much bad input is one of the last two.
 */
import { connect, type Socket } from "node:net";
import { type Definition, decode, definition, encode, type Fields, isFlexible } from "./Definitions.ts";
import { assert } from "./Suite.ts";

export type Received = Buffer | "closed" | "silence";

export interface Sent {
  readonly name: string;
  readonly version: number;
  readonly correlationId: number;
}

export interface HeaderOptions {
  /** Null and empty are allowed by Kafka at every version. */
  readonly clientId?: string | null;
  readonly correlationId?: number;
  /** Raw tagged fields of a v2 header. */
  readonly headerTags?: Buffer;
  /** Appended after the body. */
  readonly extra?: Uint8Array;
  /** Cuts the frame's body by so many bytes (the size field fits the shorter frame). */
  readonly cut?: number;
}

/** Size field and header and body of a request, header v0 never used by today's Kafka. */
export const requestFrame = (
  message: Definition,
  version: number,
  body: Uint8Array,
  options: HeaderOptions & { readonly flexible?: boolean } = {},
): Buffer => {
  const clientId = options.clientId === undefined ? "wire" : options.clientId;
  const id = clientId === null ? Buffer.alloc(0) : Buffer.from(clientId);
  const head = Buffer.alloc(10);
  head.writeInt16BE(message.apiKey, 0);
  head.writeInt16BE(version, 2);
  head.writeInt32BE(options.correlationId ?? 1, 4);
  head.writeInt16BE(clientId === null ? -1 : id.length, 8);
  const flexible = options.flexible ?? isFlexible(message, version);
  const tags = flexible ? (options.headerTags ?? Buffer.from([0])) : Buffer.alloc(0);
  const whole = Buffer.concat([head, id, tags, body, options.extra ?? Buffer.alloc(0)]);
  const frame = whole.subarray(0, whole.length - (options.cut ?? 0));
  return Buffer.concat([sizeField(frame.length), frame]);
};

export const sizeField = (size: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(size);
  return bytes;
};

export class Wire {
  private readonly chunks: Buffer[] = [];
  private buffered = Buffer.alloc(0);
  private ended = false;
  private wake: (() => void) | undefined;
  private nextCorrelation = 1;

  private constructor(readonly socket: Socket) {
    socket.setNoDelay(true);
    socket.on("data", (chunk: Buffer) => {
      this.chunks.push(chunk);
      this.wake?.();
    });
    const end = () => {
      this.ended = true;
      this.wake?.();
    };
    socket.on("end", end);
    socket.on("close", end);
    socket.on("error", end);
  }

  static open(broker: { readonly host: string; readonly port: number }): Promise<Wire> {
    return new Promise((resolve, reject) => {
      const socket = connect({ host: broker.host, port: broker.port });
      socket.once("error", reject);
      socket.once("connect", () => {
        socket.off("error", reject);
        resolve(new Wire(socket));
      });
    });
  }

  close(): void {
    this.socket.destroy();
  }

  write(bytes: Uint8Array): void {
    if (!this.socket.destroyed) this.socket.write(bytes);
  }

  /** The next frame without its size field, or how the wait ended. */
  async read(timeoutMs = 5000): Promise<Received> {
    const end = performance.now() + timeoutMs;
    for (;;) {
      if (this.chunks.length > 0) this.buffered = Buffer.concat([this.buffered, ...this.chunks.splice(0)]);
      if (this.buffered.length >= 4) {
        const size = this.buffered.readInt32BE(0);
        if (this.buffered.length >= 4 + size) {
          const frame = this.buffered.subarray(4, 4 + size);
          this.buffered = this.buffered.subarray(4 + size);
          return frame;
        }
      }
      if (this.ended && this.chunks.length === 0) return "closed";
      const left = end - performance.now();
      if (left <= 0) return "silence";
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, left);
        this.wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
      this.wake = undefined;
    }
  }

  async send(name: string, version: number, body: Fields = {}, options: HeaderOptions = {}): Promise<Sent> {
    const message = await definition(`${name}Request`);
    const correlationId = options.correlationId ?? this.nextCorrelation++;
    this.write(requestFrame(message, version, encode(message, version, body), { ...options, correlationId }));
    return { name, version, correlationId };
  }

  async receive(sent: Sent, timeoutMs = 10_000): Promise<Fields> {
    const frame = await this.read(timeoutMs);
    if (typeof frame === "string") throw new Error(`${sent.name} v${sent.version}: ${frame}, an answer expected`);
    return decodeAnswer(sent, frame);
  }

  async call(name: string, version: number, body: Fields = {}, options: HeaderOptions = {}): Promise<Fields> {
    return this.receive(await this.send(name, version, body, options));
  }

  /** Asserts that the broker closes this connection without an answer. */
  async expectClosed(what: string, timeoutMs = 5000): Promise<void> {
    const received = await this.read(timeoutMs);
    const shown = typeof received === "string" ? received : `the answer ${received.toString("hex").slice(0, 80)}`;
    assert(received === "closed", `${what}: ${shown}, a closed connection expected`);
  }

  /** Asserts that the connection still answers. */
  async expectAlive(what: string): Promise<void> {
    const frame = await this.send("ApiVersions", 0, {}, { correlationId: 424242 });
    const received = await this.read();
    assert(
      typeof received !== "string" && received.readInt32BE(0) === frame.correlationId,
      `${what}: the connection is gone`,
    );
  }
}

export const decodeAnswer = async (sent: Sent, frame: Buffer): Promise<Fields> => {
  const message = await definition(`${sent.name}Response`);
  const correlationId = frame.readInt32BE(0);
  if (correlationId !== sent.correlationId) {
    throw new Error(`${sent.name}: correlation id ${correlationId}, expected ${sent.correlationId}`);
  }
  // ApiVersions answers with header v0 at every version, so that a client that guessed wrong can still read it.
  const tagged = sent.name !== "ApiVersions" && isFlexible(message, sent.version);
  if (tagged && frame[4] !== 0) throw new Error(`${sent.name}: tags in the response header`);
  return decode(message, sent.version, frame, tagged ? 5 : 4);
};
