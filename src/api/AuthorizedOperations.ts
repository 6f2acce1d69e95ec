/**
 * The bit fields of KIP-430: which operations the asking principal may do, bit n for Kafka's `AclOperation` n. Without
 * an authorizer everything a resource knows is allowed.
 */

/** Not asked for, or not known. */
export const OPERATIONS_OMITTED = -2147483648;
/** Read, Write, Create, Delete, Alter, Describe, DescribeConfigs, AlterConfigs. */
export const ALL_TOPIC_OPERATIONS = 0b1101_1111_1000;
/** Create, Alter, Describe, ClusterAction, DescribeConfigs, AlterConfigs, IdempotentWrite. */
export const ALL_CLUSTER_OPERATIONS = 0b1_1111_1010_0000;
/** Read, Delete, Describe, DescribeConfigs, AlterConfigs. */
export const ALL_GROUP_OPERATIONS = 0b1101_0100_1000;
