import { describe, expect, test } from "bun:test";
import { ZERO_UUID } from "../../src/prelude/Types.ts";
import { byName, Cluster, DIRECTORY, newTopic, oneBroker, rules, topicId } from "./Cluster.ts";

const errorOf = (topic: { errorCode: number; errorMessage: string | null } | undefined) => [
  topic?.errorCode,
  topic?.errorMessage,
];

describe("CreateTopics (protocol.md §6, Topics and configs)", () => {
  const refusals: ReadonlyArray<[string, Parameters<typeof newTopic>[0], number, string]> = [
    ["an existing name", { name: "here" }, 36, "Topic 'here' already exists."],
    ["the empty name", { name: "" }, 17, "Topic name is invalid: the empty string is not allowed"],
    ["'.'", { name: "." }, 17, "Topic name is invalid: '.' is not allowed"],
    ["'..'", { name: ".." }, 17, "Topic name is invalid: '..' is not allowed"],
    [
      "250 characters",
      { name: "n".repeat(250) },
      17,
      `Topic name is invalid: the length of '${"n".repeat(250)}' is longer than the max allowed length 249`,
    ],
    [
      "a space",
      { name: "a b" },
      17,
      "Topic name is invalid: 'a b' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'",
    ],
    ["a name that collides", { name: "a_b" }, 17, "Topic 'a_b' collides with existing topic: a.b"],
    [
      "replication factor 3 on one broker",
      { name: "t", replicationFactor: 3 },
      38,
      "Unable to replicate the partition 3 time(s): The target replication factor of 3 cannot be reached because only 1 broker(s) are registered or some brokers have all their log directories cordoned.",
    ],
    [
      "replication factor 0",
      { name: "t", replicationFactor: 0 },
      38,
      "Replication factor must be larger than 0, or -1 to use the default value.",
    ],
    [
      "replication factor -2",
      { name: "t", replicationFactor: -2 },
      38,
      "Replication factor must be larger than 0, or -1 to use the default value.",
    ],
    [
      "0 partitions",
      { name: "t", numPartitions: 0 },
      37,
      "Number of partitions was set to an invalid non-positive value.",
    ],
    [
      "-2 partitions",
      { name: "t", numPartitions: -2 },
      37,
      "Number of partitions was set to an invalid non-positive value.",
    ],
    [
      "an assignment with a partition count",
      { name: "t", numPartitions: 1, assignments: [{ partitionIndex: 0, brokerIds: [1] }] },
      42,
      "A manual partition assignment was specified, but numPartitions was not set to -1.",
    ],
    [
      "an assignment with a replication factor",
      { name: "t", replicationFactor: 1, assignments: [{ partitionIndex: 0, brokerIds: [1] }] },
      42,
      "A manual partition assignment was specified, but replication factor was not set to -1.",
    ],
    [
      "an assignment to an unknown broker",
      { name: "t", assignments: [{ partitionIndex: 0, brokerIds: [9] }] },
      39,
      "The manual partition assignment includes broker 9, but no such broker is registered.",
    ],
    [
      "an assignment with a broker twice",
      { name: "t", assignments: [{ partitionIndex: 0, brokerIds: [1, 1] }] },
      39,
      "The manual partition assignment includes the broker 1 more than once.",
    ],
    [
      "an assignment with a gap",
      { name: "t", assignments: [{ partitionIndex: 1, brokerIds: [1] }] },
      39,
      "partitions should be a consecutive 0-based integer sequence",
    ],
    [
      "an assignment with a partition twice",
      {
        name: "t",
        assignments: [
          { partitionIndex: 0, brokerIds: [1] },
          { partitionIndex: 0, brokerIds: [1] },
        ],
      },
      39,
      "Found multiple manual partition assignments for partition 0",
    ],
    [
      "an empty assignment",
      { name: "t", assignments: [{ partitionIndex: 0, brokerIds: [] }] },
      39,
      "The manual partition assignment includes an empty replica list.",
    ],
    [
      "an unknown config",
      { name: "t", configs: [{ name: "nope", value: "1" }] },
      40,
      "Unknown topic config name: nope",
    ],
    [
      "a config without a value",
      { name: "t", configs: [{ name: "retention.ms", value: null }] },
      40,
      "Null value not supported for topic configs: retention.ms",
    ],
    [
      "the controller's own log",
      { name: "__cluster_metadata" },
      42,
      "Creation of internal topic __cluster_metadata is prohibited.",
    ],
  ];

  for (const [what, topic, code, message] of refusals) {
    test(`${what} is refused with ${code} and Kafka's text, and leaves no record`, () => {
      const cluster = oneBroker();
      cluster.create({ name: "here" }, { name: "a.b" });
      const before = cluster.image;
      const reply = cluster.create(topic);
      expect(reply).toEqual([
        {
          name: topic.name,
          topicId: ZERO_UUID,
          errorCode: code,
          errorMessage: message,
          topicConfigErrorCode: 0,
          numPartitions: -1,
          replicationFactor: -1,
          configs: [],
        },
      ]);
      expect(cluster.image).toBe(before);
    });
  }

  test("249 characters are a name", () => {
    expect(oneBroker().create({ name: "n".repeat(249) })[0]?.errorCode).toBe(0);
  });

  test("#58 counts of -1 are the broker's defaults; configs, counts and id are answered", () => {
    const cluster = oneBroker();
    const [topic] = cluster.ask(
      {
        type: "CreateTopics",
        topics: [
          newTopic({ name: "t", numPartitions: -1, replicationFactor: -1, configs: [{ name: "a.b", value: "c" }] }),
        ],
        validateOnly: false,
        topicIds: [topicId(7)],
        seed: 3,
      },
      { ...rules, defaultNumPartitions: 3 },
    );
    expect(topic).toEqual({
      name: "t",
      topicId: topicId(7),
      errorCode: 0,
      errorMessage: null,
      topicConfigErrorCode: 0,
      numPartitions: 3,
      replicationFactor: 1,
      configs: [{ name: "a.b", value: "c", readOnly: false, configSource: 1, isSensitive: false }],
    });
    expect(cluster.image.topicsByName.get("t")).toEqual({
      name: "t",
      id: topicId(7),
      partitions: Array.from({ length: 3 }, () => ({
        replicas: [1],
        isr: [1],
        removingReplicas: [],
        addingReplicas: [],
        leader: 1,
        leaderEpoch: 0,
        partitionEpoch: 0,
        leaderRecoveryState: 0,
        directories: [DIRECTORY],
        elr: [],
        lastKnownElr: [],
      })),
    });
  });

  test("#58 validate_only makes up an id and changes nothing", () => {
    const cluster = oneBroker();
    const before = cluster.image;
    const [topic] = cluster.ask({
      type: "CreateTopics",
      topics: [newTopic({ name: "t" })],
      validateOnly: true,
      topicIds: [topicId(7)],
      seed: 1,
    });
    expect([topic?.errorCode, topic?.topicId]).toEqual([0, topicId(7)]);
    expect(cluster.image).toBe(before);
  });

  test("#46 a name given twice is answered once with 42 and not created; the others are", () => {
    const cluster = oneBroker();
    const reply = cluster.create({ name: "twice" }, { name: "good" }, { name: "twice" });
    expect(reply.map((topic) => [topic.name, topic.errorCode, topic.errorMessage])).toEqual([
      ["good", 0, null],
      ["twice", 42, "Duplicate topic name."],
    ]);
    expect([...cluster.image.topicsByName.keys()]).toEqual(["good"]);
  });

  test("more than 10,000 partitions in a request: 44 for all of it, nothing is made", () => {
    const cluster = oneBroker();
    const before = cluster.image;
    const reply = cluster.create({ name: "small" }, { name: "huge", numPartitions: 1_000_000 });
    const text = "Excessively large number of partitions per request.";
    expect(reply.map(errorOf)).toEqual([
      [44, text],
      [44, text],
    ]);
    expect(cluster.image).toBe(before);
    expect(cluster.create({ name: "large", numPartitions: 10_000 })[0]?.numPartitions).toBe(10_000);
  });

  test("all brokers fenced: 38", () => {
    const cluster = new Cluster();
    cluster.register(1, { fenced: true });
    expect(errorOf(cluster.create({ name: "t" })[0])).toEqual([
      38,
      "Unable to replicate the partition 1 time(s): All brokers are currently fenced, or have all their log directories cordoned.",
    ]);
  });

  test("a fenced replica is assigned but neither in the ISR nor leader", () => {
    const cluster = oneBroker();
    cluster.register(2, { fenced: true });
    cluster.create({ name: "t", assignments: [{ partitionIndex: 0, brokerIds: [2, 1] }] });
    expect(cluster.image.topicsByName.get("t")?.partitions[0]).toMatchObject({ replicas: [2, 1], isr: [1], leader: 1 });
  });
});

