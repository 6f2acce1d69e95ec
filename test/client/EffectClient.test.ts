import { expect, test } from "bun:test";
import * as Effect from "effect/Effect";
import * as Fiber from "effect/Fiber";
import * as Stream from "effect/Stream";
import { ClientError, string } from "../../src/client/Client.ts";
import { StreamClient } from "../../src/client/EffectClient.ts";
import { type Produce, producedIn } from "./support/Batches.ts";
import { batchOf, Dialogue, positionAt, recordsAt } from "./support/Dialogue.ts";
import { settled } from "./support/FakeNetwork.ts";

/** A server that obliges, and a program that runs against it with the client as a service. */
const against = async <A>(
  program: (dialogue: Dialogue) => Effect.Effect<A, ClientError, StreamClient>,
): Promise<{ readonly result: A; readonly dialogue: Dialogue }> => {
  const dialogue = new Dialogue();
  dialogue.onFrame = (frame, link) => {
    if (frame.t === "open" && "partitions" in frame)
      link.ok(frame, {
        partitions: frame.partitions.map(({ topic, partition }) => ({ topic, partition, position: positionAt(0) })),
      });
    else if (frame.t === "produce") link.ok(frame, { offset: 7, timestamp: -1, logStartOffset: 0 });
    else if (frame.t === "initProducer" || frame.t === "endTxn") link.ok(frame, { producer: { id: 1, epoch: 0 } });
    else if (frame.t === "call") link.ok(frame, { body: { topics: [{ name: "x" }] } });
    else if ("id" in frame) link.ok(frame);
  };
  const layer = StreamClient.layer("ws://test", { platform: dialogue.network.platform });
  const result = await Effect.runPromise(Effect.provide(program(dialogue), layer));
  await settled();
  return { result, dialogue };
};

const client = Effect.flatMap(StreamClient, Effect.succeed);
const partitions = [{ topic: "t", partition: 0, from: "earliest" as const }];

test("the layer connects, and closes when it is done", async () => {
  const { result, dialogue } = await against(() =>
    Effect.flatMap(client, (service) => service.use((plain, signal) => plain.topics.list({ signal }))),
  );
  expect(result).toEqual([{ name: "x" }] as never);
  expect(dialogue.link.closed?.code).toBe(1000);
});

test("what cannot be connected to is an error of the layer", async () => {
  const layer = StreamClient.layer("ftp://test");
  const failed = await Effect.runPromise(Effect.flip(Effect.provide(client, layer)));
  expect(failed).toBeInstanceOf(ClientError);
  expect(failed.message).toContain("ftp:");
});

test("a consumer is a stream; what was taken of it is finished when more is asked for", async () => {
  const { result, dialogue } = await against((one) =>
    Effect.gen(function* () {
      const service = yield* client;
      const feed = setInterval(() => {
        if (one.link.all("open").length === 0) return;
        clearInterval(feed);
        one.link.send({ t: "records", stream: 1, batches: [batchOf(0, recordsAt(0, 1, 2), 3)] });
        one.link.send({ t: "records", stream: 1, batches: [batchOf(0, recordsAt(3, 4), 5)] });
      }, 1);
      return yield* service.consume({ partitions, encoding: "records", value: string, window: { records: 6 } }).pipe(
        Stream.map(({ value }) => value),
        Stream.take(5),
        Stream.runCollect,
      );
    }),
  );
  expect(result).toEqual(["0", "1", "2", "3", "4"]);
  expect(dialogue.link.all("credit").map(({ records }) => records)).toEqual([3]);
  expect(dialogue.link.all("close")).toHaveLength(1);
});

test("an interrupted stream closes its consumer", async () => {
  const { dialogue } = await against(() =>
    Effect.gen(function* () {
      const service = yield* client;
      const fiber = yield* Effect.forkChild(Stream.runDrain(service.consume({ partitions })));
      const states = yield* Effect.forkChild(Stream.runDrain(service.states));
      yield* Effect.sleep(5);
      yield* Fiber.interrupt(fiber);
      yield* Fiber.interrupt(states);
    }),
  );
  expect(dialogue.link.all("close")).toHaveLength(1);
});

test("a producer sends", async () => {
  const { result } = await against(() =>
    Effect.scoped(
      Effect.gen(function* () {
        const service = yield* client;
        const producer = yield* service.producer({ value: string });
        const { offset } = yield* producer.send({ topic: "t", partition: 0, value: "a" });
        const refused = yield* Effect.match(producer.send({ topic: "no-t", value: "a" }), {
          onSuccess: () => "sent",
          onFailure: ({ name }) => name,
        });
        return [offset, refused];
      }),
    ),
  );
  expect(result).toEqual([7, "KafkaError"]);
});

test("a transaction commits when its effect succeeds, and aborts when it fails or is interrupted", async () => {
  const { result, dialogue } = await against(() =>
    Effect.scoped(
      Effect.gen(function* () {
        const service = yield* client;
        const { txn } = yield* service.transactional("id", { value: string });
        const send = (value: string) =>
          txn((transaction) => Effect.as(transaction.send({ topic: "t", partition: 0, value }), value));
        const committed = yield* send("a");
        const failed = yield* Effect.flip(
          txn((transaction) =>
            Effect.andThen(transaction.send({ topic: "t", partition: 0, value: "b" }), Effect.fail("no" as const)),
          ),
        );
        const fiber = yield* Effect.forkChild(
          txn((transaction) =>
            Effect.andThen(transaction.send({ topic: "t", partition: 0, value: "c" }), Effect.never),
          ),
        );
        yield* Effect.sleep(5);
        yield* Fiber.interrupt(fiber);
        yield* send("d");
        return [committed, failed];
      }),
    ),
  );
  expect(result).toEqual(["a", "no"]);
  const said = dialogue.link.frames.flatMap((frame) => {
    if (frame.t === "endTxn") return [frame.commit ? "commit" : "abort"];
    return frame.t === "produce" ? producedIn(frame as Produce).values : [];
  });
  expect(said).toEqual(["a", "commit", "b", "abort", "c", "abort", "d", "commit"]);
});
