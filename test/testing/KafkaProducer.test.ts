/** The producer's retry rules (librdkafka's) against a broker that says what it is told to. */
import { describe, expect, test } from "bun:test";
import { Simulation } from "../../actors/simulation/Simulation.ts";
import { KafkaClient } from "../../actors/testing/KafkaClient.ts";
import type { KafkaProducer, ProduceOutcome, ProducerOptions } from "../../actors/testing/KafkaProducer.ts";
import { makeBunCodecs } from "../../src/platform/BunCodecs.ts";
import { Errors } from "../../src/protocol/Errors.ts";
import { HOME, ScriptedBroker, type SeenBatch, type Verdict } from "./ScriptedBroker.ts";

interface Result {
  readonly outcomes: ProduceOutcome[];
  readonly broker: ScriptedBroker;
  readonly producer: KafkaProducer;
}

const clientIn = (world: Simulation): KafkaClient => {
  const { network, clock, random } = world.process("client", { host: "10.0.0.1" });
  return new KafkaClient(
    { network, clock, random, codecs: makeBunCodecs() },
    { bootstrap: [HOME], requestTimeoutMs: 5000 },
  );
};

/** Sends `count` batches of two records to partition 0 at once, under every one of a few seeds. */
const produce = (
  verdict: (batch: SeenBatch, attempt: number) => Verdict,
  check: (result: Result) => void,
  { count = 6, ...options }: ProducerOptions & { count?: number } = {},
): void => {
  for (let seed = 0; seed < 12; seed++) {
    new Simulation({ seed }).run(async (world) => {
      const broker = new ScriptedBroker(world.process("broker").network, verdict);
      const client = clientIn(world);
      const producer = client.producer(options);
      const outcomes = await Promise.all(
        Array.from({ length: count }, () => producer.send("t", 0, [{ value: new Uint8Array(3) }, { value: null }])),
      );
      check({ outcomes, broker, producer });
      client.close();
    });
  }
};

const ok = (batch: SeenBatch): Verdict => ({ offset: batch.sequence });
const types = (outcomes: ProduceOutcome[]): string[] => outcomes.map((outcome) => outcome.type);

