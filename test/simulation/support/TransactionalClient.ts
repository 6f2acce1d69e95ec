/**
 * A transactional producer as Kafka's clients are, in either version of the protocol, over KafkaClient: it retries what
 * may be retried, keeps its sequences, and takes the epoch of each answer over. What it cannot know it says is unknown.
 */
import type { KafkaClient } from "../../../actors/testing/KafkaClient.ts";
import { ConnectionLost } from "../../../actors/testing/KafkaConnection.ts";
import { KafkaError } from "../../../actors/testing/KafkaError.ts";
import { ZERO_UUID } from "../../../src/prelude/Types.ts";
import { ApiKey, Apis, type KnownApiKey, type RequestOf, type ResponseOf } from "../../../src/protocol/ApiKeys.ts";
import { Errors, errorName } from "../../../src/protocol/Errors.ts";
import { buildBatch } from "../../../src/record/RecordBatchBuilder.ts";

/** The newest versions a client of transactions version 0/1 speaks. */
export const OLD_CLIENT: Readonly<Record<number, number>> = {
  [ApiKey.Produce]: 11,
  [ApiKey.EndTxn]: 4,
  [ApiKey.TxnOffsetCommit]: 4,
  [ApiKey.AddPartitionsToTxn]: 3,
};

/** Asked again: nothing is known, or not yet. */
const RETRIABLE: ReadonlySet<number> = new Set([
  Errors.CONCURRENT_TRANSACTIONS,
  Errors.COORDINATOR_LOAD_IN_PROGRESS,
  Errors.COORDINATOR_NOT_AVAILABLE,
  Errors.NOT_COORDINATOR,
  Errors.NOT_ENOUGH_REPLICAS,
  Errors.NOT_ENOUGH_REPLICAS_AFTER_APPEND,
  Errors.NOT_LEADER_OR_FOLLOWER,
  Errors.REQUEST_TIMED_OUT,
  Errors.KAFKA_STORAGE_ERROR,
  Errors.UNKNOWN_TOPIC_OR_PARTITION,
  Errors.UNKNOWN_TOPIC_ID,
]);

const BACKOFF_MS = 20;

/** The transaction cannot go on: the broker has said why. */
export class Refused extends Error {
  constructor(
    what: string,
    readonly code: number,
  ) {
    super(`${what}: ${errorName(code)}`);
  }
}

/** A marker as a coordinator writes it. */
export interface WrittenMarker {
  readonly producerId: number;
  readonly producerEpoch: number;
  readonly committed: boolean;
  readonly topic: string;
  readonly partitions: ReadonlyArray<number>;
}

/** No answer in time. */
export class GivenUp extends Error {}

export class TransactionalClient {
  producerId = -1;
  producerEpoch = -1;
  private readonly sequences = new Map<string, number>();
  private readonly added = new Set<string>();

  constructor(
    private readonly client: KafkaClient,
    readonly transactionalId: string,
    /** 1 or 2: of the transactions' protocol; a client of version 1 has `OLD_CLIENT` as its newest versions. */
    readonly version: 1 | 2,
    private readonly timeoutMs: number,
    private readonly patienceMs: number,
    private readonly now: () => number,
  ) {}

  /** Makes the internal topics, as FindCoordinator does for real clients. */
  async findCoordinators(group: string): Promise<void> {
    for (const [keyType, key] of [
      [0, group],
      [1, this.transactionalId],
    ] as const) {
      const errorOf = ({ coordinators }: ResponseOf<10>): number => coordinators[0]!.errorCode;
      await this.ask("FindCoordinator", ApiKey.FindCoordinator, { keyType, coordinatorKeys: [key] }, errorOf);
    }
  }

  async init(): Promise<void> {
    const answer = await this.ask(
      "InitProducerId",
      ApiKey.InitProducerId,
      {
        transactionalId: this.transactionalId,
        transactionTimeoutMs: this.timeoutMs,
        producerId: -1,
        producerEpoch: -1,
      },
      ({ errorCode }) => errorCode,
    );
    this.take(answer.producerId, answer.producerEpoch);
  }

  /** Sends one batch; answers its base offset, -1 when the broker only says that it has it. */
  async send(topic: string, partition: number, values: ReadonlyArray<string>): Promise<number> {
    const where = `${topic}-${partition}`;
    if (this.version === 1 && !this.added.has(where)) await this.addPartition(topic, partition);
    this.added.add(where);
    const sequence = this.sequences.get(where) ?? 0;
    this.sequences.set(where, sequence + values.length);
    return this.produce(topic, partition, values, sequence);
  }

  /** Waits until the transaction that has ended is complete: every marker is written. */
  async completed(): Promise<void> {
    for (;;) {
      const answer = await this.ask(
        "DescribeTransactions",
        ApiKey.DescribeTransactions,
        { transactionalIds: [this.transactionalId] },
        ({ transactionStates }) => transactionStates[0]!.errorCode,
      );
      if (!answer.transactionStates[0]!.transactionState.startsWith("Prepare")) return;
      await this.client.sleep(BACKOFF_MS);
    }
  }

