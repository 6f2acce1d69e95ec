/**
 * The HTTP API on Elysia: a thin shell that turns requests into verbs and their outcomes into answers. It is loaded by the
 * first request that needs it (Elysia costs a fifth of a second). What must stay true: each request is answered once, an
 * error in the one form all errors have; what a request holds is charged like a frame; a request whose client is gone
 * waits for nothing.
 */
import * as Cause from "effect/Cause";
import type * as Effect from "effect/Effect";
import * as Exit from "effect/Exit";
import { Elysia } from "elysia";
import { VERSION } from "../src/cli/Version.ts";
import { Refused } from "../src/gateway/Caller.ts";
import { BodyLate, fromText, readBody, wholeBody } from "../src/gateway/HttpBody.ts";
import { idempotentRequest, produceBody, produceByHttp } from "../src/gateway/HttpProduce.ts";
import type { PartitionFrom, Verbs, WireError } from "../src/gateway/Messages.ts";
import { openApiDocument, openApiPage } from "../src/gateway/OpenApi.ts";
import { ShapeError } from "../src/gateway/Shape.ts";
import { bearerOf } from "../src/gateway/StreamUpgrade.ts";
import type { AnyVerb, VerbContext } from "../src/gateway/Verb.ts";
import { runVerb, verbs } from "../src/gateway/Verbs.ts";
import { invalidRequest, wireError } from "../src/gateway/WireError.ts";
import type { HttpConnection } from "../src/platform/HttpServer.ts";
import { Errors } from "../src/protocol/Errors.ts";
import { eventPartitions, eventResponse, resumedFrom } from "./EventRequests.ts";
import type { Gateway } from "./Gateway.ts";
import { GatewayCaller, GatewayConnection } from "./GatewayCaller.ts";
import { GatewayEvents } from "./GatewayEvents.ts";
import type { GatewayEnvironment } from "./GatewaySession.ts";
import {
  ANSWER_HEADERS,
  type Answer,
  errorAnswer,
  NOBODY_LISTENS,
  refusal,
  responseOf,
  statusOf,
} from "./HttpAnswers.ts";

export interface GatewayApiOptions {
  readonly sha256: (bytes: Uint8Array) => Uint8Array;
  /** A place for a long connection from the host, given back by the answer; undefined when there is none. */
  readonly admit: (host: string) => (() => void) | undefined;
}

type Params = Readonly<Record<string, string>>;

/** One request under way. */
interface Call {
  readonly request: Request;
  readonly params: Params;
  readonly connection: HttpConnection;
  readonly asker: GatewayConnection;
  readonly caller: GatewayCaller;
  readonly principal: string;
}

const MAX_EVENT_STREAMS = 1024;
const IDEMPOTENCY_KEY = "idempotency-key";
const MAX_IDEMPOTENCY_KEY = 255;

const PAGE_HEADERS = {
  ...ANSWER_HEADERS,
  "content-type": "text/html; charset=utf-8",
  "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
};

export class GatewayApi {
  private readonly environment: GatewayEnvironment;
  private readonly app: { handle(request: Request): Promise<Response> };
  private readonly connections = new WeakMap<Request, HttpConnection>();
  private readonly events = new Set<GatewayEvents>();
  private nextId = 1;
  private readonly utf8 = new TextEncoder();

  constructor(
    gateway: Gateway,
    private readonly options: GatewayApiOptions,
  ) {
    this.environment = gateway.environment;
    this.app = this.routes();
  }

  handle(request: Request, connection: HttpConnection): Promise<Response> {
    this.connections.set(request, connection);
    return this.app.handle(request);
  }

  /** The broker stops. */
  mute(): void {
    for (const events of [...this.events]) events.goAway("the broker is stopping");
  }

  private routes(): GatewayApi["app"] {
    const app = new Elysia({ normalize: false });
    const serve = (method: string, path: string, act: (call: Call) => Promise<Answer | Response>): void => {
      const { pattern, paramsOf } = elysiaPath(path);
      app.route(method, pattern, ({ request, params }) => this.answer(request, paramsOf(params), act), {
        parse: "none",
      });
    };
    for (const verb of verbs) serve(verb.method, verb.path, (call) => this.verb(verb, call));
    serve("POST", "/v1/topics/{topic}/records", (call) => this.produce(call));
    serve("GET", "/v1/topics/{topic}/partitions/{partition}/records", (call) => this.records(call));
    serve("GET", "/v1/events", (call) => this.eventStream(call));
    return app
      .get("/openapi/json", () => Response.json(openApiDocument(VERSION)))
      .get("/openapi", () => new Response(openApiPage(VERSION), { headers: PAGE_HEADERS }))
      .onError(({ code, error, request }) => {
        if (code === "NOT_FOUND") {
          return refusal(
            request,
            404,
            invalidRequest(`there is no ${request.method} ${new URL(request.url).pathname}`),
          );
        }
        this.environment.log("error", `gateway ${request.method} ${request.url}: ${String(error)}`);
        return refusal(request, 500, wireError(Errors.UNKNOWN_SERVER_ERROR));
      });
  }

