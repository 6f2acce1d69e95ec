/**
 * The bytes of a log contradict each other where no torn or lost write explains it. The partition goes offline and its
 * files stay as they are, for inspection.
 */
export class CorruptLog extends Error {
  readonly _tag = "CorruptLog";
  override readonly name = "CorruptLog";
  constructor(
    readonly path: string,
    /** Where in the file; -1 when the file as a whole is wrong. */
    readonly position: number,
    readonly why: string,
  ) {
    super(`${path} at ${position}: ${why}`);
  }
}
