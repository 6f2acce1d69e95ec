import { expect, test } from "bun:test";
import type { ConsumeGroup, Consumer } from "../../src/client/Client.ts";
import type { ClientFrame, ServerFrame } from "../../src/gateway/Messages.ts";
import { batchOf, collect, Dialogue, positionAt, recordsAt } from "./support/Dialogue.ts";
import { type ServerLink, settled } from "./support/FakeNetwork.ts";

const FENCED = { code: 110, name: "FENCED_MEMBER_EPOCH", message: "fenced", retriable: false };

const assigned = (memberEpoch: number, ...partitions: Array<[partition: number, offset: number]>): ServerFrame => ({
  t: "assigned",
  stream: 1,
  memberEpoch,
  partitions: partitions.map(([partition, offset]) => ({
    topic: "t",
    partition,
    position: positionAt(offset),
    committed: true,
  })),
});

const named = (...partitions: number[]) => partitions.map((partition) => ({ topic: "t", partition }));

const revoke = (memberEpoch: number, ...partitions: number[]): ServerFrame => ({
  ...{ t: "revoke", stream: 1, memberEpoch, withinMs: 5000 },
  partitions: named(...partitions),
});

/** Everything of a stream that the client has sent, in a line each. */
const said = (link: ServerLink): string[] =>
  link.frames.flatMap((frame) => {
    if (frame.t === "commit")
      return [`commit ${frame.offsets.map(({ partition, offset }) => `${partition}@${offset}`).join(" ")}`];
    if (frame.t === "release") return [`release ${frame.partitions.map(({ partition }) => partition).join(" ")}`];
    return frame.t === "close" ? ["close"] : [];
  });

const granted = (frame: ClientFrame & { readonly t: "commit" }, link: ServerLink): void =>
  link.ok(frame, { partitions: frame.offsets.map(({ topic, partition }) => ({ topic, partition })) });

const joined = async (options: Partial<ConsumeGroup> = {}) => {
  const dialogue = new Dialogue();
  dialogue.onFrame = (frame, link) => {
    if (frame.t === "open") link.ok(frame, { partitions: [], memberId: "m" });
    if (frame.t === "commit") granted(frame, link);
    if (frame.t === "close") link.ok(frame);
  };
  await dialogue.connect();
  const consumer = dialogue.client.consume({ group: "g", topics: "t", encoding: "records", ...options });
  await settled();
  return { dialogue, consumer, link: dialogue.link };
};

const deliver = (link: ServerLink, partition: number, ...offsets: number[]): void =>
  link.send({ t: "records", stream: 1, batches: [batchOf(partition, recordsAt(...offsets), offsets.at(-1)! + 1)] });

const offsetOf = async (consumer: Consumer<Uint8Array, Uint8Array>): Promise<string> => {
  const { value } = await consumer.next();
  return `${value?.partition}@${value?.offset}`;
};

test("joins with an id of its own and what it subscribes to", async () => {
  const { link } = await joined({
    regex: "x.*",
    instanceId: "i",
    assignor: "range",
    from: "none",
    rebalanceTimeoutMs: 9000,
  });
  expect(link.last("open")).toMatchObject({
    stream: 1,
    from: "none",
    group: { id: "g", topics: ["t"], regex: "x.*", instanceId: "i", assignor: "range", rebalanceTimeoutMs: 9000 },
  });
  const { group } = link.last("open") as Extract<ClientFrame, { group: unknown }>;
  expect(Object.keys(group).sort()).toEqual([
    "assignor",
    "id",
    "instanceId",
    "memberId",
    "rebalanceTimeoutMs",
    "regex",
    "topics",
  ]);
});

