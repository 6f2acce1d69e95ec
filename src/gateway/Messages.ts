/**
 * The frames of the stream protocol (PROTOCOL.md) as types, shared by the gateway and the stream client, which bundles
 * for a browser: no imports, no code but constants. What must stay true: PROTOCOL.md says the same; a field is added as
 * optional or not at all, because old clients ignore what they do not know and old servers too.
 */

/** The WebSocket subprotocol, and the prefix under which a token may travel as another one. */
export const SUBPROTOCOL = "odradek.v1";
export const BEARER_SUBPROTOCOL = "odradek.bearer.";

/** Close codes that are ours or that a client must tell apart. */
export const CloseCode = {
  NORMAL: 1000,
  GOING_AWAY: 1001,
  PROTOCOL_ERROR: 1002,
  TEXT: 1003,
  ABNORMAL: 1006,
  MALFORMED: 1007,
  REFUSED: 1008,
  TOO_LARGE: 1009,
  RESTART: 1012,
  OVERLOADED: 1013,
  UNAUTHENTICATED: 4401,
  NO_SIGN_OF_LIFE: 4408,
  SLOW_READER: 4409,
} as const;

/** What a delivered record costs beside its bytes. */
export const RECORD_OVERHEAD_BYTES = 16;

export type Bytes = Uint8Array | null;
export type WireHeaders = ReadonlyArray<readonly [name: string, value: Bytes]>;
export type DeliveredRecord =
  | readonly [offset: number, timestamp: number, key: Bytes, value: Bytes]
  | readonly [offset: number, timestamp: number, key: Bytes, value: Bytes, headers: WireHeaders];
export type ProducedRecord =
  | readonly [key: Bytes, value: Bytes]
  | readonly [key: Bytes, value: Bytes, headers: WireHeaders | null]
  | readonly [key: Bytes, value: Bytes, headers: WireHeaders | null, timestamp: number];

export interface Position {
  readonly offset: number;
  /** -1: unknown. */
  readonly leaderEpoch: number;
  /** Kafka's text form. */
  readonly topicId: string;
}

export interface WireError {
  readonly code: number;
  readonly name: string;
  readonly message: string;
  readonly retriable: boolean;
}

export interface TopicPartition {
  readonly topic: string;
  readonly partition: number;
}

export type From =
  | "earliest"
  | "latest"
  | { readonly offset: number }
  | { readonly timestamp: number }
  /** A position: the topic id must be given. */
  | Position;

export interface PartitionFrom extends TopicPartition {
  readonly from: From;
}

export interface PartitionAt extends TopicPartition {
  readonly position: Position;
}

export interface Credit {
  readonly records: number;
  readonly bytes: number;
}

export type Isolation = "read_committed" | "read_uncommitted";

export interface ProducerIdentity {
  readonly id: number;
  readonly epoch: number;
}

export interface OffsetToCommit extends TopicPartition {
  readonly offset: number;
  readonly leaderEpoch?: number;
  readonly metadata?: string | null;
}

export interface PartitionOutcome extends TopicPartition {
  readonly error?: WireError;
}

export interface Limits {
  readonly frameBytes: number;
  readonly streams: number;
  /** Of all streams together. Of servers of this version. */
  readonly partitions?: number;
  readonly requests: number;
  readonly creditRecords: number;
  readonly creditBytes: number;
}

export interface StreamOptions {
  readonly stream: number;
  /** Default `read_committed`. */
  readonly isolation?: Isolation;
  /** Default false. */
  readonly raw?: boolean;
  readonly credit: Credit;
}

export interface GroupMembership {
  readonly id: string;
  readonly memberId: string;
  /** Of a member that comes back; absent or 0: joins. */
  readonly memberEpoch?: number;
  readonly instanceId?: string;
  readonly topics?: ReadonlyArray<string>;
  readonly regex?: string;
  readonly assignor?: string;
  readonly rebalanceTimeoutMs?: number;
  /** Of a member that comes back: what it had, and where it was. */
  readonly owned?: ReadonlyArray<PartitionAt>;
}

