/**
 * Planted bugs: each patches a prototype of production code, and the scenarios must notice. What must stay true: a patch
 * is taken back whatever happens; a mutant breaks one promise and leaves the rest alone, so that what is found is its.
 */
import * as Effect from "effect/Effect";
import { Controller } from "../../../actors/Controller.ts";
import { CoordinatorLog } from "../../../actors/CoordinatorLog.ts";
import { CoordinatorTimers } from "../../../actors/CoordinatorTimers.ts";
import { Partition } from "../../../actors/Partition.ts";
import { DelayedFetches } from "../../../src/api/DelayedFetch.ts";
import { FetchSession } from "../../../src/api/FetchSession.ts";
import type { AppendCommand } from "../../../src/api/Ports.ts";
import { Sender } from "../../../src/client/Sender.ts";
import { StreamPartition } from "../../../src/client/StreamPartition.ts";
import type { Position } from "../../../src/gateway/Messages.ts";
import { ClassicRebalance } from "../../../src/group/ClassicRebalance.ts";
import { ConsumerGroup } from "../../../src/group/ConsumerGroup.ts";
import { CommittedOffsets } from "../../../src/group/Offsets.ts";
import { IndexEntries } from "../../../src/log/IndexEntries.ts";
import { ProducerStateManager } from "../../../src/log/ProducerStateManager.ts";
import { Fate, RecordFates } from "../../../src/log/RecordFates.ts";
import { RetentionScan } from "../../../src/log/Retention.ts";
import { UnifiedLog } from "../../../src/log/UnifiedLog.ts";
import { GROUP_VERSION_FEATURE } from "../../../src/metadata/MetadataImage.ts";
import { LostFirstBatches } from "../../../src/partition/LostFirstBatches.ts";
import { ParkedReplies } from "../../../src/partition/ParkedReplies.ts";
import { Errors } from "../../../src/protocol/Errors.ts";
import { FrameAssembler } from "../../../src/protocol/Frame.ts";
import { IDEMPOTENCE_BUGS } from "./IdempotenceBugs.ts";
import { TRANSACTION_BUGS } from "./TransactionBugs.ts";

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

/** The start of a broker on data of a build that did not know `group.version`. */
const isUpgrade = (controller: object, { type }: { readonly type: string }): boolean => {
  const { features } = (controller as Controller).image();
  return type === "Activate" && features.size > 0 && !features.has(GROUP_VERSION_FEATURE);
};

