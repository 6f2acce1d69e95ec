/** What is built for Node runs on Node; the conformance tests install the whole package and try it. */
import { expect, test } from "bun:test";
import { bundle } from "../../scripts/build.ts";

test("nothing of Bun's and nothing of the broker's is built for Node", async () => {
  const { outputs } = await bundle("node");
  const texts = await Promise.all(outputs.map(async (output) => [output.path, await output.text()] as const));
  expect(texts.map(([path]) => path).sort()).toContain("./index.js");
  const foreign = texts.filter(([, text]) => /"bun:|from\s*"bun"|"effect[/"]|class ReplicaManager/.test(text));
  expect(foreign.map(([path]) => path)).toEqual([]);
});
