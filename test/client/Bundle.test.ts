/**
 * What the client is as a file for a browser: small, without anything of Node or Bun, and never touching the outside but
 * through its platform.
 */
import { describe, expect, test } from "bun:test";
import { setTripwires } from "../../actors/simulation/Tripwires.ts";
import { connect, string } from "../../src/client/Client.ts";
import { settled } from "./support/FakeNetwork.ts";
import { ModelGateway } from "./support/ModelGateway.ts";

const bundle = async () => {
  const { outputs, success, logs } = await Bun.build({
    entrypoints: [`${import.meta.dir}/../../src/client/Client.ts`],
    target: "browser",
    minify: true,
    splitting: true,
  });
  expect([success, logs]).toEqual([true, []]);
  return Promise.all(
    outputs.map(async (output) => {
      const text = await output.text();
      return { kind: output.kind, text, gzipped: Bun.gzipSync(text, { level: 9 }).length };
    }),
  );
};

describe("the bundle for browsers", () => {
  test("is below 40 KB, codecs apart", async () => {
    const files = await bundle();
    const entry = files.find(({ kind }) => kind === "entry-point")!;
    // What the entry imports statically belongs to the core, the chunk it imports when needed does not.
    const later = new Set([...entry.text.matchAll(/import\("\.\/([^"]+)"\)/g)].map(([, name]) => name));
    const codecs = files.find(({ text }) => text.includes("zstd: not made"))!;
    expect(later.size).toBeGreaterThan(0);
    const core = files.filter((file) => file !== codecs).reduce((sum, { gzipped }) => sum + gzipped, 0);
    expect(core).toBeLessThan(40_000);
    expect(codecs.gzipped).toBeLessThan(10_000);
    expect(entry.text.includes("zstd: not made")).toBe(false);
  });

  test("has nothing of Node or Bun, evaluates nothing, compiles no WebAssembly", async () => {
    for (const { text } of await bundle())
      for (const foreign of [/["'`]node:/, /\bBun\./, /\brequire\(/, /\bnew Function\b/, /\beval\(/, /WebAssembly/])
        expect([foreign, foreign.test(text)]).toEqual([foreign, false]);
  });
});

test("the core touches nothing but its platform", async () => {
  const gateway = new ModelGateway(5, 2);
  const { network } = gateway;
  for (let value = 0; value < 20; value++) gateway.append(value % 2, `v${value}`);
  const wires = setTripwires();
  const move = async (): Promise<void> => {
    for (let turn = 0; turn < 300; turn++) {
      gateway.push();
      if (!network.step()) network.clock.advance(20);
      for (let microtask = 0; microtask < 20; microtask++) await Promise.resolve();
    }
  };
  const values: (string | null)[] = [];
  try {
    const connecting = connect("ws://model", { platform: network.platform });
    await move();
    const client = await connecting;
    const partitions = [0, 1].map((partition) => ({ topic: "t", partition, from: "earliest" as const }));
    const consumer = client.consume({ partitions, value: string });
    void (async () => {
      for await (const { value } of consumer) values.push(value);
    })();
    const producer = client.producer({ value: string });
    await move();
    network.link.cut();
    void producer.send({ topic: "t", partition: 0, value: "sent" });
    await move();
    const closing = client.close();
    await move();
    await closing;
  } finally {
    wires.restore();
  }
  await settled();
  expect(wires.touched).toEqual([]);
  expect(values).toHaveLength(21);
});
