/**
 * Where a JSON value in a stream of bytes ends, on however many lines it stands. It only counts brackets and passes over
 * strings; whether it is JSON is for `JSON.parse` to say. It remembers how far it came, so that a value that comes in many
 * chunks is looked at once.
 */
import { type InputBuffer, InputError } from "./InputBuffer.ts";

const QUOTE = 0x22;
const BACKSLASH = 0x5c;

// A byte order mark within a string is part of it.
const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

const isSpace = (byte: number): boolean => byte === 0x20 || (byte >= 0x09 && byte <= 0x0d);
const opens = (byte: number): boolean => byte === 0x7b || byte === 0x5b;
const closes = (byte: number): boolean => byte === 0x7d || byte === 0x5d;
/** Ends a number, `true`, `false` or `null` at the top level. */
const endsWord = (byte: number): boolean => isSpace(byte) || opens(byte) || closes(byte) || byte === QUOTE;

export class JsonScanner {
  private at = 0;
  private depth = 0;
  private begun = false;
  private inString = false;
  private escaped = false;

  /** The next value's text, taken from the input with the space before it; undefined when its end has not come. */
  next(input: InputBuffer): string | undefined {
    if (!this.begun) skipSpace(input);
    for (let byte = input.at(this.at); byte !== undefined; byte = input.at(this.at)) {
      const inWord = this.begun && this.depth === 0 && !this.inString;
      if (inWord && endsWord(byte)) return this.taken(input);
      this.at += 1;
      if (this.inString ? this.endsString(byte) : this.endsValue(byte)) return this.taken(input);
    }
    return input.ended && this.begun && this.depth === 0 && !this.inString ? this.taken(input) : undefined;
  }

  private endsString(byte: number): boolean {
    if (this.escaped) this.escaped = false;
    else if (byte === BACKSLASH) this.escaped = true;
    else if (byte === QUOTE) this.inString = false;
    return !this.inString && this.depth === 0;
  }

  private endsValue(byte: number): boolean {
    if (isSpace(byte)) return false;
    this.begun = true;
    if (byte === QUOTE) this.inString = true;
    else if (opens(byte)) this.depth += 1;
    else if (closes(byte)) this.depth -= 1;
    return closes(byte) && this.depth <= 0;
  }

  private taken(input: InputBuffer): string {
    const bytes = input.take(this.at);
    this.at = 0;
    this.depth = 0;
    this.begun = false;
    this.inString = false;
    try {
      return strict.decode(bytes);
    } catch {
      throw new InputError("JSON that is not UTF-8");
    }
  }
}

const skipSpace = (input: InputBuffer): void => {
  for (let byte = input.at(0); byte !== undefined && isSpace(byte); byte = input.at(0)) input.skip(1);
};

/** The value a text stands for. Throws `InputError`. */
export const parseJson = (text: string): unknown => {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new InputError(`no JSON: ${error instanceof Error ? error.message : String(error)}`);
  }
};

/** JSON without the space between its tokens; numbers and strings stay as they are written. */
export const compactJson = (text: string): string => {
  parseJson(text);
  return text.replace(/("(?:[^"\\]|\\.)*")|[ \t\n\r]+/g, "$1");
};
