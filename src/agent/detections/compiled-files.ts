import { createHash } from 'node:crypto';
import { lstatSync } from 'node:fs';
import { errnoOf, messageOf } from '../../core/base/errors.ts';
import type { Logger } from '../../core/base/log.ts';
import { readPlainFile } from '../../core/base/plain-file.ts';
import { isPlainObject } from '../../core/base/values.ts';
import { VERSION } from '../../core/base/version.ts';
import { STATE_FILES } from '../state/read-state.ts';
import type { StateFiles } from '../state/state-files.ts';
import { visit } from './sigma/log-source.ts';
import type { KnownLiterals } from './sigma/modifiers.ts';
import type { Document, ParsedRule } from './sigma/rule.ts';

/** Maximum size of all compiled files together, in bytes; larger sets are compiled at each start. */
const MAX_FILE_BYTES = STATE_FILES['detection-rules.json'];
/** Change this when the format, or the result of reading YAML, changes within a version. */
const FORM = `vakt ${VERSION} 2`;

/** Content of the file in the state directory; its first line is the SHA-256 of the rest. */
interface StoredRules {
  readonly form: string;
  /** Documents, keyed by the SHA-256 of their file. */
  readonly files: Readonly<Record<string, readonly unknown[]>>;
  /** Literals of all expressions; null if none are known. */
  readonly literals: Readonly<Record<string, readonly string[] | null>>;
}

export interface RuleFile {
  readonly path: string;
  readonly text: string;
  /** The documents of the file; omitted if it has a fault. */
  readonly documents?: readonly Document[];
  /** Whether the documents were compiled before. */
  readonly wasCompiled?: boolean;
}

/** Files that were compiled before. */
export interface Compiled {
  readonly digests: ReadonlySet<string>;
  /** The documents of a known file, without the lines of their members. */
  find(file: RuleFile): readonly Document[] | undefined;
}

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');

const NOTHING: Compiled = { digests: new Set(), find: () => undefined };

/**
 * The compiled rule files of the operator, keyed by SHA-256, so that a start neither parses YAML nor checks costs. The file is in
 * the state directory, which is as trustworthy as the events in it. It is rebuilt if it is damaged, of another version, or not
 * owned by this user.
 */
export class CompiledFiles {
  readonly #path: string;
  readonly #files: StateFiles;
  readonly #log: Logger;

  constructor({ path, files, log }: { path: string; files: StateFiles; log: Logger }) {
    this.#path = path;
    this.#files = files;
    this.#log = log;
  }

  read(): Compiled {
    try {
      const text = readPlainFile(this.#path, MAX_FILE_BYTES);
      const { uid, mode } = lstatSync(this.#path);
      if (uid !== process.geteuid?.() || (mode & 0o022) !== 0) throw new Error('others can write to it');
      const end = text.indexOf('\n');
      if (end === -1 || sha256(text.slice(end + 1)) !== text.slice(0, end)) throw new Error('it is damaged');
      const stored: unknown = JSON.parse(text.slice(end + 1));
      if (!isStoredRules(stored)) throw new Error('it has another form');
      return stored.form === FORM ? compiled(stored) : NOTHING;
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return NOTHING;
      this.#log.warn(
        { file: this.#path, reason: messageOf(error) },
        'Could not use the saved detection rules; compiling the rule files again.',
      );
      this.forget();
      return NOTHING;
    }
  }

  /**
   * Stores these files, which have no faults, and drops all others.
   *
   * @param rules all rules of these files
   * @param before the files stored now
   */
  keep(files: readonly RuleFile[], rules: readonly ParsedRule[], before: Compiled): void {
    const byDigest = new Map(files.map(({ text, documents = [] }) => [sha256(text), documents]));
    if (byDigest.size === before.digests.size && [...byDigest.keys()].every((each) => before.digests.has(each))) return;
    const stored: StoredRules = {
      form: FORM,
      files: Object.fromEntries([...byDigest].map(([digest, all]) => [digest, all.map(({ value }) => value)])),
      literals: literalsOf(rules),
    };
    const text = JSON.stringify(stored);
    const whole = `${sha256(text)}\n${text}`;
    if (byDigest.size === 0 || Buffer.byteLength(whole) > MAX_FILE_BYTES) this.forget();
    else this.#files.replace(this.#path, whole, (error) => this.#done(error));
  }

  /** Call this when the operator has no rules any more. */
  forget(): void {
    this.#files.remove(this.#path, (error) => this.#done(error));
  }

  #done(error: unknown): void {
    if (error === undefined) return;
    const reason = messageOf(error);
    this.#log.warn({ file: this.#path, reason }, 'Could not save the compiled detection rules.');
  }
}

function compiled(stored: StoredRules): Compiled {
  const literals: KnownLiterals = new Map(Object.entries(stored.literals).map(([key, all]) => [key, all ?? undefined]));
  const files = new Map(Object.entries(stored.files));
  return {
    digests: new Set(files.keys()),
    find: ({ path, text }) =>
      files
        .get(sha256(text))
        ?.map((value) => ({ file: path, origin: 'local', value, literals, lineOf: () => undefined })),
  };
}

function literalsOf(rules: readonly ParsedRule[]): StoredRules['literals'] {
  const literals: [string, readonly string[] | null][] = [];
  for (const rule of rules) {
    if (rule.is === 'correlation' || rule.facts.origin !== 'local') continue;
    visit(rule.expression, (_, test) => {
      if (test?.is === 'pattern') literals.push([test.key, test.pattern.literals ?? null]);
    });
  }
  return Object.fromEntries(literals);
}
const isTexts = (value: unknown): boolean =>
  value === null || (Array.isArray(value) && value.every((each) => typeof each === 'string'));

const isStoredRules = (value: unknown): value is StoredRules =>
  isPlainObject(value) &&
  typeof value.form === 'string' &&
  isPlainObject(value.files) &&
  Object.values(value.files).every(Array.isArray) &&
  isPlainObject(value.literals) &&
  Object.values(value.literals).every(isTexts);
