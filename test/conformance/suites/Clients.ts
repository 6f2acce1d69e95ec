/**
 * Programs people have, unmodified, against the broker: kcat, Kafka's command line tools, kafkajs, @platformatic/kafka.
 * Consumers assign their partitions; nothing here needs a group.
 */
import { createHash } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import {
  javaScript,
  javaTool,
  kafkaConsoleConsumer,
  kafkaConsoleProducer,
  kafkaTopics,
  kcatReadAll,
  kcatRun,
  numberedLines,
} from "../support/Clients.ts";
import { sleep } from "../support/Process.ts";
import { assert, equal, type Suite } from "../support/Suite.ts";

const tools = "org.apache.kafka.tools";

/** `count` lines of 100 characters, all different, the same in every run. */
const hundredByteLines = (count: number): Buffer => {
  const bytes = Buffer.alloc(count * 101, 0x2e);
  let state = 12345;
  for (let index = 0; index < count; index++) {
    const at = index * 101;
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    bytes.write(`${index} ${state.toString(36)} `, at, "latin1");
    bytes[at + 100] = 0x0a;
  }
  return bytes;
};

const sha256 = (bytes: Uint8Array | string): string => createHash("sha256").update(bytes).digest("hex");

export const suite: Suite = {
  name: "clients",
  tests: [
    {
      name: "kcat -L lists the broker and its topics",
      async run({ broker, topic }) {
        const name = topic();
        await kcatRun(broker.address, ["-P", "-t", name, "-p", "0"], { input: "x\n" });
        const { stdout } = await kcatRun(broker.address, ["-L"]);
        assert(
          / 1 brokers:\n {2}broker \d+ at 127\.0\.0\.1:\d+ \(controller\)/.test(stdout),
          `one broker, the controller:\n${stdout}`,
        );
        assert(stdout.includes(`at ${broker.address}`), `the broker is advertised where it was reached:\n${stdout}`);
        assert(stdout.includes(`topic "${name}" with 1 partitions`), `the topic:\n${stdout}`);
      },
    },
    {
      name: "kcat -L of an unknown topic creates it",
      async run({ broker, topic }) {
        const name = topic();
        let text = "";
        for (let attempt = 0; attempt < 20 && !text.includes("leader "); attempt++) {
          text = (await kcatRun(broker.address, ["-L", "-t", name])).stdout;
        }
        assert(/partition 0, leader (\d+), replicas: \1, isrs: \1/.test(text), text);
      },
    },
    {
      name: "kcat produces and consumes 1,000,000 records of 100 B, checksums equal",
      timeoutMs: 120_000,
      async run({ broker, topic, directory, note }) {
        const name = topic();
        const bytes = hundredByteLines(1_000_000);
        const file = join(directory, "lines");
        await writeFile(file, bytes);
        const began = performance.now();
        await kcatRun(broker.address, ["-P", "-t", name, "-p", "0", "-X", "acks=all", "-l", file], {
          timeoutMs: 60_000,
        });
        const produced = performance.now();
        const read = await kcatRun(broker.address, ["-C", "-q", "-t", name, "-p", "0", "-o", "beginning", "-e"], {
          timeoutMs: 60_000,
        });
        const consumed = performance.now();
        equal(read.stdout.length, bytes.length, "bytes read");
        equal(sha256(read.stdout), sha256(bytes), "checksum");
        note(
          `produce ${((produced - began) / 1000).toFixed(1)} s, consume ${((consumed - produced) / 1000).toFixed(1)} s`,
        );
      },
    },
    {
      name: "kcat queries offsets and timestamps",
      async run({ broker, topic }) {
        const name = topic();
        await kcatRun(broker.address, ["-P", "-t", name, "-p", "0"], { input: numberedLines(10) });
        const ends = await kcatRun(broker.address, ["-Q", "-t", `${name}:0:-1`]);
        assert(ends.stdout.includes("offset 10"), ends.stdout);
        const future = await kcatRun(broker.address, ["-Q", "-t", `${name}:0:${Date.now() + 60_000}`]);
        assert(/offset (-1|10)\b/.test(future.stdout), future.stdout);
      },
    },
    {
      name: "kcat reads keys, headers, timestamps and null values back",
      async run({ broker, topic }) {
        const name = topic();
        const send = (args: readonly string[], input: string) =>
          kcatRun(broker.address, ["-P", "-t", name, "-p", "0", ...args], { input });
        await send(["-k", "key", "-H", "h1=one", "-H", "h2=two"], "value\n");
        await send(["-K", ":", "-Z"], "gone:\n");
        const read = await kcatReadAll(broker.address, name, "%o|%k|%S|%h|%s\\n");
        equal(read, "0|key|5|h1=one,h2=two|value\n1|gone|-1||\n", "records");
      },
    },
    {
      name: "kcat tails: a record arrives at a waiting consumer",
      async run({ broker, topic, note }) {
        const name = topic();
        await kcatRun(broker.address, ["-P", "-t", name, "-p", "0"], { input: "first\n" });
        let waits = true;
        const waiting = kcatRun(broker.address, [
          "-C",
          "-q",
          "-u",
          "-t",
          name,
          "-p",
          "0",
          "-o",
          "end",
          "-c",
          "1",
        ]).finally(() => {
          waits = false;
        });
        // Nothing says when a consumer has asked for the end.
        let sent = 0;
        for (; waits; sent++) {
          await kcatRun(broker.address, ["-P", "-t", name, "-p", "0"], { input: `later ${sent}\n` });
          await Promise.race([waiting, sleep(500)]);
        }
        assert(/^later \d+\n$/.test((await waiting).stdout), "what the consumer printed");
        note(`${sent} records`);
      },
    },
    {
      name: "kafka-console-producer (idempotent) and kafka-console-consumer --partition",
      async run({ broker, topic }) {
        const name = topic();
        const lines = numberedLines(1000);
        await kafkaConsoleProducer(broker.address, name, lines);
        equal(await kafkaConsoleConsumer(broker.address, name, 1000), lines, "lines read");
        const middle = await javaTool(`${tools}.consumer.ConsoleConsumer`, [
          ...["--bootstrap-server", broker.address, "--topic", name, "--partition", "0", "--offset", "500"],
          ...["--max-messages", "5", "--timeout-ms", "20000", "--formatter-property", "print.offset=true"],
        ]);
        equal(
          middle.stdout,
          "Offset:500\tv500\nOffset:501\tv501\nOffset:502\tv502\nOffset:503\tv503\nOffset:504\tv504\n",
          "from 500",
        );
      },
    },
    {
      name: "kafka-topics creates, describes, lists, alters and deletes",
      timeoutMs: 180_000,
      async run({ broker, topic }) {
        const name = topic();
        const on = (...args: string[]) => kafkaTopics(broker.address, args);
        const created = await on("--create", "--topic", name, "--partitions", "3", "--config", "retention.ms=3600000");
        assert(created.stdout.includes(`Created topic ${name}.`), created.stdout);
        const described = (await on("--describe", "--topic", name)).stdout;
        assert(
          /PartitionCount: 3\s+ReplicationFactor: 1\s+Configs: .*retention\.ms=3600000/.test(described),
          described,
        );
        equal((described.match(/Leader: \d+/g) ?? []).length, 3, `leaders in ${described}`);
        await on("--alter", "--topic", name, "--partitions", "5");
        const altered = (await on("--describe", "--topic", name)).stdout;
        assert(altered.includes("PartitionCount: 5"), altered);
        assert((await on("--list")).stdout.split("\n").includes(name), "listed");
        const fewer = await kafkaTopics(broker.address, ["--alter", "--topic", name, "--partitions", "2"], {
          anyExit: true,
        });
        assert(
          fewer.code !== 0 && /currently has 5 partition/.test(fewer.stdout + fewer.stderr),
          fewer.stdout + fewer.stderr,
        );
        const again = await kafkaTopics(broker.address, ["--create", "--topic", name], { anyExit: true });
        assert(again.code !== 0 && again.stdout.includes(`Topic '${name}' already exists.`), again.stdout);
        await on("--delete", "--topic", name);
        assert(!(await on("--list")).stdout.split("\n").includes(name), "gone from the list");
        await on("--create", "--topic", name, "--partitions", "1");
        assert(
          (await on("--describe", "--topic", name)).stdout.includes("PartitionCount: 1"),
          "the name is usable again",
        );
      },
    },
    {
      name: "kafka-producer-perf-test",
      async run({ broker, topic, note }) {
        const name = topic();
        const { stdout } = await javaTool(`${tools}.ProducerPerformance`, [
          ...["--topic", name, "--num-records", "100000", "--record-size", "1024", "--throughput", "-1"],
          ...["--bootstrap-server", broker.address, "--command-property", "acks=all"],
        ]);
        const last = stdout.trim().split("\n").at(-1) ?? "";
        assert(last.startsWith("100000 records sent"), stdout);
        note(/\(([\d.]+ MB\/sec)\)/.exec(last)?.[1] ?? last);
        const offsets = await javaTool(`${tools}.GetOffsetShell`, [
          "--bootstrap-server",
          broker.address,
          "--topic",
          name,
        ]);
        equal(offsets.stdout.trim(), `${name}:0:100000`, "kafka-get-offsets");
      },
    },
    {
      name: "kafka-verifiable-producer",
      async run({ broker, topic }) {
        const name = topic();
        const { stdout } = await javaTool(`${tools}.VerifiableProducer`, [
          ...["--bootstrap-server", broker.address, "--topic", name, "--max-messages", "5000", "--acks", "-1"],
        ]);
        const lines = stdout.trim().split("\n");
        equal(lines.filter((line) => line.includes('"producer_send_success"')).length, 5000, "successes");
        assert(
          lines.some((line) => line.includes('"tool_data"') && line.includes('"acked":5000')),
          lines.at(-1) ?? "",
        );
        const values = (await kcatReadAll(broker.address, name)).trim().split("\n");
        equal(
          values,
          Array.from({ length: 5000 }, (_, index) => `${index}`),
          "values",
        );
      },
    },
    {
      name: "kafka-get-offsets by time",
      async run({ broker, topic }) {
        const name = topic();
        await kcatRun(broker.address, ["-P", "-t", name, "-p", "0"], { input: numberedLines(7) });
        const at = async (time: string) =>
          (
            await javaTool(`${tools}.GetOffsetShell`, [
              "--bootstrap-server",
              broker.address,
              "--topic",
              name,
              "--time",
              time,
            ])
          ).stdout.trim();
        equal(await at("-1"), `${name}:0:7`, "latest");
        equal(await at("-2"), `${name}:0:0`, "earliest");
        assert(/:0:[0-6]$/.test(await at("-3")), "max timestamp");
      },
    },
    {
      name: "kafka-configs describes a topic and the broker",
      async run({ broker, topic }) {
        const name = topic();
        await kafkaTopics(broker.address, ["--create", "--topic", name, "--config", "max.message.bytes=2000000"]);
        const configs = async (...args: string[]) =>
          (await javaTool("kafka.admin.ConfigCommand", ["--bootstrap-server", broker.address, "--describe", ...args]))
            .stdout;
        const own = await configs("--entity-type", "topics", "--entity-name", name);
        assert(
          /max\.message\.bytes=2000000 sensitive=false synonyms=\{DYNAMIC_TOPIC_CONFIG:max\.message\.bytes=2000000/.test(
            own,
          ),
          own,
        );
        const all = await configs("--entity-type", "topics", "--entity-name", name, "--all");
        equal((all.match(/^ {2}[a-z0-9.]+=/gm) ?? []).length, 33, `keys of a topic in:\n${all}`);
        const node = /broker (\d+) at/.exec((await kcatRun(broker.address, ["-L"])).stdout)?.[1] ?? "";
        const brokerAll = await configs("--entity-type", "brokers", "--entity-name", node, "--all");
        for (const key of ["log.segment.bytes", "num.partitions", "message.max.bytes", "log.dirs", "listeners"]) {
          assert(brokerAll.includes(`  ${key}=`), `${key} is missing in\n${brokerAll}`);
        }
      },
    },
    {
      name: "kafka-broker-api-versions knows every advertised API",
      async run({ broker }) {
        const { stdout } = await javaTool(`${tools}.BrokerApiVersionsCommand`, ["--bootstrap-server", broker.address]);
        assert(/Produce\(0\): 0 to 13 \[usable: 13\]/.test(stdout), stdout);
        assert(/Fetch\(1\): 4 to 18 \[usable: 18\]/.test(stdout), stdout);
        assert(!/UNKNOWN\(\d+\)/.test(stdout), `an API no client knows:\n${stdout}`);
      },
    },
    {
      name: "kafka-cluster cluster-id",
      async run({ broker }) {
        const { stdout } = await javaTool(`${tools}.ClusterTool`, ["cluster-id", "--bootstrap-server", broker.address]);
        assert(/^Cluster ID: [\w-]{22}$/m.test(stdout), stdout);
      },
    },
    {
      name: "kafkajs admin",
      async run({ broker, topic }) {
        await javaScript("kafkajs.mjs", ["admin", broker.address, topic()]);
      },
    },
    {
      name: "@platformatic/kafka admin",
      async run({ broker, topic }) {
        await javaScript("platformatic.mjs", ["admin", broker.address, topic()]);
      },
    },
  ],
};
