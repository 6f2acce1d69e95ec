/** The verbs of `call` against a whole simulated broker: what they answer, and how they say what is wrong. */
import { describe, expect, test } from "bun:test";
import { verbs } from "../../src/gateway/Verbs.ts";
import { bytes, type FrameClient } from "./FrameClient.ts";
import { withGateway } from "./GatewayWorld.ts";
import { GroupClient } from "./GroupClient.ts";

type Answer = Readonly<Record<string, unknown>> & { readonly body?: unknown; readonly error?: unknown };

const call = async (client: FrameClient, verb: string, body: object = {}): Promise<unknown> => {
  const answer = (await client.request("call", { verb, body })) as Answer;
  if (answer.t !== "ok") return answer.error;
  // What OpenAPI says of it is all of it.
  const shape = verbs.find(({ name }) => name === verb)!.answer;
  expect(shape.parse(answer.body, "")).toEqual(answer.body);
  return answer.body;
};

const produce = (client: FrameClient, records: unknown[], partition = 0): Promise<unknown> =>
  client.request("produce", { topic: "t", partition, records });

const named = (name: string) => expect.objectContaining({ name });

describe("topics", () => {
  test("are made, seen by what comes behind, described, and deleted", () => {
    withGateway(async (world) => {
      const { client } = await world.connect({ maxDelayMs: 0 });
      // Not one waits for the answer of the one before.
      const [created, described, listed] = await Promise.all([
        call(client, "topics.create", {
          topics: [
            { name: "new", partitions: 3, configs: { "retention.ms": "1000" } },
            { name: "t" },
            { name: "bad name" },
          ],
        }),
        call(client, "topics.describe", { topics: ["new", "nowhere"] }),
        call(client, "topics.list"),
      ]);
      const topicId = expect.stringMatching(/^[\w-]{22}$/);
      expect(created).toEqual({
        topics: [
          { name: "new", topicId, partitions: 3 },
          { name: "t", error: named("TOPIC_ALREADY_EXISTS") },
          { name: "bad name", error: named("INVALID_TOPIC_EXCEPTION") },
        ],
      });
      const partition = (index: number) => ({
        partition: index,
        leader: 1,
        leaderEpoch: 0,
        replicas: [1],
        isr: [1],
      });
      expect(described).toEqual({
        topics: [
          { name: "new", topicId, internal: false, partitions: [0, 1, 2].map(partition) },
          { name: "nowhere", error: named("UNKNOWN_TOPIC_OR_PARTITION") },
        ],
      });
      expect(listed).toEqual({
        topics: [
          { name: "new", topicId, internal: false, partitions: 3 },
          { name: "t", topicId, internal: false, partitions: 1 },
        ],
      });
      expect(await call(client, "topics.delete", { topics: ["new", "nowhere"] })).toEqual({
        topics: [{ name: "new" }, { name: "nowhere", error: named("UNKNOWN_TOPIC_OR_PARTITION") }],
      });
    });
  });

  test("that are missing are made for a producer that asks so, where the broker allows it", () => {
    withGateway(async (world) => {
      const { client } = await world.connect();
      expect(await call(client, "topics.describe", { topics: ["auto"], create: true })).toMatchObject({
        topics: [{ name: "auto", partitions: [{ partition: 0 }] }],
      });
    });
    withGateway(
      async (world) => {
        const { client } = await world.connect();
        expect(await call(client, "topics.describe", { topics: ["auto"], create: true })).toEqual({
          topics: [{ name: "auto", error: named("UNKNOWN_TOPIC_OR_PARTITION") }],
        });
      },
      { settings: { "auto.create.topics.enable": "false" } },
    );
  });

  test("have offsets by place and by time", () => {
    withGateway(async (world) => {
      const { client } = await world.connect();
      for (const timestamp of [1000, 3000, 2000]) await produce(client, [[null, bytes("v"), null, timestamp]]);
      const at = (query: unknown, topic = "t") => ({ topic, partition: 0, at: query });
      const ask = [at("earliest"), at("latest", "nowhere")];
      expect(await call(client, "offsets.list", { partitions: ask })).toEqual({
        partitions: [
          { topic: "t", partition: 0, offset: 0, timestamp: -1, leaderEpoch: 0 },
          { topic: "nowhere", partition: 0, error: named("UNKNOWN_TOPIC_OR_PARTITION") },
        ],
      });
      const offset = async (query: unknown): Promise<unknown> => {
        const { partitions } = (await call(client, "offsets.list", { partitions: [at(query)] })) as {
          partitions: Array<{ offset: number; timestamp: number }>;
        };
        return [partitions[0]!.offset, partitions[0]!.timestamp];
      };
      expect(await offset("latest")).toEqual([3, -1]);
      expect(await offset("maxTimestamp")).toEqual([1, 3000]);
      expect(await offset({ timestamp: 1500 })).toEqual([1, 3000]);
      expect(await offset({ timestamp: 9000 })).toEqual([-1, -1]);
    });
  });
});

