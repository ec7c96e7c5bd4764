import { type ParseArgsConfig, parseArgs } from 'node:util';
import { systemClock } from '../../src/core/base/clock.ts';

type Options = NonNullable<ParseArgsConfig['options']>;

/** The options of a test program. For an unknown option or `--help`, prints `usage` and exits with status 2 or 0. */
export const readOptions = <const O extends Options>(options: O, usage: string) =>
  readArguments(options, usage, { allowPositionals: false }).values;

/** The same for a program that also accepts other arguments. */
export function readArguments<const O extends Options>(options: O, usage: string, { allowPositionals = true } = {}) {
  if (process.argv.includes('--help')) {
    process.stdout.write(usage);
    process.exit(0);
  }
  try {
    return parseArgs({ options, allowPositionals });
  } catch (error) {
    return wrongUsage(usage, `${(error as Error).message}\n`);
  }
}

/** Prints `usage`, and exits with status 2. */
export function wrongUsage(usage: string, why = ''): never {
  process.stderr.write(`${why}${usage}`);
  process.exit(2);
}

export const isCount = (value: number): boolean => Number.isSafeInteger(value) && value >= 1;

/** A seed for a run without the option `--seed`. */
export const newSeed = (): number => systemClock.now().getTime() % 1_000_000;

/** Prints a line. */
export const say = (line: string): boolean => process.stdout.write(`${line}\n`);
