/**
 * The clients the tests drive, one function per thing a person would type: kcat, Kafka's Java tools, and the JavaScript clients.
 * Each call is one process with a deadline.
 */
import { join } from "node:path";
import { javaArguments, javaScriptClients, kafkaLibs, kcat, node22 } from "./Cache.ts";
import { type RunOptions, type RunResult, run } from "./Process.ts";

export const kcatRun = (address: string, args: readonly string[], options: RunOptions = {}): Promise<RunResult> =>
  run(kcat(), ["-b", address, ...args], options);

const launcher = join(import.meta.dir, "..", "..", "..", "scripts", "run.mjs");

/** `odradek …` as a program and its arguments. */
export const odradekCommand = (address: string, args: readonly string[]): [command: string, args: string[]] => [
  process.execPath,
  [launcher, ...args, "--brokers", address],
];

export const odradek = (address: string, args: readonly string[], options: RunOptions = {}): Promise<RunResult> =>
  run(...odradekCommand(address, args), options);

/** Everything in one partition, one value a line, without a group. */
export const kcatReadAll = async (address: string, topic: string, format = "%s\\n", partition = 0): Promise<string> =>
  (await kcatRun(address, ["-C", "-q", "-t", topic, "-p", `${partition}`, "-o", "beginning", "-e", "-f", format]))
    .stdout;

/**
 * Produces lines, each to a partition of its own drawing: left to itself librdkafka stays with one partition for 10 ms, in which
 * a whole input may be gone, and the other partitions have nothing.
 */
export const kcatSpread = (address: string, topic: string, input: string, args: readonly string[] = []) =>
  kcatRun(address, ["-P", "-t", topic, ...SPREAD, ...args], { input });

export const SPREAD: readonly string[] = ["-X", "sticky.partitioning.linger.ms=0"];

/** One of Kafka's own tools, by class name. */
export const javaTool = async (
  toolClass: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<RunResult> => run("java", [...(await javaArguments(await kafkaLibs())), toolClass, ...args], options);

const tools = "org.apache.kafka.tools";
export const kafkaTopics = (address: string, args: readonly string[], options: RunOptions = {}): Promise<RunResult> =>
  javaTool(`${tools}.TopicCommand`, ["--bootstrap-server", address, ...args], options);

export const kafkaConsoleProducer = (
  address: string,
  topic: string,
  lines: string,
  args: readonly string[] = [],
): Promise<RunResult> =>
  javaTool(`${tools}.ConsoleProducer`, ["--bootstrap-server", address, "--topic", topic, ...args], { input: lines });

/** Values of partition 0 from the first on, by assignment. */
export const kafkaConsoleConsumer = async (
  address: string,
  topic: string,
  count: number,
  args: readonly string[] = [],
): Promise<string> => {
  const assign = ["--topic", topic, "--partition", "0", "--offset", "earliest"];
  const bounds = ["--max-messages", `${count}`, "--timeout-ms", "20000"];
  return (
    await javaTool(`${tools}.consumer.ConsoleConsumer`, ["--bootstrap-server", address, ...assign, ...bounds, ...args])
  ).stdout;
};

/** A program of `clients/` on Node 22 with the pinned JavaScript clients beside it. */
export const javaScript = async (
  program: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<RunResult> => {
  const directory = await javaScriptClients();
  return run(await node22(), [program, ...args], { cwd: directory, ...options });
};

export const numberedLines = (count: number, from = 0): string => {
  let text = "";
  for (let index = from; index < from + count; index++) text += `v${index}\n`;
  return text;
};
