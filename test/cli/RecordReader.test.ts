import { describe, expect, test } from "bun:test";
import * as fc from "fast-check";
import type { ConsumedRecord, InputRecord } from "../../src/cli/ConsumedRecord.ts";
import { FormatError } from "../../src/cli/FormatLayout.ts";
import { InputError } from "../../src/cli/InputBuffer.ts";
import { envelopeOf } from "../../src/cli/RecordEnvelope.ts";
import { compileFormat } from "../../src/cli/RecordFormatter.ts";
import { envelopeReader, formatReader, type RecordReader } from "../../src/cli/RecordReader.ts";
import { ByteWriter } from "../../src/prelude/ByteWriter.ts";
import { anyRecord } from "../support/Records.ts";
import goldens from "./fixtures/franz-go-1.22.2.json";

/** Everything a reader makes of the input, cut into pieces of these sizes, over and over. */
const readAll = (reader: RecordReader, input: Uint8Array, sizes: ReadonlyArray<number> = [7]): InputRecord[] => {
  const found: InputRecord[] = [];
  const drain = (): void => {
    for (let record = reader.next(); record !== undefined; record = reader.next()) found.push(record);
  };
  for (let at = 0, piece = 0; at < input.length; piece += 1) {
    const size = sizes[piece % sizes.length]!;
    reader.push(input.subarray(at, at + size));
    at += size;
    drain();
  }
  reader.end();
  drain();
  return found;
};

const read = (format: string, input: string): InputRecord[] =>
  readAll(formatReader(format), Buffer.from(input, "latin1"));

const blank = { topic: undefined, partition: undefined, timestamp: undefined, key: undefined, headers: [] };
const text = (value: string): Uint8Array => new TextEncoder().encode(value);

/** As `franz formats` shows a record. */
const shown = ({ topic, partition, timestamp, key, value, headers }: InputRecord): string => {
  const hex = (bytes: Uint8Array | null | undefined): string => Buffer.from(bytes ?? []).toString("hex");
  const shownHeaders = headers.map((each) => `${Buffer.from(each.key).toString("hex")}=${hex(each.value)},`);
  const fields = [hex(text(topic ?? "")), partition ?? 0, timestamp ?? 0, hex(key), hex(value), shownHeaders.join("")];
  return fields.join("|");
};

/** Where we differ: a size in the format is only a size. */
const refusedHere = new Set(["%d{13} x", "%p{5}%v\\n"]);

describe("an input format", () => {
  test("reads what franz-go reads, and is refused, or fails, where it does", () => {
    for (const { format, input, records, err } of goldens.input) {
      const found: string[] = [];
      let error: unknown;
      try {
        for (const record of read(format, Buffer.from(input, "base64").toString("latin1"))) found.push(shown(record));
      } catch (caught) {
        error = caught;
      }
      const failure = error instanceof FormatError ? "format" : error instanceof InputError ? "input" : error;
      if (refusedHere.has(format)) expect([format, failure]).toEqual([format, "format"]);
      else if (err === undefined) expect([format, failure, ...found]).toEqual([format, undefined, ...records]);
      // What came before the bad record is not given here: `readAll` ends with the error.
      else expect([format, typeof failure]).toEqual([format, "string"]);
    }
  });

  test("takes a last line without its end, and nothing else that ends early", () => {
    const values = (input: string): string[] =>
      read("%k %v\\n", input).map(({ value }) => Buffer.from(value!).toString());
    expect(values("a b\nc d")).toEqual(["b", "d"]);
    expect(values("")).toEqual([]);
    expect(() => values("a b\nc")).toThrow("record 2 of the input: the input ends within it");
    expect(read("%v{json}\\n", '{"a":\n1}\n 2')).toEqual([
      { ...blank, value: text('{"a":1}') },
      { ...blank, value: text("2") },
    ]);
  });

  test("says which record is wrong and how", () => {
    expect(() => read("%p %v\\n", "1 a\nx b\n")).toThrow('record 2 of the input: expected digits, found "x b');
    expect(() => read("%v{hex}\\n", "00\n0g\n")).toThrow("record 2 of the input: not hexadecimal");
    expect(() => read("%v{base64}\\n", "aGk\n")).toThrow("record 1 of the input: not base64");
    expect(() => read("%v{json}\\n", "{a}\n")).toThrow("record 1 of the input: no JSON");
    expect(() => read("%t %v\\n", "\xff v\n")).toThrow("record 1 of the input: a topic that is not UTF-8");
    expect(() => read("a%v\\n", "ab\nbb\n")).toThrow('record 2 of the input: expected "a", found "b"');
    expect(() => read("%V %v", "99999999999999999999 ")).toThrow("record 1 of the input: a number beyond 2^53 - 1");
    expect(() => read("%V %v", "9999999999999 ")).toThrow("record 1 of the input: a size of 9999999999999 bytes");
  });

  test("keeps no more than a record in memory: a line without an end is refused at the limit", () => {
    const reader = formatReader("%v\\n", 1_000_000);
    const push = (): void => {
      for (let count = 0; count < 100; count += 1) {
        reader.push(new Uint8Array(65_536));
        expect(reader.next()).toBeUndefined();
      }
    };
    expect(push).toThrow("a record of more than 1000000 bytes");
  });
});

