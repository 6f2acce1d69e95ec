/**
 * Transactions with the clients people have: Kafka's own tools for operators, its performance test, and copiers in Java,
 * JavaScript and C that must move every record from one topic to another exactly once, with aborts, while the broker and
 * they themselves are killed. What is copied is read with read_committed and compared with what was there, in order.
 */
import { existsSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import type { Broker } from "../support/Brokers.ts";
import { compiled, javaArguments, kafkaLibs } from "../support/Cache.ts";
import {
  javaScript,
  javaTool,
  kafkaConsoleConsumer,
  kcatReadAll,
  kcatRun,
  kcatSpread,
  numberedLines,
  odradek,
} from "../support/Clients.ts";
import type { Fields } from "../support/Definitions.ts";
import { coordinated, fetchOffsets } from "../support/GroupRequests.ts";
import { waitFor } from "../support/Process.ts";
import { Program } from "../support/Program.ts";
import { connected, createTopic, listOffsets } from "../support/Requests.ts";
import { assert, type ConformanceTest, type Context, equal, type Suite } from "../support/Suite.ts";
import { beginProducer, endTransaction, produceInTransaction } from "../support/TransactionRequests.ts";
import { listAt, matches, numberAt } from "../support/Tree.ts";
import { Wire } from "../support/Wire.ts";

const tools = "org.apache.kafka.tools";

/** The rows of Kafka's `kafka-transactions`, without their header. */
const kafkaTransactions = async (address: string, ...args: readonly string[]): Promise<string[][]> => {
  const { stdout } = await javaTool(`${tools}.TransactionsCommand`, ["--bootstrap-server", address, ...args]);
  return stdout
    .trim()
    .split("\n")
    .slice(1)
    .map((line) => line.trim().split(/\s+/));
};

/** The rows of `odradek txn`. */
const odradekTransactions = async (address: string, ...args: readonly string[]): Promise<Record<string, unknown>[]> => {
  const { stdout } = await odradek(address, ["txn", ...args, "--json"]);
  return stdout
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line));
};

const stableOffset = async (wire: Wire, topic: string): Promise<number> =>
  numberAt(await listOffsets(wire, topic, -1, 7, 1), "offset");

/** Each partition's values that a read_committed consumer sees, in order. */
const committedValues = async (broker: Broker, topic: string, partitions: number): Promise<string[][]> => {
  const found: string[][] = [];
  for (let partition = 0; partition < partitions; partition++) {
    const where = ["-t", topic, "-p", `${partition}`, "-o", "beginning", "-e", "-q"];
    const { stdout } = await kcatRun(broker.address, ["-C", ...where, "-X", "isolation.level=read_committed"]);
    found.push(stdout.split("\n").filter((line) => line !== ""));
  }
  return found;
};

/** A topic with `count` records over its partitions, another one without, and a group. */
class Copying {
  constructor(
    readonly broker: Broker,
    readonly input: string,
    readonly output: string,
    readonly group: string,
    readonly partitions: number,
    readonly count: number,
  ) {}

  static async begin(context: Context, broker: Broker, partitions: number, count: number): Promise<Copying> {
    const [input, output, group] = [context.topic("input"), context.topic("output"), context.topic("group")];
    const wire = await Wire.open(broker);
    for (const name of [input, output]) await createTopic(wire, name, partitions);
    await coordinated(wire, group);
    wire.close();
    await kcatSpread(broker.address, input, numberedLines(count));
    return new Copying(broker, input, output, group, partitions, count);
  }

  /** How much of the input the group has committed; an answer that does not come is none. */
  async committed(): Promise<number> {
    try {
      const wire = await Wire.open(this.broker);
      try {
        const indexes = Array.from({ length: this.partitions }, (_, index) => index);
        const fetched = await fetchOffsets(wire, this.group, this.input, indexes);
        return listAt(fetched, "groups.0.topics.0.partitions").reduce<number>(
          (sum, each) => sum + Math.max(0, numberAt(each, "committedOffset")),
          0,
        );
      } finally {
        wire.close();
      }
    } catch {
      return 0;
    }
  }

