/**
 * How much clients may still write in a log directory: what is left above `log.min.free.bytes`. The rest is the broker's
 * own: coordinators, metadata, checkpoints and what retention needs to make room go on in it. What must stay true: a
 * batch is refused before a byte of it is written, and looking costs next to nothing: the system is asked once a second
 * at most while there is room, and only when somebody appends.
 */
import type { Clock } from "../src/platform/Clock.ts";
import type { Disk } from "../src/platform/Disk.ts";
import type { MonotonicMs } from "../src/prelude/Types.ts";

export interface FreeSpaceEnvironment {
  readonly clock: Clock;
  readonly disk: Disk;
  /** The log directory. */
  readonly path: string;
  /** `log.min.free.bytes`; -1: a hundredth of the file system, at most 1 GiB. */
  readonly minFreeBytes: () => number;
  readonly log: (level: "info" | "warn" | "error", message: string) => void;
}

/** What a partition asks before it takes a client's batch. */
export interface Space {
  /** Whether so many bytes may be written; they count as written then. */
  admit(bytes: number): boolean;
  /** A write found the disk full: what was known of it is wrong. */
  ranOut(): void;
}

/** For logs whose growth is what makes room elsewhere. */
export const RESERVE: Space = { admit: () => true, ranOut: () => undefined };

/** While there is room, and while there is none: whoever waits for it should not wait long. */
const LOOK_EVERY_MS = 1000;
const LOOK_AGAIN_MS = 100;
const MOST_BY_DEFAULT = 1024 * 1024 * 1024;
const SHARE_BY_DEFAULT = 0.01;

export class FreeSpace implements Space {
  private left = 0;
  private isLow = false;
  private lookAt: MonotonicMs = Number.NEGATIVE_INFINITY;
  /** Batches refused for want of space. */
  refused = 0;

  constructor(private readonly environment: FreeSpaceEnvironment) {}

  ranOut(): void {
    this.lookAt = Number.NEGATIVE_INFINITY;
  }

  admit(bytes: number): boolean {
    const now = this.environment.clock.monotonic();
    if (now >= this.lookAt || (this.left < bytes && !this.isLow)) this.look(now, bytes);
    if (this.left < bytes) {
      this.refused += 1;
      return false;
    }
    this.left -= bytes;
    return true;
  }

  private look(now: MonotonicMs, wanted: number): void {
    const { disk, path, log } = this.environment;
    let free: number;
    let least: number;
    try {
      free = disk.freeBytes(path);
      least = this.least();
    } catch {
      // Whoever cannot say refuses nothing: the write itself will tell.
      this.left = Number.MAX_SAFE_INTEGER;
      this.lookAt = now + LOOK_EVERY_MS;
      return;
    }
    const wasLow = this.isLow;
    this.left = free - least;
    this.isLow = this.left < wanted;
    this.lookAt = now + (this.isLow ? LOOK_AGAIN_MS : LOOK_EVERY_MS);
    if (this.isLow && !wasLow) {
      log(
        "error",
        `${path}: ${free} bytes are free and log.min.free.bytes is ${least}: producers wait until there is room`,
      );
    } else if (wasLow && !this.isLow) log("warn", `${path}: ${free} bytes are free, producers go on`);
  }

  private least(): number {
    const { disk, path, minFreeBytes } = this.environment;
    const asked = minFreeBytes();
    return asked >= 0 ? asked : Math.min(MOST_BY_DEFAULT, Math.floor(disk.totalBytes(path) * SHARE_BY_DEFAULT));
  }
}
