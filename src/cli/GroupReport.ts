/** What `odradek group` prints of groups and of the places they have committed. */
import type { OutputFormat } from "./Options.ts";
import { type Column, columns, jsonLines, objects, type Row, SECONDS, table } from "./Table.ts";

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

export const LISTED_GROUP = columns("GROUP", "TYPE", "STATE", "PROTOCOL");

export const resetColumns = (executed: boolean): ReadonlyArray<Column> =>
  columns("TOPIC", "PARTITION", "WAS", executed ? "IS" : "WOULD BE");

const LAG = columns("TOPIC", "PARTITION", "COMMITTED", "END", "LAG", SECONDS, "MEMBER", "HOST", "CLIENT");

const row = ({ topic, partition, committed, end, lagMs, owner }: PartitionLag): Row => [
  topic,
  partition,
  committed < 0 ? null : committed,
  end,
  committed < 0 ? null : Math.max(0, end - committed),
  lagMs === undefined ? null : lagMs / 1000,
  owner?.memberId ?? null,
  owner?.host ?? null,
  owner?.clientId ?? null,
];

/** One group: a line of its own, and a line per partition it has committed or owns; in JSON one object. */
export const describeReport = (
  format: OutputFormat,
  group: { readonly groupId: string; readonly type: string; readonly state: string; readonly members: number },
  partitions: ReadonlyArray<PartitionLag>,
): string => {
  const sorted = [...partitions].sort((a, b) =>
    a.topic < b.topic ? -1 : a.topic > b.topic ? 1 : a.partition - b.partition,
  );
  const { groupId, type, state, members } = group;
  const rows = sorted.map(row);
  if (format === "json") return jsonLines([{ group: groupId, type, state, members, partitions: objects(LAG, rows) }]);
  const head = `${groupId}: ${state}, ${type} protocol, ${members} ${members === 1 ? "member" : "members"}\n`;
  return rows.length === 0 ? head : head + table(LAG, rows);
};
