import { expect, test } from "bun:test";
import type { ConnectionEnvironment } from "../../actors/Connection.ts";
import { KafkaListener } from "../../actors/KafkaListener.ts";
import type { Network, Socket } from "../../src/platform/Network.ts";

test("socket.send.buffer.bytes is asked of every connection; -1 asks nothing", () => {
  const asked = (sendBufferBytes: number): number[] => {
    const found: number[] = [];
    const endpoint = { host: "127.0.0.1", port: 1 };
    const socket: Socket = {
      local: endpoint,
      remote: endpoint,
      write: (chunk) => chunk.length,
      limitSendBuffer: (bytes) => void found.push(bytes),
      pause() {},
      resume() {},
      end() {},
      destroy() {},
    };
    const network: Network = {
      listen: (bound, accept) => {
        accept(socket);
        return { endpoint: bound, close() {} };
      },
      connect: () => socket,
    };
    const limits = { maxConnections: 10, maxConnectionsPerIp: 10, sendBufferBytes };
    const environment: Partial<ConnectionEnvironment> = {
      clock: { monotonic: () => 0, wall: () => 0, after: () => () => undefined },
      maxFrameBytes: 1000,
      maxIdleMs: -1,
      listenerName: "PLAINTEXT",
    };
    new KafkaListener(network, endpoint, limits, environment as ConnectionEnvironment);
    return found;
  };
  expect([asked(102_400), asked(-1)]).toEqual([[102_400], []]);
});
