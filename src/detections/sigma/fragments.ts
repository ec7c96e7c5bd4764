import { Refused } from './rule.ts';

/*
 * Parts of expressions by name: with the modifiers `re` and `expand`, `%command%nc ` is an expression for `nc` as a command.
 */
const FRAGMENTS: Readonly<Record<string, string>> = {
  /**
   * Where the name of a command can stand: at the beginning of a line or of a statement, behind `sh -c`, in a crontab, or behind a
   * word that takes a command; with assignments and a folder before it. So `apt install tor` and `/etc/tor` are no `tor`.
   */
  command:
    '(^|[;&|(`"{!] ?|-[a-z]*c ["\']?|\\* (root )?|\\b(do|then|else|time|sudo|exec|xargs|nohup|env|busybox|parallel) )(\\w+=\\S* )*(\\S*/)?',
};

/** An expression whose placeholders are replaced. @throws {Refused} if one is not known */
export const withFragments = (expression: string): string =>
  expression.replace(/%([A-Za-z_][\w.-]*)%/g, (_, name: string) => {
    if (Object.hasOwn(FRAGMENTS, name)) return FRAGMENTS[name] ?? '';
    throw new Refused(`"%${name}%" is no part of expressions; known: ${Object.keys(FRAGMENTS).join(', ')}`);
  });
