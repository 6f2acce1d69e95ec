/**
 * A broker's configuration as the image says it is: what it was started with, under what was set at run time for it and
 * for all brokers. Made anew only when one of those sets changed, so that asking costs two look-ups.
 */
import type { BrokerConfig } from "../config/BrokerConfig.ts";
import { type ConfigOverrides, ConfigResourceType, configOverrides, type MetadataImage } from "./MetadataImage.ts";

export class EffectiveConfig {
  private own: ConfigOverrides | undefined;
  private all: ConfigOverrides | undefined;
  private current: BrokerConfig;

  constructor(
    private readonly started: BrokerConfig,
    private readonly nodeId: number,
  ) {
    this.current = started;
  }

  of(image: MetadataImage): BrokerConfig {
    const own = configOverrides(image, ConfigResourceType.BROKER, String(this.nodeId));
    const all = configOverrides(image, ConfigResourceType.BROKER, "");
    if (own !== this.own || all !== this.all) {
      this.own = own;
      this.all = all;
      this.current = this.started.withDynamic(own, all);
    }
    return this.current;
  }
}
