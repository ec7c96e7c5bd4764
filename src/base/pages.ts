import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** Pages for operators: where they lie beside the program that is shipped, and where the repository has them. */
export const PAGES = {
  readme: { shipped: 'doc/README.md', source: 'README.md' },
  install: { shipped: 'doc/install.md', source: 'docs/install.md' },
  configure: { shipped: 'doc/configure.md', source: 'docs/configure.md' },
  contract: { shipped: 'doc/contract.md', source: 'docs/contract.md' },
  settings: { shipped: 'doc/settings.md', source: 'config/README.md' },
  troubleshooting: { shipped: 'doc/TROUBLESHOOTING.md', source: 'TROUBLESHOOTING.md' },
} as const;

/**
 * The full path of a page on this machine, for errors and remedies: every installation brings them, and none needs a
 * network to be read. The repository's name for it where the file is missing.
 */
export function pageOf(page: keyof typeof PAGES): string {
  const { shipped, source } = PAGES[page];
  // The bundle's chunks lie beside main.js; compiled sources lie in dist/src/base.
  const candidates = [`./${shipped}`, `../../../${source}`].map((path) =>
    fileURLToPath(new URL(path, import.meta.url)),
  );
  return candidates.find((path) => existsSync(path)) ?? source;
}
