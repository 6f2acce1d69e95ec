/**
 * A broker that says what a test tells it to: one node, one topic, answers to Produce from a script. For the client's
 * retry rules, which a healthy broker never shows.
 */
import type { Listener, Network, Socket } from "../../src/platform/Network.ts";
import { ByteReader } from "../../src/prelude/ByteReader.ts";
import { ByteWriter } from "../../src/prelude/ByteWriter.ts";
import { type Api, ApiKey, Apis, type KnownApiKey, type ResponseOf } from "../../src/protocol/ApiKeys.ts";
import { FrameAssembler } from "../../src/protocol/Frame.ts";
import { decodeRequestHeader, encodeResponseHeader } from "../../src/protocol/RequestHeader.ts";
import { readBatchInfo } from "../../src/record/RecordBatch.ts";

export const HOME = { host: "127.0.0.1", port: 9092 };
export const TOPIC_ID = "AAAAAAAAAAAAAAAAAAAAAQ";

/** What happens to one Produce request: an error code, an acknowledged offset, or the connection's end. */
export type Verdict = { readonly error: number } | { readonly offset: number } | "cut" | "silence";

export interface SeenBatch {
  readonly partition: number;
  readonly sequence: number;
  readonly producerId: number;
}

export class ScriptedBroker {
  readonly seen: SeenBatch[] = [];
  readonly listener: Listener;
  metadataRequests = 0;
  /** The ranges it advertises instead of the schemas'. */
  versions = new Map<number, { min: number; max: number }>();

  constructor(
    network: Network,
    private readonly verdict: (batch: SeenBatch, attempt: number) => Verdict,
  ) {
    this.listener = network.listen(HOME, (socket) => {
      const frames = new FrameAssembler(1 << 20);
      let rest = new Uint8Array(0);
      const send = (bytes: Uint8Array): void => {
        rest = new Uint8Array(Buffer.concat([rest, bytes]));
        rest = rest.slice(socket.write(rest));
      };
      return {
        onData: (_, chunk) => {
          for (const frame of frames.push(chunk)) this.answer(socket, send, frame);
        },
        onDrain: () => send(new Uint8Array(0)),
        onClose() {},
      };
    });
  }

  private answer(socket: Socket, send: (bytes: Uint8Array) => void, frame: Uint8Array): void {
    const reader = new ByteReader(frame);
    const header = decodeRequestHeader(reader);
    const reply = <K extends KnownApiKey>(key: K, message: ResponseOf<K>, version = header.apiVersion): void => {
      const writer = new ByteWriter();
      writer.int32(0);
      encodeResponseHeader(writer, key, version, header.correlationId);
      const api: Api<K> = Apis[key];
      api.encodeResponse(writer, message, version);
      writer.setInt32(0, writer.length - 4);
      send(writer.toBytes());
    };
    switch (header.apiKey) {
      case ApiKey.ApiVersions: {
        const range = this.versions.get(18);
        const refused = range !== undefined && header.apiVersion > range.max;
        const apiKeys = [0, 1, 2, 3, 18, 19, 22].map((apiKey) => {
          const api = Apis[apiKey as KnownApiKey];
          const own = this.versions.get(apiKey) ?? { min: api.minVersion, max: api.maxVersion };
          return { apiKey, minVersion: own.min, maxVersion: own.max };
        });
        const message = { ...Apis[18].response.empty(), errorCode: refused ? 35 : 0, apiKeys };
        reply(ApiKey.ApiVersions, message, refused ? 0 : header.apiVersion);
        return;
      }
      case ApiKey.Metadata: {
        this.metadataRequests += 1;
        const partition = {
          errorCode: 0,
          leaderId: 1,
          leaderEpoch: 0,
          replicaNodes: [1],
          isrNodes: [1],
          offlineReplicas: [],
        };
        reply(ApiKey.Metadata, {
          ...Apis[3].response.empty(),
          brokers: [{ nodeId: 1, ...HOME, rack: null }],
          controllerId: 1,
          topics: [
            {
              errorCode: 0,
              name: "t",
              topicId: TOPIC_ID,
              isInternal: false,
              topicAuthorizedOperations: -2147483648,
              partitions: [0, 1].map((partitionIndex) => ({ ...partition, partitionIndex })),
            },
          ],
        });
        return;
      }
      case ApiKey.InitProducerId:
        reply(ApiKey.InitProducerId, { ...Apis[22].response.empty(), producerId: 7, producerEpoch: 0 });
        return;
      case ApiKey.Produce: {
        const request = Apis[0].decodeRequest(reader, header.apiVersion);
        const responses = [];
        for (const topic of request.topicData) {
          const partitionResponses = [];
          for (const { index, records } of topic.partitionData) {
            const info = readBatchInfo(records!, 0);
            const batch = { partition: index, sequence: info.baseSequence, producerId: info.producerId };
            const same = (other: SeenBatch): boolean =>
              other.partition === batch.partition && other.sequence === batch.sequence;
            this.seen.push(batch);
            const verdict = this.verdict(batch, this.seen.filter(same).length);
            if (verdict === "cut") {
              socket.destroy();
              return;
            }
            if (verdict === "silence") return;
            const code = "error" in verdict ? verdict.error : 0;
            const baseOffset = "offset" in verdict ? verdict.offset : -1;
            partitionResponses.push({
              ...{ index, errorCode: code, baseOffset, logAppendTimeMs: -1, logStartOffset: 0 },
              ...{ recordErrors: [], errorMessage: null, currentLeader: { leaderId: -1, leaderEpoch: -1 } },
            });
          }
          responses.push({ name: topic.name, topicId: topic.topicId, partitionResponses });
        }
        if (request.acks !== 0) reply(ApiKey.Produce, { responses, throttleTimeMs: 0, nodeEndpoints: [] });
        return;
      }
      default:
        socket.destroy();
    }
  }
}
