/**
 * One process's hold on a simulated disk: where each operation of its port begins, and where a flush ends. What must
 * stay true: a process that is no more changes nothing and is answered nothing, and every operation that changes
 * something is counted and traced before it happens.
 */
import type { MaybePending } from "../../src/prelude/Types.ts";
import { type DiskFault, type DiskOperation, errorOf, isFlushed, isHang } from "./DiskFault.ts";
import type { TaskOwner } from "./SeededTaskList.ts";
import type { SimulatedDisk } from "./SimulatedDisk.ts";

/** How one process reaches a simulated disk. */
export interface DiskUser {
  readonly owner: TaskOwner;
  after(delayMs: number, task: () => void): void;
  wall(): number;
  trace(line: string): void;
}

/** Thrown to code of a process that is no more and still calls; everything it does about it is as deaf. */
export class SimulatedCrash extends Error {
  override readonly name = "SimulatedCrash";
}

export class Attachment {
  constructor(
    readonly disk: SimulatedDisk,
    readonly user: DiskUser,
  ) {}

  /** Throws at a process that is no more. */
  check(): void {
    if (!this.user.owner.alive) throw new SimulatedCrash(`${this.user.owner.name} is no more`);
  }

  /** Begins an operation; what the fault means is the operation's business. */
  begin(kind: DiskOperation["kind"], path: string): DiskFault | undefined {
    this.check();
    const index = kind === "read" ? -1 : this.disk.operations++;
    const fault = this.disk.beforeOperation?.({ index, kind, path });
    if (kind !== "read") this.user.trace(`disk ${index} ${kind} ${path}${fault ? ` ${JSON.stringify(fault)}` : ""}`);
    // The hook may have killed the user: the operation then never happens.
    this.check();
    return fault;
  }

  /** Begins an operation that is done at once or refused. */
  beginOrThrow(kind: DiskOperation["kind"], path: string): void {
    const error = errorOf(this.begin(kind, path), kind, path);
    if (error !== undefined) throw error;
  }

  /** Answers a flush that has begun, at once or later; `end` is told whether it made anything durable. */
  answerFlush(
    fault: DiskFault | undefined,
    operation: string,
    path: string,
    end: (success: boolean) => void,
  ): MaybePending<void> {
    if (isHang(fault)) return never();
    const finish = (): Error | undefined => {
      end(isFlushed(fault));
      return errorOf(fault, operation, path);
    };
    const wait = this.disk.latency(fault);
    if (wait === undefined) {
      const error = finish();
      if (error !== undefined) throw error;
      return;
    }
    return new Promise((resolve, reject) => {
      this.user.after(wait, () => {
        const error = finish();
        if (error === undefined) resolve();
        else reject(error);
      });
    });
  }
}

export const never = <A>(): Promise<A> => new Promise<A>(() => {});