describe("groups", () => {
  test("are listed, described with their members, committed for, and deleted when they are empty", () => {
    withGateway(
      async (world) => {
        const { client } = await world.connect();
        const { client: reading } = await world.connect();
        const member = new GroupClient(reading, { memberId: "a" });
        await member.open();
        await member.until(() => member.owned.length === 2);
        await reading.request("commit", {
          stream: 1,
          offsets: [{ topic: "t", partition: 1, offset: 5, metadata: "m" }],
        });
        expect(await call(client, "groups.list")).toEqual({ groups: [{ id: "g", state: "Stable", type: "consumer" }] });
        expect(await call(client, "groups.list", { states: ["Empty"] })).toEqual({ groups: [] });
        const described = await call(client, "groups.describe", { groups: ["g", "none"] });
        expect(described).toEqual({
          groups: [
            {
              id: "g",
              state: "Stable",
              type: "consumer",
              epoch: expect.any(Number),
              assignor: "uniform",
              members: [
                {
                  memberId: "a",
                  instanceId: null,
                  clientId: "test",
                  host: expect.stringContaining("/10.1.0."),
                  assignment: [
                    { topic: "t", partition: 0 },
                    { topic: "t", partition: 1 },
                  ],
                },
              ],
            },
            { id: "none", error: named("GROUP_ID_NOT_FOUND") },
          ],
        });
        const offsets = [
          { topic: "t", partition: 0, offset: 3 },
          { topic: "nowhere", partition: 0, offset: 3 },
        ];
        expect(await call(client, "groups.commit", { group: "g", offsets })).toMatchObject({
          partitions: [
            { topic: "nowhere", partition: 0, error: named("UNKNOWN_TOPIC_OR_PARTITION") },
            { topic: "t", partition: 0, error: named("UNKNOWN_MEMBER_ID") },
          ],
        });
        expect(await call(client, "groups.delete", { groups: ["g"] })).toEqual({
          groups: [{ id: "g", error: named("NON_EMPTY_GROUP") }],
        });
        reading.duplex.close(1000, "");
        await world.sleep(1000);
        expect(await call(client, "groups.commit", { group: "g", offsets: offsets.slice(0, 1) })).toEqual({
          partitions: [{ topic: "t", partition: 0 }],
        });
        const committed = [
          { topic: "t", partition: 0, offset: 3, leaderEpoch: -1, metadata: "" },
          { topic: "t", partition: 1, offset: 5, leaderEpoch: -1, metadata: "m" },
        ];
        const all = (await call(client, "groups.offsets", { group: "g" })) as {
          partitions: Array<{ partition: number }>;
        };
        expect(all.partitions.sort((a, b) => a.partition - b.partition)).toEqual(committed);
        const asked = [
          { topic: "t", partition: 1 },
          { topic: "nowhere", partition: 2 },
        ];
        expect(await call(client, "groups.offsets", { group: "g", partitions: asked })).toEqual({
          partitions: [committed[1], { topic: "nowhere", partition: 2, error: named("UNKNOWN_TOPIC_OR_PARTITION") }],
        });
        expect(await call(client, "groups.delete", { groups: ["g"] })).toEqual({ groups: [{ id: "g" }] });
      },
      { partitions: 2 },
    );
  });
});

