/** Kafka's own VerifiableConsumer as a member of a group beside others: it owns its child, which ends with the test. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { javaArguments, kafkaLibs } from "./Cache.ts";
import type { Context } from "./Suite.ts";

interface Event {
  readonly name: string;
  readonly value?: string;
  readonly partitions?: ReadonlyArray<{ readonly partition: number }>;
  readonly offsets?: ReadonlyArray<{ readonly partition: number; readonly offset: number }>;
  readonly success?: boolean;
}

/** One of Kafka's VerifiableConsumers: what it has now, every value it has read, and what it knows to be committed. */
export class VerifiableConsumer {
  readonly values: string[] = [];
  /** The highest offset of each partition whose commit was acknowledged. */
  readonly committed = new Map<number, number>();
  assigned = new Set<number>();
  private rest = "";
  private readonly gone: Promise<unknown>;

  private constructor(private readonly child: ChildProcess) {
    this.gone = once(child, "exit");
    child.stdout?.on("data", (chunk: Buffer) => {
      const text = this.rest + chunk.toString();
      const cut = text.lastIndexOf("\n") + 1;
      this.rest = text.slice(cut);
      for (const line of text.slice(0, cut).split("\n")) if (line.startsWith("{")) this.on(JSON.parse(line));
    });
  }

  static async start(
    context: Context,
    address: string,
    group: string,
    topic: string,
    protocol: "consumer" | "classic",
  ): Promise<VerifiableConsumer> {
    const args = ["--bootstrap-server", address, "--group-id", group, "--topic", topic, "--verbose"];
    // In the other protocol the broker says how long.
    if (protocol === "classic") args.push("--session-timeout", "6000");
    const java = await javaArguments(await kafkaLibs(), "-Xmx128m");
    const child = spawn(
      "java",
      [
        ...java,
        "org.apache.kafka.tools.VerifiableConsumer",
        ...args,
        "--reset-policy",
        "earliest",
        "--group-protocol",
        protocol,
      ],
      { stdio: ["ignore", "pipe", "ignore"] },
    );
    const consumer = new VerifiableConsumer(child);
    context.cleanup(() => consumer.end("SIGKILL"));
    return consumer;
  }

  private on(event: Event): void {
    const partitions = event.partitions?.map(({ partition }) => partition) ?? [];
    if (event.name === "record_data" && event.value !== undefined) this.values.push(event.value);
    if (event.name === "partitions_assigned") for (const each of partitions) this.assigned.add(each);
    if (event.name === "partitions_revoked") for (const each of partitions) this.assigned.delete(each);
    if (event.name !== "offsets_committed" || event.success !== true) return;
    for (const { partition, offset } of event.offsets ?? []) {
      this.committed.set(partition, Math.max(offset, this.committed.get(partition) ?? 0));
    }
  }

  async end(signal: "SIGTERM" | "SIGKILL"): Promise<void> {
    this.child.kill(signal);
    await this.gone;
  }
}
