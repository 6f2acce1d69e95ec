/**
 * The streams of one gateway connection, by number: what a client's `open`, `assign`, `seek`, `close` and its notes do to
 * them. What must stay true: requests about one stream take effect in the order they came, however long each has to
 * look up where a partition begins; records pushed after the answer to a seek are those of the new place.
 */
import * as Effect from "effect/Effect";
import * as Semaphore from "effect/Semaphore";
import { Refused } from "../src/gateway/Caller.ts";
import type {
  ClientNote,
  Isolation,
  PartitionAt,
  PartitionFrom,
  RequestFrame,
  Requests,
  TopicPartition,
  WireError,
} from "../src/gateway/Messages.ts";
import { resolvePositions } from "../src/gateway/Positions.ts";
import { invalidRequest } from "../src/gateway/WireError.ts";
import { GatewayMember } from "./GatewayMember.ts";
import type { GatewayEnvironment } from "./GatewaySession.ts";
import { GatewayStream, type StreamOwner } from "./GatewayStream.ts";

type PlacedPartitions = Effect.Effect<{ readonly partitions: ReadonlyArray<PartitionAt> }, Refused>;

interface OpenStream {
  readonly stream: GatewayStream;
  /** Of a stream in a group. */
  readonly member: GatewayMember | undefined;
  /** One request about the stream at a time. */
  readonly turn: Semaphore.Semaphore;
}

const refuse = (message: string): Effect.Effect<never, Refused> =>
  Effect.fail(new Refused({ error: invalidRequest(message) }));

