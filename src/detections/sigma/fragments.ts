import { Refused } from './rule.ts';

/*
 * Parts of expressions by name: with the modifiers `re` and `expand`, `%command%nc ` is an expression for `nc` as a command,
 * and `%run%/etc/init.d/%below%` one for a script in that folder.
 */
const FRAGMENTS: Readonly<Record<string, string>> = {
  /**
   * Where the name of a command can stand: at the beginning of a line or of a statement, behind `sh -c`, in a crontab, or
   * behind a word that takes a command; with assignments and a folder before it. So `apt install tor` and `/etc/tor` are no `tor`.
   */
  command:
    '(^|[;&|(`"{!] ?|-[a-z]*c ["\']?|\\* (root )?|\\b(do|then|else|time|sudo|exec|xargs|nohup|env|busybox|parallel) )(\\w+=\\S* )*(\\S*/)?',
  /** The folders of programs, where only root can write: anybody can give a file in /tmp the name of a harmless program. */
  system: '^(/usr(/local)?)?/s?bin/',
  /** What runs a script, up to its path; not `sh -c`, whose text anybody chooses. */
  run: '^((/usr)?/bin/)?(((ba|da|a|k)?sh|perl|python[0-9.]*|[gm]?awk)( -[abd-zA-BD-Z]+)* )?',
  /** Folders of scripts, where only root can write. */
  place: '((/usr(/local)?)?/s?bin/|(/usr)?/(lib|libexec|share)/([^/. ][^/ ]*/)*|/etc/([^/. ][^/ ]*/)*)',
  /** The rest of a path, and the end of the word. `..` is accepted at its beginning only: one folder up, not to /tmp. */
  below: '[^\\s/]*(/[^\\s/.][^\\s/]*)*(\\s|$)',
};

/** An expression whose placeholders are replaced. @throws {Refused} if one is not known */
export const withFragments = (expression: string): string =>
  expression.replace(/%([A-Za-z_][\w.-]*)%/g, (_, name: string) => {
    if (Object.hasOwn(FRAGMENTS, name)) return FRAGMENTS[name] ?? '';
    throw new Refused(`"%${name}%" is no part of expressions; known: ${Object.keys(FRAGMENTS).join(', ')}`);
  });