test("nothing is handed out before onAssigned is through, and a seek in it counts", async () => {
  const calls: string[] = [];
  const gate = Promise.withResolvers<void>();
  const { dialogue, consumer, link } = await joined({
    async onAssigned(partitions) {
      calls.push(`assigned ${partitions.map(({ partition }) => partition).join(" ")}`);
      await gate.promise;
      await consumer.seek({ topic: "t", partition: 1, from: { offset: 70 } });
    },
  });
  dialogue.onFrame = (frame, to) => {
    if (frame.t === "seek") to.ok(frame, { partitions: [{ topic: "t", partition: 1, position: positionAt(70) }] });
  };
  link.send(assigned(3, [0, 5], [1, 6]));
  deliver(link, 0, 5);
  deliver(link, 1, 6);
  const first = offsetOf(consumer);
  await settled();
  expect(calls).toEqual(["assigned 0 1"]);
  expect(consumer.buffered.records).toBe(2);
  gate.resolve();
  expect(await first).toBe("0@5");
  deliver(link, 1, 70);
  expect(await offsetOf(consumer)).toBe("1@70");
});

test("what is finished is committed every so often, what is in hand is not", async () => {
  const { dialogue, consumer, link } = await joined({ autoCommit: 1000 });
  link.send(assigned(1, [0, 5], [1, 0]));
  deliver(link, 0, 5, 6, 7);
  await dialogue.pass(1000);
  expect(said(link)).toEqual([]);
  for (let index = 0; index < 3; index++) await consumer.next();
  await dialogue.pass(1000);
  expect(said(link)).toEqual(["commit 0@7"]);
  await dialogue.pass(1000);
  expect(said(link)).toHaveLength(1);
  void consumer.next();
  await dialogue.pass(1000);
  expect(said(link)).toEqual(["commit 0@7", "commit 0@8"]);
});

test("an explicit commit covers what is in hand", async () => {
  const { consumer, link } = await joined({ autoCommit: false });
  link.send(assigned(1, [0, 5], [1, 0]));
  deliver(link, 0, 5, 6);
  deliver(link, 1, 3);
  const record = (await consumer.next()).value!;
  await consumer.commit();
  await consumer.next();
  await consumer.commit(record);
  await consumer.commit([{ topic: "t", partition: 1, offset: 2, metadata: "here", leaderEpoch: 4 }]);
  expect(said(link)).toEqual(["commit 0@6 1@0", "commit 0@6", "commit 1@2"]);
  expect(link.last("commit").offsets).toEqual([
    { topic: "t", partition: 1, offset: 2, leaderEpoch: 4, metadata: "here" },
  ]);
  await expect(consumer.commit([{ topic: "t", partition: 9, offset: 1 }])).rejects.toThrow("t-9 is not assigned");
});

test("commits never overtake each other: what comes meanwhile goes with the next one, the newest of each partition", async () => {
  const { dialogue, consumer, link } = await joined({ autoCommit: false });
  const commits: Array<ClientFrame & { readonly t: "commit" }> = [];
  dialogue.onFrame = (frame) => {
    if (frame.t === "commit") commits.push(frame);
  };
  link.send(assigned(1, [0, 0], [1, 0]));
  await settled();
  const at = (partition: number, offset: number) => consumer.commit([{ topic: "t", partition, offset }]);
  const all = [at(0, 1), at(0, 2), at(1, 5), at(0, 3)];
  await settled();
  expect(said(link)).toEqual(["commit 0@1"]);
  granted(commits[0]!, link);
  await settled();
  expect(said(link)).toEqual(["commit 0@1", "commit 0@3 1@5"]);
  granted(commits[1]!, link);
  await Promise.all(all);
});

test("a commit waits no longer than its signal lets it, and is made all the same", async () => {
  const { dialogue, consumer, link } = await joined({ autoCommit: false });
  dialogue.onFrame = () => {};
  link.send(assigned(1, [0, 0]));
  await settled();
  const reason = new Error("enough");
  const places = [{ topic: "t", partition: 0, offset: 1 }];
  const never = consumer.commit(places, { signal: AbortSignal.abort(reason) });
  expect(await never.catch((error: unknown) => error)).toBe(reason);
  expect(said(link)).toEqual([]);
  const control = new AbortController();
  const commit = consumer.commit(places, { signal: control.signal }).catch((error: unknown) => error);
  await settled();
  control.abort(reason);
  expect(await commit).toBe(reason);
  expect(said(link)).toEqual(["commit 0@1"]);
});

