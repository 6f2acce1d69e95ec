/** Requests about classic groups, as short calls: a group is named, its coordinator found, a member joins and syncs. */
import type { Fields } from "./Definitions.ts";
import { sleep } from "./Process.ts";
import { numberAt, textAt } from "./Tree.ts";
import type { Wire } from "./Wire.ts";

const SESSION_MS = 10_000;

/** Asks until the group has a coordinator (Kafka's first answer is 15 while it makes the internal topic). */
export const coordinated = async (wire: Wire, group: string): Promise<void> => {
  for (let attempt = 0; attempt < 200; attempt++) {
    const found = await wire.call("FindCoordinator", 3, { key: group, keyType: 0 });
    if (numberAt(found, "errorCode") === 0) {
      const listed = await wire.call("DescribeGroups", 5, { groups: [group] });
      if (numberAt(listed, "groups.0.errorCode") === 0) return;
    }
    await sleep(50);
  }
  throw new Error(`${group} has no coordinator after 10 s`);
};

/** The consumers' embedded subscription, version 0. */
export const subscription = (...topics: string[]): Buffer => {
  const parts = [Buffer.from([0, 0]), Buffer.alloc(4)];
  parts[1]!.writeInt32BE(topics.length);
  for (const topic of topics) {
    const size = Buffer.alloc(2);
    size.writeInt16BE(topic.length);
    parts.push(size, Buffer.from(topic));
  }
  return Buffer.concat([...parts, Buffer.from([0xff, 0xff, 0xff, 0xff])]);
};

export interface JoinOptions {
  readonly memberId?: string;
  readonly instance?: string;
  readonly session?: number;
  readonly type?: string;
  readonly protocols?: readonly string[];
  readonly metadata?: Uint8Array;
  /** What it assigns to itself. */
  readonly assignment?: Uint8Array;
  readonly version?: number;
}

export const joinBody = (group: string, options: JoinOptions = {}): Fields => {
  const version = options.version ?? 9;
  return {
    groupId: group,
    sessionTimeoutMs: options.session ?? SESSION_MS,
    ...(version >= 1 ? { rebalanceTimeoutMs: SESSION_MS } : {}),
    memberId: options.memberId ?? "",
    ...(version >= 5 ? { groupInstanceId: options.instance ?? null } : {}),
    protocolType: options.type ?? "consumer",
    protocols: (options.protocols ?? ["range"]).map((name) => ({
      name,
      metadata: options.metadata ?? subscription("t"),
    })),
  };
};

export const join = (wire: Wire, group: string, options: JoinOptions = {}): Promise<Fields> =>
  wire.call("JoinGroup", options.version ?? 9, joinBody(group, options));

export interface Member {
  readonly memberId: string;
  readonly generation: number;
}

/** Joins a group alone, as its leader, and syncs. */
export const stableMember = async (wire: Wire, group: string, options: JoinOptions = {}): Promise<Member> => {
  await coordinated(wire, group);
  let answer = await join(wire, group, options);
  if (numberAt(answer, "errorCode") === 79) {
    answer = await join(wire, group, { ...options, memberId: textAt(answer, "memberId") });
  }
  const memberId = textAt(answer, "memberId");
  const generation = numberAt(answer, "generationId");
  const assignment = options.assignment ?? Buffer.from("mine");
  await sync(wire, group, { memberId, generation }, [{ memberId, assignment }], options.instance);
  return { memberId, generation };
};

export const sync = (
  wire: Wire,
  group: string,
  { memberId, generation }: Member,
  assignments: Fields[] = [],
  instance?: string,
): Promise<Fields> =>
  wire.call("SyncGroup", 5, {
    groupId: group,
    generationId: generation,
    memberId,
    groupInstanceId: instance ?? null,
    protocolType: "consumer",
    protocolName: "range",
    assignments,
  });

export const heartbeat = async (
  wire: Wire,
  group: string,
  { memberId, generation }: Member,
  instance?: string,
): Promise<number> => {
  const body = { groupId: group, generationId: generation, memberId, groupInstanceId: instance ?? null };
  return numberAt(await wire.call("Heartbeat", 4, body), "errorCode");
};

export interface CommitOptions {
  readonly memberId?: string;
  readonly generation?: number;
  readonly partition?: number;
  readonly metadata?: string | null;
  readonly version?: number;
}

/** Commits one offset; the partition's error code. */
export const commit = async (
  wire: Wire,
  group: string,
  topic: string,
  offset: number,
  options: CommitOptions = {},
): Promise<number> => {
  const answer = await wire.call("OffsetCommit", options.version ?? 9, {
    groupId: group,
    generationIdOrMemberEpoch: options.generation ?? -1,
    memberId: options.memberId ?? "",
    topics: [
      {
        name: topic,
        partitions: [
          {
            partitionIndex: options.partition ?? 0,
            committedOffset: offset,
            committedLeaderEpoch: 0,
            committedMetadata: options.metadata === undefined ? "" : options.metadata,
          },
        ],
      },
    ],
  });
  return numberAt(answer, "topics.0.partitions.0.errorCode");
};

/** One group's OffsetFetch v8; topics null: all. */
export const fetchOffsets = (wire: Wire, group: string, topic: string | null, partitions = [0]): Promise<Fields> =>
  wire.call("OffsetFetch", 8, {
    groups: [{ groupId: group, topics: topic === null ? null : [{ name: topic, partitionIndexes: partitions }] }],
    requireStable: false,
  });