describe("DeleteTopics", () => {
  test("by name and by id; config overrides go with the topic and the name is free again", () => {
    const cluster = oneBroker();
    cluster.create({ name: "a_b", configs: [{ name: "x.y", value: "1" }] }, { name: "other" });
    const id = cluster.image.topicsByName.get("a_b")?.id ?? "";
    expect(cluster.ask({ type: "DeleteTopics", topics: [{ name: null, topicId: id }, byName("other")] })).toEqual([
      { name: "a_b", topicId: id, errorCode: 0, errorMessage: null },
      { name: "other", topicId: expect.any(String), errorCode: 0, errorMessage: null },
    ]);
    expect(cluster.image.topicsByName.size).toBe(0);
    expect(cluster.image.topicsById.size).toBe(0);
    expect([...cluster.image.configs.keys()].filter((key) => key.startsWith("2/"))).toEqual([]);
    expect(cluster.create({ name: "a.b" })[0]?.errorCode).toBe(0);
  });

  test("unknown name 3, unknown id 100, zero id 42, name and id 42, twice one 42; nothing is deleted", () => {
    const cluster = oneBroker();
    cluster.create({ name: "t" });
    const before = cluster.image;
    const id = before.topicsByName.get("t")?.id ?? "";
    const reply = cluster.ask({
      type: "DeleteTopics",
      topics: [
        byName("nope"),
        { name: null, topicId: topicId(99) },
        { name: null, topicId: ZERO_UUID },
        { name: "t", topicId: id },
        byName("t"),
        byName("t"),
      ],
    });
    expect(reply.map((topic) => [topic.name, topic.topicId, ...errorOf(topic)])).toEqual([
      [null, ZERO_UUID, 42, "Neither topic name nor id were specified."],
      ["t", id, 42, "You may not specify both topic name and topic id."],
      [null, topicId(99), 100, "This server does not host this topic ID."],
      ["nope", ZERO_UUID, 3, "This server does not host this topic-partition."],
      ["t", ZERO_UUID, 42, "Duplicate topic name."],
    ]);
    expect(cluster.image).toBe(before);
  });

  test("the same topic by name and by id is deleted neither way", () => {
    const cluster = oneBroker();
    cluster.create({ name: "t" });
    const id = cluster.image.topicsByName.get("t")?.id ?? "";
    const reply = cluster.ask({ type: "DeleteTopics", topics: [byName("t"), { name: null, topicId: id }] });
    expect(reply).toEqual([
      {
        name: "t",
        topicId: id,
        errorCode: 42,
        errorMessage: "The provided topic name maps to an ID that was already supplied.",
      },
    ]);
    expect(cluster.image.topicsByName.has("t")).toBe(true);
  });
});

