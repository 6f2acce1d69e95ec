/**
 * CreateTopics, DeleteTopics, CreatePartitions: behaviours #46 and #58 and their §6 rows.
 */
import { batch, storedBatches } from "../support/Batch.ts";
import type { Fields } from "../support/Definitions.ts";
import { sleep } from "../support/Process.ts";
import {
  connected,
  createdTopic,
  createTopic,
  fetchRecords,
  listOffsets,
  listOffsetsBody,
  produce,
} from "../support/Requests.ts";
import { assert, equal, type Suite } from "../support/Suite.ts";
import { at, type Expected, like, listAt, matches, numberAt, textAt } from "../support/Tree.ts";
import type { Wire } from "../support/Wire.ts";

const zeroId = "AAAAAAAAAAAAAAAAAAAAAA";

const create = (wire: Wire, topics: readonly Fields[], more: Fields = {}, version = 7) =>
  wire.call("CreateTopics", version, {
    topics: topics.map((each) => ({ numPartitions: 1, replicationFactor: 1, ...each })),
    timeoutMs: 10_000,
    ...more,
  });

const refused = (errorCode: number, errorMessage?: Expected): Expected => ({
  topics: [
    {
      errorCode,
      topicId: zeroId,
      numPartitions: -1,
      replicationFactor: -1,
      configs: [],
      ...(errorMessage === undefined ? {} : { errorMessage }),
    },
  ],
});

const deleteNames = (wire: Wire, ...names: string[]) =>
  wire.call("DeleteTopics", 6, { topics: names.map((name) => ({ name })), timeoutMs: 10_000 });

const addPartitions = (wire: Wire, topics: readonly Fields[], more: Fields = {}, version = 3) =>
  wire.call("CreatePartitions", version, { topics, timeoutMs: 10_000, validateOnly: false, ...more });

const codes = (answer: Fields, list: string): Map<string, number> =>
  new Map(listAt(answer, list).map((each) => [textAt(each, "name"), numberAt(each, "errorCode")]));

