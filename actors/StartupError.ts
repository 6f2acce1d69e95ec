/**
 * Why the broker cannot start, in one line for a person: what, where, what is allowed; and, where there is one, the option
 * that helps. The process exits with 1.
 */
export class StartupError extends Error {
  readonly _tag = "StartupError";
  override readonly name = "StartupError";
  constructor(
    message: string,
    readonly hint?: string,
  ) {
    super(message);
  }
}
