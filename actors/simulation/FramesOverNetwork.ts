/**
 * Frames over the sockets of the Network port, so that a simulated network's cuts, delays, resets and half-open
 * connections happen to the stream protocol too: a stand-in for WebSockets, whose own framing is the real shell's business.
 * What must stay true: frames arrive whole and in order, or the connection ends; `onClose` comes once, with the code the
 * other side closed with, or 1006.
 */
import type { FrameDuplex, FrameHandlers, SendOutcome } from "../../src/gateway/FrameDuplex.ts";
import { CloseCode } from "../../src/gateway/Messages.ts";
import type { Endpoint, Listener, Network, Socket, SocketHandlers } from "../../src/platform/Network.ts";
import { concatenated } from "../../src/prelude/Concatenated.ts";
import { isPending } from "../../src/prelude/Types.ts";

/** Before every frame: its kind and its length. */
const HEAD_BYTES = 5;
const DATA = 0;
/** Holds a code (two bytes) and a reason. */
const CLOSE = 1;

/** Bytes not yet taken by the socket beyond which a frame is `queued`, and beyond which it is `dropped`. */
const WINDOW_BYTES = 256 * 1024;
const LIMIT_BYTES = 16 * 1024 * 1024;

class FrameSocket implements FrameDuplex {
  handlers: FrameHandlers | undefined;
  private socket: Socket | undefined;
  private readonly outgoing: Uint8Array[] = [];
  private outgoingBytes = 0;
  private incoming: Uint8Array = new Uint8Array(0);
  private paused = false;
  private senderWaits = false;
  private closed = false;
  private closing = false;

  readonly socketHandlers: SocketHandlers = {
    onData: (_, chunk) => this.receive(chunk),
    onDrain: () => this.flush(),
    onClose: () => this.finish(CloseCode.ABNORMAL, ""),
  };

  attach(socket: Socket): void {
    this.socket = socket;
    if (this.closed) socket.destroy();
    else this.flush();
  }

  send(frame: Uint8Array): SendOutcome {
    if (this.closed || this.closing || this.outgoingBytes > LIMIT_BYTES) return "dropped";
    this.push(DATA, frame);
    if (this.outgoingBytes <= WINDOW_BYTES) return "sent";
    this.senderWaits = true;
    return "queued";
  }

  pause(): void {
    this.paused = true;
    this.socket?.pause();
  }

  resume(): void {
    this.paused = false;
    this.deliver();
    if (!this.paused) this.socket?.resume();
  }

  close(code: number, reason: string): void {
    if (this.closed || this.closing) return;
    this.closing = true;
    const text = Buffer.from(reason);
    this.push(CLOSE, Buffer.concat([Uint8Array.of(code >> 8, code & 0xff), text]));
    if (this.outgoingBytes === 0) this.socket?.end();
    this.finish(code, reason);
  }

  fail(): void {
    this.finish(CloseCode.ABNORMAL, "");
  }

  private push(kind: number, bytes: Uint8Array): void {
    const whole = new Uint8Array(HEAD_BYTES + bytes.length);
    whole[0] = kind;
    new DataView(whole.buffer).setUint32(1, bytes.length);
    whole.set(bytes, HEAD_BYTES);
    this.outgoing.push(whole);
    this.outgoingBytes += whole.length;
    this.flush();
  }

  private flush(): void {
    const { socket, outgoing } = this;
    if (socket === undefined) return;
    for (let first = outgoing[0]; first !== undefined; first = outgoing[0]) {
      const taken = socket.write(first);
      this.outgoingBytes -= taken;
      if (taken < first.length) {
        outgoing[0] = first.subarray(taken);
        break;
      }
      outgoing.shift();
    }
    if (this.closing && outgoing.length === 0) socket.end();
    if (!this.senderWaits || this.outgoingBytes > WINDOW_BYTES / 2 || this.closed) return;
    this.senderWaits = false;
    this.handlers?.onDrain();
  }

  private receive(chunk: Uint8Array): void {
    if (this.closed) return;
    this.incoming = concatenated([this.incoming, chunk]);
    this.deliver();
  }

  private deliver(): void {
    while (!this.paused && !this.closed && this.incoming.length >= HEAD_BYTES) {
      const { incoming } = this;
      const end = HEAD_BYTES + new DataView(incoming.buffer, incoming.byteOffset).getUint32(1);
      if (incoming.length < end) return;
      const bytes = incoming.slice(HEAD_BYTES, end);
      this.incoming = incoming.subarray(end);
      if (incoming[0] === DATA) this.handlers?.onFrame(bytes);
      else {
        this.socket?.end();
        this.finish((bytes[0]! << 8) | bytes[1]!, Buffer.from(bytes.subarray(2)).toString());
      }
    }
  }

  private finish(code: number, reason: string): void {
    if (this.closed) return;
    this.closed = true;
    if (!this.closing) this.socket?.destroy();
    this.handlers?.onClose(code, reason);
  }
}

/** Serves frames: `accept` is called for each connection and answers who hears of it. */
export const listenFrames = (
  network: Network,
  endpoint: Endpoint,
  accept: (duplex: FrameDuplex, peer: { readonly local: Endpoint; readonly remote: Endpoint }) => FrameHandlers,
): Listener =>
  network.listen(endpoint, (socket) => {
    const frames = new FrameSocket();
    frames.attach(socket);
    frames.handlers = accept(frames, { local: socket.local, remote: socket.remote });
    return frames.socketHandlers;
  });

/** Connects; `onOpen` when the other side is there, else `onClose` with 1006. */
export const connectFrames = (
  network: Network,
  endpoint: Endpoint,
  handlers: FrameHandlers & { onOpen(): void },
): FrameDuplex => {
  const frames = new FrameSocket();
  frames.handlers = handlers;
  const opened = (socket: Socket): void => {
    frames.attach(socket);
    handlers.onOpen();
  };
  const connecting = async (): Promise<Socket> => {
    const socket = network.connect(endpoint, frames.socketHandlers);
    return isPending(socket) ? await socket : socket;
  };
  connecting().then(opened, () => frames.fail());
  return frames;
};