  /** Every record is in the output once, in its order. */
  async check(): Promise<void> {
    const [there, copied] = [
      await committedValues(this.broker, this.input, this.partitions),
      await committedValues(this.broker, this.output, this.partitions),
    ];
    equal(
      there.reduce((sum, { length }) => sum + length, 0),
      this.count,
      "records of the input",
    );
    for (const [partition, values] of there.entries()) {
      const got = copied[partition]!;
      assert(values.length > 0, `nothing was produced to partition ${partition} of the input`);
      const at = values.findIndex((value, index) => value !== got[index]);
      assert(at < 0, `partition ${partition}: ${got[at]} at ${at}, expected ${values[at]}`);
      equal(got.length, values.length, `records of partition ${partition}`);
    }
  }
}

/**
 * Two copiers at work; between steps the broker dies, and one of them. `step`: records that have to be committed before the next
 * kill. A copier that ended by itself, as one does that was fenced or has come to the end it saw at its start, is started again.
 */
const copyThroughKills = async (
  context: Context,
  copying: Copying,
  copiers: readonly Program[],
  kills: number,
): Promise<void> => {
  for (const copier of copiers) {
    context.cleanup(() => copier.end("SIGKILL"));
    copier.start();
  }
  const reach = async (count: number): Promise<void> => {
    const told = (): string => copiers.map(({ errors }) => errors).join("\n");
    let seen = 0;
    await waitFor(`${count} of ${copying.count} copied`, 90_000, async () => {
      for (const copier of copiers) if (!copier.running) copier.start();
      seen = await copying.committed();
      return seen >= count;
    }).catch((error: Error) => {
      throw new Error(`${error.message}; ${seen} are\n${told()}`);
    });
  };
  const step = copying.count / (2 * kills + 1);
  for (let kill = 0; kill < kills; kill++) {
    await reach(step * (2 * kill + 1));
    await copying.broker.kill();
    await copying.broker.start();
    await reach(step * (2 * kill + 2));
    const copier = copiers[kill % copiers.length]!;
    await copier.end("SIGKILL");
    copier.start();
  }
  await reach(copying.count);
  for (const copier of copiers) await copier.end("SIGTERM");
  await copying.check();
};

const javaCopiers = async (copying: Copying, size: number, how: readonly string[]): Promise<Program[]> => {
  const java = await javaArguments(await kafkaLibs());
  return [0, 1].map((partition) => {
    const args = [
      ...["--broker-list", copying.broker.address, "--input-topic", copying.input, "--output-topic", copying.output],
      ...["--input-partition", `${partition}`, "--consumer-group", copying.group],
      ...["--transactional-id", `${copying.group}-${partition}`, "--transaction-size", `${size}`],
      ...["--transaction-timeout", "10000", "--enable-random-aborts", ...how],
    ];
    return new Program("java", [...java, `${tools}.TransactionalMessageCopier`, ...args]);
  });
};

const libraryCopiers = async (copying: Copying, size: number): Promise<Program[]> => {
  const program = await compiled(join(import.meta.dir, "..", "clients", "copier.c"));
  return [0, 1].map((member) => {
    const { broker, input, output, group } = copying;
    return new Program(program, [broker.address, input, output, group, `${group}-${member}`, `${size}`, `${member}`]);
  });
};

/** Sweeps what a killed copier left behind sooner than Kafka's ten seconds. */
const quickSweep = { "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000" };

const copies = (
  name: string,
  records: number,
  kills: number,
  copiers: (copying: Copying) => Promise<Program[]>,
  full = false,
): ConformanceTest => ({
  name,
  own: true,
  full,
  timeoutMs: full ? 600_000 : 180_000,
  async run(context) {
    const broker = await context.ownBroker(quickSweep);
    const copying = await Copying.begin(context, broker, 2, records);
    await copyThroughKills(context, copying, await copiers(copying), kills);
    await expectReadable(broker, copying.group);
  },
});

