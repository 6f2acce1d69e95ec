/** Planted bugs of idempotent producers, each with the smallest program that showed it. */
import { ProducerStateManager } from "../../../src/log/ProducerStateManager.ts";
import { ParkedReplies } from "../../../src/partition/ParkedReplies.ts";
import { Errors } from "../../../src/protocol/Errors.ts";
import type { IdempotentProgram, ProducerScript, Round } from "./IdempotentWorld.ts";
import { methodOf, type PlantedBug, replace } from "./PlantedBugs.ts";

type Verdict = { readonly kind: string; readonly error?: number; readonly baseOffset?: number };

/** Changes what `check` says of a batch. */
const judged = (change: (verdict: Verdict) => Verdict): (() => void) => {
  const check = methodOf(ProducerStateManager.prototype, "check");
  return replace(ProducerStateManager.prototype, "check", function (this: never, batch, rules) {
    return change(check.call(this, batch, rules) as Verdict);
  });
};

const APPEND: Verdict = { kind: "append" };

const round = (fields: Partial<Round>): Round => ({
  batches: [1],
  again: [],
  swapped: false,
  afterwards: "nothing",
  pauseMs: 0,
  ...fields,
});

const producer = (rounds: ReadonlyArray<Partial<Round>>, firstSequence = 0): ProducerScript => ({
  firstSequence,
  rounds: rounds.map(round),
});

const program = (
  producers: ReadonlyArray<ProducerScript>,
  rest: Partial<IdempotentProgram> = {},
): IdempotentProgram => ({ seed: 0, producers, crashes: [], ...rest });

export const IDEMPOTENCE_BUGS: ReadonlyArray<PlantedBug<IdempotentProgram>> = [
  {
    name: "no batch is remembered",
    program: program([producer([{}, { again: [{ back: 0, before: 0 }] }]), producer([{}])]),
    finds: /duplicate/,
    plant: () => judged((verdict) => (verdict.kind === "duplicate" ? APPEND : verdict)),
  },
  {
    name: "a duplicate is answered with a new offset",
    program: program([producer([{}, { again: [{ back: 0, before: 0 }] }])]),
    finds: /moved/,
    plant: () =>
      judged((verdict) =>
        verdict.kind === "duplicate" ? { ...verdict, baseOffset: verdict.baseOffset! + 1 } : verdict,
      ),
  },
  {
    name: "only the last batch is remembered, and nothing that is older is refused",
    program: program([producer([{}, { again: [{ back: 0, before: 1 }] }])]),
    finds: /duplicate/,
    plant: () => {
      const evolve = methodOf(ProducerStateManager.prototype, "evolve");
      const undoEvolve = replace(ProducerStateManager.prototype, "evolve", function (this: never, batch) {
        const ended = evolve.call(this, batch);
        const entry = (this as ProducerStateManager).get((batch as { readonly producerId: number }).producerId);
        (entry?.batches as unknown[] | undefined)?.splice(0, entry!.batches.length - 1);
        return ended;
      });
      const undoCheck = judged((verdict) => (verdict.error === Errors.OUT_OF_ORDER_SEQUENCE_NUMBER ? APPEND : verdict));
      return () => {
        undoEvolve();
        undoCheck();
      };
    },
  },
  {
    name: "sequences may come in any order",
    program: program([producer([{}, { batches: [1, 1], swapped: true }])]),
    finds: /reordered/,
    plant: () => judged((verdict) => (verdict.error === Errors.OUT_OF_ORDER_SEQUENCE_NUMBER ? APPEND : verdict)),
  },
  {
    name: "a superseded epoch still writes",
    program: program([producer([{ afterwards: "zombie" }, { again: [{ back: 0, before: 0 }] }, {}])]),
    finds: /superseded epoch was taken/,
    plant: () => judged((verdict) => (verdict.error === Errors.INVALID_PRODUCER_EPOCH ? APPEND : verdict)),
  },
  {
    name: "a new epoch keeps the window of the last one",
    program: program([producer([{}, { batches: [2, 1] }, { afterwards: "bump" }, {}], 2147483645)]),
    finds: /lost|moved/,
    plant: () => {
      const evolve = methodOf(ProducerStateManager.prototype, "evolve");
      return replace(ProducerStateManager.prototype, "evolve", function (this: never, batch: never) {
        const { producerId, producerEpoch } = batch as { readonly producerId: number; readonly producerEpoch: number };
        const entry = (this as ProducerStateManager).get(producerId);
        const kept = [...(entry?.batches ?? [])];
        const isNew = entry !== undefined && entry.epoch !== producerEpoch;
        const ended = evolve.call(this, batch);
        if (isNew) (entry.batches as unknown[]).unshift(...kept);
        return ended;
      });
    },
  },
  {
    name: "a new epoch is taken for the last one",
    program: program([producer([{ afterwards: "zombie" }, {}])]),
    finds: /./,
    plant: () => {
      const check = methodOf(ProducerStateManager.prototype, "check");
      return replace(ProducerStateManager.prototype, "check", function (this: never, batch: object, rules) {
        const epoch = (this as ProducerStateManager).get(Reflect.get(batch, "producerId") as number)?.epoch;
        return check.call(this, epoch === undefined ? batch : { ...batch, producerEpoch: epoch }, rules);
      });
    },
  },
  {
    name: "a restart forgets the producers",
    program: program([producer([{ batches: [1, 1] }]), producer([{}])], {
      crashes: [
        { afterOperations: 1, how: "stop" },
        { afterOperations: 6, how: "stop" },
      ],
    }),
    finds: /duplicate|reordered/,
    plant: () => {
      const original = ProducerStateManager.of;
      ProducerStateManager.of = () => new ProducerStateManager();
      return () => {
        ProducerStateManager.of = original;
      };
    },
  },
  {
    name: "acknowledged before it is durable",
    program: program([producer([{}])], { crashes: [{ afterOperations: 27, how: "lost" }] }),
    finds: /lost/,
    plant: () =>
      replace(ParkedReplies.prototype, "park", (_offset: never, committed: never) => (committed as () => void)()),
  },
];
