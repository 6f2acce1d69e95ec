/**
 * ApiVersions (key 18), versions 0–4: what this broker serves, derived from the handler table.
 *
 * - v0: no throttle time. v1–2: with it. v3+: flexible body under a response header that stays v0; software name and
 *   version of the client, which must look like ones (else INVALID_REQUEST in the request's own version).
 * - v3 leaves out supported features whose lowest level is 0; v4 lists all.
 * - Any other version, also a negative one: answered in v0's schema with UNSUPPORTED_VERSION and key 18's range only,
 *   by whoever reads headers (`unsupportedApiVersionsResponse`); the connection stays open (KIP-511).
 */
import * as Effect from "effect/Effect";
import {
  GROUP_VERSION_FEATURE,
  LATEST_GROUP_VERSION,
  LATEST_METADATA_VERSION,
  LATEST_TRANSACTION_VERSION,
  METADATA_VERSION_FEATURE,
  type MetadataImage,
  MIN_METADATA_VERSION,
  TRANSACTION_VERSION_FEATURE,
} from "../metadata/MetadataImage.ts";
import { Errors } from "../protocol/Errors.ts";
import type { ApiVersionsRequest } from "../protocol/generated/ApiVersionsRequest.ts";
import type { ApiVersionsResponse } from "../protocol/generated/ApiVersionsResponse.ts";
import { defineHandler, type HandlerTable } from "./Router.ts";

const API_KEY = 18;

/** A feature and its levels, both inclusive. Only what works is in here: clients act on it (protocol.md #9). */
export interface SupportedFeature {
  readonly name: string;
  readonly minVersion: number;
  readonly maxVersion: number;
}

export const SUPPORTED_FEATURES: ReadonlyArray<SupportedFeature> = [
  { name: METADATA_VERSION_FEATURE, minVersion: MIN_METADATA_VERSION, maxVersion: LATEST_METADATA_VERSION },
  { name: GROUP_VERSION_FEATURE, minVersion: 0, maxVersion: LATEST_GROUP_VERSION },
  { name: TRANSACTION_VERSION_FEATURE, minVersion: 0, maxVersion: LATEST_TRANSACTION_VERSION },
];

const SOFTWARE = /^[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?$/;

/** Whether a client's software name or version is one (KIP-511). */
export const isSoftwareName = (text: string): boolean => SOFTWARE.test(text);

const withoutKeys = (errorCode: number): ApiVersionsResponse => ({
  errorCode,
  apiKeys: [],
  throttleTimeMs: 0,
  supportedFeatures: [],
  finalizedFeaturesEpoch: -1,
  finalizedFeatures: [],
  zkMigrationReady: false,
});

/** The answer to an ApiVersions request of a version that is not served, to be encoded in version 0. */
export const unsupportedApiVersionsResponse = (handlers: HandlerTable): ApiVersionsResponse => ({
  ...withoutKeys(Errors.UNSUPPORTED_VERSION),
  apiKeys: advertised(handlers).filter((range) => range.apiKey === API_KEY),
});

/** Every API served, by key, with the range clients are told. */
const advertised = (handlers: HandlerTable): ApiVersionsResponse["apiKeys"] =>
  handlers.all().map((handler) => ({
    apiKey: handler.apiKey,
    minVersion: handler.advertisedMinVersion ?? handler.minVersion,
    maxVersion: handler.maxVersion,
  }));

export const apiVersionsResponse = (
  request: ApiVersionsRequest,
  version: number,
  handlers: HandlerTable,
  image: MetadataImage,
  features: ReadonlyArray<SupportedFeature> = SUPPORTED_FEATURES,
): ApiVersionsResponse => {
  if (version >= 3 && !(isSoftwareName(request.clientSoftwareName) && isSoftwareName(request.clientSoftwareVersion))) {
    return withoutKeys(Errors.INVALID_REQUEST);
  }
  return {
    errorCode: Errors.NONE,
    apiKeys: advertised(handlers),
    throttleTimeMs: 0,
    supportedFeatures: features
      .filter((feature) => version >= 4 || feature.minVersion > 0)
      .map(({ name, minVersion, maxVersion }) => ({ name, minVersion, maxVersion })),
    // Never negative and never back: it is the offset of the image.
    finalizedFeaturesEpoch: Math.max(0, image.provenance.lastContainedOffset),
    finalizedFeatures: [...image.features].map(([name, level]) => ({
      name,
      maxVersionLevel: level,
      minVersionLevel: level,
    })),
    zkMigrationReady: false,
  };
};

export const ApiVersions = defineHandler<ApiVersionsRequest, ApiVersionsResponse>({
  apiKey: API_KEY,
  minVersion: 0,
  maxVersion: 4,
  handle: (request, { version, ports, connection }) =>
    Effect.sync(() => {
      const response = apiVersionsResponse(request, version, ports.handlers, ports.metadata.image());
      if (version >= 3 && response.errorCode === Errors.NONE) {
        connection.software = { name: request.clientSoftwareName, version: request.clientSoftwareVersion };
      }
      return response;
    }),
});