test("an error of one partition is told; one that may pass is tried again, but not at once", async () => {
  const { dialogue, consumer, link } = await joined({ autoCommit: false });
  link.send(assigned(1, [0, 0], [1, 0]));
  await settled();
  const answers = [
    [
      { topic: "t", partition: 0 },
      {
        topic: "t",
        partition: 1,
        error: { code: 12, name: "OFFSET_METADATA_TOO_LARGE", message: "", retriable: false },
      },
    ],
    [
      {
        topic: "t",
        partition: 0,
        error: { code: 14, name: "COORDINATOR_LOAD_IN_PROGRESS", message: "", retriable: true },
      },
    ],
    [{ topic: "t", partition: 0 }],
  ];
  dialogue.onFrame = (frame, to) => {
    if (frame.t === "commit") to.ok(frame, { partitions: answers.shift()! });
  };
  const both = consumer.commit([0, 1].map((partition) => ({ topic: "t", partition, offset: 1 })));
  await expect(both).rejects.toMatchObject({ code: 12 });
  const one = consumer.commit([{ topic: "t", partition: 0, offset: 2 }]);
  await settled();
  expect(said(link)).toHaveLength(2);
  await dialogue.pass(60);
  await one;
  expect(said(link)).toHaveLength(3);
});

test("a revoked partition is released when what is in hand is finished, onRevoked has run and the rest is committed", async () => {
  const order: string[] = [];
  const gate = Promise.withResolvers<void>();
  const { dialogue, consumer, link } = await joined({
    async onRevoked(partitions) {
      order.push(`revoked ${partitions.map(({ partition }) => partition).join(" ")}`);
      await gate.promise;
    },
  });
  dialogue.onFrame = (frame, to) => {
    order.push(frame.t);
    if (frame.t === "commit") granted(frame, to);
  };
  link.send(assigned(1, [0, 0], [1, 0]));
  deliver(link, 0, 0, 1, 2);
  deliver(link, 1, 0);
  expect(await offsetOf(consumer)).toBe("0@0");
  expect(await offsetOf(consumer)).toBe("0@1");
  link.send(revoke(2, 0));
  deliver(link, 0, 3);
  await settled();
  expect(order).toEqual([]);
  expect(consumer.buffered.records).toBe(1);
  // What was here of it and not handed out is not handed out any more.
  expect(await offsetOf(consumer)).toBe("1@0");
  await settled();
  expect(order).toEqual(["revoked 0"]);
  gate.resolve();
  await settled();
  expect(order).toEqual(["revoked 0", "commit", "release"]);
  expect(said(link)).toEqual(["commit 0@2", "release 0"]);
  expect(consumer.assignment()).toEqual(named(1));
});

test("partitions of which nothing is in hand are released at once, also without automatic commits", async () => {
  const { consumer, link } = await joined({ autoCommit: false });
  link.send(assigned(1, [0, 0], [1, 0]));
  deliver(link, 0, 0, 1);
  await consumer.next();
  link.send(revoke(2, 1));
  await settled();
  expect(said(link)).toEqual(["release 1"]);
  link.send(assigned(3, [1, 8]));
  deliver(link, 1, 8);
  expect(await offsetOf(consumer)).toBe("0@1");
  expect(await offsetOf(consumer)).toBe("1@8");
});

