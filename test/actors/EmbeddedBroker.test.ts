import { describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { KAFKA_VERSION, startBroker, VERSION } from "../../actors/EmbeddedBroker.ts";
import { KafkaClient } from "../../actors/testing/KafkaClient.ts";
import { makeBunPlatform } from "../../src/platform/BunPlatform.ts";
import { temporaryDirectory } from "../support/RealBroker.ts";

const anyPort = { listeners: "PLAINTEXT://127.0.0.1:0", "http.listeners": "http://127.0.0.1:0" };

const failure = (attempt: Promise<unknown>): Promise<string> =>
  attempt.then(
    () => "it did not fail",
    (error: unknown) => (error instanceof Error ? error.message : String(error)),
  );

describe("a broker in a program", () => {
  test("serves both doors, stops in order, once, and goes on where it was", async () => {
    using data = temporaryDirectory();
    const config = { ...anyPort, "log.dirs": data.path, "num.partitions": 2 };
    const log: string[] = [];
    const clusterId = "AAAAAAAAQACAAAAAAAAAAA";
    const broker = await startBroker({ config, clusterId, log: (level, message) => log.push(`${level} ${message}`) });
    expect(broker).toMatchObject({ clusterId, nodeId: 1, directory: data.path });
    const client = new KafkaClient(makeBunPlatform(), { bootstrap: [broker.listeners[0]!.endpoint] });
    expect((await client.topic("made", { create: true })).leaders).toEqual([1, 1]);
    expect((await client.producer().send("made", 0, [{ value: null }])).type).toBe("ok");
    client.close();
    expect((await fetch(`http://127.0.0.1:${broker.http[0]!.port}/`)).status).toBeGreaterThan(0);
    await Promise.all([broker.stop(), broker.stop()]);
    expect(existsSync(join(data.path, ".kafka_cleanshutdown"))).toBe(true);
    expect(log.filter((line) => line.startsWith("error"))).toEqual([]);

    await using again = await startBroker({ config });
    expect(again.clusterId).toBe(clusterId);
    const reader = new KafkaClient(makeBunPlatform(), { bootstrap: [again.listeners[0]!.endpoint] });
    expect(await reader.readAll("made", 0)).toHaveLength(1);
    reader.close();
  });

  test("what is wrong is told in its own words, and the directory is given back", async () => {
    using data = temporaryDirectory();
    expect(await failure(startBroker({ config: { "num.partitions": "many" } }))).toMatch(/many.*\(startBroker\)$/);
    const server = createServer().listen(0, "127.0.0.1");
    await new Promise((listening) => server.once("listening", listening));
    const address = server.address();
    const port = typeof address === "object" && address !== null ? address.port : 0;
    const config = { ...anyPort, "log.dirs": join(data.path, "new"), "http.listeners": `http://127.0.0.1:${port}` };
    expect(await failure(startBroker({ config }))).toMatch(/http\.listeners: .* the port is in use/);
    expect(existsSync(join(data.path, "new"))).toBe(false);
    server.close();
    await using broker = await startBroker({ config: { ...config, "http.listeners": "" } });
    expect(broker.http).toEqual([]);
  });

  test("its versions are known", () => {
    expect(VERSION).toMatch(/^\d+\.\d+\.\d+$/);
    expect(KAFKA_VERSION).toBe("4.3.1");
  });
});
