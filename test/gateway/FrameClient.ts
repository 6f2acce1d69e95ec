/**
 * A bare client of the stream protocol for tests: frames in, frames out, nothing done by itself but what a test asks
 * for (not even pongs). It decodes with msgpackr, so that what the gateway packs has been read by somebody else's code.
 */
import { Packr } from "msgpackr";
import type { FrameDuplex, FrameHandlers } from "../../src/gateway/FrameDuplex.ts";
import type { DeliveredBatch, DeliveredRecord, ServerFrame } from "../../src/gateway/Messages.ts";

const packr = new Packr({ useRecords: false, int64AsType: "number", variableMapSize: true });

type Fields = Readonly<Record<string, unknown>>;
export type Pushed = ServerFrame & Fields;

export class FrameClient implements FrameHandlers {
  /** Everything that came and was not taken, in order. */
  readonly frames: Pushed[] = [];
  readonly records: DeliveredRecord[] = [];
  readonly batches: DeliveredBatch[] = [];
  closed: { readonly code: number; readonly reason: string } | undefined;
  private waiting: Array<() => void> = [];
  isSilent = false;
  /** Sees every frame, in order. */
  watch: ((frame: Pushed) => void) | undefined;
  private nextId = 1;

  constructor(readonly duplex: FrameDuplex) {}

  onFrame(frame: Uint8Array): void {
    const decoded = packr.unpack(frame) as Pushed;
    this.watch?.(decoded);
    if (decoded.t === "records") {
      for (const batch of decoded.batches) {
        this.batches.push(batch);
        this.records.push(...(batch.records ?? []));
      }
    }
    if (decoded.t === "ping" && !this.isSilent) return this.send({ t: "pong", n: decoded.n });
    this.frames.push(decoded);
    this.wake();
  }

  onDrain(): void {}

  onClose(code: number, reason: string): void {
    this.closed = { code, reason };
    this.wake();
  }

  send(frame: Fields): void {
    this.duplex.send(packr.pack(frame));
  }

  sendBytes(bytes: Uint8Array): void {
    this.duplex.send(bytes);
  }

  /** The answer to a request, `ok` or `error`; rejects when the connection closes first. */
  async request(t: string, fields: Fields = {}): Promise<Fields> {
    const id = this.nextId++;
    this.send({ t, id, ...fields });
    return this.take((frame) => (frame.t === "ok" || frame.t === "error") && frame.id === id);
  }

  hello(): Promise<Fields> {
    return this.request("hello", { client: { name: "test", version: "1" } });
  }

  /** The first frame that fits, taken out. */
  async take(fits: (frame: Pushed) => boolean): Promise<Pushed> {
    let found = -1;
    await this.until(() => {
      found = this.frames.findIndex(fits);
      return found >= 0;
    });
    return this.frames.splice(found, 1)[0]!;
  }

  takeType(t: string): Promise<Pushed> {
    return this.take((frame) => frame.t === t);
  }

  has(t: string): boolean {
    return this.frames.some((frame) => frame.t === t);
  }

  /** Resolves when the condition holds after something came. */
  async until(holds: () => boolean): Promise<void> {
    while (!holds()) {
      if (this.closed !== undefined) throw new Error(`closed: ${this.closed.code} ${this.closed.reason}`);
      await new Promise<void>((resolve) => this.waiting.push(resolve));
    }
  }

  async untilClosed(): Promise<{ readonly code: number; readonly reason: string }> {
    while (this.closed === undefined) await new Promise<void>((resolve) => this.waiting.push(resolve));
    return this.closed;
  }

  private wake(): void {
    for (const resolve of this.waiting.splice(0)) resolve();
  }
}

const utf8 = { encode: new TextEncoder(), decode: new TextDecoder() };
export const bytes = (text: string): Uint8Array => utf8.encode.encode(text);
export const textOf = (value: Uint8Array | null): string | null => (value === null ? null : utf8.decode.decode(value));
/** The values of delivered records as text. */
export const values = (records: ReadonlyArray<DeliveredRecord>): Array<string | null> =>
  records.map(([, , , value]) => textOf(value));
