import { expect, test } from "bun:test";
import { join } from "node:path";
import { ByteReader } from "../../src/prelude/ByteReader.ts";
import { ByteWriter } from "../../src/prelude/ByteWriter.ts";
import { ProtocolError } from "../../src/prelude/ProtocolError.ts";
import { ApiKey, Apis, allApis, apiName, apiOf, codecOf } from "../../src/protocol/ApiKeys.ts";
import { Errors, errorName, errorOf, isRetriable } from "../../src/protocol/Errors.ts";

test("every API finds its own codecs, in all of its versions", () => {
  expect(allApis.length).toBe(89);
  for (const api of allApis) {
    expect(ApiKey[api.name as keyof typeof ApiKey]).toBe(api.key);
    for (let version = api.minVersion; version <= api.maxVersion; version++) {
      const writer = new ByteWriter();
      const codec = codecOf(api.key);
      codec.encodeRequest(writer, api.request.empty(), version);
      expect(codec.decodeRequest(new ByteReader(writer.toBytes()), version)).toEqual(api.request.empty());
    }
    for (const version of [api.minVersion - 1, api.maxVersion + 1]) {
      expect(() => api.decodeRequest(new ByteReader(new Uint8Array(99)), version)).toThrow(ProtocolError);
    }
  }
});

test("importing the table loads no codec; the first use loads one", async () => {
  const script = `
    const loaded = () => Object.keys(require.cache).filter((p) => p.includes("generated") && !p.includes("ApiTable"));
    const { Apis } = await import(${JSON.stringify(join(import.meta.dir, "../../src/protocol/ApiKeys.ts"))});
    const before = loaded().length;
    Apis[0].request;
    console.log(before, loaded().length);
  `;
  const run = Bun.spawnSync([process.execPath, "-e", script]);
  expect(run.stdout.toString().trim()).toBe("0 1");
});

test("names and keys are Kafka's", () => {
  expect(apiName(0)).toBe("Produce");
  expect(apiName(75)).toBe("DescribeTopicPartitions");
  expect(apiName(7)).toBe("UNKNOWN(7)");
  expect(apiOf(7)).toBeUndefined();
  expect(() => codecOf(-1)).toThrow(ProtocolError);
  expect([Apis[ApiKey.Produce].minVersion, Apis[ApiKey.Produce].maxVersion]).toEqual([3, 13]);
  expect([Apis[ApiKey.Fetch].minVersion, Apis[ApiKey.Fetch].maxVersion]).toEqual([4, 18]);
  expect(Apis[ApiKey.SaslHandshake].flexibleFrom).toBe(32767);
});

test("error codes are Kafka's: every code from -1 to 133", () => {
  const codes = Object.values(Errors).sort((a, b) => a - b);
  expect(codes).toEqual(Array.from({ length: 135 }, (_, i) => i - 1) as typeof codes);
  expect(errorName(0)).toBe("NONE");
  expect(errorName(3)).toBe("UNKNOWN_TOPIC_OR_PARTITION");
  expect(errorName(35)).toBe("UNSUPPORTED_VERSION");
  expect(errorOf(1000).name).toBe("UNKNOWN_SERVER_ERROR");
  expect([Errors.NOT_LEADER_OR_FOLLOWER, Errors.UNKNOWN_TOPIC_ID, Errors.NETWORK_EXCEPTION].map(isRetriable)).toEqual([
    true,
    true,
    true,
  ]);
  expect([Errors.NONE, Errors.INVALID_TOPIC_EXCEPTION, Errors.RECORD_LIST_TOO_LARGE].map(isRetriable)).toEqual([
    false,
    false,
    false,
  ]);
});

test("the codecs bundle for a browser: nothing of Node or Bun in them", async () => {
  const built = await Bun.build({
    entrypoints: [join(import.meta.dir, "../../src/protocol/RequestHeader.ts")],
    target: "browser",
  });
  expect(built.success).toBe(true);
  const code = await built.outputs[0]!.text();
  expect(code).toContain("decodeShareAcknowledgeRequest");
  expect(/\bfrom "(node|bun):|require\("|\bBun\.|\bBuffer\b|\bprocess\./.exec(code)).toBeNull();
});
