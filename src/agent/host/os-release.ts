/** Variables of a shell-like file, by name. */
export type OsRelease = Readonly<Record<string, string>>;

/**
 * Reads os-release(5): one shell assignment per line, without expansion. Values may be in single quotes, where every
 * character is literal, or in double quotes, where a backslash escapes `$`, `"`, `` ` `` and itself. Other lines are
 * skipped; of several assignments to one name, the last one holds.
 */
export function parseOsRelease(text: string): OsRelease {
  const variables: Record<string, string> = Object.create(null);
  for (const line of text.split('\n')) {
    const [, name, quoted] = /^([A-Z][A-Z0-9_]*)=(.*)$/.exec(line.trim()) ?? [];
    const value = quoted === undefined ? undefined : unquote(quoted);
    if (name !== undefined && value !== undefined) variables[name] = value;
  }
  return variables;
}

function unquote(text: string): string | undefined {
  if (text.startsWith('"')) {
    if (!/^"(?:[^"\\]|\\.)*"$/.test(text)) return undefined;
    return text.slice(1, -1).replaceAll(/\\([$"`\\])/g, '$1');
  }
  if (text.startsWith("'")) return /^'[^']*'$/.test(text) ? text.slice(1, -1) : undefined;
  return /["'\s]/.test(text) ? undefined : text.replaceAll(/\\(.)/g, '$1');
}

/** The paths in order of precedence: only the first existing file is read. */
export const OS_RELEASE_FILES = ['/etc/os-release', '/usr/lib/os-release'] as const;
