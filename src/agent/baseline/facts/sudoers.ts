import { posix } from 'node:path';
import type { Unreadable } from '../../host/host-files.ts';
import type { Access } from '../access.ts';

/** The part of `Access` that is needed here. */
type Needs = Pick<Access, 'files' | 'pace'>;

/** A line, with those that continue it. */
export interface SudoersLine {
  readonly text: string;
  /** File and line. */
  readonly where: string;
}

export interface Sudoers {
  readonly lines: readonly SudoersLine[];
  /** A part that could not be read. */
  readonly unreadable?: Unreadable;
  readonly exists: boolean;
}

export const MAIN = '/etc/sudoers';
const MAX_LINES = 10_000;
/** Limits the files, so that cyclic includes end. */
const MAX_FILES = 200;
const LONGEST_LINE = 4_096;

const unreadable = (reason: string): Unreadable => ({ unreadable: reason, denied: false });

/** sudoers(5), with the files that it includes, in the order in which sudo reads them. */
export async function readSudoers(access: Needs): Promise<Sudoers> {
  const lines: SudoersLine[] = [];
  let problem: Unreadable | undefined;
  let files = 0;
  const collect = async (path: string): Promise<boolean> => {
    if (++files > MAX_FILES) {
      problem ??= unreadable(`${MAIN} includes more than ${MAX_FILES} files`);
      return true;
    }
    const look = access.files.text(path);
    await access.pace();
    if ('unreadable' in look) problem ??= look;
    if (!('found' in look)) return 'unreadable' in look;
    for (const line of logicalLines(look.found, path)) {
      const [, isFolder, target] = /^\s*[@#]include(dir)?\s+(.*)$/.exec(line.text) ?? [];
      if (line.text.length > LONGEST_LINE) problem ??= unreadable(`${line.where} is longer than ${LONGEST_LINE}`);
      if (lines.length >= MAX_LINES) {
        problem ??= unreadable(`${MAIN} has more than ${MAX_LINES} lines`);
        return true;
      }
      if (target === undefined) {
        lines.push(line);
        continue;
      }
      // %h is the name of the host, which files do not tell for certain.
      const name = /^"([^"\\%]+)"\s*(?:#.*)?$|^([^\s"\\%]+)\s*(?:#.*)?$/.exec(target)?.slice(1).join('');
      if (name === undefined) problem ??= unreadable(`${line.where} includes files in a way that is not understood`);
      else {
        const included = posix.resolve(posix.dirname(path), name);
        for (const each of isFolder === undefined ? [included] : namesIn(included))
          if (files <= MAX_FILES) await collect(each);
      }
    }
    return true;
  };
  /** The files of a folder that sudo reads: none with a dot, or with a tilde at the end. */
  const namesIn = (folder: string): string[] => {
    const names = access.files.names(folder);
    if ('unreadable' in names) problem ??= names;
    const read = 'found' in names ? names.found.filter((name) => !name.includes('.') && !name.endsWith('~')) : [];
    return read.map((name) => posix.join(folder, name)).filter((path) => !access.files.isFolder(path));
  };
  const exists = await collect(MAIN);
  return { lines, exists, ...(problem === undefined ? {} : { unreadable: problem }) };
}

/** A backslash at the end continues a line, but not a comment. `#1000` is a user, `#-1` is a comment, see sudoers(5). */
function* logicalLines(content: string, path: string): Generator<SudoersLine> {
  let before = '';
  const all = content.split('\n');
  for (const [index, raw] of all.entries()) {
    const text = before + raw;
    const isContinued = raw.endsWith('\\') && !/#(?![-0-9])/.test(raw) && index + 1 < all.length;
    before = isContinued && text.length <= LONGEST_LINE ? text.slice(0, -1) : '';
    if (before === '') yield { text, where: `${path}:${index + 1}` };
  }
}
