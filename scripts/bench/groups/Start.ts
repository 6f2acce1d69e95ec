/** How long a broker takes from its start to its first ApiVersions answer. */
import type { MeasureGroup } from "../Measures.ts";

export const start: MeasureGroup = {
  name: "start",
  measures: { start: { name: "start to first ApiVersions answer", unit: "ms", better: "less" } },
  floors: [{ text: "start: at most 1/8", measure: "start", atLeast: 8 }],
  async measure({ broker, add }) {
    add("start", broker.startMs);
  },
};
