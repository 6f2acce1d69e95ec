/**
 * Every handler there is. What must stay true: an API that is not in this list is not served, and ApiVersions advertises
 * exactly this list.
 */
import { Produce } from "./00-Produce.ts";
import { Fetch } from "./01-Fetch.ts";
import { ListOffsets } from "./02-ListOffsets.ts";
import { Metadata } from "./03-Metadata.ts";
import { FindCoordinator } from "./10-FindCoordinator.ts";
import { ApiVersions } from "./18-ApiVersions.ts";
import { CreateTopics } from "./19-CreateTopics.ts";
import { DeleteTopics } from "./20-DeleteTopics.ts";
import { DeleteRecords } from "./21-DeleteRecords.ts";
import { InitProducerId } from "./22-InitProducerId.ts";
import { OffsetForLeaderEpoch } from "./23-OffsetForLeaderEpoch.ts";
import { DescribeConfigs } from "./32-DescribeConfigs.ts";
import { DescribeLogDirs } from "./35-DescribeLogDirs.ts";
import { CreatePartitions } from "./37-CreatePartitions.ts";
import { DescribeCluster } from "./60-DescribeCluster.ts";
import { DescribeTopicPartitions } from "./75-DescribeTopicPartitions.ts";
import { HandlerTable } from "./Router.ts";

export const makeHandlers = (): HandlerTable =>
  new HandlerTable([
    Produce,
    Fetch,
    ListOffsets,
    Metadata,
    FindCoordinator,
    ApiVersions,
    CreateTopics,
    DeleteTopics,
    DeleteRecords,
    InitProducerId,
    OffsetForLeaderEpoch,
    DescribeConfigs,
    DescribeLogDirs,
    CreatePartitions,
    DescribeCluster,
    DescribeTopicPartitions,
  ]);
