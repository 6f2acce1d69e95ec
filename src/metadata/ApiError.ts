/** An error code with the text that goes with it on the wire; `null` where Kafka sends none. */
import { Errors } from "../protocol/Errors.ts";

export interface ApiError {
  readonly code: number;
  readonly message: string | null;
}

export const apiError = (code: number, message: string | null = null): ApiError => ({ code, message });

/** What Kafka answers when the controller names no reason of its own. */
export const UNKNOWN_TOPIC: ApiError = apiError(
  Errors.UNKNOWN_TOPIC_OR_PARTITION,
  "This server does not host this topic-partition.",
);
export const UNKNOWN_TOPIC_ID: ApiError = apiError(Errors.UNKNOWN_TOPIC_ID, "This server does not host this topic ID.");
