import { posix } from 'node:path';
import type { Unreadable } from '../../host/host-files.ts';
import type { Access } from '../access.ts';

/** The part of `Access` that is needed here. */
type Needs = Pick<Access, 'files' | 'pace'>;

/** One module in a stack, see pam.conf(5). */
export interface PamLine {
  /** `auth`, `account`, `password` or `session`. */
  readonly type: string;
  /** `required`, `[success=1 default=ignore]`, … */
  readonly control: string;
  /** Without folder and `.so`: `pam_unix`. */
  readonly module: string;
  readonly args: readonly string[];
  readonly where: string;
}

/** A stack with its includes, in the order of execution. */
export interface PamStack {
  readonly lines: readonly PamLine[];
  /** A part that could not be read. */
  readonly unreadable?: Unreadable;
}

const FOLDERS = ['/etc/pam.d', '/usr/lib/pam.d', '/usr/share/pam.d'];
const MAX_LINES = 1_000;
const MAX_DEPTH = 8;
/** Maximum files of a stack, so that cyclic includes end. */
const MAX_FILES = 30;
const MAX_STACKS = 200;
const MAX_BYTES = 32 * 1024;

/** The stacks of /etc/pam.d. */
export class Pam {
  readonly #access: Needs;
  readonly #stacks = new Map<string, PamStack | undefined>();
  #lines: readonly PamLine[] = [];
  /** Files read so far for the current stack. */
  #files = 0;
  #problem: Unreadable | undefined;

  private constructor(access: Needs) {
    this.#access = access;
  }

  static async read(access: Needs): Promise<Pam> {
    const pam = new Pam(access);
    const names = access.files.names(FOLDERS[0] ?? '');
    const lines: PamLine[] = [];
    if ('unreadable' in names) pam.#problem ??= names;
    const all = 'found' in names ? names.found : [];
    if (all.length > MAX_STACKS) pam.#problem ??= unreadable(`/etc/pam.d holds more than ${MAX_STACKS} stacks`);
    for (const name of all.slice(0, MAX_STACKS)) {
      const stack = pam.stack(name);
      lines.push(...(stack?.lines ?? []));
      pam.#problem ??= stack?.unreadable;
      await access.pace();
    }
    pam.#lines = lines;
    return pam;
  }

  /** @returns `undefined` if the stack does not exist */
  stack(name: string): PamStack | undefined {
    if (!this.#stacks.has(name)) this.#stacks.set(name, this.#read(name));
    return this.#stacks.get(name);
  }

  /** Why a module that was not found may still be in a stack. */
  get unreadable(): Unreadable | undefined {
    return this.#problem;
  }

  /** Whether any stack has the module. */
  uses(module: string): boolean {
    return this.linesOf(module).length > 0;
  }

  /** File and line of the module in any stack. */
  linesOf(module: string): readonly PamLine[] {
    return this.#lines.filter((line) => line.module === module);
  }

  #read(name: string): PamStack | undefined {
    const lines: PamLine[] = [];
    const problems: Unreadable[] = [];
    this.#files = 0;
    const exists = this.#collect(name, undefined, lines, problems, []);
    if (!exists) return undefined;
    const [problem] = problems;
    return problem === undefined ? { lines } : { lines, unreadable: problem };
  }

  /**
   * @param only the type of the lines, as in `auth include common-auth`
   * @param within the stacks that include this one; they are not read again
   */
  #collect(
    name: string,
    only: string | undefined,
    lines: PamLine[],
    problems: Unreadable[],
    within: readonly string[],
  ): boolean {
    if (within.includes(name)) return true;
    if (within.length > MAX_DEPTH || ++this.#files > MAX_FILES) {
      problems.push(unreadable(`${name} is included more than ${MAX_DEPTH} deep, or after ${MAX_FILES} other files`));
      return true;
    }
    const paths = name.startsWith('/') ? [name] : FOLDERS.map((folder) => posix.join(folder, name));
    for (const path of paths) {
      const look = this.#access.files.text(path, MAX_BYTES);
      if ('missing' in look) continue;
      if ('unreadable' in look) {
        problems.push(look);
        return true;
      }
      for (const { text, line } of logicalLines(look.found)) {
        if (lines.length >= MAX_LINES) {
          problems.push(unreadable(`a stack has more than ${MAX_LINES} lines`));
          return true;
        }
        const included = /^@include\s+(\S+)/.exec(text)?.[1];
        if (included !== undefined) {
          this.#collect(included, only, lines, problems, [...within, name]);
          continue;
        }
        const match = /^-?(auth|account|password|session)\s+(\[[^\]]*\]|\S+)\s+(\S+)\s*(.*)$/i.exec(text);
        const [, type = '', control = '', target = '', rest = ''] = match ?? [];
        if (match === null || (only !== undefined && type.toLowerCase() !== only)) continue;
        if (control === 'include' || control === 'substack') {
          this.#collect(target, type.toLowerCase(), lines, problems, [...within, name]);
          continue;
        }
        const module = posix.basename(target).replace(/\.so$/, '');
        const args = rest.split(/\s+/).filter((arg) => arg !== '');
        lines.push({ type: type.toLowerCase(), control, module, args, where: `${path}:${line}` });
      }
      return true;
    }
    return false;
  }
}

const unreadable = (reason: string): Unreadable => ({ unreadable: reason, denied: false });

/** Lines without comments. A line that ends in a backslash is joined with the next one. */
function* logicalLines(content: string): Generator<{ text: string; line: number }> {
  let before = '';
  for (const [index, raw] of content.split('\n').entries()) {
    const text = before + raw.slice(0, 4_096).replace(/#.*$/, '').trim();
    if (text.endsWith('\\') && text.length < 8_192) {
      before = `${text.slice(0, -1)} `;
      continue;
    }
    before = '';
    if (text !== '') yield { text, line: index + 1 };
  }
}
