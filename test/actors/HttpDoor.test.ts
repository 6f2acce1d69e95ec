/** The second door on real sockets: who is let in, and what a socket may do that a simulated one does not. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import { openHttpDoor } from "../../actors/HttpDoor.ts";
import { UNSERVED } from "../../actors/KafkaListener.ts";
import { BrokerConfig } from "../../src/config/BrokerConfig.ts";
import { pack } from "../../src/gateway/MessagePack.ts";
import { makeBunHttpServer } from "../../src/platform/BunHttpServer.ts";
import { makeBunNetwork } from "../../src/platform/BunNetwork.ts";
import { sha256 } from "../../src/platform/Sha256.ts";
import { bytes } from "../gateway/FrameClient.ts";
import { RawWebSocket } from "../gateway/RawWebSocket.ts";
import { connect, openSocket, type RealGateway, startRealGateway } from "../gateway/RealGateway.ts";
import { temporaryDirectory } from "../support/RealBroker.ts";

const PLENTY = { records: 1_000_000, bytes: 200 * 1024 * 1024 };
const EARLIEST = [{ topic: "t", partition: 0, from: "earliest" }];

let directory: ReturnType<typeof temporaryDirectory>;
let gateway: RealGateway;

beforeAll(async () => {
  directory = temporaryDirectory();
  gateway = await startRealGateway(directory.path, { "http.allowed.origins": "http://app.example" });
  await gateway.client.createTopic("t");
});

afterAll(async () => {
  await gateway.stop();
  directory[Symbol.dispose]();
});

const get = (path: string, headers: Record<string, string> = {}, init: RequestInit = {}): Promise<Response> =>
  fetch(`${gateway.url}${path}`, { ...init, headers });

describe("every route", () => {
  const routes = ["/health/live", "/health/ready", "/v1/stream", "/kafka", "/v1/topics", "/openapi", "/nowhere"];

  test.each(routes)("%s refuses a foreign Host and a foreign Origin before anything else", async (path) => {
    const refused = async (headers: Record<string, string>, init?: RequestInit): Promise<number> =>
      (await get(path, headers, init)).status;
    expect(await refused({ Host: "evil.example" })).toBe(421);
    expect(await refused({ Origin: "http://evil.example" })).toBe(403);
    expect(await refused({ Origin: "null" })).toBe(403);
    expect(await refused({ "Sec-Fetch-Site": "cross-site" })).toBe(403);
    expect(await refused({ Origin: "http://evil.example" }, { method: "OPTIONS" })).toBe(403);
    expect(await refused({ "Content-Type": "text/plain" }, { method: "POST", body: "{}" })).toBe(415);
  });

  test("an allowed foreign origin gets its headers, with the preflight and with the answer; the own one none", async () => {
    const preflight = await get("/v1/topics", { Origin: "http://app.example" }, { method: "OPTIONS" });
    expect(preflight.status).toBe(204);
    expect(preflight.headers.get("access-control-allow-origin")).toBe("http://app.example");
    expect(preflight.headers.get("access-control-allow-headers")).toContain("idempotency-key");
    const live = await get("/health/live", { Origin: "http://app.example" });
    expect([live.status, live.headers.get("access-control-allow-origin"), live.headers.get("vary")]).toEqual([
      200,
      "http://app.example",
      "Origin",
    ]);
    const own = await get("/health/live", { Origin: gateway.url });
    expect([own.status, own.headers.get("access-control-allow-origin")]).toEqual([200, null]);
  });

  test("a refusal says what is wrong, in the form all errors have", async () => {
    const refused = await get("/v1/topics", { Host: "evil.example" });
    expect(await refused.json()).toEqual({
      error: {
        code: 42,
        name: "INVALID_REQUEST",
        message: 'Host "evil.example" is none of this listener\'s names; add it to http.allowed.hosts if it is meant',
        retriable: false,
      },
    });
  });
});

describe("the WebSocket", () => {
  const letIn = (headers: Record<string, string>): Promise<boolean> =>
    openSocket(gateway.port, { headers }).then(
      (client) => {
        client.duplex.close(1000, "");
        return true;
      },
      () => false,
    );

  test("is for origins that are let in", async () => {
    expect(await letIn({})).toBe(true);
    expect(await letIn({ Origin: gateway.url })).toBe(true);
    expect(await letIn({ Origin: "http://app.example" })).toBe(true);
    expect(await letIn({ Origin: "http://evil.example" })).toBe(false);
    expect(await letIn({ Origin: "null" })).toBe(false);
    expect(await letIn({ Host: "evil.example" })).toBe(false);
  });

  test("speaks the version that both know, one without an offer the first, unknown ones only are refused", async () => {
    const handshake = (headers: Record<string, string>): Promise<Response> =>
      get("/v1/stream", {
        Upgrade: "websocket",
        Connection: "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        ...headers,
      });
    const refused = await handshake({ "Sec-WebSocket-Protocol": "odradek.v9" });
    expect(refused.status).toBe(400);
    expect(await refused.text()).toContain("known: odradek.v1");
    expect((await get("/v1/stream")).status).toBe(426);
    for (const protocols of [["odradek.v9", "odradek.v1"], []]) {
      const client = await connect(gateway.port, { protocols });
      client.duplex.close(1000, "");
    }
  });

  test("carries records both ways, whatever their size", async () => {
    const client = await connect(gateway.port);
    const sizes = [0, 1, 125, 126, 65_535, 65_536, 900_000];
    for (const size of sizes) {
      const value = new Uint8Array(size).fill(size);
      const answer = await client.request("produce", { topic: "t", partition: 0, records: [[null, value]] });
      expect(answer.t).toBe("ok");
    }
    await client.request("open", { stream: 1, partitions: EARLIEST, credit: PLENTY });
    await client.until(() => client.records.length >= sizes.length);
    expect(client.records.slice(-sizes.length).map(([, , , value]) => value!.length)).toEqual(sizes);
    client.duplex.close(1000, "");
  });

  test("ends for a text message, for a larger one than allowed, for one that lies about its size", async () => {
    const text = await RawWebSocket.connect(gateway.port, "/v1/stream");
    text.send(bytes("hello"), 1);
    await text.until(() => text.closeCode !== undefined);
    expect(text.closeCode).toBe(1003);
    const large = await RawWebSocket.connect(gateway.port, "/v1/stream");
    large.send(new Uint8Array(2 * 1024 * 1024 + 1));
    await large.untilEnded();
    expect(large.closeCode ?? 1009).toBe(1009);
    const lying = await RawWebSocket.connect(gateway.port, "/v1/stream");
    lying.send(new Uint8Array(10), 2, 2 ** 52);
    await lying.untilEnded();
    expect(await get("/health/live").then(({ status }) => status)).toBe(200);
  });
});

describe("a reader that does not read", () => {
  test("is sent what its socket takes and no more, holds up nobody, and gets the rest when it reads", async () => {
    await gateway.client.createTopic("slow");
    const writer = await connect(gateway.port);
    const value = new Uint8Array(100_000);
    const COUNT = 300;
    for (let index = 0; index < COUNT; index++) {
      await writer.request("produce", { topic: "slow", partition: 0, records: [[null, value]] });
    }
    const slow = await RawWebSocket.connect(gateway.port, "/v1/stream");
    slow.send(pack({ t: "hello", id: 1, client: { name: "slow", version: "1" } }));
    await slow.until(() => slow.frames.length === 1);
    slow.pause();
    const partitions = [{ topic: "slow", partition: 0, from: "earliest" }];
    slow.send(pack({ t: "open", id: 2, stream: 1, partitions, credit: PLENTY }));
    const quick = await connect(gateway.port);
    await quick.request("open", { stream: 1, partitions, credit: PLENTY });
    await quick.until(() => quick.records.length === COUNT);
    // Kernel buffers and the bound of one socket hold what was sent; 30 MB were there to send.
    const { openGateway } = gateway.door as unknown as {
      openGateway: { environment: { outgoing: { queuedBytes: number } } };
    };
    expect(openGateway.environment.outgoing.queuedBytes).toBeWithin(1, 1_500_000);
    slow.resume();
    await slow.until(() => slow.received > COUNT * value.length);
    slow.destroy();
    quick.duplex.close(1000, "");
    writer.duplex.close(1000, "");
  }, 30_000);
});

describe("connections", () => {
  test("beyond Kafka's limits are told to come back, those within them go on", async () => {
    using other = temporaryDirectory();
    await using limited = await startRealGateway(other.path, { "max.connections": "3" });
    const first = await connect(limited.port);
    const second = await connect(limited.port);
    const third = await connect(limited.port);
    const fourth = await openSocket(limited.port).catch(() => undefined);
    if (fourth !== undefined) expect((await fourth.untilClosed()).code).toBe(1013);
    third.duplex.close(1000, "");
    await third.untilClosed();
    const again = await connect(limited.port);
    for (const client of [first, second, again]) client.duplex.close(1000, "");
  });

  test("in a storm leave nothing behind", async () => {
    using other = temporaryDirectory();
    await using storm = await startRealGateway(other.path);
    await storm.client.createTopic("t");
    const round = async (): Promise<void> => {
      const clients = await Promise.all(Array.from({ length: 100 }, () => connect(storm.port)));
      await Promise.all(
        clients.map((client) => client.request("open", { stream: 1, partitions: EARLIEST, credit: PLENTY })),
      );
      for (const client of clients) client.duplex.close(1000, "");
      await Promise.all(clients.map((client) => client.untilClosed()));
    };
    await round();
    Bun.gc(true);
    const before = process.memoryUsage.rss();
    for (let index = 0; index < 10; index++) await round();
    Bun.gc(true);
    expect(process.memoryUsage.rss() - before).toBeLessThan(64 * 1024 * 1024);
    const { ports, credit } = storm.broker.doorEnvironment;
    while (ports.delayedFetches.size > 0) await new Promise((resolve) => setImmediate(resolve));
    expect(credit.usedBytes).toBe(0);
  }, 60_000);

  test("are told when the broker stops", async () => {
    using other = temporaryDirectory();
    const stopping = await startRealGateway(other.path);
    const client = await connect(stopping.port);
    const stopped = stopping.stop();
    await client.takeType("goaway");
    expect((await client.untilClosed()).code).toBe(1012);
    await stopped;
    expect(
      await fetch(`${stopping.url}/health/ready`).then(
        () => "answered",
        () => "closed",
      ),
    ).toBe("closed");
  });
});

describe("the port", () => {
  test("that nobody configured and that is taken is the next free one, with one warning", async () => {
    const network = makeBunNetwork();
    const taken = (() => {
      try {
        return network.listen({ host: "127.0.0.1", port: 8080 }, () => UNSERVED);
      } catch {
        return undefined;
      }
    })();
    const warnings: string[] = [];
    const environment = {
      ...gateway.broker.doorEnvironment,
      log: (level: string, message: string) => void warnings.push(`${level} ${message}`),
    };
    const door = openHttpDoor({ server: makeBunHttpServer(), sha256 }, BrokerConfig.of(), environment)!;
    const { port } = door.endpoints[0]!;
    expect(port).toBeGreaterThan(8080);
    expect(warnings).toEqual([`warn http.listeners: port 8080 is in use, the gateway is on 127.0.0.1:${port}`]);
    expect((await fetch(`http://127.0.0.1:${port}/health/live`)).status).toBe(200);
    door.mute();
    taken?.close();
  });

  const run = async (args: string[]): Promise<{ code: number; out: string; err: string }> => {
    const child = Bun.spawn([process.execPath, "actors/main.ts", ...args], { stdout: "pipe", stderr: "pipe" });
    const [out, err, code] = await Promise.all([
      new Response(child.stdout).text(),
      new Response(child.stderr).text(),
      child.exited,
    ]);
    return { code, out, err };
  };

  test("that is configured and taken ends the start in one line, with the data untouched", async () => {
    using data = temporaryDirectory();
    const listeners = `http.listeners=http://127.0.0.1:${gateway.port}`;
    const { code, err } = await run([
      "--override",
      `log.dirs=${data.path}/data`,
      "--override",
      "listeners=PLAINTEXT://127.0.0.1:0",
      "--override",
      listeners,
    ]);
    expect(err).toBe(`odradek: http.listeners: 127.0.0.1:${gateway.port} cannot be bound: the port is in use\n`);
    expect(code).toBe(1);
    expect(readdirSync(data.path)).toEqual([]);
  });
});