export class GatewayStreams {
  private readonly open_ = new Map<number, OpenStream>();
  /** Partitions whose place is being looked up. */
  private arriving = 0;

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
    else found.member?.release(note.partitions);
  }

  open(frame: RequestFrame<"open">): Effect.Effect<Requests["open"]["answer"], Refused> {
    const { limits } = this.environment;
    if (this.open_.size >= limits.streams) return refuse(`stream: at most ${limits.streams} streams are open at once`);
    const settings = {
      isolation: frame.isolation ?? "read_committed",
      raw: frame.raw === true,
      credit: frame.credit,
      creditLimit: { records: limits.creditRecords, bytes: limits.creditBytes },
    };
    const stream = new GatewayStream(frame.stream, settings, this.owner);
    return "group" in frame ? this.openInGroup(stream, frame) : this.openAssigned(stream, frame);
  }

  private openAssigned(
    stream: GatewayStream,
    { partitions, isolation }: Extract<RequestFrame<"open">, { partitions: unknown }>,
  ): Effect.Effect<Requests["open"]["answer"], Refused> {
    const opened = { stream, member: undefined, turn: Semaphore.makeUnsafe(1) };
    this.open_.set(stream.number, opened);
    const placed = this.place(stream, partitions, isolation);
    return opened.turn.withPermit(placed).pipe(Effect.onError(() => Effect.sync(() => this.forget(opened))));
  }

  private openInGroup(
    stream: GatewayStream,
    { group, from }: Extract<RequestFrame<"open">, { group: unknown }>,
  ): Effect.Effect<Requests["open"]["answer"], Refused> {
    const { members } = this.environment;
    const known = members.take(memberKey(group));
    const ended = (error: WireError): void => {
      this.owner.push(stream, { t: "closed", error });
      this.forget(opened);
    };
    const member = new GatewayMember(stream, { membership: group, from }, this.owner, ended, known);
    const opened = { stream, member, turn: Semaphore.makeUnsafe(1) };
    members.speaks(member);
    this.open_.set(stream.number, opened);
    const joined = Effect.as(member.open(), { memberId: group.memberId, partitions: [] });
    return opened.turn.withPermit(joined).pipe(Effect.onError(() => Effect.sync(() => this.forget(opened))));
  }

  assign({ stream: number, add, remove }: RequestFrame<"assign">): PlacedPartitions {
    return this.inTurn(number, ({ stream, member }) => {
      if (member !== undefined) return refuse(`stream: what stream ${number} reads is assigned by its group`);
      for (const partition of remove) stream.remove(partition);
      return this.place(stream, add, stream.isolation);
    });
  }

  /** Adds the partitions where each begins. */
  private place(
    stream: GatewayStream,
    partitions: ReadonlyArray<PartitionFrom>,
    isolation: Isolation | undefined,
  ): PlacedPartitions {
    const placed = Effect.map(resolvePositions(this.owner.caller, partitions, isolation), (positions) => {
      for (const partition of positions) stream.add(partition);
      return { partitions: positions };
    });
    return Effect.suspend(() => {
      let count = this.arriving + partitions.length;
      for (const opened of this.open_.values()) count += opened.stream.partitions.size;
      const { limits } = this.environment;
      if (count > limits.partitions) {
        return refuse(`partitions: at most ${limits.partitions} partitions are open on one connection`);
      }
      this.arriving += partitions.length;
      const arrived = Effect.sync(() => void (this.arriving -= partitions.length));
      return Effect.ensuring(placed, arrived);
    });
  }

  seek({ stream: number, partitions }: RequestFrame<"seek">): PlacedPartitions {
    return this.inTurn(number, ({ stream, member }) => {
      const isOf = (named: TopicPartition): boolean =>
        stream.partition(named) !== undefined && (member === undefined || member.mayPlace(named));
      const foreign = partitions.find((named) => !isOf(named));
      if (foreign !== undefined) {
        return refuse(`partitions: ${foreign.topic}-${foreign.partition} is not of stream ${number}`);
      }
      return Effect.map(resolvePositions(this.owner.caller, partitions, stream.isolation), (positions) => {
        // A partition that went while its place was looked up stays away.
        const placed = positions.filter(isOf);
        for (const position of placed) stream.add(position);
        return { partitions: placed };
      });
    });
  }

  close({ stream: number }: RequestFrame<"close">): Effect.Effect<object, Refused> {
    return this.inTurn(number, (opened) => {
      const left = opened.member?.leave() ?? Effect.void;
      this.forget(opened, true);
      return Effect.as(left, {});
    });
  }

  commit({ stream: number, offsets }: RequestFrame<"commit">): Effect.Effect<Requests["commit"]["answer"], Refused> {
    const found = this.open_.get(number);
    if (found === undefined) return refuse(`stream: stream ${number} is not open`);
    if (found.member === undefined) return refuse(`stream: stream ${number} is in no group`);
    return Effect.map(found.member.commit(offsets), (partitions) => ({ partitions }));
  }

  /** The present epoch of a member of this connection, if it has owned the partitions ever since the one it claims. */
  memberEpoch(
    group: { readonly id: string; readonly memberId?: string; readonly memberEpoch?: number },
    partitions: ReadonlyArray<TopicPartition>,
  ): number | undefined {
    const claimed = group.memberEpoch ?? -1;
    for (const { member } of this.open_.values()) {
      if (member === undefined || member.key !== memberKey({ id: group.id, memberId: group.memberId ?? "" })) continue;
      return partitions.every((partition) => member.hasOwnedSince(partition, claimed)) ? member.epoch : undefined;
    }
    return undefined;
  }

  /** The connection is gone; `leaves`: for good. */
  release(leaves: boolean): void {
    for (const opened of [...this.open_.values()]) {
      if (leaves && opened.member !== undefined) this.owner.run(opened.member.leave());
      this.forget(opened, leaves);
    }
  }

  private forget({ stream, member }: OpenStream, isLeft = false): void {
    stream.close();
    if (this.open_.get(stream.number)?.stream === stream) this.open_.delete(stream.number);
    if (member === undefined) return;
    this.environment.members.silence(member, isLeft);
    member.drop();
  }

  private inTurn<A>(number: number, act: (opened: OpenStream) => Effect.Effect<A, Refused>): Effect.Effect<A, Refused> {
    const found = this.open_.get(number);
    const closed = refuse(`stream: stream ${number} is not open`);
    if (found === undefined) return closed;
    return found.turn.withPermit(Effect.suspend(() => (found.stream.isClosed ? closed : act(found))));
  }
}

const memberKey = ({ id, memberId }: { readonly id: string; readonly memberId: string }): string => `${memberId} ${id}`;
