/**
 * Makes the five-batch windows of a snapshot that Kafka wrote whole again: it keeps only each producer's last batch, so
 * the headers before it are read, backwards by segments, until every producer has five batches or its first one.
 */
import type { Disk } from "../platform/Disk.ts";
import type { Offset, ProducerId } from "../prelude/Types.ts";
import { baseOffsetOf, readBatchInfo } from "../record/RecordBatch.ts";
import { scanBatches } from "./BatchScan.ts";
import { type CachedBatch, type ProducerEntry, WINDOW } from "./ProducerStateManager.ts";

/** `paths` are the segments whose batches begin below `offset`, the snapshot's, oldest first. */
export const completeWindows = async (
  disk: Disk,
  paths: ReadonlyArray<string>,
  offset: Offset,
  producers: ReadonlyArray<ProducerEntry>,
): Promise<ProducerEntry[]> => {
  const windows = new Map<ProducerId, CachedBatch[]>();
  const open = new Map<ProducerId, ProducerEntry>();
  for (const entry of producers) {
    if (entry.batches.length > 0 && entry.batches[0]!.firstSequence > 0) open.set(entry.producerId, entry);
  }
  for (let index = paths.length - 1; index >= 0 && open.size > 0; index--) {
    const found = await batchesOf(disk, paths[index]!, offset, open);
    for (const [producerId, batches] of found) {
      const window = [...batches, ...(windows.get(producerId) ?? [])].slice(-WINDOW);
      windows.set(producerId, window);
      if (window.length === WINDOW || window[0]!.firstSequence === 0) open.delete(producerId);
    }
  }
  return producers.map((entry) => ({ ...entry, batches: windows.get(entry.producerId) ?? entry.batches }));
};

const batchesOf = async (
  disk: Disk,
  path: string,
  offset: Offset,
  open: ReadonlyMap<ProducerId, ProducerEntry>,
): Promise<Map<ProducerId, CachedBatch[]>> => {
  const found = new Map<ProducerId, CachedBatch[]>();
  const file = disk.open(path, "read");
  try {
    await scanBatches(file, 0, file.size(), (bytes, at) => {
      if (baseOffsetOf(bytes, at) >= offset) return false;
      const info = readBatchInfo(bytes, at);
      const entry = open.get(info.producerId);
      if (entry === undefined || entry.epoch !== info.producerEpoch || info.control !== undefined) return true;
      const batches = found.get(info.producerId) ?? [];
      found.set(info.producerId, batches);
      batches.push({
        firstSequence: info.baseSequence,
        lastSequence: info.lastSequence,
        firstOffset: info.baseOffset,
        lastOffset: info.lastOffset,
        timestamp: info.maxTimestamp,
      });
      if (batches.length > WINDOW) batches.shift();
      return true;
    });
    return found;
  } finally {
    file.close();
  }
};
