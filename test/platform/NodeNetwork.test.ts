/** The connecting half on `node:net` against our own listener: what a client on Node relies on. */
import { expect, test } from "bun:test";
import { makeBunNetwork } from "../../src/platform/BunNetwork.ts";
import { NetworkError, type Socket, type SocketHandlers } from "../../src/platform/Network.ts";
import { makeNodeNetwork } from "../../src/platform/NodeNetwork.ts";

const local = { host: "127.0.0.1", port: 0 };
const ignore: SocketHandlers = { onData: () => {}, onDrain: () => {}, onClose: () => {} };

/** A listener that answers with what it gets, and the sockets it has accepted. */
const echo = () => {
  const accepted: Socket[] = [];
  const listener = makeBunNetwork().listen(local, (socket) => {
    accepted.push(socket);
    return {
      ...ignore,
      onData: (from, chunk) => {
        // Small chunks: the socket takes them whole.
        from.write(chunk.slice());
      },
    };
  });
  return { listener, accepted, [Symbol.dispose]: () => listener.close() };
};

test("bytes go and come, also while a chunk's memory is used again", async () => {
  using server = echo();
  const received: number[] = [];
  const whole = Promise.withResolvers<void>();
  const socket = await makeNodeNetwork().connect(server.listener.endpoint, {
    ...ignore,
    onData: (_, chunk) => {
      received.push(...chunk);
      if (received.length === 3) whole.resolve();
    },
  });
  expect(socket.remote.port).toBe(server.listener.endpoint.port);
  const chunk = Uint8Array.of(1, 2, 3);
  expect(socket.write(chunk)).toBe(3);
  chunk.fill(0);
  await whole.promise;
  expect(received).toEqual([1, 2, 3]);
  socket.destroy();
});

test("a full socket takes nothing more until it has drained, and then goes on", async () => {
  const silent = makeBunNetwork().listen(local, (socket) => {
    socket.pause();
    paused = socket;
    return ignore;
  });
  let paused: Socket | undefined;
  const drained = Promise.withResolvers<void>();
  const socket = await makeNodeNetwork().connect(silent.endpoint, { ...ignore, onDrain: () => drained.resolve() });
  const chunk = new Uint8Array(1024 * 1024);
  let taken = 0;
  for (let sent = 1; sent > 0 && taken < 64; taken++) sent = socket.write(chunk);
  expect(socket.write(chunk)).toBe(0);
  paused!.resume();
  await drained.promise;
  expect(socket.write(chunk)).toBe(chunk.length);
  socket.destroy();
  silent.close();
});

test("the end comes once, whichever side makes it", async () => {
  using server = echo();
  for (const end of ["ours", "theirs"] as const) {
    let closes = 0;
    const closed = Promise.withResolvers<void>();
    const socket = await makeNodeNetwork().connect(server.listener.endpoint, {
      ...ignore,
      onClose: () => {
        closes += 1;
        closed.resolve();
      },
    });
    if (end === "ours") socket.end();
    else {
      socket.write(Uint8Array.of(1));
      while (server.accepted.length < 2) await Bun.sleep(1);
      server.accepted[1]!.destroy();
    }
    await closed.promise;
    socket.destroy();
    expect(closes).toBe(1);
    expect(socket.write(Uint8Array.of(1))).toBe(0);
  }
});

test("where nobody listens is said by code, and a broker's side is refused", async () => {
  const { endpoint, ...listener } = makeBunNetwork().listen(local, () => ignore);
  listener.close();
  const refused = await Promise.resolve(makeNodeNetwork().connect(endpoint, ignore)).catch((error: unknown) => error);
  expect(refused).toBeInstanceOf(NetworkError);
  expect(refused).toMatchObject({ code: "ECONNREFUSED" });
  expect(() => makeNodeNetwork().listen(local, () => ignore)).toThrow("only a client runs on Node");
});
