/** The whole broker under one seed: equal runs, different seeds, and what it costs. */
import { describe, expect, test } from "bun:test";
import { survive } from "./support/PowerCuts.ts";

/** A produce workload with a power cut in the middle of it, as one hash. */
const run = (seed: number): string =>
  survive({ seed }, (process, operation, generation) => {
    if (generation === 0 && operation.index === 40) process.powerCut("mixed");
  }).trace;

describe("a broker in simulation", () => {
  test("the same seed in two separate processes gives the same trace, and most seeds one of their own", async () => {
    const seeds = 20;
    const support = new URL("./support/PowerCuts.ts", import.meta.url).pathname;
    const code = `import { survive } from ${JSON.stringify(support)};
      const run = ${run.toString()};
      for (let seed = 0; seed < ${seeds}; seed++) console.log(run(seed));`;
    const inProcess = async (): Promise<string[]> => {
      const child = Bun.spawn([process.execPath, "-e", code], { stdout: "pipe", stderr: "inherit" });
      return (await new Response(child.stdout).text()).trim().split("\n");
    };
    const [first, second] = await Promise.all([inProcess(), inProcess()]);
    expect(first).toHaveLength(seeds);
    expect(second).toEqual(first!);
    expect(Array.from({ length: seeds }, (_, seed) => run(seed))).toEqual(first!);
    expect(new Set(first).size).toBeGreaterThan(0.9 * seeds);
  }, 60_000);
});
