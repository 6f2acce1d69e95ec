/** The platform of browsers, Node and Bun against sockets that behave as theirs do. */
import { afterEach, beforeEach, expect, test } from "bun:test";
import type { OpeningHandlers } from "../../src/client/ClientPlatform.ts";
import { webPlatform } from "../../src/client/WebPlatform.ts";

class FakeSocket {
  static readonly OPEN = 1;
  static last: FakeSocket;
  readyState = 0;
  binaryType = "blob";
  bufferedAmount = 0;
  readonly sent: Uint8Array[] = [];
  readonly closedWith: unknown[] = [];
  onopen = (): void => {};
  onmessage = (_event: { readonly data: unknown }): void => {};
  onclose = (_event: { readonly code: number; readonly reason: string }): void => {};
  onerror = (): void => {};

  constructor(
    readonly url: string,
    readonly protocols: string[],
  ) {
    FakeSocket.last = this;
  }

  open(): void {
    this.readyState = 1;
    this.onopen();
  }

  send(bytes: Uint8Array): void {
    this.sent.push(bytes);
    this.bufferedAmount += bytes.length;
  }

  close(code: number, reason: string): void {
    if (code !== 1000 && (code < 3000 || code > 4999)) throw new Error(`a page may not close with ${code}`);
    this.closedWith.push([code, reason]);
  }
}

const real = globalThis.WebSocket;
beforeEach(() => {
  globalThis.WebSocket = FakeSocket as unknown as typeof WebSocket;
});
afterEach(() => {
  globalThis.WebSocket = real;
});

const opening = () => {
  const heard: unknown[] = [];
  const handlers: OpeningHandlers = {
    onOpen: () => heard.push("open"),
    onFrame: (frame) => heard.push([...frame]),
    onDrain: () => heard.push("drain"),
    onClose: (code, reason) => heard.push([code, reason]),
  };
  const duplex = webPlatform().open("ws://x", ["p"], handlers);
  return { heard, duplex, socket: FakeSocket.last };
};

test("frames go both ways as bytes, and wait while it is paused", () => {
  const { heard, duplex, socket } = opening();
  expect([socket.url, socket.protocols, socket.binaryType]).toEqual(["ws://x", ["p"], "arraybuffer"]);
  expect(duplex.send(Uint8Array.of(0))).toBe("dropped");
  socket.open();
  expect(duplex.send(Uint8Array.of(1))).toBe("sent");
  socket.onmessage({ data: Uint8Array.of(7).buffer });
  duplex.pause();
  socket.onmessage({ data: Uint8Array.of(8).buffer });
  expect(heard).toEqual(["open", [7]]);
  duplex.resume();
  socket.onmessage({ data: "text" });
  expect(heard).toEqual(["open", [7], [8], []]);
});

/** Browsers say `error` and `close`, Node 22 only `error` when the connection could not be made. */
test.each([["error"], ["close"], ["error", "close"]])("the end is told once: %p", (...events) => {
  const { heard, socket } = opening();
  for (const event of events)
    if (event === "error") socket.onerror();
    else socket.onclose({ code: 1006, reason: "" });
  expect(heard).toEqual([[1006, ""]]);
});

test("codes that a page may not close with become 1000", () => {
  const { duplex, socket } = opening();
  for (const code of [1000, 4408, 1002]) duplex.close(code, "x".repeat(200));
  expect(socket.closedWith).toEqual([1000, 4408, 1000].map((code) => [code, "x".repeat(40)]));
});

test("a full socket is looked at until it has drained", async () => {
  const { heard, duplex, socket } = opening();
  socket.open();
  expect(duplex.send(new Uint8Array(5 * 1024 * 1024))).toBe("queued");
  await new Promise((resolve) => setTimeout(resolve, 15));
  expect(heard).toEqual(["open"]);
  socket.bufferedAmount = 0;
  const drained = Promise.withResolvers<void>();
  const looking = setInterval(() => {
    if (heard.includes("drain")) drained.resolve();
  }, 1);
  await drained.promise;
  clearInterval(looking);
  expect(heard).toEqual(["open", "drain"]);
});

test("chance is even, and ids are Kafka's", () => {
  const { random } = webPlatform();
  const counts = [0, 0, 0];
  for (let draw = 0; draw < 3000; draw++) counts[random.below(3)]! += 1;
  expect(Math.min(...counts)).toBeGreaterThan(800);
  const ids = Array.from({ length: 200 }, () => random.uuid());
  expect(new Set(ids).size).toBe(200);
  for (const id of ids) expect(id).toMatch(/^[A-Za-z0-9_][A-Za-z0-9_-]{21}$/);
});
