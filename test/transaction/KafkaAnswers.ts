/**
 * A conversation about transactions with a broker, in every version that matters: what is asked is in the code, what was
 * answered is the transcript, without what differs from run to run (producer ids are numbered as they come). Apache
 * Kafka 4.3.1's transcript is `fixtures/kafka-4.3.1.txt`; run this file with a port to record a broker's.
 */
import { KafkaClient } from "../../actors/testing/KafkaClient.ts";
import type { ClientPlatform, KafkaConnection } from "../../actors/testing/KafkaConnection.ts";
import { makeBunPlatform } from "../../src/platform/BunPlatform.ts";
import type { Endpoint } from "../../src/platform/Network.ts";
import { ZERO_UUID } from "../../src/prelude/Types.ts";
import { ApiKey, Apis, type KnownApiKey, type RequestOf, type ResponseOf } from "../../src/protocol/ApiKeys.ts";
import { Errors, errorName } from "../../src/protocol/Errors.ts";
import { buildBatch } from "../../src/record/RecordBatchBuilder.ts";

interface Producer {
  readonly producerId: number;
  readonly producerEpoch: number;
}

/** Asked again: the broker is not there yet. */
const NOT_YET: ReadonlySet<number> = new Set([
  Errors.COORDINATOR_LOAD_IN_PROGRESS,
  Errors.COORDINATOR_NOT_AVAILABLE,
  Errors.NOT_COORDINATOR,
  Errors.CONCURRENT_TRANSACTIONS,
]);
const STEP_MS = 30;
const STEPS = 300;

class Conversation {
  readonly lines: string[] = [];
  private readonly producers = new Map<number, string>();

  constructor(
    private readonly client: KafkaClient,
    private readonly connection: KafkaConnection,
    private readonly run: string,
  ) {}

  /** An id of this run alone. */
  id(name: string): string {
    return `${name}-${this.run}`;
  }

  say(...parts: ReadonlyArray<string | number>): void {
    this.lines.push(parts.join(" ").replaceAll(this.run, "RUN"));
  }

  call<K extends KnownApiKey>(key: K, version: number, message: Partial<RequestOf<K>>): Promise<ResponseOf<K>> {
    return this.connection.request(key, { ...Apis[key].request.empty(), ...message }, version);
  }

  /** Repeats what is not answered yet. */
  async until<A>(ask: () => Promise<A>, errorOf: (answer: A) => number): Promise<A> {
    for (let step = 0; step < STEPS; step++) {
      const answer = await ask();
      if (!NOT_YET.has(errorOf(answer))) return answer;
      await this.client.sleep(STEP_MS);
    }
    throw new Error("never answered");
  }

  name(producerId: number): string {
    if (producerId < 0) return String(producerId);
    const name = this.producers.get(producerId) ?? `P${this.producers.size}`;
    this.producers.set(producerId, name);
    return name;
  }

  told({ errorCode, producerId, producerEpoch }: Producer & { readonly errorCode: number }): string {
    return `${errorName(errorCode)} ${this.name(producerId)} ${producerEpoch}`;
  }

  init(transactionalId: string, version = 5, more: Partial<RequestOf<22>> = {}): Promise<ResponseOf<22>> {
    const request = { transactionalId, transactionTimeoutMs: 60_000, producerId: -1, producerEpoch: -1, ...more };
    return this.call(ApiKey.InitProducerId, version, request);
  }

  begun(transactionalId: string, version = 5): Promise<ResponseOf<22>> {
    return this.until(
      () => this.init(transactionalId, version),
      ({ errorCode }) => errorCode,
    );
  }

  end(transactionalId: string, producer: Producer, committed: boolean, version: number): Promise<ResponseOf<26>> {
    const { producerId, producerEpoch } = producer;
    return this.call(ApiKey.EndTxn, version, { transactionalId, producerId, producerEpoch, committed });
  }

  async ended(transactionalId: string, producer: Producer, committed: boolean, version: number): Promise<string> {
    return this.told(await this.end(transactionalId, producer, committed, version));
  }

  async produce(
    transactionalId: string | null,
    { producerId, producerEpoch }: Producer,
    baseSequence: number,
    version: number,
    { partition = 0, transactional = true } = {},
  ): Promise<string> {
    const options = {
      timestamp: this.client.platform.clock.wall(),
      producerId,
      producerEpoch,
      baseSequence,
      transactional,
    };
    const records = buildBatch([{ value: Buffer.from("x") }], options);
    const topic =
      version >= 13 ? { name: "", topicId: this.client.knownTopicId("t") } : { name: "t", topicId: ZERO_UUID };
    const { responses } = await this.call(ApiKey.Produce, version, {
      transactionalId,
      acks: -1,
      timeoutMs: 5000,
      topicData: [{ ...topic, partitionData: [{ index: partition, records }] }],
    });
    const { errorCode, errorMessage } = responses[0]!.partitionResponses[0]!;
    return `${errorName(errorCode)} ${errorMessage ?? ""}`;
  }