/** Kafka's own tool reads what the coordinator has written, whole and with every transactional id of the copiers. */
const expectReadable = async (broker: Broker, ids: string): Promise<void> => {
  await broker.stop();
  const folders = readdirSync(broker.dataDirectory).filter((each) => each.startsWith("__transaction_state-"));
  const logs = folders
    .map((each) => join(broker.dataDirectory, each, "00000000000000000000.log"))
    .filter((file) => existsSync(file) && statSync(file).size > 0);
  const decoded = ["--transaction-log-decoder", "--files", logs.join(",")];
  const { stdout } = await javaTool(`${tools}.DumpLogSegments`, decoded);
  for (const copier of [0, 1]) {
    assert(stdout.includes(`"transactionalId":"${ids}-${copier}"`), `${ids}-${copier} in ${stdout.slice(0, 2000)}`);
  }
  assert(!/invalid|corrupt|could not/i.test(stdout), "every batch is whole");
};

export const suite: Suite = {
  name: "transactions",
  tests: [
    {
      name: "kafka-transactions lists and describes an open transaction and ends it by force",
      timeoutMs: 180_000,
      async run(context) {
        const { broker } = context;
        const wire = await connected(context);
        const { name } = await createTopic(wire, context.topic(), 2);
        const producer = await beginProducer(wire, context.topic("tx"), 600_000);
        const { transactionalId, producerId, producerEpoch } = producer;
        for (const partition of [0, 1]) {
          matches(await produceInTransaction(wire, name, producer, { partition }), { errorCode: 0 }, "produce");
        }
        const listed = async (...args: readonly string[]): Promise<string[] | undefined> =>
          (await kafkaTransactions(broker.address, "list", ...args)).find(([id]) => id === transactionalId);
        const row = await listed();
        equal([row?.[0], row?.[2], row?.[3]], [transactionalId, `${producerId}`, "Ongoing"], "listed");
        equal(await listed("--transactional-id-pattern", "nobody.*"), undefined, "listed by another pattern");
        equal(await listed("--duration-filter", "3600000"), undefined, "open for an hour");
        const [described] = await kafkaTransactions(broker.address, "describe", "--transactional-id", transactionalId);
        equal(
          described?.slice(1, 6),
          [transactionalId, `${producerId}`, `${producerEpoch}`, "Ongoing", "600000"],
          "it",
        );
        equal(described?.[8]?.split(",").sort(), [`${name}-0`, `${name}-1`], "its partitions");
        const producers = await kafkaTransactions(
          ...[broker.address, "describe-producers", "--topic", name, "--partition", "1"],
        );
        equal(
          producers.map(([id, epoch, coordinator, sequence, , start]) => [id, epoch, coordinator, sequence, start]),
          [[`${producerId}`, `${producerEpoch}`, "-1", "0", "0"]],
          "producers",
        );
        const hanging = ["find-hanging", "--topic", name, "--max-transaction-timeout", "0"];
        equal(await kafkaTransactions(broker.address, ...hanging), [], "nothing hangs");
        await kafkaTransactions(broker.address, "forceTerminateTransaction", "--transactionalId", transactionalId);
        equal(await stableOffset(wire, name), 2, "the last stable offset after the abort");
        equal((await listed())?.[3], "Empty", "state after the abort");
        matches(await endTransaction(wire, producer, true), { errorCode: 90 }, "its producer is fenced");
        equal(await committedValues(broker, name, 2), [[], []], "nothing is seen");
      },
    },
    {
      name: "kafka-transactions and odradek txn find a hanging transaction and abort it",
      own: true,
      async run(context) {
        const broker = await context.ownBroker({ "transaction.partition.verification.enable": "false" });
        const wire = await Wire.open(broker);
        context.cleanup(() => wire.close());
        const hang = async (): Promise<{ readonly name: string; readonly id: number }> => {
          const { name } = await createTopic(wire, context.topic());
          const producer = await beginProducer(wire, context.topic("tx"));
          // As old clients could: never added to the transaction, so that no coordinator will end it.
          matches(await produceInTransaction(wire, name, producer, { version: 9 }), { errorCode: 0 }, "produce");
          equal(await stableOffset(wire, name), 0, "the last stable offset");
          return { name, id: producer.producerId };
        };
        const { name, id } = await hang();
        const find = ["find-hanging", "--topic", name, "--max-transaction-timeout", "0"];
        const [found] = await kafkaTransactions(broker.address, ...find);
        equal(found?.slice(0, 6), [name, "0", `${id}`, "0", "-1", "0"], "found by Kafka's tool");
        await kafkaTransactions(
          ...[broker.address, "abort", "--topic", name, "--partition", "0", "--start-offset", "0"],
        );
        equal(await stableOffset(wire, name), 2, "the last stable offset after Kafka's abort");
        equal(await kafkaTransactions(broker.address, ...find), [], "found afterwards");

        const other = await hang();
        const [hanging] = await odradekTransactions(
          ...([broker.address, "find-hanging", other.name, "--max-timeout", "0"] as const),
        );
        equal([hanging?.topic, hanging?.producer, hanging?.startOffset], [other.name, other.id, 0], "found by ours");
        await odradekTransactions(broker.address, "abort", `${other.name}:0`, "--start-offset", "0");
        equal(await stableOffset(wire, other.name), 2, "the last stable offset after our abort");
      },
    },
    {
      name: "two-phase commit, InitProducerId v6, is not offered, and who asks for it loses the connection",
      async run(context) {
        const wire = await connected(context);
        const { apiKeys } = await wire.call("ApiVersions", 3, { clientSoftwareName: "c", clientSoftwareVersion: "1" });
        const offered = (apiKeys as readonly Fields[]).find(({ apiKey }) => apiKey === 22);
        equal(offered?.maxVersion, 5, "the newest InitProducerId");
        await wire.send("InitProducerId", 6, {
          transactionalId: context.topic("tx"),
          transactionTimeoutMs: 60_000,
          producerId: -1,
          producerEpoch: -1,
          enable2Pc: true,
          keepPreparedTxn: false,
        });
        await wire.expectClosed("InitProducerId v6");
      },
    },
    {
      name: "kafka-producer-perf-test in transactions",
      async run({ broker, topic, note }) {
        const name = topic();
        const { stdout } = await javaTool(`${tools}.ProducerPerformance`, [
          ...["--topic", name, "--num-records", "20000", "--record-size", "100", "--throughput", "20000"],
          ...["--bootstrap-server", broker.address, "--transactional-id", topic("tx")],
          ...["--transaction-duration-ms", "50"],
        ]);
        assert(stdout.trim().split("\n").at(-1)?.startsWith("20000 records sent") === true, stdout);
        const seen = (await kcatReadAll(broker.address, name, "%o\\n")).trim().split("\n").map(Number);
        equal(seen.length, 20_000, "records seen");
        const markers = (seen.at(-1) ?? 0) + 1 - seen.length;
        assert(markers >= 1, `${markers} markers between them`);
        note(`${markers + 1} transactions`);
      },
    },
    {
      name: "kafkajs copies a topic exactly once, a third of its transactions aborted",
      async run(context) {
        const copying = await Copying.begin(context, context.broker, 2, 2000);
        const { broker, input, output, group, count } = copying;
        const { stdout } = await javaScript("transactions.mjs", [broker.address, input, output, group, `${count}`]);
        await copying.check();
        equal(await copying.committed(), count, "committed with the transactions");
        const there = await committedValues(broker, input, 1);
        const byKafka = await kafkaConsoleConsumer(broker.address, output, there[0]!.length, [
          ...["--isolation-level", "read_committed"],
        ]);
        equal(byKafka.trim().split("\n"), there[0], "as Kafka's console consumer sees it");
        context.note(stdout.trim());
      },
    },
    copies("TransactionalMessageCopier copies exactly once through kill -9 of broker and copier", 4000, 1, (copying) =>
      javaCopiers(copying, 100, []),
    ),
    copies(
      "librdkafka copies exactly once in a group (KIP-447) through kill -9 of broker and member",
      6000,
      1,
      (copying) => libraryCopiers(copying, 100),
    ),
    copies(
      "TransactionalMessageCopier in a group (KIP-447), ten kills",
      40_000,
      5,
      (copying) => javaCopiers(copying, 100, ["--group-mode", "--use-group-metadata"]),
      true,
    ),
    copies("librdkafka in a group, twenty kills", 100_000, 10, (copying) => libraryCopiers(copying, 100), true),
  ],
};
