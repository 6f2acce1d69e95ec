/**
 * `odradek/testing`: what tests of a user's own program may use. Everything exported here is public and documented in
 * `README.md` beside it; everything else in this folder may change without notice.
 */
export { type Anomaly, checkTwice as checkHistory, type Report, type SubscribedVia } from "./ConsistencyChecker.ts";
export type { FaultKind, FaultOptions, InjectedFault } from "./FaultDecisions.ts";
export type { FetchedRecord } from "./FetchedRecords.ts";
export { HistoryRecorder, type Mop, type Op } from "./History.ts";
export { KafkaAdmin } from "./KafkaAdmin.ts";
export {
  type ClientOptions,
  EARLIEST,
  type FetchOptions,
  KafkaClient,
  LATEST,
  MAX_TIMESTAMP,
} from "./KafkaClient.ts";
export { type ConsumerOptions, KafkaConsumer, type PolledPartition } from "./KafkaConsumer.ts";
export { KafkaError } from "./KafkaError.ts";
export { KafkaProducer, type ProduceOutcome, type ProducerOptions } from "./KafkaProducer.ts";
export type { CommitOutcome, CommittedOffset, GroupIdentity, OffsetToCommit } from "./Offsets.ts";
export { RecordedHistory } from "./RecordedHistory.ts";
export {
  type Simulated,
  type SimulatedBrokerControls,
  type SimulatedFault,
  type SimulatedFaultKind,
  type SimulatedFaultOptions,
  type SimulatedMachine,
  type SimulatedRandom,
  type SimulatedWorld,
  type SimulateOptions,
  SimulationFailure,
  simulate,
} from "./Simulate.ts";
export {
  type LogLevel,
  type PowerCut,
  type TestBroker,
  type TestBrokerOptions,
  type TestTopic,
  testBroker,
} from "./TestBroker.ts";
export type { TransactionOutcome, TransactionState } from "./TransactionManager.ts";
