/**
 * The streams of one gateway connection, by number: what a client's `open`, `assign`, `seek`, `close` and its notes do to
 * them. What must stay true: requests about one stream take effect in the order they came, however long each has to
 * look up where a partition begins; records pushed after the answer to a seek are those of the new place.
 */
import * as Effect from "effect/Effect";
import * as Semaphore from "effect/Semaphore";
import { Refused } from "../src/gateway/Caller.ts";
import type { ClientNote, PartitionAt, RequestFrame, Requests } from "../src/gateway/Messages.ts";
import { resolvePositions } from "../src/gateway/Positions.ts";
import { invalidRequest } from "../src/gateway/WireError.ts";
import type { GatewayEnvironment } from "./GatewaySession.ts";
import { GatewayStream, type StreamOwner } from "./GatewayStream.ts";

type PlacedPartitions = Effect.Effect<{ readonly partitions: ReadonlyArray<PartitionAt> }, Refused>;

/** Of one connection, all streams together. */
const MAX_PARTITIONS = 10_000;

interface OpenStream {
  readonly stream: GatewayStream;
  /** One request about the stream at a time. */
  readonly turn: Semaphore.Semaphore;
}

const refuse = (message: string): Effect.Effect<never, Refused> =>
  Effect.fail(new Refused({ error: invalidRequest(message) }));

export class GatewayStreams {
  private readonly open_ = new Map<number, OpenStream>();

  constructor(
    private readonly owner: StreamOwner,
    private readonly environment: GatewayEnvironment,
  ) {}

  has(number: number): boolean {
    return this.open_.has(number);
  }

  note(note: Exclude<ClientNote, { t: "ping" | "pong" }>): void {
    const found = this.open_.get(note.stream);
    // The note may have crossed the stream's end.
    if (found === undefined) return;
    if (note.t === "credit") found.stream.grant(note);
  }

  open(frame: RequestFrame<"open">): Effect.Effect<Requests["open"]["answer"], Refused> {
    const { limits } = this.environment;
    if (this.open_.size >= limits.streams) return refuse(`stream: at most ${limits.streams} streams are open at once`);
    if (!("partitions" in frame)) return refuse("group: not served yet");
    const stream = new GatewayStream(
      frame.stream,
      {
        isolation: frame.isolation ?? "read_committed",
        raw: frame.raw === true,
        credit: frame.credit,
        creditLimit: { records: limits.creditRecords, bytes: limits.creditBytes },
      },
      this.owner,
    );
    const opened = { stream, turn: Semaphore.makeUnsafe(1) };
    this.open_.set(frame.stream, opened);
    const { partitions, isolation } = frame;
    const placed = Effect.flatMap(this.admit(partitions.length), () =>
      Effect.map(resolvePositions(this.owner.caller, partitions, isolation), (positions) => {
        for (const partition of positions) stream.add(partition);
        return { partitions: positions };
      }),
    );
    return opened.turn.withPermit(placed).pipe(
      Effect.onError(() =>
        Effect.sync(() => {
          this.forget(stream);
        }),
      ),
    );
  }

  assign({ stream: number, add, remove }: RequestFrame<"assign">): PlacedPartitions {
    return this.inTurn(number, (stream) => {
      for (const partition of remove) stream.remove(partition);
      return Effect.flatMap(this.admit(add.length), () =>
        Effect.map(resolvePositions(this.owner.caller, add, stream.isolation), (positions) => {
          for (const partition of positions) stream.add(partition);
          return { partitions: positions };
        }),
      );
    });
  }

  seek({ stream: number, partitions }: RequestFrame<"seek">): PlacedPartitions {
    return this.inTurn(number, (stream) => {
      for (const { topic, partition } of partitions) {
        const found = stream.partition({ topic, partition });
        if (found === undefined) return refuse(`partitions: ${topic}-${partition} is not of stream ${number}`);
      }
      return Effect.map(resolvePositions(this.owner.caller, partitions, stream.isolation), (positions) => {
        // A partition that was removed while its place was looked up stays removed.
        const placed = positions.filter((position) => stream.partition(position) !== undefined);
        for (const position of placed) stream.add(position);
        return { partitions: placed };
      });
    });
  }

  close({ stream: number }: RequestFrame<"close">): Effect.Effect<object, Refused> {
    return this.inTurn(number, (stream) => {
      this.forget(stream);
      return Effect.succeed({});
    });
  }

  /** The connection is gone; `leaves`: for good. */
  release(_leaves: boolean): void {
    for (const { stream } of this.open_.values()) stream.close();
    this.open_.clear();
  }

  private forget(stream: GatewayStream): void {
    stream.close();
    this.open_.delete(stream.number);
  }

  private inTurn<A>(
    number: number,
    act: (stream: GatewayStream) => Effect.Effect<A, Refused>,
  ): Effect.Effect<A, Refused> {
    const found = this.open_.get(number);
    const closed = refuse(`stream: stream ${number} is not open`);
    if (found === undefined) return closed;
    const { stream, turn } = found;
    return turn.withPermit(Effect.suspend(() => (stream.isClosed ? closed : act(stream))));
  }

  private admit(more: number): Effect.Effect<void, Refused> {
    let count = more;
    for (const { stream } of this.open_.values()) count += stream.partitions.size;
    if (count <= MAX_PARTITIONS) return Effect.void;
    return refuse(`partitions: at most ${MAX_PARTITIONS} partitions are open on one connection`);
  }
}
