/**
 * Marks of rare branches that are legal but hardly ever taken (a short read, an early roll, an evicted cache entry): a
 * simulation takes them often, production never. What must stay true: outside a simulation the answer is `false` and
 * costs one comparison; a mark only chooses between behaviours that are both right.
 */

/** `share`: how often of its turns the mark asks for, 0 to 1, where each turn is dear. */
type Chooser = (name: string, share: number) => boolean;

let chooser: Chooser | undefined;

/** Whether the rare branch called `name` is to be taken now; `share` makes it rarer still where it costs much. */
export const buggify = (name: string, share = 1): boolean => chooser?.(name, share) ?? false;

/** Installs what chooses (a simulation's seed), or removes it; answers what was there before. */
export const chooseBuggify = (next: Chooser | undefined): Chooser | undefined => {
  const before = chooser;
  chooser = next;
  return before;
};
