/**
 * What of a KIP-848 group is not journaled. What must stay true: losing it costs a second look at the metadata and
 * another resolution of its regular expressions, never an answer.
 */
import type { MetadataImage } from "../metadata/MetadataImage.ts";

export interface ConsumerGroupVolatile {
  readonly kind: "consumer";
  readonly groupId: string;
  /** The metadata against which `metadataHash` was last found to be right, if any. */
  readonly checked: CheckedMetadata | undefined;
  /** A resolution of the group's regular expressions is under way. */
  readonly resolving: boolean;
  /** The topic names its regular expressions were last resolved against. */
  readonly resolvedNames: ReadonlyArray<string> | undefined;
  /** Classic members that have been told to join again and have not. */
  readonly mustJoin: ReadonlySet<string>;
}

/** By identity: an image's parts are replaced when they change. */
export interface CheckedMetadata {
  readonly topics: MetadataImage["topicsByName"];
  readonly brokers: MetadataImage["brokers"];
  readonly groupEpoch: number;
}

/** The group's hash has been found right for its epoch. */
export const checkedFor = ({ topicsByName, brokers }: MetadataImage, groupEpoch: number): CheckedMetadata => ({
  topics: topicsByName,
  brokers,
  groupEpoch,
});

export const newVolatile = (groupId: string): ConsumerGroupVolatile => ({
  kind: "consumer",
  groupId,
  checked: undefined,
  resolving: false,
  resolvedNames: undefined,
  mustJoin: new Set(),
});
