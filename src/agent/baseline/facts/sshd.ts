import { posix } from 'node:path';
import type { Unreadable } from '../../host/host-files.ts';
import type { Access } from '../access.ts';

/** The part of `Access` that is needed here. */
type Needs = Pick<Access, 'files' | 'pace'>;

/** One setting, with its file and line. */
export interface SshdSetting {
  readonly key: string;
  readonly value: string;
  readonly where: string;
  /** The `Match` line that limits it. If absent, it applies to all connections. */
  readonly match?: string;
}

/** The settings in the order in which sshd reads them. The first of several that apply to all connections counts. */
export interface SshdConfig {
  readonly settings: readonly SshdSetting[];
  readonly unreadable?: Unreadable;
  readonly exists: boolean;
}

const MAIN = '/etc/ssh/sshd_config';
const MAX_SETTINGS = 2_000;
const MAX_DEPTH = 16;
/** Limits the files, so that cyclic includes end. */
const MAX_FILES = 200;
const LONGEST_LINE = 4_096;

const QUOTES = ['"', "'"];

/** The words of a line, as sshd splits them, without its comment. @returns `undefined` if a quote has no end */
function wordsIn(text: string): readonly string[] | undefined {
  const words: string[] = [];
  let word: string | undefined;
  let quote: string | undefined;
  for (let at = 0; at < text.length; at += 1) {
    const char = text.charAt(at);
    const next = text.charAt(at + 1);
    if (char === '\\' && (QUOTES.includes(next) || next === '\\' || (next === ' ' && quote === undefined))) {
      word = (word ?? '') + next;
      at += 1;
    } else if (char === quote) quote = undefined;
    else if (quote !== undefined) word += char;
    else if (QUOTES.includes(char)) {
      quote = char;
      word ??= '';
    } else if (/\s/.test(char)) {
      if (word !== undefined) words.push(word);
      word = undefined;
    } else if (char === '#' && word === undefined) break;
    else word = (word ?? '') + char;
  }
  if (quote !== undefined) return undefined;
  return word === undefined ? words : [...words, word];
}

const unreadable = (reason: string): Unreadable => ({ unreadable: reason, denied: false });

/** sshd_config(5), with its `Include`s. Options on sshd's command line are not seen. */
export async function readSshd(access: Needs): Promise<SshdConfig> {
  const settings: SshdSetting[] = [];
  const problems: Unreadable[] = [];
  let files = 0;
  const collect = async (path: string, match: string | undefined, depth: number): Promise<boolean> => {
    if (++files > MAX_FILES) {
      problems.push(unreadable(`${MAIN} includes more than ${MAX_FILES} files`));
      return true;
    }
    const look = access.files.text(path);
    await access.pace();
    if ('unreadable' in look) problems.push(look);
    if (!('found' in look)) return 'unreadable' in look;
    let within = match;
    for (const [index, raw] of look.found.split('\n').entries()) {
      const [, key = '', rest = ''] = /^\s*([A-Za-z0-9]+)(?=[\s=])\s*=?(.*)$/s.exec(raw.slice(0, LONGEST_LINE)) ?? [];
      if (raw.length > LONGEST_LINE) problems.push(unreadable(`${path} has a line longer than ${LONGEST_LINE}`));
      if (key === '') continue;
      if (settings.length >= MAX_SETTINGS) {
        problems.push(unreadable(`${MAIN} has more than ${MAX_SETTINGS} settings`));
        return true;
      }
      const words = wordsIn(rest);
      const value = words?.join(' ') ?? rest.trim();
      const name = key.toLowerCase();
      if (name === 'match') within = /^all$/i.test(value) ? undefined : value;
      else if (name === 'include' && depth >= MAX_DEPTH)
        problems.push(unreadable(`${MAIN} includes files more than ${MAX_DEPTH} deep`));
      else if (name === 'include') {
        // sshd refuses a quote without an end. A backslash means one thing to sshd and another to glob(3).
        if (words === undefined || value.includes('\\'))
          problems.push(unreadable(`${path}:${index + 1} includes files in a way that is not understood`));
        for (const glob of (files <= MAX_FILES && words) || []) {
          const { paths, unreadable } = access.files.expand(posix.resolve('/etc/ssh', glob));
          if (unreadable !== undefined) problems.push(unreadable);
          for (const included of paths) if (files <= MAX_FILES) await collect(included, within, depth + 1);
        }
      } else
        settings.push({
          key: name,
          value,
          where: `${path}:${index + 1}`,
          ...(within === undefined ? {} : { match: within }),
        });
    }
    return true;
  };
  const exists = await collect(MAIN, undefined, 0);
  const [problem] = problems;
  return { settings, exists, ...(problem === undefined ? {} : { unreadable: problem }) };
}
