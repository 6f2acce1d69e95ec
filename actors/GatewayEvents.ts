/**
 * A stream of server-sent events: records of some topics pushed over one HTTP answer, as fast as its connection takes
 * them, with the position of every partition as each event's id. What must stay true: an id lies behind the records of
 * its event and not a record further; nothing is read while the connection is full; a connection without news says so.
 */
import * as Effect from "effect/Effect";
import type { Ports } from "../src/api/Ports.ts";
import type { Caller, Refused } from "../src/gateway/Caller.ts";
import { encodeEventPosition } from "../src/gateway/EventPosition.ts";
import { toJson } from "../src/gateway/HttpBody.ts";
import type { Isolation, PartitionFrom, Position } from "../src/gateway/Messages.ts";
import { resolvePositions } from "../src/gateway/Positions.ts";
import { recordsOf } from "../src/gateway/RecordVerbs.ts";
import type { TurnTaker } from "./Gateway.ts";
import type { GatewayReads } from "./GatewayReads.ts";
import type { GatewayEnvironment } from "./GatewaySession.ts";
import { GatewayStream, type Push, type PushedRecords, partitionKey, type StreamOwner } from "./GatewayStream.ts";

/** Where the text goes. */
export interface EventSink {
  readonly hasRoom: boolean;
  write(text: string): void;
  end(): void;
}

export interface EventSettings {
  readonly partitions: ReadonlyArray<PartitionFrom>;
  readonly isolation: Isolation;
}

const FRAME_BYTES = 64 * 1024;
/** Proxies close what is silent; many do after 30 s. */
const QUIET_MS = 15_000;
/** How often topics are looked at for partitions that they have got since. */
const LOOK_MS = 5000;
/** Of one stream of events. */
export const MAX_EVENT_PARTITIONS = 1000;
const RETRY_MS = 1000;
const RETRY_SPREAD_MS = 2000;
const UNLIMITED = { records: Number.MAX_SAFE_INTEGER, bytes: Number.MAX_SAFE_INTEGER };

export class GatewayEvents implements StreamOwner, TurnTaker {
  readonly ports: Ports;
  readonly reads: GatewayReads;
  readonly run: StreamOwner["run"];
  readonly frameBytes = FRAME_BYTES;
  offered = false;
  private readonly stream: GatewayStream;
  private readonly positions = new Map<string, { readonly partition: number; readonly position: Position }>();
  private sink: EventSink | undefined;
  private cancelQuiet: (() => void) | undefined;
  private cancelLook: (() => void) | undefined;

  constructor(
    private readonly environment: GatewayEnvironment,
    readonly caller: Caller,
    readonly principal: string,
    private readonly settings: EventSettings,
    /** Calls when it is over, whoever ended it. */
    private readonly ended: () => void,
  ) {
    this.ports = environment.ports;
    this.reads = environment.reads;
    this.run = environment.run;
    const { isolation } = settings;
    const unlimited = { credit: UNLIMITED, creditLimit: UNLIMITED };
    this.stream = new GatewayStream(1, { isolation, raw: false, ...unlimited }, this);
  }

  /** Finds where everything begins; nothing has been sent yet when that fails. */
  open(): Effect.Effect<void, Refused> {
    const { partitions, isolation } = this.settings;
    return Effect.map(resolvePositions(this.caller, partitions, isolation), (placed) => {
      for (const { topic, partition, position } of placed) {
        this.positions.set(partitionKey(topic, partition), { partition, position });
      }
      this.begin = () => {
        for (const each of placed) this.stream.add(each);
      };
    });
  }

  private begin: () => void = () => undefined;

  start(sink: EventSink): void {
    this.sink = sink;
    const retry = RETRY_MS + this.ports.random.below(RETRY_SPREAD_MS);
    sink.write(`retry: ${retry}\nid: ${encodeEventPosition(this.positions.values())}\n\n`);
    this.watchQuiet();
    this.begin();
    this.lookLater();
  }

  private lookLater(): void {
    this.cancelLook = this.ports.timers.after(LOOK_MS, () => {
      this.addPartitions();
      if (!this.stream.isClosed) this.lookLater();
    });
  }

  /** What a topic has got since is read from its beginning, as after coming back. */
  private addPartitions(): void {
    const { topicsById } = this.ports.metadata.image();
    for (const topicId of new Set(Array.from(this.positions.values(), ({ position }) => position.topicId))) {
      const topic = topicsById.get(topicId);
      for (const partition of topic?.partitions.keys() ?? []) {
        const key = partitionKey(topic!.name, partition);
        if (this.positions.has(key)) continue;
        if (this.positions.size >= MAX_EVENT_PARTITIONS) {
          return this.goAway(`more than ${MAX_EVENT_PARTITIONS} partitions are not streamed at once`);
        }
        const position = { offset: 0, leaderEpoch: -1, topicId };
        this.positions.set(key, { partition, position });
        this.stream.add({ topic: topic!.name, partition, position });
      }
    }
  }

  /** The sink takes more. */
  drained(): void {
    if (this.wantsTurn) this.environment.offer(this);
    this.environment.tasks.drain();
  }

  /** The client comes back by itself. */
  goAway(reason: string): void {
    this.sink?.write(`event: goaway\ndata: ${JSON.stringify({ reason })}\n\n`);
    this.close();
  }

  close(): void {
    const { sink } = this;
    if (this.stream.isClosed) return;
    this.sink = undefined;
    this.cancelQuiet?.();
    this.cancelLook?.();
    this.stream.close();
    sink?.end();
    this.ended();
  }

  // — turns

  get wantsTurn(): boolean {
    return this.canPush && this.stream.wantsTurn;
  }

  turn(): void {
    this.stream.turn();
  }

  get canPush(): boolean {
    return this.sink?.hasRoom === true;
  }

  offer(): void {
    if (this.wantsTurn) this.environment.offer(this);
  }

  push(_stream: GatewayStream, push: Push): void {
    const { t, ...data } = push;
    this.write(`event: ${t}\ndata: ${toJson(data)}\n\n`);
  }

  pushRecords(_stream: GatewayStream, { view, delivery, from, to, next }: PushedRecords): void {
    const { topic, partition, topicId, highWatermark, lastStableOffset, logStartOffset } = view;
    const [offset, leaderEpoch] = next;
    this.positions.set(partitionKey(topic, partition), { partition, position: { offset, leaderEpoch, topicId } });
    const records = recordsOf(delivery, from, to);
    const data = { topic, partition, records, next, highWatermark, lastStableOffset, logStartOffset };
    const id = encodeEventPosition(this.positions.values());
    this.write(`id: ${id}\nevent: records\ndata: ${toJson(data)}\n\n`);
  }

  private write(text: string): void {
    this.sink?.write(text);
    this.watchQuiet();
  }

  private watchQuiet(): void {
    this.cancelQuiet?.();
    if (this.sink === undefined) return;
    this.cancelQuiet = this.ports.timers.after(QUIET_MS, () => this.write(": quiet\n\n"));
  }
}
