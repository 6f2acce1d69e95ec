/**
 * What a simulated disk tells its hook about an operation, and what the hook may answer. What must stay true: a fault
 * that an operation does not know is no fault to it (a read is never short, a rename never lies).
 */
import { DiskError, type DiskErrorCode } from "../../src/platform/Disk.ts";

/** An operation about to happen. Those that change something are counted from 0 by `index`; reads have index -1. */
export interface DiskOperation {
  readonly index: number;
  readonly kind:
    | "create"
    | "write"
    | "truncate"
    | "rename"
    | "remove"
    | "makeDirectory"
    | "flush"
    | "flushDirectory"
    | "flushFileSystem"
    | "read";
  readonly path: string;
}

/**
 * What goes wrong with an operation. `error`: refused with that code (a flush fails after its pages were marked clean).
 * `short`: a write takes only so many bytes. `hang`: a pending operation never answers. `delayMs`: it takes that long.
 * `lie`: a flush answers success and does nothing (a drive that ignores it, or a broker that never asked).
 */
export type DiskFault =
  | { readonly error: DiskErrorCode }
  | { readonly short: number }
  | { readonly hang: true }
  | { readonly delayMs: number }
  | { readonly lie: true };

export const errorOf = (fault: DiskFault | undefined, operation: string, path: string): DiskError | undefined =>
  fault !== undefined && "error" in fault ? new DiskError(fault.error, operation, path) : undefined;

export const isHang = (fault: DiskFault | undefined): boolean => fault !== undefined && "hang" in fault;

/** Whether a flush with this fault makes anything durable. */
export const isFlushed = (fault: DiskFault | undefined): boolean =>
  fault === undefined || !("error" in fault || "lie" in fault);
