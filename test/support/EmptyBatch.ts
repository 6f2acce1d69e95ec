/** A batch as compaction leaves it when only its place is still needed: the header alone. */

import { HEADER_SIZE, LENGTH_AT, LOG_OVERHEAD, RECORD_COUNT_AT, updateCrc } from "../../src/record/RecordBatch.ts";
import { writeInt32 } from "../../src/record/Wire.ts";

export const emptied = (batch: Uint8Array): Uint8Array => {
  const header = batch.slice(0, HEADER_SIZE);
  writeInt32(header, LENGTH_AT, HEADER_SIZE - LOG_OVERHEAD);
  writeInt32(header, RECORD_COUNT_AT, 0);
  updateCrc(header, 0);
  return header;
};
