/** The tables of `odradek txn`; times in seconds, open for as long as the tool's clock says. */
import type { ProducerState } from "../protocol/generated/DescribeProducersResponse.ts";
import type { DescribeTransactionsResponseTransactionState } from "../protocol/generated/DescribeTransactionsResponse.ts";
import { columns, type Row, SECONDS } from "./Table.ts";

export interface PartitionProducer {
  readonly topic: string;
  readonly partition: number;
  readonly producer: ProducerState;
}

export const LISTED_TRANSACTION = columns("ID", "STATE", "PRODUCER", "COORDINATOR");
export const DESCRIBED_TRANSACTION = columns(
  "ID",
  "STATE",
  "PRODUCER",
  "EPOCH",
  "COORDINATOR",
  { title: "TIMEOUT", decimals: 1 },
  SECONDS,
  "PARTITIONS",
);
export const PRODUCERS = columns(
  "TOPIC",
  "PARTITION",
  "PRODUCER",
  "EPOCH",
  "SEQUENCE",
  "COORDINATOR EPOCH",
  "START OFFSET",
  SECONDS,
);

export const describedRow = (
  transaction: DescribeTransactionsResponseTransactionState,
  coordinator: number,
  now: number,
): Row => [
  transaction.transactionalId,
  transaction.transactionState,
  transaction.producerId,
  transaction.producerEpoch,
  coordinator,
  transaction.transactionTimeoutMs / 1000,
  transaction.transactionStartTimeMs < 0 ? null : Math.max(0, now - transaction.transactionStartTimeMs) / 1000,
  transaction.topics.flatMap(({ topic, partitions }) => partitions.map((partition) => `${topic}-${partition}`)),
];

/** SECONDS: since the producer's last batch there. */
export const producerRow = ({ topic, partition, producer }: PartitionProducer, now: number): Row => [
  topic,
  partition,
  producer.producerId,
  producer.producerEpoch,
  producer.lastSequence < 0 ? null : producer.lastSequence,
  producer.coordinatorEpoch < 0 ? null : producer.coordinatorEpoch,
  producer.currentTxnStartOffset < 0 ? null : producer.currentTxnStartOffset,
  producer.lastTimestamp < 0 ? null : Math.max(0, now - producer.lastTimestamp) / 1000,
];
