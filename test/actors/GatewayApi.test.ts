/** The HTTP API on real sockets: each verb as a request, produce with its idempotency key, events, the tunnel. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { Packr } from "msgpackr";
import { Gateway } from "../../actors/Gateway.ts";
import { GatewayApi } from "../../actors/GatewayApi.ts";
import { KafkaClient } from "../../actors/testing/KafkaClient.ts";
import { makeBunPlatform } from "../../src/platform/BunPlatform.ts";
import { type Network, NetworkError, type SocketHandlers } from "../../src/platform/Network.ts";
import { sha256 } from "../../src/platform/Sha256.ts";
import { RawWebSocket } from "../gateway/RawWebSocket.ts";
import { connect, type RealGateway, startRealGateway } from "../gateway/RealGateway.ts";
import { temporaryDirectory } from "../support/RealBroker.ts";

const packr = new Packr({ useRecords: false, int64AsType: "number", variableMapSize: true });
const JSON_BODY = { "content-type": "application/json" };

let directory: ReturnType<typeof temporaryDirectory>;
let gateway: RealGateway;

beforeAll(async () => {
  directory = temporaryDirectory();
  gateway = await startRealGateway(directory.path, {});
});

afterAll(async () => {
  await gateway.stop();
  directory[Symbol.dispose]();
});

interface Answer {
  readonly status: number;
  readonly body: Readonly<Record<string, unknown>> & {
    readonly error?: { readonly name: string; readonly message: string };
  };
}

const ask = async (
  method: string,
  path: string,
  body?: unknown,
  headers: Readonly<Record<string, string>> = {},
  at: { readonly url: string } = gateway,
): Promise<Answer> => {
  const init = { method, headers: { ...(method === "GET" ? {} : JSON_BODY), ...headers } };
  const response = await fetch(`${at.url}${path}`, body === undefined ? init : { ...init, body: JSON.stringify(body) });
  return { status: response.status, body: (await response.json()) as Answer["body"] };
};

const named = (name: string) => expect.objectContaining({ name });
let topics = 0;
const newTopic = async (partitions = 1, configs = {}): Promise<string> => {
  const name = `t${++topics}`;
  await gateway.client.createTopic(name, { partitions, configs });
  return name;
};

describe("verbs as requests", () => {
  test("topics", async () => {
    const created = await ask("POST", "/v1/topics", { topics: [{ name: "made", partitions: 2 }] });
    expect(created).toEqual({
      status: 200,
      body: { topics: [{ name: "made", topicId: expect.any(String), partitions: 2 }] },
    });
    expect(await ask("POST", "/v1/topics", { topics: [{ name: "made" }] })).toMatchObject({
      status: 409,
      body: { topics: [{ error: named("TOPIC_ALREADY_EXISTS") }] },
    });
    expect(await ask("POST", "/v1/topics", { topics: [{ name: "made" }, { name: "other" }] })).toMatchObject({
      status: 207,
    });
    const listed = await ask("GET", "/v1/topics");
    expect(listed.body.topics).toContainEqual(expect.objectContaining({ name: "made", partitions: 2 }));
    expect(await ask("GET", "/v1/topics/made")).toMatchObject({ status: 200, body: { topics: [{ name: "made" }] } });
    expect(await ask("GET", "/v1/topics/nowhere")).toMatchObject({
      status: 404,
      body: { topics: [{ name: "nowhere", error: named("UNKNOWN_TOPIC_OR_PARTITION") }] },
    });
    // A link on any page may be followed to a GET: it must not change anything.
    expect(await ask("GET", "/v1/topics/fresh?create=true")).toMatchObject({
      status: 400,
      body: { error: { message: "create: a GET changes nothing" } },
    });
    expect(await ask("GET", "/v1/topics/fresh")).toMatchObject({ status: 404 });
    const body = { partitions: [{ topic: "made", partition: 1, at: "latest" }] };
    expect(await ask("POST", "/v1/offsets", body)).toMatchObject({
      status: 200,
      body: { partitions: [{ topic: "made", partition: 1, offset: 0 }] },
    });
    expect(await ask("DELETE", "/v1/topics/made,other")).toEqual({
      status: 200,
      body: { topics: [{ name: "made" }, { name: "other" }] },
    });
  });

  test("groups", async () => {
    const topic = await newTopic();
    const offsets = [{ topic, partition: 0, offset: 7, metadata: "m" }];
    expect(await ask("POST", "/v1/groups/g%20one/offsets", { offsets })).toEqual({
      status: 200,
      body: { partitions: [{ topic, partition: 0 }] },
    });
    const place = { topic, partition: 0, offset: 7, leaderEpoch: -1, metadata: "m" };
    expect(await ask("GET", "/v1/groups/g%20one/offsets")).toEqual({ status: 200, body: { partitions: [place] } });
    const only = encodeURIComponent(JSON.stringify([{ topic, partition: 0 }]));
    expect(await ask("GET", `/v1/groups/g%20one/offsets?partitions=${only}`)).toEqual({
      status: 200,
      body: { partitions: [place] },
    });
    expect(await ask("GET", "/v1/groups?states=Empty")).toMatchObject({
      body: { groups: [{ id: "g one", state: "Empty" }] },
    });
    expect(await ask("GET", "/v1/groups/g%20one")).toMatchObject({ status: 200, body: { groups: [{ id: "g one" }] } });
    expect(await ask("GET", "/v1/groups/none")).toMatchObject({ status: 404 });
    expect(await ask("DELETE", "/v1/groups/g%20one")).toEqual({ status: 200, body: { groups: [{ id: "g one" }] } });
  });

  test("a body that cannot be read, a field that is wrong, a path that is not there", async () => {
    const post = (body: string, headers = JSON_BODY): Promise<Response> =>
      fetch(`${gateway.url}/v1/topics`, { method: "POST", headers, body });
    const message = async (response: Promise<Response>): Promise<unknown> => {
      const { status } = await response;
      return [status, ((await (await response).json()) as Answer["body"]).error?.message];
    };
    expect(await message(post("{"))).toEqual([400, "the body: not valid JSON"]);
    expect(await message(post("[".repeat(100_000)))).toEqual([400, "the body: not valid JSON"]);
    expect(await message(post("[]"))).toEqual([400, "the body: expected a map, got an array"]);
    const msgpack = { "content-type": "application/msgpack" };
    expect(await message(post("\x81\xa1a\xd4\x01", msgpack))).toEqual([400, expect.stringContaining("the body: ")]);
    expect(await message(post('{"topics":[{"name":1}]}'))).toEqual([
      400,
      "topics[0].name: expected a string of 1 … 249 characters, got 1",
    ]);
    expect((await post(`{"topics":"${"x".repeat(3_000_000)}"}`)).status).toBe(413);
    expect(await ask("GET", "/v1/nothing")).toMatchObject({ status: 404, body: { error: named("INVALID_REQUEST") } });
    expect(await ask("PATCH", "/v1/topics", {})).toMatchObject({ status: 404 });
    expect(await ask("GET", "/v1/groups/g/offsets?partitions=x")).toMatchObject({ status: 400 });
    for (const [method, path] of [
      ["GET", "topics/%ff"],
      ["DELETE", "groups/%E0%A4%A"],
      ["POST", "topics/%ff/records"],
    ]) {
      const { status, body } = await ask(method!, `/v1/${path}`, method === "POST" ? { records: [{}] } : undefined);
      expect([path, status, body.error?.message]).toEqual([
        path,
        400,
        expect.stringMatching(/^(topics|groups|topic): expected a name in UTF-8, percent-encoded$/),
      ]);
    }
  });

  test("are described, for programs and for people, with nothing from elsewhere", async () => {
    const document = (await ask("GET", "/openapi/json")).body as { paths: Record<string, Record<string, unknown>> };
    for (const [path, operations] of Object.entries(document.paths)) {
      if (path === "/v1/events") continue;
      for (const method of Object.keys(operations)) {
        const concrete = path.replace("{partition}", "0").replaceAll(/\{\w+\}/g, "nowhere");
        const { status, body } = await ask(method.toUpperCase(), concrete, method === "post" ? {} : undefined);
        // Whatever it answers, the route is there.
        expect([path, status === 404 && body.error?.message?.startsWith("there is no GET") === true]).toEqual([
          path,
          false,
        ]);
      }
    }
    const page = await fetch(`${gateway.url}/openapi`);
    expect(page.headers.get("content-security-policy")).toContain("default-src 'none'");
    const html = await page.text();
    expect(html).toContain("/v1/topics/{topic}/records");
    expect(html).not.toMatch(/<script|https?:\/\//);
  });
});

test("the hook decides who asks, on every route, and an idempotency key is its principal's", async () => {
  const topic = await newTopic();
  const principals: Readonly<Record<string, string>> = { "token-a": "User:a", "token-b": "User:b" };
  const guarded = new GatewayApi(
    new Gateway(gateway.broker.doorEnvironment, {
      frameBytes: 1_000_000,
      authenticate: (token) => principals[token ?? ""],
    }),
    { sha256, admit: () => () => {} },
  );
  const connection = {
    local: { host: "127.0.0.1", port: 1 },
    remote: { host: "127.0.0.1", port: 2 },
    upgrade: () => false,
    waitForAnswer: () => {},
  };
  const asked = async (path: string, token: string | undefined, body?: object): Promise<Answer> => {
    const authorization = token === undefined ? {} : { authorization: `Bearer ${token}` };
    const headers = { ...JSON_BODY, "idempotency-key": "one", ...authorization };
    const init = body === undefined ? { headers } : { method: "POST", headers, body: JSON.stringify(body) };
    const response = await guarded.handle(new Request(`http://127.0.0.1:1${path}`, init), connection);
    return { status: response.status, body: (await response.json()) as Answer["body"] };
  };
  const records = { records: [{ value: "v" }], partition: 0 };
  for (const token of [undefined, "wrong"]) {
    for (const path of ["/v1/topics", `/v1/events?topics=${topic}`, `/v1/topics/${topic}/partitions/0/records`]) {
      const { status, body } = await asked(path, token);
      expect([path, status, body.error?.name]).toEqual([path, 401, "SASL_AUTHENTICATION_FAILED"]);
    }
    expect(await asked(`/v1/topics/${topic}/records`, token, records)).toMatchObject({ status: 401 });
  }
  const offsets: unknown[] = [];
  for (const token of ["token-a", "token-b", "token-a"]) {
    const { body } = await asked(`/v1/topics/${topic}/records`, token, records);
    offsets.push((body.records as Array<{ offset: number }>)[0]!.offset);
  }
  expect(offsets).toEqual([0, 1, 0]);
});

describe("produce", () => {
  test("bytes are text or base64, and come out as they went in", async () => {
    const topic = await newTopic();
    const binary = { base64: "/wD+" };
    const records = [
      { key: "k", value: "v" },
      {
        value: binary,
        headers: [
          ["h", "1"],
          ["h", binary],
        ],
        timestamp: 1234,
      },
      { key: null, value: null, headers: { n: null } },
      { value: "\ufeffü\u0000" },
    ];
    const produced = await ask("POST", `/v1/topics/${topic}/records`, { records });
    expect(produced).toEqual({
      status: 200,
      body: { records: [0, 1, 2, 3].map((offset) => ({ partition: 0, offset })) },
    });
    const read = await ask("GET", `/v1/topics/${topic}/partitions/0/records`);
    const now = expect.any(Number);
    expect(read.body.records).toEqual([
      [0, now, "k", "v"],
      [
        1,
        1234,
        null,
        binary,
        [
          ["h", "1"],
          ["h", binary],
        ],
      ],
      [2, now, null, null, [["n", null]]],
      [3, now, null, "\ufeffü\u0000"],
    ]);
    const asMessagePack = await fetch(`${gateway.url}/v1/topics/${topic}/partitions/0/records?from=1`, {
      headers: { accept: "application/msgpack" },
    });
    const unpacked = packr.unpack(new Uint8Array(await asMessagePack.arrayBuffer())) as { records: unknown[][] };
    expect(unpacked.records[0]![3]).toEqual(new Uint8Array([255, 0, 254]));
    const packed = await fetch(`${gateway.url}/v1/topics/${topic}/records`, {
      method: "POST",
      headers: { "content-type": "application/msgpack" },
      body: packr.pack({ records: [[null, new Uint8Array([1, 2])], { value: new Uint8Array([3]) }] }),
    });
    expect((await packed.json()) as object).toMatchObject({ records: [{ offset: 4 }, { offset: 5 }] });
  });

  test("goes to the partition named, to its key's as a Java producer's would, or to one for the request", async () => {
    const topic = await newTopic(8);
    const partitionOf = async (records: unknown[], fields: object = {}): Promise<number[]> => {
      const { body } = await ask("POST", `/v1/topics/${topic}/records`, { records, ...fields });
      return (body.records as Array<{ partition: number }>).map(({ partition }) => partition);
    };
    // Kafka's own: murmur2("foobar") & 0x7fffffff % 8 and so on.
    expect(
      await partitionOf([
        { key: "21", value: "" },
        { key: "foobar", value: "" },
      ]),
    ).toEqual([(-973932308 & 0x7fffffff) % 8, (-790332482 & 0x7fffffff) % 8]);
    expect(await partitionOf([{ partition: 3 }, { key: "21" }], { partition: 5 })).toEqual([3, 5]);
    const sticky = await partitionOf([{}, {}, {}]);
    expect(new Set(sticky).size).toBe(1);
  });

  test("to a topic that is not there makes it, where the broker allows it", async () => {
    expect(await ask("POST", "/v1/topics/auto/records", { records: [{ value: "x" }] })).toMatchObject({ status: 200 });
    expect(await ask("POST", "/v1/topics/bad%20name/records", { records: [{ value: "x" }] })).toMatchObject({
      status: 400,
      body: { error: named("INVALID_TOPIC_EXCEPTION") },
    });
  });

  test("that fails says so: all of it by its status, some of it record by record", async () => {
    const topic = await newTopic(2, { "max.message.bytes": "1000" });
    const large = "x".repeat(2000);
    expect(await ask("POST", `/v1/topics/${topic}/records`, { records: [{ value: large }] })).toMatchObject({
      status: 413,
      body: { error: named("MESSAGE_TOO_LARGE") },
    });
    const records = [
      { partition: 0, value: "small" },
      { partition: 1, value: large },
    ];
    expect(await ask("POST", `/v1/topics/${topic}/records`, { records })).toMatchObject({
      status: 207,
      body: {
        records: [
          { partition: 0, offset: 0 },
          { partition: 1, error: named("MESSAGE_TOO_LARGE") },
        ],
      },
    });
    const compacted = await newTopic(1, { "cleanup.policy": "compact" });
    const keyless = [{ key: "a", value: "1" }, { value: "2" }];
    expect(await ask("POST", `/v1/topics/${compacted}/records`, { records: keyless, partition: 0 })).toMatchObject({
      status: 400,
      body: { error: named("INVALID_RECORD"), recordErrors: [{ index: 1 }] },
    });
    expect(await ask("POST", `/v1/topics/${topic}/records`, { records: [] })).toMatchObject({ status: 400 });
    expect(await ask("POST", `/v1/topics/${topic}/records`, { records: [{ value: { base64: "!" } }] })).toMatchObject({
      status: 400,
      body: { error: { message: 'records[0].value: expected a string, {"base64": "…"} or null, got a map' } },
    });
  });
});

describe("an idempotency key", () => {
  const send = (topic: string, key: string, body: object, at: { readonly url: string } = gateway): Promise<Answer> =>
    ask("POST", `/v1/topics/${topic}/records`, body, { "idempotency-key": key }, at);

  test("writes a request once, however often it comes, at once or later", async () => {
    const topic = await newTopic(4);
    const body = { records: [{ value: "a" }, { value: "b" }] };
    const answers = await Promise.all(Array.from({ length: 10 }, () => send(topic, "key-1", body)));
    for (const answer of answers) expect(answer).toEqual(answers[0]!);
    expect(answers[0]).toMatchObject({ status: 200, body: { records: [{ offset: 0 }, { offset: 1 }] } });
    const other = await send(topic, "key-2", body);
    expect(other.status).toBe(200);
    const total = async (): Promise<number> => {
      let sum = 0;
      for (let partition = 0; partition < 4; partition++)
        sum += (await gateway.client.listOffset(topic, partition, -1)).offset;
      return sum;
    };
    expect(await total()).toBe(4);
    expect(await send(topic, "key-1", body)).toEqual(answers[0]!);
    expect(await total()).toBe(4);
  });

  test("is refused for another body, and for records of several partitions", async () => {
    const topic = await newTopic(4);
    const partition = 1;
    expect((await send(topic, "k", { records: [{ value: "a" }], partition })).status).toBe(200);
    for (const records of [[{ value: "b" }], [{ value: "a" }, { value: "a" }], [{ value: "a", key: "k" }]]) {
      expect(await send(topic, "k", { records, partition })).toMatchObject({
        status: 422,
        body: { error: { message: "Idempotency-Key: it was used for another body before", retriable: false } },
      });
    }
    expect((await gateway.client.listOffset(topic, partition, -1)).offset).toBe(1);
    const spread = [{ partition: 0 }, { partition: 1 }];
    expect(await send(topic, "spread", { records: spread })).toMatchObject({ status: 400 });
    expect(await send(topic, "x".repeat(256), { records: [{}] })).toMatchObject({ status: 400 });
  });

  test("holds over a restart, and its producer is no transaction's and no allocated id", async () => {
    using other = temporaryDirectory();
    const settings = { "log.dirs": other.path };
    const body = { records: [{ value: "once" }] };
    const first = await startRealGateway(other.path, settings);
    await first.client.createTopic("t");
    const written = await send("t", "key", body, first);
    await first.stop();
    await using second = await startRealGateway(other.path, settings);
    expect(await send("t", "key", body, second)).toEqual(written);
    expect((await second.client.listOffset("t", 0, -1)).offset).toBe(1);
    const { topics: described } = await second.client.request("any", 61, {
      topics: [{ name: "t", partitionIndexes: [0] }],
    });
    const [producer] = described[0]!.partitions[0]!.activeProducers;
    expect(producer!.producerId).toBeGreaterThanOrEqual(2 ** 52);
    expect(producer!.currentTxnStartOffset).toBe(-1);
    const { producerId } = await second.client.request("any", 22, {
      transactionalId: null,
      transactionTimeoutMs: 1000,
      producerId: -1,
      producerEpoch: -1,
      enable2Pc: false,
      keepPreparedTxn: false,
    });
    expect(producerId).toBeLessThan(2 ** 52);
  });
});

describe("records by request", () => {
  test("wait for what is not there yet, from a saved position on, and end when the client goes", async () => {
    const topic = await newTopic();
    const path = `/v1/topics/${topic}/partitions/0/records`;
    await ask("POST", `/v1/topics/${topic}/records`, { records: [{ value: "a" }] });
    const first = await ask("GET", path);
    const position = first.body.position as { offset: number; leaderEpoch: number; topicId: string };
    expect(position).toMatchObject({ offset: 1, leaderEpoch: 0 });
    const query = `from=${position.offset}&leaderEpoch=${position.leaderEpoch}&topicId=${position.topicId}`;
    const waiting = ask("GET", `${path}?${query}&maxWaitMs=30000`);
    while (gateway.broker.doorEnvironment.ports.delayedFetches.size === 0) await Bun.sleep(1);
    await ask("POST", `/v1/topics/${topic}/records`, { records: [{ value: "b" }] });
    expect((await waiting).body.records).toMatchObject([[1, expect.any(Number), null, "b"]]);
    expect(await ask("GET", `${path}?from=99`)).toMatchObject({
      status: 416,
      body: { error: named("OFFSET_OUT_OF_RANGE") },
    });
    expect(await ask("GET", `${path}?from=first`)).toMatchObject({ status: 400 });
    expect(await ask("GET", `/v1/topics/nowhere/partitions/0/records`)).toMatchObject({ status: 404 });
    const gone = new AbortController();
    const aborted = fetch(`${gateway.url}${path}?from=latest&maxWaitMs=60000`, { signal: gone.signal }).catch(
      () => "gone",
    );
    const { delayedFetches } = gateway.broker.doorEnvironment.ports;
    while (delayedFetches.size === 0) await Bun.sleep(1);
    gone.abort();
    expect(await aborted).toBe("gone");
    while (delayedFetches.size > 0) await Bun.sleep(1);
    while (!gateway.door.isIdle) await Bun.sleep(1);
  }, 20_000);
});

interface Event {
  readonly id: string;
  readonly event: string;
  readonly data: { readonly topic: string; readonly partition: number; readonly records: unknown[][] };
}

/** Reads events as a browser does: an id stays until the next one. */
const events = async function* (
  path: string,
  headers: Record<string, string> = {},
  signal?: AbortSignal,
): AsyncGenerator<Event> {
  const response = await fetch(`${gateway.url}${path}`, { headers, ...(signal === undefined ? {} : { signal }) });
  if (response.status !== 200) throw new Error(await response.text());
  expect(response.headers.get("content-type")).toBe("text/event-stream; charset=utf-8");
  let text = "";
  let id = "";
  const decoder = new TextDecoder();
  for await (const chunk of response.body!) {
    text += decoder.decode(chunk as Uint8Array, { stream: true });
    for (let end = text.indexOf("\n\n"); end >= 0; end = text.indexOf("\n\n")) {
      const fields = new Map(
        text
          .slice(0, end)
          .split("\n")
          .map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 2)]),
      );
      text = text.slice(end + 2);
      id = fields.get("id") ?? id;
      if (fields.has("data"))
        yield { id, event: fields.get("event") ?? "message", data: JSON.parse(fields.get("data")!) };
    }
  }
};

