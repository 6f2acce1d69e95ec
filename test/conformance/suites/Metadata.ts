/**
 * Metadata, DescribeCluster, DescribeTopicPartitions: behaviours #13 to #19 and the "Metadata" rows of §6.
 */

import { batch } from "../support/Batch.ts";
import { deviations, expectedOf } from "../support/Deviations.ts";
import { sleep } from "../support/Process.ts";
import { connected, createdTopic, createTopic, fetchOne, produce } from "../support/Requests.ts";
import { assert, equal, type Suite } from "../support/Suite.ts";
import { at, like, listAt, matches, numberAt, textAt } from "../support/Tree.ts";
import type { Wire } from "../support/Wire.ts";

const zeroId = "AAAAAAAAAAAAAAAAAAAAAA";
const badNames = ["", ".", "..", "a b", "a/b", "a:b", "ü", "x".repeat(250)];

const named = (...names: string[]) => ({ topics: names.map((name) => ({ name })), allowAutoTopicCreation: false });

const uuidV4 = (id: string): boolean => {
  const hex = Buffer.from(id, "base64url").toString("hex");
  return hex.length === 32 && hex[12] === "4" && "89ab".includes(hex[16] ?? "");
};

export const suite: Suite = {
  name: "metadata",
  tests: [
    {
      name: "#13 v0: an empty array is all topics; v1+: null is all, empty is none",
      async run(context) {
        const { wire, name } = await createdTopic(context);
        const has = (answer: Awaited<ReturnType<Wire["call"]>>) =>
          listAt(answer, "topics").some((each) => at(each, "name") === name);
        assert(has(await wire.call("Metadata", 0, { topics: [] })), "v0 empty");
        for (const version of [1, 4, 8, 9, 12, 13]) {
          assert(has(await wire.call("Metadata", version, { topics: null })), `v${version} null`);
          matches(await wire.call("Metadata", version, { topics: [] }), { topics: [] }, `v${version} empty`);
        }
      },
    },
    {
      name: "#13 v0 with a null array closes the connection",
      async run(context) {
        const wire = await connected(context);
        await wire.send("Metadata", 0, { topics: null });
        await wire.expectClosed("null at v0");
      },
    },
    {
      name: "#13 repeated names are answered once",
      async run(context) {
        const { wire, name } = await createdTopic(context);
        const answer = await wire.call("Metadata", 12, named(name, name, "nope-nope", name, "nope-nope"));
        equal(
          listAt(answer, "topics")
            .map((each) => at(each, "name"))
            .sort(),
          [name, "nope-nope"].sort(),
          "names",
        );
      },
    },
    {
      name: "#14 an unknown name without auto-creation is 3 with a zero id and no partitions",
      async run(context) {
        const wire = await connected(context);
        const name = context.topic();
        for (const version of [4, 9, 12, 13]) {
          matches(
            await wire.call("Metadata", version, named(name)),
            {
              topics: [
                {
                  errorCode: 3,
                  name,
                  isInternal: false,
                  partitions: [],
                  ...(version >= 10 ? { topicId: zeroId } : {}),
                },
              ],
            },
            `v${version}`,
          );
        }
      },
    },
    {
      name: "#14 a request that allows it creates the topic",
      async run(context) {
        const wire = await connected(context);
        for (const version of [1, 4, 12]) {
          const name = context.topic();
          const body = { topics: [{ name }], ...(version >= 4 ? { allowAutoTopicCreation: true } : {}) };
          const first = await wire.call("Metadata", version, body);
          matches(
            first,
            { topics: [{ errorCode: expectedOf(context.kind, deviations.autoCreate), name }] },
            `first answer v${version}`,
          );
          let code = -1;
          for (let attempt = 0; attempt < 100 && code !== 0; attempt++) {
            code = numberAt(await wire.call("Metadata", version, body), "topics.0.errorCode");
            if (code !== 0) await sleep(20);
          }
          equal(code, 0, "soon after");
        }
      },
    },
    {
      name: "#14 bad names are 17 with the name echoed, with or without auto-creation; 249 characters are fine",
      async run(context) {
        const wire = await connected(context);
        for (const name of badNames) {
          for (const allow of [true, false]) {
            const answer = await wire.call("Metadata", 12, { topics: [{ name }], allowAutoTopicCreation: allow });
            matches(
              answer,
              { topics: [{ errorCode: 17, name, topicId: zeroId, partitions: [] }] },
              `${JSON.stringify(name)} ${allow}`,
            );
          }
        }
        matches(
          await wire.call("Metadata", 12, named("y".repeat(249))),
          { topics: [{ errorCode: 3 }] },
          "249 characters",
        );
      },
    },
    {
      name: "#14 a name that collides with an existing one stays unknown",
      async run(context) {
        const { wire, name } = await createdTopic(context);
        const dotted = `${name}.a_b`;
        await createTopic(wire, dotted);
        const collision = `${name}.a.b`;
        for (let attempt = 0; attempt < 3; attempt++) {
          const answer = await wire.call("Metadata", 12, {
            topics: [{ name: collision }],
            allowAutoTopicCreation: true,
          });
          matches(answer, { topics: [{ errorCode: 3, name: collision }] }, "collision");
          await sleep(50);
        }
      },
    },
    {
      name: "#15 the controller is one of the brokers",
      async run(context) {
        const wire = await connected(context);
        for (const version of [1, 7, 12, 13]) {
          const answer = await wire.call("Metadata", version, { topics: [] });
          const ids = listAt(answer, "brokers").map((each) => numberAt(each, "nodeId"));
          assert(ids.includes(numberAt(answer, "controllerId")), `v${version}`);
        }
      },
    },
    {
      name: "#16 the cluster id is not null and the same everywhere",
      async run(context) {
        const wire = await connected(context);
        const id = textAt(await wire.call("Metadata", 2, { topics: [] }), "clusterId");
        assert(/^[\w-]{22}$/.test(id), id);
        equal(textAt(await wire.call("Metadata", 13, { topics: [] }), "clusterId"), id, "v13");
        equal(textAt(await wire.call("DescribeCluster", 0), "clusterId"), id, "DescribeCluster");
      },
    },
    {
      name: "#17 a leader epoch is told and the same in Metadata, ListOffsets and DescribeTopicPartitions",
      async run(context) {
        const { wire, name } = await createdTopic(context);
        const epoch = numberAt(await wire.call("Metadata", 7, named(name)), "topics.0.partitions.0.leaderEpoch");
        assert(epoch >= 0, `epoch ${epoch}`);
        const offsets = await wire.call("ListOffsets", 4, {
          replicaId: -1,
          topics: [{ name, partitions: [{ partitionIndex: 0, currentLeaderEpoch: epoch, timestamp: -1 }] }],
        });
        matches(offsets, { topics: [{ partitions: [{ errorCode: 0, leaderEpoch: epoch }] }] }, "ListOffsets");
        const described = await wire.call("DescribeTopicPartitions", 0, {
          topics: [{ name }],
          responsePartitionLimit: 10,
          cursor: null,
        });
        matches(
          described,
          { topics: [{ errorCode: 0, partitions: [{ leaderEpoch: epoch }] }] },
          "DescribeTopicPartitions",
        );
      },
    },
    {
      name: "#18 topic ids are v4 UUIDs, asked by id the name comes back, a new one after re-creation, the old one 100",
      async run(context) {
        const { wire, name, id } = await createdTopic(context);
        assert(uuidV4(id), `a v4 UUID: ${Buffer.from(id, "base64url").toString("hex")}`);
        const ask = (topicId: string, other: string | null = null) =>
          wire.call("Metadata", 12, { topics: [{ topicId, name: other }], allowAutoTopicCreation: false });
        matches(await ask(id), { topics: [{ errorCode: 0, name, topicId: id }] }, "by id");
        matches(await ask(id, "wrong-name"), { topics: [{ errorCode: 0, name, topicId: id }] }, "the id wins");
        matches(
          await wire.call("DeleteTopics", 6, { topics: [{ name }], timeoutMs: 10_000 }),
          { responses: [{ errorCode: 0, name, topicId: id }] },
          "delete",
        );
        let code = 0;
        for (let attempt = 0; attempt < 100 && code === 0; attempt++) {
          code = numberAt(await ask(id), "topics.0.errorCode");
          if (code === 0) await sleep(20);
        }
        equal(code, 100, "the old id after deletion");
        const again = await createTopic(wire, name);
        assert(again.id !== id, "a new id");
        matches(await ask(id), { topics: [{ errorCode: 100, name: null, topicId: id }] }, "the old id in Metadata");
        matches(await produce(wire, id, batch(), { version: 13 }), { errorCode: 100 }, "the old id in Produce");
        matches(await fetchOne(wire, id, 0, { version: 13 }), { errorCode: 100 }, "the old id in Fetch");
      },
    },
    {
      name: "#18 v10 with an id, or a null name, is 42 per topic",
      async run(context) {
        const { wire, id } = await createdTopic(context);
        for (const topic of [{ topicId: id, name: null }, { topicId: id, name: "" }, { name: null }]) {
          const answer = await wire.call("Metadata", 10, { topics: [topic], allowAutoTopicCreation: false });
          matches(answer, { topics: [{ errorCode: 42 }] }, JSON.stringify(topic));
        }
      },
    },
    {
      name: "#19 authorized operations: not asked -2147483648, asked 3576 for a topic and 8096 for the cluster",
      async run(context) {
        const { wire, name } = await createdTopic(context);
        const not = await wire.call("Metadata", 8, { ...named(name) });
        matches(
          not,
          { clusterAuthorizedOperations: -2147483648, topics: [{ topicAuthorizedOperations: -2147483648 }] },
          "not asked",
        );
        const asked = await wire.call("Metadata", 8, {
          ...named(name),
          includeTopicAuthorizedOperations: true,
          includeClusterAuthorizedOperations: true,
        });
        matches(asked, { clusterAuthorizedOperations: 8096, topics: [{ topicAuthorizedOperations: 3576 }] }, "asked");
        matches(
          await wire.call("DescribeCluster", 0, { includeClusterAuthorizedOperations: true }),
          { clusterAuthorizedOperations: 8096 },
          "DescribeCluster",
        );
      },
    },
    {
      name: "§6 Metadata v12 with an unknown id is 100 with name null",
      async run(context) {
        const wire = await connected(context);
        const topicId = Buffer.from("0123456789ab4def8123456789abcdef", "hex").toString("base64url");
        matches(
          await wire.call("Metadata", 12, { topics: [{ topicId, name: null }] }),
          { topics: [{ errorCode: 100, name: null, topicId }] },
          "answer",
        );
      },
    },
    {
      name: "§6 Metadata tells leader, replicas and ISR of every partition, at every version",
      async run(context) {
        const { wire, name } = await createdTopic(context, 3);
        for (let version = 0; version <= 13; version++) {
          const answer = await wire.call("Metadata", version, { topics: [{ name }] });
          const node = numberAt(answer, "brokers.0.nodeId");
          matches(answer, { topics: [{ errorCode: 0, name }] }, `v${version}`);
          const partitions = [...listAt(answer, "topics.0.partitions")].sort(
            (a, b) => numberAt(a, "partitionIndex") - numberAt(b, "partitionIndex"),
          );
          for (const [index, partition] of partitions.entries()) {
            matches(
              partition,
              { errorCode: 0, partitionIndex: index, leaderId: node, replicaNodes: [node], isrNodes: [node] },
              `v${version}`,
            );
            if (version >= 5) matches(partition, { offlineReplicas: [] }, `v${version}`);
          }
          equal(partitions.length, 3, "partitions");
        }
      },
    },
    {
      name: "§6 DescribeCluster: one broker; endpoint type 2 is 114",
      async run(context) {
        const wire = await connected(context);
        for (const version of [0, 1, 2]) {
          const answer = await wire.call("DescribeCluster", version);
          matches(
            answer,
            { errorCode: 0, brokers: [{ host: context.broker.host, port: context.broker.port, rack: null }] },
            `v${version}`,
          );
          equal(numberAt(answer, "controllerId"), numberAt(answer, "brokers.0.brokerId"), "controller");
        }
        matches(
          await wire.call("DescribeCluster", 1, { endpointType: 2 }),
          { errorCode: 114, errorMessage: like(/./) },
          "endpoint type 2",
        );
      },
    },
    {
      name: "§6 DescribeTopicPartitions: limit 1 of 2 answers the first and a cursor; the cursor goes on; empty is all by name",
      async run(context) {
        const { wire, name } = await createdTopic(context, 2);
        const first = await wire.call("DescribeTopicPartitions", 0, {
          topics: [{ name }],
          responsePartitionLimit: 1,
          cursor: null,
        });
        matches(
          first,
          {
            topics: [{ errorCode: 0, name, partitions: [{ partitionIndex: 0 }] }],
            nextCursor: { topicName: name, partitionIndex: 1 },
          },
          "first",
        );
        const second = await wire.call("DescribeTopicPartitions", 0, {
          topics: [{ name }],
          responsePartitionLimit: 10,
          cursor: { topicName: name, partitionIndex: 1 },
        });
        matches(second, { topics: [{ name, partitions: [{ partitionIndex: 1 }] }], nextCursor: null }, "second");
        const all = await wire.call("DescribeTopicPartitions", 0, {
          topics: [],
          responsePartitionLimit: 2000,
          cursor: null,
        });
        const names = listAt(all, "topics").map((each) => textAt(each, "name"));
        assert(names.includes(name), "all topics");
        equal(names, [...names].sort(), "sorted by name");
        const unknown = await wire.call("DescribeTopicPartitions", 0, {
          topics: [{ name: "nope" }],
          responsePartitionLimit: 10,
          cursor: null,
        });
        matches(unknown, { topics: [{ errorCode: 3, name: "nope", topicId: zeroId, partitions: [] }] }, "unknown");
      },
    },
  ],
};
