/**
 * The files of the log, judged by Kafka: its DumpLogSegments accepts every file we write, ours prints the same lines, and
 * a partition's folder moves between the two brokers with every record. Retention and compaction as a client sees them.
 */
import { cpSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { decodePartitionMetadata, encodePartitionMetadata } from "../../../src/log/Checkpoints.ts";
import { batch } from "../support/Batch.ts";
import { type Broker, startBroker } from "../support/Brokers.ts";
import { javaTool, kafkaConsoleConsumer, kcatReadAll, kcatRun } from "../support/Clients.ts";
import type { Fields, Value } from "../support/Definitions.ts";
import { commit, coordinated, stableMember, subscription } from "../support/GroupRequests.ts";
import { run, sleep } from "../support/Process.ts";
import { createdTopic, createTopic, initProducerId, listOffsets, produce } from "../support/Requests.ts";
import { assert, type Context, equal, type Suite } from "../support/Suite.ts";
import { beginProducer, endTransaction, produceInTransaction } from "../support/TransactionRequests.ts";
import { at, matches, numberAt } from "../support/Tree.ts";
import { Wire } from "../support/Wire.ts";

const repository = join(import.meta.dir, "..", "..", "..");
const SMALL = { "internal.segment.bytes": "12000", "index.interval.bytes": "500" };

const lines = (text: string): string[] => text.split("\n").filter((line) => line !== "");

/** Kafka's tool over files; what it complains about is in `stderr`. */
const kafkaDump = (files: readonly string[], ...options: string[]) =>
  javaTool("org.apache.kafka.tools.DumpLogSegments", ["--files", files.join(","), ...options]);

const ourDump = (files: readonly string[], ...options: string[]) =>
  run(process.execPath, ["scripts/run.mjs", "dump-log", "--files", files.join(","), ...options], { cwd: repository });

const filesOf = (broker: Broker, folder: string, ...suffixes: string[]): string[] => {
  const directory = join(broker.dataDirectory, folder);
  return readdirSync(directory)
    .filter((name) => suffixes.some((suffix) => name.endsWith(suffix)))
    .sort()
    .map((name) => join(directory, name));
};

/** Nothing but notices of gaps, which compaction and a file's beginning leave. */
const complaints = (stderr: string): string[] =>
  lines(stderr).filter((line) => !/^Non-consecutive offsets in |^ {2}-?\d+ is followed by \d+$/.test(line));

/** Kafka's tool believes every file of the folder; answers how many records it saw. */
const accepted = async (broker: Broker, folder: string): Promise<number> => {
  const logs = await kafkaDump(filesOf(broker, folder, ".log"), "--deep-iteration");
  equal(complaints(logs.stderr), [], `${folder}: what Kafka says of the logs`);
  const batches = lines(logs.stdout).filter((line) => line.startsWith("baseOffset: "));
  equal(
    batches.filter((line) => !line.endsWith("isvalid: true")),
    [],
    `${folder}: invalid batches`,
  );
  assert(!logs.stdout.includes("invalid bytes"), `${folder}: Kafka found invalid bytes`);
  const indexes = filesOf(broker, folder, ".index", ".timeindex");
  const sanity = await kafkaDump(indexes, "--index-sanity-check");
  const passed = lines(sanity.stdout).filter((line) => /passed sanity check\.$|is empty\.$/.test(line));
  equal([passed.length, complaints(sanity.stderr)], [indexes.length, []], `${folder}: the indexes' sanity`);
  const others = await kafkaDump([...indexes, ...filesOf(broker, folder, ".txnindex", ".snapshot")]);
  equal(complaints(others.stderr), [], `${folder}: what Kafka says of indexes and snapshots`);
  return lines(logs.stdout).filter((line) => line.startsWith("| offset: ")).length;
};

const filled = async (broker: Broker, topic: string, directory: string): Promise<number> => {
  const wire = await Wire.open(broker);
  await createTopic(wire, topic, 1, SMALL);
  let count = 0;
  for (const codec of ["none", "gzip", "snappy", "lz4", "zstd"]) {
    const file = join(directory, `${codec}.txt`);
    const texts = Array.from({ length: 400 }, (_, index) => `${codec} ${index} ${"x".repeat(index % 90)}`);
    writeFileSync(file, `${texts.join("\n")}\n`);
    const options = ["-P", "-t", topic, "-p", "0", "-z", codec, "-X", "batch.num.messages=20", "-K", " ", "-l", file];
    const { code } = await kcatRun(broker.address, options);
    equal(code, 0, `kcat with ${codec}`);
    count += texts.length;
  }
  const { producerId, producerEpoch } = await initProducerId(wire);
  for (let sequence = 0; sequence < 5; sequence++) {
    const records = [{ key: `k${sequence}`, value: "idempotent", headers: { h: "v" } }];
    const stored = await produce(wire, topic, batch({ records, producerId, producerEpoch, sequence }));
    matches(stored, { errorCode: 0 }, "idempotent batch");
    count += 1;
  }
  wire.close();
  return count;
};

const putKeys = async (wire: Wire, topic: string, rounds: number, size: number): Promise<void> => {
  for (let round = 0; round < rounds; round++) {
    const records = Array.from({ length: 8 }, (_, key) => ({
      key: `key-${key}`,
      value: key === 3 && round > 2 ? null : `${round} ${"x".repeat(size)}`,
    }));
    matches(await produce(wire, topic, batch({ records })), { errorCode: 0 }, `round ${round}`);
  }
};

/** Waits until the broker has written down that the topic was cleaned as far as it can be: up to its active segment. */
const cleaned = async (broker: Broker, topic: string): Promise<void> => {
  const file = join(broker.dataDirectory, "cleaner-offset-checkpoint");
  const end = Number(filesOf(broker, `${topic}-0`, ".log").at(-1)?.slice(-24, -4));
  for (let attempt = 0; attempt < 400; attempt++) {
    const entry = existsSync(file) ? new RegExp(`^${topic} 0 (\\d+)$`, "m").exec(readFileSync(file, "utf8")) : null;
    if (entry !== null && Number(entry[1]) >= end) return;
    await sleep(100);
  }
  throw new Error(`${topic} was not compacted in 40 s`);
};

const INTERNAL = { "offsets.topic.num.partitions": "1", "transaction.state.log.num.partitions": "1" };

/** Transactions that ended in both ways and one that is open, in several segments, and what they leave of other logs. */
const transacted = async (wire: Wire, topic: string, id: (name: string) => string): Promise<void> => {
  await createTopic(wire, topic, 2, SMALL);
  for (let index = 0; index < 24; index++) {
    const producer = await beginProducer(wire, id(`x${index % 3}`));
    const records = [{ key: `k${index}`, value: "v".repeat(2000) }];
    for (const partition of [0, 1]) await produceInTransaction(wire, topic, producer, { records, partition });
    await endTransaction(wire, producer, index % 3 === 1);
  }
  await produceInTransaction(wire, topic, await beginProducer(wire, id("open"), 12_345));
};

/** An assignment of the consumers' protocol: one partition of a topic. */
const assigned = (topic: string): Buffer =>
  Buffer.concat([subscription(topic).subarray(0, -4), Buffer.from([0, 0, 0, 1, 0, 0, 0, 0, 255, 255, 255, 255])]);

/** Groups of both protocols, of consumers and of others, offsets that were committed, and what was deleted again. */
const grouped = async (wire: Wire, topic: string, topicId: Value, id: (name: string) => string): Promise<void> => {
  const metadata = subscription(topic);
  const member = await stableMember(wire, id("classic"), { metadata, assignment: assigned(topic), instance: "i" });
  const own = { memberId: member.memberId, generation: member.generation };
  equal(await commit(wire, id("classic"), topic, 3, { ...own, metadata: "told" }), 0, "a member's commit");
  await stableMember(wire, id("strange"), { metadata: Buffer.from("?"), assignment: Buffer.from("!") });
  await stableMember(wire, id("other"), { type: "connect", metadata: Buffer.from("c") });
  await coordinated(wire, id("offsets"));
  for (const partition of [0, 1]) equal(await commit(wire, id("offsets"), topic, 9, { partition }), 0, "a commit");
  const deleted = await wire.call("DeleteGroups", 2, { groupsNames: [id("offsets")] });
  matches(deleted, { results: [{ errorCode: 0 }] }, "DeleteGroups");
  const beat = (memberEpoch: number, topics: Fields[]) =>
    wire.call("ConsumerGroupHeartbeat", 1, {
      groupId: id("consumers"),
      memberId: "m",
      memberEpoch,
      instanceId: null,
      rackId: null,
      rebalanceTimeoutMs: memberEpoch === 0 ? 30_000 : -1,
      subscribedTopicNames: memberEpoch === 0 ? [topic] : null,
      subscribedTopicRegex: null,
      serverAssignor: null,
      topicPartitions: topics,
    });
  await coordinated(wire, id("consumers"));
  const joined = await beat(0, []);
  matches(joined, { errorCode: 0 }, "the heartbeat that joins");
  await beat(numberAt(joined, "memberEpoch"), [{ topicId, partitions: [0, 1] }]);
  matches(await beat(-1, []), { errorCode: 0 }, "the heartbeat that leaves");
};

const newest = (read: string): string[] => {
  const last = new Map<string, string>();
  for (const line of lines(read)) {
    const [offset = "", key = "", value = ""] = line.split("|");
    last.set(key, `${key} at ${offset}: ${value.slice(0, 3)}`);
  }
  return [...last.values()].sort();
};

const COMPACTING = { "log.cleaner.backoff.ms": "200", "log.cleaner.min.cleanable.ratio": "0.01" };

const compactedTopic = async (broker: Broker, topic: string): Promise<string> => {
  const wire = await Wire.open(broker);
  await createTopic(wire, topic, 1, { ...SMALL, "cleanup.policy": "compact" });
  // What the cleaner leaves is known only from the last segment but one on: a last round fills the active one.
  await putKeys(wire, topic, 12, 900);
  const before = await kcatReadAll(broker.address, topic, "%o|%k|%s\\n");
  await cleaned(broker, topic);
  wire.close();
  return before;
};

/** The topic's folder in another broker's place, under the id that broker gave the topic. */
const moveFolder = async (from: Broker, to: Broker, topic: string): Promise<void> => {
  await to.stop();
  const [source, target] = [join(from.dataDirectory, `${topic}-0`), join(to.dataDirectory, `${topic}-0`)];
  const id = decodePartitionMetadata(readFileSync(join(target, "partition.metadata")));
  assert(id !== undefined, "the id of the topic");
  rmSync(target, { recursive: true });
  cpSync(source, target, { recursive: true });
  // As we write it, whoever reads it: with a checksum.
  writeFileSync(join(target, "partition.metadata"), encodePartitionMetadata(id));
  cpSync(
    join(from.dataDirectory, "log-start-offset-checkpoint"),
    join(to.dataDirectory, "log-start-offset-checkpoint"),
  );
  // A log that is not the one the broker stopped with: it is recovered as after a crash.
  rmSync(join(to.dataDirectory, ".kafka_cleanshutdown"), { force: true });
  for (const name of ["recovery-point-offset-checkpoint", "replication-offset-checkpoint"]) {
    rmSync(join(to.dataDirectory, name), { force: true });
  }
  await to.start();
};

const readWhenThere = async (broker: Broker, topic: string, count: number): Promise<string> => {
  const wire = await Wire.open(broker);
  for (let attempt = 0; attempt < 300; attempt++) {
    const latest = await listOffsets(wire, topic, -1);
    if (numberAt(latest, "errorCode") === 0 && numberAt(latest, "offset") >= count) break;
    await sleep(100);
  }
  wire.close();
  return kcatReadAll(broker.address, topic, "%o|%k|%s\\n");
};

const deleteRecords = async (wire: Wire, topic: string, offset: number): Promise<Fields> =>
  wire.call("DeleteRecords", 2, {
    topics: [{ name: topic, partitions: [{ partitionIndex: 0, offset }] }],
    timeoutMs: 5000,
  });

const lowWatermark = (value: number, errorCode = 0) => ({
  topics: [{ partitions: [{ partitionIndex: 0, lowWatermark: value, errorCode }] }],
});

export const suite: Suite = {
  name: "log",
  tests: [
    {
      name: "#62 Kafka's dump-log accepts every file: plain, four codecs, idempotent; ours prints the same lines",
      own: true,
      timeoutMs: 180_000,
      async run(context: Context) {
        const broker = await context.ownBroker();
        const topic = context.topic();
        const count = await filled(broker, topic, context.directory);
        await broker.stop();
        const folder = `${topic}-0`;
        assert(filesOf(broker, folder, ".log").length > 3, "several segments");
        equal(await accepted(broker, folder), count, "records Kafka's tool saw");
        const files = filesOf(broker, folder, ".log", ".index", ".timeindex", ".snapshot");
        const [kafka, ours] = [await kafkaDump(files, "--print-data-log"), await ourDump(files, "--print-data-log")];
        equal(lines(ours.stdout), lines(kafka.stdout), "our dump-log beside Kafka's");
        equal((await ourDump(files, "--verify")).code, 0, "dump-log --verify");
      },
    },
    {
      name: "#62 compacted files are accepted, and hold the newest of each key where it was, over a restart too",
      own: true,
      timeoutMs: 180_000,
      async run(context: Context) {
        const broker = await context.ownBroker(COMPACTING);
        const topic = context.topic();
        const before = await compactedTopic(broker, topic);
        const after = await kcatReadAll(broker.address, topic, "%o|%k|%s\\n");
        // The cleaner may have begun before the first reading: the offsets say how many records there were.
        const produced = Number(lines(after).at(-1)?.split("|")[0]) + 1;
        assert(lines(after).length < produced, "compaction took something away");
        equal(newest(after), newest(before), "the newest of each key");
        await broker.stop();
        const folder = `${topic}-0`;
        equal(await accepted(broker, folder), lines(after).length, "records Kafka's tool saw");
        const files = filesOf(broker, folder, ".log", ".index", ".timeindex", ".snapshot");
        const [kafka, ours] = [await kafkaDump(files, "--print-data-log"), await ourDump(files, "--print-data-log")];
        equal(lines(ours.stdout), lines(kafka.stdout), "our dump-log beside Kafka's");
        await broker.start();
        equal(await readWhenThere(broker, topic, 96), after, "after a restart");
      },
    },
    {
      name: "dump-log of transactions' indexes, groups and transactional ids, decoded: line by line what Kafka's prints",
      own: true,
      timeoutMs: 180_000,
      async run(context: Context) {
        const broker = await context.ownBroker(INTERNAL);
        const wire = await Wire.open(broker);
        const topic = context.topic();
        const id = (name: string) => `${topic}-${name}`;
        await transacted(wire, topic, id);
        const described = await wire.call("DescribeTopicPartitions", 0, {
          topics: [{ name: topic }],
          responsePartitionLimit: 1,
          cursor: null,
        });
        await grouped(wire, topic, at(described, "topics.0.topicId") ?? null, id);
        wire.close();
        await broker.stop();
        const same = async (folder: string, suffix: string, ...options: string[]): Promise<string[]> => {
          const files = filesOf(broker, folder, suffix);
          assert(files.length > 0, `no ${suffix} in ${folder}`);
          const [kafka, ours] = [await kafkaDump(files, ...options), await ourDump(files, ...options)];
          // 64 bits, which ours does not compare with anything: it reads 53 of them and writes its own of as many.
          const hash = (line: string): string => line.replace(/"metadataHash":\d{16,}/, '"metadataHash":…');
          const [theirs, own] = [kafka, ours].map(({ stdout }) => lines(stdout).map(hash)) as [string[], string[]];
          for (const [index, line] of theirs.entries()) equal(own[index], line, `${folder} ${suffix}, line ${index}`);
          equal(own.length, theirs.length, `${folder} ${suffix}: lines`);
          return theirs;
        };
        const aborted = await same(`${topic}-0`, ".txnindex");
        assert(
          aborted.filter((line) => line.startsWith("version: 0 producerId: ")).length > 10,
          "aborted transactions",
        );
        const offsets = (await same("__consumer_offsets-0", ".log", "--offsets-decoder")).join("\n");
        for (const seen of ["<DELETE>", '"subscription":{', '"metadata":"told"', id("consumers"), id("other")]) {
          assert(offsets.includes(seen), `${seen} is in it`);
        }
        const states = (await same("__transaction_state-0", ".log", "--transaction-log-decoder")).join("\n");
        for (const seen of [
          '"transactionStatus":1',
          '"transactionStatus":3',
          '"transactionStatus":4',
          '"transactionTimeoutMs":12345',
        ]) {
          assert(states.includes(seen), `${seen} is in it`);
        }
      },
    },
    {
      name: "compression.type: whatever a producer sends is stored as the topic says, Kafka's dump-log sees it, clients read it",
      own: true,
      timeoutMs: 240_000,
      async run(context: Context) {
        const broker = await context.ownBroker();
        const wire = await Wire.open(broker);
        const [count, file] = [300, join(context.directory, "lines.txt")];
        const text = Array.from({ length: count }, (_, index) => `${index} ${"again and again ".repeat(index % 9)}`);
        writeFileSync(file, `${text.join("\n")}\n`);
        const folders: Array<readonly [topic: string, codec: string]> = [];
        for (const type of ["uncompressed", "gzip", "snappy", "lz4", "zstd"]) {
          const topic = context.topic(type);
          const codec = type === "uncompressed" ? "none" : type;
          const level = { gzip: "9", lz4: "12", zstd: "7" }[type];
          const levels = level === undefined ? {} : { [`compression.${type}.level`]: level };
          await createTopic(wire, topic, 1, { ...SMALL, "compression.type": type, ...levels });
          folders.push([topic, codec]);
          for (const sent of ["none", type === "zstd" ? "gzip" : "zstd"]) {
            const options = ["-P", "-t", topic, "-p", "0", "-z", sent, "-X", "batch.num.messages=20", "-l", file];
            equal((await kcatRun(broker.address, options)).code, 0, `kcat with ${sent} into ${type}`);
          }
          const twice = `${[...text, ...text].join("\n")}\n`;
          equal(await kcatReadAll(broker.address, topic), twice, `what kcat reads of ${type}`);
          equal(await kafkaConsoleConsumer(broker.address, topic, 2 * count), twice, `what Java reads of ${type}`);
        }
        wire.close();
        await broker.stop();
        for (const [topic, codec] of folders) {
          equal(await accepted(broker, `${topic}-0`), 2 * count, `records of ${topic} Kafka's tool saw`);
          const { stdout } = await kafkaDump(filesOf(broker, `${topic}-0`, ".log"));
          const found = new Set(lines(stdout).flatMap((line) => /compresscodec: (\w+)/.exec(line)?.[1] ?? []));
          equal([...found], [codec], `the codec of ${topic}'s batches`);
        }
      },
    },
    {
      name: "the metadata folder reads with --cluster-metadata-decoder, its snapshots too, and the log behind them",
      own: true,
      timeoutMs: 180_000,
      async run(context: Context) {
        const broker = await context.ownBroker({ "metadata.log.max.record.bytes.between.snapshots": "1" });
        const wire = await Wire.open(broker);
        const topics = Array.from({ length: 6 }, (_, index) => context.topic(`m${index}`));
        for (const topic of topics) await createTopic(wire, topic, 3, { "retention.ms": "12345" });
        const ours = context.kind !== "kafka";
        const isWhole = () =>
          filesOf(broker, "__cluster_metadata-0", ".log")[0]?.endsWith(`${"0".repeat(20)}.log`) === true;
        // While a snapshot is being written the log grows on without another: as many changes as it takes.
        for (let round = 0; ours && isWhole() && round < 200; round++) await createTopic(wire, context.topic("more"));
        wire.close();
        await broker.stop();
        const types = (text: string) => lines(text).flatMap((line) => /"type":"(\w+)"/.exec(line)?.[1] ?? []);
        const dumped = async (suffix: string): Promise<string> => {
          const files = filesOf(broker, "__cluster_metadata-0", suffix);
          assert(files.length > 0, `no ${suffix}`);
          const { stdout, stderr } = await kafkaDump(files, "--cluster-metadata-decoder");
          equal(complaints(stderr), [], `what Kafka says of ${suffix}`);
          assert(!/Error at|skipping/.test(stdout), `a record in ${suffix} that Kafka cannot read`);
          const again = await ourDump(files, "--cluster-metadata-decoder");
          equal(types(again.stdout), types(stdout), `ours beside Kafka's, ${suffix}`);
          return stdout;
        };
        const snapshots = await dumped(".checkpoint");
        assert(/^Snapshot end offset: \d+, epoch: \d+$/m.test(snapshots), "the snapshot's offset and epoch");
        for (const type of ["FEATURE_LEVEL_RECORD", "REGISTER_BROKER_RECORD", "TOPIC_RECORD", "CONFIG_RECORD"]) {
          assert(types(snapshots).includes(type), `no ${type}`);
        }
        await dumped(".log");
        assert(!ours || !isWhole(), "what the snapshots stand for is still in the log");
        await broker.start();
        for (const topic of topics) equal(await readWhenThere(broker, topic, 0), "", `${topic} is there, and empty`);
      },
    },
    {
      name: "a partition's folder opens in the other broker with every record, from where the log begins, and takes more",
      own: true,
      timeoutMs: 240_000,
      async run(context: Context) {
        const topic = context.topic();
        const here = await context.ownBroker();
        const other = await startBroker(
          context.kind === "kafka" ? "odradek" : "kafka",
          join(context.directory, "other"),
        );
        context.cleanup(() => other.stop());
        const count = await filled(here, topic, context.directory);
        const deleting = await Wire.open(here);
        const below = 7;
        matches(await deleteRecords(deleting, topic, below), lowWatermark(below), "DeleteRecords");
        deleting.close();
        const content = await kcatReadAll(here.address, topic, "%o|%k|%s\\n");
        equal(lines(content).length, count - below, "records before");
        const wire = await Wire.open(other);
        await createTopic(wire, topic, 1, SMALL);
        wire.close();
        await here.stop();
        await moveFolder(here, other, topic);
        equal(await readWhenThere(other, topic, count), content, "in the other broker");
        const more = await Wire.open(other);
        matches(await produce(more, topic, batch()), { errorCode: 0, baseOffset: count }, "one more there");
        more.close();
        // And back, with what was added.
        await other.stop();
        await here.start();
        await moveFolder(other, here, topic);
        const back = lines(await readWhenThere(here, topic, count + 1));
        equal(back.slice(0, -1), lines(content), "back again");
        equal(back.length, count - below + 1, "with what was added");
      },
    },
    {
      name: "retention.bytes and retention.ms take whole segments from the beginning; the end stays where it was",
      own: true,
      timeoutMs: 120_000,
      async run(context: Context) {
        const broker = await context.ownBroker({
          "log.retention.check.interval.ms": "200",
          "log.initial.task.delay.ms": "100",
        });
        const wire = await Wire.open(broker);
        const waited = async (topic: string, done: (start: number) => boolean): Promise<number> => {
          for (let attempt = 0; attempt < 300; attempt++) {
            const start = numberAt(await listOffsets(wire, topic, -2), "offset");
            if (done(start)) return start;
            await sleep(100);
          }
          throw new Error(`${topic}: retention took nothing`);
        };
        const [bySize, byTime] = [context.topic("size"), context.topic("time")];
        await createTopic(wire, bySize, 1, { ...SMALL, "retention.bytes": "30000" });
        await createTopic(wire, byTime, 1, { ...SMALL, "retention.ms": "1000" });
        for (const topic of [bySize, byTime]) await putKeys(wire, topic, 12, 900);
        const start = await waited(bySize, (at) => at > 0);
        assert(start % 8 === 0 && start < 96, `a segment's beginning, not ${start}`);
        // All of it expires: the active segment goes as well.
        equal(await waited(byTime, (at) => at === 96), 96, "everything expired");
        for (const topic of [bySize, byTime]) equal(numberAt(await listOffsets(wire, topic, -1), "offset"), 96, "end");
        matches(await produce(wire, byTime, batch()), { errorCode: 0, baseOffset: 96 }, "the next record");
        wire.close();
      },
    },
    {
      name: "§6 DeleteRecords: below the start, in the log, past the end, -1, -2, unknown, a compacted topic",
      async run(context: Context) {
        const { wire, name } = await createdTopic(context);
        for (let index = 0; index < 5; index++) await produce(wire, name, batch());
        matches(await deleteRecords(wire, name, 3), lowWatermark(3), "in the log");
        matches(await deleteRecords(wire, name, 1), lowWatermark(3), "below the start");
        matches(await deleteRecords(wire, name, 9), lowWatermark(-1, 1), "past the end");
        matches(await deleteRecords(wire, name, -2), lowWatermark(-1, 1), "-2");
        matches(await deleteRecords(wire, name, -1), lowWatermark(5), "everything");
        equal(numberAt(await listOffsets(wire, name, -2), "offset"), 5, "earliest");
        matches(await deleteRecords(wire, context.topic("no"), 0), lowWatermark(-1, 3), "unknown");
        const compacted = context.topic("compacted");
        await createTopic(wire, compacted, 1, { "cleanup.policy": "compact" });
        matches(await deleteRecords(wire, compacted, -1), lowWatermark(-1, 44), "compacted");
        wire.close();
      },
    },
    {
      name: "#59 DescribeLogDirs in every version: null is all, what is not there is left out",
      async run(context: Context) {
        const { wire, name } = await createdTopic(context, 2);
        await produce(wire, name, batch());
        for (const version of [1, 2, 3, 4, 5]) {
          const answer = await wire.call("DescribeLogDirs", version, {
            topics: [{ topic: name, partitions: [0, 1, 7] }],
          });
          matches(answer, { results: [{ errorCode: 0, topics: [{ name }] }] }, `version ${version}`);
        }
        const all = await wire.call("DescribeLogDirs", 4, { topics: null });
        assert(JSON.stringify(all).includes(name), "null topics are all topics");
        wire.close();
      },
    },
    {
      name: "§6 AlterConfigs and IncrementalAlterConfigs: values, refusals and their words; the change is seen",
      async run(context: Context) {
        const { wire, name } = await createdTopic(context);
        const alter = (type: number, resource: string, config: string, operation: number, value: string | null) =>
          wire.call("IncrementalAlterConfigs", 1, {
            resources: [
              {
                resourceType: type,
                resourceName: resource,
                configs: [{ name: config, configOperation: operation, value }],
              },
            ],
            validateOnly: false,
          });
        const answer = (errorCode: number, errorMessage: string | null) => ({
          responses: [{ errorCode, errorMessage }],
        });
        const cases: ReadonlyArray<[Parameters<typeof alter>, number, string | null]> = [
          [[2, name, "retention.ms", 0, "1234"], 0, null],
          [[2, name, "cleanup.policy", 2, "compact"], 0, null],
          [[2, "no-such-topic", "retention.ms", 0, "1"], 3, "The topic 'no-such-topic' does not exist."],
          [[2, name, "nope", 0, "x"], 40, "Unknown topic config name: nope"],
          [[2, name, "retention.ms", 2, "5"], 40, "Can't APPEND to key retention.ms because its type is not LIST."],
          [[2, name, "retention.ms", 0, null], 42, "Null value not supported for : retention.ms"],
          [[4, "1", "node.id", 0, "9"], 42, "Cannot update these configs dynamically: [node.id]"],
          [[4, "9", "log.retention.ms", 0, "9"], 42, "Unexpected broker id, expected 1, but received 9"],
          [[0, "x", "a", 0, "1"], 42, "Unknown resource type 0"],
        ];
        for (const [change, code, message] of cases) {
          matches(await alter(...change), answer(code, message), JSON.stringify(change));
        }
        const described = await wire.call("DescribeConfigs", 4, {
          resources: [{ resourceType: 2, resourceName: name, configurationKeys: ["retention.ms", "cleanup.policy"] }],
        });
        const text = JSON.stringify(described);
        assert(text.includes('"1234"') && text.includes('"delete,compact"'), `what is described: ${text}`);
        const replaced = await wire.call("AlterConfigs", 2, {
          resources: [{ resourceType: 2, resourceName: name, configs: [{ name: "segment.ms", value: "6000" }] }],
          validateOnly: false,
        });
        matches(replaced, answer(0, null), "AlterConfigs");
        const after = await wire.call("DescribeConfigs", 4, {
          resources: [{ resourceType: 2, resourceName: name, configurationKeys: ["retention.ms"] }],
        });
        assert(!JSON.stringify(after).includes('"1234"'), "AlterConfigs takes away what it does not name");
        wire.close();
      },
    },
    {
      name: "ListConfigResources: topics and brokers by type; an unknown type is refused",
      async run(context: Context) {
        const { wire, name } = await createdTopic(context);
        const list = (types: number[]) => wire.call("ListConfigResources", 1, { resourceTypes: types });
        assert(JSON.stringify(await list([2])).includes(name), "the topic");
        matches(
          await list([4]),
          { errorCode: 0, configResources: [{ resourceType: 4, resourceName: "1" }] },
          "brokers",
        );
        matches(await list([99]), { errorCode: 35, configResources: [] }, "type 99");
        wire.close();
      },
    },
  ],
};
