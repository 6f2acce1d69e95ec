/** What the simulated wires may do to a connection, and what they never do. */
import { describe, expect, test } from "bun:test";
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
      const codeOf = (attempt: unknown): Promise<string> =>
        Promise.resolve(attempt).then(
          () => "none",
          (error: unknown) => (error instanceof NetworkError ? error.code : String(error)),
        );
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
});
