/** A Fetch request as bytes of the Kafka protocol, for tests that send it over something else than a client. */
import { ByteWriter } from "../../src/prelude/ByteWriter.ts";
import { Apis } from "../../src/protocol/ApiKeys.ts";
import { emptyFetchRequestFetchPartition } from "../../src/protocol/generated/FetchRequest.ts";

/** Partition 0 of the topic from offset 0 on. */
export const encodeFetch = (topicId: string, maxBytes: number): Uint8Array => {
  const version = 17;
  const writer = new ByteWriter();
  writer.int32(0);
  writer.int16(1);
  writer.int16(version);
  writer.int32(1);
  writer.nullableString("raw");
  writer.uvarint(0);
  const partition = { ...emptyFetchRequestFetchPartition(), partitionMaxBytes: maxBytes };
  const request = { ...Apis[1].request.empty(), maxBytes, topics: [{ topic: "", topicId, partitions: [partition] }] };
  Apis[1].encodeRequest(writer, request, version);
  const frame = new Uint8Array(writer.toBytes());
  new DataView(frame.buffer).setInt32(0, frame.length - 4);
  return frame;
};
