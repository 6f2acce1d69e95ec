/**
 * Looks for programs that show planted bugs: `node scripts/run.mjs test/simulation/support/Search.ts [NAME] [RUNS] [SEED]` prints the
 * smallest it finds for each bug whose name contains NAME, to be recorded beside the bug.
 */
import { IDEMPOTENCE_BUGS } from "./IdempotenceBugs.ts";
import { idempotentPrograms, runIdempotent } from "./IdempotentWorld.ts";
import { findingsOf, search } from "./PlantedBugs.ts";
import { TRANSACTION_BUGS } from "./TransactionBugs.ts";
import { programs } from "./TransactionPrograms.ts";
import { runProgram } from "./TransactionWorld.ts";

const [name = "", runs = "500", seed = "1"] = Bun.argv.slice(2);
const CRASHES = [0, 3];

const report = (bug: string, found: unknown): void => console.log(`${bug}:\n  ${JSON.stringify(found)}`);

for (const bug of IDEMPOTENCE_BUGS.filter((each) => each.name.includes(name))) {
  for (const crashes of CRASHES) {
    const found = search(bug, idempotentPrograms(crashes), findingsOf(runIdempotent), Number(runs), Number(seed));
    if (found === undefined && crashes < CRASHES.at(-1)!) continue;
    report(bug.name, found);
    break;
  }
}
for (const bug of TRANSACTION_BUGS.filter((each) => each.name.includes(name))) {
  for (const crashes of CRASHES) {
    const found = search(bug, programs(crashes), findingsOf(runProgram), Number(runs), Number(seed));
    if (found === undefined && crashes < CRASHES.at(-1)!) continue;
    report(bug.name, found);
    break;
  }
}
