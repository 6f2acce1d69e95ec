/**
 * `bun run conformance`: real clients, raw frames and bad input against our broker, every expectation checked first against
 * Apache Kafka 4.3.1 (`--kafka` starts it). It prints one line per test, writes a JSON result, ends with `N passed, N failed`
 * and fails when anything fails.
 */
import { mkdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { type Broker, type BrokerKind, runningBroker, startBroker } from "./support/Brokers.ts";
import { cacheDirectory, javaArguments, javaScriptClients, kafkaLibs, node22 } from "./support/Cache.ts";
import type { ConformanceTest, Context, Suite } from "./support/Suite.ts";

const help = `bun run conformance [options]
  --full               the long suites too
  --only TEXT          only tests whose "suite: name" contains TEXT (repeatable)
  --skip TEXT          not the tests whose "suite: name" contains TEXT (repeatable)
  --list               print the tests and stop
  --kafka              start Apache Kafka 4.3.1, the oracle, instead of our broker
  --against HOST:PORT  use a running broker; tests that need a broker of their own are left out
  --as kafka|odradek   which broker --against is (default odradek)
  --json FILE          where the result goes (default: the cache directory)`;

const { values } = parseArgs({
  args: Bun.argv.slice(2),
  options: {
    full: { type: "boolean", default: false },
    only: { type: "string", multiple: true, default: [] },
    skip: { type: "string", multiple: true, default: [] },
    list: { type: "boolean", default: false },
    kafka: { type: "boolean", default: false },
    against: { type: "string" },
    as: { type: "string" },
    json: { type: "string" },
    help: { type: "boolean", default: false },
  },
});

if (values.help) {
  console.log(help);
  process.exit(0);
}

const suiteFiles = [
  "Connection",
  "Metadata",
  "Produce",
  "Fetch",
  "Offsets",
  "Topics",
  "Configs",
  "BadInput",
  "Restart",
  "Clients",
  "Codecs",
  "Goldens",
  "Librdkafka",
  "Libraries",
  "KafkaStreams",
  "Groups",
  "GroupClients",
  "ConsumerGroups",
  "Transactions",
  "CommandLine",
  "LogTools",
  "LogDifferential",
  "StreamClient",
  "StreamProtocol",
  "HostilePeers",
  "Package",
  "RealProcesses",
];

interface Outcome {
  readonly suite: string;
  readonly test: string;
  readonly ok: boolean;
  readonly ms: number;
  readonly notes: readonly string[];
  readonly error?: string;
}

const kind: BrokerKind = values.kafka || values.as === "kafka" ? "kafka" : "odradek";
const root = join(tmpdir(), `odradek-conformance-${process.pid}`);
let topics = 0;

const deadline = async (test: ConformanceTest, work: Promise<void>): Promise<void> => {
  const ms = test.timeoutMs ?? 60_000;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no end after ${ms} ms`)), ms);
  });
  try {
    await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
};

const runOne = async (suite: Suite, test: ConformanceTest, broker: Broker): Promise<Outcome> => {
  const directory = join(root, `test-${topics++}`);
  await mkdir(directory, { recursive: true });
  const actions: (() => Promise<unknown> | unknown)[] = [() => rm(directory, { recursive: true, force: true })];
  const notes: string[] = [];
  const context: Context = {
    broker,
    kind,
    directory,
    topic: (label = "t") => `${label}-${process.pid}-${topics++}`,
    ownBroker: async (overrides = {}) => {
      const own = await startBroker(kind, join(root, `broker-${topics++}`), overrides);
      actions.push(() => own.stop());
      return own;
    },
    cleanup: (action) => actions.push(action),
    note: (text) => notes.push(text),
  };
  const began = performance.now();
  let error: string | undefined;
  try {
    await deadline(test, test.run(context));
  } catch (cause) {
    error = cause instanceof Error ? cause.message : String(cause);
    if (values.full && cause instanceof Error && cause.stack !== undefined) error = cause.stack;
  }
  const ms = Math.round(performance.now() - began);
  for (const action of actions.reverse()) {
    try {
      await action();
    } catch (cause) {
      error ??= `while cleaning up: ${String(cause)}`;
    }
  }
  return {
    suite: suite.name,
    test: test.name,
    ok: error === undefined,
    ms,
    notes,
    ...(error === undefined ? {} : { error }),
  };
};

const main = async (): Promise<number> => {
  const suites: Suite[] = [];
  for (const name of suiteFiles) {
    const module: { readonly suite: Suite } = await import(`./suites/${name}.ts`);
    suites.push(module.suite);
  }
  const chosen = suites.map((suite) => ({
    ...suite,
    tests: suite.tests.filter((test) => {
      const title = `${suite.name}: ${test.name}`;
      if (values.only.length > 0 && !values.only.some((text) => title.includes(text))) return false;
      if (values.skip.some((text) => title.includes(text))) return false;
      if (test.own === true && values.against !== undefined) return false;
      if (suite.oursOnly === true && kind === "kafka") return false;
      return test.full !== true || values.full || values.only.includes(title);
    }),
  }));
  if (values.list) {
    for (const suite of chosen)
      for (const test of suite.tests) console.log(`${suite.name}: ${test.name}${test.full ? " (full)" : ""}`);
    return 0;
  }
  await mkdir(root, { recursive: true });
  await mkdir(cacheDirectory, { recursive: true });
  // Most suites need one of these, and what takes minutes to fetch is not a test's own time.
  await javaArguments(await kafkaLibs());
  await Promise.all([javaScriptClients(), node22()]);
  const began = performance.now();
  const broker =
    values.against === undefined ? await startBroker(kind, join(root, "broker")) : runningBroker(values.against);
  console.log(`${kind} on ${broker.address}${broker.startMs > 0 ? `, up after ${Math.round(broker.startMs)} ms` : ""}`);
  const outcomes: Outcome[] = [];
  try {
    for (const suite of chosen) {
      for (const test of suite.tests) {
        const outcome = await runOne(suite, test, broker);
        outcomes.push(outcome);
        const notes = outcome.notes.length === 0 ? "" : ` (${outcome.notes.join("; ")})`;
        console.log(`${outcome.ok ? "pass" : "FAIL"} ${suite.name}: ${test.name}${notes} ${outcome.ms} ms`);
        if (outcome.error !== undefined) console.log(`     ${outcome.error.replaceAll("\n", "\n     ")}`);
      }
    }
  } finally {
    await broker.stop();
    await writeFile(join(cacheDirectory, "broker.log"), broker.log());
    await rm(root, { recursive: true, force: true });
  }
  const failed = outcomes.filter((outcome) => !outcome.ok).length;
  const passed = outcomes.length - failed;
  const file = values.json ?? join(cacheDirectory, "result.json");
  const seconds = Math.round((performance.now() - began) / 1000);
  await writeFile(
    file,
    `${JSON.stringify({ broker: kind, full: values.full, seconds, passed, failed, outcomes }, null, 2)}\n`,
  );
  console.log(`result in ${file}; ${seconds} s`);
  console.log(`${passed} passed, ${failed} failed`);
  return failed === 0 && passed > 0 ? 0 : 1;
};

process.exit(await main());
