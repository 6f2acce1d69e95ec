import { expect, test } from "bun:test";
import fc from "fast-check";
import { type ResponsePiece, ResponseQueue, type ResponseSlot } from "../../actors/ResponseQueue.ts";
import type { Socket } from "../../src/platform/Network.ts";

/** A socket that takes as many bytes as it is told to, and remembers them. */
class GreedySocket {
  readonly taken: number[] = [];
  writes = 0;
  room = Number.POSITIVE_INFINITY;

  write(chunk: Uint8Array): number {
    this.writes += 1;
    const count = Math.min(this.room, chunk.length);
    this.room -= count;
    for (const byte of chunk.subarray(0, count)) this.taken.push(byte);
    return count;
  }
}

/** Bytes in a file, read at once or later; it may break behind some of them. */
class InFile {
  readonly elsewhere = true;
  held = 1;

  constructor(
    readonly bytes: Uint8Array,
    private readonly later: boolean,
    private readonly breaksAt = Number.POSITIVE_INFINITY,
  ) {}

  get length(): number {
    return this.bytes.length;
  }

  read(target: Uint8Array, from: number): void | Promise<void> {
    const fill = (): void => {
      if (from + target.length > this.breaksAt) throw new Error("broken");
      target.set(this.bytes.subarray(from, from + target.length));
    };
    return this.later ? Promise.resolve().then(fill) : fill();
  }

  release(): void {
    this.held -= 1;
  }
}

const setup = () => {
  const socket = new GreedySocket();
  return { socket, queue: new ResponseQueue(socket as unknown as Socket, { sentLater() {}, broken() {} }) };
};

test("#10 responses leave in request order, whatever order they are ready in", () => {
  const { socket, queue } = setup();
  const [a, b, c] = [queue.reserve(), queue.reserve(), queue.reserve()];
  c.chunks = [Uint8Array.of(3)];
  b.chunks = [];
  queue.flush();
  expect(socket.taken).toEqual([]);
  expect(queue.inFlight).toBe(3);
  a.chunks = [Uint8Array.of(1), Uint8Array.of(1)];
  queue.flush();
  expect(socket.taken).toEqual([1, 1, 3]);
  expect(socket.writes).toBe(1);
  expect(queue.inFlight).toBe(0);
});

test("whatever the socket takes, every byte is sent once and in order", () => {
  const chunk = fc.uint8Array({ maxLength: 20 });
  const response = fc.array(chunk, { maxLength: 3 });
  fc.assert(
    fc.property(fc.array(response, { maxLength: 20 }), fc.array(fc.nat(15)), (responses, rooms) => {
      const { socket, queue } = setup();
      socket.room = 0;
      const slots: ResponseSlot[] = responses.map(() => queue.reserve());
      slots.forEach((slot, index) => {
        slot.chunks = responses[index]!;
      });
      queue.flush();
      for (const room of rooms) {
        socket.room = room;
        queue.flush();
      }
      socket.room = Number.POSITIVE_INFINITY;
      queue.flush();
      expect(socket.taken).toEqual(responses.flat().flatMap((bytes) => [...bytes]));
      expect(queue.queuedBytes).toBe(0);
    }),
  );
});

test("records in files leave in their place, whatever the disk and the socket do, and are let go when they are sent", async () => {
  const bytes = fc.uint8Array({ maxLength: 20 });
  const piece = fc.record({ bytes, kind: fc.constantFrom("memory", "file", "slow file") });
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.array(piece, { maxLength: 4 }), { maxLength: 10 }),
      fc.array(fc.nat(15)),
      async (responses, rooms) => {
        const { socket, queue } = setup();
        const files: InFile[] = [];
        const sent = responses.map((response) =>
          response.map(({ bytes: each, kind }): ResponsePiece => {
            if (kind === "memory") return each;
            const file = new InFile(each, kind === "slow file");
            if (each.length > 0) files.push(file);
            return file;
          }),
        );
        for (const chunks of sent) queue.reserve().chunks = chunks;
        for (const room of [...rooms, Number.POSITIVE_INFINITY]) {
          socket.room = room;
          queue.flush();
          for (let turn = 0; turn < 10; turn++) await undefined;
        }
        while (queue.queuedBytes > 0) await undefined;
        expect(socket.taken).toEqual(responses.flat().flatMap((each) => [...each.bytes]));
        expect(files.every(({ held }) => held === 0)).toBe(true);
      },
    ),
  );
});

test("behind records that cannot be read nothing is sent", async () => {
  for (const later of [false, true]) {
    const socket = new GreedySocket();
    const seen: unknown[] = [];
    const owner = { sentLater() {}, broken: (error: unknown) => void seen.push(error) };
    const queue = new ResponseQueue(socket as unknown as Socket, owner);
    queue.reserve().chunks = [Uint8Array.of(1), new InFile(Uint8Array.of(2, 3), later, 1), Uint8Array.of(4)];
    queue.flush();
    for (let turn = 0; turn < 10; turn++) await undefined;
    queue.flush();
    expect(seen.map(String)).toEqual(["Error: broken"]);
    expect(socket.taken).toEqual([]);
  }
});
