/**
 * `odradek/testing`: what tests of a user's own program may use. Everything exported here is public and documented in
 * `README.md` beside it; everything else in this folder may change without notice.
 */

export type { FaultKind, FaultOptions, InjectedFault } from "./FaultDecisions.ts";
export {
  EARLIEST,
  type FetchedRecord,
  type FetchOptions,
  KafkaClient,
  KafkaError,
  LATEST,
  MAX_TIMESTAMP,
} from "./KafkaClient.ts";
export { KafkaProducer, type ProducerOptions } from "./KafkaProducer.ts";
export {
  type LogLevel,
  type PowerCut,
  type TestBroker,
  type TestBrokerOptions,
  type TestTopic,
  testBroker,
} from "./TestBroker.ts";
