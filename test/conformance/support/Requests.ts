/**
 * The few requests every wire test needs, as short calls: create a topic, produce, fetch, list offsets.
 */
import type { Fields, Value } from "./Definitions.ts";
import type { Context } from "./Suite.ts";
import { at, bytesAt, matches, numberAt, textAt } from "./Tree.ts";
import { Wire } from "./Wire.ts";

/** A raw connection to the shared broker, closed after the test. */
export const connected = async (context: Context): Promise<Wire> => {
  const wire = await Wire.open(context.broker);
  context.cleanup(() => wire.close());
  return wire;
};

export interface CreatedTopic {
  readonly name: string;
  readonly id: string;
}

/** Creates a topic and waits until the broker leads its partitions. */
export const createTopic = async (
  wire: Wire,
  name: string,
  partitions = 1,
  configs: Readonly<Record<string, string>> = {},
): Promise<CreatedTopic> => {
  const answer = await wire.call("CreateTopics", 7, {
    topics: [
      {
        name,
        numPartitions: partitions,
        replicationFactor: 1,
        configs: Object.entries(configs).map(([key, value]) => ({ name: key, value })),
      },
    ],
    timeoutMs: 10_000,
  });
  matches(answer, { topics: [{ errorCode: 0 }] }, `creating ${name}`);
  const id = textAt(answer, "topics.0.topicId");
  for (let attempt = 0; attempt < 200; attempt++) {
    const answers: Fields[] = [];
    for (let partition = 0; partition < partitions; partition++) {
      answers.push(await wire.call("ListOffsets", 7, listOffsetsBody(name, partition, -1)));
    }
    if (answers.every((each) => at(each, "topics.0.partitions.0.errorCode") === 0)) return { name, id };
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error(`${name} has no leader after 4 s`);
};

export const createdTopic = async (
  context: Context,
  partitions = 1,
  configs: Readonly<Record<string, string>> = {},
) => {
  const wire = await connected(context);
  return { wire, ...(await createTopic(wire, context.topic(), partitions, configs)) };
};

export interface ProduceOptions {
  readonly partition?: number;
  readonly acks?: number;
  readonly version?: number;
  readonly transactionalId?: string | null;
}

/** `topic` is a name up to version 12 and an id from 13 on. */
export const produceBody = (topic: string, records: Uint8Array | null, options: ProduceOptions = {}): Fields => {
  const version = options.version ?? 9;
  return {
    ...(options.transactionalId === undefined ? {} : { transactionalId: options.transactionalId }),
    acks: options.acks ?? -1,
    timeoutMs: 5000,
    topicData: [
      {
        ...(version >= 13 ? { topicId: topic } : { name: topic }),
        partitionData: [{ index: options.partition ?? 0, records }],
      },
    ],
  };
};

/** Produces and answers the one partition's response. */
export const produce = async (
  wire: Wire,
  topic: string,
  records: Uint8Array,
  options: ProduceOptions = {},
): Promise<Fields> => {
  const answer = await wire.call("Produce", options.version ?? 9, produceBody(topic, records, options));
  return fieldsAt(answer, "responses.0.partitionResponses.0");
};

export const fieldsAt = (tree: Value, path: string): Fields => {
  const value = at(tree, path);
  if (value === null || typeof value !== "object" || Array.isArray(value) || value instanceof Uint8Array) {
    throw new Error(`nothing at ${path} in ${JSON.stringify(tree)}`);
  }
  return value as Fields;
};

export interface FetchOptions {
  readonly version?: number;
  readonly partition?: number;
  readonly maxWaitMs?: number;
  readonly minBytes?: number;
  readonly maxBytes?: number;
  readonly partitionMaxBytes?: number;
  readonly isolationLevel?: number;
  readonly sessionId?: number;
  readonly sessionEpoch?: number;
  readonly currentLeaderEpoch?: number;
  readonly lastFetchedEpoch?: number;
}

export const fetchBody = (topic: string, offset: number, options: FetchOptions = {}): Fields => {
  const version = options.version ?? 11;
  return {
    ...(version <= 14 ? { replicaId: -1 } : {}),
    maxWaitMs: options.maxWaitMs ?? 0,
    minBytes: options.minBytes ?? 1,
    maxBytes: options.maxBytes ?? 50 << 20,
    isolationLevel: options.isolationLevel ?? 0,
    ...(version >= 7 ? { sessionId: options.sessionId ?? 0, sessionEpoch: options.sessionEpoch ?? -1 } : {}),
    topics: [
      {
        ...(version >= 13 ? { topicId: topic } : { topic }),
        partitions: [
          {
            partition: options.partition ?? 0,
            fetchOffset: offset,
            ...(version >= 9 ? { currentLeaderEpoch: options.currentLeaderEpoch ?? -1 } : {}),
            ...(version >= 12 ? { lastFetchedEpoch: options.lastFetchedEpoch ?? -1 } : {}),
            partitionMaxBytes: options.partitionMaxBytes ?? 50 << 20,
          },
        ],
      },
    ],
  };
};

/** Fetches one partition and answers its part of the response. */
export const fetchOne = async (
  wire: Wire,
  topic: string,
  offset: number,
  options: FetchOptions = {},
): Promise<Fields> => {
  const answer = await wire.call("Fetch", options.version ?? 11, fetchBody(topic, offset, options));
  return fieldsAt(answer, "responses.0.partitions.0");
};

export const fetchRecords = async (
  wire: Wire,
  topic: string,
  offset: number,
  options: FetchOptions = {},
): Promise<Uint8Array> => {
  const partition = await fetchOne(wire, topic, offset, options);
  matches(partition, { errorCode: 0 }, "fetch");
  return bytesAt(partition, "records");
};

export const listOffsetsBody = (
  topic: string,
  partition: number,
  timestamp: number,
  isolationLevel = 0,
  epoch = -1,
): Fields => ({
  replicaId: -1,
  isolationLevel,
  topics: [{ name: topic, partitions: [{ partitionIndex: partition, timestamp, currentLeaderEpoch: epoch }] }],
});

export const listOffsets = async (
  wire: Wire,
  topic: string,
  timestamp: number,
  version = 7,
  isolationLevel = 0,
): Promise<Fields> => {
  const body = listOffsetsBody(topic, 0, timestamp, isolationLevel);
  if (version < 4) {
    const partitions = [{ partitionIndex: 0, timestamp }];
    const plain = { replicaId: -1, ...(version >= 2 ? { isolationLevel } : {}), topics: [{ name: topic, partitions }] };
    return fieldsAt(await wire.call("ListOffsets", version, plain), "topics.0.partitions.0");
  }
  return fieldsAt(await wire.call("ListOffsets", version, body), "topics.0.partitions.0");
};

export const initProducerId = async (
  wire: Wire,
): Promise<{ readonly producerId: number; readonly producerEpoch: number }> => {
  for (let attempt = 0; attempt < 100; attempt++) {
    const answer = await wire.call("InitProducerId", 4, {
      transactionalId: null,
      transactionTimeoutMs: 60_000,
      producerId: -1,
      producerEpoch: -1,
    });
    // Kafka is still loading its id block right after start: COORDINATOR_LOAD_IN_PROGRESS.
    if (numberAt(answer, "errorCode") === 0) {
      return { producerId: numberAt(answer, "producerId"), producerEpoch: numberAt(answer, "producerEpoch") };
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error("no producer id");
};
