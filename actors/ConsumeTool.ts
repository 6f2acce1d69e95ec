/**
 * `odradek consume`: records of partitions, or of what a group gives, printed in order. What must stay true: nothing is
 * skipped without a note; in a group only what was printed is committed, and the group is left whatever ends the tool.
 */
import type { ConsumeArguments, ConsumeFrom } from "../src/cli/ConsumeArguments.ts";
import type { Delivery, GroupMember, OffsetToWrite, RecordDoor } from "../src/cli/RecordDoor.ts";
import type { TopicState } from "../src/cli/TopicDoor.ts";
import { regexMatcher } from "../src/group/SubscribedRegex.ts";
import type { Clock } from "../src/platform/Clock.ts";
import type { Terminal } from "../src/platform/Terminal.ts";
import type { MonotonicMs, Offset, TopicPartition } from "../src/prelude/Types.ts";
import { withDoor } from "./Doors.ts";
import { type Extent, extentsOf, locate } from "./Places.ts";
import { Progress } from "./Progress.ts";
import { RecordPrinter } from "./RecordPrinter.ts";
import type { ExitCode, Tool } from "./Tool.ts";

type FromPartitions = Extract<ConsumeFrom, { readonly kind: "partitions" }>;
type FromGroup = Extract<ConsumeFrom, { readonly kind: "group" }>;

/** Also how long a Ctrl-C waits. */
const POLL_MS = 250;
/** New partitions, and topics that match a regular expression, are looked for so often. */
const DISCOVER_MS = 5000;
const COMMIT_MS = 1000;
/** The same trouble is told again after this time. */
const TROUBLE_MS = 10_000;

export const runConsumeTool: Tool<ConsumeArguments> = (args, platform, terminal) =>
  withDoor(platform, args, async (door): Promise<ExitCode> => {
    const tool = new ConsumeTool(args, door, platform.clock, terminal);
    const { from } = args;
    if (from.kind === "group") await tool.fromGroup(from);
    else await tool.fromPartitions(from);
    return 0;
  });

const nameOf = ({ topic, partition }: TopicPartition): string => `${topic} [${partition}]`;

/** A partition that is read: from where on, and (exclusive) to where. */
interface Stretch extends TopicPartition {
  readonly offset: Offset;
  readonly end: Offset;
}

class ConsumeTool {
  private readonly printer: RecordPrinter;
  private readonly progress: Progress;
  /** When each was told. */
  private readonly troubles = new Map<string, MonotonicMs>();

  constructor(
    private readonly args: ConsumeArguments,
    private readonly door: RecordDoor,
    private readonly clock: Clock,
    private readonly terminal: Terminal,
  ) {
    this.printer = new RecordPrinter(terminal, args.output);
    this.progress = new Progress(terminal, () => clock.monotonic(), terminal.showsOutput);
  }

  private get isOver(): boolean {
    return this.terminal.interrupted.aborted || this.progress.count >= this.args.count;
  }

  async fromPartitions(from: FromPartitions): Promise<void> {
    const found = await this.findPartitions(from.partitions);
    if (!this.args.regex) this.checkNamed(found, from.partitions);
    const bounded = this.args.exit || from.range.to !== undefined;
    let stretches = await this.stretchesOf(found, from);
    const seen = new Set(found.map(nameOf));
    const source = this.door.read({ isolation: this.args.isolation, onTrouble: (line) => this.trouble(line) });
    source.assign(stretches);
    let discoverAt = this.clock.monotonic() + DISCOVER_MS;
    while (!this.isOver && !(bounded && stretches.length === 0)) {
      for (const delivery of await source.poll(POLL_MS)) {
        const stretch = stretches.find((each) => nameOf(each) === nameOf(delivery));
        if (stretch === undefined) continue;
        await this.print(delivery, stretch.end);
        if (delivery.nextOffset < stretch.end) continue;
        stretches = stretches.filter((each) => each !== stretch);
        source.assign(stretches);
        this.detail(`${nameOf(stretch)}: at its end`);
      }
      await this.printer.flush();
      if (bounded || this.clock.monotonic() < discoverAt) continue;
      const added = (await this.findPartitions(from.partitions)).filter((each) => !seen.has(nameOf(each)));
      for (const each of added) {
        seen.add(nameOf(each));
        stretches.push({ ...each, offset: 0, end: Number.POSITIVE_INFINITY });
        this.detail(`${nameOf(each)}: is new`);
      }
      if (added.length > 0) source.assign(stretches);
      discoverAt = this.clock.monotonic() + DISCOVER_MS;
    }
    await source.close();
  }

