import { type ParseArgsConfig, parseArgs } from 'node:util';

/** The options of a program that tests. With another option, or `--help`, prints `usage` and ends the process: 2, or 0. */
export function readOptions<const O extends NonNullable<ParseArgsConfig['options']>>(options: O, usage: string) {
  if (process.argv.includes('--help')) {
    process.stdout.write(usage);
    process.exit(0);
  }
  try {
    return parseArgs({ options }).values;
  } catch (error) {
    return wrongUsage(usage, `${(error as Error).message}\n`);
  }
}

/** Prints `usage`, and ends the process with 2. */
export function wrongUsage(usage: string, why = ''): never {
  process.stderr.write(`${why}${usage}`);
  process.exit(2);
}
