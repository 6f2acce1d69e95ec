/** How programs are drawn: choices with weights. */
import type { SeededRandom } from "../../actors/simulation/SeededRandom.ts";

export const weighted = <A>(random: SeededRandom, choices: ReadonlyArray<readonly [weight: number, choice: A]>): A => {
  let at = random.below(choices.reduce((sum, [weight]) => sum + weight, 0));
  for (const [weight, choice] of choices) {
    if (at < weight) return choice;
    at -= weight;
  }
  throw new RangeError("nothing to pick from");
};

/** A whole number, both ends inclusive. */
export const between = (random: SeededRandom, first: number, last: number): number =>
  first + random.below(last - first + 1);

export const chance = (random: SeededRandom, percent: number): boolean => random.below(100) < percent;
