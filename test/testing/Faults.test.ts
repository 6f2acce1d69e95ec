/** `testBroker({ faults })` on real sockets: each kind does what it says and no more, and right clients come through. */
import { describe, expect, test } from "bun:test";
import { SPARED_CLIENT_ID } from "../../actors/testing/FaultDecisions.ts";
import {
  type FaultKind,
  type FaultOptions,
  type KafkaClient,
  type TestBroker,
  testBroker,
} from "../../actors/testing/index.ts";
import { ConnectionLost, type KafkaConnection } from "../../actors/testing/KafkaConnection.ts";
import { makeHandlers } from "../../src/api/Handlers.ts";
import { ZERO_UUID } from "../../src/prelude/Types.ts";
import { ApiKey, Apis, apiName, type KnownApiKey, type RequestOf } from "../../src/protocol/ApiKeys.ts";
import { Errors, isRetriable } from "../../src/protocol/Errors.ts";
import { buildBatch } from "../../src/record/RecordBatchBuilder.ts";

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);

const faulty = (faults: FaultOptions, topics = ["t"]): Promise<TestBroker> => testBroker({ topics, faults });

/** A client that nothing happens to, for looking. */
const looking = (broker: TestBroker): KafkaClient => broker.client({ clientId: SPARED_CLIENT_ID });

const valuesOf = async (broker: TestBroker, topic = "t"): Promise<string[]> =>
  (await looking(broker).readAll(topic, 0)).map(({ value }) => new TextDecoder().decode(value ?? undefined));

const produceRequest = async (client: KafkaClient, value: string): Promise<RequestOf<0>> => ({
  transactionalId: null,
  acks: -1,
  timeoutMs: 10_000,
  topicData: [
    {
      name: "t",
      topicId: (await client.topic("t")).id,
      partitionData: [{ index: 0, records: buildBatch([{ value: utf8(value) }], { timestamp: 1 }) }],
    },
  ],
});

/** One kind, at every request that it can hit. */
const always = (kind: FaultKind, more: Partial<FaultOptions> = {}): FaultOptions => ({
  seed: 1,
  kinds: { [kind]: 1 },
  maxDelayMs: 20,
  ...more,
});

/** A member of a classic group with the partitions of `t`: member id and generation. */
const join = async (client: KafkaClient, groupId: string): Promise<{ memberId: string; generationId: number }> => {
  const request = { ...Apis[ApiKey.JoinGroup].request.empty(), groupId, sessionTimeoutMs: 10_000 };
  const protocols = [{ name: "range", metadata: new Uint8Array() }];
  const ask = (memberId: string) =>
    client.request("any", ApiKey.JoinGroup, {
      ...request,
      memberId,
      protocolType: "consumer",
      protocols,
      rebalanceTimeoutMs: 10_000,
    });
  const first = await ask("");
  const joined = first.errorCode === Errors.MEMBER_ID_REQUIRED ? await ask(first.memberId) : first;
  expect(joined.errorCode).toBe(Errors.NONE);
  const { memberId, generationId } = joined;
  const synced = await client.request("any", ApiKey.SyncGroup, {
    ...Apis[ApiKey.SyncGroup].request.empty(),
    groupId,
    generationId,
    memberId,
    protocolType: "consumer",
    protocolName: "range",
    assignments: [{ memberId, assignment: new Uint8Array([1]) }],
  });
  expect(synced.errorCode).toBe(Errors.NONE);
  return { memberId, generationId };
};

const heartbeat = async (client: KafkaClient, groupId: string, member: { memberId: string; generationId: number }) =>
  (await client.request("any", ApiKey.Heartbeat, { ...Apis[ApiKey.Heartbeat].request.empty(), groupId, ...member }))
    .errorCode;

/** Makes the group's coordinator: without faults. */
const withCoordinator = async (broker: TestBroker, keyType: number, ...keys: string[]): Promise<void> => {
  await looking(broker).request("any", ApiKey.FindCoordinator, { key: "", keyType, coordinatorKeys: keys });
};

