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
/** Kafka's own text of INVALID_REQUEST, where the request as a whole is refused. */
export const MALFORMED_REQUEST: ApiError = apiError(
  Errors.INVALID_REQUEST,
  "This most likely occurs because of a request being malformed by the client library or the message was sent to an incompatible broker. See the broker logs for more details.",
);
