/**
 * Frames, headers, ApiVersions, order: behaviours #1 to #12 of the protocol reference and the "Frames" rows of its §6.
 */

import { batch } from "../support/Batch.ts";
import { definition, encode, requestNames } from "../support/Definitions.ts";
import { connected, createdTopic, fetchBody, produceBody } from "../support/Requests.ts";
import { assert, type ConformanceTest, type Context, equal, type Suite } from "../support/Suite.ts";
import { at, listAt, matches, numberAt } from "../support/Tree.ts";
import { decodeAnswer, requestFrame, sizeField, Wire } from "../support/Wire.ts";

const closes = (name: string, bytes: () => Promise<Uint8Array> | Uint8Array): ConformanceTest => ({
  name,
  async run(context: Context) {
    const wire = await connected(context);
    wire.write(await bytes());
    await wire.expectClosed(name);
  },
});

/** A request header without a body for a key and version nothing is known about. */
const bareHeader = (apiKey: number, version: number): Buffer => {
  const header = Buffer.from("0000000e00000000000000070004776972650000", "hex").subarray(0, 18);
  header.writeInt16BE(apiKey, 4);
  header.writeInt16BE(version, 6);
  return Buffer.concat([header]);
};

const apiVersionsHeaderV2 = (version: number, correlationId: number, body: Uint8Array): Promise<Buffer> =>
  definition("ApiVersionsRequest").then((message) =>
    requestFrame(message, version, body, { correlationId, flexible: true }),
  );

const fallback = "00000007002300000001001200000004";

/** §2's ranges, for the keys this broker may advertise. */
const kafkaRanges: Record<number, readonly [number, number]> = {
  0: [0, 13],
  1: [4, 18],
  2: [1, 11],
  3: [0, 13],
  8: [2, 10],
  9: [1, 10],
  10: [0, 6],
  11: [0, 9],
  12: [0, 4],
  13: [0, 5],
  14: [0, 5],
  15: [0, 6],
  16: [0, 5],
  17: [0, 1],
  18: [0, 4],
  19: [2, 7],
  20: [1, 6],
  21: [0, 2],
  22: [0, 5],
  23: [2, 4],
  24: [0, 5],
  25: [0, 4],
  26: [0, 5],
  27: [1, 2],
  28: [0, 5],
  29: [1, 3],
  30: [1, 3],
  31: [1, 3],
  32: [1, 4],
  33: [0, 2],
  34: [1, 2],
  35: [1, 5],
  36: [0, 2],
  37: [0, 3],
  38: [1, 3],
  39: [1, 2],
  40: [1, 2],
  41: [1, 3],
  42: [0, 2],
  43: [0, 2],
  44: [0, 1],
  45: [0, 1],
  46: [0, 0],
  47: [0, 0],
  48: [0, 1],
  49: [0, 1],
  50: [0, 0],
  51: [0, 0],
  55: [0, 2],
  57: [0, 2],
  60: [0, 2],
  61: [0, 0],
  64: [0, 0],
  65: [0, 0],
  66: [0, 2],
  68: [0, 1],
  69: [0, 1],
  74: [0, 1],
  75: [0, 0],
  76: [1, 1],
  77: [1, 1],
  78: [1, 2],
  79: [1, 2],
  80: [0, 1],
  81: [0, 0],
  83: [0, 0],
  84: [0, 0],
  85: [0, 1],
  86: [0, 0],
  87: [0, 1],
  88: [0, 0],
  89: [0, 0],
  90: [0, 1],
  91: [0, 0],
  92: [0, 0],
};

/** What this issue promises to serve. */
const promised = [0, 1, 2, 3, 10, 18, 19, 20, 22, 23, 32, 37, 60, 75];

const advertised = async (wire: Wire, version: number): Promise<Map<number, readonly [number, number]>> => {
  const answer = await wire.call(
    "ApiVersions",
    version,
    version >= 3 ? { clientSoftwareName: "judge", clientSoftwareVersion: "1.0" } : {},
  );
  matches(answer, { errorCode: 0 }, `ApiVersions v${version}`);
  return new Map(
    listAt(answer, "apiKeys").map((each) => [
      numberAt(each, "apiKey"),
      [numberAt(each, "minVersion"), numberAt(each, "maxVersion")] as const,
    ]),
  );
};

const manyTimes = 1 << 20;

