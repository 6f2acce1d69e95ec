/**
 * Through both doors any request gives equal results: random programs run twice on one simulated broker, once as Kafka
 * requests over TCP and once over a WebSocket, each on topics, groups and transactions of its own, and every answer is
 * compared. What differs by nature (ids, names, times) is named and left out.
 */
import { expect, test } from "bun:test";
import fc from "fast-check";
import type { KafkaClient } from "../../actors/testing/KafkaClient.ts";
import { ZERO_UUID } from "../../src/prelude/Types.ts";
import { Apis } from "../../src/protocol/ApiKeys.ts";
import { errorName } from "../../src/protocol/Errors.ts";
import { emptyFetchRequestFetchPartition } from "../../src/protocol/generated/FetchRequest.ts";
import { buildBatch } from "../../src/record/RecordBatchBuilder.ts";
import type { FrameClient } from "./FrameClient.ts";
import { withGateway } from "./GatewayWorld.ts";

type Operation =
  | { readonly op: "create"; readonly topic: number; readonly partitions: number; readonly replicas: number }
  | { readonly op: "describe" | "delete"; readonly topic: number }
  | {
      readonly op: "produce";
      readonly topic: number;
      readonly partition: number;
      readonly sizes: ReadonlyArray<number>;
      readonly acks: -1 | 1;
      /** Of the idempotent producer; undefined: without one. */
      readonly sequence: number | undefined;
      readonly transactional: boolean;
    }
  | {
      readonly op: "fetch";
      readonly topic: number;
      readonly partition: number;
      readonly offset: number;
      readonly committed: boolean;
    }
  | {
      readonly op: "offsets";
      readonly topic: number;
      readonly partition: number;
      readonly at: number;
      readonly committed: boolean;
    }
  | {
      readonly op: "commit";
      readonly group: number;
      readonly topic: number;
      readonly partition: number;
      readonly offset: number;
    }
  | { readonly op: "committed" | "describeGroup" | "deleteGroup"; readonly group: number }
  | { readonly op: "begin" }
  | { readonly op: "addOffsets"; readonly group: number; readonly topic: number; readonly offset: number }
  | { readonly op: "end"; readonly commit: boolean };

const topic = fc.constantFrom(0, 0, 0, 1);
const partition = fc.constantFrom(0, 0, 1, 7);
const group = fc.constantFrom(0, 0, 1);
const offset = fc.integer({ min: 0, max: 12 });
const operation: fc.Arbitrary<Operation> = fc.oneof(
  fc.record({
    op: fc.constant("create" as const),
    topic,
    partitions: fc.constantFrom(1, 2, 2, -1),
    replicas: fc.constantFrom(1, 1, 2),
  }),
  fc.record({ op: fc.constantFrom("describe" as const, "delete" as const), topic: fc.constantFrom(0, 1, 1, 1) }),
  {
    weight: 4,
    arbitrary: fc.record({
      op: fc.constant("produce" as const),
      topic,
      partition,
      sizes: fc.array(fc.constantFrom(0, 10, 400, 1500), { minLength: 1, maxLength: 4 }),
      acks: fc.constantFrom(-1 as const, 1 as const),
      sequence: fc.option(fc.integer({ min: 0, max: 4 }), { nil: undefined }),
      transactional: fc.boolean(),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ op: fc.constant("fetch" as const), topic, partition, offset, committed: fc.boolean() }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      op: fc.constant("offsets" as const),
      topic,
      partition,
      at: fc.constantFrom(-1, -2, -3, 1005, 2000),
      committed: fc.boolean(),
    }),
  },
  { weight: 2, arbitrary: fc.record({ op: fc.constant("commit" as const), group, topic, partition, offset }) },
  fc.record({ op: fc.constantFrom("committed" as const, "describeGroup" as const, "deleteGroup" as const), group }),
  fc.record({ op: fc.constant("begin" as const) }),
  fc.record({ op: fc.constant("addOffsets" as const), group, topic, offset }),
  { weight: 2, arbitrary: fc.record({ op: fc.constant("end" as const), commit: fc.boolean() }) },
);

/** One way in, on names of its own. An answer has no ids and no times in it. */
interface Door {
  run(operation: Operation): Promise<unknown>;
}

interface Producer {
  readonly id: number;
  readonly epoch: number;
}

const recordsOf = (sizes: ReadonlyArray<number>) =>
  sizes.map((size, index) => ({ value: new Uint8Array(size).fill(index), timestamp: 1000 + index }));

