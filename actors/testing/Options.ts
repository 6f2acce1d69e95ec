/**
 * What the options of `testBroker` and `simulate` may look like, asked of what a test really gave: JavaScript and casts give
 * anything, and an option with a slip in its name must not be one that silently was not there. It owns no option. What
 * must stay true: every refusal is one line with what was wrong, where, and what is allowed.
 */
import type { TestTopic } from "./TestBroker.ts";

/** Throws unless it is an object with no other names than these. */
export const checkNames = (where: string, given: unknown, allowed: Readonly<Record<string, true>>): void => {
  const names = Object.keys(allowed).join(", ");
  if (typeof given !== "object" || given === null || Array.isArray(given)) {
    throw new TypeError(`${where}: ${shown(given)} (allowed: an object with ${names})`);
  }
  for (const name of Object.keys(given)) {
    if (!Object.hasOwn(allowed, name)) throw new TypeError(`${where}: ${name} (allowed: ${names})`);
  }
};

/** Throws unless it is a number of at least `least`. */
export const checkNumber = (where: string, value: unknown, least: number): void => {
  if (typeof value === "number" && value >= least) return;
  throw new RangeError(`${where} is ${shown(value)} (allowed: ${least} and more)`);
};

export const checkSeed = (where: string, seed: unknown): void => {
  if (typeof seed === "string" || Number.isFinite(seed)) return;
  throw new TypeError(`${where} is ${shown(seed)} (allowed: a number or a text)`);
};

const TOPIC: Record<keyof TestTopic, true> = { name: true, partitions: true, config: true };

/** What Kafka has an answer for (a name, a count or a setting that it does not allow) is left to it. */
export const checkTopics = (where: string, topics: unknown): void => {
  if (topics === undefined) return;
  if (!Array.isArray(topics)) throw new TypeError(`${where}: ${shown(topics)} (allowed: a list)`);
  for (const topic of topics) checkTopic(where, topic);
};

export const checkTopic = (where: string, topic: unknown): void => {
  if (typeof topic === "string") return;
  checkNames(where, topic, TOPIC);
  const { name } = topic as TestTopic;
  if (typeof name !== "string") throw new TypeError(`${where}: name is ${shown(name)} (allowed: a text)`);
};

/** Throws unless it is an object of settings, or not there. */
export const checkSettings = (where: string, config: unknown): void => {
  if (config === undefined || (typeof config === "object" && config !== null && !Array.isArray(config))) return;
  throw new TypeError(`${where}: ${shown(config)} (allowed: an object of settings)`);
};

/** As it would be written down, on one line. */
export const shown = (value: unknown): string =>
  typeof value === "number" || value === undefined ? String(value) : (JSON.stringify(value) ?? typeof value);
