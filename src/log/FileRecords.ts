/**
 * Whole batches of one segment that stay in its file until a socket takes them: an answer of 50 MB costs the memory of one
 * chunk, and the first of its bytes are on their way before the last are read. What must stay true: the segment is held
 * until `release`, so that the bytes are there; what cannot be read is told to the log, which will not promise it again.
 */
import type { BytesElsewhere } from "../prelude/ByteWriter.ts";
import { isPending, type MaybePending, type Position } from "../prelude/Types.ts";
import { CorruptLog } from "./CorruptLog.ts";
import type { LogSegment } from "./LogSegment.ts";

export class FileRecords implements BytesElsewhere {
  readonly elsewhere = true;
  /** Told once, when the segment is let go. */
  released: (() => void) | undefined;
  private isHeld = true;

  /** `broken` is told why bytes that were promised cannot be had, and throws. */
  constructor(
    private readonly segment: LogSegment,
    private readonly position: Position,
    readonly length: number,
    private readonly broken: (error: unknown) => never,
  ) {
    segment.acquire();
  }

  /** Fills `target` with the bytes from `from` on, all of them there. Throws or rejects `DiskError` or `CorruptLog`. */
  read(target: Uint8Array, from: number): MaybePending<void> {
    const at = this.position + from;
    const whole = (there: number): void => {
      if (there < target.length)
        this.broken(new CorruptLog(this.segment.path(".log"), at + there, "the file is shorter than its batches"));
    };
    try {
      const reading = this.segment.file.read(target, at);
      if (!isPending(reading)) return whole(reading);
      this.segment.acquire();
      return reading.then(whole, this.broken).finally(() => this.segment.release());
    } catch (error) {
      return this.broken(error);
    }
  }

  release(): void {
    if (!this.isHeld) return;
    this.isHeld = false;
    this.segment.release();
    this.released?.();
  }
}
