/** Views of a real log for the handlers that read one: topic `t` of `oneBroker`'s cluster, partition 0. */
import type { PartitionView } from "../../src/partition/PartitionView.ts";
import { oneBroker } from "../metadata/Cluster.ts";
import { LogDriver } from "../support/LogDriver.ts";
import { Handling } from "./Handling.ts";

export interface ViewedLog {
  readonly driver: LogDriver;
  readonly handling: Handling;
}

/** Appends through `fill`, then shows the log as a view; `bounds` overrides what follows from the log. */
export const viewedLog = async (
  fill: (driver: LogDriver) => Promise<void>,
  bounds: Partial<PartitionView> = {},
): Promise<ViewedLog> => {
  const driver = await LogDriver.open();
  await fill(driver);
  const cluster = oneBroker();
  cluster.create({ name: "t", numPartitions: 2 });
  const topicId = cluster.image.topicsByName.get("t")?.id ?? "";
  const view: PartitionView = {
    topic: "t",
    topicId,
    partition: 0,
    leaderId: 1,
    leaderEpoch: driver.leaderEpoch,
    logStartOffset: 0,
    highWatermark: driver.end,
    lastStableOffset: driver.end,
    logEndOffset: driver.end,
    committedBytes: 0,
    log: driver.log,
    state: driver.state,
    ...bounds,
  };
  return { driver, handling: new Handling({ cluster, views: new Map([[`${topicId}-0`, view]]) }) };
};
