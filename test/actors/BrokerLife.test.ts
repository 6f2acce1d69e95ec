/** What a broker's life leaves behind when it ends: nothing that could still happen. */
import { expect, test } from "bun:test";
import type { Platform } from "../../actors/Broker.ts";
import { BrokerLife } from "../../actors/BrokerLife.ts";
import type { DiskFile } from "../../src/platform/Disk.ts";
import type { Listener, Socket, SocketHandlers } from "../../src/platform/Network.ts";
import { ManualClock } from "../support/ManualClock.ts";
import { MemoryDisk } from "../support/MemoryDisk.ts";

const endpoint = { host: "127.0.0.1", port: 9092 };

/** A platform in the test's hands. */
const world = () => {
  const clock = new ManualClock();
  const disk = new MemoryDisk();
  const tasks: Array<() => void> = [];
  const events: string[] = [];
  let accepted: ((socket: Socket) => SocketHandlers) | undefined;
  const platform: Platform = {
    clock,
    disk,
    tasks: { schedule: (task) => tasks.push(task), drain: () => tasks.splice(0).forEach((task) => void task()) },
    network: {
      listen: (bound, accept): Listener => {
        accepted = accept;
        return { endpoint: bound, close: () => events.push("listener closed") };
      },
      connect: () => Promise.reject(new Error("nobody is there")),
    },
    random: { below: () => 0, uuid: () => "AAAAAAAAQACAAAAAAAAAAA" },
    codecs: { compress: () => new Uint8Array(), decompress: () => new Uint8Array() },
  };
  const socket: Socket = {
    local: endpoint,
    remote: endpoint,
    write: (chunk) => chunk.length,
    pause: () => {},
    resume: () => {},
    end: () => {},
    destroy: () => events.push("socket destroyed"),
  };
  return { platform, clock, disk, tasks, events, socket, accept: () => accepted!(socket) };
};

test("timers, tasks, listeners and sockets end with it; until then they are as they were", async () => {
  const { platform, clock, tasks, events, socket, accept } = world();
  const life = new BrokerLife(1, platform);
  const happened: string[] = [];
  life.clock.after(10, () => happened.push("first timer"));
  life.clock.after(20, () => happened.push("second timer"));
  life.tasks.schedule(() => happened.push("first task"));
  life.network.listen(endpoint, () => ({
    onData: () => happened.push("data"),
    onDrain: () => happened.push("drain"),
    onClose: () => happened.push("close"),
  }));
  const handlers = accept();
  handlers.onData(socket, new Uint8Array(1));
  clock.advance(10);
  life.tasks.drain();
  expect(happened).toEqual(["data", "first timer", "first task"]);

  life.tasks.schedule(() => happened.push("second task"));
  await life.end();
  expect(events).toEqual(["listener closed", "socket destroyed"]);
  expect(clock.pending).toBe(0);
  life.clock.after(1, () => happened.push("late timer"));
  life.tasks.schedule(() => happened.push("late task"));
  clock.advance(100);
  for (const task of tasks) task();
  handlers.onData(socket, new Uint8Array(1));
  handlers.onDrain(socket);
  handlers.onClose(socket);
  expect(happened).toEqual(["data", "first timer", "first task"]);
});

test("a flush under way is never answered, and its file is closed only when it is done", async () => {
  const { platform, disk } = world();
  const flushes: Array<() => void> = [];
  const closed: string[] = [];
  const open = disk.open.bind(disk);
  disk.open = (path, mode): DiskFile => ({
    ...open(path, mode),
    flush: () => new Promise<void>((done) => flushes.push(done)),
    close: () => closed.push(path),
  });
  const life = new BrokerLife(1, platform);
  const file = life.disk.open("/a", "write");
  life.disk.open("/b", "write");
  let answered = false;
  void Promise.resolve(file.flush()).then(() => (answered = true));
  const ended = life.end();
  await Promise.resolve();
  expect(closed).toEqual(["/b"]);
  flushes[0]!();
  await ended;
  expect(closed).toEqual(["/b", "/a"]);
  expect(answered).toBe(false);
  expect(() => file.write([new Uint8Array(1)], 0)).toThrow("no more");
  expect(() => life.disk.rename("/a", "/c")).toThrow("no more");
});

test("locks are given back, once", async () => {
  const { platform } = world();
  const first = new BrokerLife(1, platform);
  const second = new BrokerLife(2, platform);
  const unlock = first.disk.lock("/lock")!;
  expect(second.disk.lock("/lock")).toBeUndefined();
  await first.end();
  expect(second.disk.lock("/lock")).toBeDefined();
  unlock();
  expect(first.disk.lock.bind(first.disk, "/lock")).toThrow("no more");
  expect(new BrokerLife(3, platform).disk.lock("/lock")).toBeUndefined();
});
