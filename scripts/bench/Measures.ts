/**
 * What a group of measures is: the figures it takes, how it takes them from one running broker, and the floors they must reach.
 * A new group is a file in `groups/` and a line in `run.ts`.
 */
import { readFileSync } from "node:fs";
import type { Broker, BrokerKind, Overrides } from "../../test/conformance/support/Brokers.ts";
import { kafkaLibs } from "../../test/conformance/support/Cache.ts";
import { run } from "../../test/conformance/support/Process.ts";

export interface Measure {
  readonly name: string;
  readonly unit: string;
  readonly better: "more" | "less";
}

export type PairName = "page-cache" | "durable";

/** How many times better ours must be; above 1 is better whatever the unit. */
export interface Floor {
  readonly text: string;
  readonly measure: string;
  readonly atLeast: number;
  /** Ours is taken from this pair; Kafka's always from `page-cache`, as is ours by default. */
  readonly ours?: PairName;
}

/** One broker in one round. */
export interface Setting {
  readonly kind: BrokerKind;
  readonly broker: Broker;
  /** `load.c`, compiled. */
  readonly program: string;
  /** Counts are divided by it: 10 with `--quick`. */
  readonly scale: number;
  /** Whether a group was asked for. */
  wants(group: string): boolean;
  add(measure: string, value: number): void;
  say(text: string): void;
}

export interface MeasureGroup {
  readonly name: string;
  /** By key; the keys of all groups differ. */
  readonly measures: Readonly<Record<string, Measure>>;
  readonly floors?: ReadonlyArray<Floor>;
  /** The pairs it is taken in; default both. */
  readonly pairs?: ReadonlyArray<PairName>;
  /** It gets a broker of its own with these settings instead of the one the other groups share. */
  readonly own?: Overrides;
  measure(setting: Setting): Promise<void>;
}

/** A field of `/proc/PID/status` in MiB. */
export const status = (pid: number, field: string): number =>
  Number(new RegExp(`${field}:\\s+(\\d+) kB`).exec(readFileSync(`/proc/${pid}/status`, "latin1"))?.[1] ?? 0) / 1024;

/** Seconds of CPU a process has used; the kernel counts in hundredths. */
export const cpuSeconds = (pid: number): number => {
  const fields = readFileSync(`/proc/${pid}/stat`, "latin1").split(") ")[1]?.split(" ") ?? [];
  return (Number(fields[11]) + Number(fields[12])) / 100;
};

const LOAD_MS = 240_000;

/** Runs the load generator; its last line is the JSON it answers. */
export const load = async (program: string, args: readonly string[]): Promise<unknown> =>
  JSON.parse((await run(program, args, { timeoutMs: LOAD_MS })).stdout);

/** The same for a Java program of one file beside this one, with Kafka's clients. */
export const javaLoad = async (source: string, args: readonly string[]): Promise<unknown> => {
  const kafka = await kafkaLibs();
  const logging = `-Dlog4j2.configurationFile=${kafka}/log4j2.yaml`;
  const java = ["-Xmx512m", logging, "-cp", `${kafka}/libs/*`, `${import.meta.dir}/${source}`];
  const { stdout } = await run("java", [...java, ...args], { timeoutMs: LOAD_MS });
  return JSON.parse(stdout.trim().split("\n").at(-1) ?? "");
};

/** A number in a load generator's answer. */
export const figure = (answer: unknown, ...path: readonly string[]): number => {
  let value = answer;
  for (const step of path)
    value =
      value !== null && typeof value === "object"
        ? Object.entries(value).find(([key]) => key === step)?.[1]
        : undefined;
  if (typeof value !== "number") throw new Error(`no ${path.join(".")} in ${JSON.stringify(answer)}`);
  return value;
};