describe("CreatePartitions", () => {
  const grow = (cluster: Cluster, topics: Array<{ name: string; count: number; assignments?: number[][] }>) =>
    cluster.ask({
      type: "CreatePartitions",
      topics: topics.map(({ name, count, assignments }) => ({
        name,
        count,
        assignments: assignments === undefined ? null : assignments.map((brokerIds) => ({ brokerIds })),
      })),
      validateOnly: false,
      seed: 1,
    });

  test("#46 every topic is answered, each fails alone", () => {
    const cluster = oneBroker();
    cluster.create({ name: "t", numPartitions: 2 }, { name: "u" });
    const reply = grow(cluster, [
      { name: "t", count: 2 },
      { name: "u", count: 4 },
      { name: "nope", count: 4 },
    ]);
    expect(reply).toEqual([
      { name: "t", errorCode: 37, errorMessage: "Topic already has 2 partition(s)." },
      { name: "u", errorCode: 0, errorMessage: null },
      { name: "nope", errorCode: 3, errorMessage: null },
    ]);
    expect(cluster.image.topicsByName.get("u")?.partitions.length).toBe(4);
  });

  test("fewer partitions 37, wrong number of assignments 39, given twice one 42", () => {
    const cluster = oneBroker();
    cluster.create({ name: "t", numPartitions: 2 }, { name: "u" }, { name: "v" });
    const reply = grow(cluster, [
      { name: "t", count: 1 },
      { name: "u", count: 3, assignments: [[1]] },
      { name: "v", count: 3 },
      { name: "v", count: 4 },
    ]);
    expect(reply).toEqual([
      { name: "v", errorCode: 42, errorMessage: "Duplicate topic name." },
      {
        name: "t",
        errorCode: 37,
        errorMessage: "The topic t currently has 2 partition(s); 1 would not be an increase.",
      },
      {
        name: "u",
        errorCode: 39,
        errorMessage: "Attempted to add 2 additional partition(s), but only 1 assignment(s) were specified.",
      },
    ]);
    expect(cluster.image.topicsByName.get("v")?.partitions.length).toBe(1);
  });

  test("an assignment is taken as given", () => {
    const cluster = oneBroker();
    cluster.register(2);
    cluster.create({ name: "t" });
    expect(grow(cluster, [{ name: "t", count: 2, assignments: [[2]] }])[0]?.errorCode).toBe(0);
    expect(cluster.image.topicsByName.get("t")?.partitions[1]).toMatchObject({ replicas: [2], leader: 2 });
  });

  test("a partition count without end is refused, not made", () => {
    const cluster = oneBroker();
    cluster.create({ name: "t" });
    expect(grow(cluster, [{ name: "t", count: 2_000_000_000 }])[0]?.errorCode).toBe(44);
  });
});
