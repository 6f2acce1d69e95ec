/**
 * `bun run build`: what the npm package holds, in `dist`, which is not committed. Node cannot import TypeScript from
 * node_modules, and a bundle starts in half the time of its sources.
 *
 *   dist/bun     for Bun: the program, the broker as a library, `odradek/testing` and the child that hosts a broker for Node
 *   dist/node    for Node: what of `odradek/testing` runs there, and a word about what does not
 *   dist/client  for browsers, Node and Bun alike: the stream client and its face for Effect
 *   dist/types   declarations of what package.json exports, and of nothing else
 *
 * What must stay true: nothing of Bun's is in `dist/node`; whatever is loaded on first use is still a file of its own.
 */
import { readdirSync, readFileSync, rmSync } from "node:fs";
import { dirname, join, normalize } from "node:path";

process.chdir(join(import.meta.dir, ".."));

/** Loaded at run time from node_modules: native code, and WebAssembly that is loaded anew after a trap. */
const external = ["@node-rs/*", "@platformatic/*"];

const bundle = async (
  target: "bun" | "node" | "browser",
  entrypoints: string[],
  folder: string = target,
  also: string[] = [],
): Promise<void> => {
  await Bun.build({
    entrypoints,
    target,
    outdir: `dist/${folder}`,
    root: ".",
    // Side by side: files find each other by their names.
    naming: { entry: "[name].[ext]", chunk: "[name]-[hash].[ext]" },
    splitting: true,
    // Names stay, for stack traces and for messages that name a class.
    minify: { whitespace: true, syntax: true, identifiers: false },
    external: [...external, ...also],
    define: target === "node" ? { "process.versions.bun": "undefined" } : {},
  });
};

/** Declarations that nothing exported leads to say nothing to anybody. */
const pruneDeclarations = (entries: ReadonlyArray<string>): void => {
  const reached = new Set(entries);
  for (const path of reached) {
    for (const [, specifier = ""] of readFileSync(path, "utf8").matchAll(/(?:from |import\()"(\.[^"]+)\.ts"/g)) {
      reached.add(normalize(join(dirname(path), `${specifier}.d.ts`)));
    }
  }
  for (const name of readdirSync("dist/types", { recursive: true, encoding: "utf8" })) {
    const path = `dist/types/${name}`;
    if (path.endsWith(".d.ts") && !reached.has(path)) rmSync(path);
  }
};

rmSync("dist", { recursive: true, force: true });
const onBoth = ["actors/EmbeddedBroker.ts", "actors/testing/index.ts"];
await bundle("bun", [
  "actors/main.ts",
  ...onBoth,
  "actors/testing/BrokerChild.ts",
  "actors/CleanerWorker.ts",
  "src/platform/SyncfsWorker.ts",
]);
await bundle("node", onBoth);
const clients = ["src/client/Client.ts", "src/client/EffectClient.ts"];
// Whoever uses Effect has one of his own.
await bundle("browser", clients, "client", ["effect"]);
const declarations = Bun.spawnSync([process.execPath, "node_modules/typescript/bin/tsc", "-p", "tsconfig.build.json"], {
  stdio: ["ignore", "inherit", "inherit"],
});
if (declarations.exitCode !== 0) process.exit(1);
const exported = [...onBoth, ...clients];
pruneDeclarations(exported.map((path) => `dist/types/${path.replace(/\.ts$/, ".d.ts")}`));
