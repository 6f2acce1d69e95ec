/**
 * The side files of a whole data directory are caches: whichever one of them is gone, cut or flipped, after an orderly
 * stop and after kill -9, the next broker answers what the one before would have (correctness.md 3.2).
 */
import { describe, expect, test } from "bun:test";
import { SeededRandom } from "../../actors/simulation/SeededRandom.ts";
import type { SimulatedDisk } from "../../actors/simulation/SimulatedDisk.ts";
import { EARLIEST, type KafkaClient, LATEST, MAX_TIMESTAMP } from "../../actors/testing/KafkaClient.ts";
import {
  CLEAN_SHUTDOWN_FILE,
  CLEANER_OFFSET_FILE,
  HIGH_WATERMARK_FILE,
  LEADER_EPOCH_FILE,
  LOG_START_OFFSET_COPY_FILE,
  LOG_START_OFFSET_FILE,
  PARTITION_METADATA_FILE,
  RECOVERY_POINT_FILE,
  SCRUB_FILE,
} from "../../src/log/Checkpoints.ts";
import type { Disk } from "../../src/platform/Disk.ts";
import { ApiKey } from "../../src/protocol/ApiKeys.ts";
import { buildBatch } from "../../src/record/RecordBatchBuilder.ts";
import { append, MINUTE, onDisk, SMALL, type World, withOneBroker } from "../support/OneBroker.ts";

/** Indexes and snapshots are in test/log/SideFiles.test.ts; these are what is kept beside them. */
const SIDE_FILES =
  /\/(t-0|compacted-0|__cluster_metadata-0)\/(partition\.metadata|leader-epoch-checkpoint)$|^\/data\/[^/]*checkpoint[^/]*$|cleanshutdown$/;

/** Their names, in order. */
const FILES = [
  CLEAN_SHUTDOWN_FILE,
  CLEANER_OFFSET_FILE,
  LEADER_EPOCH_FILE,
  LOG_START_OFFSET_FILE,
  LOG_START_OFFSET_COPY_FILE,
  PARTITION_METADATA_FILE,
  RECOVERY_POINT_FILE,
  HIGH_WATERMARK_FILE,
  SCRUB_FILE,
];

/** A few internal partitions are as good as fifty. */
const SETTINGS = { "offsets.topic.num.partitions": "1", "transaction.state.log.num.partitions": "1" };
const TOPICS = ["t", "compacted"];
const SENT = 14;

/** Two reigns, aborted and committed transactions, records deleted inside a segment, a compacted and cleaned topic. */
const fill = async (first: World): Promise<{ world: World; producerId: number }> => {
  const { client } = first;
  await client.createTopic("t", { configs: { ...SMALL, "index.interval.bytes": "1" } });
  const compaction = { "cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.01" };
  await client.createTopic("compacted", { configs: { ...SMALL, ...compaction } });
  const once = async ({ client, process }: World, round: number): Promise<void> => {
    const transactional = client.producer({ transactionalId: `x${round}` });
    await transactional.init();
    for (const end of ["abort", "commit", "abort"] as const) {
      transactional.begin();
      await transactional.send("t", 0, [{ key: null, value: Buffer.from(end), timestamp: process.clock.wall() }]);
      await transactional[end]();
    }
    const producer = client.producer();
    for (let index = 0; index < 9; index++) {
      const value = Buffer.from(`${round} ${index}`.padEnd(400));
      await producer.send("compacted", 0, [{ key: Buffer.from(`k${index % 3}`), value, timestamp: 1000 + index }]);
    }
  };
  await once(first, 0);
  await append(first, 3);
  const second = await first.restart("kill");
  await once(second, 1);
  const producer = second.client.producer();
  for (let index = 0; index < SENT; index++) {
    const value = Buffer.from(`own ${index}`.padEnd(300));
    await producer.send("t", 0, [{ key: null, value, timestamp: second.process.clock.wall() }]);
  }
  // Of two records in the middle of a segment, and of all before them.
  const { offset: latest } = await second.client.listOffset("t", 0, LATEST);
  await second.client.admin.deleteRecords("t", 0, latest - SENT + 1);
  await second.client.sleep(3 * MINUTE);
  return { world: second, producerId: producer.producerId };
};

const textOf = (bytes: Uint8Array | null): string | null =>
  bytes === null ? null : Buffer.from(bytes).toString().trim();