/** Without a `transactionalId`: KIP-447's group metadata is all that fences. */
export interface GroupIdentity {
  readonly id: string;
  readonly memberId?: string;
  readonly memberEpoch?: number;
  readonly instanceId?: string;
}

/** Requests by type: what the client sends beside `t` and `id`, and what the `ok` holds beside them. */
export interface Requests {
  readonly hello: {
    readonly request: { readonly client: { readonly name: string; readonly version: string }; readonly token?: string };
    readonly answer: {
      readonly server: { readonly name: string; readonly version: string };
      readonly clusterId: string;
      readonly nodeId: number;
      readonly heartbeatMs: number;
      readonly limits: Limits;
    };
  };
  readonly open: {
    readonly request: StreamOptions &
      (
        | { readonly partitions: ReadonlyArray<PartitionFrom> }
        | { readonly group: GroupMembership; readonly from: "earliest" | "latest" | "none" }
      );
    readonly answer: { readonly partitions: ReadonlyArray<PartitionAt>; readonly memberId?: string };
  };
  readonly assign: {
    readonly request: {
      readonly stream: number;
      readonly add: ReadonlyArray<PartitionFrom>;
      readonly remove: ReadonlyArray<TopicPartition>;
    };
    readonly answer: { readonly partitions: ReadonlyArray<PartitionAt> };
  };
  readonly seek: {
    readonly request: { readonly stream: number; readonly partitions: ReadonlyArray<PartitionFrom> };
    readonly answer: { readonly partitions: ReadonlyArray<PartitionAt> };
  };
  readonly close: { readonly request: { readonly stream: number }; readonly answer: object };
  readonly commit: {
    readonly request: { readonly stream: number; readonly offsets: ReadonlyArray<OffsetToCommit> };
    readonly answer: { readonly partitions: ReadonlyArray<PartitionOutcome> };
  };
  readonly produce: {
    readonly request: TopicPartition & {
      /** Default -1. */
      readonly acks?: -1 | 0 | 1;
      readonly timeoutMs?: number;
      readonly transactionalId?: string;
    } & (
        | {
            readonly records: ReadonlyArray<ProducedRecord>;
            readonly producer?: ProducerIdentity & { readonly sequence: number };
          }
        | { readonly batch: Uint8Array }
      );
    readonly answer: { readonly offset: number; readonly timestamp: number; readonly logStartOffset: number };
  };
  readonly initProducer: {
    readonly request: {
      readonly transactionalId?: string;
      readonly transactionTimeoutMs?: number;
      readonly producer?: ProducerIdentity;
    };
    readonly answer: { readonly producer: ProducerIdentity };
  };
  readonly txnOffsets: {
    readonly request: {
      readonly transactionalId: string;
      readonly producer: ProducerIdentity;
      readonly group: GroupIdentity;
      readonly offsets: ReadonlyArray<OffsetToCommit>;
    };
    readonly answer: { readonly partitions: ReadonlyArray<PartitionOutcome> };
  };
  readonly endTxn: {
    readonly request: {
      readonly transactionalId: string;
      readonly producer: ProducerIdentity;
      readonly commit: boolean;
    };
    readonly answer: { readonly producer: ProducerIdentity };
  };
  readonly call: {
    readonly request: { readonly verb: string; readonly body: object };
    readonly answer: { readonly body: unknown };
  };
}

/** Where an offset is looked up: the first, the end, the record with the newest timestamp, or the first at or after one. */
export type OffsetQuery = "earliest" | "latest" | "maxTimestamp" | { readonly timestamp: number };

export interface TopicSummary {
  readonly name: string;
  readonly topicId: string;
  readonly internal: boolean;
  /** How many. */
  readonly partitions: number;
}

