/**
 * The scrub: it reads every sealed segment once in `log.scrub.interval.ms` and compares checksums, so slowly that it is
 * done with the last segment when the time is up, and finds rot before a reader does. What must stay true: readers of
 * damage are refused and its bytes stay; a restart goes on where the last run was, and looks first at what was damaged;
 * with little data there is nearly nothing to do, and without sealed segments nothing.
 */
import type { BrokerConfig } from "../src/config/BrokerConfig.ts";
import {
  decodeScrubCheckpoint,
  encodeScrubCheckpoint,
  partitionDirectory,
  SCRUB_FILE,
  type ScrubCheckpoint,
} from "../src/log/Checkpoints.ts";
import type { LogSegment } from "../src/log/LogSegment.ts";
import { replaceFile } from "../src/log/ReplaceFile.ts";
import { SegmentScrub } from "../src/log/Scrub.ts";
import type { PartitionView } from "../src/partition/PartitionView.ts";
import type { Clock } from "../src/platform/Clock.ts";
import { type Disk, DiskError } from "../src/platform/Disk.ts";
import type { LeaderEpoch, Offset, Timestamp } from "../src/prelude/Types.ts";
import type { Partition } from "./Partition.ts";

export interface LogScrubberEnvironment {
  readonly clock: Clock;
  readonly disk: Disk;
  readonly config: () => BrokerConfig;
  /** The log directory. */
  readonly path: string;
  /** Every hosted partition that has records. */
  readonly maintained: () => AsyncIterable<{ readonly partition: Partition }>;
  readonly log: (level: "info" | "warn" | "error", message: string) => void;
}

export interface ScrubMetrics {
  bytes: number;
  segments: number;
  /** Times that everything was read. */
  rounds: number;
  /** Segments with damage now. */
  damaged: number;
}

/** Read and checked in one go. */
const PART_BYTES = 1024 * 1024;
/** However late a round is, the disk and the event loop are mostly others'. */
const MOST_BYTES_PER_MS = (32 * 1024 * 1024) / 1000;
/** After a start others come first. */
const REST_MS = 60_000;
const HOUR_MS = 3_600_000;
const LATER = Symbol("later");

/** The broker stops. */
class Stopped extends Error {}

export class LogScrubber {
  readonly metrics: ScrubMetrics = { bytes: 0, segments: 0, rounds: 0, damaged: 0 };
  private cancel: (() => void) | undefined;
  private stopped = false;
  /** When the round began, and up to which offset each partition was read in it. */
  private began: Timestamp;
  private readonly done: Map<string, Offset>;
  /** Base offsets of damaged segments, by partition. */
  private damaged: Map<string, Set<Offset>>;
  private written = Number.NEGATIVE_INFINITY;

  constructor(private readonly environment: LogScrubberEnvironment) {
    const { clock, disk, log } = environment;
    const content = disk.readFile(this.checkpointPath);
    const found = content === undefined ? undefined : decodeScrubCheckpoint(content);
    this.began = found?.began ?? clock.wall();
    this.done = new Map(found?.done.map((entry) => [partitionDirectory(entry), entry.offset]));
    this.damaged = new Map();
    for (const entry of found?.damaged ?? []) this.damagedOf(partitionDirectory(entry)).add(entry.offset);
    void this.run().catch((error: unknown) => {
      if (!(error instanceof Stopped)) log("error", `the scrub failed: ${String(error)}`);
    });
  }

  stop(): void {
    this.stopped = true;
    this.cancel?.();
  }

  private get checkpointPath(): string {
    return `${this.environment.path}/${SCRUB_FILE}`;
  }

  private damagedOf(name: string): Set<Offset> {
    const known = this.damaged.get(name);
    if (known !== undefined) return known;
    const made = new Set<Offset>();
    this.damaged.set(name, made);
    return made;
  }

  private get intervalMs(): number {
    return this.environment.config().number("log.scrub.interval.ms");
  }

  private async run(): Promise<void> {
    await this.pause(REST_MS);
    await this.lookAgain();
    const { clock } = this.environment;
    for (;;) {
      if (this.intervalMs >= 0) await this.round();
      // A clock that was set back must not put the next round off.
      const passed = Math.max(0, clock.wall() - this.began);
      await this.pauseFor(() => (this.intervalMs < 0 ? Number.POSITIVE_INFINITY : this.intervalMs - passed));
      this.began = clock.wall();
      this.done.clear();
    }
  }

  /** What was damaged when the last run ended is refused again before anyone reads it, if it still is. */
  private async lookAgain(): Promise<void> {
    if (this.damaged.size === 0) return;
    for await (const { partition } of this.environment.maintained()) {
      const { view } = partition;
      const bases = this.damaged.get(partitionDirectory(partition.identity));
      if (view === undefined || bases === undefined) continue;
      for (const segment of view.log.segments) {
        if (bases.has(segment.baseOffset)) await this.scrub(partition, view, segment, 0);
      }
    }
  }

