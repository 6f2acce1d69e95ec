/**
 * librdkafka's own broker tests, only with `--full`: fetched and built once (about three minutes), one process per test, so that
 * one that hangs costs its own time only. What needs a feature we do not have yet is listed with the feature's name in
 * `librdkafka.json` and not run; everything else must pass.
 */
import { existsSync } from "node:fs";
import { chmod, mkdir, rename, rm, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { cacheDirectory, kafkaLibs } from "../support/Cache.ts";
import { run } from "../support/Process.ts";
import type { ConformanceTest, Suite } from "../support/Suite.ts";
import list from "./librdkafka.json" with { type: "json" };

const source = process.env.LIBRDKAFKA_GIT ?? "https://github.com/confluentinc/librdkafka";

/** Some tests make topics with three replicas, for no other reason than that their authors have three brokers. */
const oneReplica =
  "sed -i -E 's/(create_topic(_wait_exists)?[(].*, ([0-9]+|[a-z_]*cnt[_0-9]*)), 3([,)])/\\1, 1\\4/' tests/*.c tests/*.cpp";

/**
 * The built tests directory. Needs git, gcc, make and Debian's libssl-dev, libsasl2-dev, libzstd-dev, liblz4-dev, zlib1g-dev,
 * libcurl4-openssl-dev, rapidjson-dev.
 */
const built = async (): Promise<string> => {
  const directory = join(cacheDirectory, `librdkafka-${list.version}-${Bun.hash(oneReplica).toString(16)}`);
  if (!existsSync(directory)) {
    const partial = `${directory}.partial-${process.pid}`;
    await rm(partial, { recursive: true, force: true });
    await run("git", ["clone", "-q", source, partial], { timeoutMs: 300_000 });
    await run("git", ["checkout", "-q", list.commit], { cwd: partial });
    const build = `${oneReplica} && ./configure && make -j2 libs && make -j2 -C tests build`;
    await run("sh", ["-c", build], { cwd: partial, timeoutMs: 900_000 });
    await rename(partial, directory);
  }
  return join(directory, "tests");
};

/** A directory with what librdkafka's tests call of Kafka: its jars, and shell scripts by the names of its tools. */
const kafkaPath = async (directory: string): Promise<string> => {
  const tools = {
    "kafka-topics": "org.apache.kafka.tools.TopicCommand",
    "kafka-configs": "kafka.admin.ConfigCommand",
    "kafka-acls": "org.apache.kafka.tools.AclCommand",
    // Runs the class that is its first argument.
    "kafka-run-class": "",
  };
  const libs = join(await kafkaLibs(), "libs");
  await mkdir(join(directory, "bin"), { recursive: true });
  if (!existsSync(join(directory, "libs"))) await symlink(libs, join(directory, "libs"));
  for (const [name, toolClass] of Object.entries(tools)) {
    const file = join(directory, "bin", `${name}.sh`);
    await writeFile(file, `#!/bin/sh\nexec java -Xmx256m -cp "$CLASSPATH:${libs}/*" ${toolClass} "$@"\n`);
    await chmod(file, 0o755);
  }
  return directory;
};

/** A KIP-848 member's times are the broker's; Kafka's floors are too slow for tests that wait for a session to end. */
const consumerProtocol = {
  "group.consumer.min.heartbeat.interval.ms": "100",
  "group.consumer.heartbeat.interval.ms": "500",
  "group.consumer.min.session.timeout.ms": "1000",
  "group.consumer.session.timeout.ms": "6000",
};

/** One line of `librdkafka.json`. */
interface Listed {
  readonly name: string;
  /** The feature it waits for; it is not run. */
  readonly needs?: string;
  /** Does nothing in librdkafka's quick mode, so it runs whole. */
  readonly whole?: boolean;
  /** Runs with librdkafka's emulation of a slow network between it and the broker. */
  readonly slowNetwork?: boolean;
  /** librdkafka's name for what the broker is set to: topics are not made by asking for them. */
  readonly scenario?: "noautocreate";
  /** Its own timing is a race that it loses against Kafka too (0102, 0118): so many tries. */
  readonly attempts?: number;
  /** The group protocol its consumers speak, if not the classic one. */
  readonly protocol?: "consumer";
}

const listed: readonly Listed[] = [
  ...(list.tests as readonly Listed[]),
  ...list.consumerProtocol.map((name) => ({ name, protocol: "consumer" as const, whole: true })),
];

const tests: ConformanceTest[] = listed
  .filter((each) => each.needs === undefined)
  .map(({ name, whole, slowNetwork, scenario, attempts, protocol }) => ({
    name: protocol === undefined ? name : `${name}, group.protocol=${protocol}`,
    full: true,
    own: true,
    timeoutMs: 600_000,
    async run(context) {
      const directory = await built();
      const broker = await context.ownBroker({
        "num.partitions": "4",
        "group.initial.rebalance.delay.ms": "0",
        ...(scenario === undefined ? {} : { "auto.create.topics.enable": "false" }),
        ...(protocol === undefined ? {} : consumerProtocol),
      });
      await writeFile(join(directory, "test.conf"), `bootstrap.servers=${broker.address}\n`);
      const row = new RegExp(`^\\| ${name} +\\| +(\\w+)`, "m");
      let output = "";
      for (let attempt = 1; attempt <= (attempts ?? 1); attempt++) {
        const quick = whole ? [] : ["-Q"];
        const network = slowNetwork ? [] : ["-E"];
        const chosen = scenario === undefined ? [] : ["-s", scenario];
        const result = await run("./test-runner", ["-p1", ...quick, ...network, ...chosen, "-L"], {
          cwd: directory,
          anyExit: true,
          timeoutMs: 280_000,
          env: {
            BROKERS: broker.address,
            KAFKA_PATH: await kafkaPath(context.directory),
            LD_LIBRARY_PATH: "../src:../src-cpp",
            TEST_KAFKA_VERSION: "4.2.0",
            TESTS: name,
            ...(protocol === undefined ? {} : { TEST_CONSUMER_GROUP_PROTOCOL: protocol }),
          },
        });
        output = Bun.stripANSI(`${result.stdout}\n${result.stderr}`);
        if (row.exec(output)?.[1] === "PASSED") {
          if (attempt > 1) context.note(`attempt ${attempt}`);
          return;
        }
      }
      throw new Error(`${row.exec(output)?.[1] ?? "no result"}: ${output.trim().split("\n").slice(-15).join("\n")}`);
    },
  }));

export const suite: Suite = { name: "librdkafka", tests };
