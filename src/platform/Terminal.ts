/**
 * The Terminal port: what a command line tool reads, writes and is told. Data goes to the output, notes to the other
 * stream. What must stay true: a `write` that has resolved has been taken by the system, all of it; while nobody takes the
 * output, or nothing comes from the input, everything else of the process goes on.
 */

/** Whoever read the output has gone (`| head`): the tool ends, quietly. */
export class OutputClosed extends Error {
  override readonly name = "OutputClosed";
}

export interface Terminal {
  /** The next piece of the input, the caller's to keep; undefined at its end. One call at a time. */
  read(): Promise<Uint8Array | undefined>;
  /** Text as UTF-8. One call at a time. Rejects with `OutputClosed`, or with an error that says why it was not taken. */
  write(data: Uint8Array | string): Promise<void>;
  /** A line beside the data. */
  note(line: string): void;
  /** A line that the next one, or a note, takes the place of; shown only to a person. */
  progress(line: string): void;
  /** Somebody types the input. */
  readonly isTyped: boolean;
  /** The output goes to a screen. */
  readonly showsOutput: boolean;
  /** Aborted when the user wants the tool to end (Ctrl-C, SIGTERM); the second time the process ends without it. */
  readonly interrupted: AbortSignal;
}
