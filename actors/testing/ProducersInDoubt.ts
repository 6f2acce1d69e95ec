/**
 * The idempotent producers that cannot know what became of a batch. A broker recognises a producer's last five batches:
 * when one in doubt is not settled before five others are in the log, Kafka too answers its retry with an error that is
 * not true. A real cluster hardly ever does that to anybody, so faults do not either: what comes next from a producer in
 * doubt is left alone. What must stay true: this follows from the order of the requests and nothing else.
 */
import type { ConnectionContext } from "../../src/api/RequestContext.ts";
import type { ProducerId } from "../../src/prelude/Types.ts";
import { ApiKey, type RequestOf } from "../../src/protocol/ApiKeys.ts";
import { BASE_SEQUENCE_AT, HEADER_SIZE, MAGIC, magicOf, PRODUCER_ID_AT } from "../../src/record/RecordBatch.ts";
import { readInt32, readInt64 } from "../../src/record/Wire.ts";

type Produce = RequestOf<typeof ApiKey.Produce>;

/** Its own requests: five that may be under way already, and five with the retry among them. */
const OWN_REQUESTS = 10;
/** Others' requests, after which a producer that asks no more is not waited for. */
const OTHER_REQUESTS = 50;

export class ProducersInDoubt {
  private readonly known = new Set<ProducerId>();
  /** Those in doubt, with the requests that are still left alone. */
  private readonly doubts = new Map<ProducerId, { own: number; others: number }>();
  private readonly onConnection = new WeakMap<ConnectionContext, Set<ProducerId>>();

  /** Notes who produces where; answers whether the request is to be left alone. */
  spares(apiKey: number, request: unknown, connection: ConnectionContext): boolean {
    const own = apiKey === ApiKey.Produce ? producersOf(request as Produce) : undefined;
    for (const producer of own ?? []) this.meet(producer, connection);
    const spared = [...(own ?? this.onConnection.get(connection) ?? [])].some((producer) => this.doubts.has(producer));
    for (const [producer, left] of this.doubts) {
      if (own?.has(producer)) left.own -= 1;
      else left.others -= 1;
      if (left.own === 0 || left.others === 0) this.doubts.delete(producer);
    }
    return spared;
  }

  /** Whether anybody is in doubt. */
  get any(): boolean {
    return this.doubts.size > 0;
  }

  /** The answer to this request will not tell. */
  add(request: Produce): void {
    this.doubt(producersOf(request));
  }

  /** Answers on this connection are lost. */
  addThoseOn(connection: ConnectionContext): void {
    this.doubt(this.onConnection.get(connection) ?? []);
  }

  /** All answers are lost. */
  addAll(): void {
    this.doubt(this.known);
  }

  private meet(producer: ProducerId, connection: ConnectionContext): void {
    this.known.add(producer);
    const here = this.onConnection.get(connection);
    if (here === undefined) this.onConnection.set(connection, new Set([producer]));
    else here.add(producer);
  }

  private doubt(producers: Iterable<ProducerId>): void {
    for (const producer of producers) this.doubts.set(producer, { own: OWN_REQUESTS, others: OTHER_REQUESTS });
  }
}

/** Whether some partition is given the first batch of an idempotent producer. */
export const beginsProducer = (request: Produce): boolean =>
  headersOf(request).some((batch) => readInt64(batch, PRODUCER_ID_AT) >= 0 && readInt32(batch, BASE_SEQUENCE_AT) === 0);

/** The ids of the idempotent producers in a request. */
const producersOf = (request: Produce): Set<ProducerId> =>
  new Set(
    headersOf(request)
      .map((batch) => readInt64(batch, PRODUCER_ID_AT))
      .filter((id) => id >= 0),
  );

/** Bytes that begin with a batch's header, as far as can be told: nothing of the request has been judged yet. */
const headersOf = ({ topicData }: Produce): Uint8Array[] =>
  topicData.flatMap(({ partitionData }) =>
    partitionData.flatMap(({ records }) =>
      records === null || records.length < HEADER_SIZE || magicOf(records, 0) !== MAGIC ? [] : [records],
    ),
  );
