/**
 * The parent's side of a test broker that runs in a child process, because this is Node and a broker needs Bun. It owns
 * the child. What must stay true: the child never outlives this process and never keeps it alive; a call ends with the
 * child's answer, or with an error that says how the child ended.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import type { PowerCut } from "../simulation/PowerCut.ts";
import type { HostAddress, HostEvents, HostedBroker, HostOptions } from "./BrokerHost.ts";
import type { FromChild, HostCall, ToChild } from "./ChildProtocol.ts";
import { findBun } from "./FindBun.ts";

/** Where the build puts BrokerChild.ts, from where it puts this file. */
const CHILD = new URL("../bun/BrokerChild.js", import.meta.url);
/** Of what the child has said on its error output, for the message when it ends. */
const MAX_STDERR = 4096;

export const startChild = async (options: HostOptions, tell: HostEvents): Promise<HostedBroker> => {
  const broker = new ChildBroker(tell);
  try {
    await broker.ask({ type: "start", options });
    return broker;
  } catch (error) {
    broker.kill();
    throw error;
  }
};

const reasonOf = (error: NodeJS.ErrnoException): string =>
  error.code === "ENOENT" ? "no Bun was found: install the npm package `bun`, or put a bun on the PATH" : error.message;

class ChildBroker implements HostedBroker {
  private readonly child: ChildProcess;
  private readonly waiting = new Map<number, { done: () => void; failed: (error: Error) => void }>();
  private calls = 0;
  private known: HostAddress | undefined;
  private stderr = "";
  private over: Error | undefined;
  private disposing = false;

  constructor(private readonly tell: HostEvents) {
    const entry = fileURLToPath(CHILD);
    const { NODE_OPTIONS: _, ...environment } = process.env;
    this.child = spawn(findBun(), [entry], {
      // The settings of Bun that a project may have in its own directory are not the broker's.
      cwd: dirname(entry),
      env: environment,
      stdio: ["ignore", "ignore", "pipe", "ipc"],
    });
    this.child.on("message", (message) => this.hear(message as FromChild));
    this.child.on("error", (error) => this.end(new Error(`the broker's process failed: ${reasonOf(error)}`)));
    this.child.on("exit", (code, signal) => {
      const how = signal === null ? `ended with code ${code}` : `was ended by ${signal}`;
      this.end(new Error(`the broker's process ${how}${this.stderr === "" ? "" : `: ${this.stderr.trim()}`}`));
    });
    this.child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      this.stderr = `${this.stderr}${text}`.slice(-MAX_STDERR);
    });
  }

  get address(): HostAddress {
    if (this.known === undefined) throw new Error("the broker was never started");
    return this.known;
  }

  stop(): Promise<void> {
    return this.ask({ type: "stop" });
  }

  crash(): Promise<void> {
    return this.ask({ type: "crash" });
  }

  powerCut(cut: PowerCut): Promise<void> {
    return this.ask({ type: "powerCut", cut });
  }

  restart(): Promise<void> {
    return this.ask({ type: "restart" });
  }

  heal(): Promise<void> {
    return this.ask({ type: "heal" });
  }

  async dispose(): Promise<void> {
    if (this.disposing || this.over !== undefined) return;
    this.disposing = true;
    try {
      await this.ask({ type: "dispose" });
    } finally {
      this.kill();
    }
  }

  ask(call: HostCall): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.over !== undefined) return reject(this.over);
      const message: ToChild = { ...call, call: ++this.calls };
      const ended = (): void => {
        this.waiting.delete(message.call);
        if (this.waiting.size === 0) this.hold(false);
      };
      this.waiting.set(message.call, {
        done: () => {
          ended();
          resolve();
        },
        failed: (error) => {
          ended();
          reject(error);
        },
      });
      this.hold(true);
      this.child.send(message);
    });
  }

  kill(): void {
    this.over ??= new Error("the test broker was disposed of");
    if (this.child.connected) this.child.disconnect();
    this.child.kill("SIGKILL");
  }

  /** Whether the child keeps this process alive: only while it owes an answer. */
  private hold(wanted: boolean): void {
    const verb = wanted ? "ref" : "unref";
    this.child[verb]();
    this.child.channel?.[verb]();
    const { stderr } = this.child;
    if (stderr !== null && "unref" in stderr && "ref" in stderr) (stderr as { ref(): void; unref(): void })[verb]();
  }

  private hear(message: FromChild): void {
    switch (message.type) {
      case "log":
        this.tell.log(message.level, message.message);
        return;
      case "fault":
        this.tell.fault(message.fault);
        return;
      case "done":
        this.known = message.address;
        this.waiting.get(message.call)?.done();
        return;
      case "failed":
        this.waiting.get(message.call)?.failed(new Error(message.message));
    }
  }

  private end(error: Error): void {
    this.over ??= error;
    for (const { failed } of [...this.waiting.values()]) failed(this.over);
  }
}