/** Of a topic that was asked for by name: what is known of it, or why nothing is. */
export type TopicDescription =
  | {
      readonly name: string;
      readonly topicId: string;
      readonly internal: boolean;
      readonly partitions: ReadonlyArray<{
        readonly partition: number;
        readonly leader: number;
        readonly leaderEpoch: number;
        readonly replicas: ReadonlyArray<number>;
        readonly isr: ReadonlyArray<number>;
      }>;
    }
  | { readonly name: string; readonly error: WireError };

export interface NewTopic {
  readonly name: string;
  /** Default: the broker's `num.partitions` and `default.replication.factor`. */
  readonly partitions?: number;
  readonly replicationFactor?: number;
  readonly configs?: Readonly<Record<string, string>>;
}

export interface GroupDescription {
  readonly id: string;
  readonly state: string;
  /** `consumer` (KIP-848) or `classic`. */
  readonly type: string;
  readonly epoch: number;
  readonly assignor: string;
  readonly members: ReadonlyArray<{
    readonly memberId: string;
    readonly instanceId: string | null;
    readonly clientId: string;
    readonly host: string;
    readonly assignment: ReadonlyArray<TopicPartition>;
  }>;
}

/** The verbs of `call`, each with its body and the answer's. The HTTP API has the same ones as JSON. */
export interface Verbs {
  readonly "topics.list": { readonly body: object; readonly answer: { readonly topics: ReadonlyArray<TopicSummary> } };
  readonly "topics.describe": {
    /** `create`: missing ones are made as for Kafka's producers, where `auto.create.topics.enable` allows it. */
    readonly body: { readonly topics: ReadonlyArray<string>; readonly create?: boolean };
    readonly answer: { readonly topics: ReadonlyArray<TopicDescription> };
  };
  readonly "topics.create": {
    readonly body: { readonly topics: ReadonlyArray<NewTopic>; readonly validateOnly?: boolean };
    readonly answer: {
      readonly topics: ReadonlyArray<
        | { readonly name: string; readonly topicId: string; readonly partitions: number }
        | { readonly name: string; readonly error: WireError }
      >;
    };
  };
  readonly "topics.delete": {
    readonly body: { readonly topics: ReadonlyArray<string> };
    readonly answer: { readonly topics: ReadonlyArray<{ readonly name: string; readonly error?: WireError }> };
  };
  readonly "offsets.list": {
    readonly body: {
      readonly partitions: ReadonlyArray<TopicPartition & { readonly at: OffsetQuery }>;
      /** Default `read_committed`: `latest` is the last stable offset. */
      readonly isolation?: Isolation;
    };
    readonly answer: {
      readonly partitions: ReadonlyArray<
        TopicPartition &
          (
            | { readonly offset: number; readonly timestamp: number; readonly leaderEpoch: number }
            | { readonly error: WireError }
          )
      >;
    };
  };
  readonly "groups.list": {
    readonly body: { readonly states?: ReadonlyArray<string>; readonly types?: ReadonlyArray<string> };
    readonly answer: {
      readonly groups: ReadonlyArray<{ readonly id: string; readonly state: string; readonly type: string }>;
    };
  };
  readonly "groups.describe": {
    readonly body: { readonly groups: ReadonlyArray<string> };
    readonly answer: {
      readonly groups: ReadonlyArray<GroupDescription | { readonly id: string; readonly error: WireError }>;
    };
  };
  readonly "groups.delete": {
    readonly body: { readonly groups: ReadonlyArray<string> };
    readonly answer: { readonly groups: ReadonlyArray<{ readonly id: string; readonly error?: WireError }> };
  };
  readonly "groups.offsets": {
    /** Without `partitions`: all that the group has committed. */
    readonly body: { readonly group: string; readonly partitions?: ReadonlyArray<TopicPartition> };
    readonly answer: {
      readonly partitions: ReadonlyArray<
        TopicPartition &
          (
            | { readonly offset: number; readonly leaderEpoch: number; readonly metadata: string | null }
            | { readonly error: WireError }
          )
      >;
    };
  };
  readonly "groups.commit": {
    /** For groups without members, as an admin resets offsets. */
    readonly body: { readonly group: string; readonly offsets: ReadonlyArray<OffsetToCommit> };
    readonly answer: { readonly partitions: ReadonlyArray<PartitionOutcome> };
  };
  readonly "records.fetch": {
    readonly body: {
      readonly partitions: ReadonlyArray<PartitionFrom>;
      readonly isolation?: Isolation;
      readonly maxBytes?: number;
      readonly maxWaitMs?: number;
    };
    readonly answer: {
      /** `position` is where to go on. */
      readonly partitions: ReadonlyArray<
        | (PartitionAt & {
            readonly records: ReadonlyArray<DeliveredRecord>;
            readonly highWatermark: number;
            readonly lastStableOffset: number;
            readonly logStartOffset: number;
          })
        | (TopicPartition & { readonly error: WireError })
      >;
    };
  };
}

