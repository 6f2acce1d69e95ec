/**
 * Consumers people have, unmodified, in classic groups: kcat, Kafka's console consumer and admin tools, kafkajs,
 * @platformatic/kafka; members that come, go and are killed while records flow; a broker killed while offsets are committed.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync } from "node:fs";
import { join as path } from "node:path";
import type { Broker } from "../support/Brokers.ts";
import { javaArguments, javaScriptClients, kafkaLibs, kcat, node22, python, pythonProgram } from "../support/Cache.ts";
import { javaScript, javaTool, kcatSpread, numberedLines, SPREAD } from "../support/Clients.ts";
import { commit, coordinated, fetchOffsets, stableMember, subscription } from "../support/GroupRequests.ts";
import { sleep, waitFor } from "../support/Process.ts";
import { createTopic } from "../support/Requests.ts";
import { assert, type Context, equal, type Suite } from "../support/Suite.ts";
import { listAt, numberAt } from "../support/Tree.ts";
import { Wire } from "../support/Wire.ts";

const tools = "org.apache.kafka.tools";
const PARTITIONS = 4;
/** Run from its source. */
const groupAdmin = path(import.meta.dir, "..", "clients", "GroupAdmin.java");

const groupTool = async (address: string, args: readonly string[]): Promise<string> =>
  (await javaTool(`${tools}.consumer.group.ConsumerGroupCommand`, ["--bootstrap-server", address, ...args])).stdout;

const fourPartitions = async ({ broker, topic }: Context, label = "t"): Promise<string> => {
  const name = topic(label);
  const wire = await Wire.open(broker);
  await createTopic(wire, name, PARTITIONS);
  wire.close();
  return name;
};

/** One member of a group that prints `partition offset value` a line, and every line it has printed. */
class LineMember {
  readonly lines: string[] = [];
  private rest = "";
  private readonly child: ChildProcess;
  private readonly gone: Promise<unknown>;

  constructor(
    command: string,
    args: readonly string[],
    { cwd, read = (line) => line }: { cwd?: string; read?: (line: string) => string | undefined } = {},
  ) {
    this.child = spawn(command, args, { cwd, stdio: ["ignore", "pipe", "ignore"] });
    this.gone = once(this.child, "exit");
    this.child.stdout?.on("data", (chunk: Buffer) => {
      const text = this.rest + chunk.toString();
      const cut = text.lastIndexOf("\n") + 1;
      this.rest = text.slice(cut);
      for (const line of text.slice(0, cut).split("\n")) {
        const said = line === "" ? undefined : read(line);
        if (said !== undefined) this.lines.push(said);
      }
    });
  }

  async end(signal: "SIGTERM" | "SIGKILL" | "SIGINT"): Promise<void> {
    this.child.kill(signal);
    await this.gone;
  }

  signal(signal: "SIGSTOP" | "SIGCONT"): void {
    this.child.kill(signal);
  }
}

interface Joining {
  readonly address: string;
  readonly group: string;
  readonly topic: string;
  /** Whether what it reads is committed. */
  readonly commits: boolean;
}

/**
 * One `kcat -G`. `commits: false`: nothing is stored, so nothing is ever committed. enable.auto.commit=false would not do: kcat gives an
 * option to the topic first, where librdkafka knows it as the legacy consumer's, and the group's stays on.
 */
const kcatMember = async ({ address, group, topic, commits }: Joining): Promise<LineMember> => {
  const settings = [`enable.auto.offset.store=${commits}`, "auto.offset.reset=earliest", "session.timeout.ms=6000"];
  const options = [...settings, "heartbeat.interval.ms=500", "partition.assignment.strategy=cooperative-sticky"];
  const args = ["-b", address, "-q", "-u", ...options.flatMap((each) => ["-X", each])];
  return new LineMember(kcat(), [...args, "-f", "%p %o %s\n", "-G", group, topic]);
};