/** A planted bug that is also looked for by programs of idempotent or transactional producers. */
const planted = (name: string): (() => () => void) => {
  const found = [...IDEMPOTENCE_BUGS, ...TRANSACTION_BUGS].find((bug) => bug.name === name);
  if (found === undefined) throw new Error(`no mutant ${name}`);
  return found.plant;
};

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
    name: "an index is believed whatever has flipped in it",
    scenario: "rot",
    seed: 4,
    plant: () => replace(IndexEntries.prototype, "isWhole", () => () => true),
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
    seed: 1,
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
    name: "a batch is neither written nor answered",
    scenario: "idempotent",
    seed: 1,
    plant: () =>
      replace(
        Partition.prototype,
        "append",
        (original) =>
          function deaf(...args) {
            const { batch } = args[0] as unknown as AppendCommand;
            if (batch.info.producerId >= 0 && batch.info.baseSequence > 4) return;
            original.apply(this, args);
          },
      ),
  },
  {
    name: "trust after a failed fsync",
    scenario: "disk",
    seed: 1,
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
    seed: 10,
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
        "readOrPromise",
        (original) =>
          function unbounded(start: never, max: never, _bound: never, ...rest: never[]) {
            const end = (this as unknown as UnifiedLog).logEndOffset;
            return original.call(this, start, max, end as never, ...rest);
          },
      ),
  },
  {
    name: "forget the window of batches",
    scenario: "idempotent",
    seed: 2,
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
    seed: 21,
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
    seed: 2,
    plant: () => replace(ProducerStateManager.prototype, "check", () => () => ({ kind: "append" })),
  },
  {
    name: "forget producers at a restart",
    scenario: "idempotent",
    seed: 1041,
    plant: planted("a restart forgets the producers"),
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
    seed: 2,
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
        "readOrPromise",
        (original) =>
          function skipping(start: never, max: never, bound: never, ...rest: never[]) {
            const skipped = (start as number) + 3;
            return original.call(this, (skipped < (bound as number) ? skipped : start) as never, max, bound, ...rest);
          },
      ),
  },
  {
    name: "a failed flush is answered as a refusal",
    scenario: "disk",
    seed: 10,
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
  {
    name: "what is pipelined behind a lost first batch does not wait for it",
    scenario: "idempotent",
    seed: 110,
    plant: () => replace(LostFirstBatches.prototype, "mustWait", () => () => false),
  },
  {
    name: "a fetch session leaves out what has changed",
    scenario: "clients",
    seed: 1,
    plant: () =>
      replace(
        FetchSession.prototype,
        "mustAnswer",
        (original) =>
          function forgetful(...args) {
            const must = original.apply(this, args);
            const [request] = args as unknown as [{ readonly fetchOffset: number }];
            return request.fetchOffset % 7 === 3 ? false : must;
          },
      ),
  },
  {
    name: "a group's partition is given before it is given up",
    scenario: "consumer-groups",
    seed: 42,
    plant: () => replace(ConsumerGroup.prototype, "isOwned", () => () => false),
  },
  {
    name: "a rebalance waits for nobody",
    scenario: "groups",
    seed: 2,
    plant: () =>
      replace(
        ClassicRebalance.prototype,
        "completeIfAllJoined",
        () =>
          function hasty(this: object) {
            (Reflect.get(this, "completeJoin") as () => void).call(this);
          },
      ),
  },
  {
    name: "a member is never missed",
    scenario: "groups",
    seed: 1,
    plant: () => replace(CoordinatorTimers.prototype, "due", () => () => false),
  },
  {
    name: "commits of offsets are acknowledged before they are in the log",
    scenario: "groups",
    seed: 7,
    plant: () => replace(CoordinatorLog.prototype, "whenCommitted", () => (committed: () => void) => committed()),
  },
  {
    name: "a group coordinator starts empty",
    scenario: "groups",
    seed: 1,
    plant: () => replace(CoordinatorLog.prototype, "replay", () => () => undefined),
  },
  {
    name: "now and then a committed offset is forgotten",
    scenario: "groups",
    seed: 2,
    plant: () =>
      replace(
        CommittedOffsets.prototype,
        "evolve",
        (original) =>
          function forgetful(this: object, key: never, value: never, recordOffset: never, producerId: never) {
            if ((recordOffset as number) % 11 !== 7) original.call(this, key, value, recordOffset, producerId);
          },
      ),
  },
  {
    name: "the last stable offset is the high watermark",
    scenario: "transactions",
    seed: 1,
    plant: planted("the last stable offset is the high watermark"),
  },
  {
    name: "no aborted transaction is listed",
    scenario: "transactions",
    seed: 1,
    plant: planted("no aborted transaction is listed"),
  },
  {
    name: "nothing is aborted when its time is up",
    scenario: "transactions",
    seed: 1,
    plant: planted("nothing is aborted when its time is up"),
  },
  {
    name: "a marker that fails is not tried again",
    scenario: "transactions",
    seed: 1,
    plant: planted("a marker that fails is not tried again"),
  },
  {
    name: "complete before the markers are written",
    scenario: "transactions",
    seed: 1,
    plant: planted("complete before the markers are written"),
  },
  {
    name: "offsets count when they are written",
    scenario: "copy",
    seed: 6,
    plant: planted("offsets count when they are written"),
  },
  {
    name: "offsets of an aborted transaction count",
    scenario: "copy",
    seed: 6,
    plant: planted("offsets of an aborted transaction count"),
  },
  {
    name: "prepared transactions are left alone after a crash",
    scenario: "copy",
    seed: 156,
    plant: planted("prepared transactions are left alone after a crash"),
  },
  {
    name: "compaction takes the last record of a key",
    scenario: "compaction",
    seed: 1,
    plant: () => replace(RecordFates.prototype, "of", () => () => Fate.superseded),
  },
  {
    name: "retention does not look at the time",
    scenario: "retention",
    seed: 2,
    plant: () => replace(RetentionScan.prototype, "tooOld", () => () => true),
  },
  {
    name: "features that an earlier build did not have are not finalized",
    scenario: "upgrade",
    seed: 1,
    plant: () =>
      replace(
        Controller.prototype,
        "ask",
        (original) =>
          function forgetful(command: never) {
            return isUpgrade(this, command) ? Effect.succeed(undefined) : original.call(this, command);
          },
      ),
  },
  {
    name: "a start forgets the producers of earlier builds",
    scenario: "upgrade",
    seed: 1,
    plant: planted("a restart forgets the producers"),
  },
  {
    name: "a start that finalizes features begins the producer ids anew",
    scenario: "upgrade",
    seed: 1,
    plant: () =>
      replace(
        Controller.prototype,
        "ask",
        (original) =>
          function forgetful(command: never) {
            if (isUpgrade(this, command))
              Reflect.set(this, "written", { ...(this as Controller).image(), nextProducerId: 0 });
            return original.call(this, command);
          },
      ),
  },
  {
    name: "a stream client numbers a batch anew when its answer was lost",
    scenario: "stream",
    seed: 9,
    plant: () =>
      replace(
        Sender.prototype,
        "lost",
        (original) =>
          function renumbering(...args) {
            original.apply(this, args);
            const [, batch] = args as unknown as [unknown, { built: unknown }];
            batch.built = undefined;
          },
      ),
  },
  {
    name: "a stream client comes back one offset too far",
    scenario: "stream",
    seed: 9,
    plant: () =>
      replace(
        StreamPartition.prototype,
        "position",
        (original) =>
          function beyond(...args) {
            const position = original.apply(this, args) as Position;
            const { received, handed } = this as StreamPartition;
            const [place] = args as unknown as [typeof received];
            return place === received && place !== handed ? { ...position, offset: position.offset + 1 } : position;
          },
      ),
  },
];

export const mutantOf = (name: string): Mutant => {
  const found = MUTANTS.find((mutant) => mutant.name === name);
  if (found === undefined) throw new Error(`no mutant ${name}`);
  return found;
};
