import { type ParseArgsConfig, parseArgs } from 'node:util';

/** The options of a test program. For an unknown option or `--help`, prints `usage` and exits with status 2 or 0. */
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

/** Prints `usage`, and exits with status 2. */
export function wrongUsage(usage: string, why = ''): never {
  process.stderr.write(`${why}${usage}`);
  process.exit(2);
}
