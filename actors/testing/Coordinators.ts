/**
 * Where the coordinators of groups and transactional ids are, and calls to them with the retry rules that all of them
 * share: a coordinator that moved or is gone is looked for again, one that is loading is asked again. What must stay
 * true: a caller is told whether an earlier attempt may have taken effect, because only then is a refusal not definite.
 */
import type { MonotonicMs } from "../../src/prelude/Types.ts";
import {
  ApiKey,
  Apis,
  apiName,
  type KnownApiKey,
  type RequestOf,
  type ResponseOf,
} from "../../src/protocol/ApiKeys.ts";
import { Errors, isRetriable } from "../../src/protocol/Errors.ts";
import type { KafkaClient } from "./KafkaClient.ts";
import { ConnectionLost } from "./KafkaConnection.ts";
import { KafkaError } from "./KafkaError.ts";

export type CoordinatorKind = "group" | "transaction";

const KEY_TYPES: Readonly<Record<CoordinatorKind, number>> = { group: 0, transaction: 1 };

export interface CoordinatorCall<K extends KnownApiKey> {
  readonly kind: CoordinatorKind;
  /** The group's or the transactional id. */
  readonly key: string;
  readonly apiKey: K;
  /** Made anew for every attempt; fields that are not given have Kafka's defaults. */
  readonly message: (version: number) => Partial<RequestOf<K>>;
  /** The newest version to speak. */
  readonly newest?: number;
  /** The answer's error code. */
  readonly errorOf: (answer: ResponseOf<K>) => number;
  /** Codes to try again for, beside those of a coordinator that is elsewhere or not ready. */
  readonly retriable?: (code: number) => boolean;
  readonly deadline: MonotonicMs;
  /** Which connection; requests of one purpose are answered in their order. */
  readonly purpose: string;
  readonly timeoutMs?: number;
  /** Asked before each attempt, and again when there is a connection for it; true ends the call as unanswered. */
  readonly cancelled?: () => boolean;
}

export interface CoordinatorAnswer<K extends KnownApiKey> {
  readonly answer: ResponseOf<K>;
  readonly code: number;
  /** An attempt before this one may have taken effect: it got no answer, or one that does not rule it out. */
  readonly unknownBefore: boolean;
}

/** No answer before the deadline. */
export class Unanswered extends Error {
  override readonly name = "Unanswered";
  constructor(
    what: string,
    /** Some attempt may have taken effect. */
    readonly maybeDone: boolean,
    options?: ErrorOptions,
  ) {
    super(what, options);
  }
}

const ELSEWHERE: ReadonlySet<number> = new Set([Errors.NOT_COORDINATOR, Errors.COORDINATOR_NOT_AVAILABLE]);
/** What a coordinator answers when it could not be sure that what it appended is written (Kafka's error of the append). */
const MAY_HAVE_WRITTEN: ReadonlySet<number> = new Set([...ELSEWHERE, Errors.REQUEST_TIMED_OUT]);

export class Coordinators {
  private readonly known = new Map<string, Promise<number>>();

  constructor(private readonly client: KafkaClient) {}

  /** The coordinator's node id, asked for when it is not known. Rejects like a request. */
  find(kind: CoordinatorKind, key: string): Promise<number> {
    const name = `${kind} ${key}`;
    const known = this.known.get(name);
    if (known !== undefined) return known;
    const asked = this.ask(kind, key);
    this.known.set(name, asked);
    asked.catch(() => {
      if (this.known.get(name) === asked) this.known.delete(name);
    });
    return asked;
  }

  forget(kind: CoordinatorKind, key: string): void {
    this.known.delete(`${kind} ${key}`);
  }

  /** Rejects with `Unanswered`, or with what no retry can help. */
  async call<K extends KnownApiKey>(call: CoordinatorCall<K>): Promise<CoordinatorAnswer<K>> {
    const { kind, key, apiKey } = call;
    const { clock } = this.client.platform;
    const what = `${apiName(apiKey)} of ${kind} ${key}`;
    let unknownBefore = false;
    let last: unknown;
    const unlessEnded = (): void => {
      if (call.cancelled?.() === true) throw new Unanswered(`${what} was ended`, unknownBefore);
    };
    for (;;) {
      unlessEnded();
      try {
        const node = await this.find(kind, key);
        const connection = await this.client.connection(node, call.purpose);
        unlessEnded();
        const newest = connection.versionOf(apiKey);
        const version = Math.min(newest ?? -1, call.newest ?? Number.POSITIVE_INFINITY);
        if (version < 0) throw new KafkaError(Errors.UNSUPPORTED_VERSION, what);
        const message = { ...Apis[apiKey].request.empty(), ...call.message(version) } as RequestOf<K>;
        const answer = await connection.request(apiKey, message, version, call.timeoutMs);
        const code = call.errorOf(answer);
        const elsewhere = ELSEWHERE.has(code);
        if (elsewhere) this.forget(kind, key);
        const again = elsewhere || code === Errors.COORDINATOR_LOAD_IN_PROGRESS || (call.retriable?.(code) ?? false);
        if (!again) return { answer, code, unknownBefore };
        if (MAY_HAVE_WRITTEN.has(code)) unknownBefore = true;
        last = new KafkaError(code, what);
      } catch (error) {
        const passing = error instanceof ConnectionLost || (error instanceof KafkaError && isRetriable(error.code));
        if (!passing || this.client.isClosed) throw error;
        if (error instanceof ConnectionLost) {
          if (error.sent) unknownBefore = true;
          // Another broker may be the coordinator by now.
          this.forget(kind, key);
        }
        last = error;
      }
      const backoff = this.client.options.retryBackoffMs ?? 100;
      if (clock.monotonic() + backoff > call.deadline) {
        throw new Unanswered(`${what} was given up`, unknownBefore, { cause: last });
      }
      await this.client.sleep(backoff);
    }
  }

  private async ask(kind: CoordinatorKind, key: string): Promise<number> {
    const connection = await this.client.connection("any");
    const version = connection.versionOf(ApiKey.FindCoordinator) ?? 0;
    const keyType = KEY_TYPES[kind];
    const request = { key: version < 4 ? key : "", keyType, coordinatorKeys: version < 4 ? [] : [key] };
    const answer = await connection.request(ApiKey.FindCoordinator, request, version);
    const found = version < 4 ? answer : answer.coordinators[0];
    const code = found?.errorCode ?? Errors.COORDINATOR_NOT_AVAILABLE;
    if (found === undefined || code !== Errors.NONE) throw new KafkaError(code, `FindCoordinator of ${kind} ${key}`);
    this.client.learnBroker(found.nodeId, { host: found.host, port: found.port });
    return found.nodeId;
  }
}
