/**
 * An immutable map by string, split into shards so that a changed copy costs one shard and not the whole: the metadata
 * image changes once per append, also with a hundred thousand topics in it. What must stay true: a finished map never
 * changes, and its order depends on its keys and history only, never on chance.
 */

const SHARDS = 256;

const shardOf = (key: string): number => {
  let hash = 0x811c9dc5;
  for (let at = 0; at < key.length; at++) hash = Math.imul(hash ^ key.charCodeAt(at), 0x01000193);
  return (hash ^ (hash >>> 8) ^ (hash >>> 16) ^ (hash >>> 24)) & (SHARDS - 1);
};

type Shards<V> = ReadonlyArray<ReadonlyMap<string, V> | undefined>;

export class ShardedMap<V> {
  private constructor(
    private readonly shards: Shards<V>,
    /** Number of entries. */
    readonly size: number,
  ) {}

  static empty<V>(): ShardedMap<V> {
    return new ShardedMap<V>(new Array(SHARDS).fill(undefined), 0);
  }

  get(key: string): V | undefined {
    return this.shards[shardOf(key)]?.get(key);
  }

  has(key: string): boolean {
    return this.shards[shardOf(key)]?.has(key) ?? false;
  }

  *entries(): IterableIterator<[string, V]> {
    for (const shard of this.shards) if (shard !== undefined) yield* shard;
  }

  *values(): IterableIterator<V> {
    for (const shard of this.shards) if (shard !== undefined) yield* shard.values();
  }

  *keys(): IterableIterator<string> {
    for (const shard of this.shards) if (shard !== undefined) yield* shard.keys();
  }

  /** Begins a changed copy; this map stays as it is. */
  edit(): ShardedMapEditor<V> {
    return new ShardedMapEditor(this.shards, this.size, (shards, size) => new ShardedMap(shards, size));
  }
}

/** A copy being made: each shard is copied when it is first written to. Not to be used after `finish`. */
export class ShardedMapEditor<V> {
  private readonly shards: Array<ReadonlyMap<string, V> | undefined>;
  private readonly owned: Array<Map<string, V> | undefined> = [];

  constructor(
    shards: Shards<V>,
    private size: number,
    private readonly build: (shards: Shards<V>, size: number) => ShardedMap<V>,
  ) {
    this.shards = shards.slice();
  }

  get(key: string): V | undefined {
    return this.shards[shardOf(key)]?.get(key);
  }

  set(key: string, value: V): void {
    const shard = this.own(shardOf(key));
    if (!shard.has(key)) this.size += 1;
    shard.set(key, value);
  }

  delete(key: string): void {
    const at = shardOf(key);
    if (this.shards[at]?.has(key) !== true) return;
    const shard = this.own(at);
    shard.delete(key);
    this.size -= 1;
    if (shard.size === 0) {
      this.shards[at] = undefined;
      this.owned[at] = undefined;
    }
  }

  finish(): ShardedMap<V> {
    return this.build(this.shards, this.size);
  }

  private own(at: number): Map<string, V> {
    const owned = this.owned[at];
    if (owned !== undefined) return owned;
    const copy = new Map(this.shards[at]);
    this.owned[at] = copy;
    this.shards[at] = copy;
    return copy;
  }
}
