/** What franz-go's formatter, whose verbs these are, wrote for the same formats and records (`franz formats`). */
import { describe, expect, test } from "bun:test";
import type { ConsumedRecord, PartitionBounds } from "../../src/cli/ConsumedRecord.ts";
import { FormatError } from "../../src/cli/FormatLayout.ts";
import { compileFormat } from "../../src/cli/RecordFormatter.ts";
import { ByteWriter } from "../../src/prelude/ByteWriter.ts";
import goldens from "./fixtures/franz-go-1.22.2.json";

const bytes = (text: string): Uint8Array => Buffer.from(text, "latin1");

const records: ReadonlyArray<ConsumedRecord> = [
  {
    topic: "füu",
    partition: 3,
    offset: 1_234_567_890_123,
    timestamp: 1_700_000_000_123,
    key: bytes("k\xff"),
    value: bytes("\x01\xff\x02\x80\x03\x00\x00\x80tail"),
    headers: [
      { key: "a", value: bytes("1") },
      { key: "bé", value: null },
      { key: "a", value: bytes("\xfe\xff") },
    ],
    leaderEpoch: 7,
    producerId: 4001,
    producerEpoch: 2,
    attributes: 0,
    broker: 1,
  },
  {
    topic: "t",
    partition: 0,
    offset: 0,
    timestamp: 951_786_000_000,
    key: null,
    value: null,
    headers: [],
    leaderEpoch: -1,
    producerId: -1,
    producerEpoch: -1,
    attributes: 0,
    broker: 1,
  },
];
const bounds: PartitionBounds = { logStartOffset: 5, lastStableOffset: 300, highWatermark: 70_000 };

const written = (format: string): string[] => {
  const write = compileFormat(format);
  return records.map((record) => {
    const out = new ByteWriter();
    write(out, record, bounds);
    return Buffer.from(out.toBytes()).toString("latin1");
  });
};

describe("a format", () => {
  test("writes what franz-go writes", () => {
    for (const { format, out } of goldens.output) {
      if (out === null) continue;
      const expected = out.map((each) => Buffer.from(each, "base64").toString("latin1"));
      expect([format, ...written(format)]).toEqual([format, ...expected]);
    }
  });

  test("is refused where franz-go refuses it", () => {
    const refused = goldens.output.filter(({ out }) => out === null);
    expect(refused.length).toBeGreaterThan(10);
    for (const { format } of refused) expect(() => compileFormat(format), format).toThrow(FormatError);
  });

  test("knows what of a batch is in its attributes", () => {
    const [record] = records;
    const of = (attributes: number): string => {
      const out = new ByteWriter();
      const write = compileFormat("%a{compression} %a{timestamp-type} %a{transactional-bit;bool} %a{control-bit} %]");
      write(out, { ...record!, attributes }, undefined);
      return new TextDecoder().decode(out.toBytes());
    };
    expect(of(0)).toBe("none 0 false 0 <nil>");
    expect(of(0b11_1100)).toBe("zstd 1 true 1 <nil>");
    expect(of(0b00_0111)).toBe("unknown 0 false 0 <nil>");
  });

  test("writes a field as a JSON value, and nothing stands for what is not there", () => {
    expect(written("%k{json} %v{json} %k|")).toEqual([
      '{"base64":"a/8="} {"base64":"Af8CgAMAAIB0YWls"} k\xff|',
      "null null |",
    ]);
  });
});
