/**
 * Planted bugs: each patches a prototype of production code, and the scenarios must notice. What must stay true: a patch
 * is taken back whatever happens; a mutant breaks one promise and leaves the rest alone, so that what is found is its.
 */
import * as Effect from "effect/Effect";
import { Controller } from "../../../actors/Controller.ts";
import { Partition } from "../../../actors/Partition.ts";
import { DelayedFetches } from "../../../src/api/DelayedFetch.ts";
import { ProducerStateManager } from "../../../src/log/ProducerStateManager.ts";
import { UnifiedLog } from "../../../src/log/UnifiedLog.ts";
import { ParkedReplies } from "../../../src/partition/ParkedReplies.ts";
import { Errors } from "../../../src/protocol/Errors.ts";
import { FrameAssembler } from "../../../src/protocol/Frame.ts";

export interface Mutant {
  readonly name: string;
  /** The scenario it is looked for in. */
  readonly scenario: string;
  /** A seed that shows it, as the code was when this was written. */
  readonly seed: number;
  /** Plants it; the answer takes it back. */
  readonly plant: () => () => void;
}

type Method = (this: object, ...args: never[]) => unknown;

/** Replaces a method, private ones too; `make` gets the original. */
const replace = (prototype: object, name: string, make: (original: Method) => Method): (() => void) => {
  const original: unknown = Reflect.get(prototype, name);
  if (typeof original !== "function") throw new Error(`there is no ${name} to break`);
  Reflect.set(prototype, name, make(original as Method));
  return () => void Reflect.set(prototype, name, original);
};

const shared = new Uint8Array(4 << 20);

