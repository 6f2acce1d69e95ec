/**
 * What AlterConfigs and IncrementalAlterConfigs have in common: the checks the broker that is asked makes before the
 * controller decides (`ConfigAdminManager.preprocess`), and the answer in the order of the request.
 */
import * as Effect from "effect/Effect";
import { type ApiError, apiError } from "../metadata/ApiError.ts";
import { ConfigResourceType } from "../metadata/MetadataImage.ts";
import { Errors } from "../protocol/Errors.ts";

export interface RequestedResource {
  readonly resourceType: number;
  readonly resourceName: string;
  readonly configs: ReadonlyArray<{ readonly name: string; readonly value: string | null }>;
}

interface ResourceAnswer {
  errorCode: number;
  errorMessage: string | null;
  resourceType: number;
  resourceName: string;
}

/** The loggers' names of Kafka are those of its classes: none of them is here. */
const loggerProblem = ({ configs }: RequestedResource): ApiError | undefined => {
  const [first] = configs;
  return first === undefined ? undefined : apiError(Errors.INVALID_CONFIG, `Logger ${first.name} does not exist!`);
};

const keyOf = ({ resourceType, resourceName }: RequestedResource): string => `${resourceType}/${resourceName}`;

/**
 * Why each resource is refused before the controller is asked; undefined: it decides. `nullIsRefused` says whether a
 * null value is no value for this entry, `brokerProblem` what the settings of a broker (or of all: "") would break.
 */
export const refusals = <R extends RequestedResource>(
  resources: ReadonlyArray<R>,
  nodeId: number,
  nullIsRefused: (config: R["configs"][number]) => boolean,
  brokerProblem: (resource: R) => ApiError | undefined,
  loggers: boolean,
): Array<ApiError | undefined> => {
  const count = new Map<string, number>();
  for (const resource of resources) count.set(keyOf(resource), (count.get(keyOf(resource)) ?? 0) + 1);
  return resources.map((resource) => {
    const { configs, resourceType, resourceName } = resource;
    const refused = (message: string): ApiError => apiError(Errors.INVALID_REQUEST, message);
    if ((count.get(keyOf(resource)) ?? 0) > 1) return refused("Each resource must appear at most once.");
    if (new Set(configs.map(({ name }) => name)).size < configs.length) {
      return refused("Error due to duplicate config keys");
    }
    const nulls = configs.filter((config) => config.value === null && nullIsRefused(config));
    if (nulls.length > 0) {
      return refused(`Null value not supported for : ${nulls.map(({ name }) => name).join(", ")}`);
    }
    switch (resourceType) {
      case ConfigResourceType.TOPIC:
        return undefined;
      case ConfigResourceType.BROKER:
        return (resourceName === "" ? undefined : nodeIdProblem(resourceName, nodeId)) ?? brokerProblem(resource);
      case ConfigResourceType.BROKER_LOGGER:
        if (!loggers) break;
        return nodeIdProblem(resourceName, nodeId) ?? loggerProblem(resource);
      case ConfigResourceType.GROUP:
        return refused(
          resourceName === "" ? "Default group resources are not allowed." : "Groups have no configuration yet",
        );
      case ConfigResourceType.CLIENT_METRICS:
        return refused("Client metrics are not served yet");
    }
    return refused(`Unknown resource type ${resourceType}`);
  });
};

const nodeIdProblem = (name: string, nodeId: number): ApiError | undefined => {
  if (!/^[+-]?\d{1,10}$/.test(name)) {
    return apiError(Errors.INVALID_REQUEST, `Node id must be an integer, but it is: ${name}`);
  }
  if (Number(name) === nodeId) return undefined;
  return apiError(Errors.INVALID_REQUEST, `Unexpected broker id, expected ${nodeId}, but received ${name}`);
};

/** Asks the controller for what was not refused and answers every resource. */
export const answerEach = <R extends RequestedResource, E>(
  resources: ReadonlyArray<R>,
  refused: ReadonlyArray<ApiError | undefined>,
  decide: (rest: ReadonlyArray<R>) => Effect.Effect<ReadonlyArray<ApiError | undefined>, E>,
): Effect.Effect<ResourceAnswer[], E> => {
  const rest = resources.filter((_, index) => refused[index] === undefined);
  const decided = rest.length === 0 ? Effect.succeed([]) : decide(rest);
  return Effect.map(decided, (errors) => {
    let next = 0;
    return resources.map(({ resourceType, resourceName }, index): ResourceAnswer => {
      const error = refused[index] ?? errors[next++];
      return {
        errorCode: error?.code ?? Errors.NONE,
        errorMessage: error?.message ?? null,
        resourceType,
        resourceName,
      };
    });
  });
};
