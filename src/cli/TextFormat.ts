/**
 * How a topic, key or value is written: as it is, as hexadecimal or base64 text, as a JSON value, or unpacked into numbers
 * (franz-go's text modifiers; `json` is ours). What cannot be unpacked leaves a note in the output, as there.
 */
import type { ByteWriter } from "../prelude/ByteWriter.ts";
import { FormatError, type Verb } from "./FormatLayout.ts";
import { writeText } from "./NumberFormat.ts";
import { jsonOfBytes } from "./RecordEnvelope.ts";

/** Null is a field that is not there; it is written like an empty one. */
export type WriteBytes = (out: ByteWriter, bytes: Uint8Array | null) => void;

const EMPTY = new Uint8Array(0);

const writers: Readonly<Record<string, WriteBytes>> = {
  "": (out, bytes) => {
    if (bytes !== null) out.raw(bytes);
  },
  hex: (out, bytes) => writeText(out, (bytes ?? EMPTY).toHex()),
  base64: (out, bytes) => writeText(out, (bytes ?? EMPTY).toBase64()),
  base64raw: (out, bytes) => writeText(out, (bytes ?? EMPTY).toBase64({ omitPadding: true })),
  json: (out, bytes) => writeText(out, JSON.stringify(jsonOfBytes(bytes))),
};

/** Throws `FormatError` for a modifier that is none. */
export const bytesWriter = ({ letter, name, argument }: Verb): WriteBytes => {
  if (name === "unpack" && argument !== undefined) return unpack(argument);
  const writer = argument === undefined ? writers[name] : undefined;
  if (writer === undefined)
    throw new FormatError(`%${letter}{${name}}: text modifiers are hex, base64, base64raw, json and unpack[…]`);
  return writer;
};

/** Writes what it makes of the bytes at `at` and answers where it stopped. */
type Unpack = (out: ByteWriter, bytes: Uint8Array, at: number) => number;

const INTEGER_BYTES: Readonly<Record<string, 1 | 2 | 4 | 8>> = { b: 1, h: 2, i: 4, q: 8 };

const unpack = (format: string): WriteBytes => {
  const steps: Unpack[] = [];
  let little = true;
  for (const [index, letter] of [...format].entries()) {
    const size = INTEGER_BYTES[letter.toLowerCase()];
    if (letter === "<" || letter === ">") little = letter === "<";
    else if (size !== undefined) steps.push(integer(size, letter === letter.toLowerCase(), little));
    else if (letter === "c" || letter === ".") steps.push(character);
    else if (letter === "s" || letter === "$") {
      if (index < format.length - 1) throw new FormatError(`unpack ${format}: nothing may come behind ${letter}`);
      steps.push(letter === "s" ? rest : end);
    } else if (letter !== "x") throw new FormatError(`unpack ${format}: ${letter} is none of x<>bBhHiIqQc.s$`);
  }
  return (out, bytes) => {
    let at = 0;
    for (const step of steps) at = step(out, bytes ?? EMPTY, at);
  };
};

const character: Unpack = (out, bytes, at) => {
  if (at >= bytes.length) {
    writeText(out, "%!c(no bytes available)");
    return at;
  }
  out.uint8(bytes[at]!);
  return at + 1;
};

const rest: Unpack = (out, bytes, at) => {
  out.raw(bytes.subarray(at));
  return bytes.length;
};

const end: Unpack = (out, bytes, at) => {
  if (at < bytes.length) writeText(out, "%!$(not end-of-input)");
  return bytes.length;
};

const integer =
  (size: 1 | 2 | 4 | 8, signed: boolean, little: boolean): Unpack =>
  (out, bytes, at) => {
    const left = bytes.length - at;
    if (left < size) {
      writeText(out, `%!(have ${left} bytes, need ${size})`);
      return bytes.length;
    }
    let value = 0n;
    for (let index = 0; index < size; index += 1)
      value = (value << 8n) | BigInt(bytes[at + (little ? size - 1 - index : index)]!);
    writeText(out, String(signed ? BigInt.asIntN(8 * size, value) : value));
    return at + size;
  };
