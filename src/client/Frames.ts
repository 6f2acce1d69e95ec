/**
 * Frames as bytes: written by the gateway's own MessagePack writer, read by msgpackr without its evaluated readers, so
 * that a page whose policy forbids `eval` can run it. What must stay true: a frame is one map; byte fields of what was
 * read are views into the frame's bytes, never copies.
 */
import { Unpackr } from "msgpackr/unpack-no-eval";
import { MessagePackWriter, type Packable } from "../gateway/MessagePack.ts";
import type { ClientFrame, ServerFrame } from "../gateway/Messages.ts";
import { ProtocolError } from "../prelude/ProtocolError.ts";

/** Maps are objects, integers of 64 bits are numbers, no shared structures: every frame stands for itself. */
const unpackr = new Unpackr({ useRecords: false, mapsAsObjects: true, int64AsType: "number" });

/** What a frame takes beside the batch it may hold. */
const FRAME_BYTES = 256;

export const encodeFrame = (frame: ClientFrame): Uint8Array => {
  const batch = "batch" in frame ? frame.batch.length : 0;
  const writer = new MessagePackWriter(FRAME_BYTES + batch);
  writer.value(frame as unknown as Packable);
  return writer.finish();
};

/** Throws `ProtocolError` when the bytes are not one map with a type. */
export const decodeFrame = (bytes: Uint8Array): ServerFrame => {
  let frame: unknown;
  try {
    frame = unpackr.unpack(bytes);
  } catch (error) {
    throw new ProtocolError(`not a frame: ${error instanceof Error ? error.message : String(error)}`);
  }
  if (typeof frame !== "object" || frame === null || !("t" in frame) || typeof frame.t !== "string")
    throw new ProtocolError("not a frame: no map with a type");
  return frame as ServerFrame;
};
