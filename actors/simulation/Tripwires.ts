/**
 * Tripwires on everything outside the ports: while a simulation runs, the runtime's own timers, clocks, random sources,
 * sockets and files throw when touched. What must stay true: they are restored whatever happens, and a touch whose
 * exception somebody swallowed still fails the run, because every touch is listed.
 */
import fs from "node:fs";

export class TripwireError extends Error {
  override readonly name = "TripwireError";
}

type Target = Record<string, unknown>;

const targets: ReadonlyArray<readonly [string, object, ReadonlyArray<string>]> = [
  [
    "",
    globalThis,
    ["setTimeout", "setInterval", "setImmediate", "clearImmediate", "fetch", "WebSocket", "EventSource", "Worker"],
  ],
  ["performance.", performance, ["now"]],
  ["Math.", Math, ["random"]],
  ["crypto.", crypto, ["getRandomValues", "randomUUID"]],
  ["process.", process, ["hrtime", "nextTick"]],
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
    ],
  ],
  ["fs.", fs, Object.keys(fs).filter((name) => /^[a-z]/.test(name) && name !== "constants" && name !== "promises")],
];

/** Sets the wires; answers what was touched since, and how to take them away again. */
export const setTripwires = (): { readonly touched: string[]; readonly restore: () => void } => {
  const touched: string[] = [];
  const undo: Array<() => void> = [];
  const trip = (name: string): never => {
    touched.push(name);
    throw new TripwireError(`${name} was called inside a simulation: go through the port`);
  };
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
      if (name in owner && typeof Reflect.get(owner, name) === "function") {
        replace(owner as Target, name, () => trip(prefix + name));
      }
    }
  }
  replace(
    globalThis as unknown as Target,
    "Date",
    new Proxy(Date, {
      construct: (target, args, self) =>
        args.length === 0 ? trip("new Date()") : Reflect.construct(target, args, self),
      apply: () => trip("Date()"),
      get: (target, key) => (key === "now" ? () => trip("Date.now") : Reflect.get(target, key)),
    }),
  );
  return {
    touched,
    restore() {
      for (const step of undo.splice(0).reverse()) step();
    },
  };
};
