/**
 * All five codecs, written by a Java, a C and a JavaScript producer and read back by two clients that are not the writer.
 * What the broker stores must be what was sent, compressed as it was sent.
 */

import { goProgram } from "../support/Cache.ts";
import {
  javaScript,
  kafkaConsoleConsumer,
  kafkaConsoleProducer,
  kcatReadAll,
  kcatRun,
  numberedLines,
} from "../support/Clients.ts";
import { run } from "../support/Process.ts";
import { type ConformanceTest, type Context, equal, type Suite } from "../support/Suite.ts";

const count = 2000;
const lines = numberedLines(count);
const codecs = ["none", "gzip", "snappy", "lz4", "zstd"] as const;

type Read = (context: Context, topic: string) => Promise<string>;
const readers: Record<"java" | "librdkafka" | "platformatic", Read> = {
  java: ({ broker }, topic) => kafkaConsoleConsumer(broker.address, topic, count),
  librdkafka: ({ broker }, topic) => kcatReadAll(broker.address, topic),
  platformatic: async ({ broker }, topic) =>
    (await javaScript("platformatic.mjs", ["consume", broker.address, topic, `${count}`])).stdout,
};

const franzWrites = (codec: string): ConformanceTest => ({
  name: `${codec} from franz-go, read by librdkafka and franz-go`,
  full: true,
  timeoutMs: 360_000,
  async run(context) {
    const franz = await goProgram("franz");
    const topic = context.topic(codec);
    await run(franz, ["produce", context.broker.address, topic, `${count}`, codec]);
    equal(await readers.librdkafka(context, topic), lines, "what librdkafka read");
    const read = await run(franz, ["consume", context.broker.address, topic, `${count}`]);
    equal(read.stdout, lines, "what franz-go read");
  },
});

type Write = (context: Context, topic: string, codec: string) => Promise<unknown>;
const writers: Record<string, { readonly write: Write; readonly readBy: readonly (keyof typeof readers)[] }> = {
  java: {
    write: ({ broker }, topic, codec) =>
      kafkaConsoleProducer(broker.address, topic, lines, [
        "--compression-codec",
        codec,
        "--command-property",
        "linger.ms=50",
      ]),
    readBy: ["librdkafka", "platformatic"],
  },
  librdkafka: {
    write: ({ broker }, topic, codec) =>
      kcatRun(broker.address, ["-P", "-t", topic, "-p", "0", "-z", codec, "-X", "acks=all"], { input: lines }),
    readBy: ["java", "platformatic"],
  },
  platformatic: {
    write: ({ broker }, topic, codec) =>
      javaScript("platformatic.mjs", ["produce", broker.address, topic, `${count}`, codec]),
    readBy: ["java", "librdkafka"],
  },
};

const roundTrips: ConformanceTest[] = Object.entries(writers).flatMap(([name, { write, readBy }]) =>
  codecs.map((codec) => ({
    name: `${codec} from ${name}, read by ${readBy.join(" and ")}`,
    async run(context: Context) {
      const topic = context.topic(codec);
      await write(context, topic, codec);
      for (const reader of readBy) equal(await readers[reader](context, topic), lines, `what ${reader} read`);
    },
  })),
);

export const suite: Suite = {
  name: "codecs",
  tests: [
    ...roundTrips,
    ...codecs.map(franzWrites),
    ...["none", "gzip"].map((codec) => ({
      name: `${codec} from kafkajs, read by librdkafka`,
      async run(context: Context) {
        const topic = context.topic(codec);
        await kcatRun(context.broker.address, ["-L", "-t", topic]);
        await javaScript("kafkajs.mjs", ["produce", context.broker.address, topic, `${count}`, codec]);
        equal(await readers.librdkafka(context, topic), lines, "what librdkafka read");
      },
    })),
  ],
};
