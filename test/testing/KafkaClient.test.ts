/** The client against the broker itself, on simulated ports. */
import { describe, expect, test } from "bun:test";
import { startSimulatedBroker } from "../../actors/simulation/SimulatedBroker.ts";
import { Simulation } from "../../actors/simulation/Simulation.ts";
import { EARLIEST, KafkaClient, LATEST } from "../../actors/testing/KafkaClient.ts";
import { ConnectionLost, KafkaConnection } from "../../actors/testing/KafkaConnection.ts";
import { KafkaError } from "../../actors/testing/KafkaError.ts";
import { makeBunCodecs } from "../../src/platform/BunCodecs.ts";
import type { Endpoint } from "../../src/platform/Network.ts";
import { ByteReader } from "../../src/prelude/ByteReader.ts";
import { ByteWriter } from "../../src/prelude/ByteWriter.ts";
import { ApiKey, Apis } from "../../src/protocol/ApiKeys.ts";
import { Errors } from "../../src/protocol/Errors.ts";
import { encodeRequestHeader } from "../../src/protocol/RequestHeader.ts";
import { Codec } from "../../src/record/Compression.ts";
import { playClients } from "./ClientScene.ts";

const codecs = makeBunCodecs();
const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);
const textOf = (bytes: Uint8Array | null): string => new TextDecoder().decode(bytes ?? new Uint8Array());

interface Scene {
  readonly client: KafkaClient;
  readonly platform: ConstructorParameters<typeof KafkaClient>[0];
  readonly endpoint: Endpoint;
}

const scene = (body: (scene: Scene) => Promise<void>, seeds = 4): void => {
  for (let seed = 0; seed < seeds; seed++) {
    new Simulation({ seed, maxTimeMs: 300_000 }).run(async (world) => {
      const { endpoint } = await startSimulatedBroker(world.process("broker"), { codecs });
      const { network, clock, random } = world.process("client", { host: "10.0.0.1" });
      const platform = { network, clock, random, codecs };
      const client = new KafkaClient(platform, { bootstrap: [endpoint] });
      await body({ client, platform, endpoint });
      client.close();
    });
  }
};

const codeOf = (attempt: Promise<unknown>): Promise<number | undefined> =>
  attempt.then(
    () => undefined,
    (error: unknown) => {
      if (error instanceof KafkaError) return error.code;
      throw error;
    },
  );

