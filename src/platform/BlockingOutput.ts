/**
 * Standard output of a program that waits for nobody else: text is collected, and written by calls that come back when it has
 * been taken. What must stay true: a reader that is slow makes the program slow and not large; lines keep their order, also
 * beside those of standard error.
 */
import { writeSync } from "node:fs";

const STDOUT = 1;
const STDERR = 2;
const BUFFERED = 65_536;
/** A descriptor that a parent made non-blocking is asked again after this time. */
const AGAIN_MS = 2;

const writeAll = (descriptor: number, text: string): void => {
  const bytes = new TextEncoder().encode(text);
  for (let done = 0; done < bytes.length; ) {
    try {
      done += writeSync(descriptor, bytes, done);
    } catch (error) {
      if (!(error instanceof Error && "code" in error && error.code === "EAGAIN")) throw error;
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
      if (error instanceof Error && "code" in error && error.code === "EPIPE") closed();
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
