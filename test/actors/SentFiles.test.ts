/** Fetch answers whose records are still in their files when the answer begins to leave, over simulated connections. */
import { describe, expect, test } from "bun:test";
import { Errors } from "../../src/protocol/Errors.ts";
import { append, type World, withOneBroker } from "../support/OneBroker.ts";

const LONG = { maxBytes: 1_000_000 };

const filled = async (one: World): Promise<void> => {
  await one.client.createTopic("t", { partitions: 1 });
  await append(one, 60, 5000);
};

const fetched = async ({ client }: World): Promise<number[]> => {
  const found: number[] = [];
  for (let offset = 0; offset < 60; ) {
    const { errorCode, records, nextOffset } = await client.fetch("t", 0, offset, LONG);
    expect(errorCode).toBe(Errors.NONE);
    for (const { offset: at, value } of records) {
      expect(value).toEqual(new Uint8Array(5000).fill(65 + (at % 26)));
      found.push(at);
    }
    offset = nextOffset;
  }
  return found;
};

const pause = ({ process }: World, ms: number): Promise<void> =>
  new Promise((resolve) => process.clock.after(ms, resolve));

const reads = ({ disk }: World): number[] => {
  const at: number[] = [];
  disk.beforeOperation = ({ kind, path }) => {
    if (kind === "read" && path.endsWith(".log")) at.push(1);
    return undefined;
  };
  return at;
};

describe("records that are sent from their file", () => {
  test("arrive whole and in order, whatever the disk and the socket do", () => {
    for (let seed = 1; seed <= 8; seed++) {
      withOneBroker(
        async (one) => {
          await filled(one);
          expect(await fetched(one)).toEqual(Array.from({ length: 60 }, (_, index) => index));
        },
        { seed },
      );
    }
  });

  test("are let go when the client is gone: the deleted topic's files are closed", () => {
    withOneBroker(async (one) => {
      const openAfter = async (reading: () => Promise<void>): Promise<number> => {
        await filled(one);
        await reading();
        await one.client.deleteTopic("t");
        await pause(one, 120_000);
        return one.broker.metrics().openFiles;
      };
      const unread = await openAfter(async () => {});
      expect(await openAfter(async () => {})).toBe(unread);
      const left = await openAfter(async () => {
        const seen = reads(one);
        const answer = one.client.fetch("t", 0, 0, LONG).then(
          () => "whole",
          () => "none",
        );
        while (seen.length < 1) await pause(one, 0.01);
        (await one.client.connection(one.broker.nodeId, "fetch")).destroy();
        expect(await answer).toBe("none");
      });
      expect(left).toBe(unread);
    });
  });

  test("and cannot be read end the connection; the next fetch is answered KAFKA_STORAGE_ERROR", () => {
    withOneBroker(async (one) => {
      await filled(one);
      let left = 1;
      one.disk.beforeOperation = ({ kind, path }) => {
        if (kind !== "read" || !path.endsWith(".log")) return undefined;
        return left-- > 0 ? undefined : { error: "EIO" };
      };
      const answer = await one.client.fetch("t", 0, 0, LONG).then(
        ({ errorCode }) => errorCode,
        () => "none",
      );
      expect(answer).toBe("none");
      expect((await one.client.fetch("t", 0, 0, LONG)).errorCode).toBe(Errors.KAFKA_STORAGE_ERROR);
      one.disk.beforeOperation = undefined;
      expect((await fetched(one)).length).toBe(60);
    });
  });
});
