/**
 * Command lines taken apart, the same way for every command: words, options with and without values, short ones and their
 * bundles. What a command makes of them is its own; what is wrong is a `UsageError`, one line for the user.
 */
/** A wrong command line; exit code 2. The message is for the user. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** What a command line comes to. */
export type Parsed<Arguments> =
  | { readonly kind: "run"; readonly arguments: Arguments }
  | { readonly kind: "help"; readonly text: string }
  /** One line saying what is wrong; exit code 2. */
  | { readonly kind: "error"; readonly message: string };

export interface OptionShape {
  /** `--long` and `-s`; the first one is what errors call it. */
  readonly names: ReadonlyArray<string>;
  readonly takesValue: boolean;
  /** Nothing behind it is looked at. */
  readonly ends?: boolean;
}

export const flag = (...names: string[]): OptionShape => ({ names, takesValue: false });
/** A flag that wins over everything behind it, as `--help` does. */
export const endingFlag = (...names: string[]): OptionShape => ({ names, takesValue: false, ends: true });
/** `--name VALUE`, `--name=VALUE`, `-n VALUE`, `-nVALUE`; the value may begin with a dash and is never empty. */
export const valued = (...names: string[]): OptionShape => ({ names, takesValue: true });

export interface Given<Name extends string> {
  /** What is no option, in order. */
  readonly words: ReadonlyArray<string>;
  has(name: Name): boolean;
  /** Every value, in the order given. */
  all(name: Name): ReadonlyArray<string>;
  /** The last value. */
  last(name: Name): string | undefined;
}

/** Throws `UsageError`. Behind a lone `--` everything is a word, but for one in front, which package runners pass on. */
export const readArguments = <Name extends string>(
  args: ReadonlyArray<string>,
  options: Readonly<Record<Name, OptionShape>>,
): Given<Name> => {
  const words: string[] = [];
  const values = new Map<Name, string[]>();
  for (const item of itemsOf(args, options)) {
    if (typeof item === "string") words.push(item);
    else values.set(item.name, [...(values.get(item.name) ?? []), item.value]);
    if (typeof item !== "string" && options[item.name].ends === true) break;
  }
  return {
    words,
    has: (name) => values.has(name),
    all: (name) => values.get(name) ?? [],
    last: (name) => values.get(name)?.at(-1),
  };
};

/** Words, and options with their values (empty for one that takes none). */
function* itemsOf<Name extends string>(
  args: ReadonlyArray<string>,
  options: Readonly<Record<Name, OptionShape>>,
): Generator<string | { readonly name: Name; readonly value: string }, void> {
  const named = new Map<string, Name>();
  for (const name of Object.keys(options) as Name[]) for (const each of options[name].names) named.set(each, name);
  for (let at = 0; at < args.length; at += 1) {
    const argument = args[at]!;
    if (argument === "--") {
      if (at > 0) return yield* args.slice(at + 1);
      continue;
    }
    if (argument === "-" || !argument.startsWith("-")) {
      yield argument;
      continue;
    }
    const isLong = argument.startsWith("--");
    const equals = isLong ? argument.indexOf("=") : -1;
    const spelled = equals < 0 ? [argument] : [argument.slice(0, equals)];
    if (!isLong) spelled.splice(0, 1, ...[...argument.slice(1)].map((letter) => `-${letter}`));
    for (const [index, text] of spelled.entries()) {
      const name = named.get(text);
      if (name === undefined) throw new UsageError(`unknown option ${text}`);
      // Of `-n5` the value is what is behind the letter, of `--num=5` what is behind the equals sign.
      const attached = isLong ? (equals < 0 ? undefined : argument.slice(equals + 1)) : argument.slice(index + 2);
      if (!options[name].takesValue) {
        if (isLong && attached !== undefined) throw new UsageError(`${text} takes no value`);
        yield { name, value: "" };
        continue;
      }
      const value = attached === undefined || (!isLong && attached === "") ? args[++at] : attached;
      if (value === undefined || value === "") throw new UsageError(`${text} needs a value`);
      yield { name, value };
      break;
    }
  }
}

/** Runs a command's parser; `what` is how its help is asked for. */
export const parsedBy = <Arguments>(command: string, parse: () => Parsed<Arguments>): Parsed<Arguments> => {
  try {
    return parse();
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    return { kind: "error", message: `${error.message} (${command} --help says more)` };
  }
};

/** A whole number in a range, both ends included. */
export const wholeNumber = (text: string, option: string, least: number, most = Number.MAX_SAFE_INTEGER): number => {
  const value = Number(text);
  if (!/^-?\d+$/.test(text) || value < least || value > most)
    throw new UsageError(`${option} ${text}: expected a whole number from ${least} on`);
  return value;
};

/** `key=value` or `key:value`, at whichever comes first. */
export const keyValue = (text: string, option: string): readonly [key: string, value: string] => {
  const at = text.search(/[=:]/);
  if (at < 1) throw new UsageError(`${option} ${text}: expected key=value`);
  return [text.slice(0, at), text.slice(at + 1)];
};

/** One of the words. */
export const oneOf = <Word extends string>(text: string, option: string, words: ReadonlyArray<Word>): Word => {
  const found = words.find((each) => each === text);
  if (found === undefined) throw new UsageError(`${option} ${text}: allowed are ${words.join(", ")}`);
  return found;
};
