/** What the simulated wires may do to a connection, and what they never do. */
import { describe, expect, test } from "bun:test";
import type { NetworkNature } from "../../actors/simulation/SimulatedNetwork.ts";
import { type SimulatedProcess, Simulation } from "../../actors/simulation/Simulation.ts";
import { NetworkError, type Socket, type SocketHandlers } from "../../src/platform/Network.ts";

const HOME = { host: "127.0.0.1", port: 9092 };
const idle: SocketHandlers = { onData() {}, onDrain() {}, onClose() {} };

const sleep = (process: SimulatedProcess, ms: number): Promise<void> =>
  new Promise((resolve) => process.clock.after(ms, resolve));

/** Writes everything, continuing at each drain, then ends. */
const pump = (payload: Uint8Array): SocketHandlers & { start(socket: Socket): void } => {
  let at = 0;
  const go = (socket: Socket): void => {
    while (at < payload.length) {
      const taken = socket.write(payload.subarray(at));
      at += taken;
      if (taken === 0) return;
      if (at < payload.length && taken < payload.length - at) continue;
    }
    socket.end();
  };
  return { onData() {}, onDrain: go, onClose() {}, start: go };
};

const codeOf = (attempt: unknown): Promise<string> =>
  Promise.resolve(attempt).then(
    () => "none",
    (error: unknown) => (error instanceof NetworkError ? error.code : String(error)),
  );

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);

/** Notes what its side of a connection is told. */
const teller = (told: string[]): SocketHandlers => ({
  onData: (_, chunk) => void told.push(new TextDecoder().decode(chunk)),
  onDrain: () => void told.push("drain"),
  onClose: (_, error) => void told.push(error instanceof NetworkError ? error.code : "end"),
});

const connected = async (world: Simulation) => {
  const server = world.process("server");
  const client = world.process("client", { host: "10.0.0.1" });
  const told = { near: [] as string[], far: [] as string[] };
  const sockets: Socket[] = [];
  server.network.listen(HOME, (socket) => {
    sockets.push(socket);
    return teller(told.far);
  });
  const near = await client.network.connect(HOME, teller(told.near));
  return { server, client, told, near, far: sockets[0]! };
};

/** Worlds whose wires do nothing but what the test is about. */
const plain = (nature: Partial<NetworkNature>, body: (world: Simulation) => Promise<void>): void => {
  for (let seed = 0; seed < 10; seed++) {
    const network = { latencyMs: 0, splitChance: 0, shortWriteChance: 0, bufferBytes: 1024, ...nature };
    new Simulation({ seed, network }).run(body);
  }
};

