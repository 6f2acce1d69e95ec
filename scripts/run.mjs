#!/usr/bin/env node
/**
 * The one launcher: `npm start`, `npm test` and every other script of package.json come through here, under Node or
 * under Bun, in a fresh clone or a finished one; in the installed package it is the command `odradek`. It finds Bun (or installs the pinned one), brings node_modules up to
 * the lock file, and then runs what was asked for. What must stay true: no install script is ever run; nothing is
 * printed and nothing but a few files' status is read when everything is in place; under Bun the broker runs in this
 * very process, because a wrapper costs tens of milliseconds and as many megabytes.
 *
 *   run.mjs [SERVER OPTIONS]     the broker (actors/main.ts)
 *   run.mjs test [OPTIONS]       bun test
 *   run.mjs install              only what a first start would install
 *   run.mjs simulate [OPTIONS]   scripts/simulate.ts, in a clone
 *   run.mjs FILE.ts [ARGS]       that script, under Bun (also a tool's launcher in node_modules)
 *
 * This file must parse on any Node from 18 on and must import nothing outside Node's own library.
 */
import { spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { constants, cpus } from "node:os";
import { delimiter, dirname, join, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const root = resolve(dirname(fileURLToPath(import.meta.url)), "..");
const modules = join(root, "node_modules");
const cache = join(modules, ".cache", "odradek");
/** Beside the stamp, so that removing node_modules removes every trace of what this file did. */
const bootstrap = join(cache, "bun");
const stampFile = join(cache, "installed.json");
/** The program: its sources, or in the installed package what they were built into. */
const sources = join(root, "actors", "main.ts");
const program = existsSync(sources) ? sources : join(root, "dist", "bun", "main.js");
const simulation = join(root, "scripts", "simulate.ts");
const windows = process.platform === "win32";
const executable = windows ? "bun.exe" : "bun";

/** Ends the program with one line a person can act on. */
function fail(message) {
  process.stderr.write(`odradek: ${message}\n`);
  process.exit(1);
}

const pinned = () => JSON.parse(readFileSync(join(root, "package.json"), "utf8")).dependencies.bun;

/** Whether a Bun of version `found` ("1.4.6", "1.5.0-canary.3") may run what was written for `wanted`. */
function recentEnough(found, wanted) {
  const numbers = (text) => text.split(/[-+]/)[0].split(".").map(Number);
  const [a, b] = [numbers(found), numbers(wanted)];
  for (let i = 0; i < 3; i++) if (a[i] !== b[i]) return a[i] > b[i];
  return true;
}

/** Size and time of change: tells an untouched file without reading it. */
function fingerprint(path) {
  const stat = statSync(path, { throwIfNoEntry: false });
  return stat === undefined ? undefined : `${stat.size}:${stat.mtimeMs}`;
}

function readStamp() {
  try {
    return JSON.parse(readFileSync(stampFile, "utf8"));
  } catch {
    return {};
  }
}

/** Best effort: on a read-only checkout the next start looks again. */
function writeStamp(change) {
  try {
    mkdirSync(cache, { recursive: true });
    writeFileSync(stampFile, `${JSON.stringify({ ...readStamp(), ...change })}\n`);
  } catch {}
}

const hashOf = (path) => createHash("sha256").update(readFileSync(path)).digest("hex");

/** The version a Bun executable reports, or undefined when it does not run (npm's stub, another C library). */
function versionOf(bun) {
  const answer = spawnSync(bun, ["--version"], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
  return answer.status === 0 ? answer.stdout.trim() : undefined;
}

/** Where the npm package `bun` has its executables before its install script has run. */
function inModules(directory) {
  const cpu = process.arch === "arm64" ? "aarch64" : process.arch;
  const base = join(directory, "@oven", `bun-${windows ? "windows" : process.platform}-${cpu}`);
  return ["", "-musl", "-android"].map((suffix) => join(base + suffix, "bin", executable));
}

/** The same for an installed package, wherever its installer has put its dependencies. */
function besideDependency() {
  try {
    const bun = createRequire(import.meta.url).resolve("bun/package.json");
    // `…/node_modules/bun/package.json`: the executables' packages are bun's neighbours, until its install script moves
    // one of them into it (without that there is a stub that fails).
    return [...inModules(dirname(dirname(bun))), join(dirname(bun), "bin", "bun.exe")];
  } catch {
    return [];
  }
}

function findBun() {
  const known = readStamp().bun;
  if (known !== undefined && fingerprint(known.path) === known.fingerprint) return known.path;
  const wanted = pinned();
  const onPath = (process.env.PATH ?? "")
    .split(delimiter)
    .filter((directory) => directory !== "")
    .map((directory) => join(directory, executable));
  const bootstrapped = inModules(join(bootstrap, "node_modules"));
  for (const path of [...inModules(modules), ...besideDependency(), ...onPath, ...bootstrapped]) {
    if (!existsSync(path)) continue;
    const version = versionOf(path);
    if (version === undefined || !recentEnough(version, wanted)) continue;
    if (existsSync(modules)) writeStamp({ bun: { path, fingerprint: fingerprint(path) } });
    return path;
  }
  return undefined;
}

/** Fetches the pinned Bun through npm, which every Node brings; its install script is neither needed nor run. */
function installBun() {
  const wanted = pinned();
  process.stderr.write(`odradek: installing Bun ${wanted} (once)\n`);
  mkdirSync(bootstrap, { recursive: true });
  writeFileSync(join(bootstrap, "package.json"), '{ "private": true }\n');
  const npm = spawnSync(
    windows ? "npm.cmd" : "npm",
    ["install", "--no-save", "--no-package-lock", "--ignore-scripts", "--no-audit", "--no-fund", `bun@${wanted}`],
    { cwd: bootstrap, stdio: ["ignore", 2, 2], shell: windows, env: { ...process.env, npm_config_loglevel: "error" } },
  );
  const bun = npm.status === 0 ? findBun() : undefined;
  return bun ?? fail(`Bun ${wanted} is not here and npm could not install it; see https://bun.com, then try again`);
}

/**
 * With install scripts blocked node_modules/.bin/bun is a stub that only complains; pointing it at the real one is all
 * that Bun's own script would do. After this `npm run server` works too where Bun is nowhere else.
 */
function replaceStub() {
  const real = inModules(modules).find((path) => existsSync(path));
  const stub = join(modules, "bun", "bin", "bun.exe");
  if (windows || real === undefined || !existsSync(stub)) return;
  // Never written in place: the file may be a hard link into the package cache.
  rmSync(stub);
  symlinkSync(real, stub);
}

/** Brings node_modules up to the lock file; answers whether anything had to be done. */
function installPackages(bun) {
  const lock = join(root, "bun.lock");
  const stamp = readStamp();
  const now = fingerprint(lock);
  // Without a lock file this is an installed package, whose installer brought the packages.
  if (now === undefined) return false;
  if (stamp.lock !== undefined && stamp.lockFingerprint === now) return false;
  const hash = hashOf(lock);
  const stale = stamp.lock !== hash;
  if (stale) {
    process.stderr.write("odradek: installing packages (once per lock file)\n");
    const install = spawnSync(bun, ["install", "--frozen-lockfile", "--ignore-scripts"], {
      cwd: root,
      stdio: ["ignore", "ignore", 2],
    });
    if (install.status !== 0) fail("`bun install --frozen-lockfile --ignore-scripts` failed (see above)");
    replaceStub();
    rmSync(bootstrap, { recursive: true, force: true });
  }
  writeStamp({ lock: hash, lockFingerprint: now });
  return stale;
}

/**
 * The environment for children: `bun run` puts a directory before PATH in which `node` is Bun; a test that starts
 * Node must get the real one wherever there is one.
 */
function environment() {
  const directories = (process.env.PATH ?? "").split(delimiter);
  const real = directories.filter((directory) => !/[\\/]bun-node-[^\\/]*$/.test(directory));
  const hasNode = real.some((directory) => existsSync(join(directory, windows ? "node.exe" : "node")));
  return hasNode ? { ...process.env, PATH: real.join(delimiter) } : process.env;
}

/** Runs Bun in a child; signals go to it, its exit code or signal becomes ours. */
function runChild(bun, args) {
  const signals = ["SIGTERM", "SIGINT", "SIGHUP"];
  let child;
  // Before there is a child: one that runs at once may be stopped before its parent has gone on.
  for (const signal of signals)
    process.on(signal, () => {
      // Ctrl-C at a terminal reaches the child by itself; twice would mean "at once".
      if (signal !== "SIGINT" || !process.stdin.isTTY) child.kill(signal);
    });
  child = spawn(bun, args, { stdio: "inherit", env: environment() });
  child.on("error", (error) => fail(`cannot start ${bun}: ${error.message}`));
  child.on("exit", (code, signal) => {
    if (signal !== null) {
      for (const name of signals) process.removeAllListeners(name);
      process.kill(process.pid, signal);
      // Where the signal does not end us: the shell's convention for a child that died of one.
      setTimeout(() => process.exit(128 + (constants.signals[signal] ?? 0)), 100);
    } else process.exit(code ?? 1);
  });
}

const self = process.versions.bun;
let bun = self !== undefined && recentEnough(self, pinned()) ? process.execPath : findBun();
const inProcess = bun === process.execPath;
bun ??= self === undefined ? installBun() : fail(`Bun ${self} is too old: ${pinned()} or later is needed`);
const installed = installPackages(bun);
// The bootstrap Bun is removed once node_modules has its own.
if (!existsSync(bun)) bun = findBun() ?? fail("no Bun found in node_modules after installing; try again");

const [verb, ...rest] = process.argv.slice(2);
if (verb === "install") {
  process.exit(0);
} else if (verb === "test") {
  // `bun test` runs where package.json is, whatever the working directory was.
  process.chdir(root);
  // Bun's own limit of 5 s per test is for an idle machine; a test that hangs is still found. The files go to one process
  // per core, up to what memory is for, and are counted in one summary; a process that dies is a failed test.
  const processes = `--parallel=${Math.min(4, cpus().length)}`;
  runChild(bun, [
    "test",
    "--timeout=30000",
    processes,
    "--no-isolate",
    ...rest.filter((argument) => argument !== "--"),
  ]);
} else if (verb === "simulate" && existsSync(simulation)) {
  runChild(bun, [simulation, ...rest]);
} else if (verb === "simulate") {
  fail("simulate is for a clone of Odradek; for a program of one's own there is simulate() in odradek/testing");
} else if (verb?.endsWith(".ts") || verb?.startsWith("node_modules/")) {
  runChild(bun, [resolve(root, verb), ...rest]);
} else if (inProcess && !installed) {
  await import(pathToFileURL(program).href);
} else {
  // Also right after an installation: this process has already looked for packages that were not there yet.
  runChild(bun, [program, ...process.argv.slice(2)]);
}
