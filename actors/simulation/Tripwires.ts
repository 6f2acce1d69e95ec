/**
 * Tripwires on everything outside the ports: while a simulation runs, the runtime's own timers, clocks, random sources,
 * sockets and files throw when touched (but for functions imported by name from `node:` modules: the runtime binds those
 * before anybody can replace them). What must stay true: they are disarmed whatever happens, and a touch whose
 * exception somebody swallowed still fails the run, because every touch is listed.
 */
import childProcess from "node:child_process";
import nodeCrypto from "node:crypto";
import dgram from "node:dgram";
import dns from "node:dns";
import fs from "node:fs";
import http from "node:http";
import https from "node:https";
import net from "node:net";
import timers from "node:timers";
import timersPromises from "node:timers/promises";
import tls from "node:tls";

export class TripwireError extends Error {
  override readonly name = "TripwireError";
}

type Target = Record<string, unknown>;

const targets: ReadonlyArray<readonly [string, object, ReadonlyArray<string>]> = [
  [
    "",
    globalThis,
    [
      ...["setTimeout", "setInterval", "setImmediate", "clearImmediate", "MessageChannel", "BroadcastChannel"],
      ...["fetch", "WebSocket", "EventSource", "Worker"],
    ],
  ],
  ["node:timers.", timers, ["setTimeout", "setInterval", "setImmediate"]],
  ["node:timers/promises.", timersPromises, ["setTimeout", "setInterval", "setImmediate"]],
  ["node:net.", net, ["connect", "createConnection", "createServer"]],
  ["node:tls.", tls, ["connect", "createServer"]],
  ["node:http.", http, ["request", "get", "createServer"]],
  ["node:https.", https, ["request", "get", "createServer"]],
  ["node:dgram.", dgram, ["createSocket"]],
  ["node:dns.", dns, ["lookup", "resolve"]],
  ["node:child_process.", childProcess, ["exec", "execFile", "execFileSync", "execSync", "fork", "spawn", "spawnSync"]],
  ["performance.", performance, ["now"]],
  ["Math.", Math, ["random"]],
  ["crypto.", crypto, ["getRandomValues", "randomUUID"]],
  [
    "node:crypto.",
    nodeCrypto,
    ["randomBytes", "randomFill", "randomFillSync", "randomInt", "randomUUID", "getRandomValues"],
  ],
  ["crypto.subtle.", crypto.subtle, ["digest", "sign", "verify", "encrypt", "decrypt", "generateKey", "importKey"]],
  ["AbortSignal.", AbortSignal, ["timeout"]],
  ["process.", process, ["hrtime", "nextTick", "uptime"]],
  ["process.hrtime.", process.hrtime, ["bigint"]],
  [
    "Bun.",
    Bun,
    [
      "file",
      "write",
      "listen",
      "connect",
      "serve",
      "sleep",
      "sleepSync",
      "nanoseconds",
      "randomUUIDv7",
      "mmap",
      "spawn",
      "spawnSync",
    ],
  ],
  ["fs.promises.", fs.promises, Object.keys(fs.promises).filter((name) => name !== "constants")],
  ["fs.", fs, Object.keys(fs).filter((name) => /^[a-z]/.test(name) && name !== "constants" && name !== "promises")],
];

/** What the wires do when they are touched; undefined: they let everything through. */
let armed: ((name: string) => never) | undefined;
let takeAway: (() => void) | undefined;
let kept = false;

/**
 * For a process that runs one simulation after the other: the wires are set once and stay, and between simulations let
 * everything through. Setting them for every run makes the engine compile much of the program again each time.
 */
export const keepTripwires = (): void => {
  kept = true;
  takeAway ??= setWires();
};

/** Arms the wires; answers what was touched since, and how to disarm them. */
export const setTripwires = (): { readonly touched: string[]; readonly restore: () => void } => {
  if (armed !== undefined) throw new Error("a simulation inside a simulation");
  const touched: string[] = [];
  takeAway ??= setWires();
  armed = (name) => {
    touched.push(name);
    throw new TripwireError(`${name} was called inside a simulation: go through the port`);
  };
  return {
    touched,
    restore() {
      armed = undefined;
      if (kept) return;
      takeAway?.();
      takeAway = undefined;
    },
  };
};

type Callable = (this: unknown, ...args: unknown[]) => unknown;

/** A function or constructor that trips while a simulation runs. */
const wired = (name: string, original: Callable): Callable => {
  const wire = function (this: unknown, ...args: unknown[]): unknown {
    armed?.(name);
    return new.target === undefined ? original.apply(this, args) : Reflect.construct(original, args);
  };
  // Constants and helpers hang on some of them (`WebSocket.OPEN`, `setTimeout[promisify.custom]`).
  Object.setPrototypeOf(wire, original);
  wire.prototype = original.prototype;
  return wire;
};

const setWires = (): (() => void) => {
  const undo: Array<() => void> = [];
  const replace = (owner: Target, name: string, replacement: unknown): void => {
    const before = Object.getOwnPropertyDescriptor(owner, name);
    const inherited = before === undefined ? owner[name] : undefined;
    if (before === undefined && inherited === undefined) return;
    try {
      Object.defineProperty(owner, name, { value: replacement, writable: true, configurable: true, enumerable: true });
    } catch {
      owner[name] = replacement;
    }
    undo.push(() => {
      if (before === undefined) delete owner[name];
      else if (before.configurable) Object.defineProperty(owner, name, before);
      else owner[name] = before.value;
    });
  };
  for (const [prefix, owner, names] of targets) {
    for (const name of names) {
      const original: unknown = name in owner ? Reflect.get(owner, name) : undefined;
      if (typeof original === "function") replace(owner as Target, name, wired(prefix + name, original as Callable));
    }
  }
  const { now } = Date;
  const wiredNow = (): number => {
    armed?.("Date.now");
    return now();
  };
  replace(
    globalThis as unknown as Target,
    "Date",
    new Proxy(Date, {
      construct: (target, args, self) => {
        if (args.length === 0) armed?.("new Date()");
        return Reflect.construct(target, args, self);
      },
      apply: (target) => {
        armed?.("Date()");
        return target();
      },
      get: (target, key) => (key === "now" ? wiredNow : Reflect.get(target, key)),
    }),
  );
  return () => {
    for (const step of undo.splice(0).reverse()) step();
  };
};