  async add(
    transactionalId: string,
    { producerId, producerEpoch }: Producer,
    partitions: number[],
    version: number,
    topic = "t",
  ): Promise<string> {
    const topics = [{ name: topic, partitions }];
    const answer = await this.call(
      ApiKey.AddPartitionsToTxn,
      version,
      version < 4
        ? {
            v3AndBelowTransactionalId: transactionalId,
            v3AndBelowProducerId: producerId,
            v3AndBelowProducerEpoch: producerEpoch,
            v3AndBelowTopics: topics,
          }
        : { transactions: [{ transactionalId, producerId, producerEpoch, verifyOnly: false, topics }] },
    );
    const results = version < 4 ? answer.resultsByTopicV3AndBelow : answer.resultsByTransaction[0]!.topicResults;
    return results
      .flatMap(({ resultsByPartition }) => resultsByPartition)
      .toSorted((left, right) => left.partitionIndex - right.partitionIndex)
      .map(({ partitionErrorCode }) => errorName(partitionErrorCode))
      .join(",");
  }

  async describe(transactionalId: string): Promise<string> {
    const answer = await this.call(ApiKey.DescribeTransactions, 0, { transactionalIds: [transactionalId] });
    const state = answer.transactionStates[0]!;
    const { errorCode, transactionState, producerId, producerEpoch, transactionTimeoutMs } = state;
    const topics = state.topics.map(({ topic, partitions }) => `${topic}:${partitions.toSorted().join("+")}`);
    const start = state.transactionStartTimeMs > 0 ? "begun" : state.transactionStartTimeMs;
    const who = `${this.name(producerId)} ${producerEpoch}`;
    return `${errorName(errorCode)} ${transactionState} ${who} ${transactionTimeoutMs} [${topics}] ${start}`;
  }

  /** The description once no completion is under way. */
  async settled(transactionalId: string): Promise<string> {
    for (let step = 0; step < STEPS; step++) {
      const described = await this.describe(transactionalId);
      if (!described.includes("Prepare")) return described;
      await this.client.sleep(STEP_MS);
    }
    return "never";
  }

  async commitOffset(
    transactionalId: string,
    { producerId, producerEpoch }: Producer,
    groupId: string,
    version: number,
    { topic = "t", partition = 0, ...member }: Partial<RequestOf<28>> & { topic?: string; partition?: number } = {},
  ): Promise<string> {
    const committed = { committedOffset: 5, committedLeaderEpoch: -1, committedMetadata: null };
    const { topics } = await this.call(ApiKey.TxnOffsetCommit, version, {
      transactionalId,
      groupId,
      producerId,
      producerEpoch,
      generationId: -1,
      memberId: "",
      groupInstanceId: null,
      ...member,
      topics: [{ name: topic, partitions: [{ partitionIndex: partition, ...committed }] }],
    });
    return errorName(topics[0]!.partitions[0]!.errorCode);
  }

  async fetchOffset(groupId: string, requireStable: boolean): Promise<string> {
    const topics = [{ name: "t", topicId: ZERO_UUID, partitionIndexes: [0] }];
    const { groups } = await this.call(ApiKey.OffsetFetch, 9, {
      requireStable,
      groups: [{ groupId, memberId: null, memberEpoch: -1, topics }],
    });
    const { errorCode, committedOffset } = groups[0]!.topics[0]!.partitions[0]!;
    return `${errorName(groups[0]!.errorCode)} ${errorName(errorCode)} ${committedOffset}`;
  }

  async prepare(): Promise<void> {
    for (const [keyType, key] of [
      [0, "g"],
      [1, "x"],
    ] as const) {
      const ask = () => this.call(ApiKey.FindCoordinator, 6, { keyType, coordinatorKeys: [key] });
      await this.until(ask, ({ coordinators }) => coordinators[0]!.errorCode);
    }
    await this.begun(this.id("warm"));
  }
}

const next = ({ producerId, producerEpoch }: Producer, by: number): Producer => ({
  producerId,
  producerEpoch: producerEpoch + by,
});
const other = ({ producerId, producerEpoch }: Producer): Producer => ({ producerId: producerId + 9999, producerEpoch });