export const MUTANTS: ReadonlyArray<Mutant> = [
  {
    name: "no fsync of the log",
    scenario: "disk",
    seed: 1,
    plant: () =>
      replace(
        UnifiedLog.prototype,
        "beginFlush",
        (original) =>
          function skipping(...args) {
            const ticket = original.apply(this, args);
            return ticket === undefined ? ticket : { ...(ticket as object), files: [], directories: [] };
          },
      ),
  },
  {
    name: "no fsync of directories",
    scenario: "disk",
    seed: 1,
    plant: () =>
      replace(
        Partition.prototype,
        "ticketOf",
        (original) =>
          function skipping(...args) {
            const ticket = original.apply(this, args);
            if (ticket !== undefined) Reflect.set(ticket as object, "directories", []);
            return ticket;
          },
      ),
  },
  {
    name: "ack before flush",
    scenario: "disk",
    seed: 5,
    plant: () =>
      replace(ParkedReplies.prototype, "park", () => (_offset: number, committed: () => void) => committed()),
  },
  {
    name: "ack before the write",
    scenario: "disk",
    seed: 1,
    plant: () =>
      replace(
        Partition.prototype,
        "append",
        (original) =>
          function hasty(this: object, given: never) {
            const { settle } = given as { settle: (reply: unknown) => void };
            let settled = false;
            const once = (reply: unknown): void => {
              if (!settled) settle(reply);
              settled = true;
            };
            const command = { ...(given as object), settle: once };
            original.call(this, command as never);
            const staged = Reflect.get(this, "staged") as Array<{ command: object; decision: { reply: unknown } }>;
            const last = staged.at(-1);
            if (last?.command === command) once(last.decision.reply);
          },
      ),
  },
  {
    name: "trust after a failed fsync",
    scenario: "disk",
    seed: 13,
    plant: () =>
      replace(
        Partition.prototype,
        "flushFailed",
        () =>
          function trusting(this: object, ticket: never) {
            (this as Partition).flushed(ticket);
          },
      ),
  },
  {
    name: "high watermark too high",
    scenario: "clients",
    seed: 17,
    plant: () =>
      replace(
        Partition.prototype,
        "makeView",
        (original) =>
          function ahead(...args) {
            const view = original.apply(this, args) as { logEndOffset: number };
            return { ...view, highWatermark: view.logEndOffset, lastStableOffset: view.logEndOffset };
          },
      ),
  },
  {
    name: "fetch reads above its bound",
    scenario: "clients",
    seed: 3,
    plant: () =>
      replace(
        UnifiedLog.prototype,
        "read",
        (original) =>
          function unbounded(start: never, max: never, _bound: never, one: never) {
            const end = (this as unknown as UnifiedLog).logEndOffset;
            return original.call(this, start, max, end as never, one);
          },
      ),
  },
  {
    name: "forget the window of batches",
    scenario: "idempotent",
    seed: 1,
    plant: () =>
      replace(
        ProducerStateManager.prototype,
        "check",
        (original) =>
          function forgetful(...args) {
            const verdict = original.apply(this, args) as { kind: string };
            return verdict.kind === "duplicate" ? { kind: "append" } : verdict;
          },
      ),
  },
  {
    name: "a window of one batch",
    scenario: "network",
    seed: 31,
    plant: () =>
      replace(
        ProducerStateManager.prototype,
        "evolve",
        (original) =>
          function narrow(...args) {
            const ended = original.apply(this, args);
            const [batch] = args as unknown as [{ producerId: number }];
            const entry = (this as ProducerStateManager).get(batch.producerId);
            if (entry !== undefined) (entry.batches as unknown[]).splice(0, entry.batches.length - 1);
            return ended;
          },
      ),
  },
  {
    name: "ignore sequences",
    scenario: "idempotent",
    seed: 1,
    plant: () => replace(ProducerStateManager.prototype, "check", () => () => ({ kind: "append" })),
  },
  {
    name: "forget producers at a restart",
    scenario: "idempotent",
    seed: 274,
    plant: () => {
      const original = ProducerStateManager.of;
      ProducerStateManager.of = () => new ProducerStateManager();
      return () => {
        ProducerStateManager.of = original;
      };
    },
  },
  {
    name: "a duplicate is answered with a new offset",
    scenario: "network",
    seed: 2,
    plant: () =>
      replace(
        ProducerStateManager.prototype,
        "check",
        (original) =>
          function shifted(...args) {
            const verdict = original.apply(this, args) as { kind: string; baseOffset: number };
            return verdict.kind === "duplicate" ? { ...verdict, baseOffset: verdict.baseOffset + 1 } : verdict;
          },
      ),
  },
  {
    name: "a frame's buffer is used again",
    scenario: "produce",
    seed: 1,
    plant: () =>
      replace(
        FrameAssembler.prototype,
        "push",
        (original) =>
          function reusing(...args) {
            const frames = original.apply(this, args) as Uint8Array[];
            // Clients read responses with a smaller least size: theirs are left alone.
            if (Reflect.get(this, "minFrameBytes") === 4) return frames;
            return frames.map((frame) => {
              shared.set(frame);
              return shared.subarray(0, frame.length);
            });
          },
      ),
  },
  {
    name: "a waiting fetch is not woken",
    scenario: "network",
    seed: 1,
    plant: () => replace(DelayedFetches.prototype, "published", () => () => {}),
  },
  {
    name: "a fetch skips what it should begin with",
    scenario: "clients",
    seed: 1,
    plant: () =>
      replace(
        UnifiedLog.prototype,
        "read",
        (original) =>
          function skipping(start: never, max: never, bound: never, one: never) {
            const skipped = (start as number) + 3;
            return original.call(this, (skipped < (bound as number) ? skipped : start) as never, max, bound, one);
          },
      ),
  },
  {
    name: "a failed flush is answered as a refusal",
    scenario: "disk",
    seed: 12,
    plant: () =>
      // A definite failure, though the bytes may be there and a later flush saves them.
      replace(
        Partition.prototype,
        "afterFailedFlush",
        () =>
          function refusing(this: object) {
            const parked = Reflect.get(this, "parked") as ParkedReplies;
            Reflect.set(this, "flushBroken", false);
            parked.fail(Errors.INVALID_RECORD);
            (Reflect.get(this, "environment") as { dirty: (log: object) => void }).dirty(this);
          },
      ),
  },
  {
    name: "producer ids are given out twice",
    scenario: "idempotent",
    seed: 1,
    plant: () =>
      replace(
        Controller.prototype,
        "nextProducerId",
        (original) =>
          function twice(...args) {
            const given = original.apply(this, args) as Effect.Effect<{ readonly producerId: number }>;
            return Effect.map(given, (one) => ({ ...one, producerId: one.producerId - (one.producerId % 2) }));
          },
      ),
  },
  {
    name: "a topic's creation is acknowledged before its flush",
    scenario: "admin",
    seed: 1,
    plant: () =>
      replace(ParkedReplies.prototype, "park", () => (_offset: number, committed: () => void) => committed()),
  },
];

export const mutantOf = (name: string): Mutant => {
  const found = MUTANTS.find((mutant) => mutant.name === name);
  if (found === undefined) throw new Error(`no mutant ${name}`);
  return found;
};
