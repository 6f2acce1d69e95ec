/**
 * What must still be true after the broker was stopped, and after it was killed: acked records, ids, epochs, producer state, files
 * Kafka's own tools can read.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { batch, values } from "../support/Batch.ts";
import type { Broker } from "../support/Brokers.ts";
import { javaArguments, kafkaLibs } from "../support/Cache.ts";
import { javaTool, kcatReadAll } from "../support/Clients.ts";
import { deviations, expectedOf } from "../support/Deviations.ts";
import { sleep } from "../support/Process.ts";
import { createTopic, fetchOne, initProducerId, listOffsets, produce } from "../support/Requests.ts";
import { assert, type ConformanceTest, type Context, equal, type Suite } from "../support/Suite.ts";
import { at, matches, numberAt, textAt } from "../support/Tree.ts";
import { Wire } from "../support/Wire.ts";
import { seeded } from "./BadInput.ts";

type End = "stop" | "kill";
const ends: readonly End[] = ["stop", "kill"];
const ended = (end: End): string => (end === "stop" ? "a clean stop" : "kill -9");

const restart = async (broker: Broker, end: End): Promise<void> => {
  if (end === "stop") await broker.stop();
  else await broker.kill();
  await broker.start();
};

const leads = async (broker: Broker, topic: string): Promise<Wire> => {
  const wire = await Wire.open(broker);
  for (let attempt = 0; attempt < 500; attempt++) {
    if (numberAt(await listOffsets(wire, topic, -1), "errorCode") === 0) return wire;
    await sleep(20);
  }
  throw new Error(`${topic} has no leader after the restart`);
};

/** Every `.log` of a topic through Kafka's own reader. */
const dump = async (broker: Broker, topic: string, partition = 0): Promise<string> => {
  const directory = join(broker.dataDirectory, `${topic}-${partition}`);
  const files = readdirSync(directory).filter((name) => name.endsWith(".log"));
  const list = files.map((name) => join(directory, name)).join(",");
  const { stdout } = await javaTool("org.apache.kafka.tools.DumpLogSegments", ["--files", list, "--deep-iteration"]);
  return stdout;
};

const killLoop = (name: string, properties: readonly string[]): ConformanceTest => ({
  name,
  own: true,
  timeoutMs: 240_000,
  async run(context: Context) {
    const broker = await context.ownBroker({ "log.segment.bytes": `${1 << 20}` });
    const topic = context.topic();
    const setup = await Wire.open(broker);
    await createTopic(setup, topic);
    setup.close();
    const config = join(context.directory, "producer.properties");
    await Bun.write(
      config,
      [
        "reconnect.backoff.max.ms=100",
        "retry.backoff.ms=20",
        "delivery.timeout.ms=600000",
        "retries=2147483647",
        ...properties,
      ].join("\n"),
    );
    const producer = spawn(
      "java",
      [
        ...(await javaArguments(await kafkaLibs())),
        "org.apache.kafka.tools.VerifiableProducer",
        ...[
          "--bootstrap-server",
          broker.address,
          "--topic",
          topic,
          "--acks",
          "-1",
          "--throughput",
          "4000",
          "--command-config",
          config,
        ],
      ],
      { stdio: ["ignore", "pipe", "ignore"] },
    );
    context.cleanup(() => producer.kill("SIGKILL"));
    let output = "";
    producer.stdout.on("data", (chunk: Buffer) => {
      output += chunk.toString();
    });
    const random = seeded(Number(process.env.ODRADEK_SEED ?? 7));
    const acked = () => output.split('"producer_send_success"').length - 1;
    // The oracle needs half a minute per kill; three show that the test itself is right.
    const rounds = context.kind === "kafka" ? 3 : 20;
    for (let round = 0; round < rounds; round++) {
      const before = acked();
      const end = performance.now() + 30_000;
      while (acked() < before + 200 && performance.now() < end) await sleep(10);
      assert(
        acked() >= before + 200,
        `round ${round}: the producer stands still at ${acked()} acks:\n${output.slice(-500)}`,
      );
      await sleep(random(250));
      await broker.kill();
      await broker.start();
    }
    const gone = once(producer, "close");
    producer.kill("SIGTERM");
    await gone;
    const successes = [...output.matchAll(/"producer_send_success".*?"value":"(\d+)","offset":(\d+)/g)];
    const other = [...output.matchAll(/"name":"producer_send_success"[^}]*/g)].length;
    assert(
      successes.length === other,
      `acks the test cannot read: ${other - successes.length}, e.g. ${output.slice(0, 400)}`,
    );
    const read = (await kcatReadAll(broker.address, topic, "%o %s\\n"))
      .trim()
      .split("\n")
      .map((line) => line.split(" "));
    const times = new Map<string, number>();
    for (const [, value = ""] of read) times.set(value, (times.get(value) ?? 0) + 1);
    const lost = successes.filter(([, value = ""]) => !times.has(value)).map(([, value]) => value);
    equal(lost, [], "acked values that are gone");
    const twice = [...times].filter(([, count]) => count > 1).map(([value]) => value);
    equal(twice, [], "values that are there twice");
    const atOffset = new Map(read.map(([offset = "", value = ""]) => [offset, value]));
    const moved = successes
      .filter(([, value = "", offset = ""]) => offset !== "-1" && atOffset.get(offset) !== value)
      .slice(0, 5);
    equal(
      moved.map((each) => each[0]),
      [],
      "acked values that are not at their acked offset",
    );
    context.note(`${successes.length} acked, ${read.length} read`);
    await broker.stop();
    const dumped = await dump(broker, topic);
    assert(!/isvalid: false|Found|not monotonic/i.test(dumped), "kafka-dump-log finds nothing wrong");
  },
});

