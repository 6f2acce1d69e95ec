/**
 * DescribeCluster (key 60), versions 0–2: the brokers and the cluster's id.
 *
 * - v1+: the endpoint type asked for; controllers (2) are MISMATCHED_ENDPOINT_TYPE on a broker's listener.
 * - v2+: fenced brokers on request.
 */
import * as Effect from "effect/Effect";
import type { MetadataImage } from "../metadata/MetadataImage.ts";
import { Errors } from "../protocol/Errors.ts";
import type { DescribeClusterRequest } from "../protocol/generated/DescribeClusterRequest.ts";
import type { DescribeClusterResponse } from "../protocol/generated/DescribeClusterResponse.ts";
import { ALL_CLUSTER_OPERATIONS, OPERATIONS_OMITTED } from "./AuthorizedOperations.ts";
import { defineHandler } from "./Router.ts";
import { aliveNodes, controllerIdOf, nodeOf, type Viewer, viewerOf } from "./Viewer.ts";

/** Kafka's `EndpointType`. */
const EndpointType = { BROKER: 1, CONTROLLER: 2 } as const;

const refusal = (errorCode: number, errorMessage: string): DescribeClusterResponse => ({
  throttleTimeMs: 0,
  errorCode,
  errorMessage,
  endpointType: EndpointType.BROKER,
  clusterId: "",
  controllerId: -1,
  brokers: [],
  clusterAuthorizedOperations: OPERATIONS_OMITTED,
});

export const describeClusterResponse = (
  request: DescribeClusterRequest,
  image: MetadataImage,
  viewer: Viewer,
): DescribeClusterResponse => {
  if (request.endpointType === EndpointType.CONTROLLER) {
    const message = "The request was sent to an endpoint of type BROKER, but we wanted an endpoint of type CONTROLLER";
    return refusal(Errors.MISMATCHED_ENDPOINT_TYPE, message);
  }
  if (request.endpointType !== EndpointType.BROKER) {
    return refusal(Errors.UNSUPPORTED_ENDPOINT_TYPE, `Unsupported endpoint type ${request.endpointType}`);
  }
  const alive = aliveNodes(image, viewer);
  return {
    throttleTimeMs: 0,
    errorCode: Errors.NONE,
    errorMessage: null,
    endpointType: EndpointType.BROKER,
    clusterId: image.clusterId,
    controllerId: controllerIdOf(alive, viewer),
    brokers: (request.includeFencedBrokers ? allNodes(image, viewer) : alive).map(
      ({ id, host, port, rack, fenced }) => ({ brokerId: id, host, port, rack, isFenced: fenced }),
    ),
    clusterAuthorizedOperations: request.includeClusterAuthorizedOperations
      ? ALL_CLUSTER_OPERATIONS
      : OPERATIONS_OMITTED,
  };
};

const allNodes = (image: MetadataImage, viewer: Viewer) =>
  [...image.brokers.values()]
    .map((broker) => nodeOf(broker, viewer))
    .filter((node) => node !== undefined)
    .sort((a, b) => a.id - b.id);

export const DescribeCluster = defineHandler<DescribeClusterRequest, DescribeClusterResponse>({
  apiKey: 60,
  minVersion: 0,
  maxVersion: 2,
  reads: true,
  handle: (request, context) =>
    Effect.sync(() => describeClusterResponse(request, context.ports.metadata.image(), viewerOf(context))),
});
