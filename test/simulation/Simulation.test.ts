/** The harness itself: equal seeds give equal runs, different seeds different ones, and nothing real is reachable. */
import { describe, expect, test } from "bun:test";
import childProcess from "node:child_process";
import nodeCrypto from "node:crypto";
import dgram from "node:dgram";
import dns from "node:dns";
import fs from "node:fs";
import http from "node:http";
import https from "node:https";
import net from "node:net";
import timers from "node:timers";
import timersPromises from "node:timers/promises";
import tls from "node:tls";
import * as Effect from "effect/Effect";
import * as Queue from "effect/Queue";
import { Simulation, SimulationError } from "../../actors/simulation/Simulation.ts";
import { TripwireError } from "../../actors/simulation/Tripwires.ts";
import { buggify } from "../../src/prelude/Buggify.ts";
import { demoRun } from "./support/DemoWorld.ts";

describe("Simulation", () => {
  test("the same seed twice gives the same trace, line by line", () => {
    for (let seed = 0; seed < 5; seed++) {
      const first = demoRun(seed, true);
      const second = demoRun(seed, true);
      expect(second.lines).toEqual(first.lines);
      expect(second.hash).toBe(first.hash);
      expect(first.lines.length).toBeGreaterThan(20);
    }
  });

  test("the same seed in two separate processes gives the same trace", async () => {
    const source = new URL("./support/DemoWorld.ts", import.meta.url).pathname;
    const code = `import { demoRun } from ${JSON.stringify(source)};
      for (let seed = 0; seed < 20; seed++) console.log(demoRun(seed).hash);`;
    const run = async (): Promise<string[]> => {
      const child = Bun.spawn([process.execPath, "-e", code], { stdout: "pipe", stderr: "inherit" });
      return (await new Response(child.stdout).text()).trim().split("\n");
    };
    const [first, second] = await Promise.all([run(), run()]);
    expect(first).toHaveLength(20);
    expect(second).toEqual(first!);
    expect(first).toEqual(Array.from({ length: 20 }, (_, seed) => demoRun(seed).hash));
  });

  test("more than 90 % of 200 seeds reach an outcome of their own", () => {
    const hashes = new Set<string>();
    for (let seed = 0; seed < 200; seed++) hashes.add(demoRun(seed).hash);
    expect(hashes.size).toBeGreaterThan(180);
  });

  test("order alone differs between seeds: fibers with one scheduler, no wires and no disk", () => {
    const orders = new Set<string>();
    for (let seed = 0; seed < 200; seed++) {
      const order: string[] = [];
      new Simulation({ seed }).run(async (world) => {
        const process = world.process("p");
        const actor = (name: string) =>
          Effect.gen(function* () {
            const queue = yield* Queue.unbounded<number>();
            yield* Queue.offerAll(queue, [0, 1, 2, 3]);
            for (let i = 0; i < 4; i++) {
              order.push(name + (yield* Queue.take(queue)));
              yield* Effect.yieldNow;
            }
          });
        await process.runPromise(Effect.all(["a", "b", "c", "d"].map(actor), { concurrency: "unbounded" }));
      });
      expect(order).toHaveLength(16);
      orders.add(order.join(" "));
    }
    expect(orders.size).toBeGreaterThan(120);
  });

  test("Effect sleeps in virtual time, and time moves only when nothing is runnable", () => {
    const world = new Simulation({ seed: 1 });
    const woke: string[] = [];
    const elapsed = world.run(async () => {
      const process = world.process("p");
      const started = process.clock.monotonic();
      await process.runPromise(
        Effect.all(
          [30_000, 10, 20_000].map((ms) =>
            Effect.sync(() => woke.push(`${ms} at ${world.clock.now}`)).pipe(Effect.delay(`${ms} millis`)),
          ),
          { concurrency: "unbounded" },
        ),
      );
      return process.clock.monotonic() - started;
    });
    expect(elapsed).toBe(30_000);
    expect(woke).toEqual(["10 at 10", "20000 at 20000", "30000 at 30000"]);
  });

  test("work that never waits does not stop the time of others, and spins to its end where nobody waits", () => {
    const world = new Simulation({ seed: 1, maxSteps: 100_000 });
    const turns = (many: number, until: () => boolean): Promise<number> =>
      new Promise((resolve) => {
        const process = world.process("busy");
        let turn = 0;
        const next = (): void => {
          turn += 1;
          if (turn === many || until()) resolve(turn);
          else process.tasks.schedule(next);
        };
        next();
      });
    const [alone, beside] = world.run(async () => {
      const spun = await turns(20_000, () => false);
      let isAwake = false;
      world.process("sleeper").clock.after(30, () => {
        isAwake = true;
      });
      return [spun, await turns(50_000, () => isAwake)];
    });
    expect(alone).toBe(20_000);
    expect(beside).toBeLessThan(10_000);
    expect(world.clock.now).toBe(30);
  });

  test("a jump of the wall clock moves no timer and no monotonic clock", () => {
    new Simulation({ seed: 1 }).run(async (world) => {
      const process = world.process("p");
      const wall = process.clock.wall();
      const monotonic = process.clock.monotonic();
      process.jumpWall(-3_600_000);
      expect(process.clock.wall()).toBe(wall - 3_600_000);
      await new Promise<void>((resolve) => process.clock.after(100, resolve));
      expect(process.clock.monotonic()).toBe(monotonic + 100);
    });
  });

  test("everything real is a tripwire while a simulation runs, and works again afterwards", () => {
    const before = [Date, Date.now, setTimeout, fs.readFileSync, Bun.file, Math.random, crypto.randomUUID];
    const touches: Record<string, () => unknown> = {
      setTimeout: () => setTimeout(() => {}, 0),
      setInterval: () => setInterval(() => {}, 1000),
      setImmediate: () => setImmediate(() => {}),
      "Date.now": () => Date.now(),
      "new Date()": () => new Date(),
      "performance.now": () => performance.now(),
      "process.hrtime": () => process.hrtime(),
      "Math.random": () => Math.random(),
      "crypto.getRandomValues": () => crypto.getRandomValues(new Uint8Array(4)),
      "crypto.randomUUID": () => crypto.randomUUID(),
      "crypto.subtle.digest": () => crypto.subtle.digest("SHA-256", new Uint8Array(1)),
      MessageChannel: () => new MessageChannel(),
      "node:timers.setImmediate": () => timers.setImmediate(() => {}),
      "node:timers/promises.setTimeout": () => timersPromises.setTimeout(0),
      "node:net.connect": () => net.connect(1, "127.0.0.1"),
      "node:tls.connect": () => tls.connect(1, "127.0.0.1"),
      "node:http.get": () => http.get("http://127.0.0.1:1/"),
      "node:https.get": () => https.get("https://127.0.0.1:1/"),
      "node:dgram.createSocket": () => dgram.createSocket("udp4"),
      "node:dns.lookup": () => dns.lookup("localhost", () => {}),
      "node:child_process.execSync": () => childProcess.execSync("true"),
      fetch: () => fetch("http://127.0.0.1:1/"),
      "fs.readFileSync": () => fs.readFileSync("/dev/null"),
      "fs.fsyncSync": () => fs.fsyncSync(1),
      "fs.promises.readFile": () => fs.promises.readFile("/dev/null"),
      "node:crypto.randomBytes": () => nodeCrypto.randomBytes(4),
      "node:crypto.randomUUID": () => nodeCrypto.randomUUID(),
      "AbortSignal.timeout": () => AbortSignal.timeout(1),
      "process.uptime": () => process.uptime(),
      "Bun.spawnSync": () => Bun.spawnSync(["true"]),
      "Bun.file": () => Bun.file("/dev/null"),
      "Bun.listen": () => Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } }),
    };
    for (const [name, touch] of Object.entries(touches)) {
      const run = (): void =>
        new Simulation({ seed: 1 }).run(async () => {
          touch();
        });
      expect(run, name).toThrow(name);
    }
    // Swallowing the exception does not help.
    expect(() =>
      new Simulation({ seed: 1 }).run(async () => {
        try {
          Math.random();
        } catch {}
      }),
    ).toThrow(TripwireError);
    expect([Date, Date.now, setTimeout, fs.readFileSync, Bun.file, Math.random, crypto.randomUUID]).toEqual(before);
    expect(Object.is(before[0], Date)).toBe(true);
    expect(new Simulation({ seed: 1 }).run(async () => new Date(0).getTime())).toBe(0);
  });

  test("a crash drops the process's tasks and timers and deafens its ports; nothing is interrupted", () => {
    new Simulation({ seed: 3 }).run(async (world) => {
      const doomed = world.process("doomed");
      const witness = world.process("witness");
      let ran = 0;
      let finalized = 0;
      doomed.tasks.schedule(() => (ran += 1));
      doomed.clock.after(5, () => (ran += 1));
      void doomed.runPromise(
        Effect.never.pipe(Effect.ensuring(Effect.sync(() => (finalized += 1)))) as Effect.Effect<never>,
      );
      doomed.disk.makeDirectory("/data");
      doomed.kill();
      doomed.tasks.schedule(() => (ran += 1));
      doomed.clock.after(1, () => (ran += 1));
      expect(() => doomed.disk.makeDirectory("/after")).toThrow("no more");
      await new Promise<void>((resolve) => witness.clock.after(1000, resolve));
      expect([ran, finalized]).toEqual([0, 0]);
    });
  });

  test("a program that waits for nothing and one that never rests are told with the seed", () => {
    const hang = (): unknown => new Simulation({ seed: 42 }).run(() => new Promise(() => {}));
    expect(hang).toThrow(SimulationError);
    expect(hang).toThrow("seed 42: nothing is runnable");
    const loop = (): unknown =>
      new Simulation({ seed: 42, maxSteps: 1000 }).run((world) => {
        const process = world.process("p");
        const again = (): void => process.tasks.schedule(again);
        again();
        return new Promise(() => {});
      });
    expect(loop).toThrow("still busy after 1000 tasks");
  });

  test("what the program throws comes out, and so does a task's defect", () => {
    expect(() => new Simulation({ seed: 1 }).run(async () => Promise.reject(new Error("mine")))).toThrow("mine");
    expect(() =>
      new Simulation({ seed: 1 }).run((world) => {
        world.process("p").tasks.schedule(() => {
          throw new Error("planted");
        });
        return new Promise(() => {});
      }),
    ).toThrow("planted");
  });

  test("buggify fires in some seeds, is counted, and is false outside", () => {
    expect(buggify("test.mark")).toBe(false);
    let seedsThatFired = 0;
    for (let seed = 0; seed < 60; seed++) {
      const world = new Simulation({ seed, buggify: true });
      const fired = world.run(async () => {
        let count = 0;
        for (let i = 0; i < 200; i++) if (buggify("test.mark")) count += 1;
        return count;
      });
      expect(world.marks.get("test.mark")).toBe(fired);
      if (fired > 0) seedsThatFired += 1;
    }
    expect(seedsThatFired).toBeGreaterThan(5);
    expect(seedsThatFired).toBeLessThan(40);
    expect(buggify("test.mark")).toBe(false);
  });
});
