import { describe, expect, test } from "bun:test";
import * as Effect from "effect/Effect";
import {
  ApiVersions,
  apiVersionsResponse,
  isSoftwareName,
  unsupportedApiVersionsResponse,
} from "../../src/api/18-ApiVersions.ts";
import { defineHandler, HandlerTable } from "../../src/api/Router.ts";
import { ByteWriter } from "../../src/prelude/ByteWriter.ts";
import { encodeApiVersionsResponse } from "../../src/protocol/generated/ApiVersionsResponse.ts";
import { oneBroker } from "../metadata/Cluster.ts";
import { Handling } from "./Handling.ts";

const produce = defineHandler({
  apiKey: 0,
  minVersion: 3,
  maxVersion: 13,
  advertisedMinVersion: 0,
  handle: () => Effect.undefined,
});
const software = { clientSoftwareName: "apache-kafka-java", clientSoftwareVersion: "4.3.1" };
const handling = () => new Handling({ handlers: [ApiVersions, produce] });

describe("ApiVersions", () => {
  test("every version lists what the table serves, with Produce from 0 (#6)", async () => {
    for (let version = 0; version <= 4; version++) {
      const response = await handling().call(18, ApiVersions, version, version >= 3 ? software : {});
      expect(response.errorCode).toBe(0);
      expect(response.apiKeys).toEqual([
        { apiKey: 0, minVersion: 0, maxVersion: 13 },
        { apiKey: 18, minVersion: 0, maxVersion: 4 },
      ]);
    }
  });

  test("#1 an unknown version is answered in v0 with 35 and key 18's range only", () => {
    const writer = new ByteWriter();
    encodeApiVersionsResponse(writer, unsupportedApiVersionsResponse(handling().ports.handlers), 0);
    expect(Buffer.from(writer.toBytes()).toString("hex")).toBe("0023000000010012" + "00000004");
  });

  test("#7 v3+: a software name or version that is none is 42 in the request's own version, without keys", async () => {
    for (const bad of ["", "a b", "-a", "a-", "1_0"]) {
      for (const version of [3, 4]) {
        for (const request of [
          { ...software, clientSoftwareName: bad },
          { ...software, clientSoftwareVersion: bad },
        ]) {
          const response = await handling().call(18, ApiVersions, version, request);
          expect([response.errorCode, response.apiKeys]).toEqual([42, []]);
          const writer = new ByteWriter();
          encodeApiVersionsResponse(writer, response, version);
          expect(Buffer.from(writer.toBytes()).toString("hex")).toBe("002a01" + "00000000" + "00");
        }
      }
    }
    for (const good of ["a", "librdkafka", "v2.11.1-3", "0.1"]) expect(isSoftwareName(good)).toBe(true);
  });

  test("the connection remembers a client's software", async () => {
    const client = handling();
    await client.call(18, ApiVersions, 3, software);
    expect(client.connection.software).toEqual({ name: "apache-kafka-java", version: "4.3.1" });
  });

  test("#9 finalized features and their epoch are the image's; v3 leaves out features whose lowest level is 0", async () => {
    const cluster = oneBroker();
    const table = new HandlerTable([ApiVersions]);
    const features = [
      { name: "metadata.version", minVersion: 7, maxVersion: 30 },
      { name: "group.version", minVersion: 0, maxVersion: 1 },
    ];
    const namesIn = (version: number) =>
      apiVersionsResponse(software, version, table, cluster.image, features).supportedFeatures.map(({ name }) => name);
    expect(namesIn(3)).toEqual(["metadata.version"]);
    expect(namesIn(4)).toEqual(["metadata.version", "group.version"]);
    const before = await new Handling({ cluster }).call(18, ApiVersions, 4, software);
    expect(before.finalizedFeatures).toEqual([
      { name: "metadata.version", maxVersionLevel: 30, minVersionLevel: 30 },
      { name: "group.version", maxVersionLevel: 1, minVersionLevel: 1 },
      { name: "transaction.version", maxVersionLevel: 2, minVersionLevel: 2 },
    ]);
    expect(before.finalizedFeaturesEpoch).toBeGreaterThanOrEqual(0);
    cluster.create({ name: "t" });
    const after = await new Handling({ cluster }).call(18, ApiVersions, 4, software);
    expect(after.finalizedFeaturesEpoch).toBeGreaterThan(before.finalizedFeaturesEpoch);
  });

  test("#9 only features that work are advertised", async () => {
    const response = await handling().call(18, ApiVersions, 4, software);
    expect(response.supportedFeatures).toEqual([
      { name: "metadata.version", minVersion: 7, maxVersion: 30 },
      { name: "group.version", minVersion: 0, maxVersion: 1 },
      { name: "transaction.version", minVersion: 0, maxVersion: 2 },
    ]);
  });
});
