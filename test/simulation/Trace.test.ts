/** The trace: equal hashes mean equal runs, and what led to a failure is kept. */
import { expect, test } from "bun:test";
import { Trace } from "../../actors/simulation/Trace.ts";

const hashOf = (...lines: string[]): string => {
  const trace = new Trace();
  for (const line of lines) trace.add(line);
  return trace.hash;
};

test("the hash knows every character of every line, their order, and where a line ends", () => {
  for (const line of ["a", "ab", "abc", "disk 12 write /d/a", "net client-0> delivers 7"]) {
    expect(hashOf(line)).toBe(hashOf(line));
    const others = [`${line} `, ` ${line}`];
    for (let at = 0; at < line.length; at++) others.push(`${line.slice(0, at)}#${line.slice(at + 1)}`);
    for (const other of others) {
      expect(hashOf(other), `${line} and ${other}`).not.toBe(hashOf(line));
      expect(hashOf(other, "the end")).not.toBe(hashOf(line, "the end"));
    }
  }
  const orders = [["a", "b"], ["b", "a"], ["ab"], ["a"], ["a", "b", ""], ["", "a", "b"], ["a", "a"]];
  expect(new Set(orders.map((lines) => hashOf(...lines))).size).toBe(orders.length);
});

test("the last lines are kept, all of them only when they were asked for, and the hash is the same", () => {
  const [short, whole] = [new Trace(), new Trace(true)];
  const all = Array.from({ length: 5000 }, (_, index) => `line ${index}`);
  for (const line of all) {
    short.add(line);
    whole.add(line);
    if (short.length % 777 === 0) expect(short.lines.at(-1)).toBe(line);
  }
  expect(whole.lines).toEqual(all);
  expect(short.lines).toEqual(all.slice(-short.lines.length));
  expect(short.lines.length).toBeWithin(200, 401);
  expect([short.length, short.hash]).toEqual([5000, whole.hash]);
});