/** A topic that is not there is one of two codes, by whether it was asked for by name or by id. */
const failure = (code: number): unknown => {
  const name = errorName(code);
  return { error: name === "UNKNOWN_TOPIC_ID" ? "UNKNOWN_TOPIC_OR_PARTITION" : name };
};

/** Records have times of their own, transaction markers the broker's. */
const timeOf = (timestamp: number): number | "now" => (timestamp > 1e9 ? "now" : timestamp);

class KafkaDoor implements Door {
  private idempotent: Producer | undefined;
  private transactional: Producer = { id: -1, epoch: -1 };

  constructor(private readonly client: KafkaClient) {}

  private name(index: number): string {
    return `a-${index}`;
  }

  private async idOf(name: string): Promise<string> {
    const { topics } = await this.client.metadata([name]);
    return topics[0]?.topicId ?? ZERO_UUID;
  }

  async run(operation: Operation): Promise<unknown> {
    const { client } = this;
    switch (operation.op) {
      case "create": {
        const { topics } = await client.request("any", 19, {
          timeoutMs: 1000,
          validateOnly: false,
          topics: [
            {
              name: this.name(operation.topic),
              numPartitions: operation.partitions,
              replicationFactor: operation.replicas,
              assignments: [],
              configs: [{ name: "max.message.bytes", value: "1200" }],
            },
          ],
        });
        const { errorCode, numPartitions } = topics[0]!;
        return errorCode === 0 ? { partitions: numPartitions } : failure(errorCode);
      }
      case "describe": {
        const { topics } = await client.metadata([this.name(operation.topic)]);
        const { errorCode, partitions } = topics[0]!;
        return errorCode === 0
          ? partitions.map(({ leaderId, leaderEpoch }) => [leaderId, leaderEpoch])
          : failure(errorCode);
      }
      case "delete": {
        const { responses } = await client.request("any", 20, {
          topics: [{ name: this.name(operation.topic), topicId: ZERO_UUID }],
          topicNames: [],
          timeoutMs: 1000,
        });
        return responses[0]!.errorCode === 0 ? "fine" : failure(responses[0]!.errorCode);
      }
      case "produce": {
        const { transactional, sequence } = operation;
        const producer = transactional
          ? this.transactional
          : sequence === undefined
            ? undefined
            : await this.producer();
        const records = buildBatch(recordsOf(operation.sizes), {
          ...(producer === undefined
            ? {}
            : { producerId: producer.id, producerEpoch: producer.epoch, baseSequence: sequence ?? 0 }),
          transactional,
        });
        const topicId = await this.idOf(this.name(operation.topic));
        const { responses } = await client.request("any", 0, {
          transactionalId: transactional ? "a-tx" : null,
          acks: operation.acks,
          timeoutMs: 1000,
          topicData: [{ name: "", topicId, partitionData: [{ index: operation.partition, records }] }],
        });
        const { errorCode, baseOffset, logStartOffset } = responses[0]!.partitionResponses[0]!;
        return errorCode === 0 ? { baseOffset, logStartOffset } : failure(errorCode);
      }
      case "fetch": {
        const name = this.name(operation.topic);
        const topicId = await this.idOf(name);
        const asked = {
          ...emptyFetchRequestFetchPartition(),
          partition: operation.partition,
          fetchOffset: operation.offset,
          partitionMaxBytes: 1,
        };
        const { responses } = await client.request("any", 1, {
          ...Apis[1].request.empty(),
          topics: [{ topic: "", topicId, partitions: [asked] }],
        });
        const { errorCode } = responses[0]!.partitions[0]!;
        if (errorCode !== 0) return failure(errorCode);
        const isolation = operation.committed ? "read_committed" : "read_uncommitted";
        const fetched = await client.fetch(name, operation.partition, operation.offset, { isolation, maxWaitMs: 0 });
        if (fetched.errorCode !== 0) return failure(fetched.errorCode);
        return {
          records: fetched.records.map(({ offset: at, timestamp, value }) => [at, timestamp, value?.length]),
          highWatermark: fetched.highWatermark,
          lastStableOffset: fetched.lastStableOffset,
        };
      }
      case "offsets": {
        const { topics } = await client.request("any", 2, {
          replicaId: -1,
          isolationLevel: operation.committed ? 1 : 0,
          timeoutMs: 0,
          topics: [
            {
              name: this.name(operation.topic),
              partitions: [{ partitionIndex: operation.partition, currentLeaderEpoch: -1, timestamp: operation.at }],
            },
          ],
        });
        const { errorCode, offset: found, timestamp } = topics[0]!.partitions[0]!;
        return errorCode === 0 ? [found, timeOf(timestamp)] : failure(errorCode);
      }
      case "commit": {
        const { topics } = await client.request("any", 8, {
          groupId: `a-g${operation.group}`,
          generationIdOrMemberEpoch: -1,
          memberId: "",
          groupInstanceId: null,
          retentionTimeMs: -1,
          topics: [
            {
              name: "",
              topicId: await this.idOf(this.name(operation.topic)),
              partitions: [
                {
                  partitionIndex: operation.partition,
                  committedOffset: operation.offset,
                  committedLeaderEpoch: -1,
                  committedMetadata: "",
                },
              ],
            },
          ],
        });
        const { errorCode } = topics[0]!.partitions[0]!;
        return errorCode === 0 ? "fine" : failure(errorCode);
      }
      case "committed": {
        const request = { groupId: `a-g${operation.group}`, memberId: null, memberEpoch: -1, topics: null };
        const { groups } = await client.request("any", 9, {
          groupId: "",
          topics: [],
          groups: [request],
          requireStable: false,
        });
        const { errorCode, topics } = groups[0]!;
        if (errorCode !== 0) return failure(errorCode);
        return topics
          .flatMap(({ partitions }) => partitions.map((each) => [each.partitionIndex, each.committedOffset]))
          .sort();
      }
      case "describeGroup": {
        const { groups } = await client.request("any", 15, {
          groups: [`a-g${operation.group}`],
          includeAuthorizedOperations: false,
        });
        const { errorCode, groupState, members } = groups[0]!;
        return errorCode === 0 ? [groupState, members.length] : failure(errorCode);
      }
      case "deleteGroup": {
        const { results } = await client.request("any", 42, { groupsNames: [`a-g${operation.group}`] });
        return results[0]!.errorCode === 0 ? "fine" : failure(results[0]!.errorCode);
      }
      case "begin": {
        const answer = await this.initProducer("a-tx");
        if (answer.errorCode !== 0) return failure(answer.errorCode);
        this.transactional = { id: answer.producerId, epoch: answer.producerEpoch };
        return { epoch: answer.producerEpoch };
      }
      case "addOffsets": {
        const { topics } = await client.request("any", 28, {
          transactionalId: "a-tx",
          groupId: `a-g${operation.group}`,
          producerId: this.transactional.id,
          producerEpoch: this.transactional.epoch,
          generationId: -1,
          memberId: "",
          groupInstanceId: null,
          topics: [
            {
              name: this.name(operation.topic),
              partitions: [
                {
                  partitionIndex: 0,
                  committedOffset: operation.offset,
                  committedLeaderEpoch: -1,
                  committedMetadata: "",
                },
              ],
            },
          ],
        });
        const { errorCode } = topics[0]!.partitions[0]!;
        return errorCode === 0 ? "fine" : failure(errorCode);
      }
      case "end": {
        const answer = await client.request("any", 26, {
          transactionalId: "a-tx",
          producerId: this.transactional.id,
          producerEpoch: this.transactional.epoch,
          committed: operation.commit,
        });
        if (answer.errorCode !== 0) return failure(answer.errorCode);
        this.transactional = { id: answer.producerId, epoch: answer.producerEpoch };
        return { epoch: answer.producerEpoch };
      }
    }
  }

