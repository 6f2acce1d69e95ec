/** The socket facts the broker is built on, proved on the Bun version in use. */
import { afterEach, describe, expect, test } from "bun:test";
import { makeBunNetwork } from "../../src/platform/BunNetwork.ts";
import { type Listener, NetworkError, type Socket, type SocketHandlers } from "../../src/platform/Network.ts";

const network = makeBunNetwork();
const open: Listener[] = [];
afterEach(() => {
  for (const listener of open.splice(0)) listener.close();
});

const listen = (accept: (socket: Socket) => SocketHandlers): Listener => {
  const listener = network.listen({ host: "127.0.0.1", port: 0 }, accept);
  open.push(listener);
  return listener;
};

const idle: SocketHandlers = { onData() {}, onDrain() {}, onClose() {} };

/** Handlers that collect bytes and tell the end. */
const collector = () => {
  const closed = Promise.withResolvers<Error | undefined>();
  const chunks: Uint8Array[] = [];
  let closes = 0;
  const handlers: SocketHandlers = {
    onData(_, chunk) {
      chunks.push(chunk.slice());
    },
    onDrain() {},
    onClose(_, error) {
      closes += 1;
      closed.resolve(error);
    },
  };
  return { handlers, chunks, closed: closed.promise, closes: () => closes };
};

const codeOf = async (run: () => unknown): Promise<string> => {
  try {
    await run();
  } catch (error) {
    if (error instanceof NetworkError) return error.code;
    throw error;
  }
  return "none";
};

