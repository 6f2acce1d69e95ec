/**
 * `odradek topic`: what a person asks of topics. What must stay true: records are deleted only with `--execute`, a refusal
 * is said by its Kafka name beside what was done, and any refusal makes the exit code 1.
 */
import type { OutputFormat } from "../src/cli/Options.ts";
import type { TopicArguments, TopicCommand, TopicSelection } from "../src/cli/TopicArguments.ts";
import type { OffsetAnswer, Outcome, TopicDoor, TopicOutcome, TopicState } from "../src/cli/TopicDoor.ts";
import {
  type DescribedTopic,
  describeReport,
  listReport,
  outcomeReport,
  type TrimmedPartition,
  trimReport,
} from "../src/cli/TopicReport.ts";
import { regexMatcher } from "../src/group/SubscribedRegex.ts";
import type { TopicPartition } from "../src/prelude/Types.ts";
import { withDoor } from "./Doors.ts";
import { type Extent, extentsOf, locate } from "./Places.ts";
import type { ExitCode, Tool } from "./Tool.ts";

type CommandOf<V extends TopicCommand["verb"]> = Extract<TopicCommand, { readonly verb: V }>;

/** What to print, and whether anything was refused. */
interface Report {
  readonly text: string;
  readonly refused: boolean;
}

export const runTopicTool: Tool<TopicArguments> = ({ format, command, ...where }, platform, terminal) =>
  withDoor(platform, where, async (door): Promise<ExitCode> => {
    const { text, refused } = await new TopicTool(door.topics, format).run(command);
    await terminal.write(text);
    return refused ? 1 : 0;
  });

const anyError = (outcomes: ReadonlyArray<Outcome>): boolean => outcomes.some(({ error }) => error !== null);

class TopicTool {
  constructor(
    private readonly door: TopicDoor,
    private readonly format: OutputFormat,
  ) {}

  run(command: TopicCommand): Promise<Report> {
    switch (command.verb) {
      case "list":
        return this.list(command);
      case "describe":
        return this.describe(command);
      case "create":
        return this.create(command);
      case "delete":
        return this.delete(command);
      case "alter-config":
        return this.alterConfig(command);
      case "add-partitions":
        return this.addPartitions(command);
      case "trim":
        return this.trim(command);
    }
  }

  private async list({ topics, internal, detailed }: CommandOf<"list">): Promise<Report> {
    const found = await this.select(topics);
    const shown = found.filter((topic) => internal || !topic.internal || topics.names.length > 0);
    return { text: listReport(shown, detailed, this.format), refused: anyError(shown) };
  }

  private async describe({ topics, sections }: CommandOf<"describe">): Promise<Report> {
    const found = await this.select(topics);
    const there = found.filter(({ error }) => error === null);
    const partitions = there.flatMap(({ topic, partitions: own }) =>
      own.map(({ partition }) => ({ topic, partition })),
    );
    const ask = async (at: "earliest" | "latest", isolation: "read_uncommitted" | "read_committed") =>
      offsetsByName(sections.partitions ? await this.door.offsets(partitions, at, isolation) : []);
    const starts = await ask("earliest", "read_uncommitted");
    const stable = await ask("latest", "read_committed");
    const ends = await ask("latest", "read_uncommitted");
    const wanted = sections.configs === "none" ? [] : there.map(({ topic }) => topic);
    const configs = wanted.length === 0 ? [] : await this.door.configs(wanted);
    const described = found.map((state): DescribedTopic => {
      const own = configs.find(({ topic }) => topic === state.topic);
      return {
        ...state,
        ...(own?.error != null ? { error: own.error, message: own.message } : {}),
        configs: own?.configs ?? [],
        partitions: state.partitions.map((each) => {
          const name = nameOf({ topic: state.topic, partition: each.partition });
          return {
            ...each,
            logStartOffset: starts.get(name) ?? -1,
            lastStableOffset: stable.get(name) ?? -1,
            highWatermark: ends.get(name) ?? -1,
          };
        }),
      };
    });
    return { text: describeReport(described, sections, this.format), refused: anyError(described) };
  }