  private initProducer(transactionalId: string | null) {
    return this.client.request("any", 22, {
      transactionalId,
      transactionTimeoutMs: 60_000,
      producerId: -1,
      producerEpoch: -1,
      enable2Pc: false,
      keepPreparedTxn: false,
    });
  }

  private async producer(): Promise<Producer> {
    if (this.idempotent !== undefined) return this.idempotent;
    const { producerId: id, producerEpoch: epoch } = await this.initProducer(null);
    return (this.idempotent = { id, epoch });
  }
}

type Entry = Readonly<Record<string, unknown>> & { readonly error?: { readonly code: number } };

class StreamDoor implements Door {
  private idempotent: Producer | undefined;
  private transactional: Producer = { id: -1, epoch: -1 };

  constructor(private readonly client: FrameClient) {}

  private name(index: number): string {
    return `b-${index}`;
  }

  private async call(verb: string, body: object): Promise<Entry> {
    const answer = (await this.client.request("call", { verb, body })) as Entry;
    return answer.t === "error" ? answer : (answer.body as Entry);
  }

  /** The one entry of an answer, or its error. */
  private async entry(verb: string, body: object, list: string): Promise<Entry> {
    const answer = await this.call(verb, body);
    return answer.error !== undefined ? answer : ((answer[list] as Entry[])[0] ?? {});
  }

