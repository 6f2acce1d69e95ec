/**
 * What consumer groups cost the broker: from the last of 50 members to a stable group in both protocols, commits a second, and the
 * memory of a thousand idle groups. The members are requests made here, the same for both brokers, each on a connection of its own
 * and each answered at once, so that no client's heartbeat interval is measured.
 */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { AdminClient } from "../../../actors/AdminClient.ts";
import { makeBunPlatform } from "../../../src/platform/BunPlatform.ts";
import { ByteWriter } from "../../../src/prelude/ByteWriter.ts";
import type { Uuid } from "../../../src/prelude/Types.ts";
import { ApiKey, Apis, type RequestOf, type ResponseOf } from "../../../src/protocol/ApiKeys.ts";
import { Errors, errorName } from "../../../src/protocol/Errors.ts";
import { encodeRequestHeader } from "../../../src/protocol/RequestHeader.ts";
import type { Broker } from "../../../test/conformance/support/Brokers.ts";
import { figure, load, type MeasureGroup, status } from "../Measures.ts";

const MEMBERS = 50;
const GROUPS = 1000;
const SESSION_MS = 300_000;
const REBALANCE_MS = 60_000;
/** Of the commits that are counted: no member, offset 1 of t-0. */
const COMMIT_VERSION = 8;

const expectNone = (error: number, what: string): void => {
  if (error !== Errors.NONE) throw new Error(`${what}: ${errorName(error)}`);
};

/** The consumers' embedded subscription, version 0. */
const subscription = (topic: string): Uint8Array => {
  const writer = new ByteWriter();
  writer.int16(0);
  writer.int32(1);
  writer.string(topic);
  writer.nullableByteField(null);
  return writer.toBytes();
};

/** Waits until the group's coordinator is there and has read its log; Kafka names it before. */
const ready = async (admin: AdminClient, groupId: string): Promise<void> => {
  const node = await admin.coordinator("group", groupId);
  await admin.retried(
    () => admin.ask(node, ApiKey.OffsetFetch, { groups: [{ groupId, memberId: null, memberEpoch: -1, topics: null }] }),
    ({ groups }) => groups[0]!.errorCode,
  );
};

/** Newer versions name the topic by its id. */
interface Topic {
  readonly name: string;
  readonly id: Uuid;
}

/** A member of a classic group. */
class ClassicMember {
  private memberId = "";
  private generationId = -1;
  private leads: ReadonlyArray<string> = [];

  constructor(
    private readonly admin: AdminClient,
    private readonly groupId: string,
    private readonly topic: string,
    private readonly purpose: string,
  ) {}

  /** Takes an id, so that the join that counts is one request. */
  async introduce(): Promise<void> {
    this.memberId = (await this.ask()).memberId;
  }

  /** Answered when everybody has joined. */
  async join(): Promise<void> {
    if (this.memberId === "") await this.introduce();
    const answer = await this.ask();
    expectNone(answer.errorCode, "JoinGroup");
    this.generationId = answer.generationId;
    this.leads = answer.leader === answer.memberId ? answer.members.map(({ memberId }) => memberId) : [];
  }

  private ask(): Promise<ResponseOf<typeof ApiKey.JoinGroup>> {
    const { groupId, memberId, topic, purpose } = this;
    const protocols = [{ name: "range", metadata: subscription(topic) }];
    const times = { sessionTimeoutMs: SESSION_MS, rebalanceTimeoutMs: REBALANCE_MS };
    const request = { groupId, ...times, memberId, protocolType: "consumer", protocols };
    return this.admin.ask("any", ApiKey.JoinGroup, request, purpose);
  }

  async sync(): Promise<void> {
    const { groupId, generationId, memberId, purpose } = this;
    const assignments = this.leads.map((each) => ({ memberId: each, assignment: Uint8Array.of(0, 0, 0, 0, 0, 0) }));
    const request = {
      groupId,
      generationId,
      memberId,
      protocolType: "consumer",
      protocolName: "range",
      assignments,
    };
    expectNone((await this.admin.ask("any", ApiKey.SyncGroup, request, purpose)).errorCode, "SyncGroup");
  }
}

