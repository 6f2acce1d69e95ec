/**
 * Runs other programs for the conformance tests: one child with its own deadline, its output kept whole. It owns only the
 * children it starts; a child that outlives its deadline is killed by its own process id, never by name.
 */
import { spawn } from "node:child_process";

export interface RunOptions {
  readonly cwd?: string;
  readonly env?: Record<string, string>;
  /** Bytes for standard input; standard input is closed after them. */
  readonly input?: string | Uint8Array;
  /** Milliseconds until the child is killed and the run fails. */
  readonly timeoutMs?: number;
  /** Any exit code is fine; otherwise a code other than 0 throws. */
  readonly anyExit?: boolean;
}

export interface RunResult {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

const tailOf = (text: string, lines: number): string => text.trimEnd().split("\n").slice(-lines).join("\n");

/** Runs a program to its end. Throws with the last lines of its output when it fails or takes too long. */
export const run = (command: string, args: readonly string[], options: RunOptions = {}): Promise<RunResult> =>
  new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
      env: { ...process.env, ...options.env },
      stdio: ["pipe", "pipe", "pipe"],
    });
    const out: Buffer[] = [];
    const err: Buffer[] = [];
    let late = false;
    const timeoutMs = options.timeoutMs ?? 60_000;
    const timer = setTimeout(() => {
      late = true;
      child.kill("SIGKILL");
    }, timeoutMs);
    child.stdout.on("data", (chunk: Buffer) => out.push(chunk));
    child.stderr.on("data", (chunk: Buffer) => err.push(chunk));
    child.stdin.on("error", () => undefined);
    child.on("error", (cause) => {
      clearTimeout(timer);
      reject(new Error(`cannot start ${command}: ${cause.message}`));
    });
    child.on("close", (code) => {
      clearTimeout(timer);
      const result = { code, stdout: Buffer.concat(out).toString(), stderr: Buffer.concat(err).toString() };
      const told = `${tailOf(result.stdout, 8)}\n${tailOf(result.stderr, 12)}`.trim();
      if (late) reject(new Error(`${command} ${args.join(" ")}: no end after ${timeoutMs} ms\n${told}`));
      else if (code !== 0 && options.anyExit !== true) {
        reject(new Error(`${command} ${args.join(" ")}: exit code ${code}\n${told}`));
      } else resolve(result);
    });
    child.stdin.end(options.input ?? "");
  });

export const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Looks again and again until `holds`; fails with `what` when it does not in `ms` milliseconds. */
export const waitFor = async (what: string, ms: number, holds: () => boolean | Promise<boolean>): Promise<void> => {
  const end = performance.now() + ms;
  while (!(await holds())) {
    if (performance.now() > end) throw new Error(`${what}: not after ${ms} ms`);
    await sleep(50);
  }
};
