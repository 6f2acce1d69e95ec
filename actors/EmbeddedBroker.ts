/**
 * `odradek`: the broker inside a program of one's own, on Bun. It is the program's broker as `actors/main` is the
 * command's, without signals and without the environment: settings are what the caller gives, over the built-in values.
 * What must stay true: whatever is wrong rejects with one clear line each, and nothing was touched; `stop` is in order.
 */
import type { Endpoint } from "../src/platform/Network.ts";

export { KAFKA_VERSION, VERSION } from "../src/cli/Version.ts";

export interface EmbeddedBrokerOptions {
  /** Settings by the names of `server.properties`, as `listeners`, `log.dirs`, `http.listeners`. */
  readonly config?: Readonly<Record<string, string | number | boolean>>;
  /** The cluster id of an empty directory (default: a random one). */
  readonly clusterId?: string;
  /** Every line the broker logs (default: nowhere). */
  readonly log?: (level: "info" | "warn" | "error", message: string) => void;
  /** The broker cannot go on and should be stopped. */
  readonly failed?: (why: string) => void;
}

export interface EmbeddedBroker extends AsyncDisposable {
  readonly clusterId: string;
  readonly nodeId: number;
  /** The Kafka listeners, with the ports they really have. */
  readonly listeners: ReadonlyArray<{ readonly name: string; readonly endpoint: Endpoint }>;
  /** Where HTTP and WebSockets are served. */
  readonly http: ReadonlyArray<Endpoint>;
  readonly directory: string;
  /** Answers what is in flight, flushes, writes the clean-shutdown marker. A second call waits for the first. */
  stop(): Promise<void>;
}

/**
 * Starts a broker; resolves when it serves.
 *
 * ```ts
 * await using broker = await startBroker({ config: { "log.dirs": "./data" } });
 * ```
 */
export const startBroker = async (options: EmbeddedBrokerOptions = {}): Promise<EmbeddedBroker> => {
  // The build for Node makes `process.versions.bun` a constant: nothing of Bun's is in it.
  if (process.versions.bun !== undefined) return (await import("./StartEmbedded.ts")).startEmbedded(options);
  throw new Error("a broker runs on Bun; on Node there are the command odradek and the tests' odradek/testing");
};