  /** Who asks, on what connection, and what becomes of the outcome. */
  private async answer(
    request: Request,
    params: Params,
    act: (call: Call) => Promise<Answer | Response>,
  ): Promise<Response> {
    const connection = this.connections.get(request)!;
    const { ports, tasks, listenerName, authenticate, requestLog, clock } = this.environment;
    const startedAt = clock.monotonic();
    const { local, remote } = connection;
    if (request.method === "POST" && this.environment.credit.isExhausted) {
      return refusal(request, 503, wireError(Errors.THROTTLING_QUOTA_EXCEEDED, "too much is being written"));
    }
    const token = bearerOf(request.headers.get("authorization"));
    const principal = await authenticate(token, { local, remote, ...(token === undefined ? {} : { token }) });
    if (principal === undefined) {
      return refusal(
        request,
        401,
        wireError(Errors.SASL_AUTHENTICATION_FAILED, "the token is missing, wrong or has expired"),
      );
    }
    const asker = new GatewayConnection(this.nextId++, local, remote, tasks, noop, noop);
    asker.software = { name: request.headers.get("user-agent")?.slice(0, 255) ?? "http", version: "" };
    // Whatever waits for it waits no longer.
    const gone = (): void => asker.close();
    request.signal.addEventListener("abort", gone);
    const caller = new GatewayCaller(ports, asker, listenerName, () => principal);
    try {
      const unreadable = Object.keys(params).find((name) => params[name] === "");
      if (unreadable !== undefined) throw new ShapeError(`${unreadable}: expected a name in UTF-8, percent-encoded`);
      const answer = await act({ request, params, connection, asker, caller, principal });
      requestLog()?.(
        `gateway ${request.method} ${new URL(request.url).pathname} ${(clock.monotonic() - startedAt).toFixed(3)} ms`,
      );
      // A stream of events goes on.
      if (answer instanceof Response) return answer;
      asker.close();
      return responseOf(request, answer);
    } catch (error) {
      asker.close();
      if (error instanceof ShapeError) return refusal(request, 400, invalidRequest(error.message));
      if (error instanceof BodyLate) return refusal(request, 408, invalidRequest(error.message));
      throw error;
    }
  }

  private context(caller: GatewayCaller): VerbContext {
    const { ports, limits } = this.environment;
    return { caller, codecs: ports.codecs, maxAnswerBytes: limits.frameBytes };
  }

  private async verb(verb: AnyVerb, call: Call): Promise<Answer> {
    const body = await this.fields(verb, call);
    if (verb.name === "records.fetch") call.connection.waitForAnswer();
    return this.settled(call, runVerb(verb.name, body, this.context(call.caller)), (value) => ({
      status: statusOf(value),
      value,
    }));
  }

  /** Path and query for what has no body, path and body for what has one. */
  private async fields(verb: AnyVerb, { request, params, asker }: Call): Promise<Readonly<Record<string, unknown>>> {
    const { schema } = verb.body;
    const inPath = fromText(Object.entries(params), schema);
    if (verb.method !== "POST") {
      const query = new URL(request.url).searchParams;
      const writes = verb.writes?.find((name) => query.has(name));
      if (writes !== undefined) throw new ShapeError(`${writes}: a GET changes nothing`);
      return { ...fromText(query, schema), ...inPath };
    }
    const bytes = await this.bytesOf(request, asker);
    return { ...readBody(bytes, request.headers.get("content-type")), ...inPath };
  }

  private async produce(call: Call): Promise<Answer> {
    const { request, params, asker, caller, principal } = call;
    const { ports } = this.environment;
    const bytes = await this.bytesOf(request, asker);
    const body = produceBody.parse(readBody(bytes, request.headers.get("content-type")), "");
    const topic = params.topic!;
    const key = request.headers.get(IDEMPOTENCY_KEY);
    const context = {
      caller,
      randomBelow: (bound: number) => ports.random.below(bound),
      producers: (topicId: string, partition: number, producerId: number) => {
        const view = ports.replicas.view(topicId, partition);
        if (typeof view === "number") return { count: 0, known: false };
        const { producers } = view.state;
        return { count: producers.size, known: producers.get(producerId) !== undefined };
      },
    };
    const idempotent = key === null ? undefined : this.idempotent(key, principal, topic, bytes);
    return this.settled(call, produceByHttp(context, topic, body, idempotent), (records) => ({
      status: records.some((record) => "error" in record) ? 207 : 200,
      value: { records },
    }));
  }

  /** The body, charged to the credit of unanswered requests until this one is answered. */
  private async bytesOf(request: Request, asker: GatewayConnection): Promise<Uint8Array> {
    const { credit, ports } = this.environment;
    const bytes = await wholeBody(request.body, (ms, task) => ports.timers.after(ms, task));
    const holder = { creditAvailable: noop };
    credit.take(holder, bytes.length);
    asker.onClose(() => {
      credit.give(bytes.length);
      credit.leave(holder);
    });
    return bytes;
  }

