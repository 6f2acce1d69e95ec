/** What a cleaning pass does with a chunk: which batches it opens, and where it puts what stays. */
import { describe, expect, test } from "bun:test";
import { CleaningPass } from "../../src/log/CleaningPass.ts";
import { BYTES_PER_KEY } from "../../src/log/OffsetMap.ts";
import { Codec, type CodecId, type Codecs } from "../../src/record/Compression.ts";
import { checkCrc, forEachBatch, stampBatch } from "../../src/record/RecordBatch.ts";
import { buildBatch } from "../../src/record/RecordBatchBuilder.ts";
import { codecs, recordsOf } from "../support/CleaningDriver.ts";

/** Batches of the keys in each word, offset upon offset; an upper-case key is a tombstone. */
const chunkOf = (words: readonly string[], codec: CodecId, base = 0): Uint8Array => {
  let offset = base;
  return Buffer.concat(
    words.map((word) => {
      const records = [...word].map((key) => ({
        key: Buffer.from(key.toLowerCase()),
        value: key === key.toLowerCase() ? Buffer.from(`${key}${offset}`.repeat(40)) : null,
      }));
      const batch = buildBatch(records, { codec, codecs });
      stampBatch(batch, 0, offset, 0);
      offset += word.length;
      return batch;
    }),
  );
};

const begin = (pass: CleaningPass, keys = 100): void =>
  pass.begin({
    mapBytes: keys * BYTES_PER_KEY,
    loadFactor: 0.9,
    hashKey: [1, 2, 3, 4],
    maxDecompressedBytes: 1 << 20,
  });

const beginCleaning = (pass: CleaningPass): void => {
  pass.beginCleaning({ now: 5000, deleteRetentionMs: 1000 });
  pass.beginGroup({ producers: new Map(), highWatermark: 1_000_000 });
};

const shown = (bytes: Uint8Array): string[] => recordsOf(bytes).map(({ key, offset }) => `${key}${offset}`);

const sound = (bytes: Uint8Array): boolean => {
  let all = true;
  const { stop } = forEachBatch(bytes, 0, bytes.length, (at) => {
    all &&= checkCrc(bytes, at);
    return true;
  });
  return all && stop === "end";
};

describe("a cleaning pass", () => {
  test("opens no batch a second time of which everything stays, or everything goes", () => {
    let opened = 0;
    const counting: Codecs = {
      ...codecs,
      decompress: (...args) => {
        opened++;
        return codecs.decompress(...args);
      },
    };
    const pass = new CleaningPass(counting);
    begin(pass);
    const chunk = chunkOf(["ab", "cd", "ab", "ce", "xY"], Codec.zstd);
    expect(pass.index(chunk.slice(), 0)).toEqual({ full: false, latestOffset: 9, damagedAt: undefined });
    expect(opened).toBe(5);
    beginCleaning(pass);
    const cleaned = pass.clean(chunk.slice(), false);
    // Only the second, of which one record goes, and the last, whose tombstone gets its horizon.
    expect(opened).toBe(7);
    expect(shown(cleaned.bytes)).toEqual(["d3", "a4", "b5", "c6", "e7", "x8", "y9"]);
    expect(sound(cleaned.bytes)).toBe(true);
  });

  test("gives a chunk of which everything stays back as it is", () => {
    const pass = new CleaningPass(codecs);
    begin(pass);
    const chunk = chunkOf(["ab", "cd"], Codec.none);
    pass.index(chunk.slice(), 0);
    beginCleaning(pass);
    const cleaned = pass.clean(chunk, false);
    expect(cleaned.changed).toBe(false);
    expect(cleaned.bytes.buffer).toBe(chunk.buffer);
    expect(Buffer.compare(cleaned.bytes, chunkOf(["ab", "cd"], Codec.none))).toBe(0);
  });

  test("asks the map about what it did not take in, in any number of records", () => {
    for (const codec of [Codec.none, Codec.gzip]) {
      const pass = new CleaningPass(codecs);
      begin(pass, 1000);
      const letters = Array.from({ length: 700 }, (_, index) => String.fromCharCode(0x4e00 + index)).join("");
      const clean = chunkOf([letters, "ab"], codec);
      const dirty = chunkOf(["a", letters.slice(300, 650)], codec, 702);
      pass.index(dirty.slice(), 702);
      beginCleaning(pass);
      const left = shown(pass.clean(clean, false).bytes).map((each) => Number(/\d+$/.exec(each)![0]));
      expect(left).toEqual([...Array(300).keys(), ...Array.from({ length: 50 }, (_, index) => 650 + index), 701]);
      expect(shown(pass.clean(dirty, false).bytes)).toHaveLength(351);
    }
  });

  test("what becomes larger than it was gets room, and nothing behind it is lost", () => {
    const stored: Codecs = { ...codecs, compress: (codec, bytes) => codecs.compress(codec, bytes, 0) };
    const pass = new CleaningPass(stored);
    begin(pass);
    const words = ["abcdefgh", "ijklmnop", "qrstuvwx", "y", "aiq"];
    const chunk = chunkOf(words, Codec.gzip);
    pass.index(chunk.slice(), 0);
    beginCleaning(pass);
    const cleaned = pass.clean(chunk.slice(), false);
    expect(cleaned.bytes.length).toBeGreaterThan(chunk.length);
    expect(sound(cleaned.bytes)).toBe(true);
    const after = [..."bcdefgh", ..."jklmnop", ..."rstuvwx", "y", ..."aiq"];
    expect(recordsOf(cleaned.bytes).map(({ key }) => key)).toEqual(after);
    for (const { key, value } of recordsOf(cleaned.bytes)) expect(value).toStartWith(key!);
  });
});