test("what is lost is dropped, told, and never committed", async () => {
  const order: string[] = [];
  const { dialogue, consumer, link } = await joined({
    onLost: (partitions) => void order.push(`lost ${partitions.map(({ partition }) => partition).join(" ")}`),
    onRevoked: () => void order.push("revoked"),
    autoCommit: 1000,
  });
  link.send(assigned(1, [0, 0], [1, 0]));
  deliver(link, 0, 0, 1);
  deliver(link, 1, 0);
  expect(await offsetOf(consumer)).toBe("0@0");
  dialogue.onFrame = () => {};
  const committing = consumer.commit();
  committing.catch(() => {});
  await settled();
  link.send(revoke(1, 0));
  link.send({ t: "lost", stream: 1, partitions: named(0, 1), error: FENCED });
  await settled();
  // It was sent: it may be committed.
  await expect(committing).rejects.toMatchObject({ name: "OutcomeUnknownError", cause: { code: 110 } });
  expect(order).toEqual(["lost 0 1"]);
  await expect(consumer.commit([{ topic: "t", partition: 0, offset: 1 }])).rejects.toThrow("not assigned");
  link.send(assigned(5, [1, 3]));
  deliver(link, 1, 3);
  expect(await offsetOf(consumer)).toBe("1@3");
  await dialogue.pass(1000);
  expect(said(link)).toEqual(["commit 0@1 1@0"]);
  expect(consumer.identityFor([])).toMatchObject({ id: "g", memberEpoch: 5 });
});

test("a commit that was sent before a connection broke, and is refused later, may have been made", async () => {
  const { dialogue, consumer, link } = await joined();
  link.send(assigned(1, [0, 0]));
  deliver(link, 0, 0);
  await offsetOf(consumer);
  dialogue.onFrame = (frame, to) => {
    if (frame.t === "open") to.ok(frame, { partitions: [], memberId: "m" });
  };
  const committing = consumer.commit();
  committing.catch(() => {});
  await settled();
  await dialogue.reconnect();
  dialogue.link.send({ t: "lost", stream: 1, partitions: named(0), error: FENCED });
  await settled();
  await expect(committing).rejects.toMatchObject({ name: "OutcomeUnknownError", cause: { code: 110 } });
});

test("a transaction does not take what was read of a partition before it was lost, though it is back", async () => {
  const { dialogue, consumer, link } = await joined({ autoCommit: false });
  dialogue.onFrame = (frame, to) => {
    if (frame.t === "seek") to.ok(frame, { partitions: [{ topic: "t", partition: 0, position: positionAt(7) }] });
    if (frame.t === "commit") to.ok(frame, { partitions: [{ topic: "t", partition: 0 }] });
  };
  const again = async (epoch: number, offset: number): Promise<void> => {
    link.send({ t: "lost", stream: 1, partitions: named(0), error: FENCED });
    link.send(assigned(epoch, [0, offset], [1, 0]));
    await settled();
  };
  const place = (offset: number) => [{ topic: "t", partition: 0, offset }];
  const lost = "lost since it was read";
  link.send(assigned(1, [0, 0], [1, 0]));
  deliver(link, 0, 0, 1);
  await offsetOf(consumer);
  expect(() => consumer.identityFor(place(2))).toThrow(lost);
  expect(consumer.identityFor(place(1))).toMatchObject({ id: "g", memberEpoch: 1 });
  await offsetOf(consumer);
  // Others may have done it meanwhile: it begins behind.
  await again(3, 2);
  expect(() => consumer.identityFor(place(2))).toThrow(lost);
  expect(consumer.identityFor(place(2))).toMatchObject({ memberEpoch: 3 });
  // The same for all of it, whatever else was read meanwhile.
  deliver(link, 0, 2, 3);
  await offsetOf(consumer);
  await again(5, 3);
  deliver(link, 1, 0);
  await offsetOf(consumer);
  expect(() => consumer.identityFor()).toThrow(lost);
  expect(consumer.identityFor()).toMatchObject({ memberEpoch: 5 });
  // Nothing was read of it since, or it is committed, or the application has moved away from it.
  await again(7, 3);
  expect(consumer.identityFor()).toMatchObject({ memberEpoch: 7 });
  deliver(link, 0, 3, 4, 5, 6);
  await offsetOf(consumer);
  await consumer.commit();
  await again(9, 4);
  expect(consumer.identityFor()).toMatchObject({ memberEpoch: 9 });
  deliver(link, 0, 4, 5, 6);
  await offsetOf(consumer);
  await consumer.seek({ topic: "t", partition: 0, from: { offset: 7 } });
  await again(11, 4);
  expect(consumer.identityFor()).toMatchObject({ memberEpoch: 11 });
});

