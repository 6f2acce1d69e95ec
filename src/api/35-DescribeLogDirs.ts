/**
 * DescribeLogDirs (key 35), versions 1–5: what the log directories hold, per partition in bytes. Null topics mean all;
 * what is not here is left out.
 *
 * - v3+: an error code for the whole answer. v4+: size and free bytes of the file system. v5+: cordoned (never).
 * - The offset lag of a replica that is no future one is how far its high watermark is above its end: 0.
 */
import * as Effect from "effect/Effect";
import { Errors } from "../protocol/Errors.ts";
import type { DescribeLogDirsRequest } from "../protocol/generated/DescribeLogDirsRequest.ts";
import type { DescribeLogDirsResponse } from "../protocol/generated/DescribeLogDirsResponse.ts";
import { defineHandler } from "./Router.ts";

const wantedOf = ({ topics }: DescribeLogDirsRequest): Map<string, Set<number>> | null => {
  if (topics === null) return null;
  const wanted = new Map<string, Set<number>>();
  for (const { topic, partitions } of topics) {
    const indexes = wanted.get(topic) ?? new Set();
    for (const partition of partitions) indexes.add(partition);
    wanted.set(topic, indexes);
  }
  return wanted;
};

export const DescribeLogDirs = defineHandler<DescribeLogDirsRequest, DescribeLogDirsResponse>({
  apiKey: 35,
  minVersion: 1,
  maxVersion: 5,
  reads: true,
  handle: (request, { ports }) =>
    Effect.sync(() => ({
      throttleTimeMs: 0,
      errorCode: Errors.NONE,
      results: ports.replicas.describeLogDirs(wantedOf(request)).map(({ path, totalBytes, usableBytes, topics }) => ({
        errorCode: Errors.NONE,
        logDir: path,
        topics: topics.map(({ name, partitions }) => ({
          name,
          partitions: partitions.map(({ partition, size }) => ({
            partitionIndex: partition,
            partitionSize: size,
            offsetLag: 0,
            isFutureKey: false,
          })),
        })),
        totalBytes,
        usableBytes,
        isCordoned: false,
      })),
    })),
});
