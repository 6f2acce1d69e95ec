/** What InitProducerId and EndTxn answer a producer: who it is from now on, or why not. */
import type { ProducerEpoch, ProducerId } from "../prelude/Types.ts";
import { NO_PRODUCER_EPOCH, NO_PRODUCER_ID } from "./TransactionMetadata.ts";

export interface ProducerIdAndEpoch {
  readonly producerId: ProducerId;
  readonly producerEpoch: ProducerEpoch;
}

/** Both -1 with an error, and where the version gives none. */
export interface ProducerReply extends ProducerIdAndEpoch {
  readonly error: number;
}

export const withoutProducer = (error: number): ProducerReply => ({
  error,
  producerId: NO_PRODUCER_ID,
  producerEpoch: NO_PRODUCER_EPOCH,
});
