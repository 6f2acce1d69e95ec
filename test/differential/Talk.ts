/**
 * A conversation with one broker, written down so that two brokers' can be compared: every answer whole, without what differs
 * from run to run (ids are named as they come, times are told only as given or not). What must stay true: an answer stands at
 * the step that brought it, also when it was asked for at an earlier one; a step ends when the broker is at rest.
 */
import { type ClientPlatform, KafkaConnection } from "../../actors/testing/KafkaConnection.ts";
import { readAssignment } from "../../src/group/EmbeddedProtocol.ts";
import type { Endpoint } from "../../src/platform/Network.ts";
import { ZERO_UUID } from "../../src/prelude/Types.ts";
import { ApiKey, Apis, type KnownApiKey, type RequestOf, type ResponseOf } from "../../src/protocol/ApiKeys.ts";
import { Errors, errorName } from "../../src/protocol/Errors.ts";

export interface Place {
  readonly platform: ClientPlatform;
  readonly endpoint: Endpoint;
  /** How long a broker may take to do what nobody asked for just now (a timer of length zero, a marker). */
  readonly restMs: number;
}

type Plain = Readonly<Record<string, unknown>>;

/** Of the broker's own making, or words for people. */
const NOT_COMPARED: ReadonlySet<string> = new Set([
  "throttleTimeMs",
  "errorMessage",
  "nodeEndpoints",
  "logAppendTimeMs",
  "clientId",
  "clientHost",
  "authorizedOperations",
]);
const TIMES: ReadonlySet<string> = new Set(["transactionStartTimeMs", "lastTimestamp"]);
const PRODUCERS: ReadonlySet<string> = new Set(["producerId"]);
const BARRIERS = 2;
const NEW_TOPIC_MS = 500;
/** The first version of FindCoordinator that asks for several keys. */
const FIND = 4;

export class Talk {
  readonly lines: string[] = [];
  private readonly idle: KafkaConnection[] = [];
  private readonly all: KafkaConnection[] = [];
  private readonly names = new Map<string, string>();
  private readonly counts = new Map<string, number>();
  private readonly said = new Map<string, string>();
  private readonly arrived: string[] = [];
  private readonly unanswered = new Set<string>();
  readonly topicIds = new Map<string, string>();
  private fresh = 0;

