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
import * as EffectRandom from "effect/Random";
import { type SimulatedProcess, Simulation, SimulationError } from "../../actors/simulation/Simulation.ts";
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

  test("processes and disks of one seed draw numbers of their own, and nobody's draws shift another's", () => {
    const draw = (disturbed: boolean): unknown[] =>
      new Simulation({ seed: 1 }).run(async (world) => {
        if (disturbed) world.process("other").random.below(100);
        const [one, two] = [world.process("one"), world.process("two")];
        if (disturbed) two.random.below(100);
        const effects = (process: SimulatedProcess): Promise<[number, number]> =>
          process.runPromise(Effect.all([EffectRandom.next, EffectRandom.nextInt]));
        const latencies = [one, two].map(({ platter }) => Array.from({ length: 20 }, () => platter.latency(undefined)));
        return [
          one.random.below(2 ** 32),
          ...(await effects(one)),
          latencies[0],
          ...(disturbed ? [] : [two.random.below(2 ** 32)]),
          latencies[1],
        ];
      });
    const [word, next, int, latencies, otherWord, otherLatencies] = draw(false);
    expect(draw(true).slice(0, 4)).toEqual([word, next, int, latencies]);
    expect(otherWord).not.toBe(word);
    expect(otherLatencies).not.toEqual(latencies);
    new Simulation({ seed: 1 }).run(async (world) => {
      const [one, two] = ["one", "two"].map((name) => world.process(name).runPromise(EffectRandom.next));
      expect(await one).not.toBe(await two!);
    });
  });

  test("Effect's random numbers have 53 bits, of either sign", () => {
    new Simulation({ seed: 1 }).run(async (world) => {
      const drawing = Effect.all(
        Array.from({ length: 50 }, () => Effect.all([EffectRandom.next, EffectRandom.nextInt])),
      );
      const drawn = await world.process("p").runPromise(drawing);
      const numbers = drawn.map(([, int]) => int);
      expect(Math.max(...numbers)).toBeWithin(2 ** 45, Number.MAX_SAFE_INTEGER);
      expect(Math.min(...numbers)).toBeWithin(-Number.MAX_SAFE_INTEGER, -(2 ** 45));
      const fractions = drawn.map(([fraction]) => fraction);
      expect(Math.min(...fractions)).toBeWithin(0, 0.2);
      expect(Math.max(...fractions)).toBeWithin(0.8, 1);
    });
  });

  test("a stopped process does nothing until it goes on; one that is no more cannot be stopped", () => {
    new Simulation({ seed: 1 }).run(async (world) => {
      const process = world.process("p");
      const witness = world.process("witness");
      const wait = (ms: number) => new Promise<void>((resolve) => witness.clock.after(ms, resolve));
      const ran: string[] = [];
      process.tasks.schedule(() => ran.push("before"));
      process.clock.after(5, () => ran.push("timer"));
      process.pause();
      process.tasks.schedule(() => ran.push("meanwhile"));
      await wait(100);
      expect(ran).toEqual([]);
      process.resume();
      await wait(100);
      expect(ran.sort()).toEqual(["before", "meanwhile", "timer"]);
      process.kill();
      process.pause();
      expect(process.paused).toBe(false);
    });
  });

  test("a death is told once, whatever it was, and a power cut does to the disk what was asked for", () => {
    for (const [cut, left] of [
      ["lost", ""],
      ["kept", "AB"],
      [undefined, "AB"],
    ] as const) {
      new Simulation({ seed: 1 }).run(async (world) => {
        const platter = world.makeDisk("d", { pendingChance: 0 });
        const process = world.process("p", { disk: platter });
        const file = process.disk.open("/a", "write");
        platter.settle();
        file.write([new TextEncoder().encode("AB")], 0);
        let deaths = 0;
        process.whenDead(() => (deaths += 1));
        for (let times = 0; times < 2; times++) {
          if (cut === undefined) process.kill();
          else process.powerCut(cut);
        }
        expect(deaths).toBe(1);
        expect(new TextDecoder().decode(platter.files().get("/a"))).toBe(left);
        const length = world.trace.length;
        process.kill();
        process.powerCut("lost");
        expect([deaths, world.trace.length]).toEqual([1, length]);
      });
    }
  });

  test("power cuts of one seed draw on their own", () => {
    const found = new Set<string>();
    new Simulation({ seed: 1 }).run(async (world) => {
      for (const name of ["a", "b", "c", "d"]) {
        const platter = world.makeDisk("same", { pendingChance: 0, pageBytes: 1 });
        const process = world.process(name, { disk: platter });
        const file = process.disk.open("/a", "write");
        platter.settle();
        file.write([new TextEncoder().encode("ABCDEFGH")], 0);
        process.powerCut("reordered");
        found.add(new TextDecoder().decode(platter.files().get("/a")));
      }
    });
    expect(found.size).toBeGreaterThan(2);
  });

  test("the trace has every message, operation of a disk, stop and end", () => {
    const world = new Simulation({ seed: 1, keepTrace: true, network: { latencyMs: 0, splitChance: 0 } });
    world.run(async () => {
      const [server, client, witness] = ["server", "client", "witness"].map((name) => world.process(name));
      const idle = { onData() {}, onDrain() {}, onClose() {} };
      const wait = () => new Promise<void>((resolve) => witness!.clock.after(10, resolve));
      server!.disk.makeDirectory("/d");
      const { port } = server!.network.listen({ host: "", port: 9092 }, () => idle).endpoint;
      const socket = await client!.network.connect({ host: "127.0.0.1", port }, idle);
      socket.write(new Uint8Array(5));
      await wait();
      socket.end();
      await wait();
      server!.pause();
      server!.resume();
      server!.kill();
      client!.powerCut("lost");
    });
    expect(world.trace.lines.toSorted()).toEqual(
      [
        "server disk 0 makeDirectory /d",
        "net server listens on 127.0.0.1:9092",
        "net client-0 accepted by server",
        "net client-0> delivers 5",
        "net client-0> ends",
        "net client-0> closed",
        "net client-0< closed",
        "pause server",
        "resume server",
        "kill server",
        "power cut client lost",
      ].toSorted(),
    );
  });

  test("a run that fails has its cause, its seed and its trace, and leaves nothing behind", () => {
    const cause = new Error("planted");
    let failure: SimulationError | undefined;
    try {
      new Simulation({ seed: "s", buggify: true }).run((world) => {
        const process = world.process("p");
        process.note("was here");
        process.tasks.schedule(() => {
          throw cause;
        });
        return new Promise(() => {});
      });
    } catch (error) {
      failure = error as SimulationError;
    }
    expect(failure).toBeInstanceOf(SimulationError);
    expect([failure?.cause, failure?.seed, failure?.trace]).toEqual([cause, "s", ["p was here"]]);
    expect(Date.now()).toBeGreaterThan(0);
    for (let i = 0; i < 2000; i++) expect(buggify(`left.${i}`)).toBe(false);
  });

  test("a run that takes too long in virtual time is told", () => {
    const world = new Simulation({ seed: 1, maxTimeMs: 1000 });
    const endless = (): unknown =>
      world.run(async () => {
        const process = world.process("p");
        for (let i = 0; i < 100; i++) await new Promise<void>((resolve) => process.clock.after(300, resolve));
      });
    expect(endless).toThrow("not ended after 1000 virtual milliseconds");
    expect([world.clock.now, world.steps]).toEqual([1200, 4]);
  });

  test("marks are on or off each for itself, fire less with a small share and not at all when it is calm", () => {
    let [apart, often, seldom] = [0, 0, 0];
    for (let seed = 0; seed < 60; seed++) {
      const world = new Simulation({ seed, buggify: true });
      world.run(async () => {
        const fired = (name: string, share = 1): number => {
          let count = 0;
          for (let i = 0; i < 200; i++) if (buggify(name, share)) count += 1;
          return count;
        };
        const [one, two] = [fired("one"), fired("two")];
        if (one > 0 !== two > 0) apart += 1;
        often += one;
        seldom += fired("one", 0.1);
        world.calm = true;
        expect([fired("one"), fired("two")]).toEqual([0, 0]);
      });
    }
    expect(apart).toBeGreaterThan(5);
    expect(often).toBeGreaterThan(4 * seldom);
    expect(seldom).toBeGreaterThan(0);
  });
});
