import { describe, expect, test } from "bun:test";
import { ConnectionError, connect, KafkaError, OutcomeUnknownError, TimeoutError } from "../../src/client/Client.ts";
import { Dialogue } from "./support/Dialogue.ts";
import { FakeNetwork, HELLO, settled } from "./support/FakeNetwork.ts";

/** States with what is said of them, as they come. */
const statesOf = (dialogue: Dialogue): string[] => {
  const states: string[] = [];
  dialogue.client.on("state", ({ state, error }) =>
    states.push(error === undefined ? state : `${state}: ${error.message}`),
  );
  return states;
};

describe("connecting", () => {
  test("says hello, and is there when that is answered", async () => {
    const dialogue = new Dialogue();
    const client = await dialogue.connect({ token: "secret", client: { name: "app", version: "2" } });
    expect(dialogue.link.frames).toEqual([
      { t: "hello", id: 1, client: { name: "app", version: "2" }, token: "secret" },
    ]);
    expect(dialogue.link.url).toBe("ws://test/v1/stream");
    expect(dialogue.link.protocols).toEqual(["odradek.v1"]);
    expect(client.state).toBe("connected");
    await client.close();
    await settled();
    expect(dialogue.link.closed?.code).toBe(1000);
    expect(client.state).toBe("closed");
  });

  test.each([
    ["https://host", "wss://host/v1/stream"],
    ["http://host:8080/", "ws://host:8080/v1/stream"],
    ["ws://host/elsewhere?x=1#y", "ws://host/elsewhere?x=1"],
  ])("%s is %s", async (given, url) => {
    const network = new FakeNetwork();
    network.onAccept = (link) => {
      link.onFrame = (frame) => link.ok(frame, HELLO);
    };
    await connect(given, { platform: network.platform });
    expect(network.link.url).toBe(url);
  });

  test("is tried until its time is over", async () => {
    const network = new FakeNetwork();
    network.reachable = false;
    const connecting = connect("ws://test", { platform: network.platform, connectTimeoutMs: 3000 });
    connecting.catch(() => {});
    for (let index = 0; index < 30; index++) {
      network.clock.advance(100);
      await settled();
    }
    await expect(connecting).rejects.toBeInstanceOf(ConnectionError);
    await expect(connecting).rejects.toMatchObject({ retriable: true, closeCode: 1006 });
    expect(network.clock.pending).toBe(0);
    await expect(connect("ftp://test", { platform: network.platform })).rejects.toThrow(
      "expected a URL as ws://host:8080",
    );
  });

  test("a signal gives it up", async () => {
    const network = new FakeNetwork();
    network.reachable = false;
    const controller = new AbortController();
    const connecting = connect("ws://test", { platform: network.platform, signal: controller.signal });
    await settled();
    controller.abort(new Error("never mind"));
    await expect(connecting).rejects.toThrow("never mind");
    expect(network.clock.pending).toBe(0);
  });

  test("nobody answers hello: given up and tried again", async () => {
    const network = new FakeNetwork();
    const connecting = connect("ws://test", { platform: network.platform, connectTimeoutMs: 60_000 });
    await settled();
    network.clock.advance(10_000);
    await settled();
    expect(network.link.closed?.code).toBe(4408);
    network.onAccept = (link) => {
      link.onFrame = (frame) => link.ok(frame, HELLO);
    };
    network.clock.advance(1000);
    await settled();
    expect((await connecting).state).toBe("connected");
  });
});