const joinedAndSynced = (members: ReadonlyArray<ClassicMember>): Promise<unknown> =>
  Promise.all(members.map((member) => member.join().then(() => member.sync())));

/** Everybody but one has joined again and waits; from that one's join to the last assignment. */
const classicRebalance = async (admin: AdminClient, topic: Topic, groupId: string): Promise<number> => {
  await ready(admin, groupId);
  const members = Array.from(
    { length: MEMBERS },
    (_, index) => new ClassicMember(admin, groupId, topic.name, `member ${index}`),
  );
  await joinedAndSynced(members.slice(0, 1));
  for (const member of members.slice(1)) await member.introduce();
  const others = joinedAndSynced(members.slice(1));
  // Theirs are all there once the broker has answered something that was asked behind them.
  for (const index of members.keys()) await admin.ask("any", ApiKey.ListGroups, {}, `after ${index % 4}`);
  await admin.client.sleep(200);
  const began = performance.now();
  await Promise.all([others, joinedAndSynced(members.slice(0, 1))]);
  return performance.now() - began;
};

/** A member of a KIP-848 group. */
class ConsumerMember {
  private epoch = 0;
  private owned: ReadonlyArray<number> = [];
  /** Whether the last answer left nothing to do. */
  settled = false;

  constructor(
    private readonly admin: AdminClient,
    private readonly groupId: string,
    private readonly topic: Topic,
    private readonly memberId: string,
  ) {}

  get partitions(): number {
    return this.owned.length;
  }

  /** Says what it owns; whatever it is told to own it owns at once. */
  async beat(): Promise<void> {
    const { groupId, memberId, epoch, topic, owned } = this;
    const request: Partial<RequestOf<typeof ApiKey.ConsumerGroupHeartbeat>> = {
      groupId,
      memberId,
      memberEpoch: epoch,
      rebalanceTimeoutMs: REBALANCE_MS,
      ...(epoch === 0 ? { subscribedTopicNames: [topic.name] } : {}),
      topicPartitions: owned.length === 0 ? [] : [{ topicId: topic.id, partitions: [...owned] }],
    };
    const answer = await this.admin.ask("any", ApiKey.ConsumerGroupHeartbeat, request, memberId);
    expectNone(answer.errorCode, "ConsumerGroupHeartbeat");
    this.settled = answer.memberEpoch === epoch && answer.assignment === null;
    this.epoch = answer.memberEpoch;
    if (answer.assignment !== null) this.owned = answer.assignment.topicPartitions.flatMap((each) => each.partitions);
  }
}

/** All beat until nobody is told anything new and every partition has its owner. */
const settled = async (members: ReadonlyArray<ConsumerMember>): Promise<void> => {
  for (;;) {
    await Promise.all(members.map((member) => member.beat()));
    const owned = members.reduce((sum, { partitions }) => sum + partitions, 0);
    if (members.every((member) => member.settled) && owned === MEMBERS) return;
  }
};

const consumerRebalance = async (admin: AdminClient, topic: Topic, groupId: string): Promise<number> => {
  await ready(admin, groupId);
  const members = Array.from(
    { length: MEMBERS },
    (_, index) => new ConsumerMember(admin, groupId, topic, `${groupId}-${index}`),
  );
  await settled(members.slice(0, -1));
  const began = performance.now();
  await settled(members);
  return performance.now() - began;
};

const commitOf = (groupId: string, { name, id: topicId }: Topic): RequestOf<typeof ApiKey.OffsetCommit> => ({
  ...Apis[ApiKey.OffsetCommit].request.empty(),
  groupId,
  generationIdOrMemberEpoch: -1,
  topics: [
    {
      name,
      topicId,
      partitions: [{ partitionIndex: 0, committedOffset: 1, committedLeaderEpoch: -1, committedMetadata: "" }],
    },
  ],
});

