/** What a client throws when a broker refuses: Kafka's code, and in the message its name and what was asked. */
import { errorName } from "../../src/protocol/Errors.ts";

/** A broker's refusal. */
export class KafkaError extends Error {
  override readonly name = "KafkaError";
  constructor(
    readonly code: number,
    what: string,
    detail: string | null = null,
  ) {
    super(`${what}: ${errorName(code)}${detail === null ? "" : ` (${detail})`}`);
  }
}
