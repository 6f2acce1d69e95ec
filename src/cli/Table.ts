/** Rows as the tools print them: a table with aligned columns for people, or JSON, one object a row. */

/** null is what is not known. */
export type Cell = string | number | null | ReadonlyArray<string>;

export interface Column {
  /** In capitals; its JSON name is the same in camel case. */
  readonly title: string;
  /** Of a number in text; default none. */
  readonly decimals?: number;
}

export type Row = ReadonlyArray<Cell>;

export const columns = (...titles: ReadonlyArray<string | Column>): ReadonlyArray<Column> =>
  titles.map((each) => (typeof each === "string" ? { title: each } : each));

export const SECONDS: Column = { title: "SECONDS", decimals: 1 };

const NOTHING = "-";

const textOf = (cell: Cell, { decimals }: Column): string => {
  if (cell === null || cell === "") return NOTHING;
  if (typeof cell === "number") return decimals === undefined ? String(cell) : cell.toFixed(decimals);
  return typeof cell === "string" ? cell : cell.length === 0 ? NOTHING : cell.join(",");
};

/** Columns are as wide as their longest cell; the last is not padded. Every line ends with a line feed. */
export const table = (columns: ReadonlyArray<Column>, rows: ReadonlyArray<Row>): string => {
  const titles = columns.map(({ title }) => title);
  const cells = rows.map((row) => columns.map((column, at) => textOf(row[at]!, column)));
  const widths = titles.map((title, at) => Math.max(title.length, ...cells.map((row) => row[at]!.length)));
  const line = (row: ReadonlyArray<string>): string =>
    row.map((cell, at) => (at === row.length - 1 ? cell : cell.padEnd(widths[at]!))).join("  ");
  return `${[titles, ...cells].map(line).join("\n")}\n`;
};

/** One object per row, by the columns' names. */
export const objects = (columns: ReadonlyArray<Column>, rows: ReadonlyArray<Row>): Array<Record<string, Cell>> => {
  const names = columns.map(({ title }) => title.toLowerCase().replace(/ (.)/g, (_, letter) => letter.toUpperCase()));
  return rows.map((row) => Object.fromEntries(names.map((name, at) => [name, row[at]!])));
};

export const jsonLines = (values: ReadonlyArray<object>): string =>
  values.map((value) => `${JSON.stringify(value)}\n`).join("");

/** The rows in either form. */
export const report = (format: "text" | "json", columns: ReadonlyArray<Column>, rows: ReadonlyArray<Row>): string =>
  format === "json" ? jsonLines(objects(columns, rows)) : table(columns, rows);
