/** Which task runs next, and which never: the seed's choice, processes that are stopped, and those that are no more. */
import { describe, expect, test } from "bun:test";
import { SeededRandom } from "../../actors/simulation/SeededRandom.ts";
import { SeededTaskList } from "../../actors/simulation/SeededTaskList.ts";

const owner = (name: string) => ({ name, alive: true, paused: false });

const runAll = (tasks: SeededTaskList): void => {
  while (tasks.runOne());
};

/** A list that always runs the oldest task, so that an order can be foretold. */
const oldestFirst = (): SeededTaskList => {
  const random = new SeededRandom(1);
  random.chance = () => false;
  return new SeededTaskList(random);
};

describe("SeededTaskList", () => {
  test("every order comes, and some seeds stay with the oldest more often than others", () => {
    let inOrder = 0;
    const firsts = new Set<number>();
    const seeds = 400;
    for (let seed = 0; seed < seeds; seed++) {
      const tasks = new SeededTaskList(new SeededRandom(seed));
      const ran: number[] = [];
      for (let i = 0; i < 8; i++) tasks.schedule(owner("p"), () => ran.push(i));
      runAll(tasks);
      expect(ran.toSorted()).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
      firsts.add(ran[0]!);
      if (ran.every((value, at) => value === at)) inOrder += 1;
    }
    expect(firsts.size).toBe(8);
    expect(inOrder / seeds).toBeWithin(0.05, 0.3);
  });

  test("what a stopped process has to do waits, in its order, and is done once; others go on", () => {
    const tasks = oldestFirst();
    const ran: string[] = [];
    const [stopped, other, third] = [owner("stopped"), owner("other"), owner("third")];
    const add = (of: typeof stopped, name: string): void => tasks.schedule(of, () => ran.push(name));
    for (const name of ["1", "2"]) add(stopped, name);
    add(other, "other");
    stopped.paused = true;
    tasks.hold(stopped);
    third.paused = true;
    tasks.hold(third);
    for (const name of ["3", "4"]) add(stopped, name);
    add(third, "third");
    runAll(tasks);
    expect(ran).toEqual(["other"]);
    stopped.paused = false;
    tasks.release(stopped);
    runAll(tasks);
    expect(ran).toEqual(["other", "1", "2", "3", "4"]);
    third.paused = false;
    tasks.release(third);
    tasks.release(stopped);
    runAll(tasks);
    expect(ran).toEqual(["other", "1", "2", "3", "4", "third"]);
  });

  test("nothing of the dead runs, what they had to do while they were stopped neither", () => {
    const tasks = oldestFirst();
    let ran = 0;
    const doomed = owner("doomed");
    tasks.schedule(doomed, () => (ran += 1));
    doomed.paused = true;
    tasks.hold(doomed);
    tasks.schedule(doomed, () => (ran += 1));
    doomed.alive = false;
    doomed.paused = false;
    tasks.release(doomed);
    tasks.schedule(doomed, () => (ran += 1));
    // Dropped at once: an hour of a dead process's tasks would be held for nothing.
    expect(tasks.length).toBe(2);
    expect([tasks.runOne(), tasks.length, ran]).toEqual([false, 0, 0]);
  });
});
