/**
 * The broker's own log: one line per event, for people or (`--log-format json`) for machines. Information goes to
 * standard output, warnings and errors to standard error; a line is out before the call returns, so that the last one
 * before an exit is never lost. Nothing is logged per record or per request unless an operator turned it on.
 */
import type { Timestamp } from "../prelude/Types.ts";

export type LogLevel = "info" | "warn" | "error";
export type LogField = string | number | boolean | null;

export type Log = (level: LogLevel, message: string, fields?: Readonly<Record<string, LogField>>) => void;

export interface LoggerOptions {
  readonly format: "human" | "json";
  /** Milliseconds since 1970, for the line's time. */
  readonly now: () => Timestamp;
  /** Where lines go; for tests. */
  readonly write?: (level: LogLevel, line: string) => void;
}

/** One event is one line, whatever its message holds. */
const oneLine = (text: string) => text.replace(/\s*\r?\n\s*/g, " | ");

function human(time: string, level: LogLevel, message: string, fields: Readonly<Record<string, LogField>>): string {
  const details = Object.entries(fields).map(([name, value]) => ` ${name}=${value}`);
  return `${time} ${level.toUpperCase().padEnd(5)} ${oneLine(message + details.join(""))}`;
}

const toConsole = (level: LogLevel, line: string) => (level === "info" ? console.log(line) : console.error(line));

export function makeLogger({ format, now, write = toConsole }: LoggerOptions): Log {
  return (level, message, fields = {}) => {
    const time = new Date(now()).toISOString();
    write(
      level,
      format === "json" ? JSON.stringify({ time, level, message, ...fields }) : human(time, level, message, fields),
    );
  };
}
