/** A broker with fewer files than partitions: nobody notices, over rolls, restarts and kill -9. */
import { expect, test } from "bun:test";
import { SMALL, type World, withOneBroker } from "../support/OneBroker.ts";

const PARTITIONS = 25;

const produce = async ({ client, process }: World, rounds: number): Promise<void> => {
  const producer = client.producer();
  for (let round = 0; round < rounds; round++) {
    const sends = Array.from({ length: PARTITIONS }, (_, partition) =>
      producer.send("t", partition, [
        { key: null, value: Buffer.from(`${partition} ${round}`.padEnd(400)), timestamp: process.clock.wall() },
      ]),
    );
    for (const outcome of await Promise.all(sends)) expect(outcome.type).toBe("ok");
  }
};

const read = async ({ client }: World): Promise<string[][]> => {
  const all: string[][] = [];
  for (let partition = 0; partition < PARTITIONS; partition++) {
    const records = await client.readAll("t", partition);
    all.push(records.map(({ value }) => Buffer.from(value!).toString().trim()));
  }
  return all;
};

for (const policy of ["ack", "os"]) {
  test(`more partitions than files may be open (log.flush.policy=${policy})`, () => {
    withOneBroker(
      async (first) => {
        await first.client.createTopic("t", { partitions: PARTITIONS, configs: SMALL });
        await produce(first, 8);
        const expected = (rounds: number) =>
          Array.from({ length: PARTITIONS }, (_, partition) =>
            Array.from({ length: rounds }, (_, round) => `${partition} ${round % 8}`),
          );
        expect(await read(first)).toEqual(expected(8));
        const second = await first.restart();
        await produce(second, 8);
        expect(await read(second)).toEqual(expected(16));
        expect([...first.logged, ...second.logged]).toEqual([]);
      },
      { settings: { "log.max.open.files": "16", "log.flush.policy": policy } },
    );
  });
}
