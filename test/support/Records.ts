/** Records that hold anything a record can hold, for property tests. */
import * as fc from "fast-check";
import type { RecordHeader } from "../../src/record/RecordView.ts";

export interface AnyRecord {
  readonly key: Uint8Array | null;
  readonly value: Uint8Array | null;
  readonly headers: ReadonlyArray<RecordHeader>;
  readonly timestamp: number;
}

const text = (value: string): Uint8Array => new TextEncoder().encode(value);

/** Null, text (odd characters too) or bytes that are none. */
const anyField = (maxLength: number): fc.Arbitrary<Uint8Array | null> =>
  fc.option(
    fc.oneof(
      fc.uint8Array({ maxLength }),
      fc.string({ unit: "binary", maxLength }).map(text),
      fc.constantFrom(text(""), text("\ufeff"), text("\0"), text('\u2028\n\r\t\\"'), text('{"base64":"AA=="}')),
    ),
  );

export const anyRecord: fc.Arbitrary<AnyRecord> = fc.record({
  key: anyField(40),
  value: anyField(40),
  headers: fc.array(
    fc.record({
      key: fc.oneof(fc.string({ unit: "grapheme", maxLength: 5 }), fc.constantFrom("", "\ufeffa", "__proto__")),
      value: anyField(6),
    }),
    { maxLength: 4 },
  ),
  timestamp: fc.nat({ max: 4_102_444_800_000 }),
});
