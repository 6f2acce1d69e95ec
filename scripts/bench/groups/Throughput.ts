/**
 * Records a second into and out of a broker, small and larger, on one and on a hundred partitions; the price of idempotence; and
 * the broker's memory after all of it, where memory was asked for.
 */
import { createTopic } from "../../../test/conformance/support/Requests.ts";
import { Wire } from "../../../test/conformance/support/Wire.ts";
import { figure, load, type Measure, type MeasureGroup, type Setting, status } from "../Measures.ts";

interface Shape {
  readonly partitions: number;
  readonly size: number;
  readonly count: number;
  readonly text: string;
}

const shapes: ReadonlyArray<Shape> = [
  { partitions: 1, size: 100, count: 3_000_000, text: "100 B, 1 partition" },
  { partitions: 100, size: 100, count: 3_000_000, text: "100 B, 100 partitions" },
  { partitions: 1, size: 1024, count: 1_000_000, text: "1 KiB, 1 partition" },
  { partitions: 100, size: 1024, count: 1_000_000, text: "1 KiB, 100 partitions" },
];

const keyOf = (verb: string, { partitions, size }: Shape): string => `${verb}${partitions}x${size}`;
const isSmall = ({ size }: Shape): boolean => size < 1000;

const measureOf = (verb: string, shape: Shape): readonly [string, Measure] => [
  keyOf(verb, shape),
  { name: `${verb} ${shape.text}`, unit: isSmall(shape) ? "records/s" : "MB/s", better: "more" },
];

/** Produces and consumes one shape in a topic of its own; a first short run lets the JIT of either side see the path once. */
const measureShape = async ({ broker, program, scale, kind, add, say }: Setting, shape: Shape): Promise<void> => {
  const wire = await Wire.open(broker);
  const { name } = await createTopic(wire, `t${shape.partitions}x${shape.size}`, shape.partitions);
  wire.close();
  const count = shape.count / scale;
  const args = [broker.address, name, `${shape.partitions}`, `${shape.size}`];
  const field = isSmall(shape) ? "recordsPerSecond" : "megabytesPerSecond";
  await load(program, ["produce", ...args, `${Math.ceil(count / 20)}`]);
  const produced = figure(await load(program, ["produce", ...args, `${count}`]), field);
  add(keyOf("produce", shape), produced);
  const consumed = figure(await load(program, ["consume", ...args, `${count}`]), field);
  add(keyOf("consume", shape), consumed);
  say(`${kind} ${name}: produce ${produced.toFixed(0)}, consume ${consumed.toFixed(0)} ${field}`);
};

export const throughput: MeasureGroup = {
  name: "throughput",
  measures: {
    ...Object.fromEntries(["produce", "consume"].flatMap((verb) => shapes.map((shape) => measureOf(verb, shape)))),
    loadedAnon: { name: "memory loaded, anonymous", unit: "MiB", better: "less" },
    loadedFile: { name: "memory loaded, file pages", unit: "MiB", better: "less" },
  },
  floors: shapes.map((shape) => ({
    text: `produce ${shape.text}: at least Kafka's throughput`,
    measure: keyOf("produce", shape),
    atLeast: 1,
  })),
  async measure(setting) {
    for (const shape of shapes) await measureShape(setting, shape);
    if (!setting.wants("memory")) return;
    setting.add("loadedAnon", status(setting.broker.pid, "RssAnon"));
    setting.add("loadedFile", status(setting.broker.pid, "RssFile"));
  },
};