  private async create({ topics, dry, ifNotExists }: CommandOf<"create">): Promise<Report> {
    return this.outcomes(await this.door.create(topics, dry), dry, ifNotExists ? "TOPIC_ALREADY_EXISTS" : undefined);
  }

  private async delete({ topics, ifExists }: CommandOf<"delete">): Promise<Report> {
    const names = topics.regex ? (await this.select(topics)).map(({ topic }) => topic) : topics.names;
    const outcomes = names.length === 0 ? [] : await this.door.delete(names);
    return this.outcomes(outcomes, false, ifExists ? "UNKNOWN_TOPIC_OR_PARTITION" : undefined);
  }

  private async alterConfig({ topics, changes, dry }: CommandOf<"alter-config">): Promise<Report> {
    return this.outcomes(await this.door.alterConfigs(topics, changes, dry), dry);
  }

  private async addPartitions({ topics, count }: CommandOf<"add-partitions">): Promise<Report> {
    const found = await this.door.topics(topics);
    const unknown = found.filter(({ error }) => error !== null);
    const there = found.filter(({ error }) => error === null);
    const outcomes =
      there.length === 0
        ? []
        : await this.door.grow(there.map(({ topic, partitions }) => ({ topic, count: partitions.length + count })));
    return this.outcomes([...outcomes, ...unknown], false);
  }

  private async trim({ topic, partitions, before, execute }: CommandOf<"trim">): Promise<Report> {
    const [state] = await this.door.topics([topic]);
    if (state === undefined || state.error !== null) throw new Error(`${topic}: ${state?.error}`);
    const all = state.partitions.map(({ partition }) => partition);
    const unknown = partitions?.find((each) => !all.includes(each));
    if (unknown !== undefined) throw new Error(`${topic} has no partition ${unknown}`);
    const chosen = (partitions ?? all).map((partition) => ({ topic, partition }));
    const planned = new Map<number, TrimmedPartition>();
    const extents: Extent[] = [];
    for (const located of await extentsOf(this.door, chosen, "read_uncommitted")) {
      if ("found" in located) extents.push(located.found);
      else planned.set(located.refused.partition, { ...located.refused, before: -1 });
    }
    const offsets = await locate(this.door, extents, before, "read_uncommitted");
    for (const [index, { partition, start }] of extents.entries()) {
      const located = offsets[index]!;
      const answer =
        "found" in located ? { topic, partition, offset: located.found, error: null, message: null } : located.refused;
      planned.set(partition, { ...answer, before: start });
    }
    if (execute) {
      const possible = [...planned.values()].filter(({ error }) => error === null);
      const places = possible.map(({ partition, offset }) => ({ topic, partition, offset }));
      for (const answer of await this.door.trim(places))
        planned.set(answer.partition, { ...answer, before: planned.get(answer.partition)!.before });
    }
    const told = [...planned.values()].sort((left, right) => left.partition - right.partition);
    return { text: trimReport(told, execute, this.format), refused: anyError(told) };
  }

  /** The named topics, or those that match; without any name all of them. */
  private async select({ names, regex }: TopicSelection): Promise<TopicState[]> {
    if (!regex) return this.door.topics(names.length === 0 ? null : names);
    const matchers = names.map((name) => regexMatcher(name)!);
    const all = await this.door.topics(null);
    return all.filter(({ topic, internal }) => !internal && matchers.some((matches) => matches(topic)));
  }

  private outcomes(outcomes: ReadonlyArray<TopicOutcome>, dry: boolean, expected?: TopicOutcome["error"]): Report {
    const told = outcomes
      .map((each) => (each.error === expected ? { ...each, error: null, message: each.message ?? expected } : each))
      .sort((left, right) => (left.topic < right.topic ? -1 : 1));
    return { text: outcomeReport(told, dry, this.format), refused: anyError(told) };
  }
}

const nameOf = ({ topic, partition }: TopicPartition): string => `${topic}-${partition}`;

const offsetsByName = (answers: ReadonlyArray<OffsetAnswer>): ReadonlyMap<string, number> =>
  new Map(answers.map((answer) => [nameOf(answer), answer.offset]));