describe("SimulatedNetwork", () => {
  test("bytes arrive in order, once, whatever the cuts, short writes and pauses; then an orderly end", () => {
    let shortest = Number.POSITIVE_INFINITY;
    const partCounts = new Set<number>();
    for (let seed = 0; seed < 60; seed++) {
      const world = new Simulation({ seed });
      world.run(async () => {
        const server = world.process("server");
        const client = world.process("client", { host: "10.0.0.1" });
        const payload = world.random.fork("payload").bytes(40_000);
        const received: Uint8Array[] = [];
        let kept: Uint8Array | undefined;
        const closed = Promise.withResolvers<Error | undefined>();
        server.network.listen(HOME, () => ({
          onData(socket, chunk) {
            received.push(chunk.slice());
            kept = chunk;
            shortest = Math.min(shortest, chunk.length);
            if (server.random.below(4) === 0) {
              socket.pause();
              server.clock.after(server.random.below(20), () => socket.resume());
            }
          },
          onDrain() {},
          onClose: (_, error) => closed.resolve(error),
        }));
        const source = pump(payload);
        source.start(await client.network.connect(HOME, source));
        expect(await closed.promise).toBeUndefined();
        expect(Buffer.concat(received).equals(payload)).toBe(true);
        // A chunk that was kept instead of copied is no longer what it was.
        expect(new Set(kept)).toEqual(new Set([0xdb]));
        partCounts.add(received.length);
      });
    }
    expect(shortest).toBeLessThan(9);
    expect(partCounts.size).toBeGreaterThan(5);
  });

  test("nobody listening is ECONNREFUSED, a port twice is EADDRINUSE, a cut wire is ETIMEDOUT", () => {
    new Simulation({ seed: 1 }).run(async (world) => {
      const server = world.process("server");
      const client = world.process("client", { host: "10.0.0.1" });
      expect(await codeOf(client.network.connect(HOME, idle))).toBe("ECONNREFUSED");
      const listener = server.network.listen(HOME, () => idle);
      expect(() => server.network.listen(HOME, () => idle)).toThrow("EADDRINUSE");
      expect(await codeOf(client.network.connect(HOME, idle))).toBe("none");
      world.network.partition("10.0.0.1", "127.0.0.1");
      const started = client.clock.monotonic();
      expect(await codeOf(client.network.connect(HOME, idle))).toBe("ETIMEDOUT");
      expect(client.clock.monotonic() - started).toBeGreaterThan(1000);
      world.network.heal();
      listener.close();
      expect(await codeOf(client.network.connect(HOME, idle))).toBe("ECONNREFUSED");
    });
  });

  test("a partition holds bytes back without telling anyone, and heals", () => {
    new Simulation({ seed: 4 }).run(async (world) => {
      const server = world.process("server");
      const client = world.process("client", { host: "10.0.0.1" });
      let received = 0;
      let closes = 0;
      server.network.listen(HOME, () => ({ ...idle, onData: (_, chunk) => void (received += chunk.length) }));
      const socket = await client.network.connect(HOME, { ...idle, onClose: () => void (closes += 1) });
      world.network.partition("10.0.0.1", "127.0.0.1");
      socket.write(new Uint8Array(100));
      await sleep(client, 100_000);
      expect([received, closes]).toEqual([0, 0]);
      world.network.heal();
      await sleep(client, 1000);
      expect([received, closes]).toEqual([100, 0]);
    });
  });

  test("kill -9 resets the peers; a power cut tells nobody until they write to the machine that runs again", () => {
    for (let seed = 0; seed < 10; seed++) {
      new Simulation({ seed }).run(async (world) => {
        const client = world.process("client", { host: "10.0.0.1" });
        const ends: Array<string | undefined> = [];
        const connect = (): Promise<Socket> =>
          Promise.resolve(
            client.network.connect(HOME, {
              ...idle,
              onClose: (_, error) => void ends.push(error instanceof NetworkError ? error.code : undefined),
            }),
          );
        const first = world.process("first");
        first.network.listen(HOME, () => idle);
        await connect();
        first.kill();
        await sleep(client, 1000);
        expect(ends).toEqual(["ECONNRESET"]);

        const second = world.process("second");
        second.network.listen(HOME, () => idle);
        const socket = await connect();
        second.powerCut("lost");
        socket.write(Uint8Array.of(1));
        await sleep(client, 1000);
        expect(ends).toHaveLength(1);

        const third = world.process("third");
        third.network.listen(HOME, () => idle);
        const late = await connect();
        third.powerCut("lost");
        world.process("fourth");
        late.write(Uint8Array.of(1));
        await sleep(client, 1000);
        expect(ends).toEqual(["ECONNRESET", "ECONNRESET"]);
      });
    }
  });

  test("each side closes exactly once, however both end", () => {
    for (let seed = 0; seed < 80; seed++) {
      const world = new Simulation({ seed, network: { resetChance: 0.05 } });
      world.run(async () => {
        const random = world.random.fork("ends");
        const closes = [0, 0];
        const act = (socket: Socket): void => {
          const choice = random.below(4);
          if (choice === 0) socket.end();
          else if (choice === 1) socket.destroy();
          else socket.write(random.bytes(random.between(1, 50)));
        };
        const handlers = (index: 0 | 1): SocketHandlers => ({
          onData(socket) {
            expect(closes[index]).toBe(0);
            act(socket);
            if (random.below(8) === 0) socket.end();
          },
          onDrain: () => expect(closes[index]).toBe(0),
          onClose: () => void (closes[index]! += 1),
        });
        const server = world.process("server");
        const client = world.process("client", { host: "10.0.0.1" });
        server.network.listen(HOME, (socket) => {
          server.tasks.schedule(() => act(socket));
          return handlers(0);
        });
        const socket = await client.network.connect(HOME, handlers(1));
        act(socket);
        await sleep(client, 5);
        socket.end();
        await sleep(client, 10_000);
        expect(closes).toEqual([1, 1]);
        expect(socket.write(Uint8Array.of(1))).toBe(0);
      });
    }
  });

  test("what a socket took is the caller's to change; after its end it takes nothing, and what it took arrives", () => {
    plain({}, async (world) => {
      const { client, near, told } = await connected(world);
      const chunk = utf8("hello");
      expect(near.write(chunk)).toBe(5);
      chunk.fill(0);
      near.end();
      expect(near.write(utf8("late"))).toBe(0);
      await sleep(client, 100);
      expect(told).toEqual({ near: ["end"], far: ["hello", "end"] });
    });
  });

  test("a side that has paused is told nothing until it resumes, and a process that is stopped neither", () => {
    plain({}, async (world) => {
      const { client, server, near, far, told } = await connected(world);
      far.pause();
      near.write(utf8("a"));
      await sleep(client, 100);
      expect(told.far).toEqual([]);
      far.resume();
      await sleep(client, 100);
      expect(told.far).toEqual(["a"]);
      server.pause();
      near.write(utf8("b"));
      near.end();
      await sleep(client, 100);
      expect(told.far).toEqual(["a"]);
      server.resume();
      await sleep(client, 100);
      expect(told.far).toEqual(["a", "b", "end"]);
    });
  });

  test("destroy loses what was under way, tells its own side later and the other by a reset", () => {
    plain({}, async (world) => {
      const { client, near, told } = await connected(world);
      near.write(utf8("lost"));
      near.destroy();
      expect(told.near).toEqual([]);
      await sleep(client, 100);
      expect(told).toEqual({ near: ["end"], far: ["ECONNRESET"] });
    });
  });

  test("a wire that resets tells both sides instead of delivering", () => {
    plain({ resetChance: 1 }, async (world) => {
      const { client, near, told } = await connected(world);
      near.write(utf8("lost"));
      await sleep(client, 100);
      expect(told).toEqual({ near: ["ECONNRESET"], far: ["ECONNRESET"] });
    });
  });

  test("a socket that fell short says so once when it takes more, and never after its end", () => {
    plain({ bufferBytes: 4 }, async (world) => {
      const { client, near, far, told } = await connected(world);
      far.pause();
      expect([near.write(utf8("123456")), near.write(utf8("56"))]).toEqual([4, 0]);
      await sleep(client, 100);
      expect(told).toEqual({ near: [], far: [] });
      far.resume();
      await sleep(client, 100);
      expect(told.near).toEqual(["drain"]);
      expect(near.write(utf8("56"))).toBe(2);
      await sleep(client, 100);
      expect(told).toEqual({ near: ["drain"], far: ["1234", "56"] });
      far.pause();
      expect(near.write(utf8("789ab"))).toBe(4);
      near.end();
      far.resume();
      await sleep(client, 100);
      expect(told).toEqual({ near: ["drain", "end"], far: ["1234", "56", "789a", "end"] });
    });
  });

  test("a write may take less than there is room for, but something; what was written in two may arrive in one", () => {
    const taken = new Set<number>();
    const arrivals = new Set<string>();
    plain({ shortWriteChance: 1 }, async (world) => {
      const { client, near, told } = await connected(world);
      taken.add(near.write(new Uint8Array(100)));
      await sleep(client, 100);
      expect(taken.has(100) || told.near.includes("drain")).toBe(true);
      told.far.length = 0;
      near.write(utf8("a"));
      near.write(utf8("b"));
      await sleep(client, 100);
      arrivals.add(told.far.join());
    });
    expect(taken.size).toBeGreaterThan(3);
    expect(Math.min(...taken)).toBeGreaterThan(0);
    expect(arrivals).toEqual(new Set(["a,b", "ab"]));
  });

  test("a message is on its way for as long as the wires' nature says, not longer, and not always as long", () => {
    plain({ latencyMs: 50 }, async (world) => {
      const { client, near, told } = await connected(world);
      const times = new Set<number>();
      for (let i = 0; i < 40; i++) {
        const began = world.clock.now;
        near.write(utf8("x"));
        while (told.far.length <= i) await sleep(client, 1);
        times.add(world.clock.now - began);
      }
      expect(Math.max(...times)).toBeWithin(25, 52);
      expect(times.size).toBeGreaterThan(10);
    });
  });

  test("resetConnections ends those of one host, or all, on both sides", () => {
    plain({}, async (world) => {
      const { client, near, told } = await connected(world);
      const other = world.process("other", { host: "10.0.0.2" });
      const ends: string[] = [];
      await other.network.connect(HOME, teller(ends));
      world.network.resetConnections("10.0.0.2");
      await sleep(client, 100);
      expect([ends, told]).toEqual([["ECONNRESET"], { near: [], far: ["ECONNRESET"] }]);
      near.write(utf8("a"));
      await sleep(client, 100);
      expect(told.far).toEqual(["ECONNRESET", "a"]);
      world.network.resetConnections();
      await sleep(client, 100);
      expect(told).toEqual({ near: ["ECONNRESET"], far: ["ECONNRESET", "a", "ECONNRESET"] });
    });
  });

  test("an address is found by port 0, by a wildcard and by the other side, and goes with its own listener and process", () => {
    plain({}, async (world) => {
      const { server, client, near, far } = await connected(world);
      expect([near.remote, far.local]).toEqual([HOME, HOME]);
      expect(far.remote).toEqual(near.local);
      expect(far.remote.host).toBe("10.0.0.1");
      const ports = [0, 0].map((port) => server.network.listen({ host: "0.0.0.0", port }, () => idle).endpoint.port);
      expect(new Set([0, ...ports]).size).toBe(3);
      for (const port of ports) expect(await codeOf(client.network.connect({ ...HOME, port }, idle))).toBe("none");
      const spare = { ...HOME, port: 1000 };
      const first = server.network.listen(spare, () => idle);
      first.close();
      server.network.listen(spare, () => idle);
      first.close();
      expect(await codeOf(client.network.connect(spare, idle))).toBe("none");
      const doomed = world.process("doomed", { host: "10.0.0.3" });
      const own = { host: "10.0.0.3", port: 1 };
      doomed.network.listen(own, () => idle);
      doomed.kill();
      doomed.network.listen(own, () => idle);
      expect(await codeOf(client.network.connect(own, idle))).toBe("ECONNREFUSED");
      expect(await codeOf(client.network.connect(HOME, idle))).toBe("none");
    });
  });

  test("a listener that closes while somebody is on the way to it accepts nobody", () => {
    plain({}, async (world) => {
      const server = world.process("server");
      const client = world.process("client", { host: "10.0.0.1" });
      let accepted = 0;
      const listener = server.network.listen(HOME, () => {
        accepted += 1;
        return idle;
      });
      const attempt = client.network.connect(HOME, idle);
      listener.close();
      expect([await codeOf(attempt), accepted]).toEqual(["ECONNREFUSED", 0]);
    });
  });

  test("an attempt whose time ran out is never accepted, or the acceptor is told by a reset", () => {
    for (const cut of ["request", "answer"]) {
      plain({}, async (world) => {
        const server = world.process("server");
        const client = world.process("client", { host: "10.0.0.1" });
        const told = { near: [] as string[], far: [] as string[] };
        let accepted = 0;
        server.network.listen(HOME, () => {
          accepted += 1;
          return teller(told.far);
        });
        if (cut === "request") world.network.partition("10.0.0.1", "127.0.0.1");
        else world.network.partition("127.0.0.1", "10.0.0.1");
        expect(await codeOf(client.network.connect(HOME, teller(told.near)))).toBe("ETIMEDOUT");
        world.network.heal();
        await sleep(client, 100);
        expect([accepted, told.far]).toEqual(cut === "request" ? [0, []] : [1, ["ECONNRESET"]]);
      });
    }
  });

  test("what the acceptor sends at once comes after the other side knows that it is connected", () => {
    plain({ latencyMs: 20 }, async (world) => {
      const server = world.process("server");
      const client = world.process("client", { host: "10.0.0.1" });
      const told: string[] = [];
      server.network.listen(HOME, (socket) => {
        server.tasks.schedule(() => socket.write(utf8("welcome")));
        return idle;
      });
      await client.network.connect(HOME, teller(told));
      told.push("connected");
      await sleep(client, 100);
      expect(told).toEqual(["connected", "welcome"]);
    });
  });
});