const anyConsumed: fc.Arbitrary<ConsumedRecord> = fc
  .record({
    record: anyRecord,
    topic: fc.stringMatching(/^[a-zA-Z0-9._-]{1,20}$/),
    partition: fc.nat(),
    offset: fc.maxSafeNat(),
    attributes: fc.nat({ max: 63 }),
  })
  .map(({ record, ...place }) => ({
    ...record,
    ...place,
    leaderEpoch: 0,
    producerId: -1,
    producerEpoch: -1,
    broker: 1,
  }));
const pieces = fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1, maxLength: 5 });

describe("whatever a record holds", () => {
  test("with sizes in front it is written and read again, however the input is cut", () => {
    const property = fc.property(
      fc.array(anyConsumed, { maxLength: 5 }),
      pieces,
      fc.constantFrom("hex", "big", "little"),
      (records, sizes, form) => {
        const [n64, n32] = [`{${form}64}`, `{${form}32}`];
        const format = `%p${n32}%d${n64}%T${n32}%t%K${n64}%V${n32}%k,%v%H${n32}%h{%K${n32}%k%V${n32}%v.}\\n`;
        const write = compileFormat(format);
        const out = new ByteWriter();
        for (const record of records) write(out, record, undefined);
        const found = readAll(formatReader(format), out.toBytes(), sizes);
        expect(found).toEqual(
          records.map(({ topic, partition, timestamp, key, value, headers }) => ({
            topic,
            partition,
            timestamp,
            key: key ?? new Uint8Array(0),
            value: value ?? new Uint8Array(0),
            headers: headers.map((each) => ({ key: each.key, value: each.value ?? new Uint8Array(0) })),
          })),
        );
      },
    );
    fc.assert(property);
  });

  test.each([
    ["%v{hex}\\n", "%k{hex}=%v{hex}\\n"],
    ["%v{base64}\\n", "%k{base64}|%v{base64}\\n"],
  ])("as %s it fits on a line", (_, format) => {
    fc.assert(
      fc.property(fc.array(anyConsumed, { maxLength: 5 }), pieces, (records, sizes) => {
        const write = compileFormat(format);
        const out = new ByteWriter();
        for (const record of records) write(out, record, undefined);
        const found = readAll(formatReader(format), out.toBytes(), sizes);
        expect(found.map(({ key, value }) => [key, value])).toEqual(
          records.map(({ key, value }) => [key ?? new Uint8Array(0), value ?? new Uint8Array(0)]),
        );
      }),
    );
  });

  test("its envelope is read into the same record, on one line or on many", () => {
    fc.assert(
      fc.property(fc.array(anyConsumed, { maxLength: 5 }), pieces, fc.boolean(), (records, sizes, pretty) => {
        const lines = records.map((record) => `${JSON.stringify(envelopeOf(record, false), null, pretty ? 2 : 0)}\n`);
        const found = readAll(envelopeReader(), text(lines.join("")), sizes);
        expect(found).toEqual(
          records.map(({ topic, partition, timestamp, key, value, headers }) => ({
            topic,
            partition,
            timestamp,
            key,
            value,
            headers: [...headers],
          })),
        );
      }),
    );
  });
});
