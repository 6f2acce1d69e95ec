/** A client and a server that a test scripts frame by frame. Answers `hello` and `topics.describe` by itself. */
import { type Client, type ConnectOptions, connect } from "../../../src/client/Client.ts";
import type { ClientFrame, DeliveredBatch, DeliveredRecord, Position } from "../../../src/gateway/Messages.ts";
import { FakeNetwork, HELLO, type ServerLink, settled } from "./FakeNetwork.ts";

export const TOPIC_ID = "AAAAAAAAAAAAAAAAAAAAAQ";

export const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);

export const positionAt = (offset: number, leaderEpoch = 0): Position => ({ offset, leaderEpoch, topicId: TOPIC_ID });

/** Records with values "0", "1", … at these offsets. */
export const recordsAt = (...offsets: number[]): DeliveredRecord[] =>
  offsets.map((offset) => [offset, 1_700_000_000_000 + offset, null, utf8(String(offset))]);

/** A delivered batch of the topic `t`. */
export const batchOf = (
  partition: number,
  records: ReadonlyArray<DeliveredRecord>,
  next: number,
  more: Partial<DeliveredBatch> = {},
): DeliveredBatch => ({
  topic: "t",
  partition,
  records,
  next: [next, 0],
  highWatermark: 1000,
  lastStableOffset: 1000,
  logStartOffset: 0,
  ...more,
});

export class Dialogue {
  readonly network: FakeNetwork;
  client!: Client;
  /** Partitions of any topic, by `topics.describe`. */
  partitions = 4;
  /** Topics that are not there any more. */
  readonly gone = new Set<string>();
  /** Called with every request that is not answered here. */
  onFrame: (frame: ClientFrame, link: ServerLink) => void = () => {};

  constructor(options: ConstructorParameters<typeof FakeNetwork>[0] = {}) {
    this.network = new FakeNetwork(options);
    this.network.onAccept = (link) => {
      link.onFrame = (frame) => this.receive(frame, link);
    };
  }

  get link(): ServerLink {
    return this.network.link;
  }

  async connect(options: ConnectOptions = {}): Promise<Client> {
    this.client = await connect("ws://test", { platform: this.network.platform, ...options });
    return this.client;
  }

  /** Lets time pass, and what is due happen. */
  async pass(ms: number): Promise<void> {
    this.network.clock.advance(ms);
    await settled();
  }

  /** The connection breaks, and the client has come back. */
  async reconnect(): Promise<void> {
    const before = this.network.links.length;
    this.link.cut();
    await settled();
    for (let turns = 0; this.network.links.length === before && turns < 100; turns++) await this.pass(1000);
    await settled();
  }

  private receive(frame: ClientFrame, link: ServerLink): void {
    if (frame.t === "hello") link.ok(frame, HELLO);
    else if (frame.t === "call" && frame.verb === "topics.describe") this.describe(frame, link);
    else this.onFrame(frame, link);
  }

  private describe(frame: ClientFrame & { readonly t: "call" }, link: ServerLink): void {
    const { topics } = frame.body as { topics: string[] };
    const described = topics.map((name) =>
      name.startsWith("no-") || this.gone.has(name)
        ? { name, error: { code: 3, name: "UNKNOWN_TOPIC_OR_PARTITION", message: "not there", retriable: true } }
        : {
            name,
            topicId: TOPIC_ID,
            internal: false,
            partitions: Array.from({ length: this.partitions }, (_, partition) => ({
              ...{ partition, leader: 1, leaderEpoch: 0, replicas: [1], isr: [1] },
            })),
          },
    );
    link.ok(frame, { body: { topics: described } });
  }
}

/** Collects what an iteration gives until it ends or throws. */
export const collect = <T>(
  iterable: AsyncIterable<T>,
): { readonly items: T[]; readonly done: Promise<void>; error: unknown } => {
  const collected = { items: [] as T[], done: Promise.resolve(), error: undefined as unknown };
  collected.done = (async () => {
    try {
      for await (const item of iterable) collected.items.push(item);
    } catch (error) {
      collected.error = error;
    }
  })();
  return collected;
};
