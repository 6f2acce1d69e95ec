/**
 * `bun run check`: everything that must be green before a change lands, cheapest first: lint and format, types, then
 * the tests (the house rules are one of them). Runs all of it even when one fails and names what failed at the end.
 */
const steps: ReadonlyArray<{ readonly name: string; readonly command: ReadonlyArray<string> }> = [
  { name: "lint and format", command: ["node_modules/@biomejs/biome/bin/biome", "check", "--error-on-warnings"] },
  { name: "types", command: ["node_modules/typescript/bin/tsc", "-p", "."] },
  { name: "tests", command: ["scripts/run.mjs", "test", ...process.argv.slice(2)] },
];

process.chdir(`${import.meta.dir}/..`);
const failed: string[] = [];
for (const { name, command } of steps) {
  // Both tools' launchers are JavaScript: started by this Bun they need no Node.
  const { exitCode } = Bun.spawnSync([process.execPath, ...command], { stdio: ["inherit", "inherit", "inherit"] });
  console.log(`${exitCode === 0 ? "ok" : "FAILED"}: ${name}`);
  if (exitCode !== 0) failed.push(name);
}
if (failed.length > 0) {
  console.error(`check failed: ${failed.join(", ")}`);
  process.exit(1);
}
