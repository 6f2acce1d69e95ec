/** A decision while it is being made. */
import type { AskId } from "./ClassicGroup.ts";
import { NO_ASK } from "./ClassicGroup.ts";
import type {
  Answer,
  Decision,
  GroupCommand,
  GroupCommandType,
  GroupReply,
  TimerChange,
  TransactionOfRecords,
  VolatileChange,
  VolatileGroup,
} from "./GroupCoordinator.ts";
import type { GroupRecord } from "./GroupRecords.ts";

export class Outcome implements Decision {
  readonly records: GroupRecord[] = [];
  readonly answers: Answer[] = [];
  readonly volatile: VolatileChange[] = [];
  readonly timers: TimerChange[] = [];
  divisible = false;
  transaction: TransactionOfRecords | undefined;

  /** Answers an asker; nobody's question is not answered. */
  answer<Type extends GroupCommandType>(ask: AskId, reply: GroupReply<Type>): void {
    if (ask !== NO_ASK) this.answers.push({ ask, reply });
  }

  arm(key: string, afterMs: number, command: GroupCommand): void {
    this.timers.push({ key, afterMs, command });
  }

  cancel(key: string): void {
    this.timers.push({ key, afterMs: undefined, command: undefined });
  }

  keep(groupId: string, group: VolatileGroup | undefined): void {
    this.volatile.push({ groupId, group });
  }
}

/** Keys of the timers; a length goes before what may hold any character, so that no two keys are the same. */
export const joinTimer = (groupId: string): string => `join ${groupId}`;
export const syncTimer = (groupId: string): string => `sync ${groupId}`;
export const sessionTimer = (groupId: string, memberId: string): string =>
  `session ${groupId.length} ${groupId} ${memberId}`;
export const EXPIRY_TIMER = "expiry";
