/**
 * How long to wait before the next attempt: exponential with full jitter, so that a thousand clients that lost the same
 * server come back spread over the whole interval. What must stay true: no wait is longer than the ceiling.
 */
import type { ClientRandom } from "./ClientPlatform.ts";

export interface BackoffOptions {
  /** Ceiling of the first wait, in milliseconds (default 200). */
  readonly initialMs?: number;
  /** Ceiling of every wait (default 20,000). */
  readonly maxMs?: number;
}

export class Backoff {
  private attempts = 0;
  private readonly initialMs: number;
  private readonly maxMs: number;

  constructor(
    private readonly random: ClientRandom,
    options: BackoffOptions = {},
  ) {
    this.initialMs = options.initialMs ?? 200;
    this.maxMs = options.maxMs ?? 20_000;
  }

  /** Anything from 0 to the ceiling, which doubles every time. */
  next(): number {
    const ceiling = Math.min(this.maxMs, this.initialMs * 2 ** Math.min(this.attempts, 30));
    this.attempts += 1;
    return this.random.below(Math.floor(ceiling) + 1);
  }

  reset(): void {
    this.attempts = 0;
  }
}
