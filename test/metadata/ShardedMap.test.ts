import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { ShardedMap } from "../../src/metadata/ShardedMap.ts";

const edit = fc.record({ key: fc.string({ maxLength: 2 }), value: fc.option(fc.nat()) });

describe("ShardedMap", () => {
  test("is a map, and a finished one never changes", () => {
    fc.assert(
      fc.property(fc.array(fc.array(edit, { maxLength: 20 }), { maxLength: 10 }), (edits) => {
        let map = ShardedMap.empty<number>();
        const model = new Map<string, number>();
        const seen: Array<[ShardedMap<number>, Array<[string, number]>]> = [];
        for (const batch of edits) {
          const editor = map.edit();
          for (const { key, value } of batch) {
            if (value === null) {
              editor.delete(key);
              model.delete(key);
            } else {
              editor.set(key, value);
              model.set(key, value);
            }
            expect(editor.get(key)).toBe(model.get(key));
          }
          map = editor.finish();
          seen.push([map, [...map.entries()]]);
          expect(map.size).toBe(model.size);
          expect(new Map(map.entries())).toEqual(model);
          for (const { key } of batch) expect([map.get(key), map.has(key)]).toEqual([model.get(key), model.has(key)]);
        }
        for (const [each, entries] of seen) expect([...each.entries()]).toEqual(entries);
      }),
    );
  });

  test("spreads names that differ in a number only over its shards", () => {
    const editor = ShardedMap.empty<number>().edit();
    for (let at = 0; at < 10_000; at++) editor.set(`topic-${at}`, at);
    const map = editor.finish();
    const began = performance.now();
    for (let at = 0; at < 1000; at++) {
      const next = map.edit();
      next.set(`topic-${at}`, -1);
      next.finish();
    }
    // Copying all 10,000 entries a thousand times takes seconds.
    expect(performance.now() - began).toBeLessThan(500);
  });
});
