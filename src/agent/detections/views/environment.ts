/* State of a script while it runs: variables, written files, current directory. */
import { resolvePath } from './paths.ts';

const LONGEST_VALUE = 8_192;
const MAX_VALUES = 64;

/** No variable's name starts with a space. */
const allOf = (name: string): string => ` ${name}`;

export class Environment {
  readonly #variables = new Map<string, string>();
  readonly #files = new Map<string, string>();
  directory: string | undefined;

  constructor(directory: string | undefined) {
    this.directory = directory;
  }

  assign(name: string, value: string): void {
    if (value.length > LONGEST_VALUE || (this.#variables.size >= MAX_VALUES && !this.#variables.has(name))) return;
    this.#variables.set(name, value);
  }

  /** A variable that takes several values in turn. */
  assignEach(name: string, values: readonly string[]): void {
    this.assign(name, values[0] ?? '');
    this.assign(allOf(name), values.join(' '));
  }

  /** All values that a variable takes, if there are several. */
  each(name: string): string | undefined {
    return this.#variables.get(allOf(name));
  }

  append(name: string, value: string): void {
    this.assign(name, (this.#variables.get(name) ?? '') + value);
  }

  value(name: string): string | undefined {
    return this.#variables.get(name) ?? (name === 'PWD' ? this.directory : undefined);
  }

  changeDirectory(to: string): void {
    const directory = resolvePath(to, this.directory);
    this.directory = directory.startsWith('/') ? directory : undefined;
  }

  write(file: string, text: string): void {
    if (this.#files.size < MAX_VALUES && text.length <= LONGEST_VALUE) this.#files.set(this.#key(file), text);
  }

  read(file: string): string | undefined {
    return this.#files.size === 0 ? undefined : this.#files.get(this.#key(file));
  }

  #key(file: string): string {
    return resolvePath(file.startsWith('./') ? file.slice(2) : file, this.directory);
  }
}
