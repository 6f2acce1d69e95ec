/** What `odradek group` prints: tables with a header and aligned columns. */

export interface PartitionLag {
  readonly topic: string;
  readonly partition: number;
  /** -1: nothing is committed. */
  readonly committed: number;
  readonly end: number;
  /** Age of the first record not consumed, in milliseconds; undefined: not known. */
  readonly lagMs: number | undefined;
  readonly owner: { readonly memberId: string; readonly host: string; readonly clientId: string } | undefined;
}

/** Columns are as wide as their longest cell; the last is not padded. */
export const table = (header: ReadonlyArray<string>, rows: ReadonlyArray<ReadonlyArray<string>>): string => {
  const widths = header.map((title, column) => Math.max(title.length, ...rows.map((row) => row[column]!.length)));
  const line = (cells: ReadonlyArray<string>): string =>
    cells.map((cell, column) => (column === cells.length - 1 ? cell : cell.padEnd(widths[column]!))).join("  ");
  return `${[header, ...rows].map(line).join("\n")}\n`;
};

const NONE = "-";

const row = ({ topic, partition, committed, end, lagMs, owner }: PartitionLag): string[] => [
  topic,
  String(partition),
  committed < 0 ? NONE : String(committed),
  String(end),
  committed < 0 ? NONE : String(Math.max(0, end - committed)),
  lagMs === undefined ? NONE : (lagMs / 1000).toFixed(1),
  owner?.memberId ?? NONE,
  owner?.host ?? NONE,
  owner?.clientId ?? NONE,
];

/** One group: a line of its own, and a line per partition it has committed or owns. */
export const describeReport = (
  group: { readonly groupId: string; readonly type: string; readonly state: string; readonly members: number },
  partitions: ReadonlyArray<PartitionLag>,
): string => {
  const sorted = [...partitions].sort((a, b) =>
    a.topic < b.topic ? -1 : a.topic > b.topic ? 1 : a.partition - b.partition,
  );
  const { groupId, type, state, members } = group;
  const head = `${groupId}: ${state}, ${type} protocol, ${members} ${members === 1 ? "member" : "members"}\n`;
  if (sorted.length === 0) return head;
  const titles = ["TOPIC", "PARTITION", "COMMITTED", "END", "LAG", "SECONDS", "MEMBER", "HOST", "CLIENT"];
  return head + table(titles, sorted.map(row));
};