export const suite: Suite = {
  name: "topics",
  tests: [
    {
      name: "#58 versions 2-7: -1 partitions and RF take the broker's defaults; v5+ tells counts and configs, v7 the id",
      async run(context) {
        const wire = await connected(context);
        for (let version = 2; version <= 7; version++) {
          const name = context.topic();
          const answer = await create(wire, [{ name, numPartitions: -1, replicationFactor: -1 }], {}, version);
          matches(answer, { topics: [{ name, errorCode: 0, errorMessage: null }] }, `v${version}`);
          if (version >= 5) {
            matches(answer, { topics: [{ numPartitions: 1, replicationFactor: 1 }] }, `v${version}`);
            const configs = listAt(answer, "topics.0.configs");
            equal(configs.length, 33, "configs");
            matches(
              configs.find((each) => at(each, "name") === "retention.ms"),
              { value: "604800000", readOnly: false, configSource: 5, isSensitive: false },
              "retention.ms",
            );
          }
          if (version >= 7) assert(textAt(answer, "topics.0.topicId") !== zeroId, "an id");
        }
      },
    },
    {
      name: "#58 configs given at creation are told back with source 1",
      async run(context) {
        const wire = await connected(context);
        const answer = await create(wire, [
          { name: context.topic(), configs: [{ name: "retention.ms", value: "1000" }] },
        ]);
        const retention = listAt(answer, "topics.0.configs").find((each) => at(each, "name") === "retention.ms");
        matches(retention, { value: "1000", configSource: 1 }, "retention.ms");
      },
    },
    {
      name: "#58 validate_only makes nothing but answers as if",
      async run(context) {
        const wire = await connected(context);
        const name = context.topic();
        const answer = await create(wire, [{ name, numPartitions: 3 }], { validateOnly: true });
        matches(answer, { topics: [{ errorCode: 0, numPartitions: 3, replicationFactor: 1 }] }, "answer");
        const metadata = await wire.call("Metadata", 9, { topics: [{ name }], allowAutoTopicCreation: false });
        matches(metadata, { topics: [{ errorCode: 3 }] }, "not created");
      },
    },
    {
      name: "#58 manual assignments count the partitions",
      async run(context) {
        const wire = await connected(context);
        const node = numberAt(await wire.call("Metadata", 9, { topics: [] }), "brokers.0.nodeId");
        const assignments = [0, 1, 2].map((partitionIndex) => ({ partitionIndex, brokerIds: [node] }));
        const answer = await create(wire, [
          { name: context.topic(), numPartitions: -1, replicationFactor: -1, assignments },
        ]);
        matches(answer, { topics: [{ errorCode: 0, numPartitions: 3, replicationFactor: 1 }] }, "answer");
      },
    },
    {
      name: "§6 CreateTopics of an existing name is 36",
      async run(context) {
        const { wire, name } = await createdTopic(context);
        matches(await create(wire, [{ name }]), refused(36, `Topic '${name}' already exists.`), "answer");
      },
    },
    {
      name: "§6 CreateTopics with a bad name, or one that collides, is 17",
      async run(context) {
        const wire = await connected(context);
        for (const name of ["", ".", "..", "a b", "a/b", "ü", "x".repeat(250)]) {
          matches(await create(wire, [{ name }]), refused(17, like(/^Topic name is invalid: /)), JSON.stringify(name));
        }
        const base = context.topic();
        await createTopic(wire, `${base}.a.b`);
        matches(
          await create(wire, [{ name: `${base}.a_b` }]),
          refused(17, `Topic '${base}.a_b' collides with existing topic: ${base}.a.b`),
          "collision",
        );
      },
    },
    {
      name: "#46 the same name twice is 42 once and not created, the others are",
      async run(context) {
        const wire = await connected(context);
        const [twice, once] = [context.topic(), context.topic()];
        const answer = await create(wire, [{ name: twice }, { name: once }, { name: twice }]);
        equal(
          codes(answer, "topics"),
          new Map(
            [
              [twice, 42],
              [once, 0],
            ].sort() as [string, number][],
          ),
          "codes",
        );
        const row = listAt(answer, "topics").find((each) => at(each, "name") === twice);
        matches(row, { errorMessage: "Duplicate topic name." }, "message");
      },
    },
    {
      name: "§6 CreateTopics: RF 3, 0, -2 are 38; partitions 0, -2 are 37; a million partitions are refused",
      async run(context) {
        const wire = await connected(context);
        for (const replicationFactor of [3, 0, -2])
          matches(
            await create(wire, [{ name: context.topic(), replicationFactor }]),
            refused(38),
            `RF ${replicationFactor}`,
          );
        for (const numPartitions of [0, -2])
          matches(
            await create(wire, [{ name: context.topic(), numPartitions }]),
            refused(37),
            `${numPartitions} partitions`,
          );
        matches(await create(wire, [{ name: context.topic(), numPartitions: 1_000_000 }]), refused(44), "a million");
      },
    },
    {
      name: "§6 CreateTopics: assignment with counts 42; unknown broker, broker twice, gap, empty 39",
      async run(context) {
        const wire = await connected(context);
        const node = numberAt(await wire.call("Metadata", 9, { topics: [] }), "brokers.0.nodeId");
        const assigned = (
          assignments: readonly Fields[],
          more: Fields = { numPartitions: -1, replicationFactor: -1 },
        ) => create(wire, [{ name: context.topic(), assignments, ...more }]);
        matches(
          await assigned([{ partitionIndex: 0, brokerIds: [node] }], { numPartitions: 1, replicationFactor: 1 }),
          refused(42),
          "with counts",
        );
        matches(await assigned([{ partitionIndex: 0, brokerIds: [99] }]), refused(39), "unknown broker");
        matches(await assigned([{ partitionIndex: 0, brokerIds: [node, node] }]), refused(39), "twice");
        matches(await assigned([{ partitionIndex: 1, brokerIds: [node] }]), refused(39), "gap");
        matches(await assigned([{ partitionIndex: 0, brokerIds: [] }]), refused(39), "empty");
      },
    },
    {
      name: "§6 CreateTopics: a config unknown, not a number, or null is 40",
      async run(context) {
        const wire = await connected(context);
        const configured = (name: string, value: string | null) =>
          create(wire, [{ name: context.topic(), configs: [{ name, value }] }]);
        matches(await configured("no.such.key", "1"), refused(40, "Unknown topic config name: no.such.key"), "unknown");
        matches(
          await configured("retention.ms", "abc"),
          refused(40, "Invalid value abc for configuration retention.ms: Not a number of type LONG"),
          "not a number",
        );
        matches(await configured("retention.ms", null), refused(40), "null");
        matches(await configured("cleanup.policy", "burn"), refused(40), "not one of");
        matches(await configured("segment.bytes", "-5"), refused(40), "out of range");
      },
    },
    {
      name: "§6 CreateTopics of __cluster_metadata is 42; timeout 0 is 7 and not created",
      async run(context) {
        const wire = await connected(context);
        matches(await create(wire, [{ name: "__cluster_metadata" }]), refused(42), "__cluster_metadata");
        const name = context.topic();
        matches(await create(wire, [{ name }], { timeoutMs: 0 }), refused(7), "timeout 0");
        matches(
          await wire.call("Metadata", 9, { topics: [{ name }], allowAutoTopicCreation: false }),
          { topics: [{ errorCode: 3 }] },
          "not created",
        );
      },
    },
    {
      name: "§6 DeleteTopics: unknown name 3, id 100, zero id 42, name and id 42, twice one 42",
      async run(context) {
        const { wire, name, id } = await createdTopic(context);
        const ask = (topics: readonly Fields[]) => wire.call("DeleteTopics", 6, { topics, timeoutMs: 10_000 });
        matches(await ask([{ name: "nope-nope" }]), { responses: [{ errorCode: 3, name: "nope-nope" }] }, "name");
        const unknown = Buffer.from("0123456789ab4def8123456789abcdef", "hex").toString("base64url");
        matches(
          await ask([{ name: null, topicId: unknown }]),
          { responses: [{ errorCode: 100, topicId: unknown }] },
          "id",
        );
        matches(await ask([{ name: null, topicId: zeroId }]), { responses: [{ errorCode: 42 }] }, "zero id");
        matches(await ask([{ name, topicId: id }]), { responses: [{ errorCode: 42 }] }, "both");
        matches(await ask([{ name }, { name }]), { responses: [{ errorCode: 42 }] }, "twice");
        matches(await listOffsets(wire, name, -1), { errorCode: 0 }, "the topic is still there");
      },
    },
    {
      name: "DeleteTopics v1-6 delete; the name is usable again at once and empty",
      async run(context) {
        const wire = await connected(context);
        for (let version = 1; version <= 6; version++) {
          const name = context.topic();
          const { id } = await createTopic(wire, name, 2);
          matches(await produce(wire, name, batch(), { partition: 1 }), { errorCode: 0 }, "produce");
          const answer = await wire.call("DeleteTopics", version, {
            ...(version >= 6 ? { topics: [{ name: null, topicId: id }] } : { topicNames: [name] }),
            timeoutMs: 10_000,
          });
          matches(answer, { responses: [{ errorCode: 0, name }] }, `v${version}`);
          const again = await createTopic(wire, name, 2);
          assert(again.id !== id, "another id");
          const end = await wire.call("ListOffsets", 7, listOffsetsBody(name, 1, -1));
          matches(end, { topics: [{ partitions: [{ errorCode: 0, offset: 0 }] }] }, "empty");
          await produce(wire, name, batch(), { partition: 1 });
          equal(storedBatches(await fetchRecords(wire, name, 0, { partition: 1 })).length, 1, "only the new record");
          await deleteNames(wire, name);
        }
      },
    },
    {
      name: "#46 CreatePartitions answers every topic; names given twice collapse into one 42",
      async run(context) {
        const { wire, name } = await createdTopic(context);
        const second = await createTopic(wire, context.topic());
        const answer = await addPartitions(wire, [
          { name, count: 3, assignments: null },
          { name: second.name, count: 1, assignments: null },
          { name: "nope-nope", count: 2, assignments: null },
        ]);
        equal(
          new Map([...codes(answer, "results")].sort()),
          new Map(
            [
              [name, 0],
              [second.name, 37],
              ["nope-nope", 3],
            ].sort() as [string, number][],
          ),
          "codes",
        );
        const twice = await addPartitions(wire, [
          { name, count: 4, assignments: null },
          { name, count: 5, assignments: null },
        ]);
        matches(twice, { results: [{ name, errorCode: 42 }] }, "twice");
      },
    },
    {
      name: "§6 CreatePartitions: same count and fewer 37, wrong number of assignments 39, validate_only changes nothing",
      async run(context) {
        const { wire, name } = await createdTopic(context, 2);
        const node = numberAt(await wire.call("Metadata", 9, { topics: [] }), "brokers.0.nodeId");
        for (const count of [2, 1, 0])
          matches(
            await addPartitions(wire, [{ name, count, assignments: null }]),
            { results: [{ errorCode: 37 }] },
            `${count}`,
          );
        matches(
          await addPartitions(wire, [{ name, count: 4, assignments: [{ brokerIds: [node] }] }]),
          { results: [{ errorCode: 39 }] },
          "assignments",
        );
        matches(
          await addPartitions(wire, [{ name, count: 5, assignments: null }], { validateOnly: true }),
          { results: [{ errorCode: 0 }] },
          "validate only",
        );
        equal(
          listAt(await wire.call("Metadata", 9, { topics: [{ name }] }), "topics.0.partitions").length,
          2,
          "partitions",
        );
      },
    },
    {
      name: "CreatePartitions v0-3: old records stay, the new partitions take records",
      async run(context) {
        const { wire, name } = await createdTopic(context);
        await produce(wire, name, batch());
        for (let version = 0; version <= 3; version++) {
          const count = version + 2;
          matches(
            await addPartitions(wire, [{ name, count, assignments: null }], {}, version),
            { results: [{ name, errorCode: 0 }] },
            `v${version}`,
          );
          let code = -1;
          for (let attempt = 0; attempt < 100 && code !== 0; attempt++) {
            code = numberAt(await produce(wire, name, batch(), { partition: count - 1 }), "errorCode");
            if (code !== 0) await sleep(20);
          }
          equal(code, 0, `produce to partition ${count - 1}`);
        }
        matches(await listOffsets(wire, name, -1), { offset: 1 }, "partition 0");
      },
    },
    {
      name: "one hundred partitions are created, written and read",
      async run(context) {
        const { wire, name } = await createdTopic(context, 100);
        const partitionData = Array.from({ length: 100 }, (_, index) => ({ index, records: batch() }));
        const sent = await wire.send("Produce", 9, {
          acks: -1,
          timeoutMs: 30_000,
          topicData: [{ name, partitionData }],
        });
        const answer = await wire.receive(sent, 35_000);
        const answers = listAt(answer, "responses.0.partitionResponses");
        equal([answers.length, answers.filter((each) => at(each, "errorCode") === 0).length], [100, 100], "answers");
        const partitions = Array.from({ length: 100 }, (_, partition) => ({
          partition,
          fetchOffset: 0,
          partitionMaxBytes: 1 << 20,
        }));
        const read = await wire.call("Fetch", 11, {
          replicaId: -1,
          maxWaitMs: 500,
          minBytes: 1,
          maxBytes: 50 << 20,
          sessionEpoch: -1,
          topics: [{ topic: name, partitions }],
        });
        equal(
          listAt(read, "responses.0.partitions").filter((each) => at(each, "highWatermark") === 1).length,
          100,
          "high watermarks",
        );
      },
    },
  ],
};
