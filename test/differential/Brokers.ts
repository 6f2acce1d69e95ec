/**
 * The brokers a program is run against and the programs there are. What must stay true: both brokers of a comparison are set
 * alike, so that one order of everything and no clock decides what is answered.
 */
import { drawGroupProgram, type GroupProgram, groupTranscript } from "./GroupPrograms.ts";
import { drawOffsetProgram, type OffsetProgram, offsetTranscript } from "./OffsetPrograms.ts";
import type { Place } from "./Talk.ts";
import { drawTransactionProgram, type TransactionProgram, transactionTranscript } from "./TransactionPrograms.ts";

/** Kafka takes the same, and `group.coordinator.append.linger.ms=0`. */
export const SETTINGS: Readonly<Record<string, string>> = {
  "offsets.topic.num.partitions": "1",
  "transaction.state.log.num.partitions": "1",
  "group.consumer.assignment.interval.ms": "0",
  "group.initial.rebalance.delay.ms": "0",
  "group.consumer.session.timeout.ms": "600000",
  "group.consumer.max.session.timeout.ms": "1200000",
};

export type Program = GroupProgram | OffsetProgram | TransactionProgram;

/** A kind of program: the one of a seed, and what a broker answers to one. */
export interface Kind {
  draw(seed: number): Program;
  transcript(place: Place, program: Program, run: string): Promise<string[]>;
}

export const KINDS: Readonly<Record<string, Kind>> = {
  groups: {
    draw: drawGroupProgram,
    transcript: (place, program, run) => groupTranscript(place, program as GroupProgram, run),
  },
  offsets: {
    draw: drawOffsetProgram,
    transcript: (place, program, run) => offsetTranscript(place, program as OffsetProgram, run),
  },
  transactions: {
    draw: drawTransactionProgram,
    transcript: (place, program, run) => transactionTranscript(place, program as TransactionProgram, run),
  },
};
