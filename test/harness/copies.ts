import { useCopies } from '../../src/core/base/credential-copies.ts';

/** Runs `run` so that it reads these copies, keyed by file, as a service reads the copies that systemd made. */
export async function withCopies<T>(byFile: Readonly<Record<string, string>>, run: () => T): Promise<Awaited<T>> {
  useCopies(new Map(Object.entries(byFile)));
  try {
    return await run();
  } finally {
    useCopies(new Map());
  }
}
