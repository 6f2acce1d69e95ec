/**
 * A cleaning pass on a thread of its own: keys are hashed and batches decompressed, filtered and compressed there, while
 * the event loop reads, writes and serves clients. The thread lives as long as the pass. What must stay true: it does what
 * `CleaningPass` does; chunks change hands without a copy; a thread that dies fails the call that waits for it.
 */
import type {
  CleanedChunk,
  CleaningWork,
  GroupState,
  IndexedChunk,
  PassStart,
  PassTimes,
} from "../src/log/CleaningPass.ts";
import type { AbortedTransaction } from "../src/log/TransactionIndex.ts";
import type { Offset } from "../src/prelude/Types.ts";

export type CleaningCall =
  | { readonly name: "begin"; readonly start: PassStart }
  | { readonly name: "aborted"; readonly transactions: ReadonlyArray<AbortedTransaction> }
  | { readonly name: "index"; readonly chunk: Uint8Array; readonly from: Offset }
  | { readonly name: "beginCleaning"; readonly times: PassTimes }
  | { readonly name: "beginGroup"; readonly state: GroupState }
  | { readonly name: "clean"; readonly chunk: Uint8Array; readonly endsGroup: boolean };

export interface CleaningAnswer {
  readonly value?: IndexedChunk | CleanedChunk;
  readonly failure?: string;
}

const CHUNK = 1024 * 1024;
/** Beside this file, in the sources and in the package. */
const WORKER = `./CleanerWorker.${import.meta.url.endsWith(".ts") ? "ts" : "js"}`;

class CleaningThread implements CleaningWork {
  readonly chunkBytes = CHUNK;
  private readonly worker = new Worker(new URL(WORKER, import.meta.url).href);
  private waiting: { readonly resolve: (value: never) => void; readonly reject: (error: Error) => void } | undefined;

  constructor() {
    // A broker that stops does not wait for it.
    this.worker.unref();
    this.worker.onmessage = ({ data }: MessageEvent<CleaningAnswer>) => {
      const { waiting } = this;
      this.waiting = undefined;
      if (data.failure === undefined) waiting?.resolve(data.value as never);
      else waiting?.reject(new Error(data.failure));
    };
    this.worker.onerror = (event) => {
      this.waiting?.reject(new Error(`the cleaner's thread failed: ${event.message}`));
      this.waiting = undefined;
    };
  }

  private ask<A>(call: CleaningCall, transfer: ReadonlyArray<ArrayBufferLike> = []): Promise<A> {
    return new Promise((resolve, reject) => {
      this.waiting = { resolve, reject };
      this.worker.postMessage(call, [...transfer] as ArrayBuffer[]);
    });
  }

  begin(start: PassStart): Promise<void> {
    return this.ask({ name: "begin", start });
  }

  aborted(transactions: ReadonlyArray<AbortedTransaction>): Promise<void> | undefined {
    return transactions.length === 0 ? undefined : this.ask({ name: "aborted", transactions });
  }

  index(chunk: Uint8Array, from: Offset): Promise<IndexedChunk> {
    return this.ask({ name: "index", chunk, from }, [chunk.buffer]);
  }

  beginCleaning(times: PassTimes): Promise<void> {
    return this.ask({ name: "beginCleaning", times });
  }

  beginGroup(state: GroupState): Promise<void> {
    return this.ask({ name: "beginGroup", state });
  }

  clean(chunk: Uint8Array, endsGroup: boolean): Promise<CleanedChunk> {
    return this.ask({ name: "clean", chunk, endsGroup }, [chunk.buffer]);
  }

  end(): void {
    this.worker.terminate();
    this.waiting?.reject(new Error("the cleaning was ended"));
    this.waiting = undefined;
  }
}

export const startCleaningThread = (): CleaningWork => new CleaningThread();
