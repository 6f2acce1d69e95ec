/**
 * How Kafka's own topics are made: partitions, replication and overrides from the broker's configuration
 * (`AutoTopicCreationManager.creatableTopic`). Every other topic gets the broker's defaults.
 */
import type { BrokerConfig } from "../config/BrokerConfig.ts";
import type { CreateTopicsRequest } from "../protocol/generated/CreateTopicsRequest.ts";
import { GROUP_METADATA_TOPIC, SHARE_GROUP_STATE_TOPIC, TRANSACTION_STATE_TOPIC } from "./TopicName.ts";

type CreatableTopic = CreateTopicsRequest["topics"][number];

/** The request that makes `name`: an internal topic with its overrides, any other with the broker's defaults. */
export const creatableTopic = (name: string, config: BrokerConfig): CreatableTopic => {
  switch (name) {
    case GROUP_METADATA_TOPIC:
      return creatable(
        name,
        config.number("offsets.topic.num.partitions"),
        config.number("offsets.topic.replication.factor"),
        {
          "cleanup.policy": "compact",
          "compression.type": "producer",
          "segment.bytes": String(config.number("offsets.topic.segment.bytes")),
        },
      );
    case TRANSACTION_STATE_TOPIC:
      return creatable(
        name,
        config.number("transaction.state.log.num.partitions"),
        config.number("transaction.state.log.replication.factor"),
        {
          "unclean.leader.election.enable": "false",
          "compression.type": "uncompressed",
          "cleanup.policy": "compact",
          "min.insync.replicas": String(config.number("transaction.state.log.min.isr")),
          "segment.bytes": String(config.number("transaction.state.log.segment.bytes")),
        },
      );
    case SHARE_GROUP_STATE_TOPIC:
      return creatable(
        name,
        config.number("share.coordinator.state.topic.num.partitions"),
        config.number("share.coordinator.state.topic.replication.factor"),
        {
          "cleanup.policy": "delete",
          "compression.type": "producer",
          "min.insync.replicas": String(config.number("share.coordinator.state.topic.min.isr")),
          "segment.bytes": String(config.number("share.coordinator.state.topic.segment.bytes")),
          "retention.ms": "-1",
        },
      );
    default:
      return creatable(name, -1, -1, {});
  }
};

const creatable = (
  name: string,
  numPartitions: number,
  replicationFactor: number,
  overrides: Readonly<Record<string, string>>,
): CreatableTopic => ({
  name,
  numPartitions,
  replicationFactor,
  assignments: [],
  configs: Object.entries(overrides).map(([key, value]) => ({ name: key, value })),
});
