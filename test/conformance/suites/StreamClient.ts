/**
 * The stream client as an application has it, over real WebSockets: the same bundle in Bun, in Node 22 and on a page of
 * headless Chromium, under a policy that allows no `eval` and no WebAssembly.
 */
import { connect, string } from "../../../src/client/Client.ts";
import { sleep, waitFor } from "../support/Process.ts";
import { type Playing, type Runtime, StreamStage } from "../support/StreamScenes.ts";
import { assert, type ConformanceTest, type Context, equal, type Suite } from "../support/Suite.ts";
import { VerifiableConsumer } from "../support/VerifiableConsumer.ts";

const RUNTIMES: readonly Runtime[] = ["Bun", "Node", "Chromium"];
const PARTITIONS = 4;
const VALUE_BYTES = 1000;

/** Fills a topic with records that say where they are. */
const fill = async (url: string, topic: string, count: number): Promise<void> => {
  await using client = await connect(url);
  await client.topics.create({ name: topic, partitions: PARTITIONS });
  const producer = client.producer({ value: string });
  const filling = "x".repeat(VALUE_BYTES);
  for (let index = 0; index < count; index++) {
    const partition = index % PARTITIONS;
    const value = `${partition}/${Math.floor(index / PARTITIONS)} ${filling}`;
    if (index % 500 === 0) await producer.ready();
    void producer.send({ topic, partition, value });
  }
  await producer.flush();
};

const createTopic = async (url: string, topic: string): Promise<void> => {
  await using client = await connect(url);
  await client.topics.create({ name: topic, partitions: PARTITIONS });
};

/** What the playing process had resident, sampled until the scene is over. */
const watchMemory = async (playing: Playing): Promise<number[]> => {
  const samples: number[] = [];
  let over = false;
  playing.done
    .finally(() => {
      over = true;
    })
    .catch(() => {});
  while (!over) {
    if (playing.said("read").length > 0) samples.push(playing.memory());
    await sleep(100);
  }
  return samples.filter((sample) => sample > 0);
};

const basics = (runtime: Runtime): ConformanceTest => ({
  name: `${runtime}: topics, keys, headers, codecs, both encodings, offsets`,
  own: true,
  async run(context) {
    const stage = await StreamStage.open(context);
    const playing = await stage.play(runtime, "basics", context.topic(), "");
    equal(
      await playing.done,
      {
        partitions: 4,
        seen: [400, 400],
        described: 4,
        end: 400,
        unknown: "UNKNOWN_TOPIC_OR_PARTITION",
        number: 123_456_789_012,
        listed: true,
      },
      "what it found",
    );
  },
});

const slow = (runtime: Runtime): ConformanceTest => ({
  name: `${runtime}: 100,000 records of 1 KB, processed slowly, come in order and memory stays flat`,
  own: true,
  timeoutMs: 120_000,
  async run(context) {
    const stage = await StreamStage.open(context);
    const topic = context.topic();
    await fill(stage.url, topic, 100_000);
    const playing = await stage.play(runtime, "slow", topic, "");
    const samples = await watchMemory(playing);
    const { read, most } = (await playing.done) as { read: number; most: { records: number; bytes: number } };
    equal(read, 100_000, "records");
    assert(most.records <= 2000 && most.bytes <= 2 * 1024 * 1024, `${JSON.stringify(most)} lay there at once`);
    const early = Math.max(...samples.slice(0, Math.ceil(samples.length / 3)));
    const late = Math.max(...samples.slice(-Math.ceil(samples.length / 3)));
    context.note(`${Math.round(early)} MiB in the first third, ${Math.round(late)} in the last`);
    assert(samples.length > 5, `only ${samples.length} samples of memory`);
    // All of it would be 100 MiB.
    assert(late - early < 30, `memory grew from ${early} to ${late} MiB`);
  },
});

const resume = (runtime: Runtime): ConformanceTest => ({
  name: `${runtime}: loses its network again and again; nothing is missing, nothing comes twice`,
  own: true,
  timeoutMs: 120_000,
  async run(context) {
    const stage = await StreamStage.open(context);
    const topic = context.topic();
    await createTopic(stage.url, topic);
    const playing = await stage.play(runtime, "resume", topic, "");
    let over = false;
    playing.done
      .finally(() => {
        over = true;
      })
      .catch(() => {});
    for (let cut = 0; !over; cut++) {
      await sleep(300 + 150 * (cut % 4));
      if (!over) await stage.cut(50 * (cut % 5));
    }
    const { read, acknowledged, cuts } = (await playing.done) as {
      read: Record<string, string[]>;
      acknowledged: number;
      cuts: number;
    };
    equal(acknowledged, 20_000, "acknowledged");
    for (let partition = 0; partition < PARTITIONS; partition++) {
      const expected = Array.from({ length: 5000 }, (_, index) => String(index * PARTITIONS + partition));
      const found = read[partition] ?? [];
      const at = expected.findIndex((value, index) => value !== found[index]);
      assert(
        at < 0 && found.length === expected.length,
        `partition ${partition} has ${found.length}, at ${at} ${found[at]}`,
      );
    }
    context.note(`${cuts} cuts`);
    assert(cuts >= 3, `only ${cuts} cuts`);
  },
});

