/**
 * Input nobody should send: absurd lengths, bombs, slow senders, mutated frames. The broker answers Kafka's error or closes that
 * connection; it allocates nothing by a declared length, and everybody else is served as before.
 */
import { readFileSync } from "node:fs";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { batch } from "../support/Batch.ts";
import type { Broker } from "../support/Brokers.ts";
import { definition, encode, requestNames } from "../support/Definitions.ts";
import { deviations, expectedOf } from "../support/Deviations.ts";
import { sleep, waitFor } from "../support/Process.ts";
import { connected, createTopic, fetchBody, listOffsets, produce, produceBody } from "../support/Requests.ts";
import { assert, type ConformanceTest, type Context, equal, type Suite } from "../support/Suite.ts";
import { listAt, matches, numberAt } from "../support/Tree.ts";
import { decodeAnswer, requestFrame, sizeField, Wire } from "../support/Wire.ts";

/** A small generator with a seed, so that a failing frame can be made again. */
export const seeded = (seed: number) => {
  let state = seed >>> 0;
  return (bound: number): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % bound;
  };
};

/** Resident memory of a process in MiB. */
const residentMiB = (pid: number): number =>
  Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "latin1"))?.[1] ?? 0) / 1024;

/** Another client at work: produces one record after the other until stopped, and remembers the slowest answer. */
const bystander = async (broker: Broker, topic: string) => {
  const wire = await Wire.open(broker);
  await createTopic(wire, topic);
  let running = true;
  let produced = 0;
  let slowest = 0;
  const work = (async () => {
    while (running) {
      const began = performance.now();
      matches(await produce(wire, topic, batch()), { errorCode: 0, baseOffset: produced }, "the bystander's produce");
      slowest = Math.max(slowest, performance.now() - began);
      produced++;
      await sleep(2);
    }
  })();
  // A failure before `stop` is asked for must not end the process; `stop` reports it.
  work.catch(() => undefined);
  return async () => {
    running = false;
    await work;
    matches(await listOffsets(wire, topic, -1), { offset: produced }, "the bystander's log end");
    wire.close();
    return { produced, slowest };
  };
};

const absurd = (name: string, api: string, version: number, body: string): ConformanceTest => ({
  name: `${name} closes the connection`,
  async run(context: Context) {
    const wire = await connected(context);
    wire.write(requestFrame(await definition(`${api}Request`), version, Buffer.from(body, "hex")));
    await wire.expectClosed(name);
    await (await connected(context)).expectAlive("another connection");
  },
});

const bomb = (name: string, codec: number, compress: (bytes: Uint8Array) => Uint8Array): ConformanceTest => ({
  name: `a ${name} bomb of 512 MiB: answered or closed, memory and others undisturbed`,
  own: true,
  timeoutMs: 90_000,
  async run(context: Context) {
    // What is measured is who waits for the inflating, not who waits for the disk.
    const broker = await context.ownBroker(context.kind === "odradek" ? { "log.flush.policy": "os" } : {});
    const wire = await Wire.open(broker);
    context.cleanup(() => wire.close());
    const topic = context.topic();
    await createTopic(wire, topic);
    // Made before anybody is timed, because it keeps this process busy. One record that says its value is nearly 512 MiB, and 512 MiB of zeros.
    const size = 1 << 29;
    const zeros = Buffer.alloc(size);
    const head = Buffer.from("f6ffffff0300000001e2ffffff03", "hex");
    head.copy(zeros, 0);
    const payload = compress(zeros);
    const stop = await bystander(broker, context.topic());
    const before = residentMiB(broker.pid);
    await sleep(300);
    const sent = await wire.send(
      "Produce",
      9,
      produceBody(topic, batch({ attributes: codec, payload, count: 1, lastOffsetDelta: 0 })),
    );
    let peak = before;
    const received = await Promise.race([
      wire.read(60_000),
      (async () => {
        for (;;) {
          peak = Math.max(peak, residentMiB(broker.pid));
          await sleep(20);
        }
      })(),
    ]);
    assert(received !== "silence", "no answer within 60 s");
    assert(received !== "closed", "closed, an answer expected");
    const code = numberAt(await decodeAnswer(sent, received), "responses.0.partitionResponses.0.errorCode");
    equal(code, expectedOf(context.kind, deviations.bomb), "error code");
    const { produced, slowest } = await stop();
    context.note(
      `code ${code}, +${Math.round(peak - before)} MiB, slowest answer to others ${Math.round(slowest)} ms of ${produced}, ${payload.length} B sent`,
    );
    if (context.kind === "odradek") {
      assert(peak - before < 300, `resident memory grew by ${Math.round(peak - before)} MiB`);
      assert(slowest < 5000, `another connection waited ${Math.round(slowest)} ms`);
    }
  },
});

