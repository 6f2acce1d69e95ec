/**
 * `odradek/testing`: what tests of a user's own program may use. Everything exported here is public and documented in
 * `README.md` beside it; everything else in this folder may change without notice.
 */
export type { FaultKind, FaultOptions, InjectedFault } from "./FaultDecisions.ts";
export type { FetchedRecord } from "./FetchedRecords.ts";
export { KafkaAdmin } from "./KafkaAdmin.ts";
export {
  type ClientOptions,
  EARLIEST,
  type FetchOptions,
  KafkaClient,
  KafkaError,
  LATEST,
  MAX_TIMESTAMP,
} from "./KafkaClient.ts";
export { type ConsumerOptions, KafkaConsumer, type PolledPartition } from "./KafkaConsumer.ts";
export { KafkaProducer, type ProduceOutcome, type ProducerOptions } from "./KafkaProducer.ts";
export type { CommitOutcome, CommittedOffset, OffsetToCommit } from "./Offsets.ts";
export {
  type LogLevel,
  type PowerCut,
  type TestBroker,
  type TestBrokerOptions,
  type TestTopic,
  testBroker,
} from "./TestBroker.ts";
