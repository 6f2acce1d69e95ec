/**
 * Fetch and fetch sessions: behaviours #28 to #36 and the "Fetch" rows of §6.
 */
import { batch, storedBatches, values } from "../support/Batch.ts";
import type { Fields, Value } from "../support/Definitions.ts";
import { sleep } from "../support/Process.ts";
import {
  connected,
  createdTopic,
  createTopic,
  fetchBody,
  fetchOne,
  fetchRecords,
  produce,
} from "../support/Requests.ts";
import { assert, type Context, equal, type Suite } from "../support/Suite.ts";
import { at, bytesAt, listAt, matches, numberAt } from "../support/Tree.ts";
import { Wire } from "../support/Wire.ts";

const filled = async (context: Context, batches: number, perBatch = 1, size = 100, partitions = 1) => {
  const created = await createdTopic(context, partitions);
  for (let partition = 0; partition < partitions; partition++) {
    for (let index = 0; index < batches; index++) {
      const texts = Array.from({ length: perBatch }, (_, record) => `${index}.${record}`.padEnd(size, "."));
      matches(
        await produce(created.wire, created.name, batch({ records: values(...texts) }), { partition }),
        { errorCode: 0 },
        "produce",
      );
    }
  }
  return created;
};

const empty = new Uint8Array(0);
const failed = { highWatermark: -1, lastStableOffset: -1, logStartOffset: -1, records: empty };

interface Wanted {
  readonly partition: number;
  readonly offset: number;
  readonly max?: number;
}

const sessionBody = (
  topic: string,
  sessionId: number,
  sessionEpoch: number,
  wanted: readonly Wanted[],
  forgotten: readonly number[] = [],
): Fields => ({
  replicaId: -1,
  maxWaitMs: 0,
  minBytes: 0,
  maxBytes: 50 << 20,
  sessionId,
  sessionEpoch,
  topics:
    wanted.length === 0
      ? []
      : [
          {
            topic,
            partitions: wanted.map(({ partition, offset, max }) => ({
              partition,
              fetchOffset: offset,
              partitionMaxBytes: max ?? 1 << 20,
            })),
          },
        ],
  forgottenTopicsData: forgotten.length === 0 ? [] : [{ topic, partitions: forgotten }],
});

const indexes = (answer: Value): number[] =>
  listAt(answer, "responses").flatMap((topic) =>
    listAt(topic, "partitions").map((each) => numberAt(each, "partitionIndex")),
  );

