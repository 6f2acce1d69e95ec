/**
 * `produce -f` and `produce -J`: the standard input, chunk by chunk, becomes records. A format is franz-go's: a field ends at
 * the text behind it, or has a size said before it. Unlike there the text behind the very last field may be missing at the
 * end of the input, as with other tools; an input that ends anywhere else within a record is an error.
 */
import type { RecordHeader } from "../record/RecordView.ts";
import type { InputRecord } from "./ConsumedRecord.ts";
import { FormatError, type Piece, parseLayout, type Verb } from "./FormatLayout.ts";
import { InputBuffer, InputError } from "./InputBuffer.ts";
import { compactJson, JsonScanner, parseJson } from "./JsonScanner.ts";
import { numberForm } from "./NumberFormat.ts";
import { EnvelopeError, recordOfEnvelope } from "./RecordEnvelope.ts";

export interface RecordReader {
  /** Throws `InputError` when a record is too large. */
  push(chunk: Uint8Array): void;
  /** No more will come. */
  end(): void;
  /** The next record; undefined when more input is needed, or when there is none left. Throws `InputError`. */
  next(): InputRecord | undefined;
}

/** Kafka's largest request (`socket.request.max.bytes`): no larger record can be sent. */
export const MAX_INPUT_RECORD_BYTES = 104_857_600;

/** Reads by a format. Throws `FormatError`. */
export const formatReader = (layout: string, limit = MAX_INPUT_RECORD_BYTES): RecordReader => {
  return numbered(new InputBuffer(limit), formatParser(parseLayout(layout)));
};

/** Reads JSON envelopes, on one line or several each. */
export const envelopeReader = (limit = MAX_INPUT_RECORD_BYTES): RecordReader => {
  const scanner = new JsonScanner();
  return numbered(new InputBuffer(limit), {
    next: (input) => {
      const text = scanner.next(input);
      if (text !== undefined) return recordOfEnvelope(parseJson(text));
      if (input.ended && input.length > 0) throw new InputError("the input ends within it");
      return undefined;
    },
  });
};

interface Parser {
  next(input: InputBuffer): InputRecord | undefined;
}

/** Says which record of the input is wrong, counted from 1. */
const numbered = (input: InputBuffer, parser: Parser): RecordReader => {
  let count = 0;
  const told = <A>(call: () => A): A => {
    try {
      return call();
    } catch (error) {
      if (!(error instanceof InputError || error instanceof EnvelopeError || error instanceof FormatError)) throw error;
      throw new InputError(`record ${count + 1} of the input: ${error.message}`);
    }
  };
  return {
    push: (chunk) => told(() => input.push(chunk)),
    end: () => {
      input.ended = true;
    },
    next: () =>
      told(() => {
        const record = parser.next(input);
        if (record !== undefined) count += 1;
        return record;
      }),
  };
};

type Sized = "T" | "K" | "V" | "H";

interface Draft {
  topic: string | undefined;
  partition: number | undefined;
  timestamp: number | undefined;
  key: Uint8Array | undefined;
  value: Uint8Array;
  headers: RecordHeader[];
  sizes: Record<Sized, number>;
}

interface Step {
  /** Reads its part and answers true; or answers false when it has not all come, and is called again with more. */
  read(input: InputBuffer, draft: Draft): boolean;
  /** The input is over: the same with what is left; absent when that cannot be enough. */
  readonly atEnd?: (input: InputBuffer, draft: Draft) => void;
}

const EMPTY = new Uint8Array(0);
const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

class FormatReader implements Parser {
  private draft: Draft | undefined;
  private at = 0;

  constructor(
    private readonly steps: ReadonlyArray<Step>,
    private readonly sizes: Record<Sized, number>,
  ) {}

  next(input: InputBuffer): InputRecord | undefined {
    this.draft ??= {
      topic: undefined,
      partition: undefined,
      timestamp: undefined,
      key: undefined,
      value: EMPTY,
      headers: [],
      sizes: { ...this.sizes },
    };
    for (; this.at < this.steps.length; this.at += 1) {
      const step = this.steps[this.at]!;
      if (step.read(input, this.draft)) continue;
      if (!input.ended) return undefined;
      if (this.at === 0 && input.length === 0) return undefined;
      if (this.at < this.steps.length - 1 || step.atEnd === undefined) throw new InputError("the input ends within it");
      step.atEnd(input, this.draft);
    }
    const { sizes: _, ...record } = this.draft;
    this.at = 0;
    this.draft = undefined;
    return record;
  }
}

const formatParser = (pieces: ReadonlyArray<Piece>): Parser => {
  const { steps, sizes } = compile(pieces);
  return new FormatReader(steps, sizes);
};

const SIZE_OF: Readonly<Record<string, Sized>> = { t: "T", k: "K", v: "V", h: "H" };

