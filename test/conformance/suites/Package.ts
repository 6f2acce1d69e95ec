/**
 * The npm package as a user gets it: packed, installed into a project of its own (`test/conformance/package`), its tests run
 * by node:test and Vitest on Node 22 and by bun:test, its command by npx and by bunx where there is no Node.
 */
import { spawn } from "node:child_process";
import { existsSync, rmSync } from "node:fs";
import { cp, mkdir, readdir, readFile, symlink } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect as connectClient } from "../../../src/client/Client.ts";
import { node22 } from "../support/Cache.ts";
import { run, sleep } from "../support/Process.ts";
import { assert, type Context, equal, type Suite } from "../support/Suite.ts";

const repository = join(import.meta.dir, "..", "..", "..");
const source = join(import.meta.dir, "..", "package");

const install = async (): Promise<string> => {
  const directory = join(tmpdir(), `odradek-package-${process.pid}`);
  process.on("exit", () => rmSync(directory, { recursive: true, force: true }));
  const project = join(directory, "project");
  await mkdir(directory);
  await cp(source, project, { recursive: true });
  await run("npm", ["pack", "--pack-destination", directory, "--loglevel=error"], { cwd: repository });
  const [packed] = (await readdir(directory)).filter((name) => name.endsWith(".tgz"));
  assert(packed !== undefined, "npm pack made nothing");
  const arguments_ = ["install", "--no-audit", "--no-fund", "--prefer-offline", "--loglevel=error"];
  await run("npm", [...arguments_, join(directory, packed)], { cwd: project, timeoutMs: 300_000 });
  return project;
};

const connectAndDelete = async (url: string): Promise<void> => {
  await using client = await connectClient(url);
  await client.topics.delete("packaged");
};

let installed: Promise<string> | undefined;
const project = (): Promise<string> => (installed ??= install());

/** Runs Node 22 in the project. */
const withNode = async (...args: string[]): Promise<string> =>
  (await run(await node22(), args, { cwd: await project(), timeoutMs: 120_000 })).stdout;

const median = (values: ReadonlyArray<number>): number => values.toSorted((a, b) => a - b)[values.length >> 1]!;

/** Notes the times a test printed; whoever else is on the machine, the quickest may not be longer than users were promised. */
const judgeStarts = (context: Context, output: string, promisedMs: number): void => {
  const [, json] = /starts (\[[^\]]*\])/.exec(output) ?? [];
  assert(json !== undefined, `no times in ${output}`);
  const times: number[] = JSON.parse(json);
  context.note(`ready after ${Math.round(times[0]!)} ms, then ${Math.round(median(times.slice(1)))} ms`);
  const quickest = Math.min(...times);
  assert(quickest < promisedMs, `ready after ${quickest} ms at best, ${promisedMs} ms are promised`);
};

const listens = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect({ host: "127.0.0.1", port });
    socket.on("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.on("error", () => resolve(false));
  });

const gone = async (what: string, isThere: () => Promise<boolean> | boolean): Promise<void> => {
  for (const deadline = Date.now() + 5000; await isThere(); await sleep(10)) {
    assert(Date.now() < deadline, `${what} is still there`);
  }
};

/** A PATH with these programs, a shell and nothing else. */
const onlyOnPath = async (directory: string, programs: Readonly<Record<string, string>>): Promise<string> => {
  const path = join(directory, "bin");
  await mkdir(path);
  for (const [name, target] of Object.entries({ sh: "/bin/sh", env: "/usr/bin/env", ...programs })) {
    await symlink(target, join(path, name));
  }
  return path;
};