describe("coming back", () => {
  test("with full jitter, longer and longer, shorter again after a good connection", async () => {
    const dialogue = new Dialogue();
    await dialogue.connect({ backoff: { initialMs: 100, maxMs: 5000 } });
    const waits: number[] = [];
    dialogue.client.on("state", ({ retryInMs }) => {
      if (retryInMs !== undefined) waits.push(retryInMs);
    });
    dialogue.network.reachable = false;
    dialogue.link.cut();
    for (let index = 0; index < 400; index++) await dialogue.pass(100);
    const most = waits.map((_, index) => Math.min(5000, 100 * 2 ** index));
    expect(waits.length).toBeGreaterThan(10);
    expect(waits.filter((wait, index) => wait > most[index]!)).toEqual([]);
    // Full jitter: anything from 0 on, not the ceiling with a little noise.
    const late = waits.slice(6);
    expect(Math.min(...late)).toBeLessThan(2500);
    expect(Math.max(...late)).toBeGreaterThan(2500);
    dialogue.network.reachable = true;
    for (let index = 0; index < 200; index++) await dialogue.pass(100);
    expect(dialogue.client.state).toBe("connected");
    waits.length = 0;
    dialogue.link.cut();
    await settled();
    expect(waits[0]!).toBeLessThanOrEqual(100);
  });

  test("at once when the network is said to be back", async () => {
    const dialogue = new Dialogue();
    await dialogue.connect({ backoff: { initialMs: 100_000, maxMs: 100_000 } });
    dialogue.network.reachable = false;
    dialogue.link.cut();
    await settled();
    dialogue.network.goOnline();
    await settled();
    expect(dialogue.client.state).toBe("connected");
  });

  test("after goaway not before the server has asked for", async () => {
    const dialogue = new Dialogue();
    await dialogue.connect({ backoff: { initialMs: 10, maxMs: 10 } });
    const told: unknown[] = [];
    dialogue.client.on("goaway", (event) => told.push(event));
    dialogue.link.send({ t: "goaway", reason: "restart", afterMs: 3000 });
    dialogue.link.close(1012);
    await settled();
    expect(told).toEqual([{ reason: "restart", afterMs: 3000 }]);
    await dialogue.pass(2999);
    expect(dialogue.network.links).toHaveLength(1);
    await dialogue.pass(11);
    expect(dialogue.network.links).toHaveLength(2);
  });

  test.each([1002, 1003, 1007, 1008, 1009])("not after %i", async (code) => {
    const dialogue = new Dialogue();
    await dialogue.connect();
    const states = statesOf(dialogue);
    const reading = dialogue.client.consume({ topics: "t" }).next();
    dialogue.link.close(code, "because");
    await expect(reading).rejects.toMatchObject({ closeCode: code, retriable: false, fatal: true });
    expect(states).toEqual(["closed: ws://test/v1/stream: because"]);
    await dialogue.pass(100_000);
    expect(dialogue.network.links).toHaveLength(1);
    expect(dialogue.network.clock.pending).toBe(0);
  });

  test.each([1000, 1001, 1006, 1011, 1012, 1013, 4408, 4409])("after %i", async (code) => {
    const dialogue = new Dialogue();
    await dialogue.connect();
    dialogue.link.close(code);
    await settled();
    await dialogue.pass(300);
    expect(dialogue.client.state).toBe("connected");
    expect(dialogue.network.links).toHaveLength(2);
  });

  test("after 4401 with a new token, or not at all when there is no way to get one", async () => {
    const dialogue = new Dialogue();
    const asked: boolean[] = [];
    const token = async ({ expired }: { readonly expired: boolean }): Promise<string> => {
      asked.push(expired);
      return `token ${asked.length}`;
    };
    await dialogue.connect({ token });
    dialogue.link.close(4401);
    await settled();
    await dialogue.pass(300);
    expect(dialogue.link.last("hello").token).toBe("token 2");
    expect(asked).toEqual([false, true]);
    const fixed = new Dialogue();
    await fixed.connect({ token: "fixed" });
    fixed.link.close(4401, "expired");
    await settled();
    expect(fixed.client.state).toBe("closed");
  });

  test("a token that cannot be had is waited for", async () => {
    const dialogue = new Dialogue();
    let good = true;
    const token = (): string => {
      if (!good) throw new Error("no network");
      return "x";
    };
    await dialogue.connect({ token });
    const states = statesOf(dialogue);
    good = false;
    dialogue.link.cut();
    await settled();
    await dialogue.pass(200);
    good = true;
    await dialogue.pass(20_000);
    expect(states[1]).toBe("connecting");
    expect(states[2]).toBe("disconnected: no token: no network");
    expect(states.at(-1)).toBe("connected");
  });

  test("a token that does not come is asked for again, and is not used when it comes after all", async () => {
    const dialogue = new Dialogue();
    const asked: Array<(token: string) => void> = [];
    const token = (): Promise<string> =>
      new Promise((resolve) => {
        asked.push(resolve);
        if (asked.length === 1) resolve("first");
      });
    await dialogue.connect({ token });
    const states = statesOf(dialogue);
    dialogue.link.cut();
    await settled();
    await dialogue.pass(200);
    expect([asked.length, states.at(-1)]).toEqual([2, "connecting"]);
    await dialogue.pass(10_000);
    expect(states).toContain("disconnected: no token: not given in 10000 ms");
    while (asked.length < 3) await dialogue.pass(100);
    expect(states.at(-1)).toBe("connecting");
    asked[1]!("late");
    await settled();
    expect(dialogue.network.links).toHaveLength(1);
    asked[2]!("fresh");
    await settled();
    expect(states.at(-1)).toBe("connected");
    expect(dialogue.link.last("hello").token).toBe("fresh");
    expect(dialogue.network.links).toHaveLength(2);
  });

  test("a refused hello ends it unless it says that it may pass", async () => {
    const network = new FakeNetwork();
    let retriable = true;
    network.onAccept = (link) => {
      link.onFrame = (frame) => link.refuse(frame, 35, "UNSUPPORTED_VERSION", retriable);
    };
    const connecting = connect("ws://test", { platform: network.platform });
    connecting.catch(() => {});
    await settled();
    network.clock.advance(300);
    await settled();
    expect(network.links).toHaveLength(2);
    retriable = false;
    network.clock.advance(1000);
    await settled();
    await expect(connecting).rejects.toThrow("UNSUPPORTED_VERSION");
  });
});