/** Sizes that stand in the format itself (`%V{3}`) are read from nowhere. */
const compile = (pieces: ReadonlyArray<Piece>): { steps: Step[]; sizes: Record<Sized, number> } => {
  const steps: Step[] = [];
  const sizes: Record<Sized, number> = { T: 0, K: 0, V: 0, H: 0 };
  const said = new Set<string>();
  for (let at = 0; at < pieces.length; at += 1) {
    const piece = pieces[at]!;
    if (piece instanceof Uint8Array) {
      steps.push(exactly(piece));
      continue;
    }
    const { letter } = piece;
    if (said.has(letter)) throw new FormatError(`%${letter} is there twice`);
    said.add(letter);
    const sized = SIZE_OF[letter];
    if (/^[TKVH]$/.test(letter)) {
      if (said.has(letter.toLowerCase())) throw new FormatError(`%${letter} must come before %${letter.toLowerCase()}`);
      const form = formOf(piece);
      if (form.kind === "fixed") sizes[letter as Sized] = form.value;
      else steps.push(number(form, (draft, value) => (draft.sizes[letter as Sized] = value)));
    } else if (/^[podexy]$/.test(letter)) {
      const form = formOf(piece);
      if (form.kind === "fixed")
        throw new FormatError(`%${letter}{${piece.name}}: only a size can stand in the format`);
      // Offset, epoch and producer are the broker's to give: they are passed over.
      steps.push(
        number(form, (draft, value) => {
          if (letter === "p") draft.partition = value;
          if (letter === "d") draft.timestamp = value;
        }),
      );
    } else if (letter === "h") {
      if (!said.has("H")) throw new FormatError("%h: %H must say before it how many headers there are");
      steps.push(headers(piece));
    } else if (sized !== undefined) {
      const next = pieces[at + 1];
      if (said.has(sized)) steps.push(counted(piece, sized));
      else if (piece.name === "json") steps.push(json(piece));
      else if (piece.name === "re") steps.push(regex(piece));
      else if (next === undefined) steps.push(theRest(piece));
      else if (next instanceof Uint8Array) {
        steps.push(delimited(piece, next));
        at += 1;
      } else throw new FormatError(`%${letter}: neither a size before it nor a text behind it says where it ends`);
    } else {
      throw new FormatError(`%${letter}: verbs are %t %T %k %K %v %V %h{…} %H %p %d %o %e %x %y %% %{ %}`);
    }
  }
  if (steps.length === 0) throw new FormatError("the format reads nothing");
  return { steps, sizes };
};

const formOf = ({ letter, name, argument, option }: Verb) => {
  if (argument !== undefined || option !== undefined)
    throw new FormatError(`%${letter}{${name}…: expected %${letter}{…}`);
  return numberForm(name);
};

const shown = (bytes: Uint8Array): string => JSON.stringify(new TextDecoder("latin1").decode(bytes));

const exactly = (text: Uint8Array): Step => ({
  read: (input) => {
    const came = input.peek(Math.min(text.length, input.length));
    if (came.some((byte, index) => byte !== text[index]))
      throw new InputError(`expected ${shown(text)}, found ${shown(came)}`);
    if (came.length < text.length) return false;
    input.skip(text.length);
    return true;
  },
  atEnd: (input) => {
    if (input.length > 0) throw new InputError("the input ends within it");
  },
});

const DIGIT_0 = 0x30;
const DIGIT_9 = 0x39;
/** Of the largest safe integer. */
const MOST_DIGITS = 16;

const number = (form: ReturnType<typeof numberForm>, put: (draft: Draft, value: number) => void): Step => {
  const checked = (draft: Draft, value: number): void => {
    if (!Number.isSafeInteger(value)) throw new InputError("a number beyond 2^53 - 1");
    put(draft, value);
  };
  if (form.kind === "sized") {
    return {
      read: (input, draft) => {
        if (input.length < form.bytes) return false;
        checked(draft, form.read(input.take(form.bytes)));
        return true;
      },
    };
  }
  if (form.kind === "bool") {
    const { read } = exactly(new TextEncoder().encode("true"));
    const no = exactly(new TextEncoder().encode("false"));
    return {
      read: (input, draft) => {
        const yes = input.at(0) === 0x74;
        if (!(yes ? read : no.read)(input, draft)) return false;
        checked(draft, yes ? 1 : 0);
        return true;
      },
    };
  }
  const readDigits = (input: InputBuffer, draft: Draft, ended: boolean): boolean => {
    let count = 0;
    for (let byte = input.at(0); byte !== undefined && byte >= DIGIT_0 && byte <= DIGIT_9; byte = input.at(count))
      count += 1;
    if (count === input.length && !ended && count <= MOST_DIGITS) return false;
    if (count === 0) throw new InputError(`expected digits, found ${shown(input.peek(Math.min(8, input.length)))}`);
    checked(draft, Number(new TextDecoder().decode(input.take(count))));
    return true;
  };
  return {
    read: (input, draft) => readDigits(input, draft, input.ended && input.length > 0),
  };
};