describe("KafkaClient", () => {
  test("what is produced in any codec comes back: keys, values, headers, timestamps, sequences", () => {
    scene(async ({ client }) => {
      await client.createTopic("t");
      for (const codec of Object.values(Codec)) {
        const records = [0, 1, 2].map((index) => ({
          key: index === 1 ? null : utf8(`k${index}`),
          value: index === 2 ? null : utf8(`value ${codec} ${"x".repeat(500)}`),
          headers: [{ key: "h", value: utf8(String(index)) }],
          timestamp: 1_700_000_000_000 + index,
        }));
        const outcome = await client.producer({ codec }).send("t", 0, records);
        expect(outcome).toMatchObject({ type: "ok", baseOffset: codec * 3 });
        const { records: found, highWatermark } = await client.fetch("t", 0, codec * 3);
        expect(highWatermark).toBe(codec * 3 + 3);
        expect(found.map((record) => [record.key, record.value].map((bytes) => bytes && textOf(bytes)))).toEqual(
          records.map((record) => [record.key, record.value].map((bytes) => bytes && textOf(bytes))),
        );
        expect(found.map((record) => record.timestamp)).toEqual(records.map((record) => record.timestamp));
        expect(found.map((record) => textOf(record.headers[0]?.value ?? null))).toEqual(["0", "1", "2"]);
        expect(found.map((record) => record.sequence)).toEqual([0, 1, 2]);
      }
      expect(await client.readAll("t", 0)).toHaveLength(15);
    });
  });

  test("a fetch in the middle of a batch begins there, and one at the end waits for the next record", () => {
    scene(async ({ client }) => {
      await client.createTopic("t");
      const producer = client.producer();
      await producer.send("t", 0, [{ value: utf8("a") }, { value: utf8("b") }, { value: utf8("c") }]);
      const middle = await client.fetch("t", 0, 1);
      expect(middle.records.map((record) => [record.offset, textOf(record.value)])).toEqual([
        [1, "b"],
        [2, "c"],
      ]);
      expect(middle.nextOffset).toBe(3);
      const started = client.platform.clock.monotonic();
      const waiting = client.fetch("t", 0, 3, { maxWaitMs: 20_000 });
      await client.sleep(2000);
      await producer.send("t", 0, [{ value: utf8("d") }]);
      expect((await waiting).records.map((record) => textOf(record.value))).toEqual(["d"]);
      expect(client.platform.clock.monotonic() - started).toBeLessThan(20_000);
      expect((await client.fetch("t", 0, 99)).errorCode).toBe(Errors.OFFSET_OUT_OF_RANGE);
    });
  });

  test("topics: created, refused twice, listed, deleted, and gone", () => {
    scene(async ({ client }) => {
      const info = await client.createTopic("t", { partitions: 3, configs: { "retention.ms": "1000" } });
      expect(info.leaders).toHaveLength(3);
      expect(await codeOf(client.createTopic("t"))).toBe(Errors.TOPIC_ALREADY_EXISTS);
      expect((await client.createTopic("t", { orExists: true })).id).toBe(info.id);
      expect(await codeOf(client.createTopic("bad name"))).toBe(Errors.INVALID_TOPIC_EXCEPTION);
      await client.producer().send("t", 2, [{ value: utf8("a") }]);
      expect((await client.listOffset("t", 2, LATEST)).offset).toBe(1);
      expect((await client.listOffset("t", 2, EARLIEST)).offset).toBe(0);
      await client.deleteTopic("t");
      const { topics } = await client.metadata(null);
      expect(topics.map((topic) => topic.name)).not.toContain("t");
    });
  });

  test("raw access: bytes out, the frame that answers in; nonsense ends the connection", () => {
    scene(async ({ platform, endpoint }) => {
      const connection = await KafkaConnection.open(platform, endpoint, { raw: true });
      const writer = new ByteWriter();
      encodeRequestHeader(writer, { apiKey: ApiKey.ApiVersions, apiVersion: 0, correlationId: 77, clientId: null });
      const frame = writer.toBytes();
      const size = new Uint8Array(4);
      new DataView(size.buffer).setInt32(0, frame.length);
      connection.sendBytes(size.subarray(0, 3));
      connection.sendBytes(Buffer.concat([size.subarray(3), frame]));
      const reader = new ByteReader(await connection.receiveFrame());
      expect(reader.int32()).toBe(77);
      expect(Apis[ApiKey.ApiVersions].decodeResponse(reader, 0).errorCode).toBe(Errors.NONE);
      connection.sendFrame(new Uint8Array(20).fill(0xff));
      const end = await connection.receiveFrame().catch((error: unknown) => error);
      expect(end).toBeInstanceOf(ConnectionLost);
      expect(connection.isOpen).toBe(false);
    });
  });

  test("a request without an answer in time ends its connection, and says that it was sent", () => {
    new Simulation({ seed: 1 }).run(async (world) => {
      const deaf = world.process("deaf").network.listen({ host: "", port: 9092 }, () => ({
        onData() {},
        onDrain() {},
        onClose() {},
      }));
      const { network, clock, random } = world.process("client", { host: "10.0.0.1" });
      const platform = { network, clock, random, codecs };
      const connection = await KafkaConnection.open(platform, deaf.endpoint, { raw: true, requestTimeoutMs: 700 });
      const started = clock.monotonic();
      const error = await connection
        .request(ApiKey.Metadata, Apis[ApiKey.Metadata].request.empty(), 12)
        .catch((cause: unknown) => cause);
      expect(error).toBeInstanceOf(ConnectionLost);
      expect((error as ConnectionLost).sent).toBe(true);
      expect(clock.monotonic() - started).toBe(700);
      const nobody = await KafkaConnection.open(platform, { host: "127.0.0.1", port: 1 }).catch((cause) => cause);
      expect((nobody as ConnectionLost).sent).toBe(false);
    });
  });

  test("closing settles what is under way: a batch that was not sent has failed, a poll is refused", () => {
    playClients(async ({ client, broker, sleep }) => {
      const own = client({ connectTimeoutMs: 1000 });
      await own.createTopic("t");
      const producer = own.producer();
      await producer.send("t", 0, [{ value: utf8("sent") }]);
      const consumer = own.consumer();
      consumer.assign([{ topic: "t", partition: 0, offset: 1 }]);
      const polled = consumer.poll(3_600_000).catch((error: unknown) => String(error));
      broker().kill();
      const waiting = [
        producer.send("t", 0, [{ value: utf8("lost") }]),
        producer.send("t", 0, [{ value: utf8("too") }]),
      ];
      await sleep(500);
      own.close();
      expect(await polled).toBe("Error: the client is closed");
      for (const outcome of await Promise.all(waiting)) expect(outcome).toMatchObject({ error: "LOCAL_PURGED" });
      const late = await producer.send("t", 0, [{ value: utf8("late") }]);
      expect(late).toMatchObject({ type: "fail", error: "LOCAL_PURGED" });
    });
  });
});
