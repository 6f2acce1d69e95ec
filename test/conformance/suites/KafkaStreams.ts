/**
 * A Kafka Streams application that counts words exactly once: internal topics, repartitioning, changelogs that restore state,
 * transactions of every instance, records deleted behind them. Its instances and the broker are killed while it counts; what a
 * read_committed reader sees of a word is 1, 2, 3 and so on to the number of times it was said.
 */
import { join } from "node:path";
import { javaArguments, kafkaLibs } from "../support/Cache.ts";
import { kcatRun, kcatSpread } from "../support/Clients.ts";
import { waitFor } from "../support/Process.ts";
import { Program } from "../support/Program.ts";
import { createTopic } from "../support/Requests.ts";
import { type Context, equal, type Suite } from "../support/Suite.ts";
import { Wire } from "../support/Wire.ts";

const partitions = 3;
const words = 40;
const wordsPerLine = 10;
const linesPerPart = 2000;

/** Line `n`: every word equally often in each hundred lines, never twice in the same order. */
const line = (n: number): string =>
  Array.from({ length: wordsPerLine }, (_, i) => `w${(n * 7 + i * (1 + (n % 3))) % words}`).join(" ");

const counting = async (context: Context): Promise<void> => {
  const broker = await context.ownBroker({ "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000" });
  const [input, output, application] = [context.topic("input"), context.topic("output"), context.topic("words")];
  const wire = await Wire.open(broker);
  for (const topic of [input, output]) await createTopic(wire, topic, partitions);
  wire.close();

  const said = new Map<string, number>();
  let [lines, total] = [0, 0];
  const say = async (): Promise<void> => {
    const part = Array.from({ length: linesPerPart }, () => line(lines++));
    for (const word of part.flatMap((each) => each.split(" "))) said.set(word, (said.get(word) ?? 0) + 1);
    total += linesPerPart * wordsPerLine;
    const text = part.map((each) => `${each}\n`).join("");
    await kcatSpread(broker.address, input, text, ["-X", "enable.idempotence=true"]);
  };
  const counted = async (): Promise<string[]> => {
    const args = ["-C", "-q", "-t", output, "-o", "beginning", "-e", "-X", "isolation.level=read_committed"];
    const { stdout } = await kcatRun(broker.address, [...args, "-f", "%k %s\n"]);
    return stdout.split("\n").filter((each) => each !== "");
  };

  const java = await javaArguments(await kafkaLibs());
  const source = join(import.meta.dir, "..", "clients", "WordCount.java");
  const instances = [0, 1].map(
    (n) =>
      new Program("java", [
        ...java,
        source,
        broker.address,
        application,
        input,
        output,
        join(context.directory, `state-${n}`),
      ]),
  );
  const reach = (count: number): Promise<void> =>
    waitFor(`${count} of ${total} words counted`, 90_000, async () => {
      for (const instance of instances) if (!instance.running) instance.start();
      return (await counted()).length >= count;
    }).catch((error: Error) => {
      throw new Error(`${error.message}\n${instances.map(({ errors }) => errors).join("\n")}`);
    });
  for (const instance of instances) {
    context.cleanup(() => instance.end("SIGKILL"));
    instance.start();
  }
  await say();
  await reach(total / 4);
  await instances[0]!.end("SIGKILL");
  await say();
  await reach(total * 0.75);
  await broker.kill();
  await broker.start();
  await say();
  await reach(total);

  const seen = new Map<string, number>();
  for (const each of await counted()) {
    const [word = "", count] = each.split(" ");
    equal(Number(count), (seen.get(word) ?? 0) + 1, `the next count of ${word}`);
    seen.set(word, Number(count));
  }
  equal([...seen].toSorted(), [...said].toSorted(), "how often each word was counted");
};

export const suite: Suite = {
  name: "kafka streams",
  tests: [
    {
      name: "two instances count words exactly once, one killed with -9, then the broker",
      own: true,
      timeoutMs: 240_000,
      run: counting,
    },
  ],
};