describe("events", () => {
  test("of several topics come on one connection, and Last-Event-ID goes on behind each of them", async () => {
    const [one, two] = [await newTopic(2), await newTopic(1)];
    const values: string[] = [];
    const produce = async (count: number): Promise<void> => {
      for (let index = 0; index < count; index++) {
        const topic = index % 2 === 0 ? one : two;
        const value = `v${values.length}`;
        values.push(value);
        await ask("POST", `/v1/topics/${topic}/records`, { records: [{ value }] });
      }
    };
    await produce(30);
    const seen: string[] = [];
    let id = "";
    // A connection that breaks after every few events.
    while (seen.length < 60) {
      const leave = new AbortController();
      let count = 0;
      const headers: Record<string, string> = id === "" ? {} : { "last-event-id": id };
      for await (const event of events(`/v1/events?topics=${one},${two}&from=earliest`, headers, leave.signal)) {
        expect(event.event).toBe("records");
        id = event.id;
        seen.push(...event.data.records.map((record) => String(record[3])));
        if (seen.length === 30 && values.length === 30) await produce(30);
        if (++count >= 5 || seen.length >= 60) break;
      }
      leave.abort();
    }
    expect(seen.toSorted()).toEqual(values.toSorted());
  }, 30_000);

  test("of a partition that the topic has got since are read from its beginning", async () => {
    const topic = await newTopic();
    const leave = new AbortController();
    const first = await events(`/v1/events?topics=${topic}`, {}, leave.signal).next();
    leave.abort();
    await gateway.client.request("any", 37, {
      topics: [{ name: topic, count: 2, assignments: null }],
      timeoutMs: 1000,
      validateOnly: false,
    });
    await ask("POST", `/v1/topics/${topic}/records`, { records: [{ value: "new", partition: 1 }] });
    const { id } = first.value as Event;
    for await (const event of events(`/v1/events?topics=${topic}`, { "last-event-id": id })) {
      if (event.data.partition === 0) continue;
      expect(event.data.records).toMatchObject([[0, expect.any(Number), null, "new"]]);
      break;
    }
  });

  test("begin at the end unless told otherwise, and an id is there before the first record", async () => {
    const topic = await newTopic();
    await ask("POST", `/v1/topics/${topic}/records`, { records: [{ value: "old" }] });
    const leave = new AbortController();
    const stream = events(`/v1/events?topics=${topic}`, {}, leave.signal);
    const first = await stream.next();
    expect(first.value).toMatchObject({ event: "records", data: { records: [] } });
    const next = stream.next();
    await ask("POST", `/v1/topics/${topic}/records`, { records: [{ value: "new" }] });
    expect((await next).value).toMatchObject({ data: { records: [[1, expect.any(Number), null, "new"]] } });
    leave.abort();
    const { id } = first.value as Event;
    for await (const event of events(`/v1/events?topics=${topic}&lastEventId=${encodeURIComponent(id)}`)) {
      expect(event.data.records).toMatchObject([[1, expect.any(Number), null, "new"]]);
      break;
    }
  });

  test("that cannot be are refused before they begin", async () => {
    const topic = await newTopic();
    expect(await ask("GET", "/v1/events")).toMatchObject({ status: 400 });
    expect(await ask("GET", "/v1/events?topics=nowhere")).toMatchObject({ status: 404 });
    expect(await ask("GET", `/v1/events?topics=${topic}&from=then`)).toMatchObject({ status: 400 });
    expect(await ask("GET", `/v1/events?topics=${topic}`, undefined, { "last-event-id": "x" })).toMatchObject({
      status: 400,
      body: { error: { message: "Last-Event-ID: not an id of this stream's events" } },
    });
  });

  test("for a reader that does not read hold no more than a buffer, and nobody up", async () => {
    const topic = await newTopic();
    const value = "x".repeat(100_000);
    for (let index = 0; index < 300; index++) {
      await ask("POST", `/v1/topics/${topic}/records`, { records: [{ value }] });
    }
    Bun.gc(true);
    const before = process.memoryUsage.rss();
    const sockets = await Promise.all(
      Array.from({ length: 10 }, async () => {
        const socket = await Bun.connect({
          hostname: "127.0.0.1",
          port: gateway.port,
          socket: { data: () => {} },
        });
        socket.pause();
        socket.write(`GET /v1/events?topics=${topic}&from=earliest HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n`);
        return socket;
      }),
    );
    // As long as a quick reader needs for all of it.
    let read = 0;
    for await (const event of events(`/v1/events?topics=${topic}&from=earliest`)) {
      read += event.data.records.length;
      if (read >= 300) break;
    }
    Bun.gc(true);
    // Ten times 30 MB were there to send.
    expect(process.memoryUsage.rss() - before).toBeLessThan(120 * 1024 * 1024);
    for (const socket of sockets) socket.terminate();
  }, 60_000);

  test("count as connections of their address, and give their place back", async () => {
    using other = temporaryDirectory();
    await using limited = await startRealGateway(other.path, { "max.connections.per.ip": "3" });
    await limited.client.createTopic("t");
    const open = (signal: AbortSignal): Promise<Response> => fetch(`${limited.url}/v1/events?topics=t`, { signal });
    const [first, second, third] = [new AbortController(), new AbortController(), new AbortController()];
    const streams = await Promise.all([first, second, third].map(({ signal }) => open(signal)));
    expect(streams.map(({ status }) => status)).toEqual([200, 200, 200]);
    expect((await open(new AbortController().signal)).status).toBe(503);
    first.abort();
    const later = new AbortController();
    let status = 503;
    while (status !== 200) status = (await open(later.signal)).status;
    for (const leave of [second, third, later]) leave.abort();
  }, 20_000);

  test("are told when the broker stops", async () => {
    using other = temporaryDirectory();
    const stopping = await startRealGateway(other.path);
    await stopping.client.createTopic("t");
    const response = await fetch(`${stopping.url}/v1/events?topics=t`);
    const text = response.text();
    await stopping.stop();
    expect(await text).toContain("event: goaway");
  });
});

