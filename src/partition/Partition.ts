/**
 * The partition's behaviour as a leader: `decide` turns one append command into at most one event (a `BatchInfo`), a
 * reply, and the offset at which the reply may leave. It reads state and changes nothing: `evolve` (src/log/LogState)
 * moves the journaled state, the actor writes the bytes. What must stay true: no error that a client takes for "it did
 * not happen" is decided for a batch that is in the log; a duplicate is answered with the original's offsets and waits
 * for the original's commit.
 */
import type { LogState } from "../log/LogState.ts";
import type { ProducerRules } from "../log/ProducerStateManager.ts";
import type { LeaderEpoch, Offset, Timestamp } from "../prelude/Types.ts";
import { Errors } from "../protocol/Errors.ts";
import type { BatchInfo } from "../record/BatchInfo.ts";

/** What a partition answers to an append, as Produce needs it. */
export interface AppendReply {
  readonly error: number;
  /** -1 with an error. */
  readonly baseOffset: Offset;
  /** The timestamp of a LogAppendTime batch, or of the original of a duplicate; -1 otherwise. */
  readonly logAppendTime: Timestamp;
  readonly logStartOffset: Offset;
  readonly message: string | null;
}

/** Who this replica is now. A single broker leads with an ISR of one; replication gives the other roles their numbers. */
export interface PartitionRole {
  readonly leaderEpoch: LeaderEpoch;
  readonly isLeader: boolean;
  readonly isrSize: number;
  readonly replicaCount: number;
  /** The topic's `min.insync.replicas`. */
  readonly minInSyncReplicas: number;
}

export interface Release {
  /** `written`: when this turn's append is in the file; `committed`: when the high watermark reaches `offset`. */
  readonly at: "written" | "committed";
  /** Exclusive end of what must be committed. */
  readonly offset: Offset;
}

export interface Decision {
  readonly event: BatchInfo | undefined;
  readonly reply: AppendReply;
  readonly release: Release;
}

export interface Append {
  /** The validated batch; its offsets are relative (base 0) and its leader epoch is not yet stamped. */
  readonly info: BatchInfo;
  readonly acks: -1 | 0 | 1;
  /** -1, or what LogAppendTime stamped. */
  readonly logAppendTime: Timestamp;
  /** Where the log must end; see `AppendCommand`. */
  readonly expectedOffset?: Offset | undefined;
  /** How its producer is checked; default: as a client's, without a word about its transaction. */
  readonly rules?: ProducerRules;
}

/** Kafka's `Partition.effectiveMinIsr`: one replica satisfies min.insync.replicas=2 when there is only one. */
const hasEnoughReplicas = (role: PartitionRole): boolean =>
  role.isrSize >= Math.min(role.minInSyncReplicas, role.replicaCount);

const refuse = (error: number, logStartOffset: Offset): Decision => ({
  event: undefined,
  reply: { error, baseOffset: -1, logAppendTime: -1, logStartOffset, message: null },
  release: { at: "written", offset: 0 },
});

const CLIENT: ProducerRules = { origin: "client" };

/** Order of the checks: leadership, the expected end, replicas, producer (protocol.md §5 #21; correctness §4.3). */
export const decide = (state: LogState, role: PartitionRole, command: Append): Decision => {
  const { info, acks, expectedOffset = state.logEndOffset } = command;
  if (!role.isLeader) return refuse(Errors.NOT_LEADER_OR_FOLLOWER, -1);
  if (expectedOffset !== state.logEndOffset) return refuse(Errors.NOT_LEADER_OR_FOLLOWER, state.logStartOffset);
  if (acks === -1 && !hasEnoughReplicas(role)) return refuse(Errors.NOT_ENOUGH_REPLICAS, state.logStartOffset);
  const at = acks === -1 ? "committed" : "written";
  if (info.producerId >= 0) {
    const verdict = state.producers.check(info, command.rules ?? CLIENT);
    if (verdict.kind === "error") return refuse(verdict.error, state.logStartOffset);
    if (verdict.kind === "duplicate") {
      const reply: AppendReply = {
        error: Errors.NONE,
        baseOffset: verdict.baseOffset,
        logAppendTime: verdict.timestamp,
        logStartOffset: state.logStartOffset,
        message: null,
      };
      return { event: undefined, reply, release: { at, offset: verdict.lastOffset + 1 } };
    }
  }
  const baseOffset = state.logEndOffset;
  const lastOffset = baseOffset + info.lastOffset;
  return {
    event: { ...info, baseOffset, lastOffset, leaderEpoch: role.leaderEpoch },
    reply: {
      error: Errors.NONE,
      baseOffset,
      logAppendTime: command.logAppendTime,
      logStartOffset: state.logStartOffset,
      message: null,
    },
    release: { at, offset: lastOffset + 1 },
  };
};