const aboutInit = async (talk: Conversation): Promise<void> => {
  for (const v of [0, 2, 3, 4, 5]) {
    const id = talk.id(`init${v}`);
    const first = await talk.begun(id, v);
    talk.say("init", v, talk.told(first));
    talk.say("init again", v, talk.told(await talk.init(id, v)));
    if (v < 3) continue;
    const as = async (producerId: number, producerEpoch: number, whose = id): Promise<string> =>
      talk.told(await talk.init(whose, v, { producerId, producerEpoch }));
    const { producerId } = first;
    talk.say("stale epoch", v, await as(producerId, 0));
    talk.say("present epoch", v, await as(producerId, 1));
    talk.say("last epoch", v, await as(producerId, 1));
    talk.say("other producer", v, await as(producerId + 5000, 2));
    talk.say("timeout 0", v, talk.told(await talk.init(id, v, { transactionTimeoutMs: 0 })));
    talk.say("unknown id", v, await as(77, 3, talk.id(`new${v}`)));
  }
};

const aboutEnd = async (talk: Conversation): Promise<void> => {
  for (const v of [3, 5]) {
    const id = talk.id(`end${v}`);
    let producer: Producer = await talk.init(id);
    const ended = (committed: boolean, by = producer): Promise<string> => talk.ended(id, by, committed, v);
    talk.say("empty", v, await talk.describe(id), await ended(true));
    const aborted = await talk.end(id, producer, false, v);
    talk.say("abort of nothing", v, talk.told(aborted), await talk.settled(id));
    if (v === 5) producer = aborted;
    talk.say("epoch above", v, await ended(true, next(producer, 1)), await ended(true, next(producer, 2)));
    talk.say("epoch below", v, await ended(true, next(producer, -1)), await ended(false, next(producer, -1)));
    talk.say("other producer", v, await ended(true, other(producer)));
    talk.say("unknown id", v, await talk.ended(talk.id("nobody"), producer, true, v));
    talk.say("empty id", v, await talk.ended("", producer, true, v));
    talk.say("add", v, await talk.add(id, producer, [0, 1], v === 3 ? 3 : 4), await talk.describe(id));
    talk.say(
      "add below",
      v,
      await talk.add(id, next(producer, -1), [0], 3),
      await talk.add(id, next(producer, 1), [0], 1),
    );
    talk.say("add other", v, await talk.add(id, other(producer), [0], 3));
    talk.say("add unknown", v, await talk.add(talk.id("nobody"), producer, [0], 3));
    talk.say(
      "add missing",
      v,
      await talk.add(id, producer, [0, 9], 3),
      await talk.add(id, producer, [0], 3, "missing"),
    );
    talk.say("end below", v, await ended(true, next(producer, -1)));
    const committed = await talk.end(id, producer, true, v);
    talk.say("commit", v, talk.told(committed), await talk.settled(id));
    talk.say("commit again", v, await ended(true), "and abort", await ended(false));
    if (v === 5) producer = committed;
    talk.say("present commit", v, await ended(true));
    talk.say("present abort", v, await ended(false), await talk.settled(id));
    talk.say("abort again", v, await ended(false), await talk.settled(id));
  }
};

const aboutProduce = async (talk: Conversation): Promise<void> => {
  for (const v of [9, 10, 11, 12, 13]) {
    const id = talk.id(`produce${v}`);
    const end = v < 12 ? 4 : 5;
    const first = await talk.init(id);
    const send = (sequence: number, by: Producer = first, more = {}): Promise<string> =>
      talk.produce(id, by, sequence, v, more);
    talk.say("no id", v, await talk.produce(null, first, 0, v));
    talk.say("unknown id", v, await talk.produce(talk.id("nobody"), first, 0, v));
    talk.say("not added", v, await send(0), await talk.describe(id));
    if (v < 12) talk.say("added", v, await talk.add(id, first, [0], 3), await send(0));
    talk.say("again", v, await send(0), "next", await send(1), "gap", await send(7));
    talk.say("plain inside", v, await send(2, first, { transactional: false }));
    talk.say("epoch above", v, await send(0, next(first, 1)));
    talk.say("new partition, later sequence", v, await send(5, first, { partition: 1 }));
    talk.say("fence", v, talk.told(await talk.init(id)));
    const second = await talk.begun(id);
    talk.say("fenced", v, talk.told(second), await send(2), await talk.ended(id, first, true, end));
    talk.say("fenced add", v, await talk.add(id, first, [0], 3), await talk.settled(id));
    if (v < 12) talk.say("added", v, await talk.add(id, second, [0], 3));
    talk.say("later sequence", v, await send(3, second), "first", await send(0, second));
    talk.say("end", v, await talk.ended(id, second, false, end), await talk.settled(id));
    talk.say("late", v, await send(1, second), "late again", await send(0, second), await talk.settled(id));
  }
};

