/**
 * The real Terminal: standard input, output and error of the process. Reading and writing happen on the thread pool, so
 * that a reader that does not read blocks nothing else (a member of a group goes on sending heartbeats).
 */
import { read, write, writeSync } from "node:fs";
import { isatty } from "node:tty";
import { OutputClosed, type Terminal } from "./Terminal.ts";

const STDIN = 0;
export const STDOUT = 1;
export const STDERR = 2;
const READ_BYTES = 262_144;
/** A descriptor that a parent made non-blocking is asked again after this time. */
export const AGAIN_MS = 2;
/** The same signal again within this time is the same key press: it comes from the terminal and from a package runner. */
const REPEATED_SIGNAL_MS = 500;
/** What shells say of a process that a signal ended. */
const EXIT_BY_SIGNAL = 130;

/** Of a system call's error; "" of any other. */
export const codeOf = (error: unknown): string =>
  error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : "";

const asked = <A>(call: (done: (error: Error | null, answer: A) => void) => void): Promise<A> =>
  new Promise((resolve, reject) => call((error, answer) => (error === null ? resolve(answer) : reject(error))));

/** Repeats a call until the descriptor is ready for it. */
const whenReady = async <A>(call: () => Promise<A>): Promise<A> => {
  for (;;) {
    try {
      return await call();
    } catch (error) {
      if (codeOf(error) !== "EAGAIN") throw error;
      await Bun.sleep(AGAIN_MS);
    }
  }
};

const utf8 = new TextEncoder();

export const makeBunTerminal = (): Terminal => {
  const notesAreRead = isatty(STDERR);
  let shown = 0;
  const clear = (): string => {
    const blank = shown === 0 ? "" : `\r${" ".repeat(shown)}\r`;
    shown = 0;
    return blank;
  };
  const say = (text: string): void => {
    try {
      writeSync(STDERR, text);
    } catch {
      // Nobody to tell.
    }
  };
  return {
    async read() {
      const buffer = new Uint8Array(READ_BYTES);
      try {
        const count = await whenReady(() => asked<number>((done) => read(STDIN, buffer, 0, buffer.length, null, done)));
        return count === 0 ? undefined : buffer.subarray(0, count);
      } catch (error) {
        // What Windows says at the end of a pipe.
        if (codeOf(error) === "EOF") return undefined;
        throw error;
      }
    },
    async write(data) {
      const bytes = typeof data === "string" ? utf8.encode(data) : data;
      for (let at = 0; at < bytes.length; ) {
        try {
          at += await whenReady(() => asked<number>((done) => write(STDOUT, bytes, at, bytes.length - at, null, done)));
        } catch (error) {
          if (codeOf(error) === "EPIPE") throw new OutputClosed("nobody reads the output any more");
          throw error;
        }
      }
    },
    note: (line) => say(`${clear()}${line}\n`),
    progress: (line) => {
      if (!notesAreRead) return;
      const blank = clear();
      shown = line.length;
      say(`${blank}${line}`);
    },
    isTyped: isatty(STDIN),
    showsOutput: isatty(STDOUT),
    interrupted: interruption(),
  };
};

const interruption = (): AbortSignal => {
  const controller = new AbortController();
  let since = Number.NEGATIVE_INFINITY;
  const onSignal = (): void => {
    if (performance.now() - since < REPEATED_SIGNAL_MS) return;
    if (controller.signal.aborted) process.exit(EXIT_BY_SIGNAL);
    since = performance.now();
    controller.abort();
  };
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, onSignal);
  return controller.signal;
};