  async run(operation: Operation): Promise<unknown> {
    const or = (entry: Entry, value: unknown): unknown =>
      entry.error === undefined ? value : failure(entry.error.code);
    switch (operation.op) {
      case "create": {
        const topics = [
          {
            name: this.name(operation.topic),
            ...(operation.partitions === -1 ? {} : { partitions: operation.partitions }),
            replicationFactor: operation.replicas,
            configs: { "max.message.bytes": "1200" },
          },
        ];
        const entry = await this.entry("topics.create", { topics }, "topics");
        return or(entry, { partitions: entry.partitions });
      }
      case "describe": {
        const entry = await this.entry("topics.describe", { topics: [this.name(operation.topic)] }, "topics");
        return or(
          entry,
          (entry.partitions as Array<{ leader: number; leaderEpoch: number }> | undefined)?.map(
            ({ leader, leaderEpoch }) => [leader, leaderEpoch],
          ),
        );
      }
      case "delete":
        return or(await this.entry("topics.delete", { topics: [this.name(operation.topic)] }, "topics"), "fine");
      case "produce": {
        const { transactional, sequence, sizes } = operation;
        const producer = transactional
          ? this.transactional
          : sequence === undefined
            ? undefined
            : await this.producer();
        const answer = (await this.client.request("produce", {
          topic: this.name(operation.topic),
          partition: operation.partition,
          acks: operation.acks,
          timeoutMs: 1000,
          records: recordsOf(sizes).map(({ value, timestamp }) => [null, value, null, timestamp]),
          ...(producer === undefined ? {} : { producer: { ...producer, sequence: sequence ?? 0 } }),
          ...(transactional ? { transactionalId: "b-tx" } : {}),
        })) as Entry;
        return or(answer, { baseOffset: answer.offset, logStartOffset: answer.logStartOffset });
      }
      case "fetch": {
        const isolation = operation.committed ? "read_committed" : "read_uncommitted";
        const from = { offset: operation.offset };
        const partitions = [{ topic: this.name(operation.topic), partition: operation.partition, from }];
        const entry = await this.entry("records.fetch", { partitions, isolation, maxBytes: 1024 * 1024 }, "partitions");
        const records = (entry.records as Array<[number, number, null, Uint8Array | null]> | undefined) ?? [];
        return or(entry, {
          records: records.map(([at, timestamp, , value]) => [at, timestamp, value?.length]),
          highWatermark: entry.highWatermark,
          lastStableOffset: entry.lastStableOffset,
        });
      }
      case "offsets": {
        const at = { [-1]: "latest", [-2]: "earliest", [-3]: "maxTimestamp" }[operation.at] ?? {
          timestamp: operation.at,
        };
        const partitions = [{ topic: this.name(operation.topic), partition: operation.partition, at }];
        const isolation = operation.committed ? "read_committed" : "read_uncommitted";
        const entry = await this.entry("offsets.list", { partitions, isolation }, "partitions");
        return or(entry, [entry.offset, timeOf(Number(entry.timestamp))]);
      }
      case "commit": {
        const { partition: index, offset: at } = operation;
        const offsets = [{ topic: this.name(operation.topic), partition: index, offset: at }];
        return or(await this.entry("groups.commit", { group: `b-g${operation.group}`, offsets }, "partitions"), "fine");
      }
      case "committed": {
        const answer = await this.call("groups.offsets", { group: `b-g${operation.group}` });
        const entries = answer.partitions as Array<{ partition: number; offset: number }> | undefined;
        return or(answer, entries?.map(({ partition: index, offset: at }) => [index, at]).sort());
      }
      case "describeGroup": {
        const entry = await this.entry("groups.describe", { groups: [`b-g${operation.group}`] }, "groups");
        return or(entry, [entry.state, (entry.members as unknown[] | undefined)?.length]);
      }
      case "deleteGroup":
        return or(await this.entry("groups.delete", { groups: [`b-g${operation.group}`] }, "groups"), "fine");
      case "begin":
        return this.become(await this.client.request("initProducer", { transactionalId: "b-tx" }));
      case "addOffsets": {
        const answer = (await this.client.request("txnOffsets", {
          transactionalId: "b-tx",
          producer: this.transactional,
          group: { id: `b-g${operation.group}` },
          offsets: [{ topic: this.name(operation.topic), partition: 0, offset: operation.offset }],
        })) as Entry;
        const entry = answer.error === undefined ? (answer.partitions as Entry[])[0]! : answer;
        return or(entry, "fine");
      }
      case "end":
        return this.become(
          await this.client.request("endTxn", {
            transactionalId: "b-tx",
            producer: this.transactional,
            commit: operation.commit,
          }),
        );
    }
  }

