/**
 * The credit of one stream: how much the server may still send, and how much lies here unfinished. What must stay true:
 * granted and unfinished together never exceed the window, except by the one record (or raw batch) that is larger than
 * the window and is let in when nothing else is here; whatever the application finishes becomes credit again, in notes
 * of half a window and more.
 */
import type { Credit } from "../gateway/Messages.ts";

/** A note is sent when so much of the window is free. */
const TOP_UP = 0.5;

export class CreditWindow {
  /** Granted and not yet spent. */
  private granted = { records: 0, bytes: 0 };
  /** Delivered and not yet finished. */
  private held = { records: 0, bytes: 0 };
  private size: Credit;
  /** What a piece costs that the server has too little credit for; smaller ones of other partitions may still come. */
  private starved: Credit | undefined;

  constructor(private readonly wanted: Credit) {
    this.size = wanted;
  }

  /** Bytes that lie here unfinished. */
  get heldBytes(): number {
    return this.held.bytes;
  }

  get heldRecords(): number {
    return this.held.records;
  }

  /** The credit to open the stream with, on a connection whose server takes at most `limit`; none for a paused one. */
  open(limit: Credit, paused: boolean): Credit {
    this.size = {
      records: Math.max(1, Math.min(this.wanted.records, limit.records)),
      bytes: Math.max(1, Math.min(this.wanted.bytes, limit.bytes)),
    };
    this.close();
    if (!paused) this.granted = { ...this.free() };
    return { ...this.granted };
  }

  /** The stream is not open any more: what was granted is void. */
  close(): void {
    this.granted = { records: 0, bytes: 0 };
    this.starved = undefined;
  }

  /** Something was delivered. */
  spend(records: number, bytes: number): void {
    this.granted.records = Math.max(0, this.granted.records - records);
    this.granted.bytes = Math.max(0, this.granted.bytes - bytes);
    this.held.records += records;
    this.held.bytes += bytes;
  }

  /** The application is through with it, or it was dropped. */
  finish(records: number, bytes: number): void {
    this.held.records -= records;
    this.held.bytes -= bytes;
  }

  /** The server says what it lacks credit for; not news when a grant that covers it is on its way. */
  starve(cost: Credit): void {
    if (cost.records > this.granted.records || cost.bytes > this.granted.bytes) this.starved = cost;
  }

  /** What to grant now, if anything; it counts as granted. */
  due(): Credit | undefined {
    const free = this.free();
    const { starved, size } = this;
    if (starved !== undefined) {
      // Nothing comes before it has enough. Alone it may be larger than the window.
      const alone = this.held.records === 0 && this.held.bytes === 0;
      const lacking = {
        records: Math.max(0, starved.records - this.granted.records),
        bytes: Math.max(0, starved.bytes - this.granted.bytes),
      };
      if (!alone && (lacking.records > free.records || lacking.bytes > free.bytes)) return undefined;
      return this.grant(Math.max(free.records, lacking.records), Math.max(free.bytes, lacking.bytes));
    }
    if (free.records < size.records * TOP_UP && free.bytes < size.bytes * TOP_UP) return undefined;
    return this.grant(free.records, free.bytes);
  }

  private free(): Credit {
    return {
      records: Math.max(0, this.size.records - this.granted.records - this.held.records),
      bytes: Math.max(0, this.size.bytes - this.granted.bytes - this.held.bytes),
    };
  }

  private grant(records: number, bytes: number): Credit | undefined {
    if (records === 0 && bytes === 0) return undefined;
    this.granted.records += records;
    this.granted.bytes += bytes;
    this.starved = undefined;
    return { records, bytes };
  }
}
