/**
 * What the administrator's tools share: a client of the cluster that asks one question at a time, waits while a
 * coordinator is being made or reads its log, and says a broker's refusal by its Kafka name. It owns its connections
 * until it is closed.
 */
import type { Endpoint } from "../src/platform/Network.ts";
import { ApiKey, Apis, type KnownApiKey, type RequestOf, type ResponseOf } from "../src/protocol/ApiKeys.ts";
import { Errors, errorName, isRetriable } from "../src/protocol/Errors.ts";
import { KafkaClient } from "./testing/KafkaClient.ts";
import type { ClientPlatform } from "./testing/KafkaConnection.ts";

/** What FindCoordinator calls the two kinds. */
export type CoordinatorType = "group" | "transaction";

/** Between two attempts at what is refused for now. */
const RETRY_MS = 100;
const RETRIES = 100;

export class AdminClient {
  readonly client: KafkaClient;

  constructor(platform: ClientPlatform, bootstrap: ReadonlyArray<Endpoint>) {
    this.client = new KafkaClient(platform, { bootstrap, callTimeoutMs: 10_000 });
  }

  close(): void {
    this.client.close();
  }

  /** Wall clock, in milliseconds. */
  now(): number {
    return this.client.platform.clock.wall();
  }

  async nodes(): Promise<number[]> {
    return (await this.client.metadata([])).brokers.map(({ nodeId }) => nodeId);
  }

  /** Asks with the defaults for whatever is not given; questions of one purpose share a connection. */
  ask<K extends KnownApiKey>(
    node: number | "any",
    key: K,
    fields: Partial<RequestOf<K>>,
    purpose?: string,
  ): Promise<ResponseOf<K>> {
    const empty = Apis[key].request.empty() as RequestOf<K>;
    return this.client.request(node, key, { ...empty, ...fields }, purpose);
  }

  /** Asks again while the answer is an error that goes away; any other but the expected ones is thrown. */
  async retried<Answer>(
    question: () => Promise<Answer>,
    errorOf: (answer: Answer) => number,
    expected: ReadonlyArray<number> = [],
  ): Promise<Answer> {
    for (let attempt = 0; ; attempt += 1) {
      const answer = await question();
      const error = errorOf(answer);
      if (error === Errors.NONE || expected.includes(error)) return answer;
      if (!isRetriable(error) || attempt === RETRIES) throw new Error(errorName(error));
      await this.client.sleep(RETRY_MS);
    }
  }

  /** The broker that keeps the group, or coordinates the transactional id. */
  async coordinator(type: CoordinatorType, key: string): Promise<number> {
    await this.client.metadata([]);
    const question = { keyType: type === "group" ? 0 : 1, coordinatorKeys: [key] };
    const found = await this.retried(
      () => this.ask("any", ApiKey.FindCoordinator, question),
      (answer) => answer.coordinators[0]!.errorCode,
    );
    return found.coordinators[0]!.nodeId;
  }
}

/** Runs a tool's command; the client is closed whatever happens. Throws an Error whose message is for the user. */
export const withAdminClient = async <A>(
  platform: ClientPlatform,
  bootstrap: ReadonlyArray<Endpoint>,
  command: (admin: AdminClient) => Promise<A>,
): Promise<A> => {
  const admin = new AdminClient(platform, bootstrap);
  try {
    return await command(admin);
  } finally {
    admin.close();
  }
};
