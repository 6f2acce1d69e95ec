/** Server-sent events against a whole simulated broker: what changes while they are streamed. */
import { expect, test } from "bun:test";
import { GatewayCaller, GatewayConnection } from "../../actors/GatewayCaller.ts";
import { GatewayEvents } from "../../actors/GatewayEvents.ts";
import { type GatewayWorld, withGateway } from "../gateway/GatewayWorld.ts";

const NOWHERE = { host: "127.0.0.1", port: 1 };

/** Streams the topic `t` from its beginning; answers what was written so far, and how to end it. */
const streaming = async ({ gateway, broker }: GatewayWorld, partitions: number) => {
  const { ports, tasks, listenerName } = broker.doorEnvironment;
  const connection = new GatewayConnection(
    1,
    NOWHERE,
    NOWHERE,
    tasks,
    () => {},
    () => {},
  );
  const caller = new GatewayCaller(ports, connection, listenerName, () => "User:ANONYMOUS");
  const from = Array.from({ length: partitions }, (_, partition) => ({
    topic: "t",
    partition,
    from: "earliest" as const,
  }));
  const settings = { partitions: from, isolation: "read_committed" } as const;
  let ended = false;
  const events = new GatewayEvents(gateway.environment, caller, "User:ANONYMOUS", settings, () => (ended = true));
  const written: string[] = [];
  await new Promise<void>((resolve) => {
    gateway.environment.run(events.open()).addObserver(() => resolve());
  });
  events.start({ hasRoom: true, write: (text) => void written.push(text), end: () => {} });
  return { events, isOver: () => ended, text: () => written.join("") };
};

test("partitions that a topic gets while it is streamed are read from their beginning", () => {
  withGateway(async (world) => {
    const { events, text } = await streaming(world, 1);
    await world.client.admin.createPartitions("t", 3);
    const { client } = await world.connect();
    await client.request("produce", { topic: "t", partition: 2, records: [[null, new TextEncoder().encode("late")]] });
    await world.sleep(10_000);
    expect(text()).toContain('"partition":2,"records":[[0,');
    expect(text()).toContain('"late"');
    events.close();
  });
});

test("a topic that is deleted while it is streamed is told once, and holds nothing", () => {
  withGateway(async (world) => {
    const { events, text } = await streaming(world, 1);
    await world.sleep(100);
    await world.client.deleteTopic("t");
    await world.sleep(60_000);
    expect(text().split("event: partitionError")).toHaveLength(2);
    expect(text()).toContain("UNKNOWN_TOPIC_ID");
    events.close();
  });
});
