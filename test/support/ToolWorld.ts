/** A broker of this process with both doors open, and the command line's tools in front of either. */
import { runConsumeTool } from "../../actors/ConsumeTool.ts";
import { runProduceTool } from "../../actors/ProduceTool.ts";
import type { ExitCode } from "../../actors/Tool.ts";
import { runTopicTool } from "../../actors/TopicTool.ts";
import type { ClientPlatform } from "../../actors/testing/KafkaConnection.ts";
import { parseConsumeArguments } from "../../src/cli/ConsumeArguments.ts";
import { parseProduceArguments } from "../../src/cli/ProduceArguments.ts";
import { parseTopicArguments } from "../../src/cli/TopicArguments.ts";
import { makeBunPlatform } from "../../src/platform/BunPlatform.ts";
import { startRealGateway } from "../gateway/RealGateway.ts";
import { type RealBroker, temporaryDirectory } from "./RealBroker.ts";
import { runArguments } from "./RunArguments.ts";
import { TestTerminal } from "./TestTerminal.ts";

/** The Kafka protocol, or the stream protocol. */
export type DoorName = "brokers" | "url";

export interface ToolWorld {
  readonly broker: RealBroker;
  /** Runs `consume`, `produce` or `topic`; the code, or why not. */
  readonly run: (line: string, terminal: TestTerminal, platform?: ClientPlatform) => Promise<ExitCode>;
  /** What a tool that ends well prints, given this input. */
  readonly output: (line: string, input?: string | Uint8Array) => Promise<string>;
}

/** Members of KIP-848 groups are heard every 100 ms instead of every 5 s. */
const QUICK_GROUPS = {
  "group.consumer.heartbeat.interval.ms": "100",
  "group.consumer.min.heartbeat.interval.ms": "100",
};

export const toolPlatform = makeBunPlatform();

export const withTools = async (door: DoorName, program: (world: ToolWorld) => Promise<void>): Promise<void> => {
  using directory = temporaryDirectory();
  await using broker = await startRealGateway(directory.path, QUICK_GROUPS);
  const { host, port } = broker.broker.listeners[0]!.endpoint;
  const where = door === "brokers" ? ["--brokers", `${host}:${port}`] : ["--url", broker.url];
  const run: ToolWorld["run"] = (line, terminal, platform = toolPlatform) => {
    const [command, ...rest] = line.split(" ");
    const args = [...rest, ...where];
    const now = Date.now();
    if (command === "consume")
      return runConsumeTool(runArguments(parseConsumeArguments(args, now, {})), platform, terminal);
    if (command === "produce")
      return runProduceTool(runArguments(parseProduceArguments(args, now, {})), platform, terminal);
    return runTopicTool(runArguments(parseTopicArguments(args, now, {})), platform, terminal);
  };
  await program({
    broker,
    run,
    output: async (line, input = "") => {
      const terminal = new TestTerminal(input);
      const code = await run(line, terminal);
      if (code !== 0) throw new Error(`${line}: exit code ${code}: ${terminal.output}`);
      return terminal.output;
    },
  });
};
