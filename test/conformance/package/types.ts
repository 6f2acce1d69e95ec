/** What a user's compiler must accept, and refuse. */
import { type EmbeddedBroker, startBroker } from "odradek";
import {
  type KafkaClient,
  type Simulated,
  type SimulatedFault,
  simulate,
  type TestBroker,
  type TestBrokerOptions,
  testBroker,
} from "odradek/testing";

const options: TestBrokerOptions = {
  config: { "num.partitions": 3 },
  topics: ["a", { name: "b", partitions: 2, config: { "cleanup.policy": "compact" } }],
};
export const broker: TestBroker & AsyncDisposable = await testBroker(options);
export const client: KafkaClient = broker.client({ clientId: "me" });
export const fetched: ReadonlyArray<{ readonly offset: number }> = await client.readAll("a", 0);
const faults: ReadonlyArray<SimulatedFault> = [{ kind: "power cut", atMs: 5, forMs: 1, cut: "torn" }];
export const simulated: Simulated<number> = await simulate(async (world) => world.now(), { seed: 1, faults });
/** There is no such disk. */
type Refused = "floppy" extends NonNullable<TestBrokerOptions["disk"]> ? never : true;
export const refused: Refused = true;
export const embedded: EmbeddedBroker = await startBroker({ config: { "log.dirs": "./data" } });