/** Frames of a valid request for every advertised API at its highest and lowest version. */
const validFrames = async (wire: Wire, topic: string): Promise<{ readonly name: string; readonly bytes: Buffer }[]> => {
  const answer = await wire.call("ApiVersions", 0);
  const ranges = new Map(listAt(answer, "apiKeys").map((each) => [numberAt(each, "apiKey"), each] as const));
  // Left out: what would fill the disk when a count is hit, or stop the broker.
  const left = new Set([
    "CreateTopics",
    "CreatePartitions",
    "UnregisterBroker",
    "AddRaftVoter",
    "RemoveRaftVoter",
    "UpdateFeatures",
  ]);
  const frames: { readonly name: string; readonly bytes: Buffer }[] = [];
  for (const name of await requestNames()) {
    const message = await definition(`${name}Request`);
    const range = ranges.get(message.apiKey);
    if (range === undefined || left.has(name)) continue;
    for (const version of new Set([
      Math.max(numberAt(range, "minVersion"), message.valid.min),
      numberAt(range, "maxVersion"),
    ])) {
      frames.push({ name: `${name} v${version}`, bytes: requestFrame(message, version, encode(message, version, {})) });
    }
  }
  const full = async (name: string, version: number, body: Parameters<typeof encode>[2]) => {
    const message = await definition(`${name}Request`);
    const bytes = requestFrame(message, version, encode(message, version, body));
    for (let copies = 0; copies < 6; copies++) frames.push({ name: `${name} v${version}`, bytes });
  };
  await full("Metadata", 12, { topics: [{ name: topic }], allowAutoTopicCreation: false });
  await full(
    "Produce",
    9,
    produceBody(topic, batch({ records: [{ key: "k", value: "v".repeat(50), headers: { a: "b" } }] })),
  );
  await full("Produce", 3, produceBody(topic, batch({ gzip: true }), { version: 3 }));
  await full("Fetch", 11, fetchBody(topic, 0));
  await full("Fetch", 12, fetchBody(topic, 0, { version: 12 }));
  await full("ListOffsets", 7, {
    replicaId: -1,
    topics: [{ name: topic, partitions: [{ partitionIndex: 0, timestamp: -1 }] }],
  });
  await full("OffsetForLeaderEpoch", 4, { topics: [{ topic, partitions: [{ partition: 0, leaderEpoch: 0 }] }] });
  await full("DescribeConfigs", 4, { resources: [{ resourceType: 2, resourceName: topic }] });
  await full("DeleteTopics", 6, { topics: [{ name: "nobody-has-this" }], timeoutMs: 1000 });
  await full("ApiVersions", 3, { clientSoftwareName: "judge", clientSoftwareVersion: "1" });
  return frames;
};

const mutate = (frame: Buffer, random: (bound: number) => number): Buffer => {
  let bytes = Buffer.from(frame);
  const times = 1 + random(4);
  for (let time = 0; time < times; time++) {
    const where = 4 + random(Math.max(1, bytes.length - 4));
    switch (random(6)) {
      case 0:
        bytes[where] = random(256);
        break;
      case 1:
        bytes[where] = (bytes[where] ?? 0) ^ (1 << random(8));
        break;
      case 2:
        bytes = Buffer.concat([
          bytes.subarray(0, where),
          bytes.subarray(Math.min(bytes.length, where + 1 + random(8))),
        ]);
        break;
      case 3:
        bytes = Buffer.concat([
          bytes.subarray(0, where),
          Buffer.from(Array.from({ length: 1 + random(8) }, () => random(256))),
          bytes.subarray(where),
        ]);
        break;
      case 4:
        if (where + 4 <= bytes.length) bytes.writeInt32BE([-1, 0x7fffffff, -0x80000000, 65536][random(4)] ?? 0, where);
        break;
      default:
        bytes.fill(0xff, where, Math.min(bytes.length, where + 1 + random(10)));
    }
  }
  if (bytes.length >= 4) bytes.writeInt32BE(Math.max(0, bytes.length - 4), 0);
  return bytes;
};

