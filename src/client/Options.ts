/**
 * What an application says, checked where it says it. What must stay true: a refusal is a `ClientError` of one line that
 * names the option, what is allowed and what was given; plain JavaScript can give anything.
 */
import { ClientError } from "./ClientError.ts";

/** The longest time a timer of every runtime takes, in milliseconds; also the largest partition. */
const INT32_MAX = 0x7fff_ffff;
const MAX_TOPIC_NAME = 249;

const shown = (value: unknown): string => {
  const text = typeof value === "object" && value !== null ? Object.prototype.toString.call(value) : String(value);
  return text.length > 64 ? `${text.slice(0, 64)}…` : text;
};

export const refuse = (name: string, expected: string, value: unknown): never => {
  throw new ClientError(`${name}: expected ${expected}, got ${shown(value)}`);
};

/** An integer within the range, both ends included; one that is left out is as good. */
export const whole = (name: string, value: unknown, min: number, max = INT32_MAX): void => {
  if (value === undefined) return;
  if (!Number.isSafeInteger(value) || (value as number) < min || (value as number) > max)
    refuse(name, `an integer of ${min} … ${max}`, value);
};

/** One of the values, or left out. */
export const among = (name: string, value: unknown, ...allowed: ReadonlyArray<string | number>): void => {
  if (value === undefined || allowed.includes(value as string)) return;
  const listed = `${allowed.slice(0, -1).join(", ")} or ${allowed.at(-1)}`;
  refuse(name, listed, value);
};

export const topicName = (value: unknown): void => {
  if (typeof value !== "string" || value.length === 0 || value.length > MAX_TOPIC_NAME)
    refuse("topic", `a string of 1 … ${MAX_TOPIC_NAME} characters`, value);
};
