/**
 * What the stream client does against a real broker, the same in Bun, in Node and on a page of a browser: each scene gets
 * the gateway's address and says what it has found, for the test to judge. Bundled as a page would be.
 */
import { type Client, type Consumer, connect, int64, json, string } from "../../../../src/client/Client.ts";

export interface Stage {
  readonly url: string;
  readonly topic: string;
  /** A name for groups and transactional ids. */
  readonly name: string;
  /** Tells the test something on the way. */
  readonly say: (what: string, value: unknown) => void;
  /** Resolves when the test says so. */
  readonly cue: (name: string) => Promise<void>;
}

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

const connected = (url: string): Promise<Client> => connect(url, { backoff: { initialMs: 20, maxMs: 500 } });

/** Values of every partition in order, until so many were read. */
const readAll = async (consumer: Consumer<unknown, string>, count: number): Promise<Record<number, string[]>> => {
  const read: Record<number, string[]> = {};
  let left = count;
  for await (const { partition, value } of consumer) {
    (read[partition] ??= []).push(value ?? "null");
    if (--left === 0) break;
  }
  return read;
};

/** Administration, keys, headers, codecs of values, both encodings, positions, offsets. */
const basics = async ({ url, topic }: Stage): Promise<unknown> => {
  await using client = await connected(url);
  const [created] = await client.topics.create({ name: topic, partitions: 4, configs: { "compression.type": "zstd" } });
  const producer = client.producer({ key: string, value: json<{ n: number }>() });
  const sent = await Promise.all(
    Array.from({ length: 400 }, (_, n) =>
      producer.send({ topic, key: `key-${n % 40}`, value: { n }, headers: { n: String(n) } }),
    ),
  );
  const seen = [];
  for (const encoding of ["batches", "records"] as const) {
    const numbers = new Map<string, number>();
    const consumer = client.consume({
      topics: topic,
      from: "earliest",
      encoding,
      key: string,
      value: json<{ n: number }>(),
    });
    for await (const { key, value, partition, headers } of consumer) {
      if (string.decode(headers[0]![1]!) !== String(value?.n)) throw new Error("a header is another record's");
      if (sent[value!.n]!.partition !== partition) throw new Error(`${key} is in another partition`);
      numbers.set(`${partition} ${value?.n}`, value!.n);
      if (numbers.size === 400) break;
    }
    seen.push(numbers.size);
  }
  const described = await client.topics.describe(topic);
  const ends = await client.offsets.list(
    [0, 1, 2, 3].map((partition) => ({ topic, partition, at: "latest" as const })),
  );
  const unknown = await client.topics
    .describe("no-such-topic")
    .catch((error: { kafkaName?: string }) => error.kafkaName);
  const counter = client.producer({ value: int64 });
  const { partition, offset } = await counter.send({ topic, value: 123_456_789_012, partition: 3 });
  const from = { offset };
  const one = client.consume({ partitions: [{ topic, partition, from }], value: int64 });
  const { value: record } = await one.next();
  return {
    partitions: created?.partitions,
    seen,
    described: described[0]?.partitions.length,
    end: ends.reduce((sum, each) => sum + each.offset, 0),
    unknown,
    number: record?.value,
    listed: (await client.topics.list()).some(({ name }) => name === topic),
  };
};

/** Many records, processed slowly: what lies here stays small, and every one comes once and in order. */
const slow = async ({ url, topic, say }: Stage, count: number): Promise<unknown> => {
  await using client = await connected(url);
  const consumer = client.consume({
    topics: topic,
    from: "earliest",
    value: string,
    window: { records: 2000, bytes: 2 * 1024 * 1024 },
  });
  const next = new Map<number, number>();
  let read = 0;
  let most = { records: 0, bytes: 0 };
  for await (const { partition, offset, value } of consumer) {
    const expected = next.get(partition) ?? 0;
    if (offset !== expected) throw new Error(`${partition}@${offset} came, ${expected} was next`);
    next.set(partition, offset + 1);
    if (value === null || !value.startsWith(`${partition}/${offset} `))
      throw new Error(`${partition}@${offset} is ${value?.slice(0, 40)}`);
    read += 1;
    if (read % 50 === 0) await sleep(1);
    if (read % 1000 === 0) {
      const { records, bytes } = consumer.buffered;
      most = { records: Math.max(most.records, records), bytes: Math.max(most.bytes, bytes) };
    }
    if (read % 5000 === 0) say("read", read);
    if (read === count) break;
  }
  return { read, most };
};