describe("retriable errors", () => {
  test("an error that says nothing was appended is true, and so is one that leaves it open (A1)", async () => {
    await using broker = await faulty(always("retriableError"));
    const client = broker.client();
    await looking(broker).topic("t");
    const seen = new Set<number>();
    const expected: string[] = [];
    const topic = (await looking(broker).topic("t")).id;
    for (let i = 0; i < 40; i++) {
      const request = await produceRequest(looking(broker), `${i}`);
      const connection = await client.connection("any");
      expect(request.topicData[0]!.topicId).toBe(topic);
      const answer = await connection.request(ApiKey.Produce, request);
      const { errorCode, baseOffset } = answer.responses[0]!.partitionResponses[0]!;
      seen.add(errorCode);
      expect(baseOffset).toBe(-1);
      if (errorCode === Errors.REQUEST_TIMED_OUT || errorCode === Errors.NOT_ENOUGH_REPLICAS_AFTER_APPEND) {
        expected.push(`${i}`);
      }
      expect(await valuesOf(broker)).toEqual(expected);
    }
    expect([...seen].sort((a, b) => a - b)).toEqual([
      Errors.NOT_LEADER_OR_FOLLOWER,
      Errors.REQUEST_TIMED_OUT,
      Errors.NOT_ENOUGH_REPLICAS,
      Errors.NOT_ENOUGH_REPLICAS_AFTER_APPEND,
    ]);
  });

  test("every version of every request that can be hit gets an answer of its own shape", async () => {
    await using broker = await faulty(always("retriableError"));
    await withCoordinator(broker, 0, "g");
    await withCoordinator(broker, 1, "tx");
    const client = broker.client();
    const topicId = (await looking(broker).topic("t")).id;
    const requests: Partial<Record<KnownApiKey, object | ((version: number) => object)>> = {
      [ApiKey.Fetch]: { topics: [{ topic: "t", topicId, partitions: [{ partition: 0, fetchOffset: 0 }] }] },
      [ApiKey.ListOffsets]: { topics: [{ name: "t", partitions: [{ partitionIndex: 0, timestamp: -1 }] }] },
      [ApiKey.Metadata]: { topics: [{ name: "t", topicId: ZERO_UUID }] },
      [ApiKey.OffsetCommit]: {
        groupId: "g",
        generationIdOrMemberEpoch: -1,
        topics: [{ name: "t", topicId, partitions: [{ partitionIndex: 0, committedOffset: 0 }] }],
      },
      [ApiKey.OffsetFetch]: (version) =>
        version < 8
          ? { groupId: "g", topics: [{ name: "t", partitionIndexes: [0] }] }
          : {
              groups: [
                {
                  groupId: "g",
                  memberId: null,
                  memberEpoch: -1,
                  topics: [{ name: "t", topicId: version < 10 ? ZERO_UUID : topicId, partitionIndexes: [0] }],
                },
              ],
            },
      [ApiKey.FindCoordinator]: (version) => (version < 4 ? { key: "g" } : { coordinatorKeys: ["g"] }),
      [ApiKey.JoinGroup]: {
        groupId: "g",
        sessionTimeoutMs: 10_000,
        protocolType: "consumer",
        protocols: [{ name: "r", metadata: new Uint8Array() }],
      },
      [ApiKey.Heartbeat]: { groupId: "g" },
      [ApiKey.SyncGroup]: (version) => ({
        groupId: "g",
        ...(version < 5 ? {} : { protocolType: "consumer", protocolName: "r" }),
      }),
      [ApiKey.InitProducerId]: { transactionalId: "tx", transactionTimeoutMs: 1000 },
      [ApiKey.OffsetForLeaderEpoch]: { topics: [{ topic: "t", partitions: [{ partition: 0, leaderEpoch: 0 }] }] },
      [ApiKey.AddPartitionsToTxn]: {
        v3AndBelowTransactionalId: "tx",
        v3AndBelowProducerId: 1,
        v3AndBelowTopics: [{ name: "t", partitions: [0] }],
      },
      [ApiKey.AddOffsetsToTxn]: { transactionalId: "tx", groupId: "g" },
      [ApiKey.EndTxn]: { transactionalId: "tx" },
      [ApiKey.TxnOffsetCommit]: {
        transactionalId: "tx",
        groupId: "g",
        topics: [{ name: "t", partitions: [{ partitionIndex: 0, committedOffset: 0 }] }],
      },
      [ApiKey.ConsumerGroupHeartbeat]: {
        groupId: "g",
        memberId: "m",
        memberEpoch: 0,
        rebalanceTimeoutMs: 1000,
        subscribedTopicNames: ["t"],
        topicPartitions: [],
      },
    };
    const handlers = makeHandlers();
    for (const [key, fields] of Object.entries(requests)) {
      const apiKey = Number(key) as KnownApiKey;
      const { minVersion, maxVersion } = handlers.get(apiKey)!;
      // From version 4 on AddPartitionsToTxn is between brokers.
      const newest = apiKey === ApiKey.AddPartitionsToTxn ? 3 : maxVersion;
      for (let version = minVersion; version <= newest; version++) {
        const connection = await client.connection("any");
        const request = filled(apiKey, typeof fields === "function" ? fields(version) : fields);
        const answer = await connection.request(apiKey, request, version);
        const codes = errorCodes(answer);
        expect([apiName(apiKey), version, codes.length > 0 && codes.every(isRetriable)]).toEqual([
          apiName(apiKey),
          version,
          true,
        ]);
      }
    }
    expect(broker.log.filter((line) => line.startsWith("error"))).toEqual([]);
  });
});