/** A JavaScript consumer that prints a record before it commits it, so that it may die at any moment. */
const javaScriptMember =
  (library: string, protocol: string) =>
  async ({ address, group, topic }: Joining): Promise<LineMember> =>
    new LineMember(await node22(), ["groups.mjs", library, address, topic, group, "0", protocol], {
      cwd: await javaScriptClients(),
    });

/** librdkafka by way of Python: kcat's is too old for the consumer protocol. */
const pythonMember =
  (protocol: string) =>
  async ({ address, group, topic }: Joining): Promise<LineMember> =>
    new LineMember(await python(), [pythonProgram("member"), address, topic, group, protocol]);

/** Kafka's VerifiableConsumer prints what it has polled and commits it then. */
const verifiableMember =
  (protocol: string) =>
  async ({ address, group, topic }: Joining): Promise<LineMember> => {
    const session = protocol === "classic" ? ["--session-timeout", "6000"] : [];
    const args = ["--bootstrap-server", address, "--group-id", group, "--topic", topic, "--verbose"];
    const java = await javaArguments(await kafkaLibs(), "-Xmx128m");
    return new LineMember(
      "java",
      [
        ...[...java, `${tools}.VerifiableConsumer`, ...args, ...session],
        ...["--reset-policy", "earliest", "--group-protocol", protocol],
      ],
      {
        read: (line) => {
          if (!line.includes('"record_data"')) return undefined;
          const { partition, offset, value } = JSON.parse(line);
          return `${partition} ${offset} ${value}`;
        },
      },
    );
  };

/** Kafka's console consumer commits from time to time what it has polled, printed or not. */
const consoleMember =
  (protocol: string) =>
  async ({ address, group, topic, commits }: Joining): Promise<LineMember> => {
    const settings = [`group.protocol=${protocol}`, `enable.auto.commit=${commits}`, "auto.commit.interval.ms=500"];
    if (protocol === "classic") settings.push("session.timeout.ms=6000", "heartbeat.interval.ms=500");
    const args = ["--bootstrap-server", address, "--group", group, "--topic", topic, "--from-beginning"];
    return new LineMember(
      "java",
      [
        ...(await javaArguments(await kafkaLibs(), "-Xmx128m")),
        ...[`${tools}.consumer.ConsoleConsumer`, ...args, ...settings.flatMap((each) => ["--command-property", each])],
        ...["print.partition=true", "print.offset=true"].flatMap((each) => ["--formatter-property", each]),
      ],
      { read: (line) => line.replace(/^Partition:(\d+)\tOffset:(\d+)\t/, "$1 $2 ") },
    );
  };

/** Produces `v0 … v(total-1)` through one kcat, 5,000 a second, so that members come and go while records flow. */
const flow = async (address: string, topic: string, total: number, context: Context): Promise<void> => {
  const settings = ["acks=all", "linger.ms=5"].flatMap((each) => ["-X", each]);
  const child = spawn(kcat(), ["-b", address, "-P", "-t", topic, ...SPREAD, ...settings], {
    stdio: ["pipe", "ignore", "ignore"],
  });
  context.cleanup(() => child.kill("SIGKILL"));
  child.stdin.on("error", () => undefined);
  const gone = once(child, "exit");
  for (let sent = 0; sent < total; sent += 500) {
    child.stdin.write(numberedLines(500, sent));
    await sleep(100);
  }
  child.stdin.end();
  const [code] = await gone;
  equal(code, 0, "the producer's exit code");
};

/** The KIP-848 members' times are the broker's. */
const shortSessions = {
  "group.consumer.min.heartbeat.interval.ms": "100",
  "group.consumer.heartbeat.interval.ms": "500",
  "group.consumer.min.session.timeout.ms": "1000",
  "group.consumer.session.timeout.ms": "6000",
};

/**
 * Every record is read, in the order of its partition, by members that join, leave, are killed and pause past their session
 * while the records flow.
 */
