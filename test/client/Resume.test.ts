/**
 * Random programs of server frames, cuts of the connection at every frame boundary, and an application that takes its
 * time: whatever happens, nothing is missing, nothing comes twice, and no more lies here than the window.
 */
import { describe, expect, test } from "bun:test";
import { type Consumer, connect, KafkaError, OutcomeUnknownError, string } from "../../src/client/Client.ts";
import { settled } from "./support/FakeNetwork.ts";
import { ModelGateway } from "./support/ModelGateway.ts";

const PARTITIONS = 3;
/** So many programs of each kind: enough to have failed for every bug that was planted. */
const SEEDS = 150;

const connected = async (gateway: ModelGateway) => {
  const connecting = connect("ws://model", {
    platform: gateway.network.platform,
    backoff: { initialMs: 10, maxMs: 50 },
  });
  await untilIdle(gateway);
  return connecting;
};

/** Delivers everything, and lets time pass until a closed connection is back. */
const untilIdle = async (gateway: ModelGateway): Promise<void> => {
  for (let quiet = 0; quiet < 3; ) {
    const moved = gateway.network.step();
    await settled();
    quiet = moved ? 0 : quiet + 1;
    if (!moved) gateway.network.clock.advance(60);
  }
};

/** Takes records one after the other, as far as they come, when it is told to. */
class Application {
  readonly taken: string[][] = Array.from({ length: PARTITIONS }, () => []);
  readonly errors: unknown[] = [];
  /** Records handed out and finished. */
  finished = 0;
  private pending: Promise<void> | undefined;

  constructor(private readonly consumer: Consumer<Uint8Array, string>) {}

  take(): void {
    this.pending ??= this.consumer.next().then(
      ({ value }) => {
        if (value !== undefined) this.taken[value.partition]!.push(`${value.offset}:${value.value}`);
        this.pending = undefined;
      },
      (error: unknown) => {
        this.errors.push(error);
        this.pending = undefined;
      },
    );
  }
}

const expected = (gateway: ModelGateway): string[][] =>
  gateway.logs.map(({ records }) => records.map(({ offset, value }) => `${offset}:${value}`));

describe.each(["records", "batches"] as const)("consuming %s", (encoding) => {
  test("no gap, no repeat, never more than the window", async () => {
    let cuts = 0;
    let opens = 0;
    for (let seed = 1; seed <= SEEDS; seed++) {
      const gateway = new ModelGateway(seed, PARTITIONS);
      const { network } = gateway;
      const window = { records: 6 + network.random(12), bytes: 600 + network.random(900) };
      const client = await connected(gateway);
      const partitions = gateway.logs.map((_, partition) => ({ topic: "t", partition, from: "earliest" as const }));
      const consumer = client.consume({ partitions, encoding, window, value: string });
      const application = new Application(consumer);
      let most = 0;
      gateway.onCredit = (unspent) => {
        most = Math.max(most, unspent.records, unspent.bytes / 1000);
        expect(unspent.records).toBeLessThanOrEqual(window.records);
        expect(unspent.bytes).toBeLessThanOrEqual(window.bytes);
      };
      let value = 0;
      for (let move = 0; move < 250; move++) {
        const what = network.random(20);
        if (what < 6) network.step();
        else if (what < 11) gateway.push();
        else if (what < 15) application.take();
        else if (what < 18)
          gateway.append(network.random(PARTITIONS), `v${value++}`.padEnd(1 + network.random(60), "x"));
        else if (what === 18 && network.random(3) === 0 && network.links.length > 0) {
          cuts += 1;
          network.link.cut();
        } else network.clock.advance(network.random(40));
        await settled();
        expect(consumer.buffered.records).toBeLessThanOrEqual(window.records);
        expect(consumer.buffered.bytes).toBeLessThanOrEqual(window.bytes);
      }
      for (let quiet = 0; quiet < 8; ) {
        const before = application.taken.flat().length;
        await untilIdle(gateway);
        for (let push = 0; push < 40; push++) gateway.push();
        await untilIdle(gateway);
        application.take();
        await settled();
        quiet = application.taken.flat().length === before ? quiet + 1 : 0;
      }
      expect(application.errors).toEqual([]);
      expect([seed, ...application.taken]).toEqual([seed, ...expected(gateway)]);
      expect(most).toBeGreaterThan(0);
      opens += network.links.length;
      const position = consumer.position().map(({ partition, position: { offset } }) => [partition, offset]);
      expect(position).toEqual(gateway.logs.map(({ end }, partition) => [partition, end]));
    }
    // The programs are what they are meant to be.
    expect(cuts).toBeGreaterThan(SEEDS);
    expect(opens).toBeGreaterThan(SEEDS);
  }, 60_000);

  test("a cut after every single frame of one program", async () => {
    const run = async (cutAfter: number): Promise<{ readonly frames: number; readonly taken: string[][] }> => {
      const gateway = new ModelGateway(42, PARTITIONS);
      const { network } = gateway;
      for (let value = 0; value < 30; value++) gateway.append(value % PARTITIONS, `v${value}`);
      const client = await connected(gateway);
      const partitions = gateway.logs.map((_, partition) => ({ topic: "t", partition, from: "earliest" as const }));
      const application = new Application(
        client.consume({ partitions, encoding, window: { records: 6, bytes: 2000 }, value: string }),
      );
      let frames = 0;
      for (let quiet = 0; quiet < 30; ) {
        const before = application.taken.flat().length;
        application.take();
        gateway.push();
        while (network.step()) {
          frames += 1;
          if (frames === cutAfter) network.link.cut();
          await settled();
        }
        network.clock.advance(60);
        await settled();
        quiet = application.taken.flat().length === before ? quiet + 1 : 0;
      }
      expect([cutAfter, ...application.taken]).toEqual([cutAfter, ...expected(gateway)]);
      return { frames, taken: application.taken };
    };
    const { frames } = await run(-1);
    expect(frames).toBeGreaterThan(20);
    for (let cutAfter = 1; cutAfter <= frames; cutAfter++) await run(cutAfter);
  }, 60_000);
});