export const suite: Suite = {
  name: "restart",
  tests: [
    killLoop(
      "kill -9 in the middle of producing, twenty times, idempotent acks=all: every acked record is there, once",
      [],
    ),
    ...ends.flatMap((end): ConformanceTest[] => [
      {
        name: `#16 #17 #18 cluster id, topic id and records survive ${ended(end)}; the leader epoch never goes back`,
        own: true,
        timeoutMs: 120_000,
        async run(context) {
          const broker = await context.ownBroker();
          const wire = await Wire.open(broker);
          const topic = await createTopic(wire, context.topic(), 2);
          matches(
            await produce(wire, topic.name, batch({ records: values("a", "b") }), { partition: 1 }),
            { errorCode: 0 },
            "produce",
          );
          const ask = (on: Wire) =>
            on.call("Metadata", 12, { topics: [{ name: topic.name }], allowAutoTopicCreation: false });
          const before = await ask(wire);
          wire.close();
          await restart(broker, end);
          const again = await leads(broker, topic.name);
          context.cleanup(() => again.close());
          const after = await ask(again);
          equal(textAt(after, "clusterId"), textAt(before, "clusterId"), "cluster id");
          equal(textAt(after, "topics.0.topicId"), topic.id, "topic id");
          const epoch = numberAt(before, "topics.0.partitions.0.leaderEpoch");
          assert(numberAt(after, "topics.0.partitions.0.leaderEpoch") >= epoch, "leader epoch");
          matches(
            await fetchOne(again, topic.name, 0, { partition: 1 }),
            { errorCode: 0, highWatermark: 2 },
            "records",
          );
          matches(
            await produce(again, topic.name, batch(), { partition: 1 }),
            { errorCode: 0, baseOffset: 2 },
            "the next record",
          );
        },
      },
      {
        name: `#25 producer state survives ${ended(end)}: duplicates keep their offset, gaps are still 45; ids are never given twice`,
        own: true,
        timeoutMs: 120_000,
        async run(context) {
          const broker = await context.ownBroker();
          let wire = await Wire.open(broker);
          const topic = await createTopic(wire, context.topic());
          const { producerId } = await initProducerId(wire);
          const one = (sequence: number) => batch({ producerId, producerEpoch: 0, sequence });
          const given = new Set<number>([producerId]);
          for (let sequence = 0; sequence < 8; sequence++) {
            matches(
              await produce(wire, topic.name, one(sequence)),
              { errorCode: 0, baseOffset: sequence },
              `${sequence}`,
            );
          }
          for (let round = 0; round < 3; round++) {
            wire.close();
            await restart(broker, end);
            wire = await leads(broker, topic.name);
            for (let sequence = 7; sequence >= 3; sequence--) {
              const answer = await produce(wire, topic.name, one(sequence));
              const code = sequence === 7 ? 0 : expectedOf(context.kind, deviations.windowAfterRestart);
              matches(
                answer,
                code === 0 ? { errorCode: 0, baseOffset: sequence } : { errorCode: code },
                `duplicate ${sequence} after round ${round}`,
              );
            }
            matches(await produce(wire, topic.name, one(20)), { errorCode: 45 }, `a gap after round ${round}`);
            const fresh = await initProducerId(wire);
            assert(!given.has(fresh.producerId), `producer id ${fresh.producerId} was given before`);
            given.add(fresh.producerId);
          }
          matches(await produce(wire, topic.name, one(8)), { errorCode: 0, baseOffset: 8 }, "the next in sequence");
          wire.close();
        },
      },
      {
        name: `#62 after ${ended(end)} Kafka's own dump-log reads every segment and index`,
        own: true,
        timeoutMs: 120_000,
        async run(context) {
          const broker = await context.ownBroker({
            "log.segment.bytes": `${1 << 20}`,
            "log.index.interval.bytes": "4096",
          });
          const wire = await Wire.open(broker);
          const topic = await createTopic(wire, context.topic());
          for (let index = 0; index < 60; index++) {
            const records = values(
              ...Array.from({ length: 50 }, (_, record) => `${index}.${record}`.padEnd(1000, "x")),
            );
            matches(
              await produce(wire, topic.name, batch({ records, gzip: index % 2 === 1 })),
              { errorCode: 0, baseOffset: index * 50 },
              `${index}`,
            );
          }
          wire.close();
          if (end === "kill") {
            await restart(broker, "kill");
            (await leads(broker, topic.name)).close();
          }
          await broker.stop();
          const dumped = await dump(broker, topic.name);
          equal((dumped.match(/^\| offset: /gm) ?? []).length, 3000, "records");
          assert(!/isvalid: false/.test(dumped), "every batch is valid");
          const directory = join(broker.dataDirectory, `${topic.name}-0`);
          const indexes = readdirSync(directory).filter((name) => /\.(index|timeindex)$/.test(name));
          assert(indexes.length >= 4, `several segments with their indexes: ${indexes.join(" ")}`);
          const files = indexes.map((name) => join(directory, name)).join(",");
          const checked = await javaTool("org.apache.kafka.tools.DumpLogSegments", [
            "--files",
            files,
            "--index-sanity-check",
          ]);
          assert(!/mismatch|non-monotonic|found/i.test(checked.stdout), checked.stdout.slice(-600));
          context.note(`${indexes.length} index files`);
        },
      },
    ]),
    {
      name: "SIGTERM ends the broker in order within 3 s and leaves the clean-shutdown marker",
      own: true,
      async run(context) {
        const broker = await context.ownBroker();
        const wire = await Wire.open(broker);
        const topic = await createTopic(wire, context.topic());
        matches(await produce(wire, topic.name, batch()), { errorCode: 0 }, "produce");
        const began = performance.now();
        const code = await broker.stop();
        const took = performance.now() - began;
        wire.close();
        context.note(`${Math.round(took)} ms`);
        assert(existsSync(join(broker.dataDirectory, ".kafka_cleanshutdown")), "no .kafka_cleanshutdown");
        if (context.kind === "odradek") {
          equal(code, 0, "exit code");
          assert(took < 3000, `${Math.round(took)} ms`);
        }
      },
    },
    {
      name: "deleted topics stay deleted and re-created ones empty after kill -9",
      own: true,
      timeoutMs: 120_000,
      async run(context) {
        const broker = await context.ownBroker();
        let wire = await Wire.open(broker);
        const gone = await createTopic(wire, context.topic());
        const anew = await createTopic(wire, context.topic());
        for (const each of [gone, anew]) await produce(wire, each.name, batch());
        await wire.call("DeleteTopics", 5, { topicNames: [gone.name, anew.name], timeoutMs: 5000 });
        const again = await createTopic(wire, anew.name);
        wire.close();
        await restart(broker, "kill");
        wire = await leads(broker, anew.name);
        context.cleanup(() => wire.close());
        const answer = await wire.call("Metadata", 12, {
          topics: [{ name: gone.name }, { name: anew.name }],
          allowAutoTopicCreation: false,
        });
        const find = (name: string) => (at(answer, "topics.0.name") === name ? "topics.0" : "topics.1");
        equal(at(answer, `${find(gone.name)}.errorCode`), 3, "the deleted one");
        equal(at(answer, `${find(anew.name)}.topicId`), again.id, "the new one's id");
        matches(await listOffsets(wire, anew.name, -1), { errorCode: 0, offset: 0 }, "its end");
      },
    },
  ],
};
