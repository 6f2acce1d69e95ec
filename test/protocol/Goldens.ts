/**
 * Bytes that Kafka's own classes wrote (`scripts/capture-goldens`), and the generated codecs by name. The committed file
 * lets `bun test` check without Java; `ODRADEK_GOLDENS` names more directories, separated by `:`.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Codec } from "../../src/protocol/ApiKeys.ts";

export interface Golden {
  readonly name: string;
  readonly version: number;
  readonly bytes: Uint8Array;
}

export interface MessageInfo {
  readonly name: string;
  readonly type: string;
  readonly apiKey: number;
  readonly minVersion: number;
  readonly maxVersion: number;
  readonly flexibleFrom: number;
}

export interface Message {
  readonly info: MessageInfo;
  readonly codec: Codec<unknown>;
  /** The `empty…` functions of the message and its structs, by the generated name. */
  readonly empties: ReadonlyMap<string, () => object>;
}

export const COMMITTED = join(import.meta.dir, "goldens");

const GENERATED = join(import.meta.dir, "..", "..", "src", "protocol", "generated");

export function readGoldens(directory: string): Golden[] {
  const file = join(directory, "goldens.bin.gz");
  if (!existsSync(file)) throw new Error(`no ${file}`);
  const bytes = Bun.gunzipSync(readFileSync(file));
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const goldens: Golden[] = [];
  for (let at = 0; at < bytes.length; ) {
    const nameLength = view.getUint16(at);
    const name = new TextDecoder().decode(bytes.subarray(at + 2, at + 2 + nameLength));
    at += 2 + nameLength;
    const length = view.getInt32(at + 2);
    goldens.push({ name, version: view.getInt16(at), bytes: bytes.subarray(at + 6, at + 6 + length) });
    at += 6 + length;
  }
  return goldens;
}

/** The lines of `defaults.txt.gz`: `Message|field=value;…` or `Message.Struct|field=value;…`. */
export function readDefaults(directory: string): string[] {
  const text = new TextDecoder().decode(Bun.gunzipSync(readFileSync(join(directory, "defaults.txt.gz"))));
  return text.trimEnd().split("\n");
}

/** Every generated message by name. */
export async function messages(): Promise<Map<string, Message>> {
  const found = new Map<string, Message>();
  for (const file of readdirSync(GENERATED).sort()) {
    const name = file.replace(/\.ts$/, "");
    if (name === "ApiTable" || name === "ApiTypes") continue;
    const loaded = await import(join(GENERATED, file));
    const empties = new Map<string, () => object>();
    for (const key of Object.keys(loaded)) if (key.startsWith("empty")) empties.set(key.slice(5), loaded[key]);
    found.set(name, { info: loaded[`${name}Info`], codec: loaded.codec, empties });
  }
  return found;
}
