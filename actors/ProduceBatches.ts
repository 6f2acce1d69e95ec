/**
 * Records of a command line on their way into batches: each partition fills one batch at a time, which goes when it is
 * full or has waited. What must stay true: records of a partition are sent in the order they came; bytes that are not
 * acknowledged (and, where that is asked for, not printed) are bounded, by waiting.
 */
import type { RecordSink, Sent } from "../src/cli/RecordDoor.ts";
import type { Clock } from "../src/platform/Clock.ts";
import type { RecordHeader } from "../src/record/RecordView.ts";

/** A record that knows where it goes. */
export interface Outgoing {
  readonly topic: string;
  readonly partition: number;
  readonly timestamp: number;
  readonly key: Uint8Array | null;
  readonly value: Uint8Array | null;
  readonly headers: ReadonlyArray<RecordHeader>;
}

export interface SentBatch {
  readonly topic: string;
  readonly partition: number;
  readonly count: number;
  /** Empty unless they are kept. */
  readonly records: ReadonlyArray<Outgoing>;
}

export interface BatchesOptions {
  readonly batchBytes: number;
  /** Whether `onSent` wants the records, which are let go else as soon as they are on their way. */
  readonly keepRecords: boolean;
  /** What came of a batch; the next bytes wait for what it answers. Called for the batches of a partition in order. */
  readonly onSent: (batch: SentBatch, sent: Sent) => Promise<void>;
}

interface OpenBatch {
  readonly records: Outgoing[];
  bytes: number;
}

/** Kafka's `linger.ms`. */
const LINGER_MS = 5;
/** More than five requests of the largest batches, which is all that is on its way to a broker at once. */
const MOST_BYTES = 16 * 1024 * 1024;
/** What a record takes beside its key, value and headers, at most. */
const OVERHEAD = 70;

export const sizeOf = ({ key, value, headers }: Pick<Outgoing, "key" | "value" | "headers">): number =>
  headers.reduce(
    (sum, header) => sum + 3 * header.key.length + (header.value?.length ?? 0) + 10,
    OVERHEAD + (key?.length ?? 0) + (value?.length ?? 0),
  );

export class ProduceBatches {
  private readonly open = new Map<string, OpenBatch>();
  private outstanding = 0;
  private readonly sending = new Set<Promise<void>>();
  private waiting: Array<() => void> = [];
  private cancelLinger: (() => void) | undefined;

  constructor(
    private readonly sink: RecordSink,
    private readonly clock: Clock,
    private readonly options: BatchesOptions,
  ) {}

  /** Resolves when more may come. */
  async add(record: Outgoing): Promise<void> {
    const name = `${record.topic}-${record.partition}`;
    const size = sizeOf(record);
    let batch = this.open.get(name);
    if (batch !== undefined && batch.bytes + size > this.options.batchBytes) {
      this.send(name, batch);
      batch = undefined;
    }
    if (batch === undefined) this.open.set(name, (batch = { records: [], bytes: 0 }));
    batch.records.push(record);
    batch.bytes += size;
    this.outstanding += size;
    this.cancelLinger ??= this.clock.after(LINGER_MS, () => this.sendAll());
    while (this.outstanding > MOST_BYTES) {
      this.sendAll();
      await new Promise<void>((resolve) => this.waiting.push(resolve));
    }
  }

  /** Sends what there is and resolves when all of it is settled. */
  async flush(): Promise<void> {
    this.sendAll();
    while (this.sending.size > 0) await Promise.all(this.sending);
  }

  private sendAll(): void {
    this.cancelLinger?.();
    this.cancelLinger = undefined;
    for (const [name, batch] of this.open) this.send(name, batch);
  }

  private send(name: string, { records, bytes }: OpenBatch): void {
    this.open.delete(name);
    const [first] = records;
    if (first === undefined) return;
    const { topic, partition } = first;
    const batch = { topic, partition, count: records.length, records: this.options.keepRecords ? records : [] };
    const settled = this.sink
      .send(topic, partition, records)
      .then((sent) => this.options.onSent(batch, sent))
      .finally(() => {
        this.sending.delete(settled);
        this.outstanding -= bytes;
        for (const resolve of this.waiting.splice(0)) resolve();
      });
    this.sending.add(settled);
  }
}
