/** What the broker's configuration means for the controller's decisions. */
import type { BrokerConfig } from "../config/BrokerConfig.ts";
import { describeTopicConfigs } from "../config/DescribeConfigs.ts";
import { TopicConfig, validateTopicConfigs } from "../config/TopicConfig.ts";
import type { ControllerRules } from "./Controller.ts";
import type { CreatedTopicConfig } from "./TopicControl.ts";

export const controllerRules = (config: BrokerConfig): ControllerRules => ({
  defaultNumPartitions: config.number("num.partitions"),
  defaultReplicationFactor: config.number("default.replication.factor"),
  minInSyncReplicas: config.number("min.insync.replicas"),
  invalidTopicConfig: (overrides) => validateTopicConfigs(config, overrides) ?? null,
  describeTopicConfig: (overrides) => {
    const rows: CreatedTopicConfig[] = describeTopicConfigs(TopicConfig.of(config, overrides)).map((row) => ({
      name: row.name,
      // Kafka answers what it was given, blanks included.
      value: overrides.get(row.name) ?? row.value,
      readOnly: row.readOnly,
      configSource: row.source,
      isSensitive: row.sensitive,
    }));
    return rows.sort((a, b) => (a.name < b.name ? -1 : 1));
  },
});