  /** Reads what this round has not read yet. */
  private async round(): Promise<void> {
    const { maintained } = this.environment;
    let left = 0;
    for await (const { partition } of maintained()) for (const segment of this.unread(partition)) left += segment.size;
    // A restart must know how much of the time has passed.
    const any = left > 0;
    if (any) await this.writeCheckpoint(true);
    const found = new Map<string, Set<Offset>>();
    for await (const { partition } of maintained()) {
      const name = partitionDirectory(partition.identity);
      for (const segment of this.unread(partition)) {
        const { view } = partition;
        if (view === undefined) break;
        const unrested = await this.scrub(partition, view, segment, left);
        this.done.set(name, segment.baseOffset + 1);
        this.metrics.segments += 1;
        await this.writeCheckpoint(false);
        await this.rest(unrested, left);
        left -= segment.size;
      }
      const bases = (partition.view?.log.segments ?? []).flatMap(({ baseOffset, damage }) =>
        damage === undefined ? [] : [baseOffset],
      );
      if (bases.length > 0) found.set(name, new Set(bases));
    }
    // What expired or was removed is nobody's trouble any more.
    this.damaged = found;
    this.countDamage();
    this.metrics.rounds += 1;
    if (any) await this.writeCheckpoint(true);
  }

  private unread({ identity, view }: Partition): LogSegment[] {
    const from = this.done.get(partitionDirectory(identity)) ?? 0;
    const segments = view?.log.segments.slice(0, -1) ?? [];
    return segments.filter(({ baseOffset }) => baseOffset >= from);
  }

  /**
   * One segment, in parts; `left` bytes, these among them, share the rest of the round's time. Answers how many bytes it
   * has not rested for yet.
   */
  private async scrub(
    { identity }: Partition,
    view: PartitionView,
    segment: LogSegment,
    left: number,
  ): Promise<number> {
    const { log } = view;
    const name = partitionDirectory(identity);
    const next = log.segments[log.segments.indexOf(segment) + 1];
    if (next === undefined) return 0;
    const scrub = new SegmentScrub(segment, {
      endOffset: next.baseOffset,
      epochOf: (offset) => knownEpoch(view, offset),
    });
    let bytes = 0;
    for (let position = 0; !scrub.isDone; position = scrub.position) {
      if (bytes > 0) await this.rest(bytes, left - position + bytes);
      if (!segment.isInLog) return 0;
      const wrong = await this.part(scrub, segment);
      if (wrong === LATER || !segment.isInLog) return 0;
      bytes = scrub.position - position;
      this.metrics.bytes += bytes;
      if (wrong === undefined) continue;
      log.reader.noteDamage(segment, wrong.position, wrong.why);
      this.damagedOf(name).add(segment.baseOffset);
      this.countDamage();
      await this.writeCheckpoint(true);
      return bytes;
    }
    if (segment.damage !== undefined) {
      segment.damage = undefined;
      this.environment.log("warn", `${segment.path(".log")} is whole again`);
    }
    this.damaged.get(name)?.delete(segment.baseOffset);
    this.countDamage();
    return bytes;
  }

  /** `LATER` when it cannot be read now: that is no finding. */
  private async part(scrub: SegmentScrub, segment: LogSegment) {
    try {
      return await scrub.next(PART_BYTES);
    } catch (error) {
      if (!(error instanceof DiskError)) throw error;
      this.environment.log("warn", `${segment.path(".log")} was not scrubbed: ${String(error)}`);
      return LATER;
    }
  }

  private countDamage(): void {
    this.metrics.damaged = [...this.damaged.values()].reduce((sum, bases) => sum + bases.size, 0);
  }

  /** Rests behind so many bytes, so that `left` of them fit into what is left of the round's time. */
  private async rest(bytes: number, left: number): Promise<void> {
    await this.pause(bytes / MOST_BYTES_PER_MS);
    if (bytes === 0 || left <= bytes) return;
    const passed = Math.max(0, this.environment.clock.wall() - this.began);
    await this.pauseFor(() => ((this.intervalMs - passed) * bytes) / left);
  }

  /** Not after every small segment: what is lost of it is read twice. */
  private async writeCheckpoint(now: boolean): Promise<void> {
    const { clock, disk, log } = this.environment;
    if (!now && clock.monotonic() - this.written < REST_MS) return;
    this.written = clock.monotonic();
    const entries = (of: Iterable<readonly [string, Offset]>): ScrubCheckpoint["done"] =>
      Array.from(of).flatMap(([name, offset]) => {
        const separator = name.lastIndexOf("-");
        return [{ topic: name.slice(0, separator), partition: Number(name.slice(separator + 1)), offset }];
      });
    const damaged = [...this.damaged].flatMap(([name, bases]) => [...bases].map((base) => [name, base] as const));
    const content = encodeScrubCheckpoint({ began: this.began, done: entries(this.done), damaged: entries(damaged) });
    try {
      await replaceFile(disk, this.checkpointPath, content);
    } catch (error) {
      log("warn", `${SCRUB_FILE} was not written: ${String(error)}`);
    }
  }

  /** The time may change with the configuration: looked at once an hour. */
  private async pauseFor(ms: () => number): Promise<void> {
    const { clock } = this.environment;
    const began = clock.monotonic();
    for (;;) {
      const left = ms() - (clock.monotonic() - began);
      // A timer is not more exact than that.
      if (left < 1) return;
      await this.pause(Math.min(left, HOUR_MS));
    }
  }

  private async pause(ms: number): Promise<void> {
    await new Promise<void>((resolve) => {
      this.cancel = this.environment.clock.after(ms, resolve);
    });
    if (this.stopped) throw new Stopped();
  }
}

/** The reign that wrote an offset, where the cache still reaches. */
const knownEpoch = ({ logStartOffset, state }: PartitionView, offset: Offset): LeaderEpoch | undefined => {
  const epoch = offset < logStartOffset ? -1 : state.leaderEpochs.epochForOffset(offset);
  return epoch === -1 ? undefined : epoch;
};