type Decode = (bytes: Uint8Array) => Uint8Array;

const ascii = (bytes: Uint8Array): string => new TextDecoder("latin1").decode(bytes);

const decodedBy = (what: string, decode: () => Uint8Array): Uint8Array => {
  try {
    return decode();
  } catch {
    throw new InputError(`not ${what}`);
  }
};

const asIs: Decode = (bytes) => bytes;

const decoders: Readonly<Record<string, Decode>> = {
  "": asIs,
  hex: (bytes) => decodedBy("hexadecimal", () => Uint8Array.fromHex(ascii(bytes))),
  base64: (bytes) => decodedBy("base64", () => Uint8Array.fromBase64(ascii(bytes), { lastChunkHandling: "strict" })),
};

const decoderOf = ({ letter, name, argument, option }: Verb): Decode => {
  const decode = argument === undefined && option === undefined ? decoders[name] : undefined;
  if (decode === undefined)
    throw new FormatError(
      `%${letter}{${name}}: text modifiers are hex, base64, json and re[…], the last two without a size`,
    );
  return decode;
};

/** Puts the bytes of a topic, key or value where they belong. */
const putter = ({ letter }: Verb, decode: Decode): ((draft: Draft, bytes: Uint8Array) => void) => {
  if (letter === "k") return (draft, bytes) => (draft.key = decode(bytes));
  if (letter === "v") return (draft, bytes) => (draft.value = decode(bytes));
  return (draft, bytes) => (draft.topic = text(decode(bytes), "a topic"));
};

const text = (bytes: Uint8Array, what: string): string => {
  try {
    return strict.decode(bytes);
  } catch {
    throw new InputError(`${what} that is not UTF-8`);
  }
};

const counted = (verb: Verb, size: Sized): Step => {
  const put = putter(verb, decoderOf(verb));
  return {
    read: (input, draft) => {
      const count = draft.sizes[size];
      if (count > MAX_INPUT_RECORD_BYTES) throw new InputError(`a size of ${count} bytes`);
      if (input.length < count) return false;
      put(draft, input.take(count));
      return true;
    },
  };
};

const delimited = (verb: Verb, delimiter: Uint8Array): Step => {
  const put = putter(verb, decoderOf(verb));
  return {
    read: (input, draft) => {
      const count = input.find(delimiter);
      if (count === undefined) return false;
      const bytes = input.take(count);
      input.skip(delimiter.length);
      put(draft, bytes);
      return true;
    },
    atEnd: (input, draft) => put(draft, input.take(input.length)),
  };
};

const theRest = (verb: Verb): Step => {
  const put = putter(verb, decoderOf(verb));
  return { read: () => false, atEnd: (input, draft) => put(draft, input.take(input.length)) };
};

const json = (verb: Verb): Step => {
  const put = putter(verb, asIs);
  const scanner = new JsonScanner();
  return {
    read: (input, draft) => {
      const value = scanner.next(input);
      if (value === undefined) return false;
      put(draft, new TextEncoder().encode(compactJson(value)));
      return true;
    },
  };
};

const NEWLINE = Uint8Array.of(0x0a);

/** Go's syntax, matched against the rest of the line with its newline, byte by byte. */
const regex = (verb: Verb): Step => {
  const put = putter(verb, asIs);
  const { RE2JS }: typeof import("re2js") = require("re2js");
  const program = ((): InstanceType<typeof RE2JS> => {
    try {
      return RE2JS.compile(verb.argument ?? "");
    } catch (error) {
      throw new FormatError(`re[${verb.argument}]: ${error instanceof Error ? error.message : String(error)}`);
    }
  })();
  const match = (input: InputBuffer, draft: Draft, count: number): void => {
    const line = ascii(input.peek(count));
    const matcher = program.matcher(line);
    if (!matcher.lookingAt()) throw new InputError(`${JSON.stringify(line)} does not match ${verb.argument}`);
    put(draft, input.take(matcher.end()));
  };
  return {
    read: (input, draft) => {
      const line = input.find(NEWLINE);
      if (line === undefined && (!input.ended || input.length === 0)) return false;
      match(input, draft, line === undefined ? input.length : line + 1);
      return true;
    },
  };
};

/** Header after header by its own format, which knows only keys and values. */
const headers = ({ name }: Verb): Step => {
  const pieces = parseLayout(name);
  for (const piece of pieces) {
    if (!(piece instanceof Uint8Array) && !/^[kKvV]$/.test(piece.letter))
      throw new FormatError(`%h{%${piece.letter}}: a header has only %k, %K, %v and %V`);
  }
  const inner = formatParser(pieces);
  return {
    read: (input, draft) => {
      while (draft.headers.length < draft.sizes.H) {
        const header = inner.next(input);
        if (header === undefined) return false;
        draft.headers.push({ key: text(header.key ?? EMPTY, "a header's key"), value: header.value });
      }
      return true;
    },
  };
};
