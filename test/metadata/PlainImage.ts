/** An image as plain sorted data: what two equal images agree on. */
import { type MetadataImage, topicNames } from "../../src/metadata/MetadataImage.ts";

const byKey = ([a]: readonly [string, unknown], [b]: readonly [string, unknown]) => (a < b ? -1 : 1);

export const plain = (image: MetadataImage) => ({
  ...image,
  features: [...image.features].sort(byKey),
  brokers: [...image.brokers]
    .sort(([a], [b]) => a - b)
    .map(([id, broker]) => [
      id,
      { ...broker, features: [...broker.features].sort((a, b) => byKey([a.name, 0], [b.name, 0])) },
    ]),
  topicsByName: topicNames(image).map((name) => image.topicsByName.get(name)),
  topicsById: [...image.topicsById.entries()].sort(byKey),
  collisions: [...image.collisions.entries()].map(([form, names]) => [form, [...names].sort()] as const).sort(byKey),
  configs: [...image.configs.entries()]
    .map(([key, overrides]) => [key, [...overrides].sort(byKey)] as const)
    .sort(byKey),
});