test("nothing that was asked is held any longer", async () => {
  const { credit, ports } = gateway.broker.doorEnvironment;
  while (ports.delayedFetches.size > 0) await Bun.sleep(1);
  expect(credit.usedBytes).toBe(0);
});

describe("the tunnel", () => {
  /** The Network port of a client, through WebSockets. */
  const throughTunnel = (): Network => ({
    listen: () => {
      throw new NetworkError("OTHER", "a tunnel only connects");
    },
    connect: async ({ host, port }, handlers: SocketHandlers) => {
      const websocket = new WebSocket(`ws://${host}:${port}/kafka`);
      websocket.binaryType = "arraybuffer";
      const endpoint = { host, port };
      const socket = {
        local: endpoint,
        remote: endpoint,
        write: (chunk: Uint8Array) => {
          // Cut where no frame ends, to show that nothing depends on it.
          for (let at = 0; at < chunk.length; at += 1000) websocket.send(new Uint8Array(chunk.subarray(at, at + 1000)));
          return chunk.length;
        },
        pause: () => {},
        resume: () => {},
        end: () => websocket.close(1000),
        destroy: () => websocket.close(1000),
      };
      await new Promise((resolve, reject) => {
        websocket.onopen = resolve;
        websocket.onerror = reject;
      });
      websocket.onmessage = ({ data }) => handlers.onData(socket, new Uint8Array(data as ArrayBuffer));
      websocket.onclose = () => handlers.onClose(socket);
      return socket;
    },
  });

  test("carries the Kafka protocol itself: a client makes, writes and reads through it", async () => {
    const platform = makeBunPlatform();
    const client = new KafkaClient(
      { ...platform, network: throughTunnel() },
      { bootstrap: [{ host: "127.0.0.1", port: gateway.port }] },
    );
    await client.createTopic("tunnelled");
    const producer = client.producer();
    for (let index = 0; index < 20; index++) {
      const value = new Uint8Array(50_000).fill(index);
      expect(await producer.send("tunnelled", 0, [{ value }])).toMatchObject({ type: "ok", baseOffset: index });
    }
    const { records } = await client.fetch("tunnelled", 0, 0, { maxBytes: 10_000_000 });
    expect(records.map(({ value }) => value![0])).toEqual(Array.from({ length: 20 }, (_, index) => index));
    client.close();
    while (!gateway.door.isIdle) await Bun.sleep(1);
  });

  test("ends for nonsense, and for a reader that does not read nothing is lost", async () => {
    const nonsense = await RawWebSocket.connect(gateway.port, "/kafka");
    nonsense.send(new TextEncoder().encode("GET / HTTP/1.1\r\n\r\n"));
    await nonsense.until(() => nonsense.closeCode !== undefined);
    const topic = await newTopic();
    const client = await connect(gateway.port);
    for (let index = 0; index < 40; index++) {
      await client.request("produce", { topic, partition: 0, records: [[null, new Uint8Array(900_000)]] });
    }
    client.duplex.close(1000, "");
    const { encodeFetch } = await import("../gateway/RawFetch.ts");
    const slow = await RawWebSocket.connect(gateway.port, "/kafka");
    slow.pause();
    const topicId = (await gateway.client.topic(topic)).id;
    slow.send(encodeFetch(topicId, 36_000_000));
    await Bun.sleep(100);
    slow.resume();
    await slow.until(() => slow.received > 39 * 900_000);
    slow.destroy();
  }, 30_000);
});