  /** A batch outside of any transaction, as a request that was late on its way: to be refused. */
  async sendStray(topic: string, partition: number, value: string): Promise<void> {
    await this.produce(topic, partition, [value], this.sequences.get(`${topic}-${partition}`) ?? 0);
  }

  /** A marker of version 2 from the first coordinator there was; once, whatever the answer. */
  async writeMarker({ topic, partitions, committed: transactionResult, ...producer }: WrittenMarker): Promise<void> {
    const topics = [{ name: topic, partitionIndexes: [...partitions] }];
    await this.client.request("any", ApiKey.WriteTxnMarkers, {
      markers: [{ ...producer, transactionResult, topics, coordinatorEpoch: 0, transactionVersion: 2 }],
    });
  }

  private async produce(
    topic: string,
    partition: number,
    values: ReadonlyArray<string>,
    sequence: number,
  ): Promise<number> {
    const { producerId, producerEpoch } = this;
    const records = buildBatch(
      values.map((value) => ({ value: Buffer.from(value, "latin1") })),
      { timestamp: this.now(), producerId, producerEpoch, baseSequence: sequence, transactional: true },
    );
    const partitionOf = (answer: ResponseOf<0>) => answer.responses[0]!.partitionResponses[0]!;
    const answer = await this.ask(
      "Produce",
      ApiKey.Produce,
      {
        transactionalId: this.transactionalId,
        acks: -1,
        timeoutMs: 30_000,
        topicData: [
          {
            ...(this.version === 1
              ? { name: topic, topicId: ZERO_UUID }
              : { name: "", topicId: this.client.knownTopicId(topic) }),
            partitionData: [{ index: partition, records }],
          },
        ],
      },
      (response) => partitionOf(response).errorCode,
    );
    return partitionOf(answer).baseOffset;
  }

  private async addPartition(topic: string, partition: number): Promise<void> {
    await this.ask(
      "AddPartitionsToTxn",
      ApiKey.AddPartitionsToTxn,
      {
        v3AndBelowTransactionalId: this.transactionalId,
        v3AndBelowProducerId: this.producerId,
        v3AndBelowProducerEpoch: this.producerEpoch,
        v3AndBelowTopics: [{ name: topic, partitions: [partition] }],
      },
      ({ resultsByTopicV3AndBelow }) => resultsByTopicV3AndBelow[0]!.resultsByPartition[0]!.partitionErrorCode,
    );
  }

  async sendOffset(groupId: string, topic: string, partition: number, offset: number): Promise<void> {
    const { transactionalId, producerId, producerEpoch } = this;
    if (this.version === 1) {
      await this.ask(
        "AddOffsetsToTxn",
        ApiKey.AddOffsetsToTxn,
        { transactionalId, producerId, producerEpoch, groupId },
        ({ errorCode }) => errorCode,
      );
    }
    await this.ask(
      "TxnOffsetCommit",
      ApiKey.TxnOffsetCommit,
      {
        transactionalId,
        groupId,
        producerId,
        producerEpoch,
        generationId: -1,
        memberId: "",
        groupInstanceId: null,
        topics: [
          {
            name: topic,
            partitions: [
              { partitionIndex: partition, committedOffset: offset, committedLeaderEpoch: -1, committedMetadata: "" },
            ],
          },
        ],
      },
      ({ topics }) => topics[0]!.partitions[0]!.errorCode,
    );
  }

  async end(committed: boolean): Promise<void> {
    const { transactionalId, producerId, producerEpoch } = this;
    const answer = await this.ask(
      "EndTxn",
      ApiKey.EndTxn,
      { transactionalId, producerId, producerEpoch, committed },
      ({ errorCode }) => errorCode,
    );
    this.added.clear();
    if (this.version === 2) this.take(answer.producerId, answer.producerEpoch);
  }

  private take(producerId: number, producerEpoch: number): void {
    this.producerId = producerId;
    this.producerEpoch = producerEpoch;
    this.sequences.clear();
    this.added.clear();
  }

  private async ask<K extends KnownApiKey>(
    what: string,
    apiKey: K,
    message: Partial<RequestOf<K>>,
    errorOf: (answer: ResponseOf<K>) => number,
  ): Promise<ResponseOf<K>> {
    const deadline = this.now() + this.patienceMs;
    for (;;) {
      try {
        const answer = await this.client.request("any", apiKey, { ...Apis[apiKey].request.empty(), ...message });
        const error = errorOf(answer);
        if (error === Errors.NONE) return answer;
        if (!RETRIABLE.has(error)) throw new Refused(`${this.transactionalId} ${what}`, error);
      } catch (error) {
        if (!(error instanceof ConnectionLost || error instanceof KafkaError)) throw error;
      }
      if (this.now() > deadline) throw new GivenUp(`${this.transactionalId} ${what}`);
      await this.client.sleep(BACKOFF_MS);
    }
  }
}
