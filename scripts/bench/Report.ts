/** From figures to Markdown: medians side by side, how many times better ours is, and which floors hold. */
import type { Floor, Measure, PairName } from "./Measures.ts";

/** All values seen, by measure. */
export type Samples = Map<string, number[]>;

export interface PairResult {
  readonly ours: Samples;
  readonly kafka: Samples;
}

export const add = (samples: Samples, key: string, value: number): void => {
  const values = samples.get(key);
  if (values === undefined) samples.set(key, [value]);
  else values.push(value);
};

export const median = (values: readonly number[]): number => {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] ?? upper)) / 2;
};

export const shown = (value: number): string =>
  value >= 10_000
    ? Math.round(value).toLocaleString("en-US")
    : value >= 100
      ? value.toFixed(0)
      : value >= 10
        ? value.toFixed(1)
        : value.toFixed(2);

const advantage = (measure: Measure, ours: number, kafka: number): number =>
  measure.better === "more" ? ours / kafka : kafka / ours;

export const table = (measures: ReadonlyMap<string, Measure>, result: PairResult): string => {
  const lines = ["| measure | Odradek | Kafka | ours is better by |", "|---|--:|--:|--:|"];
  for (const [key, measure] of measures) {
    const ours = result.ours.get(key);
    const kafka = result.kafka.get(key);
    if (ours === undefined || kafka === undefined) continue;
    const ratio = advantage(measure, median(ours), median(kafka));
    lines.push(
      `| ${measure.name}, ${measure.unit} | ${shown(median(ours))} | ${shown(median(kafka))} | ${shown(ratio)}× |`,
    );
  }
  return lines.join("\n");
};

/** The floors whose figures were taken. */
export const checked = (
  measures: ReadonlyMap<string, Measure>,
  floors: ReadonlyArray<Floor>,
  results: ReadonlyMap<PairName, PairResult>,
): Array<{ readonly text: string; readonly value: number; readonly atLeast: number }> =>
  floors.flatMap(({ text, measure, atLeast, ours: pair = "page-cache" }) => {
    const ours = results.get(pair)?.ours.get(measure);
    const kafka = results.get("page-cache")?.kafka.get(measure);
    if (ours === undefined || kafka === undefined) return [];
    return [{ text, value: advantage(measures.get(measure)!, median(ours), median(kafka)), atLeast }];
  });
