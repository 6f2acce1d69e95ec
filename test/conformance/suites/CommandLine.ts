/**
 * Our command line beside the clients people have: what kcat prints is what `odradek produce` reads and the other way
 * round, Kafka's console consumer sees what was written, members of one group share it with kcat, and Ctrl-C ends both
 * tools in order. The broker may be ours or Kafka's.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { kcat } from "../support/Cache.ts";
import {
  kafkaConsoleConsumer,
  kcatReadAll,
  kcatRun,
  numberedLines,
  odradek,
  odradekCommand,
} from "../support/Clients.ts";
import { run, waitFor } from "../support/Process.ts";
import { createdTopic, createTopic } from "../support/Requests.ts";
import { assert, type Context, equal, type Suite } from "../support/Suite.ts";

/** A program whose lines are read as they come. */
class Running {
  readonly lines: string[] = [];
  private rest = "";
  readonly child: ChildProcess;
  private readonly gone: Promise<unknown[]>;

  constructor(context: Context, command: string, args: readonly string[]) {
    this.child = spawn(command, [...args], { stdio: ["pipe", "pipe", "ignore"] });
    this.gone = once(this.child, "exit");
    context.cleanup(() => this.child.kill("SIGKILL"));
    this.child.stdout?.on("data", (chunk: Buffer) => {
      const lines = (this.rest + chunk.toString()).split("\n");
      this.rest = lines.pop() ?? "";
      this.lines.push(...lines);
    });
  }

  async end(signal: NodeJS.Signals): Promise<unknown> {
    this.child.kill(signal);
    const [code] = await this.gone;
    return code;
  }
}

const consuming = (context: Context, ...args: string[]): Running =>
  new Running(context, ...odradekCommand(context.broker.address, ["consume", ...args]));

const kcatMember = (context: Context, group: string, topic: string): Running => {
  const settings = ["auto.offset.reset=earliest", "session.timeout.ms=45000", "heartbeat.interval.ms=500"];
  const options = [...settings, "partition.assignment.strategy=cooperative-sticky"].flatMap((each) => ["-X", each]);
  const args = ["-b", context.broker.address, "-q", "-u", ...options, "-f", "%s\n", "-G", group, topic];
  return new Running(context, kcat(), args);
};

const CODECS = ["none", "gzip", "snappy", "lz4", "zstd"];
/** What kcat shows of a record: partition, time, key, value (−1 for null), headers. */
const SHOWN = "%p|%T|%K:%k|%S:%s|%h\\n";
const TAB = "\t";

const kcatShows = async (address: string, topic: string): Promise<string[]> => {
  const { stdout } = await kcatRun(address, ["-C", "-q", "-t", topic, "-o", "beginning", "-e", "-f", SHOWN]);
  return stdout.split("\n").slice(0, -1).sort();
};

