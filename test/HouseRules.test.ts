/**
 * The rules that make the tree what it is and that no compiler checks: which way imports point, where the runtime's
 * own API may be touched, what is banned and why, and how files are named and opened. Each rule is a function from the
 * tree to the places that break it, and each is shown to find a planted breach.
 */
import { describe, expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { basename, dirname, join, normalize } from "node:path";
import { apiName } from "../src/protocol/ApiKeys.ts";

interface SourceFile {
  /** From the top of the project, with forward slashes. */
  readonly path: string;
  readonly text: string;
  /** The text without comments and without the words of strings and templates. */
  readonly code: string;
  /** Relative imports as paths from the top, others as they are written; type imports too. */
  readonly imports: ReadonlyArray<string>;
}

const top = join(import.meta.dir, "..");

const withoutStrings = (text: string) => text.replace(/"(?:[^"\\\n]|\\.)*"/g, '""');
const withoutTemplates = (text: string) =>
  text.replace(/`(?:[^`\\]|\\.)*`/g, (template) => (template.match(/\$\{[^}]*\}/g) ?? []).join(" "));
const withoutComments = (text: string) => text.replace(/\/\*[\s\S]*?\*\//g, "").replace(/(^|[^:\\])\/\/.*$/gm, "$1");

function sourceFile(path: string, text: string): SourceFile {
  const specifiers = [...withoutComments(text).matchAll(/\b(?:from|import|require)\s*\(?\s*"([^"\n]+)"/g)];
  const imports = specifiers.map(([, specifier = ""]) =>
    specifier.startsWith(".") ? normalize(join(dirname(path), specifier)) : specifier,
  );
  return { path, text, code: withoutTemplates(withoutComments(withoutStrings(text))), imports };
}

const generated = "src/protocol/generated/";
const tree: ReadonlyArray<SourceFile> = ["src", "actors", "test", "scripts"].flatMap((folder) =>
  readdirSync(join(top, folder), { recursive: true, encoding: "utf8" })
    .map((name) => `${folder}/${name.replaceAll("\\", "/")}`)
    .filter((path) => /\.(ts|mjs)$/.test(path) && !path.startsWith(generated))
    .map((path) => sourceFile(path, readFileSync(join(top, path), "utf8"))),
);
const within = (...folders: string[]) => tree.filter(({ path }) => folders.some((folder) => path.startsWith(folder)));

/** Planted breaches are files of one line. */
const planted = (path: string, text: string) => [sourceFile(path, text)];

// ---------------------------------------------------------------------------------------------- direction of imports

/**
 * What a folder of `src` may import besides itself (shared table of the architecture: actors → gateway, api →
 * {partition, group, transaction, security} → metadata, log → record → protocol, prelude; those in braces do not see
 * each other, and neither do metadata and log). `config` is a schema and may be read from metadata upwards.
 */
const base = ["prelude", "protocol", "record", "platform"];
const behaviours = [...base, "log", "metadata", "config"];
const mayImport: Readonly<Record<string, ReadonlyArray<string>>> = {
  prelude: [],
  protocol: ["prelude"],
  record: ["prelude", "protocol", "platform"],
  platform: ["prelude", "protocol", "record"],
  config: ["prelude", "platform"],
  log: base,
  metadata: [...base, "config"],
  partition: behaviours,
  group: behaviours,
  transaction: behaviours,
  security: behaviours,
  api: [...behaviours, "partition", "group", "transaction", "security"],
  gateway: [...behaviours, "partition", "group", "transaction", "security", "api"],
  client: ["prelude", "protocol", "record", "gateway"],
  // Tools read what the broker writes.
  cli: [...behaviours, "group", "transaction", "client"],
  console: ["client", "gateway"],
};

function wrongDirection(files: ReadonlyArray<SourceFile>): string[] {
  const found: string[] = [];
  for (const { path, imports } of files) {
    const [root, folder = ""] = path.split("/");
    for (const target of imports) {
      const [targetRoot, targetFolder = ""] = target.split("/");
      if (root === "src") {
        const local = targetRoot === "src" && (folder === targetFolder || mayImport[folder]?.includes(targetFolder));
        const foreign = ["actors", "test", "scripts"].includes(targetRoot ?? "");
        if (foreign || (targetRoot === "src" && !local)) found.push(`${path} imports ${target}`);
      } else if (root === "actors" && (targetRoot === "test" || targetRoot === "scripts"))
        found.push(`${path} imports ${target}`);
    }
  }
  return found;
}

/** A workload of the simulation meets the broker on the wire alone: through a client, or what clients are made of. */
const clientsOnly =
  /^(actors\/testing|actors\/simulation\/SeededRandom\.ts|src\/(prelude|protocol|record|client))(\/|$)/;

const aroundTheWire = (files: ReadonlyArray<SourceFile>): string[] =>
  files
    .filter(({ path }) => path.startsWith("actors/testing/workloads/"))
    .flatMap(({ path, imports }) =>
      imports.filter((name) => !clientsOnly.test(name)).map((name) => `${path} imports ${name}`),
    );

describe("imports point one way", () => {
  test("in the tree", () => {
    expect(wrongDirection(within("src/", "actors/"))).toEqual([]);
    expect(aroundTheWire(within("actors/"))).toEqual([]);
    const folders = new Set(within("src/").map(({ path }) => path.split("/")[1] ?? ""));
    expect([...folders].filter((folder) => mayImport[folder] === undefined)).toEqual([]);
  });

  test("a breach is found", () => {
    expect(wrongDirection(planted("src/log/A.ts", 'import { x } from "../metadata/B.ts";'))).toHaveLength(1);
    expect(wrongDirection(planted("src/partition/A.ts", 'import type { x } from "../group/B.ts";'))).toHaveLength(1);
    expect(wrongDirection(planted("src/api/A.ts", 'import "../../actors/B.ts";'))).toHaveLength(1);
    expect(wrongDirection(planted("actors/A.ts", 'import "../test/support/B.ts";'))).toHaveLength(1);
    const handler = 'import { produce } from "../../../src/api/00-Produce.ts";';
    expect(aroundTheWire(planted("actors/testing/workloads/A.ts", handler))).toHaveLength(1);
    expect(wrongDirection(planted("src/api/A.ts", 'import { x } from "../partition/B.ts";'))).toEqual([]);
  });
});

// ------------------------------------------------------------------------------------------- the runtime and its ports

const runtimeModule = /^(node:|bun$|bun:|@node-rs\/)/;

/** The files of `src/platform` that touch the runtime, themselves or through another: the layers behind the ports. */
function layers(files: ReadonlyArray<SourceFile>): ReadonlySet<string> {
  const platform = files.filter(({ path }) => path.startsWith("src/platform/"));
  const found = new Set(
    platform
      .filter(
        ({ code, imports }) => /\bBun\.|\bprocess\./.test(code) || imports.some((name) => runtimeModule.test(name)),
      )
      .map(({ path }) => path),
  );
  for (let size = -1; size !== found.size; ) {
    size = found.size;
    for (const { path, imports } of platform) if (imports.some((name) => found.has(name))) found.add(path);
  }
  return found;
}

/**
 * Where the real runtime is meant: the program's entry and that of its thread, what guards a simulation against it, and
 * what puts a broker into another program, or into a test's own process or a child of it.
 */
const meetsRuntime = new Set([
  "actors/main.ts",
  "actors/CleanerWorker.ts",
  "actors/EmbeddedBroker.ts",
  "actors/StartEmbedded.ts",
  "actors/simulation/Tripwires.ts",
  "actors/simulation/Simulation.ts",
  ...["TestBroker", "InProcessBroker", "BrokerChild", "ChildBroker", "FindBun", "Simulate", "UserWorld"].map(
    (name) => `actors/testing/${name}.ts`,
  ),
]);
/** Client, command line and console run outside the broker and bring their own lifetimes. */
const outsideBroker = /^src\/(platform|client|cli|console)\//;

const broker = (files: ReadonlyArray<SourceFile>) =>
  files.filter(({ path }) => !meetsRuntime.has(path) && !outsideBroker.test(path));

/** Members of the global `process` by name: a simulated process may be called that as well. */
const runtimeUse =
  /\bBun\.\w+|\bprocess\.(?:env|argv|exit|on|once|off|std\w+|hrtime|nextTick|p?pid|cwd|chdir|memoryUsage|cpuUsage|resourceUsage|platform|arch|kill|versions?|uptime|execPath|emit\w*)\b/g;

function runtimeTouched(files: ReadonlyArray<SourceFile>, behind: ReadonlySet<string>): string[] {
  return broker(files).flatMap(({ path, code, imports }) => [
    ...imports.filter((name) => runtimeModule.test(name) || behind.has(name)).map((name) => `${path} imports ${name}`),
    ...[...code.matchAll(runtimeUse)].map(([use]) => `${path} uses ${use}`),
  ]);
}

/** Time, chance and ids come through the ports: one seed decides a whole simulated run. */
const nondeterminism =
  /\bMath\.random\b|\bDate\.now\b|\bnew Date\(\)|\bperformance\.now\b|\b(?:setTimeout|setInterval|setImmediate|queueMicrotask)\(|(?:await|return|[=(,])\s*fetch\(|\bcrypto\./g;

const nondeterministic = (files: ReadonlyArray<SourceFile>) =>
  broker(files).flatMap(({ path, code }) => [...code.matchAll(nondeterminism)].map(([use]) => `${path} uses ${use}`));

/** The stream client runs anywhere, and from one seed: only its platform touches the runtime, only its Effect face Effect. */
const clientTouches = (files: ReadonlyArray<SourceFile>): string[] =>
  files
    .filter(({ path }) => path.startsWith("src/client/") && path !== "src/client/WebPlatform.ts")
    .flatMap(({ path, code, imports }) => [
      ...[...code.matchAll(nondeterminism), ...code.matchAll(runtimeUse), ...code.matchAll(/\bnew WebSocket\b/g)].map(
        ([use]) => `${path} uses ${use}`,
      ),
      ...imports
        .filter((name) => runtimeModule.test(name) || (/^effect\b/.test(name) && !/\/Effect\w*\.ts$/.test(path)))
        .map((name) => `${path} imports ${name}`),
    ]);

/** `src` holds functions: whoever starts a fiber is an actor. */
const fibers = (files: ReadonlyArray<SourceFile>) =>
  files.flatMap(({ path, code }) =>
    [...code.matchAll(/\bEffect\.(?:fork\w*|run[A-Z]\w*)/g)].map(([use]) => `${path} uses ${use}`),
  );

describe("the outside is behind ports", () => {
  test("in the tree", () => {
    expect(runtimeTouched(within("src/", "actors/"), layers(tree))).toEqual([]);
    expect(nondeterministic(within("src/", "actors/"))).toEqual([]);
    expect(clientTouches(within("src/"))).toEqual([]);
    expect(fibers(within("src/"))).toEqual([]);
  });

  test("a breach is found", () => {
    const behind = new Set(["src/platform/BunDisk.ts"]);
    expect(runtimeTouched(planted("src/log/A.ts", 'import fs from "node:fs";'), behind)).toHaveLength(1);
    expect(
      runtimeTouched(planted("actors/A.ts", 'import { x } from "../src/platform/BunDisk.ts";'), behind),
    ).toHaveLength(1);
    expect(runtimeTouched(planted("src/log/A.ts", "const f = Bun.file(path);"), behind)).toHaveLength(1);
    expect(runtimeTouched(planted("actors/A.ts", "const e = process.env;"), behind)).toHaveLength(1);
    expect(runtimeTouched(planted("src/log/A.ts", "// Bun.file is not used"), behind)).toEqual([]);
    expect(nondeterministic(planted("actors/A.ts", "const t = Date.now() + Math.random();"))).toHaveLength(2);
    expect(nondeterministic(planted("src/log/A.ts", "setTimeout(() => {}, 5);"))).toHaveLength(1);
    expect(nondeterministic(planted("src/log/A.ts", "const answer = await fetch(address);"))).toHaveLength(1);
    expect(nondeterministic(planted("src/log/A.ts", "await client.fetch(topic);"))).toEqual([]);
    expect(clientTouches(planted("src/client/A.ts", "const t = Date.now(), s = new WebSocket(url);"))).toHaveLength(2);
    expect(clientTouches(planted("src/client/A.ts", 'import * as Effect from "effect/Effect";'))).toHaveLength(1);
    expect(clientTouches(planted("src/client/EffectClient.ts", 'import * as Effect from "effect/Effect";'))).toEqual(
      [],
    );
    expect(fibers(planted("src/api/A.ts", "Effect.runFork(effect); Effect.forkChild(effect);"))).toHaveLength(2);
    const platform = [
      ...planted("src/platform/BunA.ts", 'import fs from "node:fs";'),
      ...planted("src/platform/B.ts", 'import { a } from "./BunA.ts";'),
      ...planted("src/platform/Port.ts", "export interface Port {}"),
    ];
    expect([...layers(platform)]).toEqual(["src/platform/BunA.ts", "src/platform/B.ts"]);
  });
});

// --------------------------------------------------------------------------------------------------- what is banned

/** `why` is what the reader of a failure needs. */
const banned: ReadonlyArray<{ readonly what: RegExp; readonly why: string; readonly where: RegExp }> = [
  { what: /\bBun\.write\b/, why: "Bun.write doubles appends of 256 KiB and more", where: /^(src|actors)\// },
  {
    what: /from "effect"/,
    why: "the index of effect costs 100 ms of start-up: import effect/Module",
    where: /^(src|actors)\//,
  },
  { what: /\.writer\(/, why: "FileSink hides a full disk", where: /^(src|actors)\// },
  {
    what: /\bas any\b|:\s*any\b|<any>/,
    why: "any switches the type checker off",
    where: /^(src|actors|test|scripts)\//,
  },
];
/** Looked for in the whole text, comments and strings too. Written in pieces: this file is read as well. */
const bannedText: ReadonlyArray<{ readonly what: RegExp; readonly why: string }> = [
  { what: /from "effec[t]"/, why: "the index of effect costs 100 ms of every start: import effect/Module" },
  { what: new RegExp(`\\b${"TO"}DO\\b|\\b${"FIX"}ME\\b`), why: "open work belongs into an issue" },
  { what: new RegExp(`@${"ts"}-(ignore|nocheck|expect-error)`), why: "a type error is to be repaired" },
  { what: new RegExp(`\\b(test|describe|it)\\.(${"on"}ly|${"sk"}ip|to${"do"})\\b`), why: "every test runs" },
  { what: new RegExp(`/(root|${"home"}|Users)/[a-z]`), why: "a path of someone's machine" },
  { what: new RegExp(`registry\\.${"npm"}js|registry\\.yarnpkg|repo1?\\.${"maven"}`), why: "a registry's host name" },
];

const breaches = (files: ReadonlyArray<SourceFile>) =>
  files.flatMap(({ path, text, code }) => [
    ...banned.filter(({ what, where }) => where.test(path) && what.test(code)).map(({ why }) => `${path}: ${why}`),
    ...bannedText.filter(({ what }) => what.test(text)).map(({ why }) => `${path}: ${why}`),
  ]);

describe("what is banned is not there", () => {
  test("in the tree", () => {
    expect(breaches(tree.filter(({ path }) => path !== "test/HouseRules.test.ts"))).toEqual([]);
    for (const name of ["package.json", "bun.lock", "bunfig.toml"])
      expect([name, readFileSync(join(top, name), "utf8").match(/https?:\/\/[^"\s]+/)]).toEqual([name, null]);
  });

  test.each([
    ["src/log/A.ts", "await Bun.write(file, bytes);"],
    ["actors/A.ts", `import { Effect } from "eff${"ect"}";`],
    ["actors/A.ts", "const sink = file.writer();"],
    ["src/log/A.ts", "const x = y as any;"],
    ["src/log/A.ts", `// ${"TO"}DO: later`],
    ["test/A.test.ts", `test.${"on"}ly("x", () => {});`],
    ["test/A.test.ts", `test.${"sk"}ip("x", () => {});`],
    ["scripts/a.ts", `// @${"ts"}-ignore`],
    ["scripts/a.ts", `const cache = "/${"home"}/someone";`],
    ["scripts/a.ts", `fetch("https://registry.${"npm"}js.org/x");`],
  ])("a breach is found: %s %s", (path, text) => {
    expect(breaches(planted(path, text))).toHaveLength(1);
  });
});