  async fromGroup({ groupId, protocol, reset }: FromGroup): Promise<void> {
    const { args, door } = this;
    /** What was printed and is not committed yet. */
    const printed = new Map<string, OffsetToWrite>();
    const ends = new Map<string, Offset>();
    const commit = async (): Promise<void> => {
      const offsets = [...printed.values()];
      if (offsets.length === 0) return;
      const failure = await member.commit(offsets);
      if (failure !== undefined) this.note(`group ${groupId}: offsets were not committed: ${failure}`);
      else for (const each of offsets) if (printed.get(nameOf(each)) === each) printed.delete(nameOf(each));
    };
    const member: GroupMember = door.join({
      isolation: args.isolation,
      onTrouble: (line) => this.trouble(line),
      groupId,
      protocol,
      topics: args.regex ? new RegExp(`^(?:${args.topics.map((each) => `(?:${each})`).join("|")})$`) : args.topics,
      reset,
      onAssigned: (partitions) => this.detail(`group ${groupId}: has ${partitions.map(nameOf).join(", ")}`),
      onRevoked: async (partitions) => {
        this.detail(`group ${groupId}: gives up ${partitions.map(nameOf).join(", ")}`);
        await commit();
      },
      onLost: (partitions) => {
        this.note(`group ${groupId}: has lost ${partitions.map(nameOf).join(", ")}`);
        for (const each of partitions) printed.delete(nameOf(each));
      },
    });
    try {
      let commitAt = this.clock.monotonic() + COMMIT_MS;
      while (!this.isOver && !(args.exit && (await this.isAtEnds(member, ends)))) {
        const deliveries: OffsetToWrite[] = [];
        for (const delivery of await member.poll(POLL_MS)) {
          if (this.isOver) break;
          deliveries.push(await this.print(delivery, Number.POSITIVE_INFINITY));
        }
        await this.printer.flush();
        for (const each of deliveries) printed.set(nameOf(each), each);
        if (this.clock.monotonic() < commitAt) continue;
        await commit();
        commitAt = this.clock.monotonic() + COMMIT_MS;
      }
    } finally {
      // What could not be printed is not in `printed`.
      await commit();
      await member.close();
    }
  }

  /** Everything the member owns is read as far as it went when that was first asked. */
  private async isAtEnds(member: GroupMember, ends: Map<string, Offset>): Promise<boolean> {
    const { owned } = member;
    const unknown = owned.filter((each) => !ends.has(nameOf(each)));
    if (unknown.length > 0) {
      for (const answer of await this.door.topics.offsets(unknown, "latest", this.args.isolation))
        if (answer.error === null) ends.set(nameOf(answer), answer.offset);
    }
    return owned.length > 0 && owned.every((each) => (member.position(each) ?? -1) >= (ends.get(nameOf(each)) ?? 0));
  }

  /** Prints up to `end` or as many records as are still wanted; answers where the partition goes on. */
  private async print(
    { topic, partition, records, nextOffset, bounds }: Delivery,
    end: Offset,
  ): Promise<OffsetToWrite> {
    let last = -1;
    for (const record of records) {
      if (record.offset >= end) break;
      if (this.isOver)
        return { topic, partition, offset: last < 0 ? record.offset : last + 1, leaderEpoch: record.leaderEpoch };
      this.printer.add(record, bounds);
      this.progress.add(1);
      last = record.offset;
      if (this.printer.isFull) await this.printer.flush();
    }
    return { topic, partition, offset: nextOffset, leaderEpoch: records.at(-1)?.leaderEpoch ?? -1 };
  }