export const suite: Suite = {
  name: "package",
  oursOnly: true,
  tests: [
    {
      name: "holds what is needed and nothing of the sources",
      own: true,
      timeoutMs: 300_000,
      async run() {
        const directory = join(await project(), "node_modules", "odradek");
        const names = (await readdir(directory)).sort();
        equal(names, ["LICENSE", "README.md", "dist", "package.json", "scripts"], "what was installed");
        for (const name of await readdir(join(directory, "dist", "node"))) {
          const text = await readFile(join(directory, "dist", "node", name), "utf8");
          assert(!/from\s*"bun|"bun:|"effect/.test(text), `${name} is for Node and asks for Bun's or Effect's modules`);
        }
      },
    },
    {
      name: "its types hold in both module resolutions",
      own: true,
      async run() {
        const common = ["--noEmit", "--strict", "--target", "esnext", "--lib", "esnext", "--types", "", "types.ts"];
        const tsc = join("node_modules", "typescript", "bin", "tsc");
        await withNode(tsc, ...common, "--module", "nodenext");
        await withNode(tsc, ...common, "--module", "preserve", "--moduleResolution", "bundler");
        const page = [
          "--noEmit",
          "--strict",
          "--target",
          "esnext",
          "--lib",
          "esnext,dom",
          "--types",
          "",
          "clientTypes.ts",
        ];
        await withNode(tsc, ...page, "--module", "nodenext");
        await withNode(tsc, ...page, "--module", "preserve", "--moduleResolution", "bundler");
      },
    },
    {
      name: "node:test on Node 22",
      own: true,
      async run(context) {
        judgeStarts(context, await withNode("--test", "--test-reporter=spec", "underNode.mjs"), 300);
      },
    },
    {
      name: "the stream client on Node 22 and on Bun",
      own: true,
      async run(context) {
        const broker = await context.ownBroker({ "http.listeners": "http://127.0.0.1:0" });
        const [, url] = /HTTP and WebSocket on (http:\/\/\S+)/.exec(broker.log()) ?? [];
        assert(url !== undefined, `the broker names no gateway:\n${broker.log()}`);
        equal(await withNode("clientUnderNode.mjs", url), "hello\n", "what Node read");
        await connectAndDelete(url);
        const { stdout } = await run(process.execPath, ["clientUnderNode.mjs", url], { cwd: await project() });
        equal(stdout, "hello\n", "what Bun read");
      },
    },
    {
      name: "Vitest on Node 22, in processes and in threads",
      own: true,
      async run() {
        const vitest = join("node_modules", "vitest", "vitest.mjs");
        for (const pool of ["forks", "threads"]) await withNode(vitest, "run", `--pool=${pool}`);
      },
    },
    {
      name: "bun:test",
      own: true,
      async run(context) {
        const { stdout } = await run(process.execPath, ["test", "./underBun.mjs"], { cwd: await project() });
        judgeStarts(context, stdout, 100);
      },
    },
    ...["kafkajs", "platformatic"].map((library) => ({
      name: `${library} loses nothing and writes nothing twice while faults are injected`,
      own: true,
      timeoutMs: 300_000,
      async run(context: Context) {
        const counts = new Map<string, number>();
        // Which requests a seed hits depends on when heartbeats come: a kind that has not come yet comes with another.
        for (let seed = 1; seed <= 4 || (counts.size < 6 && seed <= 12); seed++) {
          const injected: Record<string, number> = JSON.parse(await withNode("faults.mjs", library, `${seed}`));
          for (const [kind, count] of Object.entries(injected)) counts.set(kind, (counts.get(kind) ?? 0) + count);
        }
        context.note(Array.from(counts, ([kind, count]) => `${count} ${kind}`).join(", "));
        assert(counts.size === 6, `only ${[...counts.keys()].join(", ")} happened`);
      },
    })),
    {
      name: "the broker as a library, on Bun; on Node it says where it runs",
      own: true,
      async run({ directory }) {
        const { stdout } = await run(process.execPath, ["embedded.mjs", directory], { cwd: await project() });
        equal(stdout, "listening on 127.0.0.1\n", "what it said on Bun");
        const onNode = await withNode("embedded.mjs", directory);
        assert(/^a broker runs on Bun; .*odradek\/testing/.test(onNode), `what it said on Node: ${onNode}`);
      },
    },
    {
      name: "a broker nobody disposed of keeps no process alive, and ends with it",
      own: true,
      async run() {
        const { port, directory } = JSON.parse(await withNode("forgotten.mjs"));
        await gone("the broker", () => listens(port));
        await gone("its directory", () => existsSync(directory));
      },
    },
    {
      name: "a broker ends with its process, also when that is killed",
      own: true,
      async run(context) {
        const parent = spawn(await node22(), ["forgotten.mjs", "stay"], {
          cwd: await project(),
          stdio: ["ignore", "pipe", "ignore"],
        });
        context.cleanup(() => parent.kill("SIGKILL"));
        const line = await new Promise<string>((resolve) => parent.stdout.once("data", (data) => resolve(`${data}`)));
        const { port, directory } = JSON.parse(line);
        equal([await listens(port), existsSync(directory)], [true, true], "the broker and its directory");
        parent.kill("SIGKILL");
        await gone("the broker", () => listens(port));
        await gone("its directory", () => existsSync(directory));
      },
    },
    {
      name: "the command, by npx on Node 22 and by bunx where there is no Node",
      own: true,
      async run({ directory }) {
        const cwd = await project();
        const node = await node22();
        const withoutBun = await onlyOnPath(directory, { node });
        const npx = join(cwd, "node_modules", ".bin", "odradek");
        const byNode = await run(npx, ["--version"], { cwd, env: { PATH: withoutBun } });
        assert(/^odradek \d+\.\d+\.\d+ /.test(byNode.stdout), `npx answered ${byNode.stdout}`);
        await mkdir(join(directory, "bun"));
        const onlyBun = await onlyOnPath(join(directory, "bun"), { bun: process.execPath });
        const byBun = await run(process.execPath, ["x", "odradek", "--version"], { cwd, env: { PATH: onlyBun } });
        equal(byBun.stdout, byNode.stdout, "what bunx answered");
      },
    },
    {
      name: "the command starts a broker, and SIGTERM ends it in order",
      own: true,
      async run(context) {
        const cwd = await project();
        const child = spawn(
          await node22(),
          [
            join(cwd, "node_modules", "odradek", "scripts", "run.mjs"),
            "--override",
            "listeners=PLAINTEXT://127.0.0.1:0",
          ],
          { cwd: context.directory, stdio: ["ignore", "pipe", "inherit"] },
        );
        context.cleanup(() => child.kill("SIGKILL"));
        let output = "";
        const ready = new Promise<string>((resolve, reject) => {
          child.stdout.on("data", (data) => {
            output += data;
            const [, port] = /listening on 127\.0\.0\.1:(\d+)[\s\S]*Kafka Server started/.exec(output) ?? [];
            if (port !== undefined) resolve(port);
          });
          child.on("exit", (code) => reject(new Error(`it ended with ${code}: ${output}`)));
        });
        assert(await listens(Number(await ready)), "nobody listens");
        const ended = new Promise<number | null>((resolve) => child.once("exit", resolve));
        child.kill("SIGTERM");
        equal(await ended, 0, "its exit code");
        assert(
          existsSync(join(context.directory, "data", ".kafka_cleanshutdown")),
          "there is no clean-shutdown marker",
        );
      },
    },
  ],
};
