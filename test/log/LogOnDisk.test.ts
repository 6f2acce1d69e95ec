/** The log on the real disk: lazily opened segments, bounded descriptors and flush tickets as the broker uses them. */
import { expect, test } from "bun:test";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { loadLog, reload } from "../../src/log/LogLoader.ts";
import { evolve, snapshotOf } from "../../src/log/LogState.ts";
import type { UnifiedLog } from "../../src/log/UnifiedLog.ts";
import { bunDisk } from "../../src/platform/BunDisk.ts";
import type { Disk } from "../../src/platform/Disk.ts";
import { limitOpenFiles } from "../../src/platform/OpenFiles.ts";
import { readBatchInfo, stampBatch } from "../../src/record/RecordBatch.ts";
import { buildBatch } from "../../src/record/RecordBatchBuilder.ts";
import { noCodecs, readAll, TINY } from "../support/LogDriver.ts";

test("append, roll, flush, stop, start, crash and reload on a real disk", async () => {
  const root = mkdtempSync(`${tmpdir()}/odradek-log-`);
  const directory = `${root}/topic-0`;
  const disk = bunDisk();
  disk.makeDirectory(directory);
  const flush = async (log: UnifiedLog): Promise<void> => {
    const ticket = log.beginFlush();
    if (ticket === undefined) return;
    await Promise.all(ticket.files.map((file) => file.flush()));
    await Promise.all(ticket.directories.map((path) => disk.flushDirectory(path)));
    log.flushed(ticket);
  };
  try {
    const written: Uint8Array[] = [];
    let { log, state } = await loadLog(disk, directory, TINY, { clean: false, recoveryPoint: 0, logStartOffset: 0 });
    const append = async (): Promise<void> => {
      const at = written.length;
      const value = new Uint8Array(50 + at);
      const bytes = buildBatch([{ timestamp: at, value }], { producerId: 4, producerEpoch: 0, baseSequence: at });
      stampBatch(bytes, 0, state.logEndOffset, 1);
      const info = readBatchInfo(bytes, 0);
      log.stage(bytes, info, () => snapshotOf(state));
      evolve(state, info);
      written.push(bytes);
      await log.write();
    };
    for (const stop of ["clean", "unclean", "reload", "clean"] as const) {
      for (let count = 0; count < 30; count++) await append();
      await flush(log);
      expect(log.flushedOffset).toBe(written.length);
      for (let count = 0; count < 5; count++) await append();
      const before = snapshotOf(state);
      if (stop === "reload") {
        ({ log, state } = await reload(disk, log, { logStartOffset: 0 }));
      } else {
        const recoveryPoint = log.flushedOffset;
        if (stop === "clean") {
          const ticket = log.prepareClose(snapshotOf(state))!;
          await Promise.all(ticket.files.map((file) => file.flush()));
          log.flushed(ticket);
        }
        log.close();
        const clean = stop === "clean";
        ({ log, state } = await loadLog(disk, directory, TINY, { clean, recoveryPoint, logStartOffset: 0 }));
        expect(log.beginFlush() === undefined).toBe(clean);
      }
      expect(Buffer.compare(snapshotOf(state), before)).toBe(0);
      expect(Buffer.compare(await readAll(log), Buffer.concat(written))).toBe(0);
      for (let offset = 0; offset < written.length; offset += 7) {
        expect((await log.read(offset, 1, Number.POSITIVE_INFINITY, true)).firstOffset).toBe(offset);
        const found = await log.offsetForTimestamp(offset, 0, Number.POSITIVE_INFINITY, noCodecs);
        expect(found).toEqual({ offset, timestamp: offset, leaderEpoch: 1 });
      }
    }
    expect(log.segments.length).toBeGreaterThan(10);
    log.close();
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
});

test("thousands of segments, read from all over, keep few files open; the sealed ones' indexes keep no memory", async () => {
  const root = mkdtempSync(`${tmpdir()}/odradek-log-`);
  const directory = `${root}/topic-0`;
  const limit = 32;
  const readers = 16;
  // What is counted here is files, and thousands of fdatasync would take seconds.
  const real = bunDisk();
  const unflushed: Disk = {
    ...real,
    open: (path, mode) => Object.create(real.open(path, mode), { flush: { value: () => undefined } }),
  };
  const disk = limitOpenFiles(unflushed, () => limit);
  disk.makeDirectory(directory);
  try {
    const config = { ...TINY, segmentBytes: 300, indexIntervalBytes: 100 };
    const { log, state } = await loadLog(disk, directory, config, {
      clean: false,
      recoveryPoint: 0,
      logStartOffset: 0,
    });
    const flush = async (): Promise<void> => {
      const ticket = log.beginFlush()!;
      for (const file of ticket.files) await file.flush();
      log.flushed(ticket);
    };
    const batches = 4400;
    for (let at = 0; at < batches; at++) {
      const bytes = buildBatch([{ timestamp: at, value: new Uint8Array(60) }]);
      stampBatch(bytes, 0, state.logEndOffset, 1);
      const info = readBatchInfo(bytes, 0);
      log.stage(bytes, info, () => snapshotOf(state));
      evolve(state, info);
      await log.write();
      if (at % 1100 === 1099) await flush();
    }
    expect(log.segments.length).toBeGreaterThan(2000);
    // Files that were in the middle of their own flush.
    const atMost = async (count: number): Promise<void> => {
      while (disk.openFiles().open > count) await new Promise((resolve) => setTimeout(resolve, 1));
    };
    await atMost(limit);
    const open = (): number => readdirSync("/proc/self/fd").length;
    const before = open();
    // Sixteen readers at a time, all over the log, each through an index and a file of its own.
    for (let round = 0; round < 150; round++) {
      const offsets = Array.from({ length: readers }, (_, reader) => (round * 7919 + reader * 997) % batches);
      const found = await Promise.all(offsets.map((offset) => log.read(offset, 1, Number.POSITIVE_INFINITY, true)));
      expect(found.map(({ firstOffset }) => firstOffset)).toEqual(offsets);
      const [timestamp] = offsets;
      const byTime = await log.offsetForTimestamp(timestamp!, 0, Number.POSITIVE_INFINITY, noCodecs);
      expect(byTime?.offset).toBe(timestamp);
      // What is in the middle of being read may come on top.
      expect(disk.openFiles().open).toBeLessThanOrEqual(limit + readers);
      expect(open()).toBeLessThanOrEqual(before + limit + readers);
    }
    log.close();
    await atMost(0);
    expect(disk.openFiles().held).toBe(0);
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
});

test("whoever reads a whole log gives others their turn: recovery, an index built again, a search by time", async () => {
  const root = mkdtempSync(`${tmpdir()}/odradek-log-`);
  const directory = `${root}/topic-0`;
  const disk = bunDisk();
  disk.makeDirectory(directory);
  try {
    const config = { ...TINY, segmentBytes: 1 << 30 };
    const options = { clean: false, recoveryPoint: 0, logStartOffset: 0 };
    const { log, state } = await loadLog(disk, directory, config, options);
    const template = buildBatch(Array.from({ length: 60 }, () => ({ timestamp: 1, value: new Uint8Array(1000) })));
    const megabytes = 24;
    while (log.size < megabytes * 1e6) {
      for (let count = 0; count < 16; count++) {
        const bytes = template.slice();
        stampBatch(bytes, 0, state.logEndOffset, 1);
        const info = readBatchInfo(bytes, 0);
        log.stage(bytes, info, () => snapshotOf(state));
        evolve(state, info);
      }
      await log.write();
    }
    log.close();
    const turnsDuring = async <A>(work: () => Promise<A>): Promise<{ turns: number; result: A }> => {
      let turns = 0;
      let working = true;
      const tick = (): void => {
        turns++;
        if (working) setImmediate(tick);
      };
      setImmediate(tick);
      const result = await work();
      working = false;
      return { turns, result };
    };
    const recovery = await turnsDuring(async () => loadLog(disk, directory, config, options));
    const again = recovery.result.log;
    again.flushed(again.beginFlush()!);
    const { active } = again;
    const indexBytes = active.indexes.sizeInBytes.offset;
    for (const suffix of [".index", ".timeindex"] as const) disk.remove(active.path(suffix));
    const rebuild = await turnsDuring(async () => active.find(state.logEndOffset - 1));
    const search = await turnsDuring(async () => again.offsetForTimestamp(2, 0, Number.POSITIVE_INFINITY, noCodecs));
    expect(search.result).toBeUndefined();
    expect(indexBytes).toBeGreaterThan(1000);
    // A chunk is a megabyte: between two of them there is a turn.
    for (const { turns } of [recovery, rebuild]) expect(turns).toBeGreaterThan(megabytes / 2);
    again.close();
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
});
