/**
 * Planted bugs of transactions, each a change of one method, with a program that shows it: the proof that the properties
 * of `TransactionWorld` can fail. The search for such programs is a campaign; here is what it found.
 */
import { CoordinatorLog } from "../../../actors/CoordinatorLog.ts";
import { Partition } from "../../../actors/Partition.ts";
import { TransactionCoordinator } from "../../../actors/TransactionCoordinator.ts";
import { TransactionMarkers } from "../../../actors/TransactionMarkers.ts";
import { CommittedOffsets } from "../../../src/group/Offsets.ts";
import { LogState } from "../../../src/log/LogState.ts";
import { ProducerStateManager } from "../../../src/log/ProducerStateManager.ts";
import { TransactionIndex } from "../../../src/log/TransactionIndex.ts";
import { UnifiedLog } from "../../../src/log/UnifiedLog.ts";
import { Verifications } from "../../../src/log/Verifications.ts";
import { Errors } from "../../../src/protocol/Errors.ts";
import type { Program } from "./TransactionWorld.ts";

export interface Mutant {
  readonly name: string;
  /** A program that shows it (or one of the next seeds, when the broker has changed), and what is found then. */
  readonly program: Program;
  readonly finds: RegExp;
  /** Plants the bug; the answer takes it out. */
  readonly plant: () => () => void;
}

/** Replaces a method, whatever its visibility. */
const replace = (
  prototype: object,
  method: string,
  body: (this: never, ...inputs: never[]) => unknown,
): (() => void) => {
  const original = Object.getOwnPropertyDescriptor(prototype, method);
  if (original === undefined) throw new Error(`there is no method ${method}`);
  Object.defineProperty(prototype, method, { ...original, value: body });
  return () => Object.defineProperty(prototype, method, original);
};

/** A method as it is now, to be called by what replaces it. */
const methodOf = (prototype: object, method: string): ((...inputs: unknown[]) => unknown) =>
  Object.getOwnPropertyDescriptor(prototype, method)!.value as (...inputs: unknown[]) => unknown;

const program = (seed: number, crashes = 0): Program => ({ seed, apps: 2, transactions: 9, crashes });

export const MUTANTS: ReadonlyArray<Mutant> = [
  {
    name: "the last stable offset is the high watermark",
    program: program(1),
    finds: /T8/,
    plant: () => replace(LogState.prototype, "lastStableOffset", (highWatermark: never) => highWatermark),
  },
  {
    name: "no aborted transaction is listed",
    program: program(1),
    finds: /T8: not committed, and seen/,
    plant: () => replace(UnifiedLog.prototype, "abortedTransactions", () => []),
  },
  {
    name: "the transaction index stops at its first entry",
    program: program(1),
    finds: /T8/,
    plant: () => {
      const collect = methodOf(TransactionIndex.prototype, "collect");
      return replace(TransactionIndex.prototype, "collect", function (this: never, from, bound, into: never) {
        const found: unknown[] = [];
        const stop = collect.call(this, from, bound, found);
        (into as unknown[]).push(...found.slice(0, 1));
        return stop;
      });
    },
  },
  {
    name: "answered before the journal has it",
    program: program(4, 4),
    finds: /T9/,
    plant: () => replace(CoordinatorLog.prototype, "whenCommitted", (committed: never) => (committed as () => void)()),
  },
  {
    name: "offsets count when they are written",
    program: program(2),
    finds: /T9: the offset/,
    plant: () => {
      const evolve = methodOf(CommittedOffsets.prototype, "evolve");
      return replace(CommittedOffsets.prototype, "evolve", function (this: never, key, value, offset) {
        evolve.call(this, key, value, offset);
      });
    },
  },
  {
    name: "offsets of an aborted transaction count",
    program: program(2),
    finds: /T9: the offset/,
    plant: () => {
      const end = methodOf(CommittedOffsets.prototype, "endTransaction");
      return replace(CommittedOffsets.prototype, "endTransaction", function (this: never, producerId) {
        end.call(this, producerId, true);
      });
    },
  },
  {
    name: "nothing is aborted when its time is up",
    program: program(2),
    finds: /T12/,
    plant: () => replace(TransactionCoordinator.prototype, "sweep", () => undefined),
  },
  {
    name: "the coordinator is not asked whether a transaction includes a partition",
    program: program(1),
    finds: /T11/,
    plant: () => {
      const undoBegin = replace(Partition.prototype, "beginVerification", () => undefined);
      const verified = { verified: true, lowestSequence: -1, supportsEpochBump: false };
      const undoOf = replace(Verifications.prototype, "of", () => verified);
      return () => {
        undoBegin();
        undoOf();
      };
    },
  },
  {
    name: "no batch is remembered",
    program: program(10, 4),
    finds: /duplicate/,
    plant: () => {
      const check = methodOf(ProducerStateManager.prototype, "check");
      return replace(ProducerStateManager.prototype, "check", function (this: never, batch, rules) {
        const verdict = check.call(this, batch, rules) as { readonly kind: string };
        return verdict.kind === "duplicate" ? { kind: "append" } : verdict;
      });
    },
  },
  {
    name: "complete before the markers are written",
    program: program(16, 4),
    finds: /T8|T9|T12/,
    plant: () => {
      const write = methodOf(TransactionMarkers.prototype, "write");
      return replace(TransactionMarkers.prototype, "write", function (this: never, metadata) {
        (this as { written: (metadata: never) => void }).written(metadata);
        write.call(this, metadata);
      });
    },
  },
  {
    name: "a marker that fails is not tried again",
    program: program(2, 4),
    finds: /T12/,
    plant: () => {
      const settled = methodOf(TransactionMarkers.prototype, "settled");
      return replace(TransactionMarkers.prototype, "settled", function (this: never, completion, at) {
        settled.call(this, completion, at, Errors.NONE);
      });
    },
  },
  {
    name: "offsets never learn how their transaction ended",
    program: program(1),
    finds: /T12: the offsets/,
    plant: () => replace(CommittedOffsets.prototype, "endTransaction", () => undefined),
  },
  {
    name: "a coordinator starts empty",
    program: program(1, 4),
    finds: /T12|T9|lost/,
    plant: () => replace(CoordinatorLog.prototype, "replay", () => undefined),
  },
  {
    name: "prepared transactions are left alone after a crash",
    program: program(2, 4),
    finds: /T12/,
    plant: () => {
      const follow = methodOf(TransactionCoordinator.prototype, "follow");
      const load = methodOf(TransactionCoordinator.prototype, "load");
      let loading = false;
      const undoFollow = replace(TransactionCoordinator.prototype, "follow", function (this: never, metadata) {
        if (!loading) follow.call(this, metadata);
      });
      const undoLoad = replace(TransactionCoordinator.prototype, "load", function (this: never) {
        loading = true;
        try {
          load.call(this);
        } finally {
          loading = false;
        }
      });
      return () => {
        undoFollow();
        undoLoad();
      };
    },
  },
];