describe("signs of life", () => {
  test("a ping when nothing was sent, a pong for a ping, the end when nothing is heard", async () => {
    const dialogue = new Dialogue();
    await dialogue.connect();
    const { link } = dialogue;
    await dialogue.pass(10_000);
    expect(link.frames.at(-1)).toEqual({ t: "ping", n: 1 });
    link.send({ t: "pong", n: 1 });
    await settled();
    await dialogue.pass(5000);
    link.send({ t: "ping", n: 77 });
    await settled();
    expect(link.frames.at(-1)).toEqual({ t: "pong", n: 77 });
    // Its own silence counts from the pong, the server's from the ping.
    await dialogue.pass(10_000);
    expect(link.frames.at(-1)).toEqual({ t: "ping", n: 2 });
    expect(dialogue.client.state).toBe("connected");
    const states = statesOf(dialogue);
    await dialogue.pass(10_000);
    expect(states[0]).toBe("disconnected: ws://test/v1/stream: nothing heard for 20000 ms");
    expect(link.closed?.code).toBe(4408);
  });

  test("a client that stood still itself looks again before it gives up", async () => {
    const dialogue = new Dialogue();
    await dialogue.connect();
    const { clock } = dialogue.network;
    // The machine sleeps: timers run late.
    const late = clock.monotonic.bind(clock);
    clock.monotonic = () => late() + 60_000;
    await dialogue.pass(10_000);
    expect(dialogue.client.state).toBe("connected");
    expect(dialogue.link.frames.at(-1)?.t).toBe("ping");
    await dialogue.pass(10_000);
    expect(dialogue.link.closed?.code).toBe(4408);
  });

  test("bytes that are no frame end the connection", async () => {
    const dialogue = new Dialogue();
    await dialogue.connect();
    dialogue.link.sendBytes(Uint8Array.of(0xc1));
    await settled();
    expect(dialogue.link.closed).toMatchObject({ code: 4400 });
    expect(dialogue.client.state).toBe("closed");
  });
});