const aboutOffsets = async (talk: Conversation): Promise<void> => {
  for (const v of [2, 3, 4, 5]) {
    const id = talk.id(`offsets${v}`);
    const group = talk.id(`group${v}`);
    const producer = await talk.init(id);
    const commit = (by: Producer = producer, more = {}): Promise<string> => talk.commitOffset(id, by, group, v, more);
    const fetched = async (): Promise<string> =>
      `${await talk.fetchOffset(group, true)} | ${await talk.fetchOffset(group, false)}`;
    talk.say("unknown id", v, await talk.commitOffset(talk.id("nobody"), producer, group, v));
    talk.say("not added", v, await commit());
    if (v < 5) {
      const request = { transactionalId: id, producerId: producer.producerId, producerEpoch: 0, groupId: group };
      talk.say("added", v, errorName((await talk.call(ApiKey.AddOffsetsToTxn, 3, request)).errorCode));
    }
    talk.say("commit", v, await commit(), await fetched());
    if (v >= 3) talk.say("generation", v, await commit(producer, { generationId: 3, memberId: "m" }));
    talk.say("missing", v, await commit(producer, { partition: 9 }), await commit(producer, { topic: "missing" }));
    talk.say("epoch above", v, await commit(next(producer, 1)), "other", await commit(other(producer)));
    talk.say("end", v, await talk.ended(id, producer, v % 2 === 0, v < 5 ? 3 : 5));
    await talk.settled(id);
    talk.say("ended", v, await fetched());
    talk.say("late", v, await commit(), await fetched(), await talk.settled(id));
  }
};

const aboutOperators = async (talk: Conversation): Promise<void> => {
  const { topics } = await talk.call(ApiKey.DescribeProducers, 0, {
    topics: ["t", "missing", "b@d"].map((name) => ({ name, partitionIndexes: name === "t" ? [0, 9] : [0] })),
  });
  for (const { name, partitions } of topics) {
    for (const { partitionIndex, errorCode, errorMessage, activeProducers } of partitions) {
      const producers = activeProducers.map(
        (one) =>
          `${talk.name(one.producerId)}/${one.producerEpoch}/${one.lastSequence}/${one.coordinatorEpoch}/${one.currentTxnStartOffset}`,
      );
      talk.say(
        "producers",
        name,
        partitionIndex,
        errorName(errorCode),
        errorMessage ?? "",
        producers.toSorted().join(" "),
      );
    }
  }
  const filters: ReadonlyArray<Partial<RequestOf<66>>> = [
    { stateFilters: ["Foo", "Dead", "Ongoing"] },
    { transactionalIdPattern: `offsets.-${talk.id("")}`.replace("--", "-") },
    { transactionalIdPattern: "a(" },
    { durationFilter: 1 << 30 },
  ];
  for (const filter of filters) {
    const answer = await talk.call(ApiKey.ListTransactions, 2, filter);
    const ids = answer.transactionStates.map(
      ({ transactionalId, transactionState }) => `${transactionalId}=${transactionState}`,
    );
    talk.say("list", errorName(answer.errorCode), answer.unknownStateFilters.join("+"), ids.toSorted().join(" "));
  }
  const { markers } = await talk.call(ApiKey.WriteTxnMarkers, 1, {
    markers: [
      {
        producerId: 999_999,
        producerEpoch: 0,
        transactionResult: false,
        coordinatorEpoch: 0,
        transactionVersion: 0,
        topics: [
          { name: "t", partitionIndexes: [1, 9] },
          { name: "missing", partitionIndexes: [0] },
        ],
      },
    ],
  });
  const written = markers[0]!.topics.flatMap(({ name, partitions }) =>
    partitions.map(({ partitionIndex, errorCode }) => `${name}-${partitionIndex}=${errorName(errorCode)}`),
  );
  talk.say("markers", written.toSorted().join(" "));
};

/** The whole conversation with the broker at `endpoint`, line by line. */
export const transcript = async (endpoint: Endpoint, platform: ClientPlatform): Promise<string[]> => {
  const client = new KafkaClient(platform, { bootstrap: [endpoint] });
  await client.createTopic("t", { partitions: 2, orExists: true });
  const talk = new Conversation(client, await client.connection("any"), platform.clock.wall().toString(36));
  await talk.prepare();
  for (const about of [aboutInit, aboutEnd, aboutProduce, aboutOffsets, aboutOperators]) await about(talk);
  client.close();
  return talk.lines;
};

if (import.meta.main) {
  const lines = await transcript({ host: "127.0.0.1", port: Number(process.argv[2]) }, makeBunPlatform());
  process.stdout.write(`${lines.join("\n")}\n`);
}
