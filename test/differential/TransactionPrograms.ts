/**
 * Programs about producers and transactions, drawn from a seed: two instances of one transactional id, one of another, an
 * idempotent producer and whoever writes markers, in legal and illegal orders, in every version of both protocols, with stale
 * and future epochs, other producers' ids and sequences again, behind and ahead. A program is plain data whose steps name
 * producers by number, so that it still runs with steps left out.
 */
import { SeededRandom } from "../../actors/simulation/SeededRandom.ts";
import { ZERO_UUID } from "../../src/prelude/Types.ts";
import { ApiKey, Apis, type RequestOf } from "../../src/protocol/ApiKeys.ts";
import { Errors } from "../../src/protocol/Errors.ts";
import { emptyFetchRequestFetchPartition } from "../../src/protocol/generated/FetchRequest.ts";
import { buildBatch } from "../../src/record/RecordBatchBuilder.ts";
import { between, chance, weighted } from "./Draw.ts";
import { type Place, Talk } from "./Talk.ts";

interface Named {
  readonly producer: number;
  readonly version: number;
  /** Added to the epoch the producer has. */
  readonly by: number;
  /** With the id of the next producer. */
  readonly other: boolean;
}
interface Init extends Named {
  readonly kind: "init";
  /** Gives the id and epoch it has (KIP-360), or none. */
  readonly has: boolean;
  readonly timeoutMs: number;
}
interface Add extends Named {
  readonly kind: "add";
  readonly partitions: ReadonlyArray<number>;
  readonly verifyOnly: boolean;
}
interface AddOffsets extends Named {
  readonly kind: "add offsets";
}
interface CommitOffset extends Named {
  readonly kind: "commit offset";
  readonly partition: number;
  readonly offset: number;
  readonly member: "none" | "generation" | "unknown";
}
interface End extends Named {
  readonly kind: "end";
  readonly committed: boolean;
}
interface Produce extends Named {
  readonly kind: "produce";
  readonly partition: number;
  readonly transactional: boolean;
  readonly id: "own" | "none" | "other";
  /** Added to the sequence that comes next; `first` is sequence 0. */
  readonly sequence: number | "first";
  readonly records: number;
}
interface Marker extends Named {
  readonly kind: "marker";
  readonly committed: boolean;
  readonly coordinatorEpoch: number;
  readonly transactionVersion: number;
  readonly partition: number;
}
interface List extends Named {
  readonly kind: "list";
  readonly states: ReadonlyArray<string>;
}
export type TransactionStep = Init | Add | AddOffsets | CommitOffset | End | Produce | Marker | List;

export interface TransactionProgram {
  readonly steps: ReadonlyArray<TransactionStep>;
}

/** Transactional id by producer; the last has none. */
const IDS: ReadonlyArray<string | null> = ["x", "x", "y", null];
const IDEMPOTENT = 3;
const PARTITIONS = 2;
const TIMEOUT_MS = 60_000;
const MAX_LOOKS = 400;