describe("asking", () => {
  test("what only reads is asked again when its answer was lost, what changes something is not", async () => {
    const dialogue = new Dialogue();
    await dialogue.connect();
    const listing = dialogue.client.topics.list();
    const creating = dialogue.client.topics.create("new");
    creating.catch(() => {});
    await settled();
    expect(dialogue.link.all("call").map(({ verb }) => verb)).toEqual(["topics.list", "topics.create"]);
    dialogue.onFrame = (frame, link) => link.ok(frame as never, { body: { topics: [] } });
    await dialogue.reconnect();
    expect(await listing).toEqual([]);
    await expect(creating).rejects.toBeInstanceOf(OutcomeUnknownError);
    expect(dialogue.link.all("call").map(({ verb }) => verb)).toEqual(["topics.list"]);
  });

  test("what was never sent in time says so", async () => {
    const dialogue = new Dialogue();
    await dialogue.connect();
    dialogue.network.reachable = false;
    dialogue.link.cut();
    await settled();
    const creating = dialogue.client.topics.create("new", { timeoutMs: 1000 });
    creating.catch(() => {});
    await dialogue.pass(1000);
    await expect(creating).rejects.toBeInstanceOf(TimeoutError);
    await expect(creating).rejects.toMatchObject({ retriable: true });
  });

  test("Kafka's errors come as they are, of each entry", async () => {
    const dialogue = new Dialogue();
    await dialogue.connect();
    const error = { code: 36, name: "TOPIC_ALREADY_EXISTS", message: "there", retriable: false };
    dialogue.onFrame = (frame, link) => link.ok(frame as never, { body: { topics: [{ name: "a", error }] } });
    const creating = dialogue.client.topics.create(["a", { name: "b", partitions: 3 }], { validateOnly: true });
    await expect(creating).rejects.toBeInstanceOf(KafkaError);
    await expect(creating).rejects.toThrow("a: TOPIC_ALREADY_EXISTS: there");
    expect(dialogue.link.last("call").body).toEqual({
      topics: [{ name: "a" }, { name: "b", partitions: 3 }],
      validateOnly: true,
    });
    await expect(dialogue.client.topics.delete("a")).rejects.toMatchObject({ code: 36 });
  });

  test("a signal gives it up, and no more requests are open than the server answers at once", async () => {
    const dialogue = new Dialogue();
    const { network } = dialogue;
    network.onAccept = (link) => {
      link.onFrame = (frame) => {
        if (frame.t === "hello") link.ok(frame, { ...HELLO, limits: { ...HELLO.limits, requests: 2 } });
      };
    };
    await dialogue.connect();
    const controller = new AbortController();
    const listings = Array.from({ length: 5 }, () => dialogue.client.topics.list({ signal: controller.signal }));
    for (const listing of listings) listing.catch(() => {});
    await settled();
    expect(network.link.all("call")).toHaveLength(2);
    network.link.ok(network.link.all("call")[0]!, { body: { topics: [] } });
    await settled();
    expect(network.link.all("call")).toHaveLength(3);
    controller.abort(new Error("stop"));
    expect((await Promise.allSettled(listings)).map(({ status }) => status)).toEqual([
      "fulfilled",
      ...Array.from({ length: 4 }, () => "rejected" as const),
    ]);
  });

  test("a listener that throws harms nobody and is heard of", async () => {
    const dialogue = new Dialogue();
    await dialogue.connect();
    const errors: unknown[] = [];
    dialogue.client.on("state", () => {
      throw new Error("bad listener");
    });
    const states = statesOf(dialogue);
    dialogue.client.on("error", (error) => errors.push(error));
    await dialogue.reconnect();
    expect(states).toHaveLength(3);
    expect(errors).toHaveLength(3);
    expect(errors[0]).toEqual(new Error("bad listener"));
  });
});