export const suite: Suite = {
  name: "bad input",
  tests: [
    absurd("Metadata v1 with 2147483647 topics", "Metadata", 1, "7fffffff"),
    absurd("Metadata v9 with a compact array of 4 billion", "Metadata", 9, "ffffffff0f"),
    absurd("Produce v3 with 100,000,000 topics", "Produce", 3, "ffffffff0000138805f5e100"),
    absurd("Fetch v4 with -5 topics", "Fetch", 4, "ffffffff000000000000000100000001 00 fffffffb".replaceAll(" ", "")),
    absurd("DeleteTopics v1 with 2147483647 names", "DeleteTopics", 1, "7fffffff"),
    absurd("DescribeConfigs v1 with 2147483647 resources", "DescribeConfigs", 1, "7fffffff"),
    absurd("Produce v9 with a transactional id of 2 GB", "Produce", 9, "ffffffff07"),
    {
      name: "slow senders that promise 100 MB each cost no memory and nobody else's time",
      own: true,
      async run(context) {
        const broker = await context.ownBroker();
        const stop = await bystander(broker, context.topic());
        await sleep(500);
        const before = residentMiB(broker.pid);
        // Kafka allocates what a frame declares: fifty of these end its heap of 1 GiB.
        const slow = await Promise.all(
          Array.from({ length: context.kind === "kafka" ? 3 : 50 }, () => Wire.open(broker)),
        );
        for (const wire of slow) wire.write(Buffer.concat([sizeField(100_000_000), Buffer.from("00000009", "hex")]));
        for (let round = 0; round < 20; round++) {
          for (const wire of slow) wire.write(Buffer.alloc(100));
          await sleep(50);
        }
        const grown = residentMiB(broker.pid) - before;
        for (const wire of slow) wire.close();
        const { produced, slowest } = await stop();
        context.note(`+${Math.round(grown)} MiB, slowest answer to others ${Math.round(slowest)} ms of ${produced}`);
        if (context.kind === "odradek") assert(grown < 100, `resident memory grew by ${Math.round(grown)} MiB`);
        assert(slowest < 10_000, `another connection waited ${Math.round(slowest)} ms`);
      },
    },
    bomb("gzip", 1, (bytes) => gzipSync(bytes, { level: 9 })),
    bomb("zstd", 4, (bytes) => zstdCompressSync(bytes)),
    {
      name: "random bytes on a hundred connections",
      async run(context) {
        const random = seeded(77);
        for (let index = 0; index < 100; index++) {
          const wire = await Wire.open(context.broker);
          wire.write(Buffer.from(Array.from({ length: 1 + random(300) }, () => random(256))));
          await sleep(1);
          wire.close();
        }
        await (await connected(context)).expectAlive("afterwards");
      },
    },
    {
      name: "5,000 mutated frames: others undisturbed, the broker alive, its log whole",
      own: true,
      timeoutMs: 180_000,
      async run(context) {
        const broker = await context.ownBroker({ "auto.create.topics.enable": "false" });
        const setup = await Wire.open(broker);
        context.cleanup(() => setup.close());
        // Names that one flipped bit does not make into each other: a good batch for the other topic would be taken.
        const topic = context.topic("aim");
        await createTopic(setup, topic);
        const frames = await validFrames(setup, topic);
        const stop = await bystander(broker, context.topic("bystander"));
        const seed = Number(process.env.ODRADEK_SEED ?? 20_261_123);
        const random = seeded(seed);
        const tally = { closed: 0, silence: 0, answered: 0 };
        const lane = async (): Promise<void> => {
          while (tally.closed + tally.silence + tally.answered < 5000) {
            const frame = frames[random(frames.length)];
            if (frame === undefined) return;
            const wire = await Wire.open(broker);
            wire.write(mutate(frame.bytes, random));
            const received = await wire.read(40);
            if (typeof received === "string") tally[received]++;
            else tally.answered++;
            wire.close();
          }
        };
        await Promise.all(Array.from({ length: 16 }, lane));
        await setup.expectAlive("after the frames");
        const { produced, slowest } = await stop();
        context.note(
          `seed ${seed}; ${tally.answered} answered, ${tally.closed} closed, ${tally.silence} without an end in 40 ms; slowest answer to others ${Math.round(slowest)} ms of ${produced}`,
        );
        assert(slowest < 10_000, `another connection waited ${Math.round(slowest)} ms`);
        matches(await produce(setup, topic, batch()), { errorCode: 0 }, "the topic itself takes records");
      },
    },
    {
      name: "max.connections.per.ip: the one too many is closed, the others stay",
      own: true,
      async run(context) {
        const broker = await context.ownBroker({ "max.connections.per.ip": "5" });
        const wires: Wire[] = [];
        context.cleanup(() => {
          for (const wire of wires) wire.close();
        });
        // The connection by which the start was seen may still count.
        const opened = async (): Promise<boolean> => {
          const wire = await Wire.open(broker).catch(() => undefined);
          const isAlive = await wire?.expectAlive("a connection").then(
            () => true,
            () => false,
          );
          if (isAlive === true) wires.push(wire!);
          else wire?.close();
          return isAlive === true;
        };
        for (let index = 0; index < 5; index++) await waitFor(`connection ${index}`, 10_000, opened);
        // Closed so early that the connect itself may already fail.
        const late = await Wire.open(broker).catch(() => undefined);
        if (late !== undefined) {
          wires.push(late);
          await late.expectClosed("the sixth");
        }
        for (const [index, wire] of wires.slice(0, 5).entries())
          await wire.expectAlive(`connection ${index} afterwards`);
      },
    },
    {
      name: "connections.max.idle.ms closes who is silent, not who speaks",
      own: true,
      async run(context) {
        const broker = await context.ownBroker({ "connections.max.idle.ms": "1500" });
        const idle = await Wire.open(broker);
        const busy = await Wire.open(broker);
        context.cleanup(() => busy.close());
        const began = performance.now();
        await idle.expectAlive("at first");
        let closedAfter = 0;
        while (performance.now() - began < 8000) {
          await busy.expectAlive("the busy one");
          if ((await idle.read(300)) === "closed") {
            closedAfter = performance.now() - began;
            break;
          }
        }
        assert(closedAfter > 1200 && closedAfter < 6000, `closed after ${Math.round(closedAfter)} ms`);
        await busy.expectAlive("the busy one afterwards");
        context.note(`closed after ${Math.round(closedAfter)} ms`);
      },
    },
  ],
};