const commit = async (admin: AdminClient, groupId: string, topic: Topic, purpose?: string): Promise<void> => {
  const answer = await admin.ask("any", ApiKey.OffsetCommit, commitOf(groupId, topic), purpose);
  expectNone(answer.topics[0]!.partitions[0]!.errorCode, "OffsetCommit");
};

/** A frame with its size, as `load repeat` sends it. */
const commitFrame = (groupId: string, topic: Topic): Uint8Array => {
  const writer = new ByteWriter();
  writer.int32(0);
  encodeRequestHeader(writer, {
    apiKey: ApiKey.OffsetCommit,
    apiVersion: COMMIT_VERSION,
    correlationId: 1,
    clientId: "bench",
  });
  Apis[ApiKey.OffsetCommit].request.encode(writer, commitOf(groupId, topic), COMMIT_VERSION);
  const bytes = writer.toBytes();
  new DataView(bytes.buffer, bytes.byteOffset).setInt32(0, bytes.length - 4);
  return bytes;
};

const commitsPerSecond = async (
  { address }: Broker,
  program: string,
  frame: Uint8Array,
  connections: number,
  count: number,
): Promise<number> => {
  const directory = await mkdtemp(join(tmpdir(), "odradek-bench-frame-"));
  try {
    const file = join(directory, "commit");
    await writeFile(file, frame);
    return figure(await load(program, ["repeat", address, file, `${connections}`, `${count}`]), "perSecond");
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
};

/** A group with one member and a commit, that nothing is heard of afterwards. */
const idleGroup = async (admin: AdminClient, groupId: string, topic: Topic, purpose: string): Promise<void> => {
  await commit(admin, groupId, topic, purpose);
  const member = new ClassicMember(admin, groupId, topic.name, purpose);
  await member.join();
  await member.sync();
};

export const consumerGroups: MeasureGroup = {
  name: "groups",
  measures: {
    classicStable: { name: `the last of ${MEMBERS} members to a stable group, classic`, unit: "ms", better: "less" },
    consumerStable: { name: `the last of ${MEMBERS} members to a stable group, KIP-848`, unit: "ms", better: "less" },
    commits1: { name: "commits, 1 connection", unit: "commits/s", better: "more" },
    commits50: { name: "commits, 50 connections", unit: "commits/s", better: "more" },
    idleGroups: {
      name: `memory of ${GROUPS.toLocaleString("en-US")} idle groups, anonymous`,
      unit: "MiB",
      better: "less",
    },
  },
  own: {
    // Kafka's groups of either protocol wait for more members or more changes otherwise.
    "group.initial.rebalance.delay.ms": "0",
    "group.consumer.assignment.interval.ms": "0",
    "group.max.session.timeout.ms": "1800000",
  },
  async measure({ kind, broker, program, scale, add, say }) {
    const admin = new AdminClient(makeBunPlatform(), [{ host: broker.host, port: broker.port }]);
    const topic = await admin.client.createTopic("t", { partitions: MEMBERS });
    // Twice: the first group warms up either side.
    for (const key of ["warm", "classicStable"]) {
      const took = await classicRebalance(admin, topic, key);
      if (key !== "warm") add(key, took);
    }
    for (const key of ["warm848", "consumerStable"]) {
      const took = await consumerRebalance(admin, topic, key);
      if (key !== "warm848") add(key, took);
    }
    await ready(admin, "commits");
    await commit(admin, "commits", topic);
    for (const [key, connections, count] of [
      ["commits1", 1, 10_000],
      ["commits50", 50, 100_000],
    ] as const) {
      const rate = await commitsPerSecond(broker, program, commitFrame("commits", topic), connections, count / scale);
      add(key, rate);
      say(`${kind} ${key}: ${rate.toFixed(0)} commits/s`);
    }
    const before = status(broker.pid, "RssAnon");
    for (let first = 0; first < GROUPS; first += 20) {
      await Promise.all(
        Array.from({ length: 20 }, (_, index) => idleGroup(admin, `idle-${first + index}`, topic, `idle ${index}`)),
      );
    }
    add("idleGroups", status(broker.pid, "RssAnon") - before);
    admin.close();
  },
};
