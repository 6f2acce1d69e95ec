/** `compression.type` other than `producer`: whatever codec a batch comes with, the topic's is what lies on disk. */
import { expect, test } from "bun:test";
import { DATA } from "../../actors/simulation/SimulatedBroker.ts";
import { segmentName } from "../../src/log/LogSegment.ts";
import { ApiKey } from "../../src/protocol/ApiKeys.ts";
import type { CodecId } from "../../src/record/Compression.ts";
import { attributesOf, checkCrc, codecOf, forEachBatch } from "../../src/record/RecordBatch.ts";
import { type World, withOneBroker } from "../support/OneBroker.ts";

const CODECS: ReadonlyArray<CodecId> = [0, 1, 2, 3, 4];
const TYPES = ["uncompressed", "gzip", "snappy", "lz4", "zstd"];

/** Texts with something to find far back: what a higher level makes smaller. */
const text = (index: number): Uint8Array => {
  let value = "";
  for (let word = 0, seed = index + 1; word < 400; word++) {
    seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
    value += ["brim", "brew", "brine", "bring", "bridge", "brick", "brief", "bride"][(seed >>> 16) & 7];
  }
  return Buffer.from(value);
};

const send = async ({ client, process }: World, topic: string, codec: CodecId, count: number): Promise<void> => {
  const records = Array.from({ length: count }, (_, index) => ({
    key: null,
    value: text(index),
    timestamp: process.clock.wall(),
  }));
  const outcome = await client.producer({ codec }).send(topic, 0, records);
  if (outcome.type !== "ok") throw new Error(outcome.error);
};

interface Stored {
  readonly codecs: number[];
  readonly bytes: number;
}

const stored = ({ process }: World, topic: string): Stored => {
  const bytes = process.disk.readFile(`${DATA}/${topic}-0/${segmentName(0)}.log`)!;
  const codecs: number[] = [];
  forEachBatch(bytes, 0, bytes.length, (at) => {
    expect(checkCrc(bytes, at)).toBe(true);
    codecs.push(codecOf(attributesOf(bytes, at)));
  });
  return { codecs, bytes: bytes.length };
};

const setBroker = async ({ client }: World, name: string, value: string): Promise<void> => {
  const answer = await client.request("any", ApiKey.IncrementalAlterConfigs, {
    resources: [{ resourceType: 4, resourceName: "", configs: [{ name, configOperation: 0, value }] }],
    validateOnly: false,
  });
  expect(answer.responses[0]?.errorMessage).toBeNull();
};

test("every codec into every codec: stored as the topic says, read as it was sent", () => {
  withOneBroker(async (one) => {
    for (const [index, type] of TYPES.entries()) {
      const topic = `t-${type}`;
      await one.client.createTopic(topic, { configs: { "compression.type": type } });
      for (const codec of CODECS) await send(one, topic, codec, 3);
      expect(stored(one, topic).codecs).toEqual(CODECS.map(() => index));
      const read = await one.client.readAll(topic, 0);
      expect(read.map(({ offset, value }) => [offset, Buffer.from(value!).toString()])).toEqual(
        Array.from({ length: 15 }, (_, at) => [at, Buffer.from(text(at % 3)).toString()]),
      );
    }
    await one.client.createTopic("t-producer");
    for (const codec of CODECS) await send(one, "t-producer", codec, 3);
    expect(stored(one, "t-producer").codecs).toEqual([...CODECS]);
  });
});

test("the broker's compression.type is the default, at run time too; a topic's own wins", () => {
  withOneBroker(
    async (one) => {
      await one.client.createTopic("t");
      await one.client.createTopic("own", { configs: { "compression.type": "snappy" } });
      await send(one, "t", 0, 2);
      await send(one, "own", 0, 2);
      await setBroker(one, "compression.type", "lz4");
      await send(one, "t", 0, 2);
      await send(one, "own", 1, 2);
      await setBroker(one, "compression.type", "producer");
      await send(one, "t", 1, 2);
      expect(stored(one, "t").codecs).toEqual([4, 3, 1]);
      expect(stored(one, "own").codecs).toEqual([2, 2]);
    },
    { settings: { "compression.type": "zstd" } },
  );
});

test("a higher level makes smaller batches, for gzip, lz4 and zstd", () => {
  withOneBroker(async (one) => {
    for (const [type, low, high] of [
      ["gzip", 1, 9],
      ["lz4", 1, 12],
      ["zstd", -5, 15],
    ] as const) {
      const sizes: number[] = [];
      for (const level of [low, high]) {
        const topic = `${type}-${level + 10}`;
        await one.client.createTopic(topic, {
          configs: { "compression.type": type, [`compression.${type}.level`]: String(level) },
        });
        await send(one, topic, 0, 10);
        const read = await one.client.readAll(topic, 0);
        expect(Buffer.from(read.at(-1)!.value!).toString()).toBe(Buffer.from(text(9)).toString());
        sizes.push(stored(one, topic).bytes);
      }
      expect([type, sizes[1]! < sizes[0]! * 0.97]).toEqual([type, true]);
    }
  });
});
