/** What a fetch by request asks of the broker. */
import { expect, test } from "bun:test";
import * as Effect from "effect/Effect";
import type { Caller } from "../../src/gateway/Caller.ts";
import { runVerb } from "../../src/gateway/Verbs.ts";
import { makeBunCodecs } from "../../src/platform/BunCodecs.ts";
import { ApiKey, type RequestOf } from "../../src/protocol/ApiKeys.ts";

const TOPIC_ID = "AAAAAAAAAAAAAAAAAAAAAQ";

/** A broker with an empty partition `t-0`; answers what it was asked to fetch. */
const fetchedWith = (body: object): RequestOf<1> => {
  let fetch: RequestOf<1> | undefined;
  const caller = {
    call(key: number, request: RequestOf<1>) {
      if (key === ApiKey.ListOffsets) {
        const partitions = [{ partitionIndex: 0, offset: 0, timestamp: -1, leaderEpoch: 0, errorCode: 0 }];
        return Effect.succeed({ topics: [{ name: "t", partitions }] });
      }
      fetch = request;
      return Effect.succeed({ responses: [], errorCode: 0 });
    },
    image: () => ({ topicsByName: new Map([["t", { id: TOPIC_ID }]]) }),
  } as unknown as Caller;
  const context = { caller, codecs: makeBunCodecs(), maxAnswerBytes: 2_000_000 };
  const partitions = [{ topic: "t", partition: 0, from: "earliest" }];
  Effect.runSync(runVerb("records.fetch", { partitions, ...body }, context));
  return fetch!;
};

test("is never more than the answer has room for, whatever a client wants", () => {
  const asked = ({ maxBytes, topics }: RequestOf<1>) => [maxBytes, topics[0]!.partitions[0]!.partitionMaxBytes];
  expect(asked(fetchedWith({ maxBytes: 2_147_483_647 }))).toEqual([2_000_000, 2_000_000]);
  expect(asked(fetchedWith({ maxBytes: 1000 }))).toEqual([1000, 1000]);
  expect(asked(fetchedWith({}))).toEqual([262_144, 262_144]);
});
