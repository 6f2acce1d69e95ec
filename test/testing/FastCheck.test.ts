/** Arbitraries for simulated worlds: what they make is valid, and what breaks a program comes out small. */
import { expect, test } from "bun:test";
import * as fc from "fast-check";
import { faults, programs, records, seeds } from "../../actors/testing/FastCheck.ts";
import { type SimulatedFault, simulate } from "../../actors/testing/index.ts";
import { ORDINARY_FAULTS } from "../../actors/testing/Scenario.ts";

const text = (bytes: Uint8Array | null): string => new TextDecoder().decode(bytes ?? undefined);

test("what any program of sends and sleeps has acknowledged is there, whatever goes wrong", async () => {
  const step = fc.oneof(
    fc.record({ send: fc.array(records({ keys: 3, valueBytes: 20 }), { minLength: 1, maxLength: 3 }) }),
    fc.record({ sleepMs: fc.nat(200) }),
  );
  let acknowledged = 0;
  const property = fc.asyncProperty(
    seeds(),
    faults({ max: 5, withinMs: 1000 }),
    programs(step, { clients: { max: 2 }, steps: { max: 8 } }),
    async (seed, faults, program) => {
      const { value } = await simulate(
        async (world) => {
          const values: string[] = [];
          const run = async (steps: (typeof program)[number]): Promise<void> => {
            const machine = world.machine();
            const producer = machine.kafka({ retryBackoffMs: 20 }).producer();
            for (const one of steps) {
              if ("sleepMs" in one) await machine.sleep(one.sleepMs);
              else if ((await producer.send("t", 0, one.send)).type === "ok")
                values.push(...one.send.map(({ value }) => text(value)));
            }
          };
          await Promise.all(program.map(run));
          const found = (await world.machine().kafka().readAll("t", 0)).map(({ value }) => text(value));
          return { values: values.sort(), found: found.sort() };
        },
        { seed, faults, topics: ["t"] },
      );
      acknowledged += value.values.length;
      expect(value.found).toEqual(value.values);
    },
  );
  await fc.assert(property, { numRuns: 15, seed: 1 });
  expect(acknowledged).toBeGreaterThan(50);
}, 30_000);

test("a service that keeps what it has done in memory only is broken by one fault", async () => {
  const property = fc.asyncProperty(seeds(), faults({ withinMs: 500 }), async (seed, faults) => {
    let lives = 0;
    await simulate(
      (world) =>
        world.service("forgetful", async (machine) => {
          lives += 1;
          await machine.sleep(1000);
        }),
      { seed, faults },
    );
    return lives === 1;
  });
  const { failed, counterexample } = await fc.check(property, { seed: 2 });
  expect(failed).toBe(true);
  const [, broken] = counterexample as [number, SimulatedFault[]];
  expect(broken).toEqual([{ kind: "client kill", atMs: 0, forMs: 1 }]);
}, 30_000);

test("every kind of fault comes, and only those that were asked for", () => {
  const all = fc.sample(faults(), { numRuns: 500, seed: 3 }).flat();
  expect(new Set(all.map(({ kind }) => kind))).toEqual(new Set(ORDINARY_FAULTS));
  for (const { kind, cut } of all) expect(cut !== undefined).toBe(kind === "power cut");
  const some = fc.sample(faults({ kinds: ["kill"], max: 2, withinMs: 10 }), { numRuns: 100, seed: 4 });
  for (const list of some) {
    expect(list.length).toBeLessThanOrEqual(2);
    for (const { kind, atMs } of list) expect([kind, atMs <= 10]).toEqual(["kill", true]);
  }
});

test("records, programs and faults stay within what was asked for, and reach it", () => {
  const some = (options?: Parameters<typeof records>[0]) => fc.sample(records(options), { numRuns: 300, seed: 5 });
  const keys = (options?: Parameters<typeof records>[0]) => new Set(some(options).map(({ key }) => key && text(key)));
  expect(keys({ keys: 3 })).toEqual(new Set(["k0", "k1", "k2"]));
  expect(keys({ keys: 0 })).toEqual(new Set([null]));
  expect(keys().has(null)).toBe(true);
  expect(keys().size).toBeGreaterThan(100);
  const values = some({ valueBytes: 5, headers: 1 }).map(({ value }) => value?.length);
  expect(new Set(values)).toEqual(new Set([undefined, 0, 1, 2, 3, 4, 5]));
  expect(some({ tombstones: false }).every(({ value }) => value !== null)).toBe(true);
  expect(new Set(some({ headers: 1 }).map(({ headers }) => headers.length))).toEqual(new Set([0, 1]));
  const program = programs(fc.constant("step"), { clients: { min: 2, max: 3 }, steps: { min: 4, max: 6 } });
  const made = fc.sample(program, { numRuns: 200, seed: 6 });
  expect(new Set(made.map(({ length }) => length))).toEqual(new Set([2, 3]));
  expect(new Set(made.flat().map(({ length }) => length))).toEqual(new Set([4, 5, 6]));
  const times = fc.sample(faults({ withinMs: 5 }), { numRuns: 200, seed: 7 }).flat();
  expect(new Set(times.map(({ atMs }) => atMs))).toEqual(new Set([0, 1, 2, 3, 4, 5]));
  expect(new Set(times.map(({ forMs }) => forMs))).toEqual(new Set([1, 2, 3]));
});
