/**
 * Our generated codecs against Kafka's own classes: fresh random instances of every message and version, written by Java, are
 * decoded and written again by ours, byte for byte.
 */
import { join } from "node:path";
import { kafkaLibs } from "../support/Cache.ts";
import { run } from "../support/Process.ts";
import { assert, type Suite } from "../support/Suite.ts";

const repository = join(import.meta.dir, "..", "..", "..");

export const suite: Suite = {
  name: "goldens",
  tests: [
    {
      name: "every message and version as Kafka's classes write it, decoded and re-encoded byte-equal",
      timeoutMs: 180_000,
      async run(context) {
        const libs = join(await kafkaLibs(), "libs");
        const seed = process.env.ODRADEK_SEED ?? "20261123";
        const capture = join(repository, "scripts", "capture-goldens", "run.sh");
        await run("bash", [capture, context.directory, seed, "5"], { env: { KAFKA_JARS: libs }, timeoutMs: 120_000 });
        const tests = await run(process.execPath, ["test", "test/protocol/Goldens.test.ts"], {
          cwd: repository,
          env: { ODRADEK_GOLDENS: context.directory },
          timeoutMs: 120_000,
        });
        const passed = Number(/(\d+) pass/.exec(tests.stderr)?.[1] ?? 0);
        assert(passed > 0 && / 0 fail/.test(tests.stderr), tests.stderr.slice(-600));
        context.note(`seed ${seed}, ${passed} tests`);
      },
    },
  ],
};
