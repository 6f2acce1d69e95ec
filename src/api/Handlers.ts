/**
 * Every handler there is. What must stay true: an API that is not in this list is not served, and ApiVersions advertises
 * exactly this list.
 */
import { Produce } from "./00-Produce.ts";
import { Fetch } from "./01-Fetch.ts";
import { ListOffsets } from "./02-ListOffsets.ts";
import { Metadata } from "./03-Metadata.ts";
import { OffsetCommit } from "./08-OffsetCommit.ts";
import { OffsetFetch } from "./09-OffsetFetch.ts";
import { FindCoordinator } from "./10-FindCoordinator.ts";
import { JoinGroup } from "./11-JoinGroup.ts";
import { Heartbeat } from "./12-Heartbeat.ts";
import { LeaveGroup } from "./13-LeaveGroup.ts";
import { SyncGroup } from "./14-SyncGroup.ts";
import { DescribeGroups } from "./15-DescribeGroups.ts";
import { ListGroups } from "./16-ListGroups.ts";
import { ApiVersions } from "./18-ApiVersions.ts";
import { CreateTopics } from "./19-CreateTopics.ts";
import { DeleteTopics } from "./20-DeleteTopics.ts";
import { DeleteRecords } from "./21-DeleteRecords.ts";
import { InitProducerId } from "./22-InitProducerId.ts";
import { OffsetForLeaderEpoch } from "./23-OffsetForLeaderEpoch.ts";
import { AddPartitionsToTxn } from "./24-AddPartitionsToTxn.ts";
import { AddOffsetsToTxn } from "./25-AddOffsetsToTxn.ts";
import { EndTxn } from "./26-EndTxn.ts";
import { WriteTxnMarkers } from "./27-WriteTxnMarkers.ts";
import { TxnOffsetCommit } from "./28-TxnOffsetCommit.ts";
import { DescribeConfigs } from "./32-DescribeConfigs.ts";
import { AlterConfigs } from "./33-AlterConfigs.ts";
import { DescribeLogDirs } from "./35-DescribeLogDirs.ts";
import { CreatePartitions } from "./37-CreatePartitions.ts";
import { DeleteGroups } from "./42-DeleteGroups.ts";
import { IncrementalAlterConfigs } from "./44-IncrementalAlterConfigs.ts";
import { OffsetDelete } from "./47-OffsetDelete.ts";
import { DescribeCluster } from "./60-DescribeCluster.ts";
import { DescribeProducers } from "./61-DescribeProducers.ts";
import { DescribeTransactions } from "./65-DescribeTransactions.ts";
import { ListTransactions } from "./66-ListTransactions.ts";
import { ConsumerGroupHeartbeat } from "./68-ConsumerGroupHeartbeat.ts";
import { ConsumerGroupDescribe } from "./69-ConsumerGroupDescribe.ts";
import { ListConfigResources } from "./74-ListConfigResources.ts";
import { DescribeTopicPartitions } from "./75-DescribeTopicPartitions.ts";
import { HandlerTable } from "./Router.ts";

export const makeHandlers = (): HandlerTable =>
  new HandlerTable([
    Produce,
    Fetch,
    ListOffsets,
    Metadata,
    OffsetCommit,
    OffsetFetch,
    FindCoordinator,
    JoinGroup,
    Heartbeat,
    LeaveGroup,
    SyncGroup,
    DescribeGroups,
    ListGroups,
    ApiVersions,
    CreateTopics,
    DeleteTopics,
    DeleteRecords,
    InitProducerId,
    OffsetForLeaderEpoch,
    DescribeConfigs,
    AlterConfigs,
    DescribeLogDirs,
    CreatePartitions,
    DeleteGroups,
    IncrementalAlterConfigs,
    OffsetDelete,
    DescribeCluster,
    ConsumerGroupHeartbeat,
    ConsumerGroupDescribe,
    ListConfigResources,
    AddPartitionsToTxn,
    AddOffsetsToTxn,
    EndTxn,
    WriteTxnMarkers,
    TxnOffsetCommit,
    DescribeProducers,
    DescribeTransactions,
    ListTransactions,
    DescribeTopicPartitions,
  ]);
