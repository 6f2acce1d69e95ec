/**
 * How a number of a record is written and read: the number modifiers of franz-go's record formatter, one table for both
 * directions. A number too large for its form is cut to the form's width when it is written, as there.
 */
import type { ByteWriter } from "../prelude/ByteWriter.ts";
import { FormatError } from "./FormatLayout.ts";
import { InputError } from "./InputBuffer.ts";

export type WriteNumber = (out: ByteWriter, value: number) => void;

const utf8 = new TextEncoder();

/** Text as UTF-8. */
export const writeText = (out: ByteWriter, text: string): void => out.raw(utf8.encode(text));

export const writeDecimal: WriteNumber = (out, value) => {
  if (value >= 0 && value < 10) out.uint8(0x30 + value);
  else writeText(out, String(value));
};

const writeHexadecimal =
  (digits: number): WriteNumber =>
  (out, value) =>
    writeText(
      out,
      BigInt.asUintN(4 * digits, BigInt(value))
        .toString(16)
        .padStart(digits, "0"),
    );

const writeLittle =
  (bytes: number): WriteNumber =>
  (out, value) => {
    let rest = BigInt.asUintN(64, BigInt(value));
    for (let left = bytes; left > 0; left -= 1) {
      out.uint8(Number(rest & 255n));
      rest >>= 8n;
    }
  };

const writers: Readonly<Record<string, WriteNumber>> = {
  "": writeDecimal,
  ascii: writeDecimal,
  number: writeDecimal,
  hex64: writeHexadecimal(16),
  hex32: writeHexadecimal(8),
  hex16: writeHexadecimal(4),
  hex8: writeHexadecimal(2),
  hex4: writeHexadecimal(1),
  hex: (out, value) => writeText(out, BigInt.asUintN(64, BigInt(value)).toString(16)),
  big64: (out, value) => out.int64(value),
  big32: (out, value) => out.uint32(value),
  big16: (out, value) => out.uint16(value),
  big8: (out, value) => out.uint8(value),
  little64: writeLittle(8),
  little32: writeLittle(4),
  little16: writeLittle(2),
  little8: (out, value) => out.uint8(value),
  byte: (out, value) => out.uint8(value),
  bool: (out, value) => writeText(out, value === 0 ? "false" : "true"),
};

/** Throws `FormatError` for a name that is none. */
export const numberWriter = (name: string): WriteNumber => {
  const writer = writers[name];
  if (writer === undefined) throw new FormatError(`{${name}}: ${NUMBER_MODIFIERS}`);
  return writer;
};

const NUMBER_MODIFIERS =
  "number modifiers are ascii, hex64, hex32, hex16, hex8, hex4, big64, big32, big16, big8, little64, little32, little16, little8, byte and bool";

/** How a number lies in the input. */
export type NumberForm =
  /** Not in the input at all. */
  | { readonly kind: "fixed"; readonly value: number }
  /** Digits up to the first byte that is none. */
  | { readonly kind: "digits" }
  /** `true` or `false`. */
  | { readonly kind: "bool" }
  | { readonly kind: "sized"; readonly bytes: number; readonly read: (bytes: Uint8Array) => number };

const latin1 = (bytes: Uint8Array): string => String.fromCharCode(...bytes);

const big = (bytes: Uint8Array): number => bytes.reduce((value, byte) => value * 256 + byte, 0);

const hexadecimal = (bytes: Uint8Array): number => {
  const text = latin1(bytes);
  if (!/^[0-9a-fA-F]+$/.test(text)) throw new InputError(`${JSON.stringify(text)} is no hexadecimal number`);
  return Number.parseInt(text, 16);
};

/** Throws `FormatError` for a name that is none. */
export const numberForm = (name: string): NumberForm => {
  if (name === "" || name === "ascii" || name === "number") return { kind: "digits" };
  if (name === "bool") return { kind: "bool" };
  if (/^[1-9]\d{0,8}$/.test(name)) return { kind: "fixed", value: Number(name) };
  const [, form, bits] = /^(hex|big|little)(64|32|16|8|4)$/.exec(name === "byte" ? "big8" : name) ?? [];
  if (form === undefined || (form !== "hex" && bits === "4"))
    throw new FormatError(`{${name}}: ${NUMBER_MODIFIERS}, or a number of bytes`);
  if (form === "hex") return { kind: "sized", bytes: Number(bits) / 4, read: hexadecimal };
  return {
    kind: "sized",
    bytes: Number(bits) / 8,
    read: form === "big" ? big : (bytes) => big(bytes.slice().reverse()),
  };
};
