/**
 * The broker as a program: arguments, configuration, platform, Broker; then signals. What must stay true: whatever is
 * wrong at start is one clear line and exit code 1, and nothing was touched; SIGTERM or SIGINT stops in order and exits
 * with 0, a second one forces; the lines a person reads at start say where clients connect.
 */
import * as Cause from "effect/Cause";
import * as Effect from "effect/Effect";
import * as Exit from "effect/Exit";
import type { Parsed } from "../src/cli/Arguments.ts";
import type { DumpLogOptions } from "../src/cli/DumpLogArguments.ts";
import { parseServerArguments } from "../src/cli/ServerArguments.ts";
import { KAFKA_VERSION, VERSION } from "../src/cli/Version.ts";
import type { BrokerConfig } from "../src/config/BrokerConfig.ts";
import { resolveListeners } from "../src/config/Listeners.ts";
import { loadBrokerConfig } from "../src/config/LoadBrokerConfig.ts";
import { makeBunClock } from "../src/platform/BunClock.ts";
import { makeBunHttpServer } from "../src/platform/BunHttpServer.ts";
import { makeBunPlatform } from "../src/platform/BunPlatform.ts";
import type { Clock } from "../src/platform/Clock.ts";
import { type Disk, diskTrouble } from "../src/platform/Disk.ts";
import { type Log, makeLogger } from "../src/platform/Logger.ts";
import { sha256 } from "../src/platform/Sha256.ts";
import { type Broker, startBroker } from "./Broker.ts";
import { startCleaningThread } from "./CleaningThread.ts";
import { type HttpDoor, openHttpDoor, probeHttpListeners } from "./HttpDoor.ts";
import { StartupError } from "./StartupError.ts";
import type { Tool } from "./Tool.ts";

const fail = (message: string, code: number): never => {
  for (const line of message.split("\n")) process.stderr.write(`odradek: ${line}\n`);
  process.exit(code);
};

const failToStart = ({ message, hint }: StartupError): never =>
  fail(hint === undefined ? message : `${message}\n${hint}`, 1);

/** Runs a command that is a client, not a broker: its code is loaded only now, so that it costs a broker's start nothing. */
const run = async <Arguments>(parsed: Parsed<Arguments>, load: () => Promise<Tool<Arguments>>): Promise<void> => {
  if (parsed.kind === "error") return fail(parsed.message, 2);
  if (parsed.kind === "help") return void process.stdout.write(parsed.text);
  const tool = await load();
  const { makeBunTerminal } = await import("../src/platform/BunTerminal.ts");
  const { OutputClosed } = await import("../src/platform/Terminal.ts");
  const terminal = makeBunTerminal();
  try {
    process.exit(await tool(parsed.arguments, makeBunPlatform(), terminal));
  } catch (error) {
    // Who stops reading has read enough: `| head` is no failure.
    if (error instanceof OutputClosed) process.exit(0);
    terminal.note(`odradek: ${error instanceof Error ? error.message : String(error)}`);
    process.exit(1);
  }
};

type Command = (args: ReadonlyArray<string>) => Promise<void>;

const commands: Readonly<Record<string, Command>> = {
  consume: async (args) =>
    run(
      (await import("../src/cli/ConsumeArguments.ts")).parseConsumeArguments(args, makeBunClock().wall(), process.env),
      async () => (await import("./ConsumeTool.ts")).runConsumeTool,
    ),
  "dump-log": async (args) => dump((await import("../src/cli/DumpLogArguments.ts")).parseDumpLogArguments(args)),
  group: async (args) =>
    run(
      (await import("../src/cli/GroupArguments.ts")).parseGroupArguments(args, process.env),
      async () => (await import("./GroupTool.ts")).runGroupTool,
    ),
  produce: async (args) =>
    run(
      (await import("../src/cli/ProduceArguments.ts")).parseProduceArguments(args, makeBunClock().wall(), process.env),
      async () => (await import("./ProduceTool.ts")).runProduceTool,
    ),
  topic: async (args) =>
    run(
      (await import("../src/cli/TopicArguments.ts")).parseTopicArguments(args, makeBunClock().wall(), process.env),
      async () => (await import("./TopicTool.ts")).runTopicTool,
    ),
  txn: async (args) =>
    run(
      (await import("../src/cli/TransactionArguments.ts")).parseTransactionArguments(args, process.env),
      async () => (await import("./TransactionTool.ts")).runTransactionTool,
    ),
};

/** `odradek dump-log …`: reads files, speaks with nobody. */
const dump = async (parsed: Parsed<DumpLogOptions>): Promise<void> => {
  if (parsed.kind === "error") return fail(parsed.message, 2);
  if (parsed.kind === "help") return void process.stdout.write(parsed.text);
  const { dumpExitCode, dumpLog } = await import("../src/cli/DumpLog.ts");
  const { blockingOutput } = await import("../src/platform/BlockingOutput.ts");
  const { disk, codecs } = makeBunPlatform();
  const { out, err, end } = blockingOutput(() => process.exit(0));
  const dumped = await dumpLog(parsed.arguments, { disk, codecs, out, err });
  end();
  process.exitCode = dumpExitCode(dumped, parsed.arguments);
};

