/**
 * Reading for the gateway's streams: one Fetch request per place, whoever waits for the same one meanwhile shares it,
 * and what was read stays packed for the readers behind, up to a budget. So a thousand readers of one topic cost one
 * read and one packing. What must stay true: a kept delivery is used only while its log and leader epoch are the
 * partition's and the place lies in the log, and only by the principal it was read for; it holds whole batches below
 * the bound of its isolation level, which never move (correctness L5).
 */
import * as Exit from "effect/Exit";
import type { Caller } from "../src/gateway/Caller.ts";
import { type Delivery, deliveryOf } from "../src/gateway/Delivery.ts";
import type { PartitionView } from "../src/partition/PartitionView.ts";
import { Defect } from "../src/prelude/Invariant.ts";
import { isPending, type MaybePending, type Offset } from "../src/prelude/Types.ts";
import { ApiKey, type ResponseOf } from "../src/protocol/ApiKeys.ts";
import { Errors } from "../src/protocol/Errors.ts";
import { emptyFetchRequestFetchPartition } from "../src/protocol/generated/FetchRequest.ts";
import { type Codecs, CompressionError } from "../src/record/Compression.ts";
import { RecordFormatError } from "../src/record/RecordFormatError.ts";
import type { ConnectionEnvironment } from "./Connection.ts";

export interface ReadPlace {
  readonly principal: string;
  readonly view: PartitionView;
  readonly offset: Offset;
  readonly isolationLevel: 0 | 1;
  readonly raw: boolean;
}

export interface ReadAnswer {
  /** NONE, or why nothing was read. */
  readonly error: number;
  /** Undefined when there was nothing to read. */
  readonly delivery?: Delivery;
}

/** What one read asks for; one batch comes whole even when it is larger (KIP-74). */
export const READ_BYTES = 256 * 1024;
/** What is kept for readers behind, in packed bytes. */
const KEPT_BYTES = 16 * 1024 * 1024;

interface Kept {
  readonly key: string;
  readonly log: PartitionView["log"];
  readonly leaderEpoch: number;
  readonly delivery: Delivery;
  readonly bytes: number;
}

export class GatewayReads {
  /** By principal, partition and form; each list in the order of use, the newest last. */
  private readonly kept = new Map<string, Kept[]>();
  /** All of them, in the order of use. */
  private readonly byUse = new Set<Kept>();
  private keptBytes = 0;
  private readonly reading = new Map<string, Promise<ReadAnswer>>();

  constructor(
    private readonly codecs: Codecs,
    private readonly run: ConnectionEnvironment["run"],
    /** Asks for a principal, on no reader's connection: one that ends must not take others' reads with it. */
    private readonly callerOf: (principal: string) => Caller,
    private readonly budget = KEPT_BYTES,
  ) {}

  get usedBytes(): number {
    return this.keptBytes;
  }

  read(place: ReadPlace): MaybePending<ReadAnswer> {
    const { view, offset } = place;
    const key = `${place.isolationLevel}${place.raw ? "r" : "d"} ${view.partition} ${view.topicId} ${place.principal}`;
    const kept = this.find(key, view, offset);
    if (kept !== undefined) return { error: Errors.NONE, delivery: kept.delivery };
    const exact = `${offset} ${view.leaderEpoch} ${key}`;
    const underWay = this.reading.get(exact);
    if (underWay !== undefined) return underWay;
    const fetched = this.fetch(place);
    if (!isPending(fetched)) return this.keep(key, place, fetched);
    const answered = fetched
      .then((response) => this.keep(key, place, response))
      .finally(() => this.reading.delete(exact));
    this.reading.set(exact, answered);
    return answered;
  }

  private find(key: string, view: PartitionView, offset: Offset): Kept | undefined {
    if (offset < view.logStartOffset) return undefined;
    const kept = this.kept
      .get(key)
      ?.findLast(
        ({ log, leaderEpoch, delivery }) =>
          log === view.log &&
          leaderEpoch === view.leaderEpoch &&
          delivery.firstOffset <= offset &&
          offset < delivery.endOffset,
      );
    if (kept === undefined) return undefined;
    this.byUse.delete(kept);
    this.byUse.add(kept);
    return kept;
  }

  private fetch({ view, offset, isolationLevel, principal }: ReadPlace): MaybePending<ResponseOf<1>> {
    const call = this.callerOf(principal).call(ApiKey.Fetch, {
      maxWaitMs: 0,
      minBytes: 0,
      maxBytes: READ_BYTES,
      isolationLevel,
      topics: [
        {
          topic: "",
          topicId: view.topicId,
          partitions: [
            {
              ...emptyFetchRequestFetchPartition(),
              partition: view.partition,
              currentLeaderEpoch: view.leaderEpoch,
              fetchOffset: offset,
              partitionMaxBytes: READ_BYTES,
            },
          ],
        },
      ],
    });
    let done: ResponseOf<1> | undefined;
    let resolve: ((response: ResponseOf<1>) => void) | undefined;
    let reject: ((defect: unknown) => void) | undefined;
    let defect: unknown;
    this.run(call).addObserver((exit) => {
      if (Exit.isSuccess(exit)) {
        done = exit.value;
        resolve?.(exit.value);
      } else {
        defect = exit.cause;
        reject?.(new Defect(String(exit.cause)));
      }
    });
    if (done !== undefined) return done;
    if (defect !== undefined) throw new Defect(String(defect));
    return new Promise((settle, fail) => {
      resolve = settle;
      reject = fail;
    });
  }

  private keep(key: string, { view, raw }: ReadPlace, response: ResponseOf<1>): ReadAnswer {
    const answer = response.responses[0]?.partitions[0];
    const error = response.errorCode !== Errors.NONE ? response.errorCode : (answer?.errorCode ?? Errors.NONE);
    if (answer === undefined || error !== Errors.NONE) return { error };
    const { records, abortedTransactions } = answer;
    if (records === null || records.length === 0) return { error };
    let delivery: Delivery | undefined;
    try {
      delivery = deliveryOf({ records, abortedTransactions }, raw, this.codecs);
    } catch (failure) {
      if (failure instanceof CompressionError || failure instanceof RecordFormatError) {
        return { error: Errors.CORRUPT_MESSAGE };
      }
      throw failure;
    }
    if (delivery === undefined) return { error };
    this.add({ key, log: view.log, leaderEpoch: view.leaderEpoch, delivery, bytes: delivery.sizeInMemory });
    return { error, delivery };
  }

  private add(kept: Kept): void {
    const list = this.kept.get(kept.key);
    if (list === undefined) this.kept.set(kept.key, [kept]);
    else list.push(kept);
    this.byUse.add(kept);
    this.keptBytes += kept.bytes;
    // The newest stays whatever its size: its readers are about to go through it piece by piece.
    for (const oldest of this.byUse) {
      if (this.keptBytes <= this.budget || oldest === kept) break;
      this.drop(oldest);
    }
  }

  private drop(kept: Kept): void {
    this.byUse.delete(kept);
    this.keptBytes -= kept.bytes;
    const list = this.kept.get(kept.key)!.filter((other) => other !== kept);
    if (list.length === 0) this.kept.delete(kept.key);
    else this.kept.set(kept.key, list);
  }
}
