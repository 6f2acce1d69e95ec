/**
 * What the conformance tests and the benchmark fetch: Kafka's jars from Maven Central, JavaScript clients and a Node they can run
 * on from npm, kcat from Debian. Everything pinned, everything outside the repository (ODRADEK_CACHE, else the user's cache
 * directory), each fetched once and put in place by a rename, so that an interrupted fetch is never taken for a whole one.
 */
import { existsSync } from "node:fs";
import { cp, mkdir, readdir, rename, rm, writeFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { run } from "./Process.ts";

export const KAFKA_VERSION = "4.3.1";
const LOG4J_VERSION = "2.25.3";
const NODE_VERSION = "22.23.3";

export const cacheDirectory =
  process.env.ODRADEK_CACHE ?? join(process.env.XDG_CACHE_HOME ?? join(homedir(), ".cache"), "odradek-conformance");

const underWay = new Map<string, Promise<string>>();

/** Who asks while it is being fetched waits for the same fetch. */
const once = (name: string, fill: (directory: string) => Promise<void>): Promise<string> => {
  const fetching = underWay.get(name) ?? fetchOnce(name, fill).finally(() => underWay.delete(name));
  underWay.set(name, fetching);
  return fetching;
};

const fetchOnce = async (name: string, fill: (directory: string) => Promise<void>): Promise<string> => {
  const whole = join(cacheDirectory, name);
  if (existsSync(whole)) return whole;
  const partial = `${whole}.partial-${process.pid}`;
  await rm(partial, { recursive: true, force: true });
  await mkdir(partial, { recursive: true });
  await fill(partial);
  if (!existsSync(whole)) await rename(partial, whole);
  return whole;
};

const dependency = (group: string, artifact: string, version: string): string =>
  `<dependency><groupId>${group}</groupId><artifactId>${artifact}</artifactId><version>${version}</version></dependency>`;

/** Directory with Kafka's broker, clients and tools, every dependency beside them. Needs `mvn` (apt: maven). */
export const kafkaLibs = (): Promise<string> =>
  once(`kafka-${KAFKA_VERSION}`, async (directory) => {
    const kafka = ["kafka_2.13", "kafka-tools", "kafka-shell", "kafka-streams"];
    const logging = ["log4j-slf4j-impl", "log4j-core"];
    await writeFile(
      join(directory, "pom.xml"),
      `<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>odradek</groupId><artifactId>conformance</artifactId><version>1</version><dependencies>
${kafka.map((name) => dependency("org.apache.kafka", name, KAFKA_VERSION)).join("\n")}
${logging.map((name) => dependency("org.apache.logging.log4j", name, LOG4J_VERSION)).join("\n")}
</dependencies></project>
`,
    );
    await writeFile(
      join(directory, "log4j2.yaml"),
      `Configuration:
  Appenders: { Console: { name: E, target: SYSTEM_ERR, PatternLayout: { pattern: "[%d] %p %m (%c)%n" } } }
  Loggers: { Root: { level: WARN, AppenderRef: [ { ref: E } ] } }
`,
    );
    await run("mvn", ["-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory=libs"], {
      cwd: directory,
      timeoutMs: 600_000,
    });
  });

const logging = (kafka: string): string => `-Dlog4j2.configurationFile=${join(kafka, "log4j2.yaml")}`;
const classPath = (kafka: string): string[] => ["-cp", join(kafka, "libs", "*")];
const quickStart = ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"];

/**
 * Arguments of `java` before the class name. The tools' classes come from an archive made once per Java version, which halves
 * the second of CPU each of some fifty tool runs would take; a Java that cannot use it starts without it.
 */
export const javaArguments = async (kafka: string, heap = "-Xmx512m"): Promise<string[]> => {
  const version = (await run("java", ["-version"])).stderr;
  const directory = await once(`java-classes-${KAFKA_VERSION}-${Bun.hash(version).toString(16)}`, async (partial) => {
    const config = join(partial, "client.properties");
    await writeFile(config, "default.api.timeout.ms=300\nrequest.timeout.ms=200\n");
    // Nobody listens there: the tool loads what every tool loads, gives up and ends.
    const list = [
      "org.apache.kafka.tools.TopicCommand",
      "--bootstrap-server",
      "127.0.0.1:9",
      "--command-config",
      config,
      "--list",
    ];
    const archive = `-XX:ArchiveClassesAtExit=${join(partial, "tools.jsa")}`;
    await run("java", [archive, ...quickStart, logging(kafka), ...classPath(kafka), ...list], { anyExit: true });
  });
  const archive = [`-XX:SharedArchiveFile=${join(directory, "tools.jsa")}`, "-Xlog:disable", "-Xlog:all=error:stderr"];
  return [...archive, heap, ...quickStart, logging(kafka), ...classPath(kafka)];
};

const clientsSource = join(import.meta.dir, "..", "clients");

/** Directory with the JavaScript clients installed and this repository's client programs copied beside them. */
export const javaScriptClients = async (): Promise<string> => {
  const manifest = await Bun.file(join(clientsSource, "package.json")).text();
  const key = Bun.hash(manifest).toString(16);
  const directory = await once(`clients-${key}`, async (partial) => {
    await writeFile(join(partial, "package.json"), manifest);
    await run(
      "npm",
      ["install", "--ignore-scripts", "--no-package-lock", "--no-audit", "--no-fund", "--loglevel=error"],
      {
        cwd: partial,
        timeoutMs: 300_000,
      },
    );
  });
  for (const name of await readdir(clientsSource)) {
    if (name.endsWith(".mjs")) await cp(join(clientsSource, name), join(directory, name));
  }
  return directory;
};

/** A Node.js 22, because `@platformatic/kafka` refuses older ones and Debian has nothing newer than 20. */
export const node22 = async (): Promise<string> => {
  const name = `node-linux-${process.arch === "arm64" ? "arm64" : "x64"}`;
  const directory = await once(`node-${NODE_VERSION}`, async (partial) => {
    await writeFile(join(partial, "package.json"), '{ "private": true }\n');
    await run(
      "npm",
      ["install", "--ignore-scripts", "--no-package-lock", "--no-audit", "--no-fund", `${name}@${NODE_VERSION}`],
      {
        cwd: partial,
        timeoutMs: 300_000,
      },
    );
  });
  return join(directory, "node_modules", name, "bin", "node");
};

/** kcat's path; the tests need Debian's, which `.ci/run` installs. */
export const kcat = (): string => {
  const path = Bun.which("kcat");
  if (path === null) throw new Error("kcat is not installed: apt-get install kcat");
  return path;
};

/** A C program compiled against Debian's librdkafka, compiled again when its source changes. */
export const compiled = async (source: string): Promise<string> => {
  const text = await Bun.file(source).text();
  const gcc = Bun.which("gcc");
  if (gcc === null) throw new Error("gcc is not installed: apt-get install gcc librdkafka-dev");
  const directory = await once(`c-${Bun.hash(text).toString(16)}`, async (partial) => {
    await run(gcc, ["-O2", "-Wall", "-o", join(partial, "program"), source, "-lrdkafka", "-lpthread", "-lm"]);
  });
  return join(directory, "program");
};

const NATS_VERSION = "v2.15.3";

/** NATS' server, built with the Go toolchain: the benchmark's other broker with a WebSocket door. */
export const natsServer = async (): Promise<string> => {
  const go = Bun.which("go") ?? Bun.which("/usr/local/go/bin/go");
  if (go === null) throw new Error("Go is not installed: nats-server needs it");
  const built = await once(`nats-${NATS_VERSION}`, async (partial) => {
    const module = `github.com/nats-io/nats-server/v2@${NATS_VERSION}`;
    await run(go, ["install", module], { env: { GOBIN: partial }, timeoutMs: 600_000 });
  });
  return join(built, "nats-server");
};

/** A client program built with the Go toolchain from `clients/NAME` and its pinned modules. */
export const goProgram = async (name: "franz" | "go"): Promise<string> => {
  const go = Bun.which("go") ?? Bun.which("/usr/local/go/bin/go");
  if (go === null) throw new Error("Go is not installed: Go clients need it (only with --full)");
  const directory = join(clientsSource, name);
  const sources = (await readdir(directory)).toSorted().map((file) => Bun.file(join(directory, file)).text());
  const key = Bun.hash((await Promise.all(sources)).join(""));
  const built = await once(`${name}-${key.toString(16)}`, async (partial) => {
    await run(go, ["build", "-o", join(partial, name), "."], { cwd: directory, timeoutMs: 300_000 });
  });
  return join(built, name);
};

/** A Python with the libraries of `clients/python/requirements.txt`, in an environment of its own. */
export const python = async (): Promise<string> => {
  const python3 = Bun.which("python3");
  if (python3 === null) throw new Error("Python is not installed: apt-get install python3 python3-venv");
  const requirements = join(clientsSource, "python", "requirements.txt");
  const version = (await run(python3, ["--version"])).stdout;
  const key = Bun.hash(version + (await Bun.file(requirements).text())).toString(16);
  // An environment remembers where it was made, so nothing is moved; the file at the end says that it is whole.
  const directory = join(cacheDirectory, `python-${key}`);
  const whole = join(directory, "whole");
  if (!existsSync(whole)) {
    await rm(directory, { recursive: true, force: true });
    await run(python3, ["-m", "venv", directory], { timeoutMs: 120_000 });
    const install = ["-m", "pip", "install", "-q", "--disable-pip-version-check", "--only-binary", ":all:"];
    await run(join(directory, "bin", "python"), [...install, "-r", requirements], { timeoutMs: 300_000 });
    await writeFile(whole, "");
  }
  return join(directory, "bin", "python");
};

/** Path of a client program in Python. */
export const pythonProgram = (name: string): string => join(clientsSource, "python", `${name}.py`);