const comingAndGoing = async (
  context: Context,
  broker: Broker,
  join: (joining: Joining) => Promise<LineMember>,
  commitsAll = true,
): Promise<void> => {
  const { note, topic } = context;
  const name = topic();
  const setup = await Wire.open(broker);
  await createTopic(setup, name, PARTITIONS);
  setup.close();
  const group = topic("group");
  const total = 100_000;
  const members: LineMember[] = [];
  const start = async (commits = true): Promise<LineMember> => {
    const member = await join({ address: broker.address, group, topic: name, commits });
    context.cleanup(() => member.end("SIGKILL"));
    members.push(member);
    return member;
  };
  const seen = (): Set<string> => new Set(members.flatMap(({ lines }) => lines));
  const producing = flow(broker.address, name, total, context);
  // Whoever waits for it hears of it; until then it must not end the run.
  producing.catch(() => undefined);
  const reads = async (member: LineMember): Promise<void> => {
    const before = member.lines.length;
    await waitFor("a member reads", 30_000, () => member.lines.length > before);
  };
  const first = await start();
  await reads(first);
  // kcat drops the record it has just polled when SIGTERM comes, and its close commits it all the same (consume_cb looks at
  // conf.run first); killed, it may die between a record and its line. So members of it that end commit nothing: all that
  // they read comes again to another, and not one record may be missing.
  const second = await start(false);
  await reads(second);
  await second.end("SIGTERM");
  const third = await start(false);
  await reads(third);
  await third.end("SIGKILL");
  const fourth = await start();
  await reads(fourth);
  first.signal("SIGSTOP");
  await sleep(8000);
  first.signal("SIGCONT");
  await producing;
  await waitFor(`all ${total} records`, 60_000, () => seen().size >= total);
  equal(seen().size, total, "different records");
  const valuesSeen = new Set([...seen()].map((line) => line.split(" ")[2]));
  equal(valuesSeen.size, total, "different values");
  // In order: a partition's offsets go on by one, but for what a rebalance took away or brought back.
  for (const { lines } of members) {
    const last = new Map<string, number>();
    let jumps = 0;
    for (const line of lines) {
      const [partition, offset] = line.split(" ") as [string, string];
      const before = last.get(partition);
      if (before !== undefined && Number(offset) !== before + 1) jumps++;
      last.set(partition, Number(offset));
    }
    assert(jumps <= PARTITIONS * 2 * members.length, `${jumps} jumps in ${lines.length} records`);
  }
  const repeated = members.reduce((sum, { lines }) => sum + lines.length, 0) - total;
  note(`${repeated} repeated`);
  const wire = await Wire.open(broker);
  context.cleanup(() => wire.close());
  const committed = async (): Promise<number> =>
    listAt(await fetchOffsets(wire, group, name, [0, 1, 2, 3]), "groups.0.topics.0.partitions").reduce<number>(
      (all, each) => all + numberAt(each, "committedOffset"),
      0,
    );
  // Not left to the members' ends: one that leaves while the other joins again is refused its last commit, by Kafka too.
  if (commitsAll) await waitFor(`${total} committed`, 30_000, async () => (await committed()) === total);
  for (const member of [first, fourth]) await member.end("SIGTERM");
  const sum = await committed();
  if (commitsAll) equal(sum, total, "committed in the end");
  else assert(sum > 0 && sum <= total, `${sum} are committed in the end`);
};

