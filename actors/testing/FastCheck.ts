/**
 * `odradek/testing/fast-check`: arbitraries for records, programs, faults and seeds, so that fast-check finds what breaks a
 * program and makes it small. What must stay true: a value is plain data, and so is its shrunk form; fast-check is the
 * user's own.
 */
import * as fc from "fast-check";
import { POWER_CUTS } from "../simulation/PowerCut.ts";
import { ORDINARY_FAULTS } from "./Scenario.ts";
import type { SimulatedFault, SimulatedFaultKind } from "./Simulate.ts";

/** A record as `KafkaProducer.send` takes it. */
export interface AnyRecord {
  readonly key: Uint8Array | null;
  readonly value: Uint8Array | null;
  readonly headers: ReadonlyArray<{ readonly key: string; readonly value: Uint8Array | null }>;
}

export interface RecordOptions {
  /** Distinct keys, as `k0`, `k1`, …; 0: no record has one. Without it: any bytes or none. */
  readonly keys?: number;
  /** The longest value (default 64). */
  readonly valueBytes?: number;
  /** Whether some have no value, as compaction's tombstones (default true). */
  readonly tombstones?: boolean;
  /** Most headers of a record (default 2). */
  readonly headers?: number;
}

const bytes = (maxLength: number): fc.Arbitrary<Uint8Array> => fc.uint8Array({ maxLength });
const text = (string: string): Uint8Array => new TextEncoder().encode(string);

export const records = (options: RecordOptions = {}): fc.Arbitrary<AnyRecord> => {
  const { keys, valueBytes = 64, tombstones = true, headers = 2 } = options;
  const named = (count: number): fc.Arbitrary<Uint8Array | null> =>
    count === 0 ? fc.constant(null) : fc.nat(count - 1).map((index) => text(`k${index}`));
  const value = bytes(valueBytes);
  return fc.record({
    key: keys === undefined ? fc.option(bytes(16)) : named(keys),
    value: tombstones ? fc.option(value) : value,
    headers: fc.array(fc.record({ key: fc.string({ maxLength: 8 }), value: fc.option(bytes(16)) }), {
      maxLength: headers,
    }),
  });
};

export interface FaultsOptions {
  /** Default: all but `bit flip`. */
  readonly kinds?: ReadonlyArray<SimulatedFaultKind>;
  /** Most of them (default 10). */
  readonly max?: number;
  /** Milliseconds over which they are spread (default 2,000). */
  readonly withinMs?: number;
}

/** For `simulate`'s `faults`. Shrinks to fewer, earlier and shorter ones. */
export const faults = (options: FaultsOptions = {}): fc.Arbitrary<SimulatedFault[]> => {
  const { kinds = ORDINARY_FAULTS, max = 10, withinMs = 2000 } = options;
  const times = { atMs: fc.nat(withinMs), forMs: fc.integer({ min: 1, max: Math.ceil(withinMs / 2) }) };
  const fault = fc
    .record({ kind: fc.constantFrom(...kinds), ...times, cut: fc.constantFrom(...POWER_CUTS) })
    .map(({ cut, ...fault }): SimulatedFault => (fault.kind === "power cut" ? { ...fault, cut } : fault));
  return fc.array(fault, { maxLength: max });
};

export interface ProgramsOptions {
  /** Clients beside each other: default 1 to 3. */
  readonly clients?: { readonly min?: number; readonly max: number };
  /** Steps of each: default 1 to 20. */
  readonly steps?: { readonly min?: number; readonly max: number };
}

/** What each client does, step by step. Shrinks to fewer clients and fewer, simpler steps. */
export const programs = <Step>(step: fc.Arbitrary<Step>, options: ProgramsOptions = {}): fc.Arbitrary<Step[][]> => {
  const { clients = { max: 3 }, steps = { max: 20 } } = options;
  const one = fc.array(step, { minLength: steps.min ?? 1, maxLength: steps.max });
  return fc.array(one, { minLength: clients.min ?? 1, maxLength: clients.max });
};

/** For `simulate`'s `seed`. */
export const seeds = (): fc.Arbitrary<number> => fc.nat();