describe("records.fetch", () => {
  test("reads from places on, and waits for what is not there yet", () => {
    withGateway(
      async (world) => {
        const { client } = await world.connect();
        await produce(client, [[bytes("k"), bytes("v"), [["h", null]], 77]]);
        await produce(client, [[null, bytes("w"), null, 78]]);
        const topicId = (await world.client.topic("t")).id;
        const place = (partition: number, from: unknown) => ({ topic: "t", partition, from });
        expect(await call(client, "records.fetch", { partitions: [place(0, "earliest"), place(9, "latest")] })).toEqual(
          {
            partitions: [
              {
                topic: "t",
                partition: 0,
                position: { offset: 2, leaderEpoch: 0, topicId },
                records: [
                  [0, 77, bytes("k"), bytes("v"), [["h", null]]],
                  [1, 78, null, bytes("w")],
                ],
                highWatermark: 2,
                lastStableOffset: 2,
                logStartOffset: 0,
              },
              { topic: "t", partition: 9, error: named("UNKNOWN_TOPIC_OR_PARTITION") },
            ],
          },
        );
        const start = world.world.clock.now;
        const waiting = call(client, "records.fetch", {
          partitions: [place(0, { offset: 2, leaderEpoch: 0, topicId }), place(1, "earliest")],
          maxWaitMs: 5000,
        });
        await world.sleep(1000);
        const { client: other } = await world.connect();
        await produce(other, [[null, bytes("x")]], 1);
        expect(await waiting).toMatchObject({
          partitions: [
            { partition: 0, records: [], position: { offset: 2 } },
            { partition: 1, records: [[0, expect.any(Number), null, bytes("x")]] },
          ],
        });
        expect(world.world.clock.now - start).toBeLessThan(1200);
        const gone = { offset: 99, leaderEpoch: -1, topicId };
        expect(await call(client, "records.fetch", { partitions: [place(0, gone)], maxWaitMs: 5000 })).toEqual({
          partitions: [{ topic: "t", partition: 0, error: named("OFFSET_OUT_OF_RANGE") }],
        });
      },
      { partitions: 2 },
    );
  });

  test("an answer holds no more than a frame may, but one record always", () => {
    withGateway(async (world) => {
      const { client } = await world.connect();
      for (let index = 0; index < 8; index++) await produce(client, [[null, new Uint8Array(600_000)]]);
      let from: unknown = "earliest";
      const sizes: number[] = [];
      for (let read = 0; read < 8; ) {
        const body = { partitions: [{ topic: "t", partition: 0, from }], maxBytes: 50_000_000 };
        const { partitions } = (await call(client, "records.fetch", body)) as {
          partitions: Array<{ records: unknown[]; position: object }>;
        };
        sizes.push(partitions[0]!.records.length);
        read += partitions[0]!.records.length;
        from = partitions[0]!.position;
      }
      expect(Math.max(...sizes)).toBe(3);
      expect(client.closed).toBeUndefined();
    });
  });
});

test("a verb that is not there or a body that is wrong is refused by a line that says what is", () => {
  withGateway(async (world) => {
    const { client } = await world.connect();
    const message = async (verb: string, body: object): Promise<unknown> =>
      ((await call(client, verb, body)) as { message: string }).message;
    expect(await message("topics.rename", {})).toStartWith(
      'verb: there is no "topics.rename"; there are topics.list, ',
    );
    expect(await message("topics.delete", { topics: "t" })).toBe('topics: expected an array, got "t"');
    expect(await message("topics.create", { topics: [{ name: "x", partitions: 0 }] })).toBe(
      "topics[0].partitions: expected an integer of 1 … 2147483647, got 0",
    );
    expect(await message("offsets.list", { partitions: [{ topic: "t", partition: 0, at: "first" }] })).toBe(
      'partitions[0].at: expected "earliest", "latest", "maxTimestamp" or {timestamp}, got "first"',
    );
  });
});
