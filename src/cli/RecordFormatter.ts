/**
 * `consume -f` and `produce -o`: a format becomes a function that writes one record's bytes. Verbs are those of franz-go's
 * record formatter, but for the two of share groups.
 */
import type { ByteWriter } from "../prelude/ByteWriter.ts";
import { codecName } from "../record/Compression.ts";
import { codecOf, isControl, isTransactional, timestampTypeOf } from "../record/RecordBatch.ts";
import type { ConsumedRecord, PartitionBounds } from "./ConsumedRecord.ts";
import { FormatError, parseLayout, type Verb } from "./FormatLayout.ts";
import { numberWriter, writeDecimal, writeText } from "./NumberFormat.ts";
import { bytesWriter } from "./TextFormat.ts";
import { goTime, strftime } from "./TimeFormat.ts";

/** Writes one record; without bounds the verbs of the partition's bounds write `<nil>`. */
export type FormatRecord = (out: ByteWriter, record: ConsumedRecord, bounds: PartitionBounds | undefined) => void;

/** Of `consume --help` and `produce --help`. */
export const FORMAT_HELP = `Formats, as rpk has them: text with \\t \\n \\r \\\\ \\xNN and
  %t %k %v  topic, key, value          {hex} {base64} {base64raw} {json}, or {unpack[FORMAT]}: < > byte order, b B h H i I q Q
                                       integers of 1, 2, 4, 8 bytes (capitals unsigned), c or . a byte, s the rest, $ the end
  %T %K %V  their sizes in bytes       {hex64} {hex32} {hex16} {hex8} {hex4} {big64} {big32} {big16} {little64} {little32}
  %H        how many headers           {little16} {byte} {bool}, and so for every number
  %h{…}     each header: %k %v %K %V   %p partition  %o offset  %e leader epoch  %x producer id  %y its epoch
  %d        time in milliseconds       {strftime[%F %T]} {go[2006-01-02T15:04:05Z07:00]}, in UTC
  %a{…}     compression, timestamp-type, transactional-bit, control-bit; as a number {compression;number}
  %[ %| %]  the partition's log start, last stable offset, high watermark
  %i        how many records so far    %% %{ %} themselves
`;

const utf8 = new TextEncoder();

/** Throws `FormatError`. The function counts its calls, for `%i`. */
export const compileFormat = (layout: string): FormatRecord => {
  let calls = 0;
  const steps = parseLayout(layout).map((piece): FormatRecord => {
    if (piece instanceof Uint8Array) return (out) => out.raw(piece);
    if (piece.letter === "i") return numberStep(piece, () => calls);
    return stepOf(piece);
  });
  return (out, record, bounds) => {
    calls += 1;
    for (const step of steps) step(out, record, bounds);
  };
};

const numbers: Readonly<Record<string, (record: ConsumedRecord) => number>> = {
  T: ({ topic }) => utf8.encode(topic).length,
  K: ({ key }) => key?.length ?? 0,
  V: ({ value }) => value?.length ?? 0,
  H: ({ headers }) => headers.length,
  p: ({ partition }) => partition,
  o: ({ offset }) => offset,
  e: ({ leaderEpoch }) => leaderEpoch,
  x: ({ producerId }) => producerId,
  y: ({ producerEpoch }) => producerEpoch,
};

const bounding: Readonly<Record<string, keyof PartitionBounds>> = {
  "[": "logStartOffset",
  "|": "lastStableOffset",
  "]": "highWatermark",
};

const texts: Readonly<Record<string, (record: ConsumedRecord) => Uint8Array | null>> = {
  t: ({ topic }) => utf8.encode(topic),
  k: ({ key }) => key,
  v: ({ value }) => value,
};

const stepOf = (verb: Verb): FormatRecord => {
  const { letter } = verb;
  const number = numbers[letter];
  if (number !== undefined) return numberStep(verb, number);
  const bound = bounding[letter];
  if (bound !== undefined) return boundStep(verb, bound);
  const text = texts[letter];
  if (text !== undefined) {
    const write = bytesWriter(verb);
    return (out, record) => write(out, text(record));
  }
  if (letter === "d") return timeStep(verb);
  if (letter === "a") return attributeStep(verb);
  if (letter === "h") return headersStep(verb);
  throw new FormatError(
    `%${letter}: verbs are %t %T %k %K %v %V %h{…} %H %p %o %e %d %a{…} %x %y %[ %| %] %i %% %{ %}`,
  );
};

const writerOf = ({ letter, name, argument, option }: Verb) => {
  if (argument !== undefined || option !== undefined)
    throw new FormatError(`%${letter}{${name}…}: expected %${letter}{…}`);
  return numberWriter(name);
};

const numberStep = (verb: Verb, number: (record: ConsumedRecord) => number): FormatRecord => {
  const write = writerOf(verb);
  return (out, record) => write(out, number(record));
};

const boundStep = (verb: Verb, bound: keyof PartitionBounds): FormatRecord => {
  const write = writerOf(verb);
  return (out, _, bounds) => {
    if (bounds === undefined) writeText(out, "<nil>");
    else write(out, bounds[bound]);
  };
};

const timeStep = (verb: Verb): FormatRecord => {
  const { name, argument } = verb;
  if (argument === undefined) return numberStep(verb, ({ timestamp }) => timestamp);
  if (name !== "strftime" && name !== "go")
    throw new FormatError(`%d{${name}[…]}: times are %d{strftime[%F]}, %d{go[2006-01-02]} or a number`);
  const format = name === "go" ? goTime(argument) : strftime(argument);
  return (out, { timestamp }) => writeText(out, format(timestamp));
};

const attributes: Readonly<Record<string, (attributes: number) => number>> = {
  compression: codecOf,
  "timestamp-type": timestampTypeOf,
  "transactional-bit": (bits) => (isTransactional(bits) ? 1 : 0),
  "control-bit": (bits) => (isControl(bits) ? 1 : 0),
};

const attributeStep = ({ name, option, argument }: Verb): FormatRecord => {
  const attribute = attributes[name];
  if (attribute === undefined || argument !== undefined)
    throw new FormatError(`%a{${name}}: attributes are compression, timestamp-type, transactional-bit and control-bit`);
  if (option === undefined && name === "compression")
    return (out, { attributes: bits }) =>
      writeText(out, bits < 0 ? "unknown" : (codecName(codecOf(bits)) ?? "unknown"));
  const write = option === undefined ? writeDecimal : numberWriter(option);
  return (out, { attributes: bits }) => write(out, bits < 0 ? -1 : attribute(bits));
};

/** The inner format is of a record that has only the header's key and value. */
const headersStep = ({ name }: Verb): FormatRecord => {
  const pieces = parseLayout(name);
  if (name === "") throw new FormatError("%h: say how a header is written, as in %h{%k=%v }");
  for (const piece of pieces) {
    if (!(piece instanceof Uint8Array) && !/^[kKvV]$/.test(piece.letter))
      throw new FormatError(`%h{%${piece.letter}}: a header has only %k, %K, %v and %V`);
  }
  const write = compileFormat(name);
  return (out, record) => {
    for (const { key, value } of record.headers) write(out, { ...record, key: utf8.encode(key), value }, undefined);
  };
};