const drawStep = (random: SeededRandom): TransactionStep => {
  const producer = weighted(random, [
    [6, 0],
    [3, 1],
    [2, 2],
    [2, IDEMPOTENT],
  ]);
  const by = weighted(random, [
    [14, 0],
    [1, 1],
    [1, -1],
    [1, 2],
  ]);
  const other = chance(random, 3);
  const named = { producer, by, other };
  const partition = weighted(random, [
    [6, 0],
    [3, 1],
    [1, 7],
  ]);
  return weighted<() => TransactionStep>(random, [
    [
      5,
      () => ({
        ...named,
        kind: "init",
        version: between(random, 0, 5),
        has: chance(random, 40),
        timeoutMs: random.pick([TIMEOUT_MS, TIMEOUT_MS, TIMEOUT_MS, TIMEOUT_MS, 0, -1, 1 << 30]),
      }),
    ],
    [
      4,
      () => ({
        ...named,
        kind: "add",
        version: between(random, 0, 5),
        partitions: random.pick([[0], [1], [0, 1], [0], [0, 7]]),
        verifyOnly: chance(random, 25),
      }),
    ],
    [2, () => ({ ...named, kind: "add offsets", version: between(random, 0, 4) })],
    [
      4,
      () => ({
        ...named,
        kind: "commit offset",
        version: between(random, 0, 5),
        partition,
        offset: random.below(100),
        member: weighted<CommitOffset["member"]>(random, [
          [6, "none"],
          [1, "generation"],
          [1, "unknown"],
        ]),
      }),
    ],
    [6, () => ({ ...named, kind: "end", version: between(random, 0, 5), committed: chance(random, 60) })],
    [
      14,
      () => ({
        ...named,
        kind: "produce",
        version: between(random, 3, 13),
        partition,
        transactional: chance(random, producer === IDEMPOTENT ? 8 : 92),
        id: weighted<Produce["id"]>(random, [
          [20, "own"],
          [1, "none"],
          [1, "other"],
        ]),
        sequence: weighted<Produce["sequence"]>(random, [
          [10, 0],
          [2, -1],
          [1, -2],
          [1, 1],
          [2, "first"],
        ]),
        records: between(random, 1, 2),
      }),
    ],
    [
      1,
      () => ({
        ...named,
        kind: "marker",
        version: between(random, 1, 2),
        committed: chance(random, 50),
        coordinatorEpoch: random.pick([0, 0, 1, -1]),
        transactionVersion: between(random, 0, 2),
        partition,
      }),
    ],
    [
      1,
      () => ({
        ...named,
        kind: "list",
        version: between(random, 0, 2),
        states: random.pick([[], ["Ongoing"], ["Empty", "nonsense"], ["CompleteAbort", "CompleteCommit"]]),
      }),
    ],
  ])();
};

/** The program of a seed. */
export const drawTransactionProgram = (seed: number): TransactionProgram => {
  const random = new SeededRandom(`transactions ${seed}`);
  const begin = [0, 1, 2, IDEMPOTENT].map(
    (producer): Init => ({
      kind: "init",
      producer,
      by: 0,
      other: false,
      version: between(random, 0, 5),
      has: false,
      timeoutMs: TIMEOUT_MS,
    }),
  );
  // One protocol through a program is what clients do; both at once is what brokers must stand.
  const tame = random.pick(["1", "2", "both"] as const);
  const steps = Array.from({ length: between(random, 8, 24) }, () => tamed(drawStep(random), tame));
  return { steps: [...begin.filter(() => chance(random, 80)), ...steps] };
};

const tamed = (step: TransactionStep, protocol: "1" | "2" | "both"): TransactionStep => {
  if (protocol === "both") return step;
  const first = protocol === "1";
  switch (step.kind) {
    case "end":
      return { ...step, version: first ? Math.min(step.version, 4) : 5 };
    case "produce":
      return { ...step, version: first ? Math.min(step.version, 11) : Math.max(step.version, 12) };
    case "commit offset":
      return { ...step, version: first ? Math.min(step.version, 4) : 5 };
    default:
      return step;
  }
};

interface Producer {
  producerId: number;
  producerEpoch: number;
  /** Next sequence by partition. */
  sequences: Map<number, number>;
}

class TransactionRun {
  private readonly talk: Talk;
  private readonly producers: Producer[] = IDS.map(() => ({ producerId: -1, producerEpoch: -1, sequences: new Map() }));

  constructor(place: Place, run: string) {
    this.talk = new Talk(place, run);
  }

  run({ steps }: TransactionProgram): Promise<string[]> {
    const topics = { [this.topic]: PARTITIONS };
    return this.talk.play(
      topics,
      steps,
      (step) => this.take(step),
      () => this.look(),
    );
  }

  private get topic(): string {
    return `${this.talk.run}-t`;
  }

  private get group(): string {
    return `${this.talk.run}-g`;
  }

  private id(producer: number): string | null {
    const id = IDS[producer]!;
    return id === null ? null : `${this.talk.run}-${id}`;
  }