// ------------------------------------------------------------------------------------------------- names and openings

const headerless = (files: ReadonlyArray<SourceFile>) =>
  files
    .filter(({ path }) => !path.endsWith(".test.ts"))
    .filter(({ text }) => !/^(#![^\n]*\n)?\/\*\*[\s\S]{30,}?\*\//.test(text))
    .map(({ path }) => path);

/** Entry points have the names that tools look for; `scripts` are commands and named like them. */
const misnamed = (files: ReadonlyArray<SourceFile>) =>
  files
    .filter(({ path }) => path !== "actors/main.ts" && path !== "actors/testing/index.ts")
    .filter(({ path }) => !/^(\d{2}-)?[A-Z][A-Za-z0-9]*(\.test)?\.tsx?$/.test(basename(path)))
    .map(({ path }) => path);

function wrongHandlers(files: ReadonlyArray<SourceFile>): string[] {
  return files.flatMap(({ path }) => {
    const [, number, name] = /^src\/api\/(\d{2})-(\w+)\.ts$/.exec(path) ?? [];
    return number !== undefined && apiName(Number(number)) !== name ? [path] : [];
  });
}

describe("names and openings", () => {
  test("in the tree", () => {
    expect(headerless(within("src/", "actors/", "scripts/", "test/support/", "test/conformance/"))).toEqual([]);
    expect(misnamed(within("src/", "actors/"))).toEqual([]);
    expect(wrongHandlers(within("src/api/"))).toEqual([]);
  });

  test("a breach is found", () => {
    expect(headerless(planted("src/log/A.ts", "export const a = 1;"))).toHaveLength(1);
    expect(misnamed(planted("src/log/log-segment.ts", ""))).toHaveLength(1);
    expect(misnamed(planted("src/api/00-Produce.ts", ""))).toEqual([]);
    expect(wrongHandlers(planted("src/api/00-Fetch.ts", ""))).toHaveLength(1);
    expect(wrongHandlers(planted("src/api/99-Produce.ts", ""))).toHaveLength(1);
  });
});
