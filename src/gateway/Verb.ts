/**
 * What a verb is: one thing a client can ask by `call` over a WebSocket or as a request of the HTTP API, with the same
 * body and the same answer. Each is a few typed requests to the handlers that serve TCP clients. An error of one topic,
 * partition or group stands in its entry; a `Refused` is about the whole.
 */
import type * as Effect from "effect/Effect";
import type { Codecs } from "../record/Compression.ts";
import type { Caller, Refused } from "./Caller.ts";
import type { Verb, Verbs } from "./Messages.ts";
import type { Shape } from "./Shape.ts";

export interface VerbContext {
  readonly caller: Caller;
  readonly codecs: Codecs;
  /** The largest answer, about. */
  readonly maxAnswerBytes: number;
}

export interface VerbDefinition<V extends Verb = Verb> {
  readonly name: V;
  /** For the HTTP API: `{field}` is a field of the body, or a list of them with commas. */
  readonly method: "GET" | "POST" | "DELETE";
  readonly path: string;
  readonly summary: string;
  readonly body: Shape<Verbs[V]["body"]>;
  /** Fields of a GET's body that change something: for `call` only, because any page can make a browser follow a link. */
  readonly writes?: ReadonlyArray<string>;
  /** What it answers, for OpenAPI. */
  readonly answer: Shape<Verbs[V]["answer"]>;
  run(body: Verbs[V]["body"], context: VerbContext): Effect.Effect<Verbs[V]["answer"], Refused>;
}

/** A definition whose verb is known at run time only. */
export interface AnyVerb extends Omit<VerbDefinition, "body" | "answer" | "run"> {
  readonly body: Shape<unknown>;
  readonly answer: Shape<unknown>;
  run(body: unknown, context: VerbContext): Effect.Effect<unknown, Refused>;
}

export const defineVerb = <V extends Verb>(definition: VerbDefinition<V>): AnyVerb => ({
  ...definition,
  // What `body` has parsed is what `run` takes.
  run: (body, context) => definition.run(body as Verbs[V]["body"], context),
});

/** Kafka answers what it refuses first; a client asks in an order of its own. */
export const inOrder = <A>(
  asked: ReadonlyArray<string>,
  answers: ReadonlyArray<A>,
  nameOf: (answer: A) => string,
): ReadonlyArray<A> => {
  const places = new Map(asked.map((name, index) => [name, index]));
  return [...answers].sort((a, b) => (places.get(nameOf(a)) ?? 0) - (places.get(nameOf(b)) ?? 0));
};