describe("BunNetwork", () => {
  test("a limited send buffer takes little ahead of a peer that does not read", async () => {
    const takenWith = async (bytes: number | undefined): Promise<number> => {
      const taken = Promise.withResolvers<number>();
      const listener = listen((socket) => {
        if (bytes !== undefined) socket.limitSendBuffer?.(bytes);
        const chunk = new Uint8Array(64 * 1024);
        let sum = 0;
        for (let last = chunk.length; last === chunk.length; sum += last) last = socket.write(chunk);
        taken.resolve(sum);
        return idle;
      });
      const peer = await network.connect(listener.endpoint, idle);
      peer.pause();
      const sum = await taken.promise;
      peer.destroy();
      return sum;
    };
    expect(await takenWith(20_000)).toBeLessThan((await takenWith(undefined)) / 2);
  });

  test("a port in use and a port nobody listens on are told by code", async () => {
    const listener = listen(() => idle);
    expect(listener.endpoint.port).toBeGreaterThan(0);
    expect(await codeOf(() => network.listen(listener.endpoint, () => idle))).toBe("EADDRINUSE");
    listener.close();
    open.length = 0;
    expect(await codeOf(() => network.connect(listener.endpoint, idle))).toBe("ECONNREFUSED");
  });

  test("both sides know both addresses, also after the end", async () => {
    const accepted = Promise.withResolvers<Socket>();
    const listener = listen((socket) => {
      accepted.resolve(socket);
      return idle;
    });
    const end = collector();
    const client = await network.connect(listener.endpoint, end.handlers);
    const server = await accepted.promise;
    expect(client.remote).toEqual(listener.endpoint);
    expect(server.remote).toEqual(client.local);
    client.end();
    await end.closed;
    expect(client.remote).toEqual(listener.endpoint);
    expect(client.write(Uint8Array.of(1))).toBe(0);
  });

  test("what was taken before end() arrives, then both sides close once without error", async () => {
    const server = collector();
    const listener = listen((socket) => ({
      ...server.handlers,
      onData(_, chunk) {
        socket.write(chunk);
        socket.end();
      },
    }));
    const client = collector();
    const socket = await network.connect(listener.endpoint, client.handlers);
    socket.write(new TextEncoder().encode("hello"));
    expect(await client.closed).toBeUndefined();
    expect(await server.closed).toBeUndefined();
    expect(Buffer.concat(client.chunks).toString()).toBe("hello");
    expect([client.closes(), server.closes()]).toEqual([1, 1]);
  });

  test("a peer that only ends its sending side ends the connection", async () => {
    const server = collector();
    const listener = listen(() => server.handlers);
    const ended = Promise.withResolvers<void>();
    const socket = await Bun.connect({
      hostname: "127.0.0.1",
      port: listener.endpoint.port,
      allowHalfOpen: true,
      socket: { data() {}, close: () => ended.resolve(), end: (s) => void s.end() },
    });
    socket.shutdown();
    expect(await server.closed).toBeUndefined();
    await ended.promise;
    expect(server.closes()).toBe(1);
  });

  test("destroy() on one side is an error on the other", async () => {
    const server = collector();
    const listener = listen(() => server.handlers);
    const client = collector();
    const socket = await network.connect(listener.endpoint, client.handlers);
    socket.destroy();
    const error = await server.closed;
    expect(error).toBeInstanceOf(NetworkError);
    expect((error as NetworkError).code).toBe("ECONNRESET");
    expect(await client.closed).toBeUndefined();
    expect([client.closes(), server.closes()]).toEqual([1, 1]);
  });

  test("a handler that throws loses its own connection only, and is told why", async () => {
    const ends: ReturnType<typeof collector>[] = [];
    const listener = listen(() => {
      const end = collector();
      ends.push(end);
      return {
        ...end.handlers,
        onData(socket, chunk) {
          if (chunk[0] === 0) throw new Error("planted");
          socket.write(chunk);
        },
      };
    });
    const other = collector();
    const echoed = Promise.withResolvers<void>();
    const healthy = await network.connect(listener.endpoint, { ...other.handlers, onData: () => echoed.resolve() });
    const broken = collector();
    (await network.connect(listener.endpoint, broken.handlers)).write(Uint8Array.of(0));
    await broken.closed;
    expect((await ends[1]!.closed)?.message).toContain("planted");
    healthy.write(Uint8Array.of(1));
    await echoed.promise;
    expect(other.closes()).toBe(0);
    healthy.end();
  });

  test("a slow reader: short writes, drain after each, and no byte lost, repeated or moved", async () => {
    const total = 24 * 1024 * 1024;
    const word = (index: number): number => Math.imul(index, 0x9e3779b1) >>> 0;
    const payload = new Uint8Array(total);
    const view = new DataView(payload.buffer);
    for (let at = 0; at < total; at += 4) view.setUint32(at, word(at));
    let drains = 0;
    let shortWrites = 0;
    const listener = listen((socket) => {
      let position = 0;
      const pump = (): void => {
        while (position < total) {
          const chunk = payload.subarray(position, Math.min(total, position + 700_001));
          const taken = socket.write(chunk);
          position += taken;
          if (taken < chunk.length) {
            shortWrites += 1;
            return;
          }
        }
        socket.end();
      };
      return {
        onData: pump,
        onDrain() {
          drains += 1;
          pump();
        },
        onClose() {},
      };
    });
    const done = Promise.withResolvers<void>();
    let received = 0;
    let wrong = 0;
    let paused = false;
    let whilePaused = 0;
    const socket = await network.connect(listener.endpoint, {
      onData(from, chunk) {
        if (paused) whilePaused += 1;
        for (let i = 0; i < chunk.length; i += 509) if (chunk[i] !== payload[received + i]) wrong += 1;
        const before = received;
        received += chunk.length;
        if (before >> 20 !== received >> 20) {
          paused = true;
          from.pause();
          setTimeout(() => {
            paused = false;
            from.resume();
          }, 2);
        }
      },
      onDrain() {},
      onClose: () => done.resolve(),
    });
    socket.write(Uint8Array.of(1));
    await done.promise;
    expect({ received, wrong, whilePaused }).toEqual({ received: total, wrong: 0, whilePaused: 0 });
    expect(shortWrites).toBeGreaterThan(0);
    expect(drains).toBe(shortWrites);
  }, 20_000);

  test("bytes and the end that arrive while paused are delivered after resume, in that order", async () => {
    const accepted = Promise.withResolvers<Socket>();
    const server = collector();
    const listener = listen((socket) => {
      socket.pause();
      accepted.resolve(socket);
      return server.handlers;
    });
    const client = await network.connect(listener.endpoint, idle);
    client.write(new Uint8Array(1000).fill(7));
    client.end();
    const socket = await accepted.promise;
    await Bun.sleep(30);
    expect([server.chunks.length, server.closes()]).toEqual([0, 0]);
    socket.resume();
    expect(await server.closed).toBeUndefined();
    expect(Buffer.concat(server.chunks).length).toBe(1000);
  });

  test("closing a listener leaves its connections open and refuses new ones", async () => {
    const listener = listen(() => ({ ...idle, onData: (socket, chunk) => void socket.write(chunk) }));
    const echoed = Promise.withResolvers<void>();
    const socket = await network.connect(listener.endpoint, { ...idle, onData: () => echoed.resolve() });
    listener.close();
    socket.write(Uint8Array.of(1));
    await echoed.promise;
    expect(await codeOf(() => network.connect(listener.endpoint, idle))).toBe("ECONNREFUSED");
    socket.end();
  });
});
