/**
 * What a test broker's child process and its parent say to each other, over the channel Node makes for that: one call at
 * a time has one answer, by number; events come at any time. Everything is plain JSON.
 */
import type { PowerCut } from "../simulation/PowerCut.ts";
import type { HostAddress, HostOptions } from "./BrokerHost.ts";
import type { InjectedFault } from "./FaultDecisions.ts";

/** What is asked of the host. */
export type HostCall =
  | { readonly type: "start"; readonly options: HostOptions }
  | { readonly type: "stop" | "crash" | "restart" | "heal" | "dispose" }
  | { readonly type: "powerCut"; readonly cut: PowerCut };

export type ToChild = HostCall & { readonly call: number };

export type FromChild =
  /** The call is done; `address` as it is now. */
  | { readonly type: "done"; readonly call: number; readonly address: HostAddress }
  | { readonly type: "failed"; readonly call: number; readonly message: string }
  | { readonly type: "log"; readonly level: "info" | "warn" | "error"; readonly message: string }
  | { readonly type: "fault"; readonly fault: InjectedFault };