/** Everything a client can ask that was true before. */
const answers = async (client: KafkaClient, producerId: number): Promise<unknown> => {
  const found = [];
  for (const topic of TOPICS) {
    const { id } = await client.topic(topic);
    const at = [];
    for (const isolation of ["read_uncommitted", "read_committed"] as const) {
      for (const time of [EARLIEST, LATEST, MAX_TIMESTAMP, 1004]) {
        at.push((await client.listOffset(topic, 0, time, isolation)).offset);
      }
      const records = await client.readAll(topic, 0, { isolation });
      at.push(records.map(({ offset, timestamp, key, value }) => [offset, timestamp, textOf(key), textOf(value)]));
    }
    const epochs = [];
    for (const epoch of [0, 1]) epochs.push(await client.endOfEpoch(topic, 0, -1, epoch));
    found.push({ topic, id, at, epochs });
  }
  // What is sent again is known, the whole window of it, and what was never sent is not.
  const again = [];
  for (const sequence of [SENT - 5, SENT - 4, SENT - 3, SENT - 2, SENT - 1, SENT + 7]) {
    const records = buildBatch([{ key: null, value: null }], { producerId, producerEpoch: 0, baseSequence: sequence });
    const topicData = [{ name: "t", topicId: (await client.topic("t")).id, partitionData: [{ index: 0, records }] }];
    const answer = await client.request("any", ApiKey.Produce, {
      transactionalId: null,
      acks: -1,
      timeoutMs: 1000,
      topicData,
    });
    const { errorCode, baseOffset } = answer.responses[0]!.partitionResponses[0]!;
    again.push([errorCode, baseOffset]);
  }
  return { found, again };
};

type Damage = "gone" | "cut" | "flipped";

const damage = (disk: Disk, path: string, kind: Damage, random: SeededRandom): string => {
  if (kind === "gone") {
    disk.remove(path);
    return `${path} gone`;
  }
  const file = disk.open(path, "write");
  const place = random.below(Math.max(1, file.size()));
  if (kind === "cut") file.truncate(place);
  else if (file.size() > 0) {
    const byte = disk.readFile(path)![place]!;
    void file.write([Uint8Array.of(byte ^ (1 << random.below(8)))], place);
  }
  file.close();
  return `${path} ${kind} at ${place}`;
};

describe("one side file of a data directory is damaged", () => {
  for (const end of ["stop", "kill"] as const) {
    const after = end === "stop" ? "an orderly stop" : "kill -9";
    test(`after ${after}: the same records, offsets, epochs, producers and topic ids`, () => {
      let left: { readonly disk: SimulatedDisk; readonly producerId: number } | undefined;
      withOneBroker(
        async (first) => {
          const { world, producerId } = await fill(first);
          if (end === "stop") await world.process.runPromise(world.broker.stop);
          left = { disk: world.disk.image("kept", new SeededRandom(1)), producerId };
        },
        { settings: SETTINGS },
      );
      const { disk, producerId } = left!;
      const answered = (spoil: (disk: Disk) => void): unknown => {
        let found: unknown;
        onDisk(
          disk.image("kept", new SeededRandom(2)),
          spoil,
          async ({ client, logged }) => {
            found = await answers(client, producerId).catch((error: unknown) => [String(error), ...logged]);
          },
          SETTINGS,
        );
        return found;
      };
      const whole = answered(() => {});
      expect(JSON.stringify(whole)).toContain("own 13");
      expect(JSON.stringify(whole)).not.toContain("own 0");
      const random = new SeededRandom(3);
      const wrong: string[] = [];
      const damaged = new Set<string>();
      for (const path of disk.files().keys()) {
        if (!SIDE_FILES.test(path)) continue;
        damaged.add(path.slice(path.lastIndexOf("/") + 1));
        for (const kind of ["gone", "cut", "flipped"] as const) {
          let what = "";
          const found = answered((spoiled) => {
            what = damage(spoiled, path, kind, random);
          });
          if (!Bun.deepEquals(found, whole)) wrong.push(what);
        }
      }
      expect(wrong).toEqual([]);
      expect([...damaged].sort()).toEqual(FILES.filter((name) => end === "stop" || name !== CLEAN_SHUTDOWN_FILE));
    });
  }
});
