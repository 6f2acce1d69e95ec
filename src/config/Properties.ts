/**
 * Java's .properties text (`java.util.Properties.load`): comments, continued lines, `=`, `:` or white space between
 * key and value, and the escapes. What must stay true: a file that configures Kafka is read here as Java reads it.
 */

const isSpace = (character: string | undefined) => character === " " || character === "\t" || character === "\f";

/** Logical lines: continuations joined, comments and empty lines dropped. */
function* logicalLines(text: string): Generator<string> {
  let pending: string | undefined;
  for (const natural of text.split(/\r\n|\r|\n/)) {
    const line = natural.replace(/^[ \t\f]+/, "");
    if (pending === undefined && (line === "" || line.startsWith("#") || line.startsWith("!"))) continue;
    const joined = (pending ?? "") + line;
    // An odd number of backslashes at the end: the last one continues the line.
    const trailing = /\\*$/.exec(line)?.[0].length ?? 0;
    if (trailing % 2 === 1) pending = joined.slice(0, -1);
    else {
      pending = undefined;
      yield joined;
    }
  }
  if (pending !== undefined) yield pending;
}

function withoutEscapes(text: string): string {
  return text.replace(/\\(u[0-9a-fA-F]{4}|[\s\S]|$)/g, (_, code: string) => {
    if (code.length === 5) return String.fromCharCode(Number.parseInt(code.slice(1), 16));
    switch (code) {
      case "t":
        return "\t";
      case "n":
        return "\n";
      case "r":
        return "\r";
      case "f":
        return "\f";
      default:
        return code;
    }
  });
}

/** Key and value of every entry, in the order of the text; a key that comes twice has its last value. */
export function parseProperties(text: string): Map<string, string> {
  const entries = new Map<string, string>();
  for (const line of logicalLines(text.replace(/^\uFEFF/, ""))) {
    let end = 0;
    while (end < line.length && !isSpace(line[end]) && line[end] !== "=" && line[end] !== ":")
      end += line[end] === "\\" ? 2 : 1;
    let start = end;
    while (isSpace(line[start])) start++;
    if (line[start] === "=" || line[start] === ":") start++;
    while (isSpace(line[start])) start++;
    entries.set(withoutEscapes(line.slice(0, end)), withoutEscapes(line.slice(start)));
  }
  return entries;
}
