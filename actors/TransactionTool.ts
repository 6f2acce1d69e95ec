/**
 * `odradek txn`: what an administrator asks of transactions, over the wire like any client (Kafka's
 * `kafka-transactions`). What must stay true: a transaction that a coordinator still has is never ended by a marker to
 * one partition, which would break it in two; it is aborted by its coordinator, everywhere.
 */
import type { TopicScope } from "../src/cli/Options.ts";
import { report } from "../src/cli/Table.ts";
import type { TransactionArguments, TransactionFilter } from "../src/cli/TransactionArguments.ts";
import {
  DESCRIBED_TRANSACTION,
  describedRow,
  LISTED_TRANSACTION,
  type PartitionProducer,
  PRODUCERS,
  producerRow,
} from "../src/cli/TransactionReport.ts";
import type { TopicPartition } from "../src/prelude/Types.ts";
import { ApiKey, type ResponseOf } from "../src/protocol/ApiKeys.ts";
import { Errors, errorName } from "../src/protocol/Errors.ts";
import { type AdminClient, withAdminClient } from "./AdminClient.ts";
import type { ExitCode, Tool } from "./Tool.ts";

type Arguments<Verb extends TransactionArguments["verb"]> = Extract<TransactionArguments, { readonly verb: Verb }>;
type Described = ResponseOf<typeof ApiKey.DescribeTransactions>["transactionStates"][number];

/** Partitions in one DescribeProducers, as in Kafka's tool. */
const BATCH = 500;

export const runTransactionTool: Tool<TransactionArguments> = (args, platform, terminal) =>
  withAdminClient(platform, args.brokers, async (admin): Promise<ExitCode> => {
    await terminal.write(await resultOf(new TransactionTool(admin), args, admin.now()));
    return 0;
  });

/** What one command has to say. */
const resultOf = async (tool: TransactionTool, args: TransactionArguments, now: number): Promise<string> => {
  switch (args.verb) {
    case "list":
      return report(args.format, LISTED_TRANSACTION, await tool.list(args));
    case "describe":
      return report(args.format, DESCRIBED_TRANSACTION, await tool.describe(args.transactionalIds));
    case "describe-producers":
    case "find-hanging": {
      const found = args.verb === "find-hanging" ? tool.findHanging(args) : tool.producers(args.scopes);
      const rows = (await found).map((each) => producerRow(each, now));
      return report(args.format, PRODUCERS, rows);
    }
    case "abort": {
      const aborted = await tool.abort(args.transactionalId);
      const text = `${args.transactionalId}: the transaction is aborted, producer ${aborted.producerId} is fenced\n`;
      return args.format === "json" ? `${JSON.stringify({ ...aborted, aborted: true })}\n` : text;
    }
    case "abort-hanging": {
      const { topic, partition, startOffset } = args;
      await tool.abortHanging(args);
      const text = `${topic}-${partition}: the transaction from offset ${startOffset} on is aborted\n`;
      const told = { topic, partition, startOffset, aborted: true };
      return args.format === "json" ? `${JSON.stringify(told)}\n` : text;
    }
  }
};

class TransactionTool {
  constructor(private readonly admin: AdminClient) {}

  async list({ states, producerIds, durationMs, pattern }: TransactionFilter) {
    const filter = {
      stateFilters: [...states],
      producerIdFilters: [...producerIds],
      durationFilter: durationMs,
      transactionalIdPattern: pattern,
    };
    const rows: Array<[id: string, state: string, producerId: number, coordinator: number]> = [];
    for (const node of await this.admin.nodes()) {
      const answer = await this.admin.retried(
        () => this.admin.ask(node, ApiKey.ListTransactions, filter),
        ({ errorCode }) => errorCode,
      );
      const [unknown] = answer.unknownStateFilters;
      if (unknown !== undefined) throw new Error(`--state ${unknown}: there is no such state`);
      for (const { transactionalId, transactionState, producerId } of answer.transactionStates) {
        rows.push([transactionalId, transactionState, producerId, node]);
      }
    }
    return rows.sort(([left], [right]) => (left < right ? -1 : 1));
  }

  async describe(transactionalIds: ReadonlyArray<string>) {
    const rows = [];
    for (const id of transactionalIds) {
      const { coordinator, described } = await this.described(id);
      if (described === undefined) throw new Error(`there is no transactional id ${id}`);
      rows.push(describedRow(described, coordinator, this.admin.now()));
    }
    return rows;
  }

  /** What the partitions know of their producers, by topic and partition. */
  async producers(scopes: ReadonlyArray<TopicScope>): Promise<PartitionProducer[]> {
    const found: PartitionProducer[] = [];
    for (const [node, partitions] of await this.byLeader(scopes)) {
      for (let at = 0; at < partitions.length; at += BATCH) {
        found.push(...(await this.producersOn(node, partitions.slice(at, at + BATCH))));
      }
    }
    return found.sort((a, b) => (a.topic === b.topic ? a.partition - b.partition : a.topic < b.topic ? -1 : 1));
  }

  /** Open for longer than any transaction may be, and no coordinator has the partition on its list. */
  async findHanging({ scopes, maxTimeoutMs }: Arguments<"find-hanging">): Promise<PartitionProducer[]> {
    const now = this.admin.now();
    const old = (await this.producers(scopes)).filter(
      ({ producer }) => producer.currentTxnStartOffset >= 0 && now - producer.lastTimestamp > maxTimeoutMs,
    );
    const hanging: PartitionProducer[] = [];
    for (const each of old) if ((await this.ownerOf(each)) === undefined) hanging.push(each);
    return hanging;
  }

