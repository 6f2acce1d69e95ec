/** What an application gets wrong: it is told in one line what, where and what is allowed, and nothing else suffers. */
import { describe, expect, test } from "bun:test";
import { ClientError, ClosedError, CodecError, ConnectionError, connect, string } from "../../src/client/Client.ts";
import { type Produce, producedIn } from "./support/Batches.ts";
import { Dialogue } from "./support/Dialogue.ts";
import { settled } from "./support/FakeNetwork.ts";

/** A server that acknowledges whatever is produced. */
const connected = async () => {
  const dialogue = new Dialogue();
  const produced: Produce[] = [];
  dialogue.onFrame = (frame, link) => {
    if (frame.t === "initProducer") link.ok(frame, { producer: { id: 7, epoch: 0 } });
    if (frame.t === "produce") {
      produced.push(frame);
      link.ok(frame, { offset: 0, timestamp: -1, logStartOffset: 0 });
    }
  };
  const client = await dialogue.connect();
  const values = () => produced.map(producedIn).flatMap((batch) => batch.values);
  return { dialogue, client, values };
};

/** What an application in plain JavaScript may write. */
const untyped = (value: unknown): never => value as never;

describe("connecting", () => {
  test("to what is no URL of a gateway says what one is", async () => {
    for (const url of ["localhost:8080", "::::", "ftp://host", ""]) {
      const error = await connect(url).catch((caught: unknown) => caught);
      expect(error).toBeInstanceOf(ClientError);
      expect((error as Error).message).toBe(
        `${JSON.stringify(url)}: expected a URL as ws://host:8080, with ws:, wss:, http: or https:`,
      );
    }
  });

  test("with an option that is none is refused before anything is tried", async () => {
    const wrong: ReadonlyArray<readonly [options: object, message: string]> = [
      [{ connectTimeoutMs: Number.NaN }, "connectTimeoutMs: expected an integer of 1 … 2147483647, got NaN"],
      [{ backoff: { initialMs: 0 } }, "backoff.initialMs: expected an integer of 1 … 2147483647, got 0"],
      [{ backoff: { maxMs: -1 } }, "backoff.maxMs: expected an integer of 1 … 2147483647, got -1"],
      [{ token: 5 }, "token: expected a string or a function that gives one, got 5"],
    ];
    for (const [options, message] of wrong) {
      const dialogue = new Dialogue();
      const error = await dialogue.connect(options).catch((caught: unknown) => caught);
      expect([options, (error as Error).message]).toEqual([options, message]);
      expect(error).toBeInstanceOf(ClientError);
      expect(dialogue.network.links).toEqual([]);
    }
  });

  test("to where no WebSocket is says so, once, with what it may be", async () => {
    const dialogue = new Dialogue();
    dialogue.network.reachable = false;
    const connecting = dialogue.connect({ connectTimeoutMs: 1000 }).catch((caught: unknown) => caught);
    await settled();
    await dialogue.pass(1001);
    const error = (await connecting) as ConnectionError;
    expect(error).toBeInstanceOf(ConnectionError);
    expect(error.message).toBe(
      "ws://test/v1/stream: not connected in 1000 ms: no WebSocket could be opened: nothing listens there, it is no gateway of this version, or it does not let this origin in",
    );
  });
});

