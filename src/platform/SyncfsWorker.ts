/** The worker behind Syncfs.ts: one blocking `syncfs` per message, answered with its id and why it failed ("" = done). */
import fs from "node:fs";
import { libc } from "./Libc.ts";

declare const self: Worker;

const flush = (directory: string): string => {
  const call = libc()?.syncFileSystem;
  if (call === undefined) return "no syncfs on this platform";
  try {
    const descriptor = fs.openSync(directory, "r");
    try {
      return call(descriptor) ? "" : "syncfs failed";
    } finally {
      fs.closeSync(descriptor);
    }
  } catch (cause) {
    return cause instanceof Error ? cause.message : String(cause);
  }
};

self.onmessage = (event: MessageEvent<{ id: number; directory: string }>) => {
  self.postMessage({ id: event.data.id, failure: flush(event.data.directory) });
};
