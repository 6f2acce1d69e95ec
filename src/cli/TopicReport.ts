/** What `odradek topic` prints: tables for people, one JSON object per topic (or trimmed partition) for programs. */
import type { OutputFormat } from "./Options.ts";
import { columns, jsonLines, type Row, report, table } from "./Table.ts";
import type { TopicSections } from "./TopicArguments.ts";
import type { ConfigEntry, OffsetAnswer, PartitionState, TopicOutcome, TopicState } from "./TopicDoor.ts";

/** A partition with its offsets; -1 where one is not known. */
export type DescribedPartition = PartitionState & {
  readonly logStartOffset: number;
  readonly lastStableOffset: number;
  readonly highWatermark: number;
};

export type DescribedTopic = Omit<TopicState, "partitions"> & {
  readonly partitions: ReadonlyArray<DescribedPartition>;
  readonly configs: ReadonlyArray<ConfigEntry>;
};

/** Where a trim would begin a partition, or has begun it. */
export type TrimmedPartition = OffsetAnswer & { readonly before: number };

const LISTED = columns("TOPIC", "PARTITIONS", "REPLICAS", "ERROR");
const PARTITION = columns("PARTITION", "LEADER", "EPOCH", "REPLICAS", "ISR");
const OFFSETS = columns("START", "STABLE", "END");
const DETAILED = [...columns("TOPIC"), ...PARTITION, ...columns("ERROR")];
const CONFIG = columns("CONFIG", "VALUE", "SOURCE");
const OUTCOME = columns("TOPIC", "ERROR", "MESSAGE");

const replicasOf = ({ partitions }: TopicState | DescribedTopic): number => partitions[0]?.replicas.length ?? 0;
const known = (value: number): number | null => (value < 0 ? null : value);

const partitionRow = ({ partition, leader, leaderEpoch, replicas, isr }: PartitionState): Row => [
  partition,
  known(leader),
  leaderEpoch,
  replicas.map(String),
  isr.map(String),
];

/** `detailed` has a row per partition in text, and the partitions in JSON. */
export const listReport = (topics: ReadonlyArray<TopicState>, detailed: boolean, format: OutputFormat): string => {
  if (detailed && format === "json")
    return jsonLines(topics.map((topic) => ({ ...topic, replicas: replicasOf(topic) })));
  const rows: Row[] = detailed
    ? topics.flatMap(({ topic, partitions, error }): Row[] =>
        error === null
          ? partitions.map((each) => [topic, ...partitionRow(each), null])
          : [[topic, null, null, null, null, null, error]],
      )
    : topics.map((topic) => [topic.topic, topic.partitions.length, replicasOf(topic), topic.error]);
  return report(format, detailed ? DETAILED : LISTED, rows);
};

export const describeReport = (
  topics: ReadonlyArray<DescribedTopic>,
  sections: TopicSections,
  format: OutputFormat,
): string =>
  format === "json"
    ? jsonLines(topics.map((topic) => ({ ...topic, replicas: replicasOf(topic) })))
    : topics.map((topic) => describedText(topic, sections)).join("\n");

const count = (amount: number, noun: string): string => `${amount} ${noun}${amount === 1 ? "" : "s"}`;

const describedText = (topic: DescribedTopic, sections: TopicSections): string => {
  if (topic.error !== null) return `${topic.topic}: ${topic.error}\n`;
  const parts: string[] = [];
  if (sections.summary) {
    const internal = topic.internal ? ", internal" : "";
    const size = `${count(topic.partitions.length, "partition")}, ${count(replicasOf(topic), "replica")}`;
    parts.push(`${topic.topic}: ${size}${internal}, id ${topic.topicId}\n`);
  }
  if (sections.partitions) {
    const rows = topic.partitions.map(
      (each): Row => [
        ...partitionRow(each),
        known(each.logStartOffset),
        known(each.lastStableOffset),
        known(each.highWatermark),
      ],
    );
    parts.push(table([...PARTITION, ...OFFSETS], rows));
  }
  const configs = topic.configs.filter(
    ({ source }) => sections.configs === "all" || (sections.configs === "own" && source === "DYNAMIC_TOPIC_CONFIG"),
  );
  const rows = configs.map(({ name, value, source }): Row => [name, value, source]);
  if (rows.length > 0) parts.push(table(CONFIG, rows));
  return parts.join("");
};

/** How it went for each topic. */
export const outcomeReport = (outcomes: ReadonlyArray<TopicOutcome>, dry: boolean, format: OutputFormat): string => {
  if (format === "json")
    return jsonLines(outcomes.map(({ topic, error, message }) => ({ topic, dry, error, message })));
  const rows = outcomes.map(({ topic, error, message }): Row => [topic, error, message]);
  return `${table(OUTCOME, rows)}${dry ? "nothing was changed: it was a dry run\n" : ""}`;
};

export const trimReport = (
  partitions: ReadonlyArray<TrimmedPartition>,
  executed: boolean,
  format: OutputFormat,
): string => {
  const titles = columns("TOPIC", "PARTITION", "WAS", executed ? "IS" : "WOULD BE", "ERROR", "MESSAGE");
  const rows = partitions.map(
    (each): Row => [each.topic, each.partition, known(each.before), known(each.offset), each.error, each.message],
  );
  const text = report(format, titles, rows);
  return executed || format === "json" ? text : `${text}nothing was deleted: add --execute\n`;
};