/** Runs a command, or the broker until a signal ends it. */
const main = async (args: ReadonlyArray<string>): Promise<void> => {
  const [first, ...rest] = args[0] === "--" ? args.slice(1) : args;
  if (first === "help") return main(["--help"]);
  const command = first === undefined ? undefined : commands[first];
  if (command !== undefined) return command(rest);
  const parsed = parseServerArguments(args);
  if (parsed.kind === "help") return void process.stdout.write(parsed.text);
  if (parsed.kind === "error") return fail(parsed.message, 2);
  const { configFile, overrides, logFormat } = parsed.arguments;
  const platform = { ...makeBunPlatform(), cleaningWork: startCleaningThread };
  const log = makeLogger({ format: logFormat, now: () => platform.clock.wall() });
  const loaded = loadBrokerConfig({
    file: readConfigFile(platform.disk, configFile),
    environment: process.env,
    overrides,
  });
  for (const warning of loaded.warnings) log("warn", warning);
  const { config } = loaded;
  if (config === undefined || loaded.errors.length > 0) return fail(loaded.errors.join("\n"), 1);
  const { notes, errors } = resolveListeners(config);
  if (errors.length > 0) return fail(errors.join("\n"), 1);
  for (const note of notes) log("info", note);
  orFail(() => probeHttpListeners(platform.network, config));

  let requestLog = false;
  process.on("SIGUSR2", () => {
    requestLog = !requestLog;
    log("info", `request log ${requestLog ? "on" : "off"}`);
  });
  const logRequest = (line: string): void => log("info", line);
  const stopping = { begun: false, since: Number.NEGATIVE_INFINITY };
  const exit = await Effect.runPromiseExit(
    startBroker(platform, {
      config,
      clusterId: loaded.clusterId,
      log,
      requestLog: () => (requestLog ? logRequest : undefined),
      fatal: (why) => {
        if (!stopping.begun) fail(why, 1);
      },
    }),
  );
  if (Exit.isFailure(exit)) {
    const error = Cause.squash(exit.cause);
    return error instanceof StartupError ? failToStart(error) : fail(Cause.pretty(exit.cause), 1);
  }
  const broker = exit.value;
  const door = orFail(() => openHttpDoor({ server: makeBunHttpServer(), sha256 }, config, broker.doorEnvironment));
  if (door !== undefined) broker.attach(door);
  // Whoever waits for the lines below may send a signal at once.
  stopOnSignals(broker, platform.clock, stopping, log);
  announce(broker, door, config, log);
};

/** What cannot be had is one clear line. */
const orFail = <A>(open: () => A): A => {
  try {
    return open();
  } catch (error) {
    return error instanceof StartupError ? failToStart(error) : fail(String(error), 1);
  }
};

const readConfigFile = (disk: Disk, path: string | undefined): { path: string; text: string } | undefined => {
  if (path === undefined) return undefined;
  const content = orFail(() => {
    if (disk.isDirectory(path)) throw new StartupError(`--config: ${path} is a directory, not a file`);
    try {
      return disk.readFile(path);
    } catch (error) {
      throw new StartupError(`--config: ${path} cannot be read: ${diskTrouble(error)}`);
    }
  });
  if (content === undefined) {
    const word = /^[a-z-]+$/.test(path) ? ", and no command of that name (odradek --help lists them)" : "";
    return fail(`--config: there is no file ${path}${word}`, 1);
  }
  return { path, text: new TextDecoder().decode(content) };
};

const announce = (broker: Broker, door: HttpDoor | undefined, config: BrokerConfig, log: Log): void => {
  log("info", `Odradek ${VERSION} (protocol of Apache Kafka ${KAFKA_VERSION})`);
  log("info", `cluster ${broker.clusterId}, node ${broker.nodeId}, data in ${broker.directory}`);
  for (const { name, endpoint } of broker.listeners) {
    const { host, port } = endpoint;
    log("info", `${name} listening on ${host}:${port}`);
    if (host === "0.0.0.0" && config.text("advertised.listeners") === null) {
      log(
        "info",
        `clients are told the address they connected to; behind NAT add advertised.listeners=${name}://<host>:${port}`,
      );
    }
  }
  for (const { host, port } of door?.endpoints ?? []) {
    log("info", `HTTP and WebSocket on http://${host.includes(":") ? `[${host}]` : host}:${port}`);
  }
  log("info", "Kafka Server started");
};

/** The same signal again within this time is the same key press. */
const REPEATED_SIGNAL_MS = 500;

const stopOnSignals = (broker: Broker, clock: Clock, stopping: { begun: boolean; since: number }, log: Log): void => {
  const onSignal = (signal: NodeJS.Signals): void => {
    // Ctrl-C under a package runner arrives twice: from the terminal and from the runner.
    if (clock.monotonic() - stopping.since < REPEATED_SIGNAL_MS) return;
    if (stopping.begun) {
      log("warn", `${signal} again: stopping without waiting`);
      process.exit(1);
    }
    stopping.begun = true;
    stopping.since = clock.monotonic();
    log("info", `${signal}: stopping`);
    Effect.runPromise(broker.stop).then(
      () => {
        log("info", "stopped");
        process.exit(0);
      },
      (error: unknown) => fail(`the stop failed: ${String(error)}`, 1),
    );
  };
  process.on("SIGTERM", onSignal);
  process.on("SIGINT", onSignal);
};

await main(process.argv.slice(2));
