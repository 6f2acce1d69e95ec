/** Faults one by one: that each does what its name says while it lasts, and that nothing of it is left after the heal. */
import { describe, expect, test } from "bun:test";
import { Faults } from "../../actors/simulation/Faults.ts";
import { type SimulatedProcess, Simulation } from "../../actors/simulation/Simulation.ts";
import { FAULT_KINDS, type ScenarioFault, type ScenarioFaultKind } from "../../actors/testing/Scenario.ts";
import { DiskError, type DiskFile } from "../../src/platform/Disk.ts";
import type { Socket } from "../../src/platform/Network.ts";

const BROKER = { host: "127.0.0.1", port: 9092 };
const CLIENT = "10.0.0.1";
/** What can be made again from the records, and may rot. */
const INDEX = "/t-0/00000000000000000000.index";
const AT_MS = 10;
const FOR_MS = 100;

/** A broker and a client that are connected, and a fault that lasts from 10 to 110 ms. */
class Scene {
  readonly broker: SimulatedProcess;
  readonly client: SimulatedProcess;
  readonly operator: SimulatedProcess;
  readonly faults: Faults;
  /** Bytes that came from the other, and ends of connections. */
  readonly got = { broker: 0, client: 0 };
  readonly ends: string[] = [];
  near!: Socket;
  far!: Socket;
  file!: DiskFile;

  constructor(
    readonly world: Simulation,
    kind: ScenarioFaultKind,
    more: Partial<ScenarioFault>,
  ) {
    const platter = world.makeDisk("disk", { pendingChance: 0 });
    this.broker = world.process("broker", { disk: platter });
    this.client = world.process("client", { host: CLIENT });
    this.operator = world.process("operator", { host: "10.1.0.1" });
    const planned = [{ id: 0, kind, atMs: AT_MS, forMs: FOR_MS, ...more }];
    this.faults = new Faults(world, this.operator, planned, {
      broker: () => this.broker,
      brokerHost: BROKER.host,
      clientHosts: () => [CLIENT],
      client: () => this.client,
    });
    platter.beforeOperation = (operation) => this.faults.onDisk(operation);
  }

  async open(): Promise<void> {
    const handlers = (who: "broker" | "client") => ({
      onData: (_: Socket, chunk: Uint8Array) => void (this.got[who] += chunk.length),
      onDrain() {},
      onClose: () => void this.ends.push(who),
    });
    this.broker.network.listen(BROKER, (socket) => {
      this.far = socket;
      return handlers("broker");
    });
    this.near = await this.client.network.connect(BROKER, handlers("client"));
    this.file = this.broker.disk.open("/f", "write");
    await this.file.write([Uint8Array.of(1, 2, 3)], 0);
    await this.file.flush();
    this.broker.disk.makeDirectory("/t-0");
    await this.broker.disk.open(INDEX, "write").write([new Uint8Array(64)], 0);
    await this.broker.disk.flushDirectory("/");
    this.faults.start();
  }

  async wait(forMs: number): Promise<void> {
    await new Promise<void>((resolve) => this.operator.clock.after(forMs, resolve));
  }

  /** Sends a byte both ways and says who has got one within so long. */
  async crosses(withinMs = 5): Promise<string[]> {
    const { broker, client } = this.got;
    this.near.write(Uint8Array.of(1));
    this.far.write(Uint8Array.of(1));
    await this.wait(withinMs);
    return [...(this.got.broker > broker ? ["request"] : []), ...(this.got.client > client ? ["answer"] : [])];
  }

  /** What so many attempts of an operation of the disk came to, each once, and how long the longest took. */
  async outcomes(attempt: () => unknown, times = 40): Promise<{ readonly told: string[]; readonly longestMs: number }> {
    const told = new Set<string>();
    let longestMs = 0;
    for (let time = 0; time < times; time++) {
      const began = this.operator.clock.monotonic();
      try {
        told.add(String(await attempt()));
      } catch (error) {
        told.add(error instanceof DiskError ? error.code : String(error));
      }
      longestMs = Math.max(longestMs, this.operator.clock.monotonic() - began);
    }
    return { told: [...told].sort(), longestMs };
  }
}

