/** Variables of a shell-like file, by name. */
export type OsRelease = Readonly<Record<string, string>>;

/**
 * Reads os-release(5): assignments as a shell has them, one a line, without expansion. Values may be in single quotes,
 * where everything stands for itself, or in double quotes, where a backslash before `$`, `"`, `` ` `` or itself does.
 * Lines that are none of that are passed over; of the same name twice, the last one holds.
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

/** Where it is, by precedence: the first one found holds, whole. */
export const OS_RELEASE_FILES = ['/etc/os-release', '/usr/lib/os-release'] as const;
