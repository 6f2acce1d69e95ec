/**
 * Standard output of a program that waits for nobody else: text is collected, and written by calls that come back when it has
 * been taken. What must stay true: a reader that is slow makes the program slow and not large; lines keep their order, also
 * beside those of standard error.
 */
import { writeSync } from "node:fs";
import { AGAIN_MS, codeOf, STDERR, STDOUT } from "./BunTerminal.ts";

const BUFFERED = 65_536;

const writeAll = (descriptor: number, text: string): void => {
  const bytes = new TextEncoder().encode(text);
  for (let done = 0; done < bytes.length; ) {
    try {
      done += writeSync(descriptor, bytes, done);
    } catch (error) {
      if (codeOf(error) !== "EAGAIN") throw error;
      Bun.sleepSync(AGAIN_MS);
    }
  }
};

export interface BlockingOutput {
  readonly out: (line: string) => void;
  readonly err: (line: string) => void;
  /** Writes what is left. */
  readonly end: () => void;
}

/** `closed` is called when nobody reads any more (`| head`), and must not come back. */
export const blockingOutput = (closed: () => never): BlockingOutput => {
  let text = "";
  const flush = (): void => {
    const all = text;
    text = "";
    try {
      writeAll(STDOUT, all);
    } catch (error) {
      if (codeOf(error) === "EPIPE") closed();
      throw error;
    }
  };
  return {
    out(line) {
      text += `${line}\n`;
      if (text.length >= BUFFERED) flush();
    },
    err(line) {
      flush();
      writeAll(STDERR, `${line}\n`);
    },
    end: flush,
  };
};