/** Reads and writes while the connection is cut again and again. */
const resume = async ({ url, topic, say }: Stage, count: number): Promise<unknown> => {
  await using client = await connected(url);
  let cuts = 0;
  client.on("state", ({ state }) => {
    if (state === "disconnected") say("cut", ++cuts);
  });
  const producer = client.producer({ value: string });
  const consumer = client.consume({ topics: topic, from: "earliest", value: string });
  const sending = (async () => {
    const sent = [];
    for (let value = 0; value < count; value++) {
      await producer.ready();
      sent.push(producer.send({ topic, partition: value % 4, value: String(value) }));
      if (value % 20 === 0) await sleep(5);
    }
    return Promise.all(sent);
  })();
  const [read, acknowledged] = await Promise.all([readAll(consumer, count), sending]);
  return { read, acknowledged: acknowledged.length, cuts };
};

/** One transaction that is committed, one that is aborted, and consumed offsets in a third. */
const transactions = async ({ url, topic, name }: Stage): Promise<unknown> => {
  await using client = await connected(url);
  const producer = client.transactional(name, { value: string });
  const put = (value: string) =>
    producer.txn(async (transaction) => {
      for (let partition = 0; partition < 4; partition++)
        void transaction.send({ topic, partition, value: `${value}${partition}` });
    });
  await put("a");
  const aborted = await producer
    .txn(async (transaction) => {
      await transaction.send({ topic, partition: 0, value: "aborted" });
      throw new Error("changed my mind");
    })
    .catch((error: Error) => error.message);
  await put("b");
  const consumer = client.consume({
    group: `${name}-group`,
    topics: topic,
    from: "earliest",
    value: string,
    autoCommit: false,
  });
  const read: string[] = [];
  for await (const batch of consumer.batches()) {
    await producer.txn((transaction) => transaction.sendOffsets(consumer, batch));
    read.push(...batch.records.map(({ value }) => value ?? "null"));
    if (read.length === 8) break;
  }
  const committed = await client.groups.offsets(`${name}-group`);
  return {
    aborted,
    read: read.sort(),
    committed: committed.map(({ partition, offset }) => `${partition}@${offset}`).sort(),
  };
};

/** A member of a group with others: says what it has, what it reads, and goes when it is told to. */
const member = async ({ url, topic, name, say, cue }: Stage): Promise<unknown> => {
  const client = await connected(url);
  const owned = new Set<number>();
  const consumer = client.consume({
    group: name,
    topics: topic,
    from: "earliest",
    value: string,
    autoCommit: 200,
    onAssigned(partitions) {
      for (const { partition } of partitions) owned.add(partition);
      say("owned", [...owned]);
    },
    onRevoked(partitions) {
      for (const { partition } of partitions) owned.delete(partition);
      say("owned", [...owned]);
    },
    onLost() {
      say("lost", true);
    },
  });
  let values: string[] = [];
  const tell = (): void => {
    if (values.length > 0) say("values", values);
    values = [];
  };
  const ticking = setInterval(tell, 100);
  let leaving = false;
  const reading = (async () => {
    // No `for await`: leaving that loop would close the consumer, and a tab that is closed does nothing more.
    while (!leaving) {
      const { done, value: record } = await consumer.next();
      if (done === true) return;
      values.push(record.value ?? "null");
    }
  })();
  await cue("leave");
  leaving = true;
  await reading;
  clearInterval(ticking);
  tell();
  const page = (globalThis as { readonly location?: { href: string } }).location;
  if (page === undefined) await client.close();
  else {
    // A tab that goes elsewhere says good-bye by itself.
    say("leaving", true);
    await sleep(300);
    page.href = "about:blank";
    await sleep(10_000);
  }
  return "left";
};