  private become(answer: Entry): unknown {
    if (answer.error !== undefined) return failure(answer.error.code);
    this.transactional = answer.producer as Producer;
    return { epoch: this.transactional.epoch };
  }

  private async producer(): Promise<Producer> {
    if (this.idempotent !== undefined) return this.idempotent;
    const answer = await this.client.request("initProducer");
    return (this.idempotent = answer.producer as Producer);
  }
}

/** What passes by itself is asked for again by clients of either door; the gateway does it for its own in part. */
const PASSING = new Set([
  "NOT_LEADER_OR_FOLLOWER",
  "COORDINATOR_LOAD_IN_PROGRESS",
  "COORDINATOR_NOT_AVAILABLE",
  "NOT_COORDINATOR",
  "CONCURRENT_TRANSACTIONS",
]);

/** Each kind of request with a good answer, so that no run is without one. */
const place = { topic: 0, partition: 0 };
const written = { ...place, sizes: [10], acks: -1 as const, sequence: undefined };
const everyKind: Operation[] = [
  { op: "create", topic: 1, partitions: 1, replicas: 1 },
  { op: "describe", topic: 1 },
  { op: "delete", topic: 1 },
  { op: "produce", ...written, transactional: false },
  { op: "begin" },
  { op: "produce", ...written, transactional: true },
  { op: "fetch", ...place, offset: 0, committed: true },
  { op: "addOffsets", group: 1, topic: 0, offset: 3 },
  { op: "end", commit: true },
  { op: "offsets", ...place, at: -1, committed: true },
  { op: "commit", ...place, group: 0, offset: 4 },
  { op: "committed", group: 1 },
  { op: "describeGroup", group: 0 },
  { op: "deleteGroup", group: 0 },
];

test("random programs get equal answers through both doors", () => {
  const kinds = new Map<string, number>();
  fc.assert(
    fc.property(fc.array(operation, { minLength: 5, maxLength: 40 }), fc.nat(), (operations, seed) => {
      withGateway(
        async (world) => {
          const settled = async (door: Door, each: Operation): Promise<unknown> => {
            for (;;) {
              const answer = await door.run(each);
              const error = (answer as { error?: string } | undefined)?.error;
              if (error === undefined || !PASSING.has(error)) return answer;
              await world.sleep(50);
            }
          };
          const { client } = await world.connect();
          const kafka = new KafkaDoor(world.client);
          const stream = new StreamDoor(client);
          // The internal topics are there: what comes before their first use is another test's.
          for (const keyType of [0, 1])
            await world.client.request("any", 10, { keyType, key: "", coordinatorKeys: ["x"] });
          let begun = false;
          for (const [step, each] of [
            { op: "create", topic: 0, partitions: 2, replicas: 1 } as const,
            ...operations,
          ].entries()) {
            begun ||= each.op === "begin";
            const needsProducer =
              each.op === "end" || each.op === "addOffsets" || (each.op === "produce" && each.transactional);
            if (needsProducer && !begun) continue;
            const expected = await settled(kafka, each);
            const actual = await settled(stream, each);
            // An end is answered when it is decided; its markers follow.
            if (each.op === "end") await world.sleep(100);
            const kind = `${each.op} ${(expected as { error?: string } | undefined)?.error ?? "ok"}`;
            kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
            expect({ step, each, answer: actual }).toEqual({ step, each, answer: expected });
          }
        },
        { seed },
      );
    }),
    { numRuns: 60, includeErrorInReport: true, examples: [[everyKind, 1]] },
  );
  // Good answers and refusals of every kind of request were compared.
  for (const kind of [
    "create",
    "produce",
    "fetch",
    "offsets",
    "commit",
    "committed",
    "describe",
    "describeGroup",
    "deleteGroup",
    "begin",
    "addOffsets",
    "end",
    "delete",
  ]) {
    expect([kind, kinds.has(`${kind} ok`)]).toEqual([kind, true]);
  }
  expect([...kinds.keys()].filter((kind) => !kind.endsWith(" ok")).length).toBeGreaterThan(8);
}, 120_000);