  constructor(
    readonly place: Place,
    /** Part of every name on the broker, so that runs do not meet. */
    readonly run: string,
  ) {}

  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => this.place.platform.clock.after(ms, resolve));
  }

  /** A word for an id of the broker's: the same for the same id. */
  name(id: string, kind: string): string {
    const known = this.names.get(id);
    if (known !== undefined) return known;
    const count = this.counts.get(kind) ?? 0;
    this.counts.set(kind, count + 1);
    const name = `${kind}${count}`;
    this.names.set(id, name);
    return name;
  }

  /** Sends a request on a connection nobody waits at and answers its response; not written down. */
  async call<K extends KnownApiKey>(key: K, version: number, message: Partial<RequestOf<K>>): Promise<ResponseOf<K>> {
    const connection = this.idle.pop() ?? (await this.connect());
    const answer = await connection.request(key, { ...Apis[key].request.empty(), ...message }, version);
    this.idle.push(connection);
    return answer;
  }

  /** Sends a request; its answer is written down when it comes, after `learn` has seen it. Does not wait for it. */
  ask<K extends KnownApiKey>(
    label: string,
    key: K,
    version: number,
    message: Partial<RequestOf<K>>,
    learn: (answer: ResponseOf<K>) => void = () => {},
  ): void {
    this.fresh += 1;
    const told = `${label} v${version}`;
    const mark = `${told} #${this.fresh}`;
    this.unanswered.add(mark);
    const say = (what: string): void => {
      this.unanswered.delete(mark);
      this.arrived.push(`${told}: ${what}`);
    };
    this.call(key, version, message).then(
      (answer) => {
        learn(answer);
        say(this.show(answer));
      },
      (error: Error) => say(`no answer (${error.name})`),
    );
  }

  /** Waits until the broker is at rest and writes down what it answered, in the order of its labels. */
  async rest(): Promise<void> {
    for (let round = 0; round < BARRIERS; round++) {
      await this.sleep(this.place.restMs);
      await this.barrier();
    }
    this.lines.push(...this.arrived.splice(0).toSorted());
  }

  /** Writes down what is looked at after every step, when it is not what it was. */
  say(label: string, answer: unknown): void {
    const shown = this.show(answer);
    if (this.said.get(label) === shown) return;
    this.said.set(label, shown);
    this.lines.push(`   ${label}: ${shown}`);
  }

  /** What never was answered. */
  end(): void {
    for (const mark of this.unanswered) this.lines.push(`unanswered: ${mark.replace(/ #\d+$/, "")}`);
    for (const connection of this.all) connection.destroy();
  }

  /** A whole program: after each step the broker comes to rest and is looked at. Answers what was written down. */
  async play<Step>(
    topics: Readonly<Record<string, number>>,
    steps: ReadonlyArray<Step>,
    take: (step: Step) => void,
    look: () => Promise<void>,
  ): Promise<string[]> {
    await this.prepare(topics);
    for (const [index, step] of steps.entries()) {
      this.lines.push(`-- ${index}`);
      take(step);
      await this.rest();
      await look();
    }
    this.end();
    return this.lines;
  }

  /** Until the broker has coordinators and the topics are there. */
  private async prepare(topics: Readonly<Record<string, number>>): Promise<void> {
    const created = await this.call(ApiKey.CreateTopics, 7, {
      timeoutMs: 30_000,
      topics: Object.entries(topics).map(([name, numPartitions]) => ({
        name,
        numPartitions,
        replicationFactor: 1,
        assignments: [],
        configs: [],
      })),
    });
    // Kafka's coordinator of groups hears of a topic later than whoever asks for its metadata.
    if (created.topics.some(({ errorCode }) => errorCode === Errors.NONE)) await this.sleep(NEW_TOPIC_MS);
    // The first producer's id is 0, which is also what stands where there is none.
    await this.call(ApiKey.InitProducerId, 4, { transactionalId: null });
    const asked = Object.keys(topics).map((name) => ({ topicId: ZERO_UUID, name }));
    for (;;) {
      const answer = await this.call(ApiKey.Metadata, 12, { topics: asked, allowAutoTopicCreation: false });
      for (const { name, topicId, errorCode } of answer.topics) {
        if (errorCode !== Errors.NONE || name === null) continue;
        this.topicIds.set(name, topicId);
        this.names.set(topicId, `id of ${name}`);
      }
      if (this.topicIds.size === asked.length) break;
      await this.sleep(20);
    }
    const found = async (keyType: number): Promise<boolean> => {
      const { coordinators } = await this.call(ApiKey.FindCoordinator, FIND, { keyType, coordinatorKeys: ["barrier"] });
      return coordinators[0]!.errorCode === Errors.NONE;
    };
    while (!(await found(0)) || !(await found(1)) || (await this.barrier()) !== Errors.NONE) await this.sleep(100);
  }

  /** A write through the groups' coordinator: what was told before it has been done when it is answered. */
  private async barrier(): Promise<number> {
    const committed = { committedOffset: 0, committedLeaderEpoch: -1, committedMetadata: "" };
    const [topic = ""] = this.topicIds.keys();
    const topics = [{ name: topic, topicId: ZERO_UUID, partitions: [{ partitionIndex: 0, ...committed }] }];
    const { topics: answers } = await this.call(ApiKey.OffsetCommit, 9, { groupId: "barrier", topics });
    const error = answers[0]!.partitions[0]!.errorCode;
    return error === Errors.UNKNOWN_TOPIC_OR_PARTITION ? Errors.NONE : error;
  }

  private async connect(): Promise<KafkaConnection> {
    const { platform, endpoint } = this.place;
    const connection = await KafkaConnection.open(platform, endpoint, { clientId: "c", requestTimeoutMs: 3_600_000 });
    this.all.push(connection);
    return connection;
  }

  show(value: unknown, field = ""): string {
    if (value instanceof Uint8Array) return this.bytes(value);
    if (Array.isArray(value)) {
      const parts = value.map((one) => this.show(one, field));
      return `[${(field === "partitions" && typeof value[0] === "number" ? value.toSorted() : parts.toSorted()).join(" ")}]`;
    }
    if (typeof value === "object" && value !== null) return this.object(value as Plain);
    if (typeof value === "string") return this.text(value);
    if (typeof value !== "number") return String(value);
    if (field.toLowerCase().endsWith("errorcode")) return errorName(value);
    if (TIMES.has(field)) return value > 0 ? "given" : String(value);
    if (PRODUCERS.has(field)) return value <= 0 ? String(value) : this.name(`producer ${value}`, "P");
    return String(value);
  }

  private object(value: Plain): string {
    const parts: string[] = [];
    for (const [field, one] of Object.entries(value)) {
      if (NOT_COMPARED.has(field) || one === null || one === "" || one === ZERO_UUID) continue;
      if (Array.isArray(one) && one.length === 0) continue;
      if (field === "errorCode" && one === Errors.NONE) continue;
      parts.push(`${field}=${this.show(one, field)}`);
    }
    return `{${parts.join(" ")}}`;
  }

  private text(value: string): string {
    const known = this.names.get(value);
    if (known !== undefined) return this.without(known);
    // A member id of the broker's: the client's or the instance's name and a random id.
    if (/^(c|i\d)-([0-9a-f-]{36}|[A-Za-z0-9_-]{22})$/.test(value)) return this.name(value, "member");
    if (/^[A-Za-z0-9_-]{22}$/.test(value)) return this.name(value, "uuid");
    return this.without(value);
  }

  private without(text: string): string {
    return text.replaceAll(this.run, "RUN");
  }

  /** A consumer's assignment as it reads (its topics come in any order), text when it looks like it, or bytes. */
  private bytes(value: Uint8Array): string {
    const assignment = readAssignment(value);
    if (assignment !== undefined) return this.show(assignment);
    const text = Buffer.from(value).toString("latin1");
    if (/^[\x20-\x7e]*$/.test(text)) return JSON.stringify(this.without(text));
    return this.without(text).replace(/[^\x20-\x7e]/g, (char) => char.charCodeAt(0).toString(16));
  }
}
