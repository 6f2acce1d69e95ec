/** A real broker with its second door on a free port, and clients of the stream protocol on the runtime's WebSocket. */
import { type HttpDoor, openHttpDoor } from "../../actors/HttpDoor.ts";
import { BrokerConfig } from "../../src/config/BrokerConfig.ts";
import type { FrameDuplex } from "../../src/gateway/FrameDuplex.ts";
import { makeBunHttpServer } from "../../src/platform/BunHttpServer.ts";
import { sha256 } from "../../src/platform/Sha256.ts";
import { type RealBroker, startRealBroker } from "../support/RealBroker.ts";
import { FrameClient } from "./FrameClient.ts";

export interface RealGateway extends RealBroker {
  readonly door: HttpDoor;
  readonly port: number;
  readonly url: string;
}

export const startRealGateway = async (
  directory: string,
  settings: Readonly<Record<string, string>> = {},
): Promise<RealGateway> => {
  const http = { "http.listeners": "http://127.0.0.1:0", ...settings };
  const real = await startRealBroker(directory, http);
  const door = openHttpDoor(
    { server: makeBunHttpServer(), sha256 },
    BrokerConfig.of(http),
    real.broker.doorEnvironment,
  )!;
  real.broker.attach(door);
  const port = door.endpoints[0]!.port;
  return { ...real, door, port, url: `http://127.0.0.1:${port}` };
};

export interface SocketOptions {
  readonly path?: string;
  readonly protocols?: string[];
  readonly headers?: Readonly<Record<string, string>>;
}

/** A connection, nothing said. Rejects when it is not let in. */
export const openSocket = async (port: number, options: SocketOptions = {}): Promise<FrameClient> => {
  const { path = "/v1/stream", protocols = ["odradek.v1"], headers = {} } = options;
  const socket = new WebSocket(`ws://127.0.0.1:${port}${path}`, { protocols, headers });
  socket.binaryType = "arraybuffer";
  const duplex: FrameDuplex = {
    send(frame) {
      socket.send(frame as Uint8Array<ArrayBuffer>);
      return "sent";
    },
    pause: () => {},
    resume: () => {},
    close: (code, reason) => socket.close(code, reason),
  };
  const client = new FrameClient(duplex);
  await new Promise<void>((resolve, reject) => {
    socket.onopen = () => resolve();
    socket.onmessage = ({ data }) => client.onFrame(new Uint8Array(data as ArrayBuffer));
    socket.onclose = ({ code, reason }) => {
      client.onClose(code, reason);
      reject(new Error(`closed: ${code} ${reason}`));
    };
    socket.onerror = () => reject(new Error("not let in"));
  });
  return client;
};

export const connect = async (port: number, options?: SocketOptions): Promise<FrameClient> => {
  const client = await openSocket(port, options);
  await client.hello();
  return client;
};