  private identity({ producer, by, other }: Named): { readonly producerId: number; readonly producerEpoch: number } {
    const { producerEpoch } = this.producers[producer]!;
    const { producerId } = this.producers[(producer + (other ? 2 : 0)) % IDS.length]!;
    return { producerId, producerEpoch: producerEpoch + by };
  }

  private become(producer: number, { producerId, producerEpoch }: Omit<Producer, "sequences">): void {
    this.producers[producer] = { producerId, producerEpoch, sequences: new Map() };
  }

  private take(step: TransactionStep): void {
    switch (step.kind) {
      case "init":
        return this.init(step);
      case "add":
        return this.add(step);
      case "add offsets":
        return this.talk.ask(`add offsets ${step.producer}`, ApiKey.AddOffsetsToTxn, step.version, {
          transactionalId: this.id(step.producer) ?? "",
          groupId: this.group,
          ...this.identity(step),
        });
      case "commit offset":
        return this.commitOffset(step);
      case "end":
        return this.end(step);
      case "produce":
        return this.produce(step);
      case "marker":
        return this.marker(step);
      default:
        return this.list(step);
    }
  }

  private init(step: Init): void {
    this.talk.ask(
      `init ${step.producer}`,
      ApiKey.InitProducerId,
      step.version,
      {
        transactionalId: this.id(step.producer),
        transactionTimeoutMs: step.timeoutMs,
        ...(step.version >= 3 && step.has ? this.identity(step) : {}),
      },
      (answer) => {
        if (answer.errorCode === Errors.NONE) this.become(step.producer, answer);
      },
    );
  }

  private add(step: Add): void {
    const topics = [{ name: this.topic, partitions: [...step.partitions] }];
    const { producerId, producerEpoch } = this.identity(step);
    const transactionalId = this.id(step.producer) ?? "";
    const old = {
      v3AndBelowTransactionalId: transactionalId,
      v3AndBelowProducerId: producerId,
      v3AndBelowProducerEpoch: producerEpoch,
      v3AndBelowTopics: topics,
    };
    const { verifyOnly } = step;
    const transactions = [{ transactionalId, producerId, producerEpoch, verifyOnly, topics }];
    const request = step.version < 4 ? old : { transactions };
    this.talk.ask(`add ${step.producer}`, ApiKey.AddPartitionsToTxn, step.version, request);
  }

  private commitOffset(step: CommitOffset): void {
    const member = {
      none: { generationId: -1, memberId: "" },
      generation: { generationId: 3, memberId: "" },
      unknown: { generationId: 3, memberId: "nobody" },
    }[step.member];
    const committed = { committedOffset: step.offset, committedLeaderEpoch: -1, committedMetadata: "" };
    this.talk.ask(`commit offset ${step.producer}`, ApiKey.TxnOffsetCommit, step.version, {
      transactionalId: this.id(step.producer) ?? "",
      groupId: this.group,
      ...this.identity(step),
      ...(step.version >= 3 ? member : {}),
      topics: [{ name: this.topic, partitions: [{ partitionIndex: step.partition, ...committed }] }],
    });
  }

  private end(step: End): void {
    this.talk.ask(
      `end ${step.producer}`,
      ApiKey.EndTxn,
      step.version,
      { transactionalId: this.id(step.producer) ?? "", committed: step.committed, ...this.identity(step) },
      (answer) => {
        if (answer.errorCode === Errors.NONE && step.version >= 5) this.become(step.producer, answer);
      },
    );
  }

