/**
 * One Flusher per log directory: it makes written bytes durable, in rounds. Whatever became dirty during a round is the
 * next round; partitions, coordinators and the metadata log share rounds. What must stay true: `flushed` is told for an
 * offset only after every byte below it, and the directory entry of every file that holds them, is durable; a failed
 * round is reported and never retried on the same files (a failed fsync leaves clean-looking pages behind).
 *
 * Few dirty files are flushed side by side; for many, one `syncfs` is tried where the platform has it, and kept while it
 * is the faster of the two (it also waits for other programs' dirty pages).
 */
import type { FlushTicket } from "../src/log/Unflushed.ts";
import type { Disk, DiskFile } from "../src/platform/Disk.ts";
import { isPending, type MaybePending } from "../src/prelude/Types.ts";
import { type ActorContext, type ActorRef, type Behavior, spawn } from "./Actor.ts";

/** A log that can be dirty: a partition, a coordinator's journal or the metadata log. */
export interface Flushable {
  /** What must become durable now, or undefined when nothing is dirty. */
  beginFlush(): FlushTicket | undefined;
  flushed(ticket: FlushTicket): void;
  flushFailed(ticket: FlushTicket, error: unknown): void;
}

export interface FlusherMetrics {
  rounds: number;
  failures: number;
  /** Files made durable, one by one or by syncfs. */
  files: number;
  fileSystemRounds: number;
}

export interface Flusher {
  readonly actor: ActorRef<Flushable>;
  readonly metrics: FlusherMetrics;
}

/** From so many files on, one syncfs may be faster than a fdatasync each. */
const MANY_FILES = 8;
/** Every so many rounds the slower way is measured again. */
const REMEASURE_ROUNDS = 64;

export const startFlusher = (context: ActorContext, disk: Disk, directory: string): Flusher => {
  const behavior = new FlusherBehavior(context, disk, directory);
  return { actor: spawn(context, `flusher ${directory}`, behavior), metrics: behavior.metrics };
};

/** Makes a ticket's files, and the directory entries they need, durable side by side. Throws or rejects `DiskError`. */
export const flushTicket = (
  disk: Disk,
  ticket: { readonly files: Iterable<DiskFile>; readonly directories: Iterable<string> },
): MaybePending<void> => {
  const waits: Promise<void>[] = [];
  const start = (flush: () => MaybePending<void>): void => {
    try {
      const flushing = flush();
      if (isPending(flushing)) waits.push(flushing);
    } catch (error) {
      // The others are under way, and may fail too: one answer for all of them.
      waits.push(Promise.reject(error));
    }
  };
  for (const file of ticket.files) start(() => file.flush());
  for (const directory of ticket.directories) start(() => disk.flushDirectory(directory));
  if (waits.length === 0) return undefined;
  return waits.length === 1 ? waits[0] : Promise.all(waits).then(() => undefined);
};

class FlusherBehavior implements Behavior<Flushable> {
  readonly metrics: FlusherMetrics = { rounds: 0, failures: 0, files: 0, fileSystemRounds: 0 };
  /** Smoothed milliseconds per file, by way. */
  private readonly cost = { each: 0, fileSystem: 0 };

  constructor(
    private readonly context: ActorContext,
    private readonly disk: Disk,
    private readonly directory: string,
  ) {}

  turn(dirty: ReadonlyArray<Flushable>): MaybePending<void> {
    const round: Array<{ readonly log: Flushable; readonly ticket: FlushTicket }> = [];
    for (const log of new Set(dirty)) {
      const ticket = log.beginFlush();
      if (ticket !== undefined) round.push({ log, ticket });
    }
    if (round.length === 0) return;
    this.metrics.rounds += 1;
    const files = round.reduce((sum, { ticket }) => sum + ticket.files.length, 0);
    this.metrics.files += files;
    const flushes = this.useFileSystem(files) ? this.flushFileSystem(round) : this.flushEach(round);
    const pending: Promise<void>[] = [];
    round.forEach(({ log, ticket }, index) => {
      const flush = flushes[index]!;
      if (isPending(flush))
        pending.push(
          flush.then(
            () => this.succeeded(log, ticket),
            (error) => this.failed(log, ticket, error),
          ),
        );
      else this.succeeded(log, ticket);
    });
    if (pending.length === 0) return;
    const started = this.context.clock.monotonic();
    return Promise.all(pending).then(() => {
      this.learn(files, this.context.clock.monotonic() - started);
      // The partitions' turns are scheduled: acks need not wait for the event loop to come round.
      this.context.tasks.drain();
    });
  }

  abandon(): void {}

  reload(): void {}

  offline(): void {}

  private succeeded(log: Flushable, ticket: FlushTicket): void {
    log.flushed(ticket);
  }

  private failed(log: Flushable, ticket: FlushTicket, error: unknown): void {
    this.metrics.failures += 1;
    this.context.log("error", `flush of ${ticket.files.map((file) => file.path).join(", ")} failed: ${String(error)}`);
    log.flushFailed(ticket, error);
  }

  private lastWay: "each" | "fileSystem" = "each";

  private useFileSystem(files: number): boolean {
    const { each, fileSystem } = this.cost;
    const remeasure = this.metrics.rounds % REMEASURE_ROUNDS === 0;
    const faster = fileSystem === 0 || fileSystem < each;
    const use = this.disk.flushFileSystem !== undefined && files >= MANY_FILES && each > 0 && faster !== remeasure;
    this.lastWay = use ? "fileSystem" : "each";
    return use;
  }

  private learn(files: number, elapsedMs: number): void {
    if (files < MANY_FILES) return;
    const perFile = elapsedMs / files;
    const before = this.cost[this.lastWay];
    this.cost[this.lastWay] = before === 0 ? perFile : before * 0.8 + perFile * 0.2;
  }

  private flushEach(round: ReadonlyArray<{ readonly ticket: FlushTicket }>): Array<MaybePending<void>> {
    return round.map(({ ticket }) => {
      try {
        return flushTicket(this.disk, ticket);
      } catch (error) {
        return Promise.reject(error);
      }
    });
  }

  /** One syncfs covers every file and directory of the round. */
  private flushFileSystem(round: ReadonlyArray<unknown>): Array<MaybePending<void>> {
    this.metrics.fileSystemRounds += 1;
    try {
      const flush = this.disk.flushFileSystem?.(this.directory);
      return round.map(() => flush);
    } catch (error) {
      return round.map(() => Promise.reject(error));
    }
  }
}