export type Verb = keyof Verbs;

export type RequestType = keyof Requests;
export type RequestFrame<T extends RequestType = RequestType> = {
  readonly [K in T]: { readonly t: K; readonly id: number } & Requests[K]["request"];
}[T];

/** What a client sends without expecting an answer. */
export type ClientNote =
  | { readonly t: "credit"; readonly stream: number; readonly records: number; readonly bytes: number }
  | { readonly t: "release"; readonly stream: number; readonly partitions: ReadonlyArray<TopicPartition> }
  | Heartbeat;

export type Heartbeat = { readonly t: "ping" | "pong"; readonly n: number };

export type ClientFrame = RequestFrame | ClientNote;

export interface DeliveredBatch extends TopicPartition {
  /** Or `raw`, when the stream asked for that. */
  readonly records?: ReadonlyArray<DeliveredRecord>;
  readonly raw?: Uint8Array;
  /** Where the partition goes on behind this batch: offset and leader epoch. */
  readonly next: readonly [offset: number, leaderEpoch: number];
  readonly highWatermark: number;
  readonly lastStableOffset: number;
  readonly logStartOffset: number;
}

/** What the server says of a stream without being asked. */
export type StreamPush = { readonly stream: number } & (
  | { readonly t: "records"; readonly batches: ReadonlyArray<DeliveredBatch> }
  | ({ readonly t: "starved" } & Credit)
  | ({
      readonly t: "outOfRange";
      readonly offset: number;
      readonly logStartOffset: number;
      readonly highWatermark: number;
      readonly error: WireError;
    } & TopicPartition)
  | ({ readonly t: "diverged" } & PartitionAt)
  | ({ readonly t: "partitionError"; readonly error: WireError } & TopicPartition)
  | { readonly t: "closed"; readonly error: WireError }
  | {
      readonly t: "assigned";
      readonly memberEpoch: number;
      readonly partitions: ReadonlyArray<PartitionAt & { readonly committed: boolean }>;
    }
  | {
      readonly t: "revoke";
      readonly memberEpoch: number;
      readonly partitions: ReadonlyArray<TopicPartition>;
      readonly withinMs: number;
    }
  | { readonly t: "lost"; readonly partitions: ReadonlyArray<TopicPartition>; readonly error: WireError }
);

export type OkFrame<T extends RequestType = RequestType> = {
  readonly t: "ok";
  readonly id: number;
} & Requests[T]["answer"];

export interface ErrorFrame {
  readonly t: "error";
  readonly id: number;
  readonly error: WireError;
  /** Of a produce: which records were refused. */
  readonly recordErrors?: ReadonlyArray<{ readonly index: number; readonly message: string | null }>;
}

export type ServerFrame =
  | OkFrame
  | ErrorFrame
  | StreamPush
  | Heartbeat
  | { readonly t: "goaway"; readonly reason: string; readonly afterMs: number };
