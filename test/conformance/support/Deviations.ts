/**
 * Every place where our answer is not Kafka's, with the reason. A test may expect two different things only through this table,
 * and the table in README.md says the same.
 */
import type { BrokerKind } from "./Brokers.ts";
import type { Expected } from "./Tree.ts";

export interface Deviation {
  readonly what: string;
  readonly kafka: Expected;
  readonly ours: Expected;
  readonly reason: string;
}

const table = <const T extends Record<string, Deviation>>(rows: T): T => rows;

export const deviations = table({
  autoCreate: {
    what: "Metadata that creates a topic",
    kafka: 3,
    ours: 0,
    reason:
      "the topic is ready in the very answer that created it; Kafka says UNKNOWN_TOPIC_OR_PARTITION and is ready some 10 ms later",
  },
  codec5: {
    what: "Produce with codec bits 5",
    kafka: -1,
    ours: 87,
    reason: "UNKNOWN_SERVER_ERROR makes idempotent producers write duplicates (KAFKA-14034)",
  },
  badGzip: {
    what: "Produce with codec gzip and bytes that are not gzip",
    kafka: -1,
    ours: 2,
    reason: "UNKNOWN_SERVER_ERROR makes idempotent producers write duplicates (KAFKA-14034)",
  },
  bomb: {
    what: "A batch of 16 KB (zstd) or 522 KB (gzip) that inflates to 512 MiB",
    kafka: 0,
    ours: 10,
    reason:
      "Kafka inflates it as a stream on one of many threads; on one event loop what a batch may inflate to is bounded",
  },
  windowAfterRestart: {
    what: "Duplicates of the last five batches after a restart",
    kafka: 45,
    ours: 0,
    reason:
      "Kafka's snapshot keeps only a producer's last batch; ours re-reads the headers before it until the window of five is whole",
  },
  nullRecords: {
    what: "Produce with records null",
    kafka: "silence",
    ours: 87,
    reason: "Kafka never answers and the connection hangs",
  },
});

export const expectedOf = (kind: BrokerKind, deviation: Deviation): Expected =>
  kind === "kafka" ? deviation.kafka : deviation.ours;
