/*
 * systemd gives a service copies of files that the service itself can't read (LoadCredential= in systemd.exec(5)). It
 * creates them only when it starts the service. Settings, errors and remedies name the original file, since the
 * operator changes that one; only code that reads a file looks up its copy.
 */

/**
 * Copies keyed by file. The set is fixed before the process starts, and all readers of a file must use the same copy.
 */
let copies: ReadonlyMap<string, string> = new Map();
/** The files whose copies are used, by this process or by the agent that it reports on. */
let copied: ReadonlySet<string> = new Set();

/** From now on, this process reads exactly these copies, keyed by file. */
export function useCopies(byFile: ReadonlyMap<string, string>): void {
  copies = byFile;
  copied = new Set(byFile.keys());
}

/**
 * Records that a running agent also uses copies of these files. This process keeps reading the same files as before.
 */
export function agentUsesCopies(files: Iterable<string>): void {
  copied = new Set([...copied, ...files]);
}

/** The copies that this process reads, keyed by file. */
export const usedCopies = (): Readonly<Record<string, string>> => Object.fromEntries(copies);

/** The path to open in order to read a file: its copy if systemd has made one, otherwise the file itself. */
export const sourceOf = (file: string): string => copies.get(file) ?? file;

const RESTART = 'run: systemctl restart vakt';

/** How changed files take effect, as the end of a remedy that changes them: `byItself` if they have no copies. */
export const thenUsed = (files: readonly string[], byItself = ''): string =>
  files.some((file) => copied.has(file)) ? `; then ${RESTART}` : byItself;

/** How changed files take effect, as the end of a remedy that may change any file. */
export const onceChanged = (byItself = ''): string =>
  copied.size === 0 ? byItself : `; after a change of ${[...copied].join(' or ')}, ${RESTART}`;
