/** The Random port: every random choice of the broker, so that one seed decides a whole run. */
import type { Uuid } from "../prelude/Types.ts";

export interface Random {
  /** An integer, `0 ≤ result < bound`, bound ≤ 2^32. */
  below(bound: number): number;
  /** A version-4 UUID in Kafka's text form; never one that starts with '-' (Kafka's `Uuid.randomUuid`). */
  uuid(): Uuid;
}
