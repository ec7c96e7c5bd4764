/*
 * systemd gives a service copies of files that the service itself can't read (LoadCredential= in systemd.exec(5)). It makes
 * them when it starts the service, and never again. Settings, errors and remedies name the file, which is what an operator
 * changes; only who reads a file asks for its copy.
 */

/** By file. Which copies there are is fixed before the process starts, and all who read a file must agree on them. */
let copies: ReadonlyMap<string, string> = new Map();
/** The files whose copies are used, by this process or by the agent that it speaks about. */
let copied: ReadonlySet<string> = new Set();

/** Has this process read these copies, by file, from now on, and no others. */
export function useCopies(byFile: ReadonlyMap<string, string>): void {
  copies = byFile;
  copied = new Set(byFile.keys());
}

/** Says that an agent that runs uses copies of these files, too; this process goes on to read what it read. */
export function agentUsesCopies(files: Iterable<string>): void {
  copied = new Set([...copied, ...files]);
}

/** The copies that this process reads, by file. */
export const usedCopies = (): Readonly<Record<string, string>> => Object.fromEntries(copies);

/** What to open to read a file: its copy, if systemd has made one. */
export const sourceOf = (file: string): string => copies.get(file) ?? file;

const RESTART = 'run: systemctl restart vakt';

/** How changed files come into use, as the end of a remedy that changes them: `byItself` where they are not copied. */
export const thenUsed = (files: readonly string[], byItself = ''): string =>
  files.some((file) => copied.has(file)) ? `; then ${RESTART}` : byItself;

/** The same for a remedy that may change any file. */
export const onceChanged = (byItself = ''): string =>
  copied.size === 0 ? byItself : `; after a change of ${[...copied].join(' or ')}, ${RESTART}`;