export const suite: Suite = {
  name: "connection",
  tests: [
    ...[5, 99, -1, 32767].map((version) => ({
      name: `#1 ApiVersions v${version} is answered in the v0 schema with 35 and key 18's range; the connection stays`,
      async run(context: Context) {
        const wire = await connected(context);
        wire.write(await apiVersionsHeaderV2(version, 7, Buffer.alloc(0)));
        const frame = await wire.read();
        equal(typeof frame === "string" ? frame : frame.toString("hex"), fallback, "the answer");
        await wire.expectAlive("after it");
      },
    })),
    {
      name: "#1 ApiVersions v99 with garbage as its body is answered all the same",
      async run(context) {
        const wire = await connected(context);
        wire.write(await apiVersionsHeaderV2(99, 7, Buffer.from("ffffffffffffffff", "hex")));
        const frame = await wire.read();
        equal(typeof frame === "string" ? frame : frame.toString("hex"), fallback, "the answer");
        await wire.expectAlive("after it");
      },
    },
    closes("#1 ApiVersions v99 whose header lacks the tag buffer closes the connection", async () =>
      requestFrame(await definition("ApiVersionsRequest"), 99, Buffer.alloc(0), { flexible: false }),
    ),
    {
      name: "#2 the ApiVersions response header is v0 at every version",
      async run(context) {
        for (const version of [0, 1, 2, 3, 4]) {
          const wire = await connected(context);
          const body = version >= 3 ? { clientSoftwareName: "judge", clientSoftwareVersion: "1.0" } : {};
          await wire.send("ApiVersions", version, body, { correlationId: 99 });
          const frame = await wire.read();
          assert(typeof frame !== "string", `v${version}: ${String(frame)}`);
          equal(frame.readInt32BE(0), 99, "correlation id");
          equal(frame.readInt16BE(4), 0, `error code right after it, v${version}`);
        }
      },
    },
    ...[4, 5, 6, 7, 52, 53, 54, 56, 58, 59, 62, 63, 67, 70, 73, 82, 93, 500, -1].map((key) =>
      closes(`#3 API key ${key} closes the connection`, () => bareHeader(key, 0)),
    ),
    closes("#3 Metadata v99 closes the connection", () => bareHeader(3, 99)),
    closes("#3 InitProducerId v6 closes the connection", () => bareHeader(22, 6)),
    ...[0, 1, 2].map((version) =>
      closes(`#6 Produce v${version} is advertised and closes the connection`, () => bareHeader(0, version)),
    ),
    closes("#3 a body cut short closes the connection", async () => {
      const message = await definition("MetadataRequest");
      return requestFrame(message, 9, encode(message, 9, { topics: [{ name: "cut" }] }), { cut: 3 });
    }),
    closes("#3 a header cut short closes the connection", () =>
      Buffer.from("0000000600030009000000ff", "hex").subarray(0, 10),
    ),
    closes("#3 null where the version allows none closes the connection", () =>
      // Metadata v0, a null topic array.
      Buffer.concat([sizeField(14), Buffer.from("00030000000000010000ffffffff", "hex")]),
    ),
    {
      name: "#3 bytes after the body are ignored",
      async run(context) {
        const wire = await connected(context);
        const answer = await wire.call(
          "Metadata",
          9,
          { topics: [] },
          { extra: Buffer.from("0badf00d0badf00d", "hex") },
        );
        matches(answer, { topics: [] }, "answer");
        await wire.expectAlive("after it");
      },
    },
    {
      name: "#4 null and empty client ids, negative correlation ids are served",
      async run(context) {
        const wire = await connected(context);
        for (const version of [1, 9, 12]) {
          matches(
            await wire.call("Metadata", version, { topics: [] }, { clientId: null }),
            { topics: [] },
            "null client id",
          );
          matches(
            await wire.call("Metadata", version, { topics: [] }, { clientId: "" }),
            { topics: [] },
            "empty client id",
          );
          matches(
            await wire.call("Metadata", version, { topics: [] }, { correlationId: -5 }),
            { topics: [] },
            "negative correlation id",
          );
        }
      },
    },
    {
      name: "#4 unknown tags in header and body are skipped",
      async run(context) {
        const wire = await connected(context);
        const headerTags = Buffer.from([2, 5, 3, 1, 2, 3, 77, 0]);
        const unknownTags = { 40: Buffer.from("abc"), 9999: Buffer.alloc(300) };
        const answer = await wire.call(
          "Metadata",
          12,
          { topics: [{ name: "nope", unknownTags }], allowAutoTopicCreation: false, unknownTags },
          { headerTags },
        );
        matches(answer, { topics: [{ errorCode: 3, name: "nope" }] }, "answer");
      },
    },
    {
      name: "#5 advertised ranges: nothing Kafka does not serve, everything this issue promises, the same in v0, v3 and v4",
      async run(context) {
        const wire = await connected(context);
        const keys = await advertised(wire, 0);
        for (const [key, [min, max]] of keys) {
          const kafka = kafkaRanges[key];
          assert(kafka !== undefined, `key ${key} is advertised, Kafka does not`);
          assert(min >= kafka[0] && max <= kafka[1], `key ${key}: ${min}-${max}, Kafka ${kafka[0]}-${kafka[1]}`);
        }
        for (const key of promised) equal(keys.get(key), kafkaRanges[key], `range of key ${key}`);
        if (context.kind === "kafka") equal(keys.size, 75, "keys");
        equal([...(await advertised(wire, 3))].sort(), [...keys].sort(), "v3");
        equal([...(await advertised(wire, 4))].sort(), [...keys].sort(), "v4");
      },
    },
    {
      name: "#5 every advertised version of every key is decodable: an answer or Kafka's close, never a hang",
      timeoutMs: 120_000,
      async run(context) {
        const probe = await connected(context);
        const keys = await advertised(probe, 0);
        // Requests whose empty form waits or is never answered, changes the cluster, or that are answered for another broker only.
        const left = new Set([
          "Produce",
          "AddPartitionsToTxn",
          "WriteTxnMarkers",
          "Fetch",
          "UnregisterBroker",
          "AddRaftVoter",
          "RemoveRaftVoter",
          "UpdateFeatures",
        ]);
        let asked = 0;
        for (const name of await requestNames()) {
          const message = await definition(`${name}Request`);
          const range = keys.get(message.apiKey);
          if (range === undefined || left.has(name)) continue;
          for (let version = range[0]; version <= range[1]; version++) {
            const wire = await Wire.open(context.broker);
            try {
              const sent = await wire.send(name, version, {});
              const frame = await wire.read(8000);
              assert(frame !== "silence", `${name} v${version}: no answer in 8 s`);
              if (frame !== "closed") await decodeAnswer(sent, frame);
              else
                assert(
                  context.kind === "kafka" ||
                    !promised.includes(message.apiKey) ||
                    ["Metadata", "DescribeTopicPartitions"].includes(name),
                  `${name} v${version}: closed on a default body`,
                );
              asked++;
            } finally {
              wire.close();
            }
          }
        }
        context.note(`${asked} versions`);
      },
    },
    ...["", "a b", "-a", "a-", "1_0"].flatMap((bad) =>
      [3, 4].map((version) => ({
        name: `#7 ApiVersions v${version} with software name ${JSON.stringify(bad)} is 42 with no keys`,
        async run(context: Context) {
          const wire = await connected(context);
          for (const body of [
            { clientSoftwareName: bad, clientSoftwareVersion: "1.0" },
            { clientSoftwareName: "judge", clientSoftwareVersion: bad },
          ]) {
            await wire.send("ApiVersions", version, body, { correlationId: 7 });
            const frame = await wire.read();
            equal(typeof frame === "string" ? frame : frame.toString("hex"), "00000007002a010000000000", "the answer");
          }
        },
      })),
    ),
    {
      name: "#8 telemetry keys 71 and 72 are not advertised",
      async run(context) {
        const keys = await advertised(await connected(context), 4);
        assert(!keys.has(71) && !keys.has(72), "71 or 72 advertised");
      },
    },
    {
      name: "#9 features: v3 leaves out supported features whose minimum is 0, finalized ones are the same in v3 and v4",
      async run(context) {
        const wire = await connected(context);
        const body = { clientSoftwareName: "judge", clientSoftwareVersion: "1.0" };
        const v3 = await wire.call("ApiVersions", 3, body);
        const v4 = await wire.call("ApiVersions", 4, body);
        for (const each of listAt(v3, "supportedFeatures"))
          assert(numberAt(each, "minVersion") > 0, "a minimum of 0 in v3");
        equal(at(v3, "finalizedFeatures"), at(v4, "finalizedFeatures"), "finalized features");
        assert(numberAt(v3, "finalizedFeaturesEpoch") >= 0, "the epoch");
        const metadata = listAt(v4, "finalizedFeatures").find((each) => at(each, "name") === "metadata.version");
        matches(metadata, { maxVersionLevel: 30 }, "metadata.version");
      },
    },
    {
      name: "#10 answers come in request order, also behind a waiting fetch",
      async run(context) {
        const { wire, name } = await createdTopic(context);
        const began = performance.now();
        const wait = await wire.send("Fetch", 11, fetchBody(name, 0, { maxWaitMs: 300 }));
        const rest = [];
        for (let index = 0; index < 5; index++) rest.push(await wire.send("ApiVersions", 0));
        await wire.receive(wait);
        assert(performance.now() - began > 250, "the fetch waited its time");
        for (const sent of rest) await wire.receive(sent);
      },
    },
    {
      name: "#10 five produce requests in flight land in order",
      async run(context) {
        const { wire, name } = await createdTopic(context);
        const sent = [];
        for (let index = 0; index < 50; index++) sent.push(await wire.send("Produce", 9, produceBody(name, batch())));
        for (const [index, one] of sent.entries()) {
          const answer = await wire.receive(one);
          matches(
            answer,
            { responses: [{ partitionResponses: [{ errorCode: 0, baseOffset: index }] }] },
            `request ${index}`,
          );
        }
      },
    },
    {
      name: "#10 acks=0 has no answer",
      async run(context) {
        const { wire, name } = await createdTopic(context);
        await wire.send("Produce", 9, produceBody(name, batch(), { acks: 0 }));
        const next = await wire.send("ApiVersions", 0);
        await wire.receive(next);
        const end = await wire.call("Fetch", 11, fetchBody(name, 0, { maxWaitMs: 3000 }));
        matches(end, { responses: [{ partitions: [{ errorCode: 0, highWatermark: 1 }] }] }, "the record is there");
      },
    },
    {
      name: "#10 acks=0 to an unknown topic or with a bad CRC closes the connection",
      async run(context) {
        const { wire, name } = await createdTopic(context);
        await wire.send("Produce", 9, produceBody(name, batch({ crcError: 1 }), { acks: 0 }));
        await wire.expectClosed("bad CRC");
        const other = await connected(context);
        await other.send("Produce", 9, produceBody("does-not-exist", batch(), { acks: 0 }));
        await other.expectClosed("unknown topic");
      },
    },
    {
      name: "#11 throttle_time_ms is 0",
      async run(context) {
        const { wire, name } = await createdTopic(context);
        matches(await wire.call("Produce", 9, produceBody(name, batch())), { throttleTimeMs: 0 }, "Produce");
        matches(await wire.call("Fetch", 11, fetchBody(name, 0)), { throttleTimeMs: 0 }, "Fetch");
        matches(await wire.call("Metadata", 9, { topics: [] }), { throttleTimeMs: 0 }, "Metadata");
      },
    },
    {
      name: "#12 the address the client came in on is the one advertised",
      async run(context) {
        const wire = await connected(context);
        const answer = await wire.call("Metadata", 12, { topics: [] });
        matches(answer, { brokers: [{ host: context.broker.host, port: context.broker.port }] }, "brokers");
      },
    },
    closes("§6 frame of length 0 closes", () => sizeField(0)),
    closes("§6 frame of length -1 closes", () => sizeField(-1)),
    closes("§6 frame of length -2147483648 closes", () => sizeField(-2147483648)),
    ...[1, 4, 7].map((length) =>
      closes(`§6 frame of length ${length} closes`, () => Buffer.concat([sizeField(length), Buffer.alloc(length)])),
    ),
    closes("§6 frame of length 104857601 closes", () => sizeField(104_857_601)),
    closes("§6 frame of length 2147483647 closes", () => sizeField(2_147_483_647)),
    closes("§6 an HTTP request closes", () => Buffer.from("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")),
    {
      name: "§6 frame of length 104857600 whose body does not come waits",
      async run(context) {
        const wire = await connected(context);
        wire.write(sizeField(104_857_600));
        equal(await wire.read(800), "silence", "what comes");
        const other = await connected(context);
        await other.expectAlive("another connection");
      },
    },
    {
      name: "§6 a frame that arrives byte by byte is served",
      async run(context) {
        const wire = await connected(context);
        const message = await definition("MetadataRequest");
        const frame = requestFrame(message, 9, encode(message, 9, { topics: [] }), { correlationId: 3 });
        for (const byte of frame) {
          wire.write(Buffer.from([byte]));
          await new Promise((resolve) => setImmediate(resolve));
        }
        await wire.receive({ name: "Metadata", version: 9, correlationId: 3 });
      },
    },
    {
      name: "§6 three hundred frames in one write are all served",
      async run(context) {
        const wire = await connected(context);
        const message = await definition("ApiVersionsRequest");
        const frames = Array.from({ length: 300 }, (_, index) =>
          requestFrame(message, 0, Buffer.alloc(0), { correlationId: index }),
        );
        wire.write(Buffer.concat(frames));
        for (let index = 0; index < 300; index++)
          await wire.receive({ name: "ApiVersions", version: 0, correlationId: index });
      },
    },
    {
      name: "§6 GetTelemetrySubscriptions, not advertised, is answered or closed",
      async run(context) {
        const wire = await connected(context);
        const sent = await wire.send("GetTelemetrySubscriptions", 0, {});
        const frame = await wire.read();
        if (context.kind === "kafka") {
          assert(typeof frame !== "string", String(frame));
          matches(
            await decodeAnswer(sent, frame),
            { errorCode: 0, pushIntervalMs: 300_000, telemetryMaxBytes: manyTimes },
            "answer",
          );
        } else assert(frame !== "silence", "silence");
      },
    },
  ],
};
