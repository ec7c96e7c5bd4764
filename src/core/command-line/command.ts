import { type ParseArgsConfig, parseArgs } from 'node:util';
import { parseDuration } from '../base/duration.ts';
import { printable } from '../base/text.ts';
import { didYouMean } from './did-you-mean.ts';

/** The environment of a command; tests pass their own. */
export interface World {
  /**
   * Prints a result: one line, or lines that belong together, without the last newline. Lines of a continuing stream,
   * such as events, are `live`: while too much output waits for a reader that has stopped, they are omitted as a group,
   * and standard error then reports how many lines were omitted.
   */
  readonly stdout: (lines: string, kind?: 'live') => void;
  /** Prints everything else. */
  readonly stderr: (line: string) => void;
  readonly environment: NodeJS.ProcessEnv;
  /** Aborts at SIGINT, SIGTERM and SIGHUP, and when standard output has no reader any more. */
  readonly signal: AbortSignal;
  /**
   * Only for a command that ignores SIGHUP: from now on, SIGHUP calls `listener`. If a SIGHUP arrived while the command
   * was starting, `listener` is called immediately.
   */
  readonly onHangUp?: (listener: () => void) => void;
  /** Whether standard output is a terminal. */
  readonly terminal: boolean;
  /** Resolves when the reader has read all printed results; absent if waiting output takes no memory. */
  readonly written?: () => Promise<unknown>;
  /** Asks a question that is answered by yes or no; omitted if no user can answer. */
  readonly confirm?: (question: string) => Promise<boolean>;
  /** The terminal's width; absent if standard output isn't a terminal. */
  readonly columns?: number;
}

/** One `vakt …` command. Exit codes: 0 success, 1 failed, 2 wrong usage; `run` has further ones, see contract §7. */
export interface Command {
  readonly summary: string;
  /** Synopsis and options, as `--help` prints them. */
  readonly usage: string;
  /** Whether it survives SIGHUP. Default: SIGHUP ends it. */
  ignoresHangUp?(args: readonly string[]): boolean;
  run(args: readonly string[], world: World): Promise<number>;
}

/** The arguments are invalid: exit code 2. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

type Options = NonNullable<ParseArgsConfig['options']>;

/** Reads a command's arguments. @throws {UsageError} */
export function readArguments<const O extends Options>(args: readonly string[], options: O, positionals = 0) {
  const parse = () => parseArgs({ args: [...args], options, allowPositionals: true, strict: true });
  let parsed: ReturnType<typeof parse>;
  try {
    parsed = parse();
  } catch (error) {
    throw new UsageError(unknownOption(args, options) ?? (error as Error).message);
  }
  const surplus = parsed.positionals[positionals];
  if (surplus !== undefined) throw new UsageError(unexpected(surplus, options));
  return parsed;
}

function unknownOption(args: readonly string[], options: Options): string | undefined {
  const { tokens } = parseArgs({ args: [...args], options, allowPositionals: true, strict: false, tokens: true });
  for (const token of tokens) {
    if (token.kind !== 'option' || Object.hasOwn(options, token.name)) continue;
    const isLong = token.rawName.startsWith('--');
    const [given = token.rawName] = isLong ? [token.rawName] : (args[token.index] ?? '').split('=', 1);
    return `there is no option "${given}"${didYouMean(given, optionNames(options))}`;
  }
  return undefined;
}

function unexpected(argument: string, options: Options): string {
  return `unexpected argument "${argument}"${didYouMean(argument, Object.hasOwn(options, argument) ? optionNames(options) : [])}`;
}

const optionNames = (options: Options) => Object.keys(options).map((name) => `--${name}`);

/** The duration given as an option's value. @throws {UsageError} */
export function durationOption(name: string, text: string) {
  const duration = parseDuration(text);
  if (duration === undefined) throw new UsageError(`--${name} takes an ISO 8601 duration such as PT30S, not "${text}"`);
  return duration;
}

/** Aligns rows in columns; the last column isn't padded. Makes the cells safe for a terminal. */
export function table(cells: readonly (readonly string[])[]): string[] {
  const rows = cells.map((row) => row.map(printable));
  const widths: number[] = [];
  for (const row of rows) for (const [i, cell] of row.entries()) widths[i] = Math.max(widths[i] ?? 0, cell.length);
  return rows.map((row) =>
    row
      .map((cell, i) => (i === row.length - 1 ? cell : cell.padEnd(widths[i] ?? 0)))
      .join('  ')
      .trimEnd(),
  );
}

/** Reads `--fail-on`: a severity in any case, or `never`. @throws {UsageError} */
export function severityOption<const S extends string>(text: string, severities: readonly S[]): S | undefined {
  const wanted = text.toLowerCase();
  if (wanted === 'never') return undefined;
  const severity = severities.find((each) => each.toLowerCase() === wanted);
  if (severity !== undefined) return severity;
  throw new UsageError(
    `--fail-on takes ${severities.join(', ')} or never, not "${text}"${didYouMean(text, [...severities, 'never'])}`,
  );
}
