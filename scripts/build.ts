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

const top = join(import.meta.dir, "..");

/**
 * Loaded at run time from node_modules: native code, WebAssembly that is loaded anew after a trap, and fast-check, of which a
 * user has one of his own.
 */
const external = ["@node-rs/*", "@platformatic/*", "fast-check"];

const onBoth = ["actors/EmbeddedBroker.ts", "actors/testing/index.ts", "actors/testing/FastCheck.ts"];
const threads = ["actors/CleanerWorker.ts", "src/platform/SyncfsWorker.ts"];
const onBun = ["actors/main.ts", "actors/testing/BrokerChild.ts", ...threads];
const clients = ["src/client/Client.ts", "src/client/EffectClient.ts"];

/** Each folder of `dist` that holds code: for what it is, and what goes in. */
const folders = {
  bun: { target: "bun", entries: [...onBun, ...onBoth], external },
  node: { target: "node", entries: onBoth, external },
  // Whoever uses Effect has one of his own.
  client: { target: "browser", entries: clients, external: [...external, "effect"] },
} as const;

/** The code of one folder; written only when there is a place for it. */
export const bundle = (folder: keyof typeof folders, outdir?: string): Promise<Bun.BuildOutput> => {
  const { target, entries, external } = folders[folder];
  return Bun.build({
    entrypoints: entries.map((entry) => join(top, entry)),
    target,
    ...(outdir === undefined ? {} : { outdir }),
    root: top,
    // Side by side: files find each other by their names.
    naming: { entry: "[name].[ext]", chunk: "[name]-[hash].[ext]" },
    splitting: true,
    // Names stay, for stack traces and for messages that name a class.
    minify: { whitespace: true, syntax: true, identifiers: false },
    external: [...external],
    define: target === "node" ? { "process.versions.bun": "undefined" } : {},
  });
};

/** Declarations that nothing exported leads to say nothing to anybody. */
const pruneDeclarations = (types: string, entries: ReadonlyArray<string>): void => {
  const reached = new Set(entries.map((entry) => join(types, entry.replace(/\.ts$/, ".d.ts"))));
  for (const path of reached) {
    for (const [, specifier = ""] of readFileSync(path, "utf8").matchAll(/(?:from |import\()"(\.[^"]+)\.ts"/g)) {
      reached.add(normalize(join(dirname(path), `${specifier}.d.ts`)));
    }
  }
  for (const name of readdirSync(types, { recursive: true, encoding: "utf8" })) {
    const path = join(types, name);
    if (path.endsWith(".d.ts") && !reached.has(path)) rmSync(path);
  }
};

const build = async (): Promise<void> => {
  const dist = join(top, "dist");
  rmSync(dist, { recursive: true, force: true });
  for (const folder of Object.keys(folders) as Array<keyof typeof folders>) await bundle(folder, join(dist, folder));
  const compiler = [process.execPath, "node_modules/typescript/bin/tsc", "-p", "tsconfig.build.json"];
  const declarations = Bun.spawnSync(compiler, { cwd: top, stdio: ["ignore", "inherit", "inherit"] });
  if (declarations.exitCode !== 0) process.exit(1);
  pruneDeclarations(join(dist, "types"), [...onBoth, ...clients]);
};

if (import.meta.main) await build();