  private async findPartitions(only: ReadonlyArray<number> | undefined): Promise<TopicPartition[]> {
    const found = (await this.findTopics()).flatMap(({ topic, partitions }) =>
      partitions.map(({ partition }) => ({ topic, partition })),
    );
    return only === undefined ? found : found.filter(({ partition }) => only.includes(partition));
  }

  private async findTopics(): Promise<TopicState[]> {
    const { topics, regex } = this.args;
    if (!regex) {
      const states = await this.door.topics.topics([...new Set(topics)]);
      const refused = states.find(({ error }) => error !== null);
      if (refused !== undefined) throw new Error(`${refused.topic}: ${refused.error}`);
      return states;
    }
    const matchers = topics.map((topic) => regexMatcher(topic)!);
    const states = await this.door.topics.topics(null);
    return states.filter(({ topic, internal }) => !internal && matchers.some((matches) => matches(topic)));
  }

  /** Who names a partition that is not there hears of it. */
  private checkNamed(found: ReadonlyArray<TopicPartition>, only: ReadonlyArray<number> | undefined): void {
    for (const partition of only ?? [])
      for (const topic of this.args.topics)
        if (!found.some((each) => each.topic === topic && each.partition === partition))
          throw new Error(`${topic} has no partition ${partition}`);
  }

  private async stretchesOf(partitions: ReadonlyArray<TopicPartition>, { range }: FromPartitions): Promise<Stretch[]> {
    const { isolation, exit } = this.args;
    const extents: Extent[] = [];
    for (const located of await extentsOf(this.door.topics, partitions, isolation)) {
      if ("refused" in located) throw new Error(`${nameOf(located.refused)}: ${located.refused.error}`);
      extents.push(located.found);
    }
    const to = range.to ?? (exit ? ({ at: "end", minus: 0 } as const) : undefined);
    const starts = await locate(this.door.topics, extents, range.from, isolation);
    const ends = to === undefined ? undefined : await locate(this.door.topics, extents, to, isolation);
    const stretches: Stretch[] = [];
    for (const [index, extent] of extents.entries()) {
      const start = this.within(extent, starts[index]!, range.to === undefined);
      const end = ends === undefined ? Number.POSITIVE_INFINITY : Math.min(found(ends[index]!), extent.end);
      if (start >= end) continue;
      stretches.push({ topic: extent.topic, partition: extent.partition, offset: start, end });
      this.detail(`${nameOf(extent)}: from offset ${start}${Number.isFinite(end) ? ` to ${end}` : " on"}`);
    }
    return stretches;
  }

  /** An offset that is not there becomes the nearest that is, which is told unless a range asked for whatever is in it. */
  private within(extent: Extent, located: Parameters<typeof found>[0], told: boolean): Offset {
    const offset = found(located);
    const start = Math.max(extent.start, Math.min(offset, extent.end));
    if (told && start !== offset)
      this.note(
        `${nameOf(extent)}: there is no offset ${offset}, only ${extent.start} to ${extent.end}: from ${start} on`,
      );
    return start;
  }

  private trouble(line: string): void {
    const now = this.clock.monotonic();
    if (now - (this.troubles.get(line) ?? Number.NEGATIVE_INFINITY) < TROUBLE_MS) return;
    this.troubles.set(line, now);
    this.note(line);
  }

  private note(line: string): void {
    if (this.args.notes !== "quiet") this.terminal.note(line);
  }

  private detail(line: string): void {
    if (this.args.notes === "verbose") this.terminal.note(line);
  }
}

const found = (located: Awaited<ReturnType<typeof locate>>[number]): Offset => {
  if ("refused" in located) throw new Error(`${nameOf(located.refused)}: ${located.refused.error}`);
  return located.found;
};
