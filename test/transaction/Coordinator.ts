/** A coordinator without its actor: commands in order, records folded through their bytes, for tests of the rules. */
import {
  decide,
  type TransactionCommand,
  type TransactionReply,
} from "../../src/transaction/TransactionCoordinator.ts";
import { evolve, type TransactionJournal } from "../../src/transaction/TransactionJournal.ts";
import type { TransactionMetadata } from "../../src/transaction/TransactionMetadata.ts";
import {
  decodeTransactionRecord,
  encodeTransactionRecord,
  type TransactionRecord,
} from "../../src/transaction/TransactionRecords.ts";

export class Coordinator {
  readonly journal: TransactionJournal = new Map();
  readonly lastProducerEpochs = new Map<string, number>();
  /** What a reader of the log would have. */
  replayed: TransactionJournal = new Map();
  now = 1000;
  nextProducerId = 100;
  transactionVersion = 2;
  /** Of the last command. */
  records: ReadonlyArray<TransactionRecord> = [];

  ask<Type extends TransactionCommand["type"]>(
    command: Extract<TransactionCommand, { type: Type }>,
  ): TransactionReply<Type> {
    const decision = decide(this, command, {
      now: this.now,
      freshProducerId: this.nextProducerId,
      transactionVersion: this.transactionVersion,
    });
    if (decision.tookProducerId === true) this.nextProducerId += 1;
    this.records = decision.records;
    for (const record of decision.records) {
      evolve(this.journal, record);
      const { key, value } = encodeTransactionRecord(record);
      const stored = decodeTransactionRecord(key, value);
      if (typeof stored === "string") throw new Error(stored);
      evolve(this.replayed, stored);
    }
    if (decision.lastProducerEpoch !== undefined && "transactionalId" in command) {
      this.lastProducerEpochs.set(command.transactionalId, decision.lastProducerEpoch);
    }
    return decision.reply as TransactionReply<Type>;
  }

  /** The broker restarts: what is left is what the log says. */
  restart(): void {
    this.journal.clear();
    for (const [id, metadata] of this.replayed) this.journal.set(id, metadata);
    this.lastProducerEpochs.clear();
  }

  of(transactionalId: string): TransactionMetadata | undefined {
    return this.journal.get(transactionalId);
  }

  init(transactionalId: string, expected?: { producerId: number; producerEpoch: number }) {
    return this.ask<"InitProducerId">({ type: "InitProducerId", transactionalId, timeoutMs: 60_000, expected });
  }

  add(transactionalId: string, producerId: number, producerEpoch: number, version = 2, partition = 0) {
    const partitions = [{ topic: "t", partition }];
    return this.ask<"AddPartitions">({
      type: "AddPartitions",
      transactionalId,
      producerId,
      producerEpoch,
      partitions,
      clientTransactionVersion: version,
    }).error;
  }

  end(transactionalId: string, producerId: number, producerEpoch: number, committed: boolean, version = 2) {
    return this.ask<"EndTxn">({
      type: "EndTxn",
      transactionalId,
      producerId,
      producerEpoch,
      committed,
      clientTransactionVersion: version,
    });
  }

  /** Every partition has its marker. */
  finish(transactionalId: string): void {
    const { producerId, producerEpoch } = this.of(transactionalId)!;
    this.ask<"MarkersWritten">({ type: "MarkersWritten", transactionalId, producerId, producerEpoch });
  }
}
