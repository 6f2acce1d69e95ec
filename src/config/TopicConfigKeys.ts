/**
 * Every key of a topic's configuration, once: type, built-in value, meaning, what else a value must be, and the broker
 * key (`synonym`) that sets it for topics that do not. Names, types and limits are Apache Kafka 4.3.1's
 * (`LogConfig.configDefCopy`, `ServerTopicConfigSynonyms`). All of them can change while the topic is in use.
 */
import { atLeast, between, boolean, double, int, list, listOf, long, oneOf, string } from "./ConfigKey.ts";

const longMax = "9223372036854775807";
const dynamic = "cluster-wide";

// biome-ignore format: one key a line reads as the table it is
export const topicConfigKeys = {
  "cleanup.policy": list("delete", dynamic, "What happens to old segments: 'delete', 'compact', both, or nothing when empty.", listOf("compact", "delete"), { synonym: "log.cleanup.policy" }),
  "compression.type": string("producer", dynamic, "Codec of stored batches; 'producer' keeps what the producer chose.", oneOf("uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"), { synonym: "compression.type" }),
  "compression.gzip.level": int(-1, dynamic, "Level for gzip: 1 (fast) to 9 (small), or -1 for the library's default.", { kind: "range", min: 1, max: 9, or: -1 }, { synonym: "compression.gzip.level" }),
  "compression.lz4.level": int(9, dynamic, "Level for lz4: 1 (fast) to 17 (small).", between(1, 17), { synonym: "compression.lz4.level" }),
  "compression.zstd.level": int(3, dynamic, "Level for zstd: negative is faster, 22 is smallest.", between(-131072, 22), { synonym: "compression.zstd.level" }),
  "delete.retention.ms": long(86400000, dynamic, "How long tombstones and transaction markers stay after compaction has passed them.", atLeast(0), { synonym: "log.cleaner.delete.retention.ms" }),
  "file.delete.delay.ms": long(60000, dynamic, "Wait between taking a file out of the log and removing it from disk.", atLeast(0), { synonym: "log.segment.delete.delay.ms" }),
  "flush.messages": long(longMax, dynamic, "Flush the partition after so many records, under every flush policy.", atLeast(1), { synonym: "log.flush.interval.messages" }),
  "flush.ms": long(longMax, dynamic, "Flush the partition when a record has waited for this long, under every flush policy.", atLeast(0), { synonym: "log.flush.interval.ms" }),
  "follower.replication.throttled.replicas": list("", dynamic, "Replicas throttled as followers: partition:broker pairs, or * for all.", { kind: "throttledReplicas" }),
  "index.interval.bytes": int(4096, dynamic, "How many bytes of the log lie between two index entries.", atLeast(0), { synonym: "log.index.interval.bytes" }),
  "leader.replication.throttled.replicas": list("", dynamic, "Replicas throttled as leaders: partition:broker pairs, or * for all.", { kind: "throttledReplicas" }),
  "local.retention.bytes": long(-2, dynamic, "Local size beyond which tiered segments are deleted locally; -2: as retention.bytes.", atLeast(-2), { synonym: "log.local.retention.bytes" }),
  "local.retention.ms": long(-2, dynamic, "Age at which tiered segments are deleted locally; -2: as retention.ms.", atLeast(-2), { synonym: "log.local.retention.ms" }),
  "max.compaction.lag.ms": long(longMax, dynamic, "A record older than this makes its log be compacted.", atLeast(1), { synonym: "log.cleaner.max.compaction.lag.ms" }),
  "max.message.bytes": int(1048588, dynamic, "Largest record batch accepted, after compression.", atLeast(0), { synonym: "message.max.bytes" }),
  "message.timestamp.after.max.ms": long(3600000, dynamic, "How far a record's timestamp may lie after the broker's clock.", atLeast(0), { synonym: "log.message.timestamp.after.max.ms" }),
  "message.timestamp.before.max.ms": long(longMax, dynamic, "How far a record's timestamp may lie before the broker's clock.", atLeast(0), { synonym: "log.message.timestamp.before.max.ms" }),
  "message.timestamp.type": string("CreateTime", dynamic, "Whether a record keeps its creator's time or gets the time of its append.", oneOf("CreateTime", "LogAppendTime"), { synonym: "log.message.timestamp.type" }),
  "min.cleanable.dirty.ratio": double(0.5, dynamic, "Share of a log not yet compacted from which on it is compacted again.", between(0, 1), { synonym: "log.cleaner.min.cleanable.ratio" }),
  "min.compaction.lag.ms": long(0, dynamic, "A record younger than this is never compacted away.", atLeast(0), { synonym: "log.cleaner.min.compaction.lag.ms" }),
  "min.insync.replicas": int(1, dynamic, "How many replicas must be in sync for a write with acks=all to be taken.", atLeast(1), { synonym: "min.insync.replicas" }),
  "preallocate": boolean(false, dynamic, "Whether a new segment gets its full size on disk at once.", undefined, { synonym: "log.preallocate" }),
  "remote.log.copy.disable": boolean(false, dynamic, "Whether segments are no longer copied to remote storage; those that are there stay."),
  "remote.log.delete.on.disable": boolean(false, dynamic, "Whether remote segments are deleted when remote storage is turned off for the topic."),
  "remote.storage.enable": boolean(false, dynamic, "Whether the topic's older segments go to remote storage."),
  "retention.bytes": long(-1, dynamic, "Size of a partition beyond which its oldest segments are deleted; -1: no limit.", undefined, { synonym: "log.retention.bytes" }),
  "retention.ms": long(604800000, dynamic, "Age at which segments are deleted; -1: never.", atLeast(-1), { synonym: "log.retention.ms" }),
  "segment.bytes": int(1073741824, dynamic, "A segment reaching this size is closed and a new one begun.", atLeast(1048576), { synonym: "log.segment.bytes" }),
  "segment.index.bytes": int(10485760, dynamic, "Largest size of an offset or time index file; a full one closes its segment.", atLeast(4), { synonym: "log.index.size.max.bytes" }),
  "segment.jitter.ms": long(0, dynamic, "Random time subtracted from segment.ms, so that segments do not roll all at once.", atLeast(0), { synonym: "log.roll.jitter.ms" }),
  "segment.ms": long(604800000, dynamic, "A segment older than this is closed and a new one begun.", atLeast(1), { synonym: "log.roll.ms" }),
  "unclean.leader.election.enable": boolean(false, dynamic, "Whether a replica that may miss acknowledged records can become leader when no other is left.", undefined, { synonym: "unclean.leader.election.enable" }),
  "internal.segment.bytes": int(null, dynamic, "Segment size without the lower bound of segment.bytes, for tests.", undefined, { internal: true }),
};