/** An empty request with these fields, and every element of its lists filled up from nothing. */
const filled = <K extends KnownApiKey>(apiKey: K, fields: object): RequestOf<K> => {
  const extra = {
    currentLeaderEpoch: -1,
    lastFetchedEpoch: -1,
    logStartOffset: -1,
    partitionMaxBytes: 1000,
    committedLeaderEpoch: -1,
    committedMetadata: "",
    replicaDirectoryId: "AAAAAAAAAAAAAAAAAAAAAA",
    highWatermark: -1,
  };
  const fill = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(fill);
    if (typeof value !== "object" || value === null || value instanceof Uint8Array) return value;
    const entries = Object.entries(value).map(([name, each]) => [name, fill(each)]);
    return { ...("partition" in value || "partitionIndex" in value ? extra : {}), ...Object.fromEntries(entries) };
  };
  return { ...Apis[apiKey].request.empty(), ...(fill(fields) as object) } as RequestOf<K>;
};

/** Every error code in an answer that is one. */
const errorCodes = (answer: unknown): number[] => {
  if (Array.isArray(answer)) return answer.flatMap(errorCodes);
  if (typeof answer !== "object" || answer === null) return [];
  return Object.entries(answer).flatMap(([name, value]) =>
    /errorcode$/i.test(name) ? (value === 0 ? [] : [value as number]) : errorCodes(value),
  );
};

describe("cut connections", () => {
  test("lose a request that was not handled, or the answer of one that was", async () => {
    await using broker = await faulty(always("connectionCut"));
    const expected: string[] = [];
    for (let i = 0; i < 20; i++) {
      const connection = await broker.client().connection("any");
      const attempt = connection.request(ApiKey.Produce, await produceRequest(looking(broker), `${i}`));
      expect(await attempt.catch((error: unknown) => error)).toBeInstanceOf(ConnectionLost);
      const { what } = broker.faultLog.at(-1)!;
      if (what.startsWith("handled")) expected.push(`${i}`);
      expect(await valuesOf(broker)).toEqual(expected);
    }
    expect(expected.length).toBeGreaterThan(3);
    expect(expected.length).toBeLessThan(17);
  });
});

describe("slow answers", () => {
  test("come late and in order", async () => {
    await using broker = await faulty(always("slowAnswer", { maxDelayMs: 50 }));
    const connection = await broker.client().connection("any");
    const requests = await Promise.all(Array.from({ length: 10 }, (_, i) => produceRequest(looking(broker), `${i}`)));
    const began = performance.now();
    const offsets = await Promise.all(
      requests.map(async (request) => {
        const answer = await connection.request(ApiKey.Produce, request);
        return answer.responses[0]!.partitionResponses[0]!.baseOffset;
      }),
    );
    const slowest = Math.max(...broker.faultLog.map(({ what }) => Number(/(\d+) ms/.exec(what)![1])));
    expect(offsets).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    expect(performance.now() - began).toBeGreaterThanOrEqual(slowest - 1);
    expect(broker.faultLog).toHaveLength(10);
  });
});