/** What a page has beside what every runtime has. */
interface PageGlobals {
  readonly document: {
    readonly body: { append(child: unknown): void };
    createElement(name: string): Record<string, unknown> & { submit(): void; append(child: unknown): void };
  };
  readonly navigator: { sendBeacon(url: string, data: unknown): boolean };
  readonly EventSource: new (url: string) => { onopen: () => void; onerror: (event: unknown) => void; close(): void };
  readonly location: { readonly origin: string };
}

/** A page that nobody has let in tries all that pages can; what it may send blindly must do nothing. */
const foreign = async ({ url, topic }: Stage): Promise<unknown> => {
  const page = globalThis as unknown as PageGlobals;
  const { document } = page;
  const outcomes: Record<string, string> = { origin: page.location.origin };
  const attempt = async (name: string, act: () => Promise<unknown>): Promise<void> => {
    outcomes[name] = await act().then(
      () => "let in",
      () => "refused",
    );
  };
  const socket = (path: string): Promise<void> =>
    new Promise((resolve, reject) => {
      const opened = new WebSocket(`${url.replace("http", "ws")}${path}`);
      opened.onopen = () => resolve();
      opened.onerror = () => reject(new Error("refused"));
    });
  const body = JSON.stringify({ topics: [{ name: topic }] });
  const asJson = { method: "POST", headers: { "content-type": "application/json" }, body };
  await attempt("client", () => connect(url, { connectTimeoutMs: 1500 }));
  await attempt("stream", () => socket("/v1/stream"));
  await attempt("kafka", () => socket("/kafka"));
  await attempt("health", () => fetch(`${url}/health/live`));
  await attempt("read", () => fetch(`${url}/v1/topics`));
  await attempt("write", () => fetch(`${url}/v1/topics`, asJson));
  await attempt("delete", () => fetch(`${url}/v1/topics/${topic}`, { method: "DELETE" }));
  await attempt("events", () => {
    const source = new page.EventSource(`${url}/v1/events?topics=kept`);
    return new Promise<void>((resolve, reject) => {
      source.onopen = resolve;
      source.onerror = reject;
    }).finally(() => source.close());
  });
  // Browsers send these without asking.
  const blind = { method: "POST", mode: "no-cors", headers: { "content-type": "text/plain" }, body } as const;
  await fetch(`${url}/v1/topics`, blind).catch(() => {});
  page.navigator.sendBeacon(`${url}/v1/topics`, body);
  const frame = document.createElement("iframe");
  Object.assign(frame, { name: "there", src: `${url}/v1/topics/${topic}?create=true` });
  document.body.append(frame);
  const image = document.createElement("img");
  Object.assign(image, { src: `${url}/v1/topics/${topic}?create=true` });
  document.body.append(image);
  const form = document.createElement("form");
  const field = document.createElement("input");
  Object.assign(field, { name: body.slice(0, -1), value: "}" });
  Object.assign(form, { method: "POST", enctype: "text/plain", target: "there", action: `${url}/v1/topics` });
  form.append(field);
  document.body.append(form);
  await sleep(500);
  form.submit();
  await sleep(500);
  return outcomes;
};

const SLOW_RECORDS = 100_000;
const RESUME_RECORDS = 20_000;

export const SCENES: Readonly<Record<string, (stage: Stage) => Promise<unknown>>> = {
  basics,
  slow: (stage) => slow(stage, SLOW_RECORDS),
  resume: (stage) => resume(stage, RESUME_RECORDS),
  transactions,
  member,
  foreign,
};
