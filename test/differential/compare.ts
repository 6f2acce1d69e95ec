/**
 * Runs programs against Apache Kafka and ours, and prints where their answers part, with the smallest program found that shows it:
 *
 *     node scripts/run.mjs test/differential/compare.ts KAFKA-PORT groups|offsets|transactions FIRST-SEED COUNT [FILE]
 *
 * Ours is started here, Kafka before with the settings of `Brokers.ts`. With FILE the programs on which both agree are
 * recorded there, as the test reads them. A difference counts when Kafka answers the same again and again (it has choices of
 * its own, as the order of a hash map of random ids) and the two still differ with a longer rest.
 */
import { writeFileSync } from "node:fs";
import { makeBunPlatform } from "../../src/platform/BunPlatform.ts";
import { startRealBroker, temporaryDirectory } from "../support/RealBroker.ts";
import { KINDS, type Program, SETTINGS } from "./Brokers.ts";
import { type Difference, difference } from "./Difference.ts";

const [kafkaPort = "", what = "", first = "0", count = "10", file] = process.argv.slice(2);
const SHORT_REST_MS = 4;
const LONG_REST_MS = 40;

const kind = KINDS[what];
if (kind === undefined) throw new Error(`${what}: one of ${Object.keys(KINDS).join(", ")}`);
using directory = temporaryDirectory();
await using real = await startRealBroker(directory.path, SETTINGS);
const platform = makeBunPlatform();
const kafka = Number(kafkaPort);
const ours = real.broker.listeners[0]!.endpoint.port;
let runs = 0;

const run = (port: number, program: Program, restMs: number): Promise<string[]> => {
  runs += 1;
  const place = { platform, endpoint: { host: "127.0.0.1", port }, restMs };
  return kind.transcript(place, program, `r${Date.now().toString(36)}x${runs}`);
};

const compared = async (program: Program, restMs: number): Promise<Difference | undefined> => {
  const [theirs, own] = await Promise.all([run(kafka, program, restMs), run(ours, program, restMs)]);
  return difference(theirs, own);
};

/** Kafka's answers, when it gives the same ones each time. */
const steady = async (program: Program): Promise<string[] | undefined> => {
  const first = await run(kafka, program, LONG_REST_MS);
  for (let again = 0; again < 2; again++) {
    if ((await run(kafka, program, SHORT_REST_MS)).join() !== first.join()) return undefined;
  }
  return first;
};

const without = (program: Program, from: number, size: number): Program =>
  ({
    ...program,
    steps: (program.steps as unknown[]).filter((_, index) => index < from || index >= from + size),
  }) as Program;

/** Nothing behind the difference, then runs of steps left out as long as there is one. */
const shrunk = async (program: Program, found: Difference): Promise<[Program, Difference]> => {
  let best: [Program, Difference] = [without(program, found.step + 1, program.steps.length), found];
  for (let size = best[0].steps.length >> 1; size >= 1; size >>= 1) {
    for (let from = best[0].steps.length - 1 - size; from >= 0; from -= size) {
      const smaller = without(best[0], from, size);
      const still = await compared(smaller, SHORT_REST_MS);
      if (still !== undefined) best = [smaller, still];
    }
  }
  return best;
};

const last = Number(first) + Number(count);
const recorded: string[] = [];
let differing = 0;
for (let seed = Number(first); seed < last; seed++) {
  const program = kind.draw(seed);
  const quick = await compared(program, SHORT_REST_MS);
  if (quick === undefined) {
    if (file === undefined) continue;
    const [theirs, own] = [await steady(program), await run(ours, program, SHORT_REST_MS)];
    if (theirs?.join() === own.join()) recorded.push(`== ${seed}`, ...own);
    continue;
  }
  const found = await compared(program, LONG_REST_MS);
  if (found === undefined || (await steady(program)) === undefined) continue;
  differing += 1;
  const [smallest, at] = await shrunk(program, found);
  console.log(`\n=== seed ${seed}`);
  for (const step of smallest.steps) console.log(`  ${JSON.stringify(step)}`);
  console.log(`step ${at.step}\n  kafka ${at.kafka.join("\n        ")}\n  ours  ${at.ours.join("\n        ")}`);
}
if (file !== undefined) writeFileSync(file, `${recorded.join("\n")}\n`);
console.log(`${count} programs from ${first}: ${differing} differ`);
process.exit(0);