export const suite: Suite = {
  name: "fetch",
  tests: [
    {
      name: "every version 4-18 answers the records and the offsets",
      async run(context) {
        const { wire, name, id } = await filled(context, 3, 2);
        for (let version = 4; version <= 18; version++) {
          const partition = await fetchOne(wire, version >= 13 ? id : name, 0, { version });
          matches(partition, { errorCode: 0, highWatermark: 6, lastStableOffset: 6 }, `v${version}`);
          if (version >= 5) matches(partition, { logStartOffset: 0 }, `v${version}`);
          if (version >= 11) matches(partition, { preferredReadReplica: -1 }, `v${version}`);
          equal(
            storedBatches(bytesAt(partition, "records")).map((each) => [each.baseOffset, each.count, each.crcGood]),
            [
              [0, 2, true],
              [2, 2, true],
              [4, 2, true],
            ],
            `v${version}`,
          );
        }
      },
    },
    {
      name: "#28 an offset past the end, or -1, is 1 at once with -1 in every offset",
      async run(context) {
        const { wire, name } = await filled(context, 1);
        for (const offset of [2, 1000, -1]) {
          const began = performance.now();
          const partition = await fetchOne(wire, name, offset, { maxWaitMs: 5000 });
          assert(performance.now() - began < 4500, "at once");
          matches(partition, { errorCode: 1, ...failed, abortedTransactions: null }, `offset ${offset}`);
        }
      },
    },
    {
      name: "#28 the end itself waits and is then empty",
      async run(context) {
        const { wire, name } = await filled(context, 1);
        const began = performance.now();
        matches(
          await fetchOne(wire, name, 1, { maxWaitMs: 400 }),
          { errorCode: 0, highWatermark: 1, records: empty },
          "answer",
        );
        const took = performance.now() - began;
        assert(took > 350 && took < 10_000, `${Math.round(took)} ms`);
      },
    },
    {
      name: "#28 a newer leader epoch is 75, an unknown topic or partition 3, an unknown id 100",
      async run(context) {
        const { wire, name } = await filled(context, 1);
        matches(await fetchOne(wire, name, 0, { currentLeaderEpoch: 99 }), { errorCode: 75 }, "epoch");
        matches(await fetchOne(wire, name, 0, { currentLeaderEpoch: 0 }), { errorCode: 0 }, "the current epoch");
        matches(await fetchOne(wire, "nope-nope", 0), { errorCode: 3, ...failed, abortedTransactions: [] }, "topic");
        matches(
          await fetchOne(wire, name, 0, { partition: 7 }),
          { errorCode: 3, ...failed, abortedTransactions: [] },
          "partition",
        );
        const unknown = Buffer.from("0123456789ab4def8123456789abcdef", "hex").toString("base64url");
        matches(
          await fetchOne(wire, unknown, 0, { version: 13 }),
          { errorCode: 100, ...failed, abortedTransactions: [] },
          "id",
        );
      },
    },
    {
      name: "#28 a last fetched epoch past its end diverges: no records, the epoch and its end offset",
      async run(context) {
        const { wire, name } = await filled(context, 3);
        const good = await fetchOne(wire, name, 2, { version: 12, lastFetchedEpoch: 0 });
        matches(good, { errorCode: 0, divergingEpoch: { epoch: -1, endOffset: -1 } }, "the epoch it has");
      },
    },
    {
      name: "#29 an offset inside a batch returns the whole batch",
      async run(context) {
        const { wire, name } = await filled(context, 3, 10);
        for (const offset of [0, 5, 9])
          equal(storedBatches(await fetchRecords(wire, name, offset))[0]?.baseOffset, 0, `offset ${offset}`);
        for (const offset of [10, 13, 19])
          equal(storedBatches(await fetchRecords(wire, name, offset))[0]?.baseOffset, 10, `offset ${offset}`);
      },
    },
    {
      name: "#30 the first batch comes whole although larger than every limit",
      async run(context) {
        const { wire, name } = await filled(context, 2, 1, 10_000);
        const chunk = await fetchRecords(wire, name, 0, { maxBytes: 1, partitionMaxBytes: 1 });
        equal(
          storedBatches(chunk).map((each) => each.baseOffset),
          [0],
          "batches",
        );
      },
    },
    {
      name: "#30 the partition limit cuts, the whole limit stops later partitions, in request order",
      async run(context) {
        const { wire, name } = await filled(context, 4, 1, 1000, 3);
        const size = (await fetchRecords(wire, name, 0)).length / 4;
        const cut = await fetchRecords(wire, name, 0, { partitionMaxBytes: Math.floor(size * 2.5) });
        equal(storedBatches(cut).length, 2, "whole batches");
        assert(cut.length <= size * 2.5, `${cut.length} bytes`);
        const ask = async (order: readonly number[]) => {
          const answer = await wire.call("Fetch", 11, {
            replicaId: -1,
            maxWaitMs: 0,
            minBytes: 1,
            maxBytes: Math.floor(size * 3),
            sessionEpoch: -1,
            topics: [
              {
                topic: name,
                partitions: order.map((partition) => ({ partition, fetchOffset: 0, partitionMaxBytes: 1 << 20 })),
              },
            ],
          });
          return new Map(
            listAt(answer, "responses.0.partitions").map((each) => [
              numberAt(each, "partitionIndex"),
              storedBatches(bytesAt(each, "records")).length,
            ]),
          );
        };
        const forward = await ask([0, 1, 2]);
        equal([forward.get(0), forward.get(1), forward.get(2)], [3, 0, 0], "0 first");
        const backward = await ask([2, 1, 0]);
        equal([backward.get(2), backward.get(1), backward.get(0)], [3, 0, 0], "2 first");
      },
    },
    {
      name: "#31 min.bytes waits until enough is there",
      async run(context) {
        const { wire, name } = await filled(context, 1, 1, 1000);
        const producer = await connected(context);
        const waiting = await wire.send("Fetch", 11, fetchBody(name, 0, { minBytes: 3000, maxWaitMs: 10_000 }));
        equal(await wire.read(200), "silence", "after the first record");
        await produce(producer, name, batch({ records: values("x".repeat(1000)) }));
        equal(await wire.read(200), "silence", "after the second record");
        await produce(producer, name, batch({ records: values("x".repeat(1000)) }));
        const answer = await wire.receive(waiting, 2000);
        equal(storedBatches(bytesAt(answer, "responses.0.partitions.0.records")).length, 3, "batches");
      },
    },
    {
      name: "#31 a record wakes a waiting fetch at once; min.bytes 0 and no partitions do not wait",
      async run(context) {
        const { wire, name } = await filled(context, 1);
        const producer = await connected(context);
        const waiting = await wire.send("Fetch", 11, fetchBody(name, 1, { maxWaitMs: 10_000 }));
        await sleep(50);
        const began = performance.now();
        await produce(producer, name, batch());
        await wire.receive(waiting);
        const woken = performance.now() - began;
        assert(woken < 5000, `woken after ${Math.round(woken)} ms`);
        const soon = performance.now();
        await fetchOne(wire, name, 2, { maxWaitMs: 5000, minBytes: 0 });
        await wire.call("Fetch", 11, {
          replicaId: -1,
          maxWaitMs: 5000,
          minBytes: 1,
          maxBytes: 1000,
          sessionEpoch: -1,
          topics: [],
        });
        assert(performance.now() - soon < 5000, "at once");
        context.note(`woken after ${woken.toFixed(1)} ms`);
      },
    },
    {
      name: "#31 an unknown topic beside a good partition does not end the wait, an offset out of range does",
      async run(context) {
        const { wire, name } = await filled(context, 1, 1, 100, 2);
        const body = (other: Fields, maxWaitMs: number) => ({
          replicaId: -1,
          maxWaitMs,
          minBytes: 1,
          maxBytes: 1 << 20,
          sessionEpoch: -1,
          topics: [{ topic: name, partitions: [{ partition: 0, fetchOffset: 1, partitionMaxBytes: 1 << 20 }] }, other],
        });
        const began = performance.now();
        const unknown = {
          topic: "nope-nope",
          partitions: [{ partition: 0, fetchOffset: 0, partitionMaxBytes: 1 << 20 }],
        };
        await wire.call("Fetch", 11, body(unknown, 500));
        assert(performance.now() - began > 450, "it waited");
        const again = performance.now();
        const outside = { topic: name, partitions: [{ partition: 1, fetchOffset: 77, partitionMaxBytes: 1 << 20 }] };
        await wire.call("Fetch", 11, body(outside, 10_000));
        assert(performance.now() - again < 5000, "it did not wait");
      },
    },
    {
      name: "#31 deleting the topic answers a waiting fetch with 3, by name and by id",
      async run(context) {
        const other = await connected(context);
        for (const version of [11, 13]) {
          const { wire, name, id } = await filled(context, 1);
          const body = fetchBody(version >= 13 ? id : name, 1, { maxWaitMs: 8000, version });
          const waiting = await wire.send("Fetch", version, body);
          await sleep(100);
          await other.call("DeleteTopics", 5, { topicNames: [name], timeoutMs: 5000 });
          const began = performance.now();
          const answer = await wire.receive(waiting);
          assert(performance.now() - began < 3000, "soon");
          matches(
            answer,
            { errorCode: 0, responses: [{ partitions: [{ errorCode: 3, ...failed, abortedTransactions: null }] }] },
            `v${version}`,
          );
        }
      },
    },
    {
      name: "#32 a session: full, incremental with changes only, forgotten partitions, closed",
      async run(context) {
        const { wire, name } = await filled(context, 1, 1, 100, 3);
        const all = [0, 1, 2].map((partition) => ({ partition, offset: 0 }));
        const full = await wire.call("Fetch", 11, sessionBody(name, 0, 0, all));
        const id = numberAt(full, "sessionId");
        assert(id > 0, `session id ${id}`);
        equal(indexes(full).sort(), [0, 1, 2], "full");
        const moved = await wire.call(
          "Fetch",
          11,
          sessionBody(
            name,
            id,
            1,
            [0, 1, 2].map((partition) => ({ partition, offset: 1 })),
          ),
        );
        matches(moved, { errorCode: 0, sessionId: id, responses: [] }, "nothing new");
        await produce(wire, name, batch(), { partition: 1 });
        const changed = await wire.call("Fetch", 11, sessionBody(name, id, 2, []));
        matches(changed, { errorCode: 0, sessionId: id }, "incremental");
        equal(indexes(changed), [1], "only the changed one");
        await wire.call("Fetch", 11, sessionBody(name, id, 3, [], [1]));
        await produce(wire, name, batch(), { partition: 1 });
        await produce(wire, name, batch(), { partition: 2 });
        equal(indexes(await wire.call("Fetch", 11, sessionBody(name, id, 4, []))), [2], "the forgotten one is gone");
        matches(
          await wire.call("Fetch", 11, sessionBody(name, id, -1, all)),
          { errorCode: 0, sessionId: 0 },
          "closed by epoch -1",
        );
        matches(
          await wire.call("Fetch", 11, sessionBody(name, id, 5, [])),
          { errorCode: 70, sessionId: 0, responses: [] },
          "after it",
        );
      },
    },
    {
      name: "#32 session errors: unknown id, id 0 with an epoch, a wrong epoch; the session survives, on any connection",
      async run(context) {
        const { wire, name } = await filled(context, 1);
        const one = [{ partition: 0, offset: 0 }];
        const error = (errorCode: number) => ({ errorCode, sessionId: 0, responses: [] });
        matches(await wire.call("Fetch", 11, sessionBody(name, 123_456_789, 1, one)), error(70), "unknown id");
        matches(await wire.call("Fetch", 11, sessionBody(name, 0, 1, one)), error(70), "id 0 epoch 1");
        matches(await wire.call("Fetch", 11, sessionBody(name, 0, -2, one)), error(70), "id 0 epoch -2");
        const id = numberAt(await wire.call("Fetch", 11, sessionBody(name, 0, 0, one)), "sessionId");
        matches(await wire.call("Fetch", 11, sessionBody(name, id, 9, one)), error(71), "wrong epoch");
        const other = await connected(context);
        matches(
          await other.call("Fetch", 11, sessionBody(name, id, 1, [])),
          { errorCode: 0, sessionId: id },
          "the right epoch on another connection",
        );
        const renewed = await wire.call("Fetch", 11, sessionBody(name, id, 0, one));
        matches(renewed, { errorCode: 0 }, "epoch 0 with an id makes a new session");
        assert(numberAt(renewed, "sessionId") !== id, "a new id");
        matches(
          await wire.call("Fetch", 11, sessionBody(name, 987_654_321, 0, one)),
          { errorCode: 0 },
          "unknown id epoch 0",
        );
        matches(
          await wire.call("Fetch", 11, sessionBody(name, 987_654_321, -1, one)),
          { errorCode: 0, sessionId: 0 },
          "unknown id epoch -1",
        );
      },
    },
    {
      name: "#32 a v13 request on a v12 session is 106",
      async run(context) {
        const { wire, name, id: topicId } = await filled(context, 1);
        const id = numberAt(
          await wire.call("Fetch", 12, sessionBody(name, 0, 0, [{ partition: 0, offset: 0 }])),
          "sessionId",
        );
        const body = fetchBody(topicId, 0, { version: 13, sessionId: id, sessionEpoch: 1 });
        matches(await wire.call("Fetch", 13, body), { errorCode: 106, sessionId: 0, responses: [] }, "answer");
      },
    },
    {
      name: "#32 a partition in error is repeated in every incremental answer",
      async run(context) {
        const { wire, name } = await filled(context, 1);
        const wanted = [
          { partition: 0, offset: 0 },
          { partition: 5, offset: 0 },
        ];
        const id = numberAt(await wire.call("Fetch", 11, sessionBody(name, 0, 0, wanted)), "sessionId");
        await wire.call("Fetch", 11, sessionBody(name, id, 1, [{ partition: 0, offset: 1 }]));
        for (const epoch of [2, 3]) {
          const answer = await wire.call("Fetch", 11, sessionBody(name, id, epoch, []));
          matches(
            answer,
            { responses: [{ topic: name, partitions: [{ partitionIndex: 5, errorCode: 3 }] }] },
            `epoch ${epoch}`,
          );
        }
      },
    },
    {
      name: "#33 read_uncommitted has a null aborted list, read_committed an empty one",
      async run(context) {
        const { wire, name } = await filled(context, 1);
        matches(await fetchOne(wire, name, 0), { abortedTransactions: null }, "read_uncommitted");
        matches(
          await fetchOne(wire, name, 0, { isolationLevel: 1 }),
          { abortedTransactions: [], lastStableOffset: 1 },
          "read_committed",
        );
      },
    },
    {
      name: "#35 records without data are empty, never null, in all versions",
      async run(context) {
        const { wire, name, id } = await createdTopic(context);
        for (const version of [4, 7, 11, 12, 13, 16, 18]) {
          const partition = await fetchOne(wire, version >= 13 ? id : name, 0, { version, minBytes: 0 });
          matches(partition, { errorCode: 0, highWatermark: 0, lastStableOffset: 0, records: empty }, `v${version}`);
        }
      },
    },
    {
      name: "§6 isolation level 5 is -1 per partition",
      async run(context) {
        const { wire, name } = await filled(context, 1);
        matches(await fetchOne(wire, name, 0, { isolationLevel: 5 }), { errorCode: -1 }, "answer");
      },
    },
    {
      name: "§6 ten connections wait on one topic and are all woken",
      async run(context) {
        const { wire, name } = await createdTopic(context);
        const waiting = await Promise.all(
          Array.from({ length: 10 }, async () => {
            const other = await connected(context);
            return { other, sent: await other.send("Fetch", 11, fetchBody(name, 0, { maxWaitMs: 10_000 })) };
          }),
        );
        await sleep(100);
        await produce(wire, name, batch());
        const answers = await Promise.all(waiting.map(({ other, sent }) => other.receive(sent, 3000)));
        for (const answer of answers) equal(at(answer, "responses.0.partitions.0.highWatermark"), 1, "high watermark");
      },
    },
    {
      name: "§6 a connection that goes away while its fetch waits disturbs nobody",
      async run(context) {
        const { wire, name } = await createdTopic(context);
        for (let index = 0; index < 20; index++) {
          const other = await Wire.open(context.broker);
          await other.send("Fetch", 11, fetchBody(name, 0, { maxWaitMs: 30_000 }));
          await sleep(5);
          other.close();
        }
        matches(await produce(wire, name, batch()), { errorCode: 0 }, "produce");
        equal(storedBatches(await fetchRecords(wire, name, 0)).length, 1, "batches");
      },
    },
    {
      name: "§6 two fetches wait on two topics, only the right one is woken",
      async run(context) {
        const { wire, name } = await createdTopic(context);
        const second = await createTopic(wire, context.topic());
        const other = await connected(context);
        const waiting = await wire.send("Fetch", 11, fetchBody(name, 0, { maxWaitMs: 10_000 }));
        await sleep(50);
        await produce(other, second.name, batch());
        equal(await wire.read(200), "silence", "the other topic's record");
        await produce(other, name, batch());
        const answer = await wire.receive(waiting);
        equal(at(answer, "responses.0.partitions.0.highWatermark"), 1, "after its own record");
      },
    },
  ],
};
