/**
 * A small world that uses every simulated port: a server that appends what it receives and answers when it is flushed,
 * three clients, fibers on Effect's clock. For the tests of the harness, in this process and in others.
 */
import * as Effect from "effect/Effect";
import { Simulation } from "../../../actors/simulation/Simulation.ts";
import type { Socket } from "../../../src/platform/Network.ts";

const CLIENTS = 3;
const MESSAGES = 4;

export const demoRun = (seed: number, keepTrace = false): { hash: string; lines: ReadonlyArray<string> } => {
  const world = new Simulation({ seed, keepTrace });
  world.run(async () => {
    const server = world.process("server");
    server.disk.makeDirectory("/data");
    const file = server.disk.open("/data/log", "write");
    let end = 0;
    let queue = Promise.resolve();
    const append = (byte: number): Promise<void> => {
      queue = queue.then(async () => {
        const taken = await file.write([Uint8Array.of(byte)], end);
        end += taken;
        await file.flush();
      });
      return queue;
    };
    const listener = server.network.listen({ host: "", port: 9092 }, () => ({
      onData(socket, chunk) {
        for (const byte of chunk) {
          void append(byte).then(() => {
            world.trace.add(`stored ${byte}`);
            socket.write(Uint8Array.of(byte));
          });
        }
      },
      onDrain() {},
      onClose() {},
    }));
    const client = async (index: number): Promise<void> => {
      const process = world.process(`client-${index}`, { host: `10.0.0.${index}` });
      let wake = (): void => {};
      let acked = 0;
      const socket: Socket = await process.network.connect(
        { host: "127.0.0.1", port: listener.endpoint.port },
        {
          onData(_, chunk) {
            acked += chunk.length;
            wake();
          },
          onDrain() {},
          onClose() {},
        },
      );
      for (let i = 0; i < MESSAGES; i++) {
        socket.write(Uint8Array.of(index * 16 + i));
        await process.runPromise(Effect.sleep(`${process.random.below(3)} millis`));
      }
      while (acked < MESSAGES) await new Promise<void>((resolve) => (wake = resolve));
      socket.end();
    };
    await Promise.all(Array.from({ length: CLIENTS }, (_, index) => client(index)));
    if (end !== CLIENTS * MESSAGES) throw new Error(`stored ${end}`);
  });
  return { hash: world.trace.hash, lines: world.trace.lines };
};
