/** The whole of what is stored is compared with Kafka's tool in the conformance suite `log`; here old versions and damage. */
import { describe, expect, test } from "bun:test";
import { coordinatorRecordText } from "../../src/cli/CoordinatorRecordText.ts";
import { ByteWriter } from "../../src/prelude/ByteWriter.ts";
import { encodeConsumerProtocolSubscription } from "../../src/protocol/generated/ConsumerProtocolSubscription.ts";
import { emptyMemberMetadata, encodeGroupMetadataValue } from "../../src/protocol/generated/GroupMetadataValue.ts";
import { emptyOffsetCommitValue, encodeOffsetCommitValue } from "../../src/protocol/generated/OffsetCommitValue.ts";

const bytes = (write: (writer: ByteWriter) => void): Uint8Array => {
  const writer = new ByteWriter();
  write(writer);
  return writer.toBytes().slice();
};
const groupKey = bytes((writer) => {
  writer.int16(2);
  writer.string("g");
});
const offsetKey = bytes((writer) => {
  writer.int16(1);
  writer.string("g");
  writer.string("t");
  writer.int32(3);
});

const classic = (version: number, protocolType: string, subscription: Uint8Array) => {
  const members = [{ ...emptyMemberMetadata(), memberId: "m", subscription, assignment: Uint8Array.of(1, 2, 3) }];
  const value = bytes((writer) => {
    writer.int16(version);
    const group = { protocolType, generation: 1, protocol: "range", leader: "m", currentStateTimestamp: 5, members };
    encodeGroupMetadataValue(writer, group, version);
  });
  return JSON.parse(coordinatorRecordText(groupKey, value, 7, "offsets").payload!) as {
    version: string;
    data: { currentStateTimestamp?: number; members: [Record<string, unknown>] };
  };
};

describe("records of coordinators", () => {
  const subscribed = bytes((writer) => {
    writer.int16(1);
    const topic = { topics: ["t"], userData: Uint8Array.of(9), ownedPartitions: [], generationId: -1, rackId: null };
    encodeConsumerProtocolSubscription(writer, topic, 1);
  });

  test("what consumers put into a group's members is read; of others, and what is none of it, the bytes are shown", () => {
    const [consumer] = classic(3, "consumer", subscribed).data.members;
    expect(consumer.subscription).toEqual({ topics: ["t"], userData: "CQ==", ownedPartitions: [] });
    expect(consumer.assignment).toBe("AQID");
    const [other] = classic(3, "connect", subscribed).data.members;
    expect(other.subscription).toBe(Buffer.from(subscribed).toString("base64"));
  });

  test("a field that the version does not have is not shown", () => {
    const old = classic(0, "consumer", subscribed);
    expect(old.version).toBe("0");
    expect(old.data).not.toHaveProperty("currentStateTimestamp");
    expect(old.data.members[0]).not.toHaveProperty("rebalanceTimeout");
    const offset = (version: number): string => {
      const value = bytes((writer) => {
        writer.int16(version);
        const commit = { ...emptyOffsetCommitValue(), offset: 4, metadata: "x", commitTimestamp: 6 };
        encodeOffsetCommitValue(writer, commit, version);
      });
      return coordinatorRecordText(offsetKey, value, 7, "offsets").payload!;
    };
    const data = '"metadata":"x","commitTimestamp":6';
    expect(offset(1)).toBe(`{"version":"1","data":{"offset":4,${data},"expireTimestamp":-1}}`);
    expect(offset(2)).toBe(`{"version":"2","data":{"offset":4,${data}}}`);
    expect(offset(4)).toBe(`{"version":"4","data":{"offset":4,"leaderEpoch":-1,${data}}}`);
  });

  test("a record that was deleted, and one of another coordinator", () => {
    expect(coordinatorRecordText(groupKey, null, 7, "offsets")).toEqual({
      key: '{"type":"2","data":{"group":"g"}}',
      payload: "<DELETE>",
    });
    expect(coordinatorRecordText(groupKey, null, 7, "transactions")).toEqual({
      key: "Unknown record type 2 at offset 7, skipping.",
    });
  });
});