describe("a producer", () => {
  test("with an option out of range is refused when it is made", async () => {
    const { client } = await connected();
    const wrong = {
      lingerMs: Number.NaN,
      batchBytes: 0,
      batchRecords: -1,
      bufferBytes: 0.5,
      maxBlockMs: -1,
      deliveryTimeoutMs: 0,
      requestTimeoutMs: 2 ** 31,
      metadataMaxAgeMs: Number.POSITIVE_INFINITY,
    };
    for (const [name, value] of Object.entries(wrong)) {
      expect(() => client.producer({ [name]: value })).toThrow(new RegExp(`^${name}: expected an integer of \\d+ …`));
      expect(() => client.transactional("id", { [name]: value })).toThrow(ClientError);
    }
    expect(() => client.producer({ acks: untyped(2), idempotent: false })).toThrow("acks: expected -1, 0 or 1, got 2");
    expect(() => client.transactional("")).toThrow("transactionalId: expected a string that is not empty");
    expect(() => client.transactional("id", { transactionTimeoutMs: 0 })).toThrow("transactionTimeoutMs: expected");
  });

  test("refuses a record that is none, and sends the next one", async () => {
    const { client, values } = await connected();
    const producer = client.producer({ value: string });
    const wrong: ReadonlyArray<readonly [record: object | null, message: string]> = [
      [null, "a record: expected {topic, …}, got null"],
      [{ value: "x" }, "topic: expected a string of 1 … 249 characters, got undefined"],
      [{ topic: "", value: "x" }, "topic: expected a string of 1 … 249 characters, got "],
      [{ topic: "t", partition: -1, value: "x" }, "partition: expected an integer of 0 … 2147483647, got -1"],
      [{ topic: "t", timestamp: -5, value: "x" }, "timestamp: expected an integer of 0 … 9007199254740991, got -5"],
      [{ topic: "t", headers: { h: 5 }, value: "x" }, "header h: expected a Uint8Array, a string or null, got 5"],
      [{ topic: "t", headers: [[1, "a"]], value: "x" }, "a header's name: expected a string, got 1"],
      [{ topic: "t", headers: ["ab"], value: "x" }, "a header: expected [name, value], got ab"],
    ];
    for (const [record, message] of wrong) {
      const error = await producer.send(untyped(record)).catch((caught: unknown) => caught);
      expect([record, (error as Error).message]).toEqual([record, message]);
      expect(error).toBeInstanceOf(ClientError);
    }
    expect(await producer.send({ topic: "t", value: untyped(5) }).catch((caught: unknown) => caught)).toBeInstanceOf(
      CodecError,
    );
    await producer.send({ topic: "t", partition: 0, value: "good", headers: untyped(null) });
    expect(values()).toEqual(["good"]);
  });

  test("that is refused hears of which partition", async () => {
    const { dialogue, client } = await connected();
    const { onFrame } = dialogue;
    dialogue.onFrame = (frame, link) => {
      if (frame.t === "produce") link.refuse(frame, 10, "MESSAGE_TOO_LARGE", false);
      else onFrame(frame, link);
    };
    const sent = client.producer({ value: string }).send({ topic: "t", partition: 3, value: "x" });
    expect(await sent.catch((caught: unknown) => caught)).toMatchObject({
      name: "KafkaError",
      kafkaName: "MESSAGE_TOO_LARGE",
      message: expect.stringMatching(/^t-3: MESSAGE_TOO_LARGE: /),
    });
  });

  test("survives a partitioner that throws", async () => {
    const { client, values } = await connected();
    const mine = new Error("mine");
    const partitioner = ({ value }: { value: Uint8Array | null }): number => {
      if (value?.length === 3) throw mine;
      return 1;
    };
    const producer = client.producer({ value: string, partitioner });
    const bad = producer.send({ topic: "t", value: "bad" }).catch((caught: unknown) => caught);
    const good = producer.send({ topic: "t", value: "good" });
    expect(await bad).toMatchObject({ name: "ClientError", message: "t: the partitioner threw: mine", cause: mine });
    await good;
    expect(await producer.send({ topic: "t", value: "bad" }).catch((caught: unknown) => caught)).toMatchObject({
      cause: mine,
    });
    expect(values()).toEqual(["good"]);
  });

  test("sends nothing for a signal that is aborted already", async () => {
    const { client, values } = await connected();
    const producer = client.producer({ value: string });
    const reason = new Error("no");
    const sent = producer.send({ topic: "t", value: "x" }, { signal: AbortSignal.abort(reason) });
    expect(await sent.catch((caught: unknown) => caught)).toBe(reason);
    await producer.flush();
    expect(values()).toEqual([]);
  });

  test("lets each record wait for room as long as it may, not one after the other", async () => {
    const { dialogue, client } = await connected();
    dialogue.onFrame = () => {};
    const producer = client.producer({ value: string, bufferBytes: 1, maxBlockMs: 1000 });
    const late: string[] = [];
    for (const value of ["first", "second", "third"])
      producer.send({ topic: "t", partition: 0, value }).catch(() => late.push(value));
    await settled();
    await dialogue.pass(1001);
    expect(late).toEqual(["second", "third"]);
  });
});

describe("a consumer", () => {
  const failure = async (consumer: AsyncIterable<unknown>): Promise<unknown> => {
    try {
      for await (const record of consumer) return record;
      return "nothing came";
    } catch (error) {
      return error;
    }
  };

  test("with an option that is none throws when it is iterated", async () => {
    const { client } = await connected();
    const wrong: ReadonlyArray<readonly [options: object, message: string]> = [
      [{ window: { records: 0 } }, "window.records: expected an integer of 1 … 9007199254740991, got 0"],
      [{ window: { bytes: Number.NaN } }, "window.bytes: expected an integer of 1 … 9007199254740991, got NaN"],
      [{ encoding: "raw" }, "encoding: expected batches or records, got raw"],
      [{ int64: "string" }, "int64: expected number or bigint, got string"],
      [{ onOutOfRange: "skip" }, "onOutOfRange: expected error, earliest, latest or a function, got skip"],
      [{ metadataMaxAgeMs: 0 }, "metadataMaxAgeMs: expected an integer of 1 … 2147483647, got 0"],
      [{ group: "g", autoCommit: -5 }, "autoCommit: expected an integer of 1 … 2147483647, got -5"],
      [{ group: "g", autoCommit: true }, "autoCommit: expected an integer of 1 … 2147483647, got true"],
    ];
    for (const [options, message] of wrong) {
      const error = await failure(client.consume({ topics: "t", ...options }));
      expect([options, (error as Error).message]).toEqual([options, message]);
      expect(error).toBeInstanceOf(ClientError);
    }
  });

  test("of a closed client says that it is closed instead of having nothing", async () => {
    const { client } = await connected();
    await client.close();
    expect(await failure(client.consume({ topics: "t" }))).toBeInstanceOf(ClosedError);
    expect(await failure(client.consume({ group: "g", topics: "t" }))).toBeInstanceOf(ClosedError);
  });
});