describe("rebalances", () => {
  test("a member of a classic group is told that it is none any more, and the others to join again", async () => {
    await using broker = await faulty(always("rebalance"));
    await withCoordinator(broker, 0, "g");
    const client = broker.client();
    const first = await join(client, "g");
    expect(await heartbeat(client, "g", first)).toBe(Errors.UNKNOWN_MEMBER_ID);
    const second = await join(client, "g");
    expect(second.memberId).not.toBe(first.memberId);
    expect(broker.faultLog.map(({ kind, api }) => [kind, api])).toEqual([["rebalance", "Heartbeat"]]);
    // With a Fetch, which names no member, any member goes.
    await client.fetch("t", 0, 0, { maxWaitMs: 0 });
    expect(broker.faultLog.at(-1)!.what).toContain(second.memberId);
    expect(await heartbeat(looking(broker), "g", second)).toBe(Errors.UNKNOWN_MEMBER_ID);
  });

  test("a commit of a member that was put out is refused, and not made", async () => {
    await using broker = await faulty(always("rebalance"));
    await withCoordinator(broker, 0, "g");
    const client = broker.client();
    const { memberId, generationId } = await join(client, "g");
    const topicId = (await looking(broker).topic("t")).id;
    const answer = await client.request(
      "any",
      ApiKey.OffsetCommit,
      filled(ApiKey.OffsetCommit, {
        groupId: "g",
        memberId,
        generationIdOrMemberEpoch: generationId,
        topics: [{ name: "t", topicId, partitions: [{ partitionIndex: 0, committedOffset: 5 }] }],
      }),
    );
    expect(errorCodes(answer)).toEqual([Errors.UNKNOWN_MEMBER_ID]);
    const group = { groupId: "g", memberId: null, memberEpoch: -1, topics: null };
    const request = { ...Apis[ApiKey.OffsetFetch].request.empty(), groups: [group] };
    const fetched = await looking(broker).request("any", ApiKey.OffsetFetch, request);
    expect(fetched.groups[0]).toMatchObject({ errorCode: 0, topics: [] });
  });

  test("a member of a KIP-848 group is fenced", async () => {
    await using broker = await faulty(always("rebalance"));
    await withCoordinator(broker, 0, "g");
    const client = broker.client();
    const beat = async (memberEpoch: number, more: object) =>
      client.request(
        "any",
        ApiKey.ConsumerGroupHeartbeat,
        filled(ApiKey.ConsumerGroupHeartbeat, {
          groupId: "g",
          memberId: "KAZxvO0GTXuDQjXjYrpQHA",
          memberEpoch,
          rebalanceTimeoutMs: -1,
          ...more,
        }),
      );
    const joined = await beat(0, { rebalanceTimeoutMs: 10_000, subscribedTopicNames: ["t"], topicPartitions: [] });
    expect(joined.errorCode).toBe(0);
    expect((await beat(joined.memberEpoch, {})).errorCode).toBe(Errors.UNKNOWN_MEMBER_ID);
  });
});

describe("coordinators that move", () => {
  test("answer NOT_COORDINATOR and then know what they knew: members, generation, offsets", async () => {
    await using broker = await faulty(always("coordinatorMove"));
    await withCoordinator(broker, 0, "g");
    const member = await join(looking(broker), "g");
    const client = broker.client();
    expect(await heartbeat(client, "g", member)).toBe(Errors.NOT_COORDINATOR);
    expect(await heartbeat(looking(broker), "g", member)).toBe(Errors.NONE);
    expect(broker.log.some((line) => line.includes("it moved away and back"))).toBe(true);
  });

  test("a transaction's too", async () => {
    await using broker = await faulty(always("coordinatorMove"));
    await withCoordinator(broker, 1, "tx");
    const init = { transactionalId: "tx", transactionTimeoutMs: 10_000, producerId: -1, producerEpoch: -1 };
    const request = { ...init, enable2Pc: false, keepPreparedTxn: false };
    const first = await looking(broker).request("any", ApiKey.InitProducerId, request);
    const moved = await broker.client().request("any", ApiKey.InitProducerId, request);
    expect(moved.errorCode).toBe(Errors.NOT_COORDINATOR);
    const second = await looking(broker).request("any", ApiKey.InitProducerId, request);
    expect(second).toMatchObject({ producerId: first.producerId, producerEpoch: first.producerEpoch + 1 });
  });
});

