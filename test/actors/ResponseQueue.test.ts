import { expect, test } from "bun:test";
import fc from "fast-check";
import { ResponseQueue, type ResponseSlot } from "../../actors/ResponseQueue.ts";
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

const setup = () => {
  const socket = new GreedySocket();
  return { socket, queue: new ResponseQueue(socket as unknown as Socket) };
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
