/** The generator on definitions of our own, for what Kafka 4.3.1's happen not to have and for what it must refuse. */
import { expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { MessageGenerator } from "../../scripts/protocol/MessageGenerator.ts";
import { parseMessage, parseVersions, withoutComments } from "../../scripts/protocol/MessageSpec.ts";
import { ByteReader } from "../../src/prelude/ByteReader.ts";
import { ByteWriter } from "../../src/prelude/ByteWriter.ts";
import { ProtocolError } from "../../src/prelude/ProtocolError.ts";
import type { Codec } from "../../src/protocol/ApiKeys.ts";

const SOURCES = join(import.meta.dir, "..", "..", "src");

const DEFINITION = `// a comment
{
  "apiKey": 1234, "type": "request", "name": "ThingRequest", // another
  "validVersions": "1-4", "flexibleVersions": "3+", "listeners": ["broker"],
  "fields": [
    { "name": "Url", "type": "string", "versions": "1+", "default": "http://x", "about": "// no comment" },
    { "name": "Gone", "type": "int32", "versions": "1-2", "default": "7", "ignorable": true },
    { "name": "Kept", "type": "int32", "versions": "1-2", "default": "7" },
    { "name": "Moved", "type": "[]int16", "versions": "2+", "taggedVersions": "4+", "tag": 1, "nullableVersions": "4+" },
    { "name": "Part", "type": "Part", "versions": "2+", "nullableVersions": "3+", "fields": [
      { "name": "Flag", "type": "bool", "versions": "2+", "default": "true" } ] },
    { "name": "Low", "type": "string", "versions": "4+", "taggedVersions": "4+", "tag": 0, "default": "x" }
  ]
}`;

interface Thing {
  url: string;
  gone: number;
  kept: number;
  moved: number[] | null;
  part: { flag: boolean } | null;
  low: string;
}

async function compiled(): Promise<Codec<Thing>> {
  const directory = mkdtempSync(join(tmpdir(), "odradek-generator-"));
  try {
    const file = join(directory, "ThingRequest.ts");
    const code = new MessageGenerator(parseMessage(DEFINITION), (struct) => struct).generate();
    writeFileSync(file, code.replaceAll('"../../', `"${SOURCES}/`).replaceAll('"../', `"${SOURCES}/protocol/`));
    return (await import(file)).codec;
  } finally {
    rmSync(directory, { recursive: true });
  }
}

const thing = await compiled();
const encoded = (message: Thing, version: number): number[] => {
  const writer = new ByteWriter();
  thing.encode(writer, message, version);
  return [...writer.toBytes()];
};
const decoded = (bytes: number[], version: number): Thing =>
  thing.decode(new ByteReader(Uint8Array.from(bytes)), version);

test("a field that becomes tagged stands in line before and in the tags afterwards, sorted by tag", () => {
  const message = { ...thing.empty(), url: "u", moved: [5], low: "y" };
  expect(encoded({ ...message, low: "x" }, 3)).toEqual([2, 117, 2, 0, 5, 1, 1, 0, 0]);
  const tags = [2, 0, 2, 2, 121, 1, 3, 2, 0, 5];
  expect(encoded(message, 4)).toEqual([2, 117, 1, 1, 0, ...tags]);
  expect(decoded([2, 117, 1, 1, 0, ...tags], 4)).toEqual(message);
  expect(decoded(encoded({ ...message, moved: null }, 4), 4).moved).toBeNull();
});

test("defaults, ignorable fields and nullable structs by version", () => {
  expect(thing.empty()).toEqual({ url: "http://x", gone: 7, kept: 7, moved: [], part: { flag: true }, low: "x" });
  expect(decoded(encoded({ ...thing.empty(), gone: 8 }, 3), 3).gone).toBe(7);
  expect(() => encoded({ ...thing.empty(), kept: 8 }, 3)).toThrow(ProtocolError);
  expect(decoded(encoded({ ...thing.empty(), part: null }, 3), 3).part).toBeNull();
  expect(() => encoded({ ...thing.empty(), part: null }, 2)).toThrow(ProtocolError);
  // Not in version 1, not ignorable, and null is not the default.
  expect(() => encoded({ ...thing.empty(), part: null }, 1)).toThrow(ProtocolError);
  expect(decoded(encoded(thing.empty(), 1), 1)).toEqual(thing.empty());
});

test("a tag outside its versions is refused, an unknown one passed over", () => {
  const untagged = [2, 117, 1, 1, 1, 0];
  expect(decoded([...untagged, 1, 9, 1, 1], 3)).toEqual({ ...thing.empty(), url: "u" });
  expect(() => decoded([...untagged, 1, 1, 1, 1], 3)).toThrow("tag 1 is not valid in version 3");
});

test("the output depends on the definition only", () => {
  const generate = (): string => new MessageGenerator(parseMessage(DEFINITION), (struct) => `My${struct}`).generate();
  expect(generate()).toBe(generate());
  expect(generate()).toContain("export interface MyPart {");
  expect(generate()).not.toContain("no comment");
});

test("what the generator does not know is an error", () => {
  expect(withoutComments('{"a": "http://b" } // c')).toBe('{"a": "http://b" } ');
  expect(parseVersions("3+")).toEqual({ first: 3, last: 32767 });
  expect(() => parseVersions("3,4")).toThrow("versions 3,4");
  expect(() => parseMessage(DEFINITION.replace('"ignorable"', '"ignorrable"'))).toThrow("unknown property ignorrable");
  const odd = parseMessage(DEFINITION.replace('"int32"', '"int24"'));
  expect(() => new MessageGenerator(odd, (struct) => struct).generate()).toThrow("int24");
});
