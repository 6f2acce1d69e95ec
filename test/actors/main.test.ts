import { describe, expect, test } from "bun:test";
import { createServer } from "node:net";
import { join } from "node:path";
import { stampBatch } from "../../src/record/RecordBatch.ts";
import { buildBatch } from "../../src/record/RecordBatchBuilder.ts";
import { temporaryDirectory } from "../support/RealBroker.ts";

const launcher = join(import.meta.dir, "..", "..", "scripts", "run.mjs");

/** The program as a user starts it; its output as it comes. */
const start = (...args: string[]) => {
  const child = Bun.spawn([process.execPath, launcher, ...args], { stdout: "pipe", stderr: "pipe", stdin: "ignore" });
  let output = "";
  const until = async (pattern: RegExp): Promise<RegExpExecArray> => {
    for await (const chunk of child.stdout) {
      output += new TextDecoder().decode(chunk);
      const found = pattern.exec(output);
      if (found !== null) return found;
    }
    throw new Error(`the output ended without ${pattern}: ${output}`);
  };
  return { child, until };
};

const run = async (...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> => {
  const { child } = start(...args);
  const [stdout, stderr, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  return { code, stdout, stderr };
};

const settings = (path: string, port = 0): string[] => [
  "--override",
  `log.dirs=${path}`,
  "--override",
  `listeners=PLAINTEXT://127.0.0.1:${port}`,
];

describe("the program", () => {
  test("prints where it listens, and SIGTERM ends it in order with 0 and the clean-shutdown marker", async () => {
    using data = temporaryDirectory();
    const { child, until } = start(...settings(data.path));
    const [, port] = await until(/PLAINTEXT listening on 127\.0\.0\.1:(\d+)[\s\S]*Kafka Server started/);
    expect(Number(port)).toBeGreaterThan(0);
    const stopping = performance.now();
    child.kill("SIGTERM");
    expect(await child.exited).toBe(0);
    expect(performance.now() - stopping).toBeLessThan(3000);
    expect(await Bun.file(join(data.path, ".kafka_cleanshutdown")).exists()).toBe(true);
  });

  test("a port in use is one line and exit code 1, and the data directory is not touched", async () => {
    using data = temporaryDirectory();
    const server = createServer().listen(0, "127.0.0.1");
    await new Promise((listening) => server.once("listening", listening));
    const address = server.address();
    const port = typeof address === "object" && address !== null ? address.port : 0;
    const { code, stderr } = await run(...settings(join(data.path, "new"), port));
    server.close();
    expect({ code, stderr }).toEqual({
      code: 1,
      stderr:
        `odradek: listeners: 127.0.0.1:${port} cannot be bound: the port is in use\n` +
        `odradek: --override listeners=PLAINTEXT://127.0.0.1:${port + 1} takes the next port, port 0 any that is free\n`,
    });
    expect(await Bun.file(join(data.path, "new", "meta.properties")).exists()).toBe(false);
  });

  test("a wrong value names key, value and what is allowed; an unknown option says how to get help", async () => {
    const wrong = await run("--override", "num.partitions=many");
    expect(wrong.code).toBe(1);
    expect(wrong.stderr).toMatch(/^odradek: .*many.*num\.partitions.*allowed.*\n$/);
    const unknown = await run("--nonsense");
    expect(unknown.code).toBe(2);
    expect(unknown.stderr).toContain("--help");
  });

  test("a command's wrong line is one line on stderr and exit code 2; its help is on stdout", async () => {
    expect(await run("consume", "t", "-o", "5:3")).toEqual({
      code: 2,
      stdout: "",
      stderr: "odradek: --offset 5:3: the end is not behind the start (consume --help says more)\n",
    });
    const commands = ["consume", "produce", "topic", "group", "txn", "dump-log"];
    for (const { code, stdout, stderr } of await Promise.all(commands.map((command) => run(command, "--help")))) {
      expect([code, stderr]).toEqual([0, ""]);
      expect(stdout).toMatch(/^Usage: odradek|\nUsage: odradek/);
    }
  });

  test("dump-log | head ends quietly, and who reads on gets every line", async () => {
    using data = temporaryDirectory();
    const log = join(data.path, `${"0".repeat(20)}.log`);
    const records = Array.from({ length: 1000 }, () => ({ value: new Uint8Array(100).fill(97) }));
    const batches = Array.from({ length: 60 }, (_, index) => {
      const batch = buildBatch(records);
      stampBatch(batch, 0, index * records.length, 0);
      return batch;
    });
    await Bun.write(log, Buffer.concat(batches));
    const child = Bun.spawn(
      ["sh", "-c", `"$0" "$@" | head -n 1`, process.execPath, launcher, "dump-log", "--print-data-log", log],
      {
        stdout: "pipe",
        stderr: "pipe",
      },
    );
    expect(await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()])).toEqual([
      `Dumping ${log}\n`,
      "",
    ]);
    const { stdout, stderr } = await run("dump-log", "--print-data-log", log);
    expect([stdout.split("\n").filter((line) => line.startsWith("| offset: ")).length, stderr]).toEqual([60_000, ""]);
  });

  test("a directory in use, or where none can be, is said so, with the option that helps", async () => {
    using data = temporaryDirectory();
    const { child, until } = start(...settings(data.path));
    await until(/Kafka Server started/);
    expect(await run(...settings(data.path))).toMatchObject({
      code: 1,
      stderr:
        `odradek: log.dirs: ${data.path} is used by another process\n` +
        "odradek: a broker needs a directory of its own: --override log.dirs=ANOTHER\n",
    });
    child.kill("SIGTERM");
    await child.exited;
    const file = join(data.path, "meta.properties");
    expect((await run(...settings(file))).stderr).toBe(
      `odradek: log.dirs: ${file} cannot be created: there is a file of that name\n`,
    );
  });

  test("what is no address of this machine, no file and no command is said so", async () => {
    using data = temporaryDirectory();
    const elsewhere = [...settings(data.path), "--override", "listeners=PLAINTEXT://192.0.2.1:9092"];
    expect((await run(...elsewhere)).stderr).toBe(
      "odradek: listeners: 192.0.2.1:9092 cannot be bound: this machine has no such address\n",
    );
    expect(await run(data.path)).toMatchObject({
      code: 1,
      stderr: `odradek: --config: ${data.path} is a directory, not a file\n`,
    });
    expect((await run("strat")).stderr).toBe(
      "odradek: --config: there is no file strat, and no command of that name (odradek --help lists them)\n",
    );
    expect((await run("none.properties")).stderr).toBe("odradek: --config: there is no file none.properties\n");
  });

  test("every wrong value is a line of its own", async () => {
    const { stderr } = await run("--override", "num.partitions=many", "--override", "log.retention.hours=long");
    expect(stderr.split("\n")).toEqual([
      expect.stringMatching(/^odradek: .*num\.partitions/),
      expect.stringMatching(/^odradek: .*log\.retention\.hours/),
      "",
    ]);
  });

  test("--version and --help", async () => {
    expect((await run("--version")).stdout).toMatch(/^odradek \d+\.\d+\.\d+ \(Kafka 4\.3\.1\)\n$/);
    const { stdout } = await run("--help");
    expect(stdout).toContain("--override KEY=VALUE");
    expect((await run("help")).stdout).toBe(stdout);
  });
});
