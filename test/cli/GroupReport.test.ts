import { expect, test } from "bun:test";
import { describeReport } from "../../src/cli/GroupReport.ts";

test("a described group: lag in records and in seconds, owners, and dashes for what is not known", () => {
  const owner = { memberId: "m-1", host: "/10.0.0.1", clientId: "c" };
  const partitions = [
    { topic: "t", partition: 10, committed: 5, end: 25, lagMs: 61_250, owner },
    { topic: "t", partition: 2, committed: -1, end: 7, lagMs: undefined, owner: undefined },
  ];
  expect(describeReport("text", { groupId: "g", type: "classic", state: "Stable", members: 1 }, partitions)).toBe(
    `g: Stable, classic protocol, 1 member
TOPIC  PARTITION  COMMITTED  END  LAG  SECONDS  MEMBER  HOST       CLIENT
t      2          -          7    -    -        -       -          -
t      10         5          25   20   61.3     m-1     /10.0.0.1  c
`,
  );
  expect(describeReport("text", { groupId: "g", type: "consumer", state: "Empty", members: 0 }, [])).toBe(
    "g: Empty, consumer protocol, 0 members\n",
  );
  const told = JSON.parse(
    describeReport("json", { groupId: "g", type: "classic", state: "Stable", members: 1 }, partitions),
  );
  expect(told).toEqual({
    group: "g",
    type: "classic",
    state: "Stable",
    members: 1,
    partitions: [
      {
        topic: "t",
        partition: 2,
        committed: null,
        end: 7,
        lag: null,
        seconds: null,
        member: null,
        host: null,
        client: null,
      },
      {
        topic: "t",
        partition: 10,
        committed: 5,
        end: 25,
        lag: 20,
        seconds: 61.25,
        member: "m-1",
        host: "/10.0.0.1",
        client: "c",
      },
    ],
  });
});
