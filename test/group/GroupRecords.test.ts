import { describe, expect, test } from "bun:test";
import { decodeGroupRecord, encodeGroupRecord, type GroupRecord } from "../../src/group/GroupRecords.ts";
import { ByteWriter } from "../../src/prelude/ByteWriter.ts";
import { ZERO_UUID } from "../../src/prelude/Types.ts";
import { topicIdOf } from "./CoordinatorWorld.ts";

const commit: GroupRecord = {
  kind: "OffsetCommit",
  key: { group: "g", topic: "t", partition: 3 },
  value: {
    offset: 42,
    leaderEpoch: 5,
    metadata: "m",
    commitTimestamp: 1000,
    expireTimestamp: -1,
    topicId: topicIdOf("t"),
  },
};
const generation: GroupRecord = {
  kind: "GroupMetadata",
  key: { group: "g" },
  value: {
    protocolType: "consumer",
    generation: 7,
    protocol: "range",
    leader: "m-1",
    currentStateTimestamp: 1000,
    members: [
      {
        memberId: "m-1",
        groupInstanceId: "i",
        clientId: "c",
        clientHost: "/10.0.0.1",
        rebalanceTimeout: 30_000,
        sessionTimeout: 10_000,
        subscription: Uint8Array.of(1, 2),
        assignment: Uint8Array.of(3),
      },
    ],
  },
};

const hex = (bytes: Uint8Array | null): string | null => bytes && Buffer.from(bytes).toString("hex");

describe("records of __consumer_offsets", () => {
  test("what is written is read, and so are tombstones", () => {
    for (const record of [commit, generation]) {
      const { key, value } = encodeGroupRecord(record);
      expect(decodeGroupRecord(key, value)).toEqual(record);
      const gone = encodeGroupRecord({ ...record, value: null } as GroupRecord);
      expect(gone.value).toBeNull();
      expect(decodeGroupRecord(gone.key, null)).toEqual({ ...record, value: null } as GroupRecord);
    }
  });

  test("keys 1 and 2; a commit's value is version 4, with an expiry of its own version 1; a group's version 3", () => {
    const encoded = encodeGroupRecord(commit);
    expect(hex(encoded.key)).toBe("0001000167000174" + "00000003");
    expect(hex(encoded.value)?.slice(0, 4)).toBe("0004");
    const expiring = { ...commit, value: { ...commit.value!, expireTimestamp: 9, topicId: ZERO_UUID } } as GroupRecord;
    expect(hex(encodeGroupRecord(expiring).value)?.slice(0, 4)).toBe("0001");
    expect(hex(encodeGroupRecord(generation).key)).toBe("0002000167");
    expect(hex(encodeGroupRecord(generation).value)?.slice(0, 4)).toBe("0003");
  });

  test("a key of before Kafka 0.9 is a commit; other coordinators' keys and newer values are left alone", () => {
    const { key, value } = encodeGroupRecord(commit);
    const legacy = key.slice();
    legacy[1] = 0;
    expect(decodeGroupRecord(legacy, value)).toEqual(commit);
    const foreign = new ByteWriter();
    foreign.int16(11);
    foreign.string("share");
    expect(decodeGroupRecord(foreign.toBytes(), null)).toBe("foreign");
    const newer = value!.slice();
    newer[1] = 5;
    expect(decodeGroupRecord(key, newer)).toBe("newer");
  });
});
