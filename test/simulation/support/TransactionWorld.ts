/**
 * A world of transactions: a whole broker on simulated ports that dies as the program says, and the program's clients; then
 * everybody stops, what is open times out, and the model judges.
 */
import { Simulation } from "../../../actors/simulation/Simulation.ts";
import { DyingBroker } from "./DyingBroker.ts";
import {
  ABORTED,
  COMMITTED,
  clientOf,
  emptyWorld,
  runApp,
  runPlain,
  runReader,
  SWEEP_MS,
  TIMEOUT_MS,
  TOPIC,
} from "./TransactionApps.ts";
import { judge } from "./TransactionModel.ts";
import { PARTITIONS, type Program } from "./TransactionPrograms.ts";

const LONGEST_RUN_MS = 3_600_000;
/** Longer than a restart and the markers of what was prepared take. */
const MARKERS_MS = 1500;

const SETTINGS: Readonly<Record<string, string>> = {
  "transaction.state.log.num.partitions": "1",
  "offsets.topic.num.partitions": "1",
  "transaction.abort.timed.out.transaction.cleanup.interval.ms": String(SWEEP_MS),
};

export interface Outcome {
  readonly found: string[];
  readonly committed: number;
  readonly transactions: number;
  readonly generations: number;
  readonly trace: string;
}

/** Runs a program and judges it. */
export const runProgram = ({ seed, apps, plain, crashes }: Program): Outcome => {
  const simulation = new Simulation({ seed, maxTimeMs: LONGEST_RUN_MS });
  return simulation.run(async () => {
    const world = emptyWorld();
    const broker = new DyingBroker(simulation, crashes, SETTINGS, world.found);
    const process = simulation.process("clients", { host: "10.0.0.1" });
    const setup = clientOf(process);
    await setup.createTopic(TOPIC, { partitions: PARTITIONS, configs: {}, orExists: true });
    let done = false;
    const readers = world.read.map((_, partition) => runReader(world, process, partition, () => done));
    await broker.while(
      Promise.all([
        ...apps.map((instances, index) => runApp(world, process, `app${index}`, instances)),
        runPlain(world, process, plain),
      ]),
    );
    // T12: everybody has stopped; the markers get written, and the sweep ends what is open.
    broker.finish();
    const mayBeOpen = world.transactions.some(({ why }) => why !== COMMITTED && why !== ABORTED);
    await setup.sleep(MARKERS_MS + (mayBeOpen ? TIMEOUT_MS + 4 * SWEEP_MS : 0));
    done = true;
    await Promise.all(readers);
    setup.close();
    const found = await judge(world, process);
    return {
      found,
      committed: world.transactions.filter(({ end }) => end === "committed").length,
      transactions: world.transactions.length,
      generations: broker.generations,
      trace: simulation.trace.hash,
    };
  });
};
