/**
 * Chooses the brokers of new partitions: replicas spread over racks, leaders spread over brokers, fenced brokers only
 * when nothing else is left and never as leader (Kafka's `StripedReplicaPlacer`). Pure: the seed comes with the
 * command, so that a replayed decision is the same decision.
 */

export interface PlacementBroker {
  readonly id: number;
  readonly rack: string | null;
  readonly fenced: boolean;
}

/** Answers an integer, `0 ≤ result < bound`. */
export type Below = (bound: number) => number;

/** A small deterministic source of choices for one decision (mulberry32). */
export const seededBelow = (seed: number): Below => {
  let state = seed | 0;
  return (bound) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 0x1_0000_0000) * bound);
  };
};

interface Rack {
  readonly unfenced: number[];
  readonly fenced: number[];
}

/** Why `replicationFactor` replicas cannot be placed, or null when they can. */
export const placementProblem = (brokers: ReadonlyArray<PlacementBroker>, replicationFactor: number): string | null => {
  if (brokers.every((broker) => broker.fenced)) {
    return "All brokers are currently fenced, or have all their log directories cordoned.";
  }
  if (replicationFactor > brokers.length) {
    return `The target replication factor of ${replicationFactor} cannot be reached because only ${brokers.length} broker(s) are registered or some brokers have all their log directories cordoned.`;
  }
  return null;
};

/** The replicas of each of `partitions` new partitions, the leader first. Call `placementProblem` before. */
export const placeReplicas = (
  brokers: ReadonlyArray<PlacementBroker>,
  partitions: number,
  replicationFactor: number,
  below: Below,
): number[][] => {
  const racks = racksOf(brokers);
  const unfenced = brokers.reduce((count, broker) => count + (broker.fenced ? 0 : 1), 0);
  const firstRack = below(racks.length);
  const placements: number[][] = [];
  for (let partition = 0; partition < partitions; partition++) {
    // Once every broker has led, new lists, so that the same brokers do not stay together for ever.
    if (partition % unfenced === 0) for (const rack of racks) shuffleRack(rack, below);
    placements.push(placeOne(racks, firstRack + partition, Math.floor(partition / racks.length), replicationFactor));
  }
  return placements;
};

const racksOf = (brokers: ReadonlyArray<PlacementBroker>): Rack[] => {
  const byName = new Map<string, Rack>();
  const sorted = [...brokers].sort((a, b) => a.id - b.id);
  for (const { id, rack: name, fenced } of sorted) {
    const key = name ?? "";
    let rack = byName.get(key);
    if (rack === undefined) {
      rack = { unfenced: [], fenced: [] };
      byName.set(key, rack);
    }
    (fenced ? rack.fenced : rack.unfenced).push(id);
  }
  return [...byName.keys()].sort().map((name) => byName.get(name) as Rack);
};

const shuffleRack = (rack: Rack, below: Below): void => {
  shuffle(rack.unfenced, below);
  shuffle(rack.fenced, below);
};

const shuffle = (list: number[], below: Below): void => {
  for (let at = list.length - 1; at > 0; at--) {
    const other = below(at + 1);
    const kept = list[at] as number;
    list[at] = list[other] as number;
    list[other] = kept;
  }
};

const placeOne = (racks: ReadonlyArray<Rack>, start: number, stripe: number, replicationFactor: number): number[] => {
  const taken = new Array<number>(racks.length).fill(0);
  const take = (at: number): number | undefined => {
    const { unfenced, fenced } = racks[at] as Rack;
    const index = taken[at] as number;
    if (index >= unfenced.length + fenced.length) return undefined;
    taken[at] = index + 1;
    return index < unfenced.length
      ? unfenced[(index + stripe) % unfenced.length]
      : fenced[(index - unfenced.length + stripe) % fenced.length];
  };
  let at = start % racks.length;
  while ((racks[at] as Rack).unfenced.length === 0) at = (at + 1) % racks.length;
  const replicas: number[] = [];
  while (replicas.length < replicationFactor) {
    const broker = take(at);
    if (broker !== undefined) replicas.push(broker);
    at = (at + 1) % racks.length;
  }
  return replicas;
};