const transactions = (runtime: Runtime): ConformanceTest => ({
  name: `${runtime}: transactions, with consumed offsets`,
  own: true,
  async run(context) {
    const stage = await StreamStage.open(context);
    const topic = context.topic();
    await createTopic(stage.url, topic);
    const playing = await stage.play(runtime, "transactions", topic, context.topic("txn"));
    const { aborted, read, committed } = (await playing.done) as Record<string, unknown>;
    equal(aborted, "changed my mind", "what the aborted one threw");
    equal(read, ["a0", "a1", "a2", "a3", "b0", "b1", "b2", "b3"], "what was read");
    assert((committed as string[]).length === PARTITIONS, `committed ${JSON.stringify(committed)}`);
  },
});

/** Leaving is told at once: the session lasts longer than the test waits. */
const patient = {
  "group.consumer.min.heartbeat.interval.ms": "100",
  "group.consumer.heartbeat.interval.ms": "500",
  "group.consumer.session.timeout.ms": "45000",
  "group.consumer.assignment.interval.ms": "0",
};

const group = (runtime: Runtime): ConformanceTest => ({
  name: `${runtime}: in a group with a Java consumer; partitions change hands without loss, and it leaves at once`,
  own: true,
  timeoutMs: 120_000,
  async run(context: Context) {
    const stage = await StreamStage.open(context, patient);
    const topic = context.topic();
    const name = context.topic("group");
    await createTopic(stage.url, topic);
    await using client = await connect(stage.url);
    const producer = client.producer({ value: string });
    let sent = 0;
    let producing = true;
    const flowing = (async () => {
      for (; producing; await sleep(20)) {
        for (let more = 0; more < 20; more++, sent++)
          void producer.send({ topic, partition: sent % PARTITIONS, value: `v${sent}` });
      }
      await producer.flush();
    })();
    const playing = await stage.play(runtime, "member", topic, name);
    const owned = (): number[] => (playing.said("owned").at(-1) ?? []) as number[];
    const own = (): string[] => playing.said("values").flat() as string[];
    await waitFor("all partitions are its own", 20_000, () => owned().length === PARTITIONS && own().length > 100);
    const java = await VerifiableConsumer.start(context, stage.broker.address, name, topic, "consumer");
    await waitFor("they share", 30_000, () => java.assigned.size === 2 && owned().length === 2);
    const before = java.values.length;
    await waitFor("both read", 20_000, () => java.values.length > before + 100);
    playing.cue("leave");
    await waitFor("it is leaving", 10_000, () => runtime !== "Chromium" || playing.said("leaving").length > 0);
    const left = performance.now();
    await waitFor("the other one has everything", 20_000, () => java.assigned.size === PARTITIONS);
    context.note(`handed over in ${Math.round(performance.now() - left)} ms`);
    producing = false;
    await flowing;
    const everything = (): Set<string> => new Set([...own(), ...java.values]);
    await waitFor("all records", 20_000, () => everything().size === sent);
    equal(playing.said("lost"), [], "partitions lost");
    const twice = own().length + java.values.length - sent;
    context.note(`${sent} records, ${twice} of them twice`);
    // A tab that is gone has committed no later than 200 ms before.
    assert(twice < (runtime === "Chromium" ? 600 : 10), `${twice} records came twice`);
  },
});

const foreign: ConformanceTest = {
  name: "Chromium: a page of an origin that nobody has let in reads nothing and changes nothing, whatever it sends",
  own: true,
  async run(context) {
    const stage = await StreamStage.open(context, { "http.allowed.origins": "" });
    await createTopic(stage.url, "kept");
    const topic = context.topic("forged");
    const playing = await stage.play("Chromium", "foreign", topic, "");
    const { origin, ...outcomes } = (await playing.done) as Record<string, string>;
    assert(origin !== undefined && origin !== stage.url, `the page is at ${origin}`);
    equal([...new Set(Object.values(outcomes))], ["refused"], `of ${JSON.stringify(outcomes)}`);
    equal(Object.keys(outcomes).length, 8, "attempts");
    await using client = await connect(stage.url);
    equal(
      (await client.topics.list()).map(({ name }) => name).filter((name) => !name.startsWith("__")),
      ["kept"],
      "topics",
    );
  },
};

export const suite: Suite = {
  name: "stream client",
  oursOnly: true,
  tests: [
    ...RUNTIMES.flatMap((runtime) => [
      basics(runtime),
      slow(runtime),
      resume(runtime),
      transactions(runtime),
      group(runtime),
    ]),
    foreign,
  ],
};
