/** A terminal of a test: input as pieces, output and notes as text, and a Ctrl-C at the test's own time. */
import { OutputClosed, type Terminal } from "../../src/platform/Terminal.ts";

export class TestTerminal implements Terminal {
  /** What was written, joined. */
  readonly bytes: Uint8Array[] = [];
  readonly notes: string[] = [];
  /** How many more writes are taken before the reader is gone. */
  writesLeft = Number.POSITIVE_INFINITY;
  readonly isTyped = false;
  readonly showsOutput = false;
  private readonly pieces: Array<Uint8Array | undefined> = [];
  private waiting: ((piece: Uint8Array | undefined) => void) | undefined;
  private readonly controller = new AbortController();
  private readonly watchers: Array<{ readonly isThere: () => boolean; readonly resolve: () => void }> = [];

  /** Without an input there is none and it has ended; `null`: `type` and `endInput` say what comes. */
  constructor(input: string | Uint8Array | null = "") {
    if (input === null) return;
    this.type(input);
    this.endInput();
  }

  get output(): string {
    return Buffer.concat(this.bytes).toString();
  }

  get interrupted(): AbortSignal {
    return this.controller.signal;
  }

  interrupt(): void {
    this.controller.abort();
  }

  type(input: string | Uint8Array): void {
    const piece = typeof input === "string" ? new TextEncoder().encode(input) : input;
    if (piece.length > 0) this.give(piece);
  }

  endInput(): void {
    this.give(undefined);
  }

  /** Resolves when the output has the pattern in it. */
  until(pattern: RegExp): Promise<void> {
    return this.watch(() => pattern.test(this.output));
  }

  /** Resolves when one of the notes has the pattern in it. */
  untilNote(pattern: RegExp): Promise<void> {
    return this.watch(() => this.notes.some((note) => pattern.test(note)));
  }

  read(): Promise<Uint8Array | undefined> {
    if (this.pieces.length > 0) return Promise.resolve(this.pieces.shift());
    return new Promise((resolve) => {
      this.waiting = resolve;
    });
  }

  async write(data: Uint8Array | string): Promise<void> {
    if (this.writesLeft <= 0) throw new OutputClosed("nobody reads the output any more");
    this.writesLeft -= 1;
    this.bytes.push(typeof data === "string" ? new TextEncoder().encode(data) : data.slice());
    this.look();
  }

  note(line: string): void {
    this.notes.push(line);
    this.look();
  }

  progress(): void {}

  private give(piece: Uint8Array | undefined): void {
    const { waiting } = this;
    this.waiting = undefined;
    if (waiting === undefined) this.pieces.push(piece);
    else waiting(piece);
  }

  private watch(isThere: () => boolean): Promise<void> {
    return new Promise((resolve) => {
      this.watchers.push({ isThere, resolve });
      this.look();
    });
  }

  private look(): void {
    for (const { isThere, resolve } of this.watchers) if (isThere()) resolve();
  }
}
