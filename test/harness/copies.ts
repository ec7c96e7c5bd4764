import { useCopies } from '../../src/core/base/credential-copies.ts';

/** Has `run` read these copies, by file, as a service reads those that systemd has made. */
export async function withCopies<T>(byFile: Readonly<Record<string, string>>, run: () => T): Promise<Awaited<T>> {
  useCopies(new Map(Object.entries(byFile)));
  try {
    return await run();
  } finally {
    useCopies(new Map());
  }
}
