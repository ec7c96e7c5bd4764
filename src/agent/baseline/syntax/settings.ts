/* Reads one setting from the text of a configuration file, for each syntax. Pure functions.
 *
 * The contents may be hostile. To avoid backtracking over runs of white space, expressions do not match white space
 * around values; the values are trimmed instead. */

/** A line that sets it. */
export interface Setting {
  readonly value: string;
  readonly line: number;
}

/** Longer lines are truncated: no person writes them. */
const LONGEST_LINE = 4_096;

const linesOf = (text: string) => text.split('\n').map((line) => line.slice(0, LONGEST_LINE));
const equalsIgnoringCase = (a: string, b: string) => a.toLowerCase() === b.toLowerCase();
const unquoted = (text: string) => /^(["'])(.*)\1$/.exec(text)?.[2] ?? text;

/**
 * `[Section]`, `Key=value`, comments with `#` or `;`: systemd's files, avahi's, samba's. The last one counts; an empty
 * value resets the earlier ones, see systemd.syntax(7).
 *
 * @param key in any case; alternatives are separated by `|`, and spaces in names matter only for samba, between words
 */
export function iniSetting(text: string, key: string, section: string | undefined): Setting | undefined {
  let inside = section === undefined;
  let found: Setting | undefined;
  const keys = key.split('|').map((name) => name.toLowerCase());
  for (const [index, line] of linesOf(text).entries()) {
    const heading = /^\s*\[([^\]]*)\]/.exec(line)?.[1];
    if (heading !== undefined) {
      inside = section === undefined || equalsIgnoringCase(heading.trim(), section);
      continue;
    }
    const equals = line.indexOf('=');
    if (!inside || equals === -1 || /^\s*[#;]/.test(line)) continue;
    if (!keys.includes(line.slice(0, equals).trim().toLowerCase())) continue;
    const value = line.slice(equals + 1).trim();
    found = value === '' ? undefined : { value: unquoted(value), line: index + 1 };
  }
  return found;
}

/** Reads commented lines, in which systemd's programs show their built-in defaults: `#LLMNR=no`. */
export const commentedIniSetting = (text: string, key: string, section: string | undefined): Setting | undefined =>
  iniSetting(text.replace(/^(?![#[]).*$/gm, '').replace(/^#/gm, ''), key, section);

/** `key = value`, comments with `#`: shell defaults, postfix, auditd, hostapd. The last one counts. */
export function equalsSetting(text: string, key: string): Setting | undefined {
  let found: Setting | undefined;
  for (const [index, line] of linesOf(text).entries()) {
    const match = /^\s*(?:export\s+)?([\w.-]+)\s*=(.*)$/s.exec(line);
    if (match?.[1] !== undefined && equalsIgnoringCase(match[1], key))
      found = { value: unquoted(match[2]?.trim() ?? ''), line: index + 1 };
  }
  return found;
}

/** `KEY value`, comments with `#`: login.defs(5), mosquitto.conf(5), chrony.conf(5). */
export function spaceSettings(text: string, key: string): Setting[] {
  const found: Setting[] = [];
  for (const [index, line] of linesOf(text).entries()) {
    const match = /^\s*([^\s#!%;]\S*)(.*)$/s.exec(line);
    if (match?.[1] !== undefined && equalsIgnoringCase(match[1], key))
      found.push({ value: unquoted(match[2]?.trim() ?? ''), line: index + 1 });
  }
  return found;
}

/** The last one counts. */
export const spaceSetting = (text: string, key: string): Setting | undefined => spaceSettings(text, key).at(-1);

/** `key = value`, `key value` or the key alone; a `#` begins a comment wherever it is: the files of PAM's modules. */
export function pamSettings(text: string, key: string): Setting[] {
  const found: Setting[] = [];
  for (const [index, line] of linesOf(text).entries()) {
    const match = /^\s*([^\s=]+)(.*)$/s.exec(line.split('#', 1)[0] ?? '');
    if (match?.[1] !== undefined && equalsIgnoringCase(match[1], key))
      found.push({ value: match[2]?.trim().replace(/^=/, '').trim() ?? '', line: index + 1 });
  }
  return found;
}

/** `$Key value` and, in parentheses, `key="value"`, see rsyslog.conf(5). The last one counts. */
export function rsyslogSetting(text: string, key: string): Setting | undefined {
  let found: Setting | undefined;
  const wanted = key.toLowerCase();
  for (const [index, line] of linesOf(text).entries()) {
    if (/^\s*#/.test(line)) continue;
    const old = /^\s*\$(\w+)\s+(\S+)/.exec(line);
    if (old?.[1] !== undefined && equalsIgnoringCase(old[1], key)) found = { value: old[2] ?? '', line: index + 1 };
    for (const [, name = '', value = ''] of line.matchAll(/\b(\w+)\s*=\s*"([^"]*)"/g))
      if (name.toLowerCase() === wanted) found = { value, line: index + 1 };
  }
  return found;
}

/** A member of a JSON object, `log-opts.max-size`. @throws SyntaxError if the text is not JSON */
export function jsonSetting(text: string, key: string): unknown {
  let at: unknown = JSON.parse(text);
  for (const name of key.split('.')) {
    if (typeof at !== 'object' || at === null || !Object.hasOwn(at, name)) return undefined;
    at = (at as Record<string, unknown>)[name];
  }
  return at;
}
