/**
 * Peers that read nothing, grant nothing, say nothing, come in storms or send nonsense, hundreds at a time, in a process of
 * their own; beside them a client that behaves. What is measured is that client's round trips, alone and in this company,
 * and the broker's memory.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { type Client, connect, string } from "../../../src/client/Client.ts";
import { sleep, waitFor } from "../support/Process.ts";
import { assert, equal, type Suite } from "../support/Suite.ts";

const hostile = join(import.meta.dir, "..", "clients", "hostile.ts");
const RECORDS = 20_000;
const ROUND_TRIPS = 400;

const anonymousMiB = (pid: number): number =>
  Number(/RssAnon:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "latin1"))![1]) / 1024;

/** Sends one record at a time and waits until it has come back; milliseconds of each, sorted. */
const roundTrips = async (client: Client, topic: string, count: number): Promise<number[]> => {
  const producer = client.producer({ value: string });
  const consumer = client.consume({ partitions: [{ topic, partition: 0, from: "latest" }], value: string });
  await waitFor("the consumer", 10_000, () => consumer.state === "open");
  const took: number[] = [];
  for (let index = 0; index < count; index++) {
    const began = performance.now();
    void producer.send({ topic, partition: 0, value: String(index) });
    const { value } = await consumer.next();
    took.push(performance.now() - began);
    equal(value?.value, String(index), "the record that came back");
  }
  await consumer.close();
  await producer.close();
  return took.sort((a, b) => a - b);
};

const at = (sorted: ReadonlyArray<number>, part: number): number => sorted[Math.floor(sorted.length * part)]!;

export const suite: Suite = {
  name: "hostile peers",
  oursOnly: true,
  tests: [
    {
      name: "slow, creditless, silent, storming and malformed ones: memory is bounded, a client beside them is undisturbed",
      own: true,
      timeoutMs: 120_000,
      async run({ ownBroker, topic, note, cleanup }) {
        const broker = await ownBroker({ "http.listeners": "http://127.0.0.1:0" });
        const port = /HTTP and WebSocket on http:\/\/127\.0\.0\.1:(\d+)/.exec(broker.log())?.[1];
        assert(port !== undefined, `the broker names no gateway:\n${broker.log()}`);
        const [large, own] = [topic("large"), topic("own")];
        await using client = await connect(`http://127.0.0.1:${port}`);
        for (const name of [large, own]) await client.topics.create({ name, partitions: 1 });
        const filling = client.producer({ value: string });
        for (let index = 0; index < RECORDS; index++) {
          if (index % 500 === 0) await filling.ready();
          void filling.send({ topic: large, partition: 0, value: "x".repeat(1000) });
        }
        await filling.flush();
        await roundTrips(client, own, 100);
        const alone = await roundTrips(client, own, ROUND_TRIPS);
        const before = anonymousMiB(broker.pid);

        const child = spawn(process.execPath, [hostile, port, large], { stdio: ["pipe", "pipe", "inherit"] });
        const gone = once(child, "exit");
        let said = "";
        child.stdout.on("data", (chunk: Buffer) => (said += chunk.toString()));
        cleanup(async () => {
          child.kill("SIGKILL");
          await gone;
        });
        await waitFor("the peers", 60_000, () => said.includes("ready"));
        await sleep(500);
        let most = 0;
        const watching = setInterval(() => (most = Math.max(most, anonymousMiB(broker.pid))), 50);
        const beside = await roundTrips(client, own, ROUND_TRIPS);
        clearInterval(watching);
        child.stdin.end();
        await waitFor("their end", 20_000, () => said.includes("counts"));
        const { stayed, counts } = JSON.parse(said.split("\n")[1]!) as { stayed: number; counts: number[] };
        const shown = (sorted: number[]): string => `${at(sorted, 0.5).toFixed(2)}/${at(sorted, 0.99).toFixed(1)}`;
        note(`p50/p99 ${shown(alone)} ms alone, ${shown(beside)} ms beside ${stayed} and ${counts.join("+")} peers`);
        note(`${before.toFixed(0)} MiB before, ${most.toFixed(0)} MiB at most`);
        assert(Math.min(...counts) > 5, `hardly any of some kind came: ${counts}`);
        // 600 peers that stay and hundreds that come and go, a fifth of a MiB each; unbounded, two hundred slow readers of
        // 20 MB each would be 4 GB.
        assert(most - before < 400, `memory grew from ${before} to ${most} MiB`);
        assert(at(beside, 0.5) < 5 * at(alone, 0.5) + 20, "the client waits five times as long and more");
        assert(at(beside, 0.99) < 1000, "the client was held up for a second");
        equal(broker.log().match(/ERROR.*/g) ?? [], [], "errors in the broker's log");
      },
    },
  ],
};
