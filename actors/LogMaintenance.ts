/**
 * The log directory's housekeeping: checkpoint files, written when something was appended since the last time. What must
 * stay true: an idle broker writes nothing, and a checkpoint never holds a recovery point above what was flushed.
 */
import type { BrokerConfig } from "../src/config/BrokerConfig.ts";
import type { Clock } from "../src/platform/Clock.ts";
import type { LogDirectory } from "./LogDirectory.ts";
import type { Partition } from "./Partition.ts";

export interface LogMaintenanceEnvironment {
  readonly clock: Clock;
  readonly config: BrokerConfig;
  readonly directory: LogDirectory;
  readonly partitions: () => Iterable<Partition>;
  readonly log: (level: "info" | "warn" | "error", message: string) => void;
}

export class LogMaintenance {
  private cancel: (() => void) | undefined;
  private checkpointed = 0;

  constructor(private readonly environment: LogMaintenanceEnvironment) {
    this.arm();
  }

  stop(): void {
    this.cancel?.();
    this.cancel = undefined;
  }

  private arm(): void {
    const { clock, config } = this.environment;
    this.cancel = clock.after(config.number("log.flush.offset.checkpoint.interval.ms"), () => {
      this.checkpoint();
      this.arm();
    });
  }

  private checkpoint(): void {
    const { directory, partitions, log } = this.environment;
    const { rounds } = directory.flusherMetrics;
    if (rounds === this.checkpointed) return;
    this.checkpointed = rounds;
    try {
      directory.checkpoint(partitions());
    } catch (error) {
      // The old files stay: recovery starts earlier, nothing is lost.
      log("warn", `the checkpoints were not written: ${String(error)}`);
    }
  }
}
