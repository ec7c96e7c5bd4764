import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** Pages for operators: their paths relative to the shipped program and to the repository. */
export const PAGES = {
  readme: { shipped: 'doc/README.md', source: 'README.md' },
  install: { shipped: 'doc/install.md', source: 'docs/install.md' },
  configure: { shipped: 'doc/configure.md', source: 'docs/configure.md' },
  identity: { shipped: 'doc/identity.md', source: 'docs/identity.md' },
  contract: { shipped: 'doc/contract.md', source: 'docs/contract.md' },
  settings: { shipped: 'doc/settings.md', source: 'config/README.md' },
  troubleshooting: { shipped: 'doc/TROUBLESHOOTING.md', source: 'TROUBLESHOOTING.md' },
} as const;

/**
 * The absolute path of a page on this machine, for errors and remedies: every installation contains the pages, so that
 * they can be read without a network. If the file is missing, this is its path in the repository.
 */
export function pageOf(page: keyof typeof PAGES): string {
  const { shipped, source } = PAGES[page];
  // In the bundle, all code is in the folder of main.js; compiled, it is in dist/src/core/base.
  const candidates = [`./${shipped}`, `../../../../${source}`].map((path) =>
    fileURLToPath(new URL(path, import.meta.url)),
  );
  return candidates.find((path) => existsSync(path)) ?? source;
}