describe("crashes", () => {
  test("before or after the request, at most so many, and the broker comes back with what it had acknowledged", async () => {
    await using broker = await faulty(always("crash", { atMost: { crash: 6 } }));
    const { port } = broker;
    const expected: string[] = [];
    for (let i = 0; i < 8; i++) {
      const request = await produceRequest(looking(broker), `${i}`);
      const connection = await broker.client().connection("any");
      const outcome = await connection.request(ApiKey.Produce, request).then(
        () => "answered",
        () => broker.faultLog.at(-1)!.what,
      );
      if (outcome === "answered" || outcome.includes("after it was handled")) expected.push(`${i}`);
      expect(await valuesOf(broker)).toEqual(expected);
    }
    expect(broker.faultLog).toHaveLength(6);
    expect(broker.port).toBe(port);
    expect(expected.length).toBeGreaterThan(2);
  });

  test("a broker that the test has stopped stays down", async () => {
    await using broker = await faulty(always("crash", { maxDelayMs: 0 }));
    const request = await produceRequest(looking(broker), "x");
    const connection = await broker.client().connection("any");
    const attempt = connection.request(ApiKey.Produce, request).catch(() => {});
    await broker.crash();
    await broker.stop();
    await attempt;
    await broker.heal();
    expect(
      await broker
        .client()
        .connection("any")
        .then(
          () => "up",
          () => "down",
        ),
    ).toBe("down");
  });
});

describe("a seed", () => {
  /** One request after the other, on one connection at a time, so that two runs have the same requests in one order. */
  const inOrder = async (seed: number): Promise<string> => {
    await using broker = await faulty({ seed, rate: 5, maxDelayMs: 5 });
    await withCoordinator(broker, 0, "g");
    const topicId = (await looking(broker).topic("t")).id;
    const partition = { partition: 0, partitionIndex: 0, fetchOffset: 0, timestamp: -1, committedOffset: 1 };
    const commit = { groupId: "g", generationIdOrMemberEpoch: -1 };
    const requests: ReadonlyArray<readonly [KnownApiKey, object]> = [
      [ApiKey.Produce, await produceRequest(looking(broker), "x")],
      [ApiKey.Fetch, { topics: [{ topic: "", topicId, partitions: [partition] }] }],
      [ApiKey.ListOffsets, { topics: [{ name: "t", partitions: [partition] }] }],
      [ApiKey.OffsetCommit, { ...commit, topics: [{ name: "", topicId, partitions: [partition] }] }],
    ];
    let connection: KafkaConnection | undefined;
    for (let i = 0; i < 80; i++) {
      const [apiKey, fields] = requests[i % requests.length]!;
      while (connection?.isOpen !== true) {
        connection = await broker
          .client()
          .connection("any")
          .catch(() => undefined);
      }
      await connection.request(apiKey, filled(apiKey, fields)).catch(() => {});
    }
    await broker.heal();
    return broker.faultReport();
  };

  test("takes the same decisions for the same requests in the same order", async () => {
    const reports = new Set<string>();
    for (let seed = 1; seed <= 5; seed++) {
      const report = await inOrder(seed);
      expect(await inOrder(seed)).toBe(report);
      expect(report).toStartWith(`faults from seed ${seed}: `);
      reports.add(report);
    }
    expect(reports.size).toBe(5);
    expect([...reports].join()).toContain("the broker killed");
  });

  test.each([1, 2, 3, 4, 5, 6])("%d: an idempotent producer stays exactly right", async (seed) => {
    await using broker = await faulty({ seed, rate: 4, maxDelayMs: 5 });
    const client = broker.client({ retryBackoffMs: 5 });
    const producer = client.producer({ retryBackoffMs: 5 });
    const values = Array.from({ length: 100 }, (_, i) => `${i}`);
    const outcomes = await Promise.all(values.map((value) => producer.send("t", 0, [{ value: utf8(value) }])));
    expect(new Set(outcomes.map(({ type }) => type))).toEqual(new Set(["ok"]));
    await broker.heal();
    expect([broker.faultReport(), await valuesOf(broker)]).toEqual([broker.faultReport(), values]);
    expect(broker.faultLog.length).toBeGreaterThan(0);
  });

  test("says no more after heal", async () => {
    await using broker = await faulty({ seed: 1, kinds: { connectionCut: 1 } });
    await broker.heal();
    const outcome = await broker
      .client()
      .producer()
      .send("t", 0, [{ value: utf8("x") }]);
    expect(outcome).toMatchObject({ type: "ok", attempts: 1 });
    expect(broker.faultLog).toEqual([]);
  });
});
