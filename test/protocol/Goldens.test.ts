/** Every message and version against bytes that Kafka 4.3.1's own classes wrote. */
import { expect, test } from "bun:test";
import { ByteReader } from "../../src/prelude/ByteReader.ts";
import { ByteWriter } from "../../src/prelude/ByteWriter.ts";
import { COMMITTED, messages, readDefaults, readGoldens } from "./Goldens.ts";

const hex = (bytes: Uint8Array): string => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("hex");
const all = await messages();
const directories = [COMMITTED, ...(process.env.ODRADEK_GOLDENS ?? "").split(":").filter((name) => name !== "")];

/** A message's fields in the form of `defaults.txt.gz`. */
function fields(message: object): string {
  return Object.entries(message)
    .map(([name, value]) => {
      if (value === null) return `${name}=null;`;
      if (Array.isArray(value)) return `${name}=list;`;
      if (value instanceof Uint8Array) return `${name}=bytes;`;
      if (typeof value === "object") return `${name}=struct;`;
      return `${name}=${value === Number.MAX_SAFE_INTEGER ? "9223372036854775807" : value};`;
    })
    .sort()
    .join("");
}

for (const directory of directories) {
  const goldens = readGoldens(directory);
  const where = directory === COMMITTED ? "the committed goldens" : directory;

  test(`${where} hold every message and every valid version`, () => {
    const seen = new Set(goldens.map(({ name, version }) => `${name} v${version}`));
    const wanted: string[] = [];
    for (const { info } of all.values()) {
      for (let version = info.minVersion; version <= info.maxVersion; version++)
        wanted.push(`${info.name} v${version}`);
    }
    expect([...seen].sort()).toEqual(wanted.sort());
  });

  test(`${where}: decoded and encoded again they are equal byte for byte`, () => {
    const wrong: string[] = [];
    for (const { name, version, bytes } of goldens) {
      try {
        const { codec } = all.get(name)!;
        const reader = new ByteReader(bytes);
        const message = codec.decode(reader, version);
        const writer = new ByteWriter(16);
        codec.encode(writer, message, version);
        const again = writer.toBytes();
        if (reader.remaining !== 0) wrong.push(`${name} v${version}: ${reader.remaining} bytes left`);
        else if (writer.length !== again.length || hex(again) !== hex(bytes)) {
          wrong.push(`${name} v${version}:\n  ${hex(bytes)}\n  ${hex(again)}`);
        }
      } catch (error) {
        wrong.push(`${name} v${version}: ${error} ${hex(bytes)}`);
      }
    }
    expect(wrong).toEqual([]);
  });

  test(`${where}: field names and defaults are Kafka's`, () => {
    const wrong: string[] = [];
    let structs = 0;
    for (const line of readDefaults(directory)) {
      const [path = "", wanted = ""] = line.split("|");
      const [message = "", struct] = path.split(".");
      const { empties } = all.get(message)!;
      const empty =
        struct === undefined ? empties.get(message) : (empties.get(struct) ?? empties.get(message + struct));
      const sorted = wanted
        .split(";")
        .filter((field) => field !== "")
        .map((field) => `${field};`)
        .sort()
        .join("");
      if (empty === undefined) wrong.push(`${path}: missing`);
      else if (fields(empty()) !== sorted) wrong.push(`${path}:\n  ${sorted}\n  ${fields(empty())}`);
      structs++;
    }
    expect(wrong).toEqual([]);
    expect(structs).toBe([...all.values()].reduce((sum, { empties }) => sum + empties.size, 0));
  });
}
