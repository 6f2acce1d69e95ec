/**
 * Assertions that stay in production: a broken invariant is a defect of ours, never a client's mistake, and ends the
 * actor's turn (its supervisor reloads it once; see `actors/Actor.ts`).
 */

/** A bug of ours. Expected refusals are Kafka error codes and operating failures are tagged errors; this is neither. */
export class Defect extends Error {
  override readonly name = "Defect";
}

export function invariant(condition: boolean, message: string): asserts condition {
  if (!condition) throw new Defect(message);
}
