/**
 * Looking into decoded answers: paths like `topics.0.errorCode`, and matching an answer against the part of it a test is about.
 */
import type { Fields, Value } from "./Definitions.ts";

export const at = (tree: Value | undefined, path: string): Value | undefined => {
  let value: Value | undefined = tree;
  for (const step of path.split(".")) {
    if (Array.isArray(value)) value = value[Number(step)];
    else if (value !== null && typeof value === "object" && !(value instanceof Uint8Array))
      value = (value as Fields)[step];
    else return undefined;
  }
  return value;
};

export const numberAt = (tree: Value, path: string): number => {
  const value = at(tree, path);
  if (typeof value !== "number") throw new Error(`${path} is ${shown(value)}, a number expected in ${shown(tree)}`);
  return value;
};

export const textAt = (tree: Value, path: string): string => {
  const value = at(tree, path);
  if (typeof value !== "string") throw new Error(`${path} is ${shown(value)}, a string expected in ${shown(tree)}`);
  return value;
};

export const bytesAt = (tree: Value, path: string): Uint8Array => {
  const value = at(tree, path);
  if (!(value instanceof Uint8Array)) throw new Error(`${path} is ${shown(value)}, bytes expected in ${shown(tree)}`);
  return value;
};

export const listAt = (tree: Value, path: string): readonly Value[] => {
  const value = at(tree, path);
  if (!Array.isArray(value)) throw new Error(`${path} is ${shown(value)}, a list expected in ${shown(tree)}`);
  return value;
};

export const shown = (value: unknown): string => {
  const text =
    JSON.stringify(value, (_, each) =>
      each instanceof Uint8Array
        ? `hex ${Buffer.from(each).toString("hex").slice(0, 60)} (${each.length})`
        : typeof each === "bigint"
          ? `${each}n`
          : each,
    ) ?? String(value);
  return text.length > 700 ? `${text.slice(0, 700)}…` : text;
};

/** A leaf a test has an opinion about beyond equality. */
export class Where {
  constructor(
    readonly name: string,
    readonly holds: (value: Value | undefined) => boolean,
  ) {}
}

export const positive = new Where("a number above 0", (value) => typeof value === "number" && value > 0);
export const like = (pattern: RegExp): Where =>
  new Where(`text like ${pattern}`, (value) => typeof value === "string" && pattern.test(value));

export type Expected =
  | null
  | boolean
  | number
  | string
  | Uint8Array
  | Where
  | readonly Expected[]
  | { readonly [name: string]: Expected };

const difference = (actual: Value | undefined, expected: Expected, path: string): string | undefined => {
  if (expected instanceof Where) {
    return expected.holds(actual) ? undefined : `${path} is ${shown(actual)}, expected ${expected.name}`;
  }
  if (expected instanceof Uint8Array) {
    const same = actual instanceof Uint8Array && Buffer.compare(actual, expected) === 0;
    return same ? undefined : `${path} is ${shown(actual)}, expected ${shown(expected)}`;
  }
  if (Array.isArray(expected)) {
    if (!Array.isArray(actual)) return `${path} is ${shown(actual)}, expected ${shown(expected)}`;
    if (actual.length !== expected.length) {
      return `${path} has ${actual.length} elements, expected ${expected.length}: ${shown(actual)}`;
    }
    for (let index = 0; index < expected.length; index++) {
      const found = difference(actual[index], expected[index], `${path}.${index}`);
      if (found !== undefined) return found;
    }
    return undefined;
  }
  if (expected !== null && typeof expected === "object") {
    for (const [name, value] of Object.entries(expected)) {
      const found = difference(at(actual ?? null, name), value, path === "" ? name : `${path}.${name}`);
      if (found !== undefined) return found;
    }
    return undefined;
  }
  return actual === expected ? undefined : `${path} is ${shown(actual)}, expected ${shown(expected)}`;
};

/** Every field named in `expected` has that value; lists have that length; fields not named may be anything. */
export const matches = (actual: Value | undefined, expected: Expected, what: string): void => {
  const found = difference(actual, expected, "");
  if (found !== undefined) throw new Error(`${what}: ${found}\n  in ${shown(actual)}`);
};
