/**
 * The one actor runtime: a fiber that drains a mailbox of typed messages, turn by turn. It owns the mailbox and the
 * fiber's life; the behaviour owns the state.
 *
 * What must stay true: messages are handled in the order they were told; everything that arrived during a turn is the
 * next turn; a `tell` never waits, is never refused and never runs a turn inside itself; messages of a stopped actor
 * are abandoned at once, so that no asker waits for ever.
 *
 * A defect in a turn: its askers are settled (`abandon`), the behaviour reloads once and goes on. The same defect in the
 * next turn, or a failing reload, takes the behaviour `offline`; its neighbours are not touched.
 */
import * as Cause from "effect/Cause";
import * as Effect from "effect/Effect";
import * as Fiber from "effect/Fiber";
import type { Clock } from "../src/platform/Clock.ts";
import type { TaskList } from "../src/platform/TaskList.ts";
import { buggify } from "../src/prelude/Buggify.ts";
import type { MaybePending } from "../src/prelude/Types.ts";
import { isPending } from "../src/prelude/Types.ts";

export interface Behavior<Message> {
  /** Handles everything that arrived since the last turn, in order. */
  turn(messages: ReadonlyArray<Message>): MaybePending<void>;
  /** Settles the askers of messages that no turn will finish; must not throw. */
  abandon(messages: ReadonlyArray<Message>, why: string): void;
  /** Rebuilds the state from what is stored, after a defect. */
  reload(why: string): MaybePending<void>;
  /** The defect came back or the reload failed: refuse everything from now on. */
  offline(why: string): void;
}

/** What an operator sees of an actor. */
export interface ActorMetrics {
  depth: number;
  processed: number;
  turns: number;
  restarts: number;
  /** Sum of the turns' durations, in milliseconds. */
  busyMs: number;
}

export interface ActorRef<Message> {
  readonly name: string;
  readonly metrics: ActorMetrics;
  tell(message: Message): void;
  /** Abandons what is in the mailbox and ends the fiber. */
  stop(): Effect.Effect<void>;
}

export interface ActorContext {
  readonly tasks: TaskList;
  readonly clock: Clock;
  /** Starts an actor's fiber under the broker's supervision. */
  readonly fork: (effect: Effect.Effect<void>) => Fiber.Fiber<void>;
  readonly log: (level: "info" | "warn" | "error", message: string) => void;
}

export const spawn = <Message>(context: ActorContext, name: string, behavior: Behavior<Message>): ActorRef<Message> =>
  new MailboxActor(context, name, behavior);

class MailboxActor<Message> implements ActorRef<Message> {
  readonly metrics: ActorMetrics = { depth: 0, processed: 0, turns: 0, restarts: 0, busyMs: 0 };
  private mailbox: Message[] = [];
  /** The batch in flight stays outside the loop: a defect in a turn must not leave its askers waiting for ever. */
  private inFlight: ReadonlyArray<Message> = [];
  private wake: ((effect: Effect.Effect<void>) => void) | undefined;
  private stopped = false;
  private lastDefect: string | undefined;
  private readonly fiber: Fiber.Fiber<void>;

  constructor(
    private readonly context: ActorContext,
    readonly name: string,
    private readonly behavior: Behavior<Message>,
  ) {
    this.fiber = context.fork(this.supervised());
  }

  tell(message: Message): void {
    if (this.stopped) {
      this.behavior.abandon([message], `${this.name} has stopped`);
      return;
    }
    this.mailbox.push(message);
    this.metrics.depth = this.mailbox.length;
    const wake = this.wake;
    if (wake === undefined) return;
    this.wake = undefined;
    this.context.tasks.schedule(() => wake(Effect.void));
  }

  stop(): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.stopped = true;
      const left = this.mailbox;
      this.mailbox = [];
      if (left.length > 0) this.behavior.abandon(left, `${this.name} is stopping`);
      return Fiber.interrupt(this.fiber);
    });
  }

  private readonly arrival = Effect.callback<void>((resume) => {
    if (this.mailbox.length > 0) resume(Effect.void);
    else this.wake = resume;
  });

  /** The loop ends only by a defect or a stop; after a defect it begins again with what the behaviour has rebuilt. */
  private supervised(): Effect.Effect<void> {
    const guarded = this.loop.pipe(Effect.catchCause((cause) => this.recover(cause)));
    const actor = this;
    return Effect.gen(function* () {
      while (!actor.stopped) yield* guarded;
    });
  }

  private recover(cause: Cause.Cause<never>): Effect.Effect<void> {
    if (this.stopped) return Effect.void;
    const why = Cause.pretty(cause);
    this.context.log("error", `${this.name}: ${why}`);
    this.behavior.abandon(this.inFlight, why);
    this.inFlight = [];
    const defect = String(Cause.squash(cause));
    if (this.lastDefect === defect) return Effect.sync(() => this.behavior.offline(why));
    this.lastDefect = defect;
    this.metrics.restarts += 1;
    return Effect.suspend(() => settle(this.behavior.reload(why))).pipe(
      Effect.catchCause((failure) => Effect.sync(() => this.behavior.offline(Cause.pretty(failure)))),
    );
  }

  private readonly loop: Effect.Effect<void> = Effect.suspend(() => {
    const actor = this;
    return Effect.gen(function* () {
      while (!actor.stopped) {
        if (actor.mailbox.length === 0) yield* actor.arrival;
        const messages = actor.mailbox;
        const some = messages.length > 1 && buggify("a turn takes one message of many");
        actor.mailbox = some ? messages.splice(1) : [];
        actor.metrics.depth = actor.mailbox.length;
        actor.inFlight = messages;
        const started = actor.context.clock.monotonic();
        const pending = actor.behavior.turn(messages);
        if (isPending(pending)) yield* Effect.promise(() => pending);
        actor.metrics.busyMs += actor.context.clock.monotonic() - started;
        actor.metrics.turns += 1;
        actor.metrics.processed += messages.length;
        actor.inFlight = [];
        if (messages.length > 0) actor.lastDefect = undefined;
      }
    });
  });
}

const settle = (pending: MaybePending<void>): Effect.Effect<void> =>
  isPending(pending) ? Effect.promise(() => pending) : Effect.void;