export const suite: Suite = {
  name: "command line",
  tests: [
    {
      name: "kcat -J | odradek produce --json: kcat sees the copy as it saw the original",
      async run(context) {
        const { wire, name } = await createdTopic(context, 3);
        const { name: copy } = await createTopic(wire, context.topic("copy"), 3);
        const { address } = context.broker;
        const input = 'k1\tv1\nk2\tü€𝄞 "quoted"\\\nk3\tline\n';
        await kcatRun(address, ["-P", "-t", name, `-K${TAB}`, "-H", "a=1", "-H", "a=2", "-H", "empty="], { input });
        await kcatRun(address, ["-P", "-t", name, `-K${TAB}`, "-Z"], { input: "k4\t\n" });
        const { stdout } = await kcatRun(address, ["-C", "-q", "-J", "-t", name, "-o", "beginning", "-e"]);
        await odradek(address, ["produce", "--json", copy], { input: stdout });
        const original = await kcatShows(address, name);
        equal(original.length, 4, "records");
        equal(await kcatShows(address, copy), original, "the copy");
      },
    },
    {
      name: "odradek consume | kcat -P, and odradek consume | odradek produce --json in every codec",
      async run(context) {
        const { address } = context.broker;
        const { wire, name } = await createdTopic(context);
        const copies: string[] = [];
        for (const codec of CODECS) {
          const { name: copy } = await createTopic(wire, context.topic(codec));
          copies.push(copy);
        }
        const lines = numberedLines(1000).replaceAll(/v(\d+)/g, "k$1\tv$1");
        await odradek(address, ["produce", name, "-f", "%k\\t%v\\n", "-H", "h=1"], { input: lines });
        const { stdout: keyed } = await odradek(address, ["consume", name, "-e", "-f", "%k\\t%v\\n"]);
        equal(keyed, lines, "what was consumed");
        const { name: byKcat } = await createTopic(wire, context.topic("kcat"));
        await kcatRun(address, ["-P", "-t", byKcat, `-K${TAB}`], { input: keyed });
        equal(await kcatReadAll(address, byKcat, "%k\\t%s\\n"), lines, "what kcat made of it");
        const { stdout: json } = await odradek(address, ["consume", name, "-e"]);
        for (const [index, codec] of CODECS.entries()) {
          await odradek(address, ["produce", "--json", copies[index]!, "-z", codec], { input: json });
          equal(
            await kcatReadAll(address, copies[index]!, "%k\\t%s\\t%h\\n"),
            keyed.replaceAll("\n", "\th=1\n"),
            codec,
          );
          const used = await odradek(address, ["consume", copies[index]!, "-n", "1", "-f", "%a{compression}"]);
          equal(used.stdout, codec, "the codec");
        }
      },
    },
    {
      name: "Kafka's console consumer sees keys, headers, times and tombstones as they were produced",
      async run(context) {
        const { address } = context.broker;
        const { name } = await createdTopic(context);
        const format = ["-f", "%d %k %v\\n", "-H", "a=1", "-H", "b=2", "-Z"];
        await odradek(address, ["produce", name, ...format], { input: "1700000000123 k v\n1700000000456 gone \n" });
        const properties = ["print.key", "print.headers", "print.timestamp"].flatMap((each) => [
          "--formatter-property",
          `${each}=true`,
        ]);
        equal(
          await kafkaConsoleConsumer(address, name, 2, properties),
          "CreateTime:1700000000123\ta:1,b:2\tk\tv\nCreateTime:1700000000456\ta:1,b:2\tgone\tnull\n",
          "the console consumer's lines",
        );
      },
    },
    {
      name: "a member beside kcat -G: each record once, and Ctrl-C commits, leaves and hands over at once",
      async run(context) {
        const { address } = context.broker;
        const { name } = await createdTopic(context, 4);
        const group = context.topic("group");
        const theirs = kcatMember(context, group, name);
        const ours = consuming(context, name, "-g", group, "-f", "%v\\n");
        const total = 4000;
        const produce = (from: number) =>
          odradek(address, ["produce", name, "--max-message-bytes", "3000"], { input: numberedLines(total, from) });
        // Both have partitions when both have lines.
        let sent = 0;
        await waitFor("both members read", 20_000, async () => {
          await produce(sent);
          sent += total;
          return theirs.lines.length > 0 && ours.lines.length > 0;
        });
        const seen = (): string[] => [...theirs.lines, ...ours.lines];
        const wanted = numberedLines(sent).split("\n").slice(0, -1).sort();
        await waitFor("all records are read", 10_000, () => seen().length >= wanted.length);
        equal(seen().sort(), wanted, "the records of both");
        const leaving = performance.now();
        equal(await ours.end("SIGINT"), 0, "the exit code after Ctrl-C");
        await produce(sent);
        await waitFor("kcat reads everything alone", 10_000, () => seen().length >= wanted.length + total);
        const tookMs = performance.now() - leaving;
        context.note(`handed over in ${Math.round(tookMs)} ms`);
        equal(seen().length, wanted.length + total, "nothing comes twice");
        await theirs.end("SIGTERM");
      },
    },
    {
      name: "Ctrl-C aborts the transaction of produce; read_committed consumers never see it",
      async run(context) {
        const { address } = context.broker;
        const { name } = await createdTopic(context);
        const id = context.topic("id");
        const args = ["produce", name, "--transactional-id", id, "-o", "%v\\n"];
        const producer = new Running(context, ...odradekCommand(address, args));
        producer.child.stdin?.write("one\ntwo\n");
        await waitFor("two are acknowledged", 10_000, () => producer.lines.length === 2);
        equal(await producer.end("SIGINT"), 1, "the exit code after Ctrl-C");
        await odradek(address, args, { input: "three\n" });
        equal(
          await kafkaConsoleConsumer(address, name, 1, ["--isolation-level", "read_committed"]),
          "three\n",
          "Java's",
        );
        const { stdout } = await odradek(address, ["consume", name, "-n", "1", "-f", "%v\\n"]);
        equal(stdout, "three\n", "our own");
        equal(await kcatReadAll(address, name, "%s "), "three ", "kcat's");
      },
    },
    {
      name: "| head ends it quietly, with exit code 0",
      async run(context) {
        const { address } = context.broker;
        const { name } = await createdTopic(context);
        await odradek(address, ["produce", name], { input: numberedLines(200_000) });
        const [command, args] = odradekCommand(address, ["consume", name]);
        const quoted = [command, ...args].map((each) => `'${each}'`).join(" ");
        const { stdout, stderr } = await run("bash", ["-c", `${quoted} | head -1; echo "\${PIPESTATUS[0]}"`]);
        assert(stdout.endsWith("\n0\n") && stdout.includes('"payload":"v0"'), `printed ${stdout}`);
        equal(stderr, "", "stderr");
      },
    },
  ],
};
