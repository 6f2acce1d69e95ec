/**
 * A client program that works on beside a test: it may be killed and started again, each time as one child, of which the last
 * words are kept for a failure's message. Whoever makes one ends it.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";

export class Program {
  private child: ChildProcess | undefined;
  errors = "";

  constructor(
    private readonly command: string,
    private readonly args: readonly string[],
  ) {}

  start(): void {
    const child = spawn(this.command, this.args, { stdio: ["ignore", "ignore", "pipe"] });
    child.stderr.on("data", (chunk: Buffer) => {
      this.errors = (this.errors + chunk.toString()).slice(-2000);
    });
    this.child = child;
  }

  get running(): boolean {
    return this.child !== undefined && this.child.exitCode === null && this.child.signalCode === null;
  }

  async end(signal: "SIGTERM" | "SIGKILL"): Promise<void> {
    const { child } = this;
    if (child === undefined || !this.running) return;
    const gone = once(child, "exit");
    child.kill(signal);
    await gone;
  }
}
