/**
 * A small file replaced in one step, as `Disk.replaceFile` does it, without the event loop waiting for the disk: behind
 * much that other files have yet to write a flush takes tens of milliseconds. What must stay true: old or new content,
 * never a mixture, also after a power cut; one at a time for a path.
 */
import type { Disk } from "../platform/Disk.ts";
import { writeFully } from "./WriteFully.ts";

/** Throws or rejects `DiskError`; then the old content is there, or the new. */
export const replaceFile = async (disk: Disk, path: string, content: Uint8Array): Promise<void> => {
  disk.rename(await writeTemporary(disk, path, content), path);
  await disk.flushDirectory(path.slice(0, path.lastIndexOf("/")));
};

/** The first half: the content is durable under the answered name, which is the caller's to rename or to remove. */
export const writeTemporary = async (disk: Disk, path: string, content: Uint8Array): Promise<string> => {
  const temporary = `${path}.tmp`;
  const file = disk.open(temporary, "write");
  try {
    file.truncate(0);
    await writeFully(file, [content], 0, content.length);
    await file.flush();
  } finally {
    file.close();
  }
  return temporary;
};
