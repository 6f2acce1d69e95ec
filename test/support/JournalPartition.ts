/** A coordinator's partition that takes appends when it is told to, as a mailbox does, and shows them as committed then. */
import type { AppendCommand } from "../../src/api/Ports.ts";
import { decide, type PartitionRole } from "../../src/partition/Partition.ts";
import type { PartitionView } from "../../src/partition/PartitionView.ts";
import { LogDriver } from "./LogDriver.ts";

const role: PartitionRole = { leaderEpoch: 0, isLeader: true, isrSize: 1, replicaCount: 1, minInSyncReplicas: 1 };

export class JournalPartition {
  readonly mailbox: AppendCommand[] = [];

  private constructor(private readonly driver: LogDriver) {}

  static async open(): Promise<JournalPartition> {
    return new JournalPartition(await LogDriver.open());
  }

  get end(): number {
    return this.driver.end;
  }

  readonly append = (command: AppendCommand): void => {
    this.mailbox.push(command);
  };

  readonly view = (): PartitionView => ({
    topic: "__consumer_offsets",
    topicId: "",
    partition: 0,
    leaderId: 1,
    leaderEpoch: 0,
    logStartOffset: 0,
    highWatermark: this.driver.end,
    lastStableOffset: this.driver.end,
    logEndOffset: this.driver.end,
    committedBytes: 0,
    log: this.driver.log,
    state: this.driver.state,
  });

  /** Takes one append from the mailbox, or refuses it because there are too few replicas. */
  async take(tooFewReplicas = false): Promise<void> {
    const { driver } = this;
    const { batch, acks, expectedOffset, settle } = this.mailbox.shift()!;
    const as = tooFewReplicas ? { ...role, replicaCount: 2, minInSyncReplicas: 2 } : role;
    const { event, reply } = decide(driver.state, as, { info: batch.info, acks, logAppendTime: -1, expectedOffset });
    if (event !== undefined) {
      driver.stage(batch.bytes);
      await driver.log.write();
    }
    settle(reply);
  }
}