const during = (
  kind: ScenarioFaultKind,
  body: (scene: Scene) => Promise<void>,
  more: Partial<ScenarioFault> = {},
): void => {
  for (let seed = 1; seed <= 5; seed++) {
    const world = new Simulation({ seed, network: { latencyMs: 0, splitChance: 0, shortWriteChance: 0 } });
    world.run(async () => {
      const scene = new Scene(world, kind, more);
      await scene.open();
      await scene.wait(AT_MS + 1);
      await body(scene);
      expect(scene.faults.counts.get(kind)).toBeGreaterThan(0);
      expect([...scene.faults.counts.keys()]).toEqual([kind]);
    });
  }
};

const write = ({ file }: Scene) => file.write([new Uint8Array(200)], 0);
const read = ({ file }: Scene) => file.read(new Uint8Array(3), 0);
const flush = ({ file }: Scene) => file.flush();

/** How each kind shows while it lasts. */
const effects: Readonly<Record<ScenarioFaultKind, () => void>> = {
  kill: () =>
    during("kill", async ({ broker, ends, client }) => {
      expect([broker.alive, client.alive]).toEqual([false, true]);
      expect(ends).toEqual(["client"]);
    }),
  "power cut": () =>
    during(
      "power cut",
      async (scene) => {
        expect(scene.broker.alive).toBe(false);
        // Nobody is told.
        expect(scene.ends).toEqual([]);
      },
      { cut: "lost" },
    ),
  pause: () =>
    during("pause", async (scene) => {
      expect([scene.broker.paused, scene.client.paused]).toEqual([true, false]);
      await scene.wait(FOR_MS);
      expect([scene.broker.paused, scene.broker.alive]).toEqual([false, true]);
    }),
  "clock jump": () =>
    during("clock jump", async ({ broker }) => {
      expect(Math.abs(broker.skew.wallMs)).toBeWithin(1, 20 * 60_000 + 1);
    }),
  "client kill": () =>
    during("client kill", async ({ broker, client, ends }) => {
      expect([broker.alive, client.alive]).toEqual([true, false]);
      expect(ends).toEqual(["broker"]);
    }),
  "client pause": () =>
    during("client pause", async (scene) => {
      expect([scene.broker.paused, scene.client.paused]).toEqual([false, true]);
      await scene.wait(FOR_MS);
      expect([scene.client.paused, scene.client.alive]).toEqual([false, true]);
    }),
  reset: () =>
    during("reset", async ({ ends, broker, client }) => {
      expect(ends.toSorted()).toEqual(["broker", "client"]);
      expect([broker.alive, client.alive]).toEqual([true, true]);
    }),
  "client reset": () =>
    during("client reset", async ({ ends }) => expect(ends.toSorted()).toEqual(["broker", "client"])),
  partition: () =>
    during("partition", async (scene) => {
      expect(await scene.crosses()).toEqual([]);
      await scene.wait(FOR_MS);
      expect([scene.got, scene.ends]).toEqual([{ broker: 1, client: 1 }, []]);
    }),
  "half-open": () =>
    during("half-open", async (scene) => {
      expect(await scene.crosses()).toHaveLength(1);
      await scene.wait(FOR_MS);
      expect([scene.got, scene.ends]).toEqual([{ broker: 1, client: 1 }, []]);
    }),
  delay: () =>
    during("delay", async (scene) => {
      expect(await scene.crosses(0.1)).toEqual(["request"]);
      await scene.wait(300);
      expect(await scene.crosses()).toEqual(["request", "answer"]);
    }),
  "slow flush": () =>
    during("slow flush", async (scene) => {
      expect((await scene.outcomes(() => write(scene))).longestMs).toBe(0);
      const { told, longestMs } = await scene.outcomes(() => flush(scene));
      expect(told).toEqual(["undefined"]);
      expect(longestMs).toBeGreaterThan(1);
    }),
  "slow disk": () =>
    during("slow disk", async (scene) => {
      const { told, longestMs } = await scene.outcomes(() => write(scene), 8);
      expect(told).toEqual(["200"]);
      expect(longestMs).toBeGreaterThanOrEqual(1);
    }),
  "failed flush": () =>
    during("failed flush", async (scene) => {
      expect((await scene.outcomes(() => flush(scene))).told).toEqual(["EIO", "undefined"]);
      expect((await scene.outcomes(() => write(scene))).told).toEqual(["200"]);
    }),
  "hung flush": () =>
    during("hung flush", async (scene) => {
      let answered = 0;
      for (let i = 0; i < 40; i++) Promise.resolve(flush(scene)).then(() => (answered += 1));
      await scene.wait(FOR_MS - 20);
      expect([answered < 40, scene.broker.alive]).toEqual([true, true]);
      await scene.wait(FOR_MS);
      // Nothing but a restart ends it.
      expect(scene.broker.alive).toBe(false);
    }),
  "no space": () =>
    during("no space", async (scene) => {
      expect((await scene.outcomes(() => write(scene))).told).toEqual(["ENOSPC"]);
      expect((await scene.outcomes(() => scene.broker.disk.open("/g", "write"))).told).toEqual(["ENOSPC"]);
      expect((await scene.outcomes(() => read(scene))).told).toEqual(["3"]);
    }),
  "write error": () =>
    during("write error", async (scene) => {
      expect((await scene.outcomes(() => write(scene))).told).toEqual(["200", "EIO"]);
      expect((await scene.outcomes(() => flush(scene))).told).toEqual(["undefined"]);
    }),
  "short write": () =>
    during("short write", async (scene) => {
      const { told } = await scene.outcomes(() => write(scene));
      expect(told).toContain("200");
      expect(told.some((taken) => Number(taken) <= 100)).toBe(true);
    }),
  "read error": () =>
    during("read error", async (scene) => {
      expect((await scene.outcomes(() => read(scene), 100)).told).toEqual(["3", "EIO"]);
      expect((await scene.outcomes(() => write(scene))).told).toEqual(["200"]);
    }),
  "bit flip": () =>
    during("bit flip", async ({ broker }) => {
      const files = broker.platter.files();
      const bits = [...files.get(INDEX)!].map((byte) => byte.toString(2).replaceAll("0", ""));
      expect(bits.join("")).toBe("1");
      expect([...files.get("/f")!]).toEqual([1, 2, 3]);
    }),
};

