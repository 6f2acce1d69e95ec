/**
 * Where two transcripts part, but for what is decided to be otherwise here (the table of deviations in test/conformance says
 * why) and what is Kafka's free choice.
 */

export interface Difference {
  /** The step of the program, from 0. */
  readonly step: number;
  /** What came from there on, some lines. */
  readonly kafka: ReadonlyArray<string>;
  readonly ours: ReadonlyArray<string>;
}

const SHOWN = 4;

const stepAt = (lines: ReadonlyArray<string>, at: number): number => {
  const begun = lines.slice(0, at + 1).findLast((line) => line.startsWith("-- ")) ?? "-- 0";
  return Number(begun.slice(3));
};

/** An empty group's assignment is up to date here. */
const known = (line: string): string => line.replace(/(groupState=Empty groupEpoch=\d+) assignmentEpoch=\d+/, "$1");

/** Kafka's own failures are not to be met; what it answers besides must be. */
const same = (kafka: string, ours: string | undefined): boolean => {
  if (ours === undefined || known(kafka) === known(ours)) return ours !== undefined;
  return kafka.includes("errorCode=UNKNOWN_SERVER_ERROR") && kafka.split(":")[0] === ours.split(":")[0];
};

/** Which partitions members of different subscriptions get is any balanced choice. */
const sameButPartitions = (kafka: string, ours: string): boolean => {
  const counted = (line: string): string => line.replace(/topicPartitions=\[[^\]]*\]+/g, "");
  return counted(kafka) === counted(ours) && kafka !== ours;
};

/** A classic group has become one of the other protocol: it gets an epoch of its own here, whoever joins. */
const upgrades = (before: string, after: string): boolean =>
  before.includes("protocolType=") && after.includes("GROUP_ID_NOT_FOUND");

/** A group of offsets alone goes with the last of them; Kafka's stays in memory, until it is looked through or restarted. */
const nothingLeft = (kafka: string, ours: string): boolean =>
  kafka.includes("groupState=Empty") && ours.includes("GROUP_ID_NOT_FOUND");

export const difference = (kafka: ReadonlyArray<string>, ours: ReadonlyArray<string>): Difference | undefined => {
  const found = kafka.findIndex((line, index) => !same(line, ours[index]));
  if (found < 0 && kafka.length <= ours.length) return undefined;
  const at = found < 0 ? kafka.length : found;
  if (sameButPartitions(kafka[at] ?? "", ours[at] ?? "")) return undefined;
  const step = stepAt(kafka, at);
  const classic = (lines: ReadonlyArray<string>, of: number): string =>
    lines.findLast((line, index) => line.startsWith("   classic") && stepAt(lines, index) <= of) ?? "";
  if (nothingLeft(classic(kafka, step), classic(ours, step))) return undefined;
  if (upgrades(classic(kafka, step - 1), classic(kafka, step))) return undefined;
  return { step, kafka: kafka.slice(at, at + SHOWN), ours: ours.slice(at, at + SHOWN) };
};
