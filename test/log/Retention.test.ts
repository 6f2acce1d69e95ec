import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { type RetentionRules, RetentionScan, type SegmentDescription } from "../../src/log/Retention.ts";

const NOW = 1_000_000;

interface Log {
  readonly segments: SegmentDescription[];
  readonly logStartOffset: number;
  readonly highWatermark: number;
}

const log: fc.Arbitrary<Log> = fc
  .record({
    first: fc.integer({ min: 0, max: 50 }),
    segments: fc.array(
      fc.record({
        records: fc.integer({ min: 1, max: 10 }),
        size: fc.integer({ min: 1, max: 500 }),
        age: fc.integer({ min: -50, max: 300 }),
      }),
      { minLength: 1, maxLength: 8 },
    ),
    activeIsEmpty: fc.boolean(),
    start: fc.double({ min: 0, max: 1, noNaN: true }),
    highWatermark: fc.double({ min: 0, max: 1, noNaN: true }),
  })
  .map(({ first, segments, activeIsEmpty, start, highWatermark }) => {
    let end = first;
    const described = segments.map(({ records, size, age }, index): SegmentDescription => {
      const active = index === segments.length - 1;
      const empty = active && activeIsEmpty;
      if (!empty) end += records;
      return { endOffset: end, size: empty ? 0 : size, active, largestTimestamp: NOW - age };
    });
    const committed = first + Math.floor(highWatermark * (end - first));
    const logStartOffset = first + Math.floor(start * (committed - first));
    return { segments: described, logStartOffset, highWatermark: committed };
  });

const rules: fc.Arbitrary<RetentionRules> = fc.record({
  deletes: fc.boolean(),
  retentionMs: fc.oneof(fc.constant(-1), fc.integer({ min: 0, max: 250 })),
  retentionBytes: fc.oneof(fc.constant(-1), fc.integer({ min: 0, max: 2000 })),
});

const sizeOf = (segments: ReadonlyArray<SegmentDescription>): number =>
  segments.reduce((sum, { size }) => sum + size, 0);

const scanned = ({ segments, logStartOffset, highWatermark }: Log, asked: RetentionRules) => {
  const scan = new RetentionScan({ logStartOffset, highWatermark, logSize: sizeOf(segments) }, asked, NOW);
  let taken = 0;
  while (taken < segments.length && scan.takes(segments[taken]!)) taken += 1;
  return { taken, start: scan.logStartOffset };
};

describe("retention", () => {
  test("Ret1: a prefix of whole segments, never above the high watermark; the log start only moves forward", () => {
    fc.assert(
      fc.property(log, rules, (one, asked) => {
        const { taken, start } = scanned(one, asked);
        expect(start).toBeGreaterThanOrEqual(one.logStartOffset);
        expect(start).toBeLessThanOrEqual(one.highWatermark);
        const last = one.segments[taken - 1];
        expect(start).toBe(Math.max(one.logStartOffset, last?.endOffset ?? 0));
        if (!asked.deletes)
          for (const each of one.segments.slice(0, taken))
            expect(each.endOffset).toBeLessThanOrEqual(one.logStartOffset);
      }),
      { numRuns: 500 },
    );
  });

  test("Ret2: what is left is below retention.bytes and one segment, and its oldest segment is young enough", () => {
    fc.assert(
      fc.property(log, rules, (given, asked) => {
        const end = given.segments.at(-1)!.endOffset;
        const one = { ...given, highWatermark: end };
        const { taken } = scanned(one, { ...asked, deletes: true });
        const left = one.segments.slice(taken);
        const oldest = left[0];
        if (oldest === undefined || (oldest.active && oldest.size === 0)) return;
        if (asked.retentionBytes >= 0) expect(sizeOf(left)).toBeLessThan(asked.retentionBytes + oldest.size);
        if (asked.retentionMs >= 0) expect(oldest.largestTimestamp).toBeGreaterThanOrEqual(NOW - asked.retentionMs);
      }),
      { numRuns: 500 },
    );
  });

  test("nothing goes that no rule asks for", () => {
    fc.assert(
      fc.property(log, rules, (one, asked) => {
        const { taken } = scanned(one, asked);
        let before = sizeOf(one.segments);
        for (const segment of one.segments.slice(0, taken)) {
          const old = asked.deletes && asked.retentionMs >= 0 && segment.largestTimestamp < NOW - asked.retentionMs;
          const much = asked.deletes && asked.retentionBytes >= 0 && before - segment.size >= asked.retentionBytes;
          const below = segment.endOffset <= one.logStartOffset && !segment.active;
          expect(old || much || below).toBe(true);
          before -= segment.size;
        }
      }),
      { numRuns: 500 },
    );
  });
});
