/**
 * The scenarios. A new workload is an entry here and, when its clients do something new, one in
 * `workloads/ClientKinds.ts`.
 */
import {
  CLIENT_FAULTS,
  CRASHES,
  DISK_FAULTS,
  type Knobs,
  NETWORK_FAULTS,
  ORDINARY_FAULTS,
  type Scenario,
  TOPIC,
} from "./Scenario.ts";

/** Everything that the broker and the wires may suffer; the clients live on. */
const BROKER_FAULTS = ORDINARY_FAULTS.filter((kind) => !CLIENT_FAULTS.includes(kind));

/** A topic that is compacted as soon as there is anything to compact. */
const compacted = (_: unknown, { deleteRetentionMs }: Knobs): Record<string, string> => ({
  "cleanup.policy": "compact",
  "segment.ms": "8",
  "min.cleanable.dirty.ratio": "0.01",
  "min.compaction.lag.ms": "0",
  "delete.retention.ms": String(deleteRetentionMs),
});

const expiring = (_: unknown, { retentionMs }: Knobs): Record<string, string> => ({
  "cleanup.policy": "delete",
  "segment.ms": "50",
  "retention.ms": String(retentionMs),
  "file.delete.delay.ms": "20",
});

export const SCENARIOS: ReadonlyArray<Scenario> = [
  {
    name: "small",
    about: "one of each of the simple clients, every fault, as fast as it goes",
    clients: [
      { kind: "idempotent", atLeast: 1, atMost: 1 },
      { kind: "mixed", atLeast: 1, atMost: 1 },
      { kind: "consumer", atLeast: 0, atMost: 1 },
    ],
    faults: BROKER_FAULTS,
    windows: 20,
    windowMs: [30, 60, 120],
    steps: 14,
  },
  {
    name: "produce",
    about: "producers without sequences, consumers beside them, everything may fail",
    clients: [
      { kind: "plain", atLeast: 1, atMost: 3 },
      { kind: "consumer", atLeast: 1, atMost: 2 },
    ],
    faults: ORDINARY_FAULTS,
    windows: 28,
    steps: 24,
  },
  {
    name: "idempotent",
    about: "pipelined producers with sequences: every retry counts once, in order",
    clients: [
      { kind: "idempotent", atLeast: 1, atMost: 3 },
      { kind: "consumer", atLeast: 1, atMost: 1 },
    ],
    faults: BROKER_FAULTS,
    windows: 28,
    steps: 30,
  },
  {
    name: "clients",
    about: "clients that produce and poll by changing assignments, and pipelined producers between them",
    clients: [
      { kind: "mixed", atLeast: 2, atMost: 4 },
      { kind: "idempotent", atLeast: 0, atMost: 1 },
    ],
    faults: ORDINARY_FAULTS,
    windows: 28,
    steps: 24,
  },
  {
    name: "network",
    about: "only the wires and the scheduler misbehave: cuts, delays, resets, pauses",
    clients: [
      { kind: "idempotent", atLeast: 1, atMost: 2 },
      { kind: "mixed", atLeast: 1, atMost: 2 },
    ],
    faults: [...NETWORK_FAULTS, "pause"],
    windows: 28,
    steps: 24,
  },
  {
    name: "disk",
    about: "crashes and a failing disk, nothing else",
    clients: [
      { kind: "idempotent", atLeast: 1, atMost: 2 },
      { kind: "consumer", atLeast: 1, atMost: 1 },
    ],
    faults: [...CRASHES, ...DISK_FAULTS],
    windows: 28,
    steps: 24,
  },
  {
    name: "rot",
    about: "bits flip beside the records, in indexes, snapshots and checkpoints, under crashes: they are caches",
    clients: [
      { kind: "transactional", atLeast: 1, atMost: 2 },
      { kind: "idempotent", atLeast: 1, atMost: 1 },
    ],
    faults: [...CRASHES, "bit flip", "slow flush"],
    windows: 28,
    steps: 14,
    settings: () => ({ "log.flush.offset.checkpoint.interval.ms": "100" }),
    livenessMs: 90_000,
  },
  {
    name: "admin",
    about: "topics come and go under crashes: what was created exists, what was deleted does not come back",
    clients: [
      { kind: "admin", atLeast: 1, atMost: 3 },
      { kind: "plain", atLeast: 0, atMost: 1 },
    ],
    faults: [...CRASHES, ...NETWORK_FAULTS, "slow flush", "pause", "clock jump"],
    windows: 28,
    steps: 10,
  },
  {
    name: "groups",
    about:
      "groups of the classic protocol: partitions have one owner, offsets do not go back, every record is processed",
    clients: [
      { kind: "idempotent", atLeast: 1, atMost: 2 },
      { kind: "member", atLeast: 2, atMost: 4 },
    ],
    faults: ORDINARY_FAULTS.filter((kind) => kind !== "clock jump"),
    windows: 24,
    steps: 16,
    knobs: { groupProtocol: "classic" },
    subVia: "both",
  },
  {
    name: "consumer-groups",
    about: "the same in the KIP-848 protocol",
    clients: [
      { kind: "idempotent", atLeast: 1, atMost: 2 },
      { kind: "member", atLeast: 2, atMost: 4 },
    ],
    faults: ORDINARY_FAULTS.filter((kind) => kind !== "clock jump"),
    windows: 24,
    steps: 16,
    knobs: { groupProtocol: "consumer" },
    subVia: "both",
  },
  {
    name: "migration",
    about: "members of both protocols in one group, coming and going: the group is moved there and back",
    clients: [
      { kind: "idempotent", atLeast: 1, atMost: 1 },
      { kind: "member", atLeast: 3, atMost: 4 },
    ],
    faults: [...CRASHES, ...NETWORK_FAULTS, ...CLIENT_FAULTS, "slow flush", "failed flush"],
    windows: 24,
    steps: 12,
    knobs: { groupProtocol: "both", assignor: "range" },
    settings: () => ({ "group.consumer.migration.policy": "bidirectional" }),
    subVia: "both",
  },
  {
    name: "transactions",
    about: "transactions of sends and polls by assigned read_committed clients: Jepsen's own workload",
    clients: [
      { kind: "transactional", atLeast: 2, atMost: 3 },
      { kind: "idempotent", atLeast: 0, atMost: 1 },
    ],
    faults: ORDINARY_FAULTS.filter((kind) => kind !== "clock jump"),
    windows: 24,
    steps: 14,
    livenessMs: 90_000,
  },
  {
    name: "copy",
    about: "consume, transform, produce with the offsets in the transaction: every record is copied exactly once",
    clients: [
      { kind: "idempotent", atLeast: 1, atMost: 2 },
      { kind: "copier", atLeast: 1, atMost: 3 },
    ],
    faults: ORDINARY_FAULTS.filter((kind) => kind !== "clock jump"),
    windows: 24,
    steps: 12,
    topics: [{ name: TOPIC }, { name: "copies" }],
    subVia: "both",
    livenessMs: 90_000,
  },
  {
    name: "stream",
    about: "producers and consumers of the stream protocol, Kafka's beside them",
    clients: [
      { kind: "stream producer", atLeast: 1, atMost: 2 },
      { kind: "stream consumer", atLeast: 1, atMost: 2 },
      { kind: "idempotent", atLeast: 0, atMost: 1 },
      { kind: "consumer", atLeast: 0, atMost: 1 },
    ],
    faults: ORDINARY_FAULTS,
    windows: 24,
    steps: 20,
  },
  {
    name: "stream-groups",
    about: "members by the stream protocol and by Kafka's in one group",
    clients: [
      { kind: "idempotent", atLeast: 1, atMost: 2 },
      { kind: "stream member", atLeast: 1, atMost: 2 },
      { kind: "member", atLeast: 1, atMost: 2 },
    ],
    faults: ORDINARY_FAULTS.filter((kind) => kind !== "clock jump"),
    windows: 24,
    steps: 14,
    knobs: { groupProtocol: "consumer" },
    subVia: "both",
  },
  {
    name: "stream-transactions",
    about: "Jepsen's transactions by the stream protocol, Kafka's beside them",
    clients: [
      { kind: "stream transactional", atLeast: 1, atMost: 2 },
      { kind: "transactional", atLeast: 0, atMost: 1 },
    ],
    faults: ORDINARY_FAULTS.filter((kind) => kind !== "clock jump"),
    windows: 24,
    steps: 12,
    knobs: { transactionVersion: 2 },
    livenessMs: 90_000,
  },
  {
    name: "stream-copy",
    about: "exactly-once copies by the stream protocol and by Kafka's, in one group",
    clients: [
      { kind: "idempotent", atLeast: 1, atMost: 1 },
      { kind: "stream copier", atLeast: 1, atMost: 2 },
      { kind: "copier", atLeast: 0, atMost: 1 },
    ],
    faults: ORDINARY_FAULTS.filter((kind) => kind !== "clock jump"),
    windows: 24,
    steps: 12,
    topics: [{ name: TOPIC }, { name: "copies" }],
    knobs: { groupProtocol: "consumer" },
    subVia: "both",
    livenessMs: 90_000,
  },
  {
    name: "compaction",
    about: "keys that are written again and deleted while the cleaner runs: the last value of each stays",
    clients: [
      { kind: "keyed", atLeast: 1, atMost: 2 },
      { kind: "keyed reader", atLeast: 1, atMost: 1 },
    ],
    faults: BROKER_FAULTS.filter((kind) => kind !== "clock jump"),
    windows: 24,
    steps: 24,
    topics: [{ name: TOPIC, configs: compacted, vanishing: true }],
    settings: () => ({
      "log.cleaner.backoff.ms": "30",
      "log.retention.check.interval.ms": "100",
      "log.initial.task.delay.ms": "100",
    }),
  },
  {
    name: "retention",
    about: "records that expire and records that are deleted: only those go, whole, and never come back",
    clients: [
      { kind: "expiring", atLeast: 1, atMost: 2 },
      { kind: "expiring reader", atLeast: 1, atMost: 1 },
    ],
    faults: BROKER_FAULTS.filter((kind) => kind !== "clock jump"),
    windows: 24,
    steps: 24,
    topics: [{ name: TOPIC, configs: expiring, vanishing: true }],
    settings: () => ({ "log.retention.check.interval.ms": "50", "log.initial.task.delay.ms": "50" }),
  },
  {
    name: "upgrade",
    about: "a data directory of builds before transaction.version: all of it is there, and work goes on where it was",
    clients: [
      // First: their transactional ids are those of the clients of the old builds.
      { kind: "copier", atLeast: 1, atMost: 2 },
      { kind: "member", atLeast: 1, atMost: 2 },
      { kind: "idempotent", atLeast: 1, atMost: 1 },
      { kind: "resumed", atLeast: 1, atMost: 1 },
    ],
    faults: ORDINARY_FAULTS.filter((kind) => kind !== "clock jump"),
    windows: 24,
    windowMs: [30, 60, 120],
    steps: 8,
    topics: [
      { name: TOPIC, partitions: 2 },
      { name: "copies", partitions: 2 },
      { name: "compacted", partitions: 2, configs: compacted, vanishing: true },
      { name: "trimmed", partitions: 2 },
    ],
    settings: () => ({ "log.cleaner.backoff.ms": "100" }),
    subVia: "both",
    livenessMs: 90_000,
    directory: "upgrade",
  },
];

export const scenarioOf = (name: string): Scenario => {
  const found = SCENARIOS.find((scenario) => scenario.name === name);
  if (found === undefined)
    throw new Error(`no scenario ${name}: there are ${SCENARIOS.map((one) => one.name).join(", ")}`);
  return found;
};
