/**
 * `syncfs` without stopping the event loop: it blocks until the whole file system is durable, so a worker calls it.
 * The worker is made by the first call and keeps no process alive.
 */
import { DiskError } from "./Disk.ts";

interface Waiter {
  readonly directory: string;
  readonly resolve: () => void;
  readonly reject: (error: DiskError) => void;
}

let worker: Worker | undefined;
const waiters = new Map<number, Waiter>();
let nextId = 0;

const settle = (id: number, failure: string): void => {
  const waiter = waiters.get(id);
  if (waiter === undefined) return;
  waiters.delete(id);
  if (waiters.size === 0) worker?.unref();
  if (failure === "") waiter.resolve();
  else waiter.reject(new DiskError("EIO", "syncfs", waiter.directory, failure));
};

/** Beside this file, also when that was built into JavaScript (scripts/build.ts). */
const WORKER = `./SyncfsWorker.${import.meta.url.endsWith(".ts") ? "ts" : "js"}`;

const start = (): Worker => {
  const started = new Worker(new URL(WORKER, import.meta.url).href);
  started.onmessage = (event: MessageEvent<{ id: number; failure: string }>) =>
    settle(event.data.id, event.data.failure);
  started.onerror = (event) => {
    worker = undefined;
    for (const id of [...waiters.keys()]) settle(id, event.message);
  };
  return started;
};

/** Makes everything on the file system of `directory` durable; rejects with a `DiskError` when the kernel refuses. */
export const flushFileSystem = (directory: string): Promise<void> =>
  new Promise((resolve, reject) => {
    worker ??= start();
    worker.ref();
    const id = nextId++;
    waiters.set(id, { directory, resolve, reject });
    worker.postMessage({ id, directory });
  });
