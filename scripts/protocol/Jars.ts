/**
 * Where the definitions come from: Kafka's jars of Maven Central, fetched with Maven's own client into a cache directory
 * that git does not see, and read as zip files. Owns no state; the definitions never touch the working tree.
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { inflateRawSync } from "node:zlib";

export const KAFKA_VERSION = "4.3.1";

const ARTIFACTS = [
  "kafka-clients",
  "kafka-metadata",
  "kafka-group-coordinator",
  "kafka-transaction-coordinator",
  "kafka-share-coordinator",
  "kafka-storage",
  "kafka-raft",
];

/** Paths of the jars in `directory`; with `fetch`, what is missing is downloaded there first. */
export function jarPaths(directory: string, fetch: boolean): string[] {
  return ARTIFACTS.map((artifact) => {
    const path = join(directory, `${artifact}-${KAFKA_VERSION}.jar`);
    if (!existsSync(path)) {
      if (!fetch) throw new Error(`${path} is missing`);
      mkdirSync(directory, { recursive: true });
      const run = spawnSync(
        "mvn",
        [
          "-q",
          "-B",
          "-Dstyle.color=never",
          "dependency:copy",
          `-Dartifact=org.apache.kafka:${artifact}:${KAFKA_VERSION}`,
          `-DoutputDirectory=${directory}`,
        ],
        { stdio: ["ignore", "inherit", "inherit"] },
      );
      if (run.status !== 0 || !existsSync(path))
        throw new Error(`mvn could not copy ${artifact} (status ${run.status})`);
    }
    return path;
  });
}

const END_OF_DIRECTORY = 0x06054b50;
const DIRECTORY_ENTRY = 0x02014b50;

/** The files of a zip whose names `wanted` accepts. */
export function readZip(path: string, wanted: (name: string) => boolean): Map<string, string> {
  const zip = readFileSync(path);
  let end = zip.length - 22;
  while (end >= 0 && zip.readUInt32LE(end) !== END_OF_DIRECTORY) end--;
  if (end < 0) throw new Error(`${path} is no zip`);
  const files = new Map<string, string>();
  let at = zip.readUInt32LE(end + 16);
  for (let count = zip.readUInt16LE(end + 10); count > 0; count--) {
    if (zip.readUInt32LE(at) !== DIRECTORY_ENTRY) throw new Error(`${path}: directory entry expected at ${at}`);
    const method = zip.readUInt16LE(at + 10);
    const packed = zip.readUInt32LE(at + 20);
    const nameLength = zip.readUInt16LE(at + 28);
    const name = zip.toString("utf8", at + 46, at + 46 + nameLength);
    const local = zip.readUInt32LE(at + 42);
    at += 46 + nameLength + zip.readUInt16LE(at + 30) + zip.readUInt16LE(at + 32);
    if (!wanted(name)) continue;
    const start = local + 30 + zip.readUInt16LE(local + 26) + zip.readUInt16LE(local + 28);
    const bytes = zip.subarray(start, start + packed);
    files.set(name, (method === 0 ? bytes : inflateRawSync(bytes)).toString("utf8"));
  }
  return files;
}

/** The text of every message definition in the jars, in the order of their names. */
export function definitions(jars: readonly string[]): string[] {
  const found = new Map<string, string>();
  for (const jar of jars) {
    for (const [name, content] of readZip(jar, (file) => /(^|\/)(message|metadata)\/\w+\.json$/.test(file))) {
      found.set(name.replace(/^.*\//, ""), content);
    }
  }
  return [...found.keys()].sort().map((name) => found.get(name)!);
}
