/**
 * A format string of `produce -f`, `produce -o` and `consume -f`, taken apart: text and verbs, by the grammar of franz-go's
 * record formatter (which rpk and kcl speak). What each verb means is said by `RecordFormatter` and `RecordReader`.
 */
import { UsageError } from "./Arguments.ts";

/** What is wrong with a format; the message is for the user. */
export class FormatError extends UsageError {}

/** `%v{name}`, `%d{name[argument]}`, `%a{name;option}`; of `%h{…}` everything between the braces is the name. */
export interface Verb {
  /** The character behind the percent sign. */
  readonly letter: string;
  /** Empty when there are no braces. */
  readonly name: string;
  readonly argument: string | undefined;
  readonly option: string | undefined;
}

/** Bytes that stand for themselves, or a verb. */
export type Piece = Uint8Array | Verb;

const utf8 = new TextEncoder();
const ESCAPES: Readonly<Record<string, number>> = { t: 0x09, n: 0x0a, r: 0x0d, "\\": 0x5c };
const CLOSERS: Readonly<Record<string, string>> = { "{": "}", "[": "]", "(": ")" };

/** Text and verbs in order; neighbouring text is one piece. Throws `FormatError`. */
export const parseLayout = (layout: string): Piece[] => {
  const pieces: Piece[] = [];
  const cursor = new Cursor(layout);
  let text: number[] = [];
  const endText = (): void => {
    if (text.length > 0) pieces.push(Uint8Array.from(text));
    text = [];
  };
  while (!cursor.atEnd) {
    const character = cursor.take();
    if (character === "\\") text.push(cursor.escape());
    else if (character !== "%") text.push(...utf8.encode(character));
    else if (cursor.next === "%" || cursor.next === "{" || cursor.next === "}")
      text.push(...utf8.encode(cursor.take()));
    else {
      endText();
      pieces.push(cursor.verb());
    }
  }
  endText();
  return pieces;
};

class Cursor {
  private readonly characters: ReadonlyArray<string>;
  private at = 0;

  constructor(private readonly layout: string) {
    this.characters = [...layout];
  }

  get atEnd(): boolean {
    return this.at === this.characters.length;
  }

  get next(): string | undefined {
    return this.characters[this.at];
  }

  private is(character: string): boolean {
    return this.next === character;
  }

  take(): string {
    const character = this.characters[this.at];
    if (character === undefined) throw new FormatError(`format ${JSON.stringify(this.layout)}: it ends too early`);
    this.at += 1;
    return character;
  }

  /** What a backslash stands for, behind it. */
  escape(): number {
    const character = this.take();
    const known = ESCAPES[character];
    if (known !== undefined) return known;
    if (character !== "x") throw new FormatError(`\\${character}: escapes are \\t \\n \\r \\\\ and \\xNN`);
    const digits = this.take() + this.take();
    if (!/^[0-9a-fA-F]{2}$/.test(digits)) throw new FormatError(`\\x${digits}: expected two hexadecimal digits`);
    return Number.parseInt(digits, 16);
  }

  /** A verb, behind its percent sign. */
  verb(): Verb {
    const letter = this.take();
    const plain: Verb = { letter, name: "", argument: undefined, option: undefined };
    if (!this.is("{")) return plain;
    this.take();
    if (letter === "h") return { ...plain, name: this.nested() };
    let name = "";
    while (/^[a-z0-9-]$/.test(this.next ?? "")) name += this.take();
    if (this.is(";")) {
      this.take();
      return { ...plain, name, option: this.until("}") };
    }
    if (this.is("}")) {
      this.take();
      return { ...plain, name };
    }
    const argument = this.delimited();
    if (this.take() !== "}") throw new FormatError(`%${letter}{${name}…: a closing brace is missing`);
    return { ...plain, name, argument };
  }

  /** Up to the brace that closes one already open. A percent sign takes the character behind it along. */
  private nested(): string {
    let text = "";
    for (let depth = 1; ; ) {
      let character = this.take();
      if (character === "%") character += this.take();
      else if (character === "{") depth += 1;
      else if (character === "}") depth -= 1;
      if (depth === 0) return text;
      text += character;
    }
  }

  /** Between brackets, braces, parentheses or any other character, as often repeated as one likes: `[%F]`, `##x##`. */
  private delimited(): string {
    const opener = this.take();
    let count = 1;
    while (this.is(opener)) {
      this.take();
      count += 1;
    }
    return this.until((CLOSERS[opener] ?? opener).repeat(count));
  }

  private until(end: string): string {
    const rest = this.characters.slice(this.at).join("");
    const found = rest.indexOf(end);
    if (found < 0) throw new FormatError(`format ${JSON.stringify(this.layout)}: ${end} is missing`);
    this.at += [...rest.slice(0, found)].length + [...end].length;
    return rest.slice(0, found);
  }
}
