/**
 * The README's table of what works, made from the code: `bun scripts/api-table.ts` writes it, `--check` says whether it
 * is true. A row per API of Kafka 4.3.1's broker listener; an API without a handler here is listed as missing.
 */
import { makeHandlers } from "../src/api/Handlers.ts";
import { allApis } from "../src/protocol/ApiKeys.ts";

const BEGIN = "<!-- api-table: made by scripts/api-table.ts -->";
const END = "<!-- api-table end -->";

const range = (first: number, last: number): string => (first === last ? `${first}` : `${first}–${last}`);

/** The Markdown between the README's two marks. */
export const apiTable = (): string => {
  const handlers = makeHandlers();
  const rows: string[] = [];
  const missing: string[] = [];
  for (const { key, name, listeners } of allApis) {
    if (!listeners.includes("broker")) continue;
    const handler = handlers.get(key);
    if (handler === undefined) missing.push(`${name} (${key})`);
    else rows.push(`| ${key} | ${name} | ${range(handler.minVersion, handler.maxVersion)} |`);
  }
  return [
    BEGIN,
    "",
    "| key | API | versions served |",
    "|--:|---|---|",
    ...rows,
    "",
    `Not served yet: ${missing.join(", ")}.`,
    "",
    END,
  ].join("\n");
};

/** The README with the table of this code in it. */
export const withApiTable = (readme: string): string => {
  const [begin, end] = [readme.indexOf(BEGIN), readme.indexOf(END)];
  if (begin < 0 || end < begin) throw new Error(`the README lacks ${BEGIN} … ${END}`);
  return readme.slice(0, begin) + apiTable() + readme.slice(end + END.length);
};

if (import.meta.main) {
  const file = Bun.file(new URL("../README.md", import.meta.url));
  const readme = await file.text();
  const current = withApiTable(readme);
  if (process.argv.includes("--check")) process.exit(current === readme ? 0 : 1);
  await Bun.write(file, current);
}