describe("KafkaProducer", () => {
  test("sequences count records, batches of a partition arrive in order, one producer id", () => {
    produce(ok, ({ outcomes, broker }) => {
      expect(broker.seen).toEqual([0, 2, 4, 6, 8, 10].map((sequence) => ({ partition: 0, sequence, producerId: 7 })));
      expect(outcomes).toEqual(
        [0, 2, 4, 6, 8, 10].map((baseOffset) => ({ type: "ok", baseOffset, logAppendTime: -1, attempts: 1 })),
      );
    });
  });

  test("never more than five requests in flight", () => {
    produce(
      () => "silence",
      ({ broker }) => expect(broker.seen.map(({ sequence }) => sequence)).toEqual([0, 2, 4, 6, 8]),
      { count: 12, deliveryTimeoutMs: 1000 },
    );
  });

  test("a retriable refusal goes again with the same sequence, and what follows it behind it", () => {
    const retriable = [
      Errors.NOT_LEADER_OR_FOLLOWER,
      Errors.REQUEST_TIMED_OUT,
      Errors.NOT_ENOUGH_REPLICAS,
      Errors.NOT_ENOUGH_REPLICAS_AFTER_APPEND,
      Errors.KAFKA_STORAGE_ERROR,
      Errors.UNKNOWN_TOPIC_OR_PARTITION,
    ];
    for (const error of retriable) {
      // As a broker does it: what comes behind a refused batch is out of order.
      let next = 0;
      const verdict = (batch: SeenBatch, attempt: number): Verdict => {
        if (batch.sequence === 0 && attempt === 1) next = 0;
        if (batch.sequence === 4 && attempt === 1) return { error };
        if (batch.sequence !== next) return { error: Errors.OUT_OF_ORDER_SEQUENCE_NUMBER };
        next += 2;
        return ok(batch);
      };
      produce(verdict, ({ outcomes, broker, producer }) => {
        expect(types(outcomes)).toEqual(Array(6).fill("ok"));
        expect(outcomes.map((outcome) => (outcome.type === "ok" ? outcome.baseOffset : -1))).toEqual([
          0, 2, 4, 6, 8, 10,
        ]);
        expect(broker.seen.filter(({ sequence }) => sequence === 4)).toHaveLength(2);
        expect(producer.fatal).toBeUndefined();
      });
    }
  });

  test("a lost connection and a missing answer: everything in flight goes again, in order", () => {
    for (const loss of ["cut", "silence"] as const) {
      produce(
        (batch, attempt) => (batch.sequence === 2 && attempt === 1 ? loss : ok(batch)),
        ({ outcomes, broker }) => {
          expect(types(outcomes)).toEqual(Array(6).fill("ok"));
          const again = broker.seen.findLastIndex(({ sequence }) => sequence === 2);
          expect(broker.seen.slice(again).map(({ sequence }) => sequence)).toEqual([2, 4, 6, 8, 10]);
        },
      );
    }
  });

  test("a definite refusal of a first attempt is fail, after an attempt nobody knows about info; both are fatal", () => {
    produce(
      (batch) =>
        batch.sequence === 0 ? { error: Errors.MESSAGE_TOO_LARGE } : { error: Errors.OUT_OF_ORDER_SEQUENCE_NUMBER },
      ({ outcomes, producer }) => {
        expect(outcomes[0]).toEqual({ type: "fail", error: "MESSAGE_TOO_LARGE", attempts: 1 });
        expect(types(outcomes)).toEqual(Array(6).fill("fail"));
        expect(producer.fatal).toBe("MESSAGE_TOO_LARGE");
      },
    );
    produce(
      (_, attempt) => (attempt === 1 ? "cut" : { error: Errors.TOPIC_AUTHORIZATION_FAILED }),
      ({ outcomes }) => {
        expect(outcomes[0]).toMatchObject({ type: "info", error: "TOPIC_AUTHORIZATION_FAILED" });
      },
    );
  });

  test("out of order for the first in line is a failure, not something to repeat", () => {
    produce(
      () => ({ error: Errors.OUT_OF_ORDER_SEQUENCE_NUMBER }),
      ({ outcomes, broker }) => {
        expect(outcomes[0]).toEqual({ type: "fail", error: "OUT_OF_ORDER_SEQUENCE_NUMBER", attempts: 1 });
        expect(types(outcomes)).toEqual(Array(6).fill("fail"));
        expect(broker.seen.filter(({ sequence }) => sequence === 0)).toHaveLength(1);
      },
    );
  });

  test("UNKNOWN_SERVER_ERROR is info; DUPLICATE_SEQUENCE_NUMBER is ok without an offset", () => {
    produce(
      () => ({ error: Errors.UNKNOWN_SERVER_ERROR }),
      ({ outcomes }) => expect(outcomes[0]?.type).toBe("info"),
      {
        count: 1,
      },
    );
    produce(
      () => ({ error: Errors.DUPLICATE_SEQUENCE_NUMBER }),
      ({ outcomes }) => expect(outcomes).toEqual([{ type: "ok", baseOffset: -1, logAppendTime: -1, attempts: 1 }]),
      { count: 1 },
    );
  });

  test("when time is up: fail if it was only refused, info if it may have been written", () => {
    const options = { count: 2, deliveryTimeoutMs: 2000 };
    produce(
      () => ({ error: Errors.NOT_ENOUGH_REPLICAS }),
      ({ outcomes }) => expect(types(outcomes)).toEqual(["fail", "fail"]),
      options,
    );
    produce(
      () => "silence",
      ({ outcomes }) => expect(types(outcomes)).toEqual(["info", "info"]),
      options,
    );
  });

  test("without idempotence nothing that may have been written is sent twice; acks 0 knows nothing", () => {
    produce(
      (_, attempt) => (attempt === 1 ? "cut" : { offset: 0 }),
      ({ outcomes, broker }) => {
        expect(outcomes).toEqual([{ type: "info", error: "LOCAL_CONNECTION_LOST", attempts: 1 }]);
        expect(broker.seen).toEqual([{ partition: 0, sequence: -1, producerId: -1 }]);
      },
      { count: 1, idempotent: false, acks: 1 },
    );
    produce(ok, ({ outcomes }) => expect(types(outcomes)).toEqual(["info"]), { count: 1, idempotent: false, acks: 0 });
  });

  test("an answer is known by the topic's id as it was asked, also when the client has forgotten it since", () => {
    new Simulation({ seed: 0 }).run(async (world) => {
      const client = clientIn(world);
      const broker = new ScriptedBroker(world.process("broker").network, (batch) => {
        client.forgetTopics();
        return ok(batch);
      });
      const outcome = await client.producer().send("t", 0, [{ value: null }]);
      expect(outcome).toEqual({ type: "ok", baseOffset: 0, logAppendTime: -1, attempts: 1 });
      expect(broker.seen).toHaveLength(1);
      client.close();
    });
  });

  test("a broker with older versions: names instead of ids, and ApiVersions asked again", () => {
    new Simulation({ seed: 1 }).run(async (world) => {
      const broker = new ScriptedBroker(world.process("broker").network, ok);
      broker.versions.set(18, { min: 0, max: 2 });
      broker.versions.set(0, { min: 3, max: 9 });
      const process = world.process("client", { host: "10.0.0.1" });
      const client = new KafkaClient({ ...process, codecs: makeBunCodecs() }, { bootstrap: [HOME] });
      const connection = await client.connection("any");
      expect(connection.versionOf(0)).toBe(9);
      expect(await client.producer().send("t", 1, [{ value: null }])).toMatchObject({ type: "ok", baseOffset: 0 });
      expect(connection.versionOf(20)).toBeUndefined();
      client.close();
    });
  });
});