export const suite: Suite = {
  name: "group clients",
  tests: [
    {
      name: "kcat -G: members join, leave, pause past the session and are killed while 100,000 records flow",
      timeoutMs: 180_000,
      run: (context) => comingAndGoing(context, context.broker, kcatMember),
    },
    ...Object.entries({
      "kafkajs, classic protocol": javaScriptMember("kafkajs", "classic"),
      "@platformatic/kafka, classic protocol": javaScriptMember("platformatic", "classic"),
      "@platformatic/kafka, consumer protocol": javaScriptMember("platformatic", "consumer"),
      "confluent-kafka, classic protocol": pythonMember("classic"),
      "confluent-kafka, consumer protocol": pythonMember("consumer"),
      "Kafka's verifiable consumer, classic protocol": verifiableMember("classic"),
      "Kafka's verifiable consumer, consumer protocol": verifiableMember("consumer"),
      "Kafka's console consumer, classic protocol": consoleMember("classic"),
      "Kafka's console consumer, consumer protocol": consoleMember("consumer"),
    }).map(([client, join]) => ({
      name: `${client}: members join, leave, pause past the session and are killed while 100,000 records flow`,
      full: true,
      own: true,
      timeoutMs: 300_000,
      run: async (context: Context) => {
        const commitsAll = !client.startsWith("@platformatic");
        await comingAndGoing(context, await context.ownBroker(shortSessions), join, commitsAll);
      },
    })),
    {
      name: "kafka-console-consumer in a group, kafka-consumer-groups list, describe, reset and delete",
      timeoutMs: 120_000,
      async run(context) {
        const { broker, topic } = context;
        const name = await fourPartitions(context);
        const group = topic("group");
        await kcatSpread(broker.address, name, numberedLines(1000));
        const consume = async (count: number, wait: number): Promise<string[]> => {
          const { stdout } = await javaTool(
            `${tools}.consumer.ConsoleConsumer`,
            [
              ...["--bootstrap-server", broker.address, "--topic", name, "--group", group, "--from-beginning"],
              ...["--max-messages", `${count}`, "--timeout-ms", `${wait}`],
            ],
            { anyExit: true },
          );
          return stdout.split("\n").filter((line) => line !== "");
        };
        equal(new Set(await consume(1000, 30_000)).size, 1000, "different records");
        equal(await consume(1, 3000), [], "nothing is left");
        assert((await groupTool(broker.address, ["--list"])).split("\n").includes(group), "listed");
        const described = await groupTool(broker.address, ["--describe", "--group", group]);
        const lags = described.split("\n").filter((line) => line.startsWith(group));
        equal(
          lags.map((line) => line.split(/\s+/)[5]),
          ["0", "0", "0", "0"],
          `lag in ${described}`,
        );
        await groupTool(broker.address, [
          ...["--group", group, "--reset-offsets", "--to-earliest", "--topic", name, "--execute"],
        ]);
        equal((await consume(1000, 30_000)).length, 1000, "again after the reset");
        const deleted = await groupTool(broker.address, ["--delete", "--group", group]);
        assert(deleted.includes("was successful"), deleted);
        assert(!(await groupTool(broker.address, ["--list"])).split("\n").includes(group), "gone");
      },
    },
    {
      name: "Kafka's Admin client: offsets altered and deleted, members removed, a group with members and without",
      timeoutMs: 180_000,
      async run(context) {
        const { broker, topic } = context;
        const name = await fourPartitions(context);
        const group = topic("group");
        const wire = await Wire.open(broker);
        context.cleanup(() => wire.close());
        const admin = async (...steps: string[]): Promise<string[]> => {
          const { stdout } = await javaTool(groupAdmin, [broker.address, group, name, ...steps]);
          return stdout.trim().split("\n");
        };
        await coordinated(wire, group);
        const offset = (value: number) => `OffsetAndMetadata{offset=${value}, leaderEpoch=0, metadata='by hand'}`;
        equal(
          await admin("alter=5", "offset", "alter=3", "offset", "delete-offset", "offset", "alter=4", "state"),
          [
            ...["alter: ok", `offset: ${offset(5)}`, "alter: ok", `offset: ${offset(3)}`],
            ...["delete-offset: ok", "offset: null", "alter: ok", "state: Empty 0"],
          ],
          "an empty group",
        );
        // An assignment of nothing reads as a subscription to nothing.
        const member = { metadata: subscription(name), assignment: subscription(), session: 60_000 };
        await stableMember(wire, group, { instance: "i", ...member });
        equal(
          await admin("state", "alter=9", "delete-offset", "offset", "delete-group", "remove=j", "remove=i", "state"),
          [
            ...["state: Stable 1", "alter: UnknownMemberIdException", "delete-offset: GroupSubscribedToTopicException"],
            ...[`offset: ${offset(4)}`, "delete-group: GroupNotEmptyException", "remove: UnknownMemberIdException"],
            ...["remove: ok", "state: Empty 0"],
          ],
          "a group with a member",
        );
        await stableMember(wire, group, member);
        equal(
          await admin("state", "remove-all", "state", "delete-beyond", "delete-group", "alter=1", "offset"),
          [
            ...[
              "state: Stable 1",
              "remove-all: ok",
              "state: Empty 0",
              "delete-beyond: UnknownTopicOrPartitionException",
            ],
            ...["delete-group: ok", "alter: ok", `offset: ${offset(1)}`],
          ],
          "a dynamic member",
        );
      },
    },
    ...(["kafkajs", "platformatic"] as const).map((library) => ({
      name: `${library} consumes in a group and commits`,
      async run(context: Context) {
        const { broker, topic } = context;
        const name = await fourPartitions(context);
        await kcatSpread(broker.address, name, numberedLines(2000));
        const { stdout } = await javaScript("groups.mjs", [library, broker.address, name, topic("group"), "2000"]);
        const next = new Map<string, number>();
        for (const line of stdout.trim().split("\n")) {
          const [partition, offset] = line.split(" ") as [string, string];
          equal(Number(offset), next.get(partition) ?? 0, `the next offset of ${partition}`);
          next.set(partition, Number(offset) + 1);
        }
        equal(
          [...next.values()].reduce((sum, each) => sum + each, 0),
          2000,
          "records",
        );
      },
    })),
    {
      name: "kill -9 during commits: no acked commit is lost, and Kafka's tool reads the log",
      own: true,
      timeoutMs: 180_000,
      async run(context) {
        const broker = await context.ownBroker();
        const name = context.topic();
        const group = context.topic("group");
        const setup = await Wire.open(broker);
        await createTopic(setup, name, PARTITIONS);
        await coordinated(setup, group);
        setup.close();
        let next = 0;
        let done = 0;
        const acked = [-1, -1, -1, -1];
        for (let round = 0; round < 8; round++) {
          const wire = await Wire.open(broker);
          await coordinated(wire, group);
          const committing = (async () => {
            for (;;) {
              const partition = next % PARTITIONS;
              const offset = next++;
              if ((await commit(wire, group, name, offset, { partition })) !== 0) return;
              acked[partition] = offset;
              done++;
            }
          })().catch(() => undefined);
          const before = done;
          await waitFor("twenty commits", 20_000, () => done >= before + 20);
          await sleep(37 * round);
          await broker.kill();
          await committing;
          wire.close();
          await broker.start();
          const after = await Wire.open(broker);
          await coordinated(after, group);
          const fetched = await fetchOffsets(after, group, name, [0, 1, 2, 3]);
          for (const each of listAt(fetched, "groups.0.topics.0.partitions")) {
            const [index, offset] = [numberAt(each, "partitionIndex"), numberAt(each, "committedOffset")];
            assert(offset >= acked[index]!, `partition ${index}: ${offset} after ${acked[index]} was acked`);
          }
          after.close();
        }
        context.note(`${next} commits`);
        await broker.stop();
        const folders = readdirSync(broker.dataDirectory).filter((each) => each.startsWith("__consumer_offsets-"));
        const logs = folders
          .map((each) => path(broker.dataDirectory, each, "00000000000000000000.log"))
          .filter((file) => existsSync(file) && Bun.file(file).size > 0);
        const { stdout } = await javaTool(`${tools}.DumpLogSegments`, ["--offsets-decoder", "--files", logs.join(",")]);
        assert(stdout.includes(`"group":"${group}","topic":"${name}","partition":`), stdout.slice(0, 2000));
        assert(!/invalid|corrupt/i.test(stdout), "every batch is whole");
      },
    },
  ],
};
