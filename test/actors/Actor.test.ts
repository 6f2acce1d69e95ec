import { describe, expect, test } from "bun:test";
import * as Effect from "effect/Effect";
import { type Behavior, spawn } from "../../actors/Actor.ts";
import { testActorContext } from "../support/ActorContexts.ts";

/** Records what the runtime asks of a behaviour; `fails` decides which messages are defects. */
class Recorder implements Behavior<string> {
  readonly events: string[] = [];
  fails: (message: string) => boolean = () => false;
  reloadFails = false;
  pending: Promise<void> | undefined;

  turn(messages: ReadonlyArray<string>): void | Promise<void> {
    for (const message of messages) if (this.fails(message)) throw new Error(`defect at ${message}`);
    this.events.push(`turn ${messages.join(",")}`);
    return this.pending;
  }

  abandon(messages: ReadonlyArray<string>): void {
    this.events.push(`abandon ${messages.join(",")}`);
  }

  reload(): void {
    this.events.push("reload");
    if (this.reloadFails) throw new Error("cannot reload");
  }

  offline(): void {
    this.events.push("offline");
    this.fails = () => false;
  }
}

const start = () => {
  const setup = testActorContext();
  const behavior = new Recorder();
  const actor = spawn(setup.context, "test", behavior);
  return { ...setup, behavior, actor };
};

describe("Actor", () => {
  test("what arrives before a turn is one turn, in order, and no turn runs inside tell", () => {
    const { actor, behavior, tasks } = start();
    actor.tell("a");
    actor.tell("b");
    expect(behavior.events).toEqual([]);
    tasks.drain();
    actor.tell("c");
    tasks.drain();
    expect(behavior.events).toEqual(["turn a,b", "turn c"]);
    expect(actor.metrics).toMatchObject({ depth: 0, processed: 3, turns: 2, restarts: 0 });
  });

  test("messages that arrive during a pending turn wait for it and are the next turn", async () => {
    const { actor, behavior, tasks } = start();
    const gate = Promise.withResolvers<void>();
    behavior.pending = gate.promise;
    actor.tell("a");
    tasks.drain();
    behavior.pending = undefined;
    actor.tell("b");
    actor.tell("c");
    tasks.drain();
    expect(behavior.events).toEqual(["turn a"]);
    gate.resolve();
    await gate.promise;
    await Promise.resolve();
    tasks.drain();
    expect(behavior.events).toEqual(["turn a", "turn b,c"]);
  });

  test("a defect abandons the turn's messages, reloads once and goes on", () => {
    const { actor, behavior, tasks, lines } = start();
    behavior.fails = (message) => message === "bad";
    actor.tell("bad");
    actor.tell("beside");
    tasks.drain();
    actor.tell("after");
    tasks.drain();
    expect(behavior.events).toEqual(["abandon bad,beside", "reload", "turn after"]);
    expect(actor.metrics.restarts).toBe(1);
    expect(lines[0]).toContain("defect at bad");
  });

  test("the same defect in the next turn takes it offline, and it still answers", () => {
    const { actor, behavior, tasks } = start();
    behavior.fails = (message) => message === "bad";
    actor.tell("bad");
    tasks.drain();
    actor.tell("bad");
    tasks.drain();
    actor.tell("later");
    tasks.drain();
    expect(behavior.events).toEqual(["abandon bad", "reload", "abandon bad", "offline", "turn later"]);
  });

  test("a failing reload takes it offline", () => {
    const { actor, behavior, tasks } = start();
    behavior.fails = () => true;
    behavior.reloadFails = true;
    actor.tell("bad");
    tasks.drain();
    expect(behavior.events).toEqual(["abandon bad", "reload", "offline"]);
  });

  test("a stopped actor abandons what is left and what comes later", () => {
    const { actor, behavior } = start();
    actor.tell("left");
    Effect.runSync(Effect.asVoid(actor.stop()));
    actor.tell("late");
    expect(behavior.events).toEqual(["abandon left", "abandon late"]);
  });
});
