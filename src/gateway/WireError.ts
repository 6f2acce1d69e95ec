/** Kafka's error codes as the gateway says them: code, name, a line for people, and whether to try again. */
import { Errors, errorOf } from "../protocol/Errors.ts";
import type { WireError } from "./Messages.ts";

/** `message` is Kafka's own where it has one; `retriable` is Kafka's unless the place knows better. */
export const wireError = (code: number, message?: string | null, retriable?: boolean): WireError => {
  const known = errorOf(code);
  return {
    code: known.code,
    name: known.name,
    message: message == null || message === "" ? known.message : message,
    retriable: retriable ?? known.retriable,
  };
};

/** A request that is wrong in itself: INVALID_REQUEST with a line that says where. */
export const invalidRequest = (message: string): WireError => wireError(Errors.INVALID_REQUEST, message);
