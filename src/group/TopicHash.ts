/**
 * A number for what a group subscribes to: it differs when a subscribed topic appears, goes, is made anew, gets
 * partitions or other racks, and the group then needs a new assignment (KIP-1101). It has 53 bits, because it travels
 * as a number; Kafka's own hash (XXH3, 64 bits) of the same topics is another, so that a group which moves between
 * Kafka and here is assigned once more. What must stay true: it depends on the image only, never on its history.
 */
import type { BrokerRegistration, MetadataImage, TopicImage } from "../metadata/MetadataImage.ts";

/** Two lanes of 32 bits, each multiplied with its own odd constant. */
class Hash53 {
  private high = 0x9e3779b1;
  private low = 0x85ebca77;

  int(value: number): void {
    this.high = Math.imul(this.high ^ value, 0x85ebca6b);
    this.high ^= this.high >>> 15;
    this.low = Math.imul(this.low ^ value, 0xc2b2ae35);
    this.low ^= this.low >>> 13;
  }

  text(value: string): void {
    this.int(value.length);
    for (let at = 0; at < value.length; at++) this.int(value.charCodeAt(at));
  }

  number(value: number): void {
    this.int(value % 0x100000000);
    this.int(Math.floor(value / 0x100000000));
  }

  /** 0 … 2^53 − 1. */
  result(): number {
    this.int(0);
    return (this.high & 0x1fffff) * 0x100000000 + (this.low >>> 0);
  }
}

type Brokers = ReadonlyMap<number, BrokerRegistration>;

/** A topic's image never changes, so its hash is made once per set of brokers. */
const hashes = new WeakMap<TopicImage, { readonly brokers: Brokers; readonly hash: number }>();

const topicHash = (topic: TopicImage, brokers: Brokers): number => {
  const known = hashes.get(topic);
  if (known?.brokers === brokers) return known.hash;
  const hash = new Hash53();
  hash.text(topic.id);
  hash.text(topic.name);
  hash.int(topic.partitions.length);
  for (const { replicas } of topic.partitions) {
    const racks = replicas.map((id) => brokers.get(id)?.rack ?? null).filter((rack) => rack !== null);
    for (const rack of racks.sort()) hash.text(rack);
    hash.int(racks.length);
  }
  const result = hash.result();
  hashes.set(topic, { brokers, hash: result });
  return result;
};

/** Of those topics that exist; 0 when there is none. */
export const metadataHash = (topics: Iterable<string>, image: MetadataImage): number => {
  const hash = new Hash53();
  let any = false;
  for (const name of [...topics].sort()) {
    const topic = image.topicsByName.get(name);
    if (topic === undefined) continue;
    any = true;
    hash.number(topicHash(topic, image.brokers));
  }
  return any ? hash.result() : 0;
};