  private produce(step: Produce): void {
    const { partition, records: count } = step;
    // Kafka takes a transactional batch of nobody.
    const transactional = step.transactional && this.identity(step).producerId >= 0;
    const { sequences } = this.producers[step.producer]!;
    const next = sequences.get(partition) ?? 0;
    const baseSequence = step.sequence === "first" ? 0 : Math.max(0, next + step.sequence);
    const records = buildBatch(
      Array.from({ length: count }, () => ({ value: Buffer.from("x") })),
      { timestamp: 1, baseSequence, transactional, ...this.identity(step) },
    );
    const id = { own: this.id(step.producer), none: null, other: `${this.talk.run}-nobody` }[step.id];
    const named =
      step.version >= 13
        ? { name: "", topicId: this.talk.topicIds.get(this.topic)! }
        : { name: this.topic, topicId: ZERO_UUID };
    const request: Partial<RequestOf<0>> = {
      transactionalId: transactional ? id : null,
      acks: -1,
      timeoutMs: 5000,
      topicData: [{ ...named, partitionData: [{ index: partition, records }] }],
    };
    this.talk.ask(`produce ${step.producer}`, ApiKey.Produce, step.version, request, ({ responses }) => {
      const error = responses[0]?.partitionResponses[0]?.errorCode;
      if (error === Errors.NONE && baseSequence >= next) sequences.set(partition, baseSequence + count);
    });
  }

  private marker(step: Marker): void {
    this.talk.ask(`marker ${step.producer}`, ApiKey.WriteTxnMarkers, step.version, {
      markers: [
        {
          ...this.identity(step),
          transactionResult: step.committed,
          coordinatorEpoch: step.coordinatorEpoch,
          transactionVersion: step.version >= 2 ? step.transactionVersion : 0,
          topics: [{ name: this.topic, partitionIndexes: [step.partition] }],
        },
      ],
    });
  }

  private list(step: List): void {
    this.talk.ask(`list ${step.producer}`, ApiKey.ListTransactions, step.version, {
      stateFilters: [...step.states],
      producerIdFilters: [this.producers[step.producer]!.producerId],
    });
  }

  /** What everybody can see, once no completion is under way. */
  private async look(): Promise<void> {
    const { talk, topic } = this;
    const transactionalIds = ["x", "y"].map((id) => `${talk.run}-${id}`);
    for (let look = 0; ; look++) {
      const { transactionStates } = await talk.call(ApiKey.DescribeTransactions, 0, { transactionalIds });
      if (look < MAX_LOOKS && transactionStates.some(({ transactionState }) => /Prepare/.test(transactionState))) {
        await talk.sleep(talk.place.restMs);
        continue;
      }
      talk.say("transactions", transactionStates);
      break;
    }
    const partitionIndexes = Array.from({ length: PARTITIONS }, (_, partition) => partition);
    const topics = [{ name: topic, partitionIndexes }];
    const producers = await talk.call(ApiKey.DescribeProducers, 0, { topics });
    for (const { partitionIndex, activeProducers } of producers.topics[0]!.partitions) {
      talk.say(`producers of ${partitionIndex}`, activeProducers);
    }
    await this.lookAtRecords();
    const group = { groupId: this.group, memberId: null, memberEpoch: -1 };
    for (const requireStable of [false, true]) {
      const groups = [{ ...group, topics: [{ name: topic, topicId: ZERO_UUID, partitionIndexes }] }];
      talk.say(
        `offsets, stable ${requireStable}`,
        (await talk.call(ApiKey.OffsetFetch, 9, { requireStable, groups })).groups,
      );
    }
  }

  /** What a reader of committed records is told of the partitions. */
  private async lookAtRecords(): Promise<void> {
    const { responses } = await this.talk.call(ApiKey.Fetch, 12, {
      ...Apis[ApiKey.Fetch].request.empty(),
      maxWaitMs: 0,
      isolationLevel: 1,
      topics: [
        {
          topic: this.topic,
          topicId: ZERO_UUID,
          partitions: Array.from({ length: PARTITIONS }, (_, partition) => ({
            ...emptyFetchRequestFetchPartition(),
            partition,
            fetchOffset: 0,
            partitionMaxBytes: 1 << 20,
          })),
        },
      ],
    });
    for (const one of responses[0]?.partitions ?? []) {
      const { partitionIndex, highWatermark, lastStableOffset, abortedTransactions } = one;
      this.talk.say(`records of ${partitionIndex}`, { highWatermark, lastStableOffset, abortedTransactions });
    }
  }
}

/** What the broker answers to a program. */
export const transactionTranscript = (place: Place, program: TransactionProgram, run: string): Promise<string[]> =>
  new TransactionRun(place, run).run(program);
