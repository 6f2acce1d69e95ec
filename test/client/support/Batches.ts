/** What a produce request holds, for servers of tests. */
import type { ClientFrame } from "../../../src/gateway/Messages.ts";
import { makeBunCodecs } from "../../../src/platform/BunCodecs.ts";
import { checkCrc, isTransactional, readBatchInfo, records } from "../../../src/record/RecordBatch.ts";

export type Produce = ClientFrame & { readonly t: "produce" };

const codecs = makeBunCodecs();

export interface ProducedBatch {
  readonly topic: string;
  readonly partition: number;
  readonly producerId: number;
  readonly producerEpoch: number;
  readonly sequence: number;
  readonly transactional: boolean;
  /** As text; null as "null". */
  readonly values: string[];
  readonly bytes: Uint8Array;
}

export const producedIn = (frame: Produce): ProducedBatch => {
  if (!("batch" in frame)) throw new Error("no batch");
  const { topic, partition, batch } = frame;
  if (!checkCrc(batch, 0)) throw new Error("a batch with a wrong checksum");
  const info = readBatchInfo(batch, 0);
  const values = [...records(batch, 0, codecs)].map(({ value }) =>
    value === null ? "null" : Buffer.from(value).toString(),
  );
  return {
    topic,
    partition,
    producerId: info.producerId,
    producerEpoch: info.producerEpoch,
    sequence: info.baseSequence,
    transactional: isTransactional(info.attributes),
    values,
    bytes: batch,
  };
};

/** `0: a b` for two records of partition 0. */
export const briefly = (frame: Produce): string => {
  const { partition, values, sequence } = producedIn(frame);
  return `${partition}#${sequence}: ${values.join(" ")}`;
};
