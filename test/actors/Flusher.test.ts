/** What a flush ticket answers when several of its files fail, at once and later. */
import { expect, test } from "bun:test";
import { flushTicket } from "../../actors/Flusher.ts";
import { DiskError, type DiskFile } from "../../src/platform/Disk.ts";
import type { MaybePending } from "../../src/prelude/Types.ts";
import { MemoryDisk } from "../support/MemoryDisk.ts";

const file = (flush: () => MaybePending<void>): DiskFile =>
  Object.create(new MemoryDisk().open("file", "write"), { flush: { value: flush } });

test("every failure of a ticket is in its one answer, whichever comes first", async () => {
  let ended = 0;
  const later = file(() =>
    Promise.resolve()
      .then(() => void (ended += 1))
      .then(() => Promise.reject(new DiskError("EIO", "flush", "later"))),
  );
  const atOnce = file(() => {
    throw new DiskError("EIO", "flush", "at once");
  });
  const whole = file(() => Promise.resolve().then(() => void (ended += 1)));
  const ticket = { files: [later, atOnce, later, whole], directories: [], offset: 0, segments: [] };
  // A rejection that nobody hears ends a process.
  const heard = Promise.resolve(flushTicket(new MemoryDisk(), ticket)).catch((error: unknown) => error);
  expect(await heard).toMatchObject({ path: "at once" });
  await new Promise((resolve) => setTimeout(resolve, 1));
  expect(ended).toBe(3);
});