describe("a fault does what its name says", () => {
  test.each(FAULT_KINDS.map((kind) => [kind] as const))("%s", (kind) => effects[kind]());
});

describe("after the heal nothing is wrong any more", () => {
  test.each(FAULT_KINDS.filter((kind) => kind !== "kill" && kind !== "power cut").map((kind) => [kind] as const))(
    "%s",
    (kind) => {
      const world = new Simulation({ seed: 3, network: { latencyMs: 0, splitChance: 0, shortWriteChance: 0 } });
      world.run(async () => {
        const scene = new Scene(world, kind, { forMs: 1_000_000 });
        await scene.open();
        await scene.wait(AT_MS + 1);
        for (let i = 0; i < 40; i++) for (const attempt of [write, read]) await scene.outcomes(() => attempt(scene), 1);
        for (let i = 0; i < 40 && kind.endsWith("flush"); i++)
          Promise.resolve()
            .then(() => flush(scene))
            .catch(() => {});
        await scene.wait(1);
        scene.faults.end();
        const isBroken = ["failed flush", "hung flush", "no space", "write error", "short write", "read error"];
        expect([kind, scene.broker.alive]).toEqual([kind, !isBroken.includes(kind)]);
        expect([scene.broker.paused, scene.client.paused, world.calm]).toEqual([false, false, true]);
        const { disk, network } = world.process("next", { disk: scene.broker.platter });
        const file = disk.open("/h", "write");
        const told = await scene.outcomes(() => file.write([new Uint8Array(200)], 0));
        expect([told.told, (await scene.outcomes(() => file.flush())).told]).toEqual([["200"], ["undefined"]]);
        network.listen({ host: "", port: 1 }, () => ({ onData() {}, onDrain() {}, onClose() {} }));
        const fresh = world.process("fresh", { host: CLIENT });
        await fresh.network.connect({ host: BROKER.host, port: 1 }, { onData() {}, onDrain() {}, onClose() {} });
      });
    },
  );
});
