/**
 * The Controller actor: it decides over the written image, appends one batch per command, and publishes the committed
 * image. What must stay true: the published image changes once per commit and only forwards; a reply is given after its
 * records are durable, in the image and hosted, also a reply without records (it has seen what is before it); a failed
 * or fenced append ends this controller, because what it decided since is void.
 */
import * as Effect from "effect/Effect";
import type { ControllerPort, ProducerIdAndEpoch } from "../src/api/Ports.ts";
import {
  type AllocateProducerIdsReply,
  type ControllerCommand,
  type ControllerReply,
  type ControllerRules,
  decide,
} from "../src/metadata/Controller.ts";
import { applyRecords } from "../src/metadata/MetadataDelta.ts";
import type { MetadataImage } from "../src/metadata/MetadataImage.ts";
import type { AppendOutcome, MetadataLog } from "../src/metadata/MetadataLog.ts";
import type { MetadataRecord } from "../src/metadata/MetadataRecords.ts";
import { buggify } from "../src/prelude/Buggify.ts";
import { isPending, type Offset, type ProducerId } from "../src/prelude/Types.ts";
import { type ActorContext, type ActorRef, type Behavior, spawn } from "./Actor.ts";

interface ControllerMessage {
  readonly command: ControllerCommand;
  readonly settle: (reply: Effect.Effect<unknown>) => void;
}

interface Undelivered {
  /** The image after the command and the exclusive end of the log it waits for. */
  readonly image: MetadataImage;
  readonly endOffset: Offset;
  readonly records: ReadonlyArray<MetadataRecord>;
  readonly deliver: () => void;
}

export interface ControllerEnvironment extends ActorContext {
  readonly metadataLog: MetadataLog;
  readonly rules: () => ControllerRules;
  /** Hosts what the image says, before any reply that depends on it. */
  readonly published: (image: MetadataImage, records: ReadonlyArray<MetadataRecord>) => void;
  /** The controller cannot go on: the broker stops. */
  readonly fatal: (why: string) => void;
}

export class Controller implements Behavior<ControllerMessage>, ControllerPort {
  private readonly actor: ActorRef<ControllerMessage>;
  /** After everything appended, committed or not: what is decided from. */
  private written: MetadataImage;
  /** After everything committed: what everyone else sees. */
  private committed: MetadataImage;
  private undelivered: Undelivered[] = [];
  /** Exclusive end of what is known to be durable. */
  private committedEnd: Offset = 0;
  private ended: string | undefined;
  private block = { next: 0 as ProducerId, end: 0 as ProducerId };
  private blockWaiters: Array<(effect: Effect.Effect<void>) => void> = [];
  private identity = { brokerId: -1, brokerEpoch: -1 };

  constructor(
    image: MetadataImage,
    private readonly environment: ControllerEnvironment,
  ) {
    this.written = image;
    this.committed = image;
    this.actor = spawn(environment, "controller", this);
  }

  image(): MetadataImage {
    return this.committed;
  }

  /** Who asks for producer-id blocks: this broker's own registration. */
  registered(brokerId: number, brokerEpoch: number): void {
    this.identity = { brokerId, brokerEpoch };
  }

  ask<C extends ControllerCommand>(command: C): Effect.Effect<ControllerReply<C>> {
    return Effect.callback<ControllerReply<C>>((resume) => {
      this.actor.tell({ command, settle: (reply) => resume(reply as Effect.Effect<ControllerReply<C>>) });
    });
  }

  nextProducerId(): Effect.Effect<ProducerIdAndEpoch> {
    return Effect.suspend(() => {
      if (this.block.next === this.block.end) return Effect.flatMap(this.refillBlock(), () => this.nextProducerId());
      if (buggify("the rest of a block of producer ids is given up", 0.3)) {
        this.block.next = this.block.end;
        return this.nextProducerId();
      }
      const producerId = this.block.next;
      this.block.next += 1;
      return Effect.succeed({ producerId, producerEpoch: 0 });
    });
  }

  turn(messages: ReadonlyArray<ControllerMessage>): void {
    for (const { command, settle } of messages) {
      if (this.ended !== undefined) settle(Effect.die(new Error(this.ended)));
      else this.handle(command, settle);
    }
    this.deliver();
  }

  abandon(messages: ReadonlyArray<ControllerMessage>, why: string): void {
    for (const { settle } of messages) settle(Effect.die(new Error(why)));
  }

  reload(why: string): void {
    this.end(why);
  }

  offline(why: string): void {
    this.end(why);
  }

  private handle(command: ControllerCommand, settle: ControllerMessage["settle"]): void {
    const { records, reply } = decide(this.written, command, this.environment.rules());
    const expected = this.written.provenance.lastContainedOffset + 1;
    const endOffset = expected + records.length;
    const deliver = (): void => settle(Effect.succeed(reply));
    if (records.length === 0) {
      this.undelivered.push({ image: this.written, endOffset, records, deliver });
      return;
    }
    const { metadataLog } = this.environment;
    this.written = applyRecords(this.written, records, endOffset, metadataLog.epoch);
    this.undelivered.push({ image: this.written, endOffset, records, deliver });
    const outcome = metadataLog.append(records, expected, metadataLog.epoch);
    if (!isPending(outcome)) return this.appended(outcome);
    outcome.then(
      (done) => {
        this.appended(done);
        this.deliver();
        this.environment.tasks.drain();
      },
      (error: unknown) => this.end(`the metadata log failed: ${String(error)}`),
    );
  }

  private appended(outcome: AppendOutcome): void {
    if (outcome.kind === "fenced") this.end("another controller has written to the metadata log");
    else this.committedEnd = Math.max(this.committedEnd, outcome.endOffset);
  }

  /** Publishes what is committed, all of it at once, and then gives the replies that waited for it, in order. */
  private deliver(): void {
    if (this.ended !== undefined) return;
    const end = Math.max(this.committedEnd, this.committed.provenance.lastContainedOffset + 1);
    const ready: Undelivered[] = [];
    while (this.undelivered.length > 0 && this.undelivered[0]!.endOffset <= end) ready.push(this.undelivered.shift()!);
    const last = ready.at(-1);
    if (last === undefined) return;
    if (last.image !== this.committed) {
      this.committed = last.image;
      this.environment.published(
        last.image,
        ready.flatMap((entry) => entry.records),
      );
    }
    for (const { deliver } of ready) deliver();
  }

  /** One request for a block at a time; everyone who needs an id meanwhile waits for it. */
  private refillBlock(): Effect.Effect<void> {
    return Effect.callback<void>((resume) => {
      this.blockWaiters.push(resume);
      if (this.blockWaiters.length > 1) return;
      const settle: ControllerMessage["settle"] = (answer) => {
        const waiters = this.blockWaiters;
        this.blockWaiters = [];
        const refilled = Effect.flatMap(answer as Effect.Effect<AllocateProducerIdsReply>, (reply) => {
          if (reply.error !== undefined) return Effect.die(new Error(`no producer ids: ${reply.error.message}`));
          this.block = { next: reply.producerIdStart, end: reply.producerIdStart + reply.producerIdLen };
          return Effect.void;
        });
        // The first waiter's fiber takes the block in; the others then find it there.
        for (const [index, waiter] of waiters.entries()) waiter(index === 0 ? refilled : Effect.void);
      };
      this.actor.tell({ command: { type: "AllocateProducerIds", ...this.identity }, settle });
    });
  }

  private end(why: string): void {
    if (this.ended !== undefined) return;
    this.ended = why;
    this.undelivered = [];
    this.environment.fatal(`controller: ${why}`);
  }
}
