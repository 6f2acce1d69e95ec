/** The examples of src/client/README.md, run against a real broker through a real WebSocket: each prints what it says. */
import { expect, spyOn, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startRealGateway } from "../gateway/RealGateway.ts";

const client = join(import.meta.dir, "..", "..", "src", "client");
const readme = readFileSync(join(client, "README.md"), "utf8");
const examples = [...readme.matchAll(/```ts\n([\s\S]*?)```\n```text\n([\s\S]*?)```/g)].map(([, code, output]) => ({
  code: code!,
  output: output!,
}));

test("every example has its output", () => {
  expect(examples.length).toBeGreaterThan(4);
  expect(readme.match(/```ts/g)).toHaveLength(examples.length);
});

test("every example prints what it says", async () => {
  const directory = mkdtempSync(join(tmpdir(), "odradek-readme-"));
  const real = await startRealGateway(join(directory, "data"));
  const printed: string[] = [];
  const log = spyOn(console, "log").mockImplementation((...parts: unknown[]) => {
    printed.push(parts.map(String).join(" "));
  });
  try {
    for (const [index, { code, output }] of examples.entries()) {
      const file = join(import.meta.dir, `Readme.example-${process.pid}-${index}.ts`);
      const runnable = code
        .replaceAll('"odradek/client/effect"', JSON.stringify(join(client, "EffectClient.ts")))
        .replaceAll('"odradek/client"', JSON.stringify(join(client, "Client.ts")))
        .replaceAll("ws://localhost:8080", real.url);
      printed.length = 0;
      // Beside the test, where modules are found.
      writeFileSync(file, runnable);
      try {
        await import(file);
      } finally {
        rmSync(file);
      }
      expect([index, `${printed.join("\n")}\n`]).toEqual([index, output]);
    }
  } finally {
    log.mockRestore();
    await real.stop();
    rmSync(directory, { recursive: true });
  }
}, 30_000);
