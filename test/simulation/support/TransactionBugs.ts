/** Planted bugs of transactions, each with the smallest program that showed it. */
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
import type { TransactionCommand } from "../../../src/transaction/TransactionCoordinator.ts";
import { methodOf, type PlantedBug, replace } from "./PlantedBugs.ts";
import type { Instance, Program, TransactionScript } from "./TransactionPrograms.ts";

const to = (partition: number) => ({ partition, records: 1, pauseMs: 0 });

const transaction = (fields: Partial<TransactionScript>): TransactionScript => ({
  batches: [to(0)],
  pipelined: false,
  offset: false,
  end: "commit",
  stray: false,
  lateMarker: false,
  ...fields,
});

const life = (transactions: ReadonlyArray<Partial<TransactionScript>>, rest: Partial<Instance> = {}): Instance => ({
  version: 2,
  nextAfterMs: null,
  transactions: transactions.map(transaction),
  ...rest,
});

const program = (apps: Program["apps"], rest: Partial<Program> = {}): Program => ({
  seed: 0,
  apps,
  plain: 0,
  crashes: [],
  ...rest,
});

export const TRANSACTION_BUGS: ReadonlyArray<PlantedBug<Program>> = [
  {
    name: "the last stable offset is the high watermark",
    program: program([[life([{ end: "abandon" }])]]),
    finds: /T8/,
    plant: () => replace(LogState.prototype, "lastStableOffset", (highWatermark: never) => highWatermark),
  },
  {
    name: "no aborted transaction is listed",
    program: program([[life([{ end: "abandon" }])]]),
    finds: /T8: not committed, and seen/,
    plant: () => replace(UnifiedLog.prototype, "abortedTransactions", () => []),
  },
  {
    name: "the transaction index stops at its first entry",
    program: program([[life([{ end: "abort" }, { end: "abandon" }])]]),
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
    program: program([[life([{}])], [life([{}], { nextAfterMs: 13 }), life([{ offset: true }, {}])]], {
      seed: 334587,
      crashes: [
        { afterOperations: 43, how: "kill" },
        { afterOperations: 1, how: "kill" },
      ],
    }),
    finds: /T9/,
    plant: () => replace(CoordinatorLog.prototype, "whenCommitted", (committed: never) => (committed as () => void)()),
  },
  {
    name: "offsets count when they are written",
    program: program([[life([{ offset: true, end: "abandon" }])]]),
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
    program: program([[life([{ offset: true, end: "abandon" }])]]),
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
    program: program([[life([{ end: "abandon" }])]]),
    finds: /T12/,
    plant: () => replace(TransactionCoordinator.prototype, "sweep", () => undefined),
  },
  {
    name: "the coordinator is not asked whether a transaction includes a partition",
    program: program([[life([{ stray: true }], { version: 1 })]]),
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
    program: program(
      [
        [life([{ offset: true }])],
        [life([{ offset: true }, {}]), life([{ batches: [to(0), to(1)] }, { batches: [to(1), to(0)] }, {}])],
      ],
      {
        plain: 1,
        crashes: [
          { afterOperations: 126, how: "kill" },
          { afterOperations: 1, how: "kill" },
        ],
      },
    ),
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
    program: program(
      [
        [
          life([{}, { batches: [to(0), to(0)], offset: true }]),
          life([
            { batches: [to(0), to(0)], offset: true },
            { batches: [to(0), to(0), to(1)], offset: true, end: "abort" },
          ]),
        ],
      ],
      {
        plain: 3,
        crashes: [
          { afterOperations: 29, how: "lost" },
          { afterOperations: 117, how: "kill" },
        ],
      },
    ),
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
    program: program(
      [[life([{ batches: [to(0), to(1)] }]), life([{ batches: [to(0), to(0), to(0)], offset: true }, {}])]],
      { crashes: [{ afterOperations: 85, how: "kill" }] },
    ),
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
    program: program([[life([{ offset: true }])]]),
    finds: /T12: the offsets/,
    plant: () => replace(CommittedOffsets.prototype, "endTransaction", () => undefined),
  },
  {
    name: "a coordinator starts empty",
    program: program([[life([{}])]], {
      crashes: [
        { afterOperations: 1, how: "kill" },
        { afterOperations: 28, how: "kill" },
      ],
    }),
    finds: /T12|T9|lost/,
    plant: () => replace(CoordinatorLog.prototype, "replay", () => undefined),
  },
  {
    name: "prepared transactions are left alone after a crash",
    program: program(
      [[life([{ end: "abandon" }]), life([{}, { batches: [to(0), to(0), to(1)], offset: true }, { end: "abandon" }])]],
      { seed: 5, plain: 1, crashes: [{ afterOperations: 106, how: "kill" }] },
    ),
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
  {
    name: "a marker ends whatever its producer has open, of whichever epoch",
    program: program([
      [life([{ batches: [to(1)], lateMarker: true }, { batches: [to(1), to(0)], end: "linger" }, {}]), life([{}])],
      [life([{}])],
    ]),
    finds: /T8|T9/,
    plant: () => {
      const check = methodOf(ProducerStateManager.prototype, "check");
      return replace(ProducerStateManager.prototype, "check", function (this: never, batch: object, rules) {
        return Reflect.get(batch, "control") === undefined ? check.call(this, batch, rules) : { kind: "append" };
      });
    },
  },
  {
    name: "the coordinator takes a superseded epoch for the present one",
    program: program([[life([{}], { nextAfterMs: 0 }), life([{}])], [life([{}])]]),
    finds: /T13|T8|T9/,
    plant: () => {
      const run = methodOf(TransactionCoordinator.prototype, "run");
      return replace(TransactionCoordinator.prototype, "run", function (this: never, message: never) {
        const { command, ...rest } = message as { readonly command: TransactionCommand };
        const known =
          "transactionalId" in command && (this as TransactionCoordinator).journaled.get(command.transactionalId);
        const present = known && "producerEpoch" in command ? { producerEpoch: known.producerEpoch } : {};
        run.call(this, { ...rest, command: { ...command, ...present } });
      });
    },
  },
];