  private idempotent(key: string, principal: string, topic: string, body: Uint8Array) {
    if (key.length === 0 || key.length > MAX_IDEMPOTENCY_KEY) {
      throw new ShapeError(`Idempotency-Key: expected 1 … ${MAX_IDEMPOTENCY_KEY} characters, got ${key.length}`);
    }
    const { sha256 } = this.options;
    const owner = this.utf8.encode(`${principal}\n${key}`);
    const place = this.utf8.encode(`${topic}\n`);
    const whole = new Uint8Array(place.length + body.length);
    whole.set(place);
    whole.set(body, place.length);
    return idempotentRequest(sha256(owner), sha256(whole));
  }

  private records(call: Call): Promise<Answer> {
    const { request, params, connection, caller } = call;
    const query = Object.fromEntries(new URL(request.url).searchParams);
    const { from, timestamp, leaderEpoch, topicId, ...rest } = query;
    const number = (text: string): number | string => (/^-?\d{1,16}$/.test(text) ? Number(text) : text);
    const place = (): unknown => {
      if (timestamp !== undefined) return { timestamp: number(timestamp) };
      if (from === undefined || from === "earliest" || from === "latest") return from ?? "earliest";
      if (topicId === undefined) return { offset: number(from) };
      return { offset: number(from), leaderEpoch: number(leaderEpoch ?? "-1"), topicId };
    };
    const partition = { topic: params.topic, partition: number(params.partition ?? ""), from: place() };
    const numbers = Object.fromEntries(Object.entries(rest).map(([name, text]) => [name, number(text)]));
    connection.waitForAnswer();
    const body = { ...numbers, partitions: [partition] };
    return this.settled(call, runVerb("records.fetch", body, this.context(caller)), (answer) => {
      const [entry] = (answer as Verbs["records.fetch"]["answer"]).partitions;
      return "error" in entry! ? errorAnswer(entry.error) : { status: 200, value: entry };
    });
  }

  private async eventStream(call: Call): Promise<Answer | Response> {
    const { request, caller, connection, asker, principal } = call;
    const image = this.environment.ports.metadata.image();
    const query = new URL(request.url).searchParams;
    const topics = (query.get("topics") ?? "").split(",").filter((topic) => topic !== "");
    if (topics.length === 0) throw new ShapeError("topics: expected names of topics, separated by commas");
    const isolation = query.get("isolation") ?? "read_committed";
    if (isolation !== "read_committed" && isolation !== "read_uncommitted") {
      throw new ShapeError('isolation: expected "read_committed" or "read_uncommitted"');
    }
    const partitions = eventPartitions(image, topics, query.get("from") ?? "latest", resumedFrom(request, query));
    if (!Array.isArray(partitions)) return errorAnswer(partitions as WireError);
    const release = this.events.size < MAX_EVENT_STREAMS ? this.options.admit(connection.remote.host) : undefined;
    if (release === undefined) {
      return { status: 503, value: { error: wireError(Errors.BROKER_NOT_AVAILABLE, "too many connections", true) } };
    }
    asker.onClose(release);
    const ended = (): void => {
      this.events.delete(events);
      asker.close();
    };
    const settings = { partitions: partitions as PartitionFrom[], isolation } as const;
    const events: GatewayEvents = new GatewayEvents(this.environment, caller, principal, settings, ended);
    return this.settled(call, events.open(), () => {
      connection.waitForAnswer();
      this.events.add(events);
      asker.onClose(() => events.close());
      return eventResponse(events);
    });
  }

  private settled<A, B extends Answer | Response>(
    { asker }: Call,
    effect: Effect.Effect<A, Refused>,
    succeeded: (value: A) => B,
  ): Promise<B | Answer> {
    return new Promise((resolve, reject) => {
      const forget = asker.onClose(() => resolve(NOBODY_LISTENS));
      this.environment.run(effect).addObserver((exit) => {
        forget();
        if (Exit.isSuccess(exit)) return resolve(succeeded(exit.value));
        const failure = Cause.squash(exit.cause);
        if (!(failure instanceof Refused)) return reject(failure);
        const { error, recordErrors } = failure;
        resolve(errorAnswer(error, recordErrors));
      });
    });
  }
}

/** Elysia wants one name for one place of a path, whatever a route calls it. */
const elysiaPath = (path: string): { readonly pattern: string; readonly paramsOf: (params: Params) => Params } => {
  const names: string[] = [];
  const pattern = path.replaceAll(/\{(\w+)\}/g, (_whole, name: string) => `:at${names.push(name) - 1}`);
  const paramsOf = (params: Params): Params =>
    Object.fromEntries(names.map((name, index) => [name, params[`at${index}`] ?? ""]));
  return { pattern, paramsOf };
};

const noop = (): void => undefined;