describe("producing", () => {
  test("what is acknowledged is there once and in order, what failed is not there", async () => {
    let troubles = 0;
    let cuts = 0;
    const outcomes = { acknowledged: 0, failed: 0, unknown: 0 };
    for (let seed = 1; seed <= SEEDS; seed++) {
      const gateway = new ModelGateway(seed, PARTITIONS);
      const { network } = gateway;
      const client = await connected(gateway);
      const refuses = network.random(3) === 0;
      gateway.trouble = () => {
        const what = network.random(refuses ? 20 : 40);
        if (what > 2) return undefined;
        troubles += 1;
        if (what === 0) return { code: 19, name: "NOT_ENOUGH_REPLICAS", retriable: true, append: false };
        if (what === 1) return { code: 7, name: "REQUEST_TIMED_OUT", retriable: true, append: network.random(2) === 0 };
        return refuses ? { code: 10, name: "MESSAGE_TOO_LARGE", retriable: false, append: false } : undefined;
      };
      const deliveryTimeoutMs = network.random(3) === 0 ? 400 : 1_000_000;
      const producer = client.producer({ value: string, deliveryTimeoutMs, batchRecords: 1 + network.random(4) });
      const sent: Array<{ readonly partition: number; readonly value: string; outcome: string }> = [];
      const send = (): void => {
        const one = { partition: network.random(PARTITIONS), value: `v${sent.length}`, outcome: "" };
        sent.push(one);
        producer.send({ topic: "t", ...one }).then(
          ({ offset }) => {
            one.outcome = `ok ${offset}`;
          },
          (error: unknown) => {
            one.outcome = error instanceof OutcomeUnknownError ? "unknown" : "failed";
            expect(
              error instanceof KafkaError || error instanceof OutcomeUnknownError || String(error).includes("Timeout"),
            ).toBe(true);
          },
        );
      };
      for (let move = 0; move < 200; move++) {
        const what = network.random(16);
        if (what < 9) network.step();
        else if (what < 14) send();
        else if (what === 14 && network.random(4) === 0) {
          cuts += 1;
          network.link.cut();
        } else network.clock.advance(network.random(60));
        await settled();
      }
      for (let quiet = 0; quiet < 40 && sent.some(({ outcome }) => outcome === ""); quiet++) {
        await untilIdle(gateway);
        network.clock.advance(500);
        await settled();
      }
      for (const { partition, value, outcome } of sent) {
        const places = gateway.logs[partition]!.records.filter((record) => record.value === value);
        const [kind, offset] = outcome.split(" ");
        if (kind === "ok") {
          outcomes.acknowledged += 1;
          expect([seed, value, places.map((place) => place.offset)]).toEqual([seed, value, [Number(offset)]]);
        } else if (kind === "failed") {
          outcomes.failed += 1;
          expect([seed, value, places]).toEqual([seed, value, []]);
        } else {
          outcomes.unknown += 1;
          expect([seed, value, outcome]).toEqual([seed, value, "unknown"]);
          expect(places.length).toBeLessThanOrEqual(1);
        }
      }
      gateway.logs.forEach(({ records }) => {
        const order = records.map(({ value }) => Number(value.slice(1)));
        expect([seed, order]).toEqual([seed, [...order].sort((a, b) => a - b)]);
      });
      await Promise.all([client.close(), untilIdle(gateway)]);
    }
    expect(troubles).toBeGreaterThan(SEEDS);
    expect(cuts).toBeGreaterThan(SEEDS);
    expect(outcomes.acknowledged).toBeGreaterThan(SEEDS * 20);
    expect(outcomes.failed).toBeGreaterThan(50);
    expect(outcomes.unknown).toBeGreaterThan(20);
  }, 60_000);
});
