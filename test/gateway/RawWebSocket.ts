/**
 * A WebSocket client on a bare TCP socket, for what no browser does: it reads only while it is told to, answers no ping,
 * and sends whatever bytes a test wants.
 */
export class RawWebSocket {
  /** Complete messages (opcode and payload), close frames among them. */
  readonly frames: Array<{ readonly opcode: number; readonly payload: Uint8Array }> = [];
  received = 0;
  ended = false;
  private buffer: Buffer = Buffer.alloc(0);
  private shaken: ((head: string) => void) | undefined;
  private waiting: Array<() => void> = [];
  private socket!: Bun.Socket<undefined>;
  private unsent: Buffer = Buffer.alloc(0);

  static async connect(
    port: number,
    path: string,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<RawWebSocket> {
    const client = new RawWebSocket();
    const head = new Promise<string>((resolve) => (client.shaken = resolve));
    client.socket = await Bun.connect({
      hostname: "127.0.0.1",
      port,
      socket: {
        binaryType: "buffer",
        data: (_, chunk) => client.data(chunk),
        drain: () => client.flush(),
        close: () => client.end(),
        error: () => client.end(),
      },
    });
    const lines = { Host: `127.0.0.1:${port}`, ...headers };
    client.write(
      Buffer.from(
        [
          `GET ${path} HTTP/1.1`,
          "Upgrade: websocket",
          "Connection: Upgrade",
          "Sec-WebSocket-Version: 13",
          "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
          ...Object.entries(lines).map(([name, value]) => `${name}: ${value}`),
          "",
          "",
        ].join("\r\n"),
      ),
    );
    const answer = await head;
    if (!answer.startsWith("HTTP/1.1 101")) throw new Error(answer);
    return client;
  }

  /** One masked message. `declared`: the length its header says, when that is to be a lie. */
  send(payload: Uint8Array, opcode = 2, declared = payload.length): void {
    const header =
      declared < 126
        ? Buffer.from([0x80 | opcode, 0x80 | declared])
        : Buffer.from([0x80 | opcode, 0x80 | 127, 0, 0, 0, 0, 0, 0, 0, 0]);
    if (declared >= 126) header.writeBigUInt64BE(BigInt(declared), 2);
    this.write(Buffer.concat([header, Buffer.alloc(4), payload]));
  }

  write(bytes: Buffer): void {
    this.unsent = Buffer.concat([this.unsent, bytes]);
    this.flush();
  }

  pause(): void {
    this.socket.pause();
  }

  resume(): void {
    this.socket.resume();
  }

  destroy(): void {
    this.socket.terminate();
  }

  async until(holds: () => boolean): Promise<void> {
    while (!holds()) {
      if (this.ended) throw new Error("the connection has ended");
      await new Promise<void>((resolve) => this.waiting.push(resolve));
    }
  }

  async untilEnded(): Promise<void> {
    while (!this.ended) await new Promise<void>((resolve) => this.waiting.push(resolve));
  }

  /** Code of the close frame that came; undefined when none did. */
  get closeCode(): number | undefined {
    const close = this.frames.find(({ opcode }) => opcode === 8);
    return close === undefined ? undefined : Buffer.from(close.payload).readUInt16BE(0);
  }

  private flush(): void {
    const taken = this.socket.write(this.unsent);
    this.unsent = this.unsent.subarray(Math.max(0, taken));
  }

  private data(chunk: Buffer): void {
    this.received += chunk.length;
    this.buffer = Buffer.concat([this.buffer, chunk]);
    if (this.shaken !== undefined) {
      const end = this.buffer.indexOf("\r\n\r\n");
      if (end < 0) return;
      this.shaken(this.buffer.subarray(0, end).toString());
      this.shaken = undefined;
      this.buffer = this.buffer.subarray(end + 4);
    }
    for (;;) {
      const frame = this.parse();
      if (frame === undefined) break;
      this.frames.push(frame);
    }
    this.wake();
  }

  private parse(): { opcode: number; payload: Uint8Array } | undefined {
    const { buffer } = this;
    if (buffer.length < 2) return undefined;
    const short = buffer[1]! & 0x7f;
    const headerLength = short < 126 ? 2 : short === 126 ? 4 : 10;
    if (buffer.length < headerLength) return undefined;
    const length = short < 126 ? short : short === 126 ? buffer.readUInt16BE(2) : Number(buffer.readBigUInt64BE(2));
    if (buffer.length < headerLength + length) return undefined;
    this.buffer = buffer.subarray(headerLength + length);
    return { opcode: buffer[0]! & 0x0f, payload: new Uint8Array(buffer.subarray(headerLength, headerLength + length)) };
  }

  private end(): void {
    this.ended = true;
    this.wake();
  }

  private wake(): void {
    for (const resolve of this.waiting.splice(0)) resolve();
  }
}