test("closing commits what is finished and leaves, without release", async () => {
  const order: string[] = [];
  const { consumer, link } = await joined({ onRevoked: () => void order.push("revoked") });
  link.send(assigned(1, [0, 0]));
  deliver(link, 0, 0, 1, 2);
  const looping = (async () => {
    for await (const record of consumer) if (record.offset === 1) break;
  })();
  await looping;
  // The record at which the loop was left is not finished.
  expect(said(link)).toEqual(["commit 0@1", "close"]);
  expect(order).toEqual(["revoked"]);
});

test("a stream that is closed while it is being opened is closed there as well", async () => {
  const { dialogue, consumer } = await joined();
  dialogue.onFrame = (frame, to) => {
    if (frame.t === "close") to.ok(frame);
  };
  await dialogue.reconnect();
  await consumer.close();
  expect(said(dialogue.link)).toEqual(["close"]);
});

test("one that cannot give everything back in time leaves all the same", async () => {
  const { dialogue, consumer, link } = await joined({ onRevoked: () => new Promise(() => {}) });
  link.send(assigned(1, [0, 0]));
  const closing = consumer.close({ timeoutMs: 100 });
  await dialogue.pass(100);
  await closing;
  expect(said(link)).toEqual(["close"]);
});

test("what is asked back is committed and released although the new connection says nothing else of it", async () => {
  const { dialogue, consumer, link } = await joined({
    autoCommit: false,
    onRevoked: () => consumer.commit([{ topic: "t", partition: 0, offset: 1 }]),
  });
  link.send(assigned(4, [0, 0], [1, 0]));
  await settled();
  await dialogue.reconnect();
  dialogue.link.send(assigned(5, [1, 0]));
  dialogue.link.send(revoke(5, 0));
  await settled();
  expect(said(dialogue.link)).toEqual(["commit 0@1", "release 0"]);
});

test("coming back with what it had goes on where it was; onAssigned is not called again", async () => {
  const calls: string[] = [];
  const { dialogue, consumer, link } = await joined({
    onAssigned: (partitions) => void calls.push(`assigned ${partitions.map(({ partition }) => partition).join(" ")}`),
    onLost: (partitions) => void calls.push(`lost ${partitions.map(({ partition }) => partition).join(" ")}`),
  });
  link.send(assigned(4, [0, 0], [1, 0], [2, 0]));
  await settled();
  deliver(link, 0, 0, 1);
  expect(await offsetOf(consumer)).toBe("0@0");
  dialogue.onFrame = (frame, to) => {
    if (frame.t === "open") to.ok(frame, { partitions: [], memberId: "m" });
  };
  const committing = consumer.commit([{ topic: "t", partition: 0, offset: 1 }]);
  await settled();
  await dialogue.reconnect();
  const first = link.last("open") as Extract<ClientFrame, { group: unknown }>;
  const again = dialogue.link.last("open") as Extract<ClientFrame, { group: unknown }>;
  expect(again.group).toEqual({
    ...first.group,
    memberEpoch: 4,
    owned: [0, 1, 2].map((partition) => ({ topic: "t", partition, position: positionAt(partition === 0 ? 2 : 0) })),
  });
  // Nothing is committed before the server says that the partition is still ours.
  expect(said(dialogue.link)).toEqual([]);
  dialogue.link.send({ t: "lost", stream: 1, partitions: named(2), error: FENCED });
  dialogue.link.send(assigned(5, [0, 2], [1, 0]));
  await settled();
  expect(said(dialogue.link)).toEqual(["commit 0@1"]);
  granted(dialogue.link.last("commit"), dialogue.link);
  await committing;
  expect(calls).toEqual(["assigned 0 1 2", "lost 2"]);
  expect(await offsetOf(consumer)).toBe("0@1");
  deliver(dialogue.link, 0, 2);
  expect(await offsetOf(consumer)).toBe("0@2");
});