  /** By the coordinator, under an epoch above its producer's. */
  async abort(transactionalId: string): Promise<{ transactionalId: string; producerId: number }> {
    const { coordinator, described } = await this.described(transactionalId);
    if (described === undefined) throw new Error(`there is no transactional id ${transactionalId}`);
    const { transactionState, producerId, transactionTimeoutMs } = described;
    if (transactionState !== "Ongoing") {
      throw new Error(`${transactionalId} has no open transaction, it is in ${transactionState}`);
    }
    // Without a producer id: whoever is at work is fenced. Answered when the abort is complete.
    await this.admin.retried(
      () =>
        this.admin.ask(coordinator, ApiKey.InitProducerId, {
          transactionalId,
          transactionTimeoutMs,
          producerId: -1,
          producerEpoch: -1,
        }),
      ({ errorCode }) => errorCode,
    );
    return { transactionalId, producerId };
  }

  /** By a marker of the producer's own epoch, which its coordinator has forgotten. */
  async abortHanging({ topic, partition, startOffset }: Arguments<"abort-hanging">): Promise<void> {
    const producers = await this.producers([{ topic, partitions: [partition] }]);
    const open = producers.find(({ producer }) => producer.currentTxnStartOffset === startOffset);
    if (open === undefined)
      throw new Error(`no transaction is open from offset ${startOffset} of ${topic}-${partition} on`);
    const owner = await this.ownerOf(open);
    if (owner !== undefined)
      throw new Error(`this is the transaction of ${owner} and does not hang: txn abort ${owner}`);
    const { producerId, producerEpoch, coordinatorEpoch } = open.producer;
    const [leader] = (await this.byLeader([{ topic, partitions: [partition] }])).keys();
    const answer = await this.admin.ask(leader!, ApiKey.WriteTxnMarkers, {
      markers: [
        {
          producerId,
          producerEpoch,
          transactionResult: false,
          topics: [{ name: topic, partitionIndexes: [partition] }],
          // Below any coordinator's, if none has written a marker there.
          coordinatorEpoch: Math.max(0, coordinatorEpoch),
          transactionVersion: 0,
        },
      ],
    });
    const error = answer.markers[0]?.topics[0]?.partitions[0]?.errorCode ?? Errors.UNKNOWN_SERVER_ERROR;
    if (error !== Errors.NONE) throw new Error(`${topic}-${partition}: ${errorName(error)}`);
  }

  private async described(
    transactionalId: string,
  ): Promise<{ readonly coordinator: number; readonly described: Described | undefined }> {
    const coordinator = await this.admin.coordinator("transaction", transactionalId);
    const answer = await this.admin.retried(
      () => this.admin.ask(coordinator, ApiKey.DescribeTransactions, { transactionalIds: [transactionalId] }),
      ({ transactionStates }) => transactionStates[0]!.errorCode,
      [Errors.TRANSACTIONAL_ID_NOT_FOUND],
    );
    const [described] = answer.transactionStates;
    return { coordinator, described: described?.errorCode === Errors.NONE ? described : undefined };
  }

  /** The transactional id whose coordinator will end the transaction in this partition; undefined: it hangs. */
  private async ownerOf({ topic, partition, producer }: PartitionProducer): Promise<string | undefined> {
    const { producerId } = producer;
    const listed = await this.list({ states: [], producerIds: [producerId], durationMs: -1, pattern: null });
    for (const [transactionalId] of listed) {
      const { described } = await this.described(transactionalId);
      const has = described?.topics.some((each) => each.topic === topic && each.partitions.includes(partition));
      if (has === true) return transactionalId;
    }
    return undefined;
  }

  /** The scopes' partitions by the broker that leads them; no scope: every partition there is. */
  private async byLeader(scopes: ReadonlyArray<TopicScope>): Promise<Map<number, TopicPartition[]>> {
    const { topics } = await this.admin.client.metadata(scopes.length === 0 ? null : scopes.map(({ topic }) => topic));
    const found = new Map<number, TopicPartition[]>();
    for (const { name: topic, errorCode, partitions } of topics) {
      if (topic === null || errorCode !== Errors.NONE)
        throw new Error(`${topic ?? "a topic"}: ${errorName(errorCode)}`);
      const wanted = scopes
        .filter((scope) => scope.topic === topic)
        .flatMap((scope) => scope.partitions ?? partitions.map((each) => each.partitionIndex));
      for (const { partitionIndex: partition, leaderId } of partitions) {
        if (scopes.length > 0 && !wanted.includes(partition)) continue;
        const others = found.get(leaderId);
        if (others === undefined) found.set(leaderId, [{ topic, partition }]);
        else others.push({ topic, partition });
      }
      const missing = wanted.find((each) => !partitions.some(({ partitionIndex }) => partitionIndex === each));
      if (missing !== undefined) throw new Error(`${topic} has no partition ${missing}`);
    }
    return found;
  }

  private async producersOn(node: number, partitions: ReadonlyArray<TopicPartition>): Promise<PartitionProducer[]> {
    const byTopic = Map.groupBy(partitions, ({ topic }) => topic);
    const topics = Array.from(byTopic, ([name, places]) => ({
      name,
      partitionIndexes: places.map(({ partition }) => partition),
    }));
    const answer = await this.admin.ask(node, ApiKey.DescribeProducers, { topics });
    return answer.topics.flatMap(({ name: topic, partitions: described }) =>
      described.flatMap(({ partitionIndex: partition, errorCode, activeProducers }) => {
        if (errorCode !== Errors.NONE) throw new Error(`${topic}-${partition}: ${errorName(errorCode)}`);
        return activeProducers.map((producer) => ({ topic, partition, producer }));
      }),
    );
  }
}
