/** Requests about transactions, as short calls: a transactional id's producer begins, writes and ends. */
import { type BatchOptions, batch } from "./Batch.ts";
import type { Fields } from "./Definitions.ts";
import { sleep } from "./Process.ts";
import { produce } from "./Requests.ts";
import { numberAt } from "./Tree.ts";
import type { Wire } from "./Wire.ts";

/** The attributes' bit of a batch inside a transaction. */
const TRANSACTIONAL = 0x10;
/** The first version of Produce that adds its partition to the transaction. */
const ADDS_PARTITION = 12;

export interface TransactionalProducer {
  readonly transactionalId: string;
  readonly producerId: number;
  readonly producerEpoch: number;
}

/** Asks until the id has a coordinator and the coordinator has an answer. */
export const beginProducer = async (
  wire: Wire,
  transactionalId: string,
  timeoutMs = 60_000,
): Promise<TransactionalProducer> => {
  for (let attempt = 0; attempt < 200; attempt++) {
    await wire.call("FindCoordinator", 3, { key: transactionalId, keyType: 1 });
    const answer = await wire.call("InitProducerId", 5, {
      transactionalId,
      transactionTimeoutMs: timeoutMs,
      producerId: -1,
      producerEpoch: -1,
    });
    if (numberAt(answer, "errorCode") === 0) {
      const [producerId, producerEpoch] = [numberAt(answer, "producerId"), numberAt(answer, "producerEpoch")];
      return { transactionalId, producerId, producerEpoch };
    }
    await sleep(50);
  }
  throw new Error(`${transactionalId} has no producer id after 10 s`);
};

/** One batch inside the producer's transaction; up to version 11 its partition has to be added before. */
export const produceInTransaction = (
  wire: Wire,
  topic: string,
  { transactionalId, producerId, producerEpoch }: TransactionalProducer,
  options: BatchOptions & { readonly partition?: number; readonly version?: number } = {},
): Promise<Fields> => {
  const { partition = 0, version = ADDS_PARTITION, ...rest } = options;
  const bytes = batch({ attributes: TRANSACTIONAL, producerId, producerEpoch, sequence: 0, ...rest });
  return produce(wire, topic, bytes, { partition, version, transactionalId });
};

export const endTransaction = (wire: Wire, producer: TransactionalProducer, committed: boolean): Promise<Fields> =>
  wire.call("EndTxn", 5, { ...producer, committed });