test("a partition that the server would go on elsewhere with is put right", async () => {
  const { dialogue, link } = await joined();
  link.send(assigned(4, [0, 0]));
  deliver(link, 0, 0, 1);
  await settled();
  await dialogue.reconnect();
  dialogue.link.send(assigned(5, [0, 0]));
  await settled();
  expect(dialogue.link.last("seek").partitions).toEqual([{ topic: "t", partition: 0, from: positionAt(2) }]);
});

test("another one with the same identity ends it", async () => {
  const lost: unknown[] = [];
  const { consumer, link } = await joined({ onLost: (partitions) => void lost.push(...partitions) });
  link.send(assigned(4, [0, 0]));
  const reading = collect(consumer);
  await settled();
  link.send({
    t: "closed",
    stream: 1,
    error: { code: 82, name: "FENCED_INSTANCE_ID", message: "taken over", retriable: false },
  });
  await reading.done;
  expect(reading.error).toMatchObject({ name: "FencedError", fatal: true });
  await settled();
  expect(lost).toEqual(named(0));
});

test("a failed automatic commit is reported and made good by the next one", async () => {
  const { dialogue, consumer, link } = await joined({ autoCommit: 1000 });
  const errors: unknown[] = [];
  dialogue.client.on("error", (error) => errors.push(error));
  link.send(assigned(1, [0, 0]));
  deliver(link, 0, 0, 1);
  await consumer.next();
  await consumer.next();
  const accept = dialogue.onFrame;
  dialogue.onFrame = (frame, to) => to.refuse(frame as never, 113, "STALE_MEMBER_EPOCH");
  await dialogue.pass(1000);
  expect(errors).toHaveLength(1);
  dialogue.onFrame = accept;
  await dialogue.pass(1000);
  expect(said(link)).toEqual(["commit 0@1", "commit 0@1"]);
});

test("a commit that waits is not sent any more when its partition is lost", async () => {
  const { dialogue, consumer, link } = await joined({ autoCommit: false });
  dialogue.onFrame = () => {};
  link.send(assigned(1, [0, 0], [1, 0]));
  await settled();
  const first = consumer.commit([{ topic: "t", partition: 1, offset: 1 }]);
  const waiting = consumer.commit([{ topic: "t", partition: 0, offset: 1 }]);
  waiting.catch(() => {});
  await settled();
  link.send({ t: "lost", stream: 1, partitions: named(0), error: FENCED });
  await settled();
  await expect(waiting).rejects.toMatchObject({ code: 110 });
  granted(link.last("commit"), link);
  await first;
  await settled();
  expect(said(link)).toEqual(["commit 1@1"]);
});

test("closing does not wait for a revoked record that is never finished", async () => {
  const { consumer, link } = await joined();
  link.send(assigned(1, [0, 0]));
  deliver(link, 0, 0, 1);
  await consumer.next();
  link.send(revoke(2, 0));
  await settled();
  await consumer.close();
  expect(said(link).at(-1)).toBe("close");
});

test("closing leaves the group even when its commit gets no answer in time", async () => {
  const { dialogue, consumer, link } = await joined();
  dialogue.onFrame = () => {};
  link.send(assigned(1, [0, 0]));
  deliver(link, 0, 0, 1);
  await consumer.next();
  await consumer.next();
  const closing = consumer.close({ timeoutMs: 100 });
  await settled();
  expect(said(link)).toEqual(["commit 0@1"]);
  await dialogue.pass(100);
  await closing;
  expect(said(link)).toEqual(["commit 0@1", "close"]);
});
