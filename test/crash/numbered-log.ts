import { appendFileSync, mkdirSync, renameSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { LogPosition } from '../../src/linux/audit/log-tail.ts';
import type { Random } from './random.ts';

/** Marks the events that are counted; their number follows. */
export const MARK = 'vakt-number-';
/** Of those that say the same, for aggregation. */
export const COMMANDS = 5;

const LOG = 'var/log/audit/audit.log';
const KEPT_FILES = 50;
/** Far from any process there is: nothing may be looked up about these. */
const FIRST_PID = 5_000_000;

/** A record, and which numbered start it is of. */
interface Line {
  readonly text: string;
  readonly number?: number;
}

/**
 * A host's root directory with a log of auditd's that tells of numbered program starts, as the kernel and auditd do it:
 * the records of several starts lie between one another, their serials are out of order, what is written last may end in
 * the middle of a record, and rotation may part the records of one start.
 */
export class NumberedLog {
  readonly root: string;
  readonly #random: Random;
  readonly #distinct: boolean;
  readonly #path: string;
  #serial: number;
  #appended = 0;
  /** What auditd has not written yet. */
  #unwritten = '';
  /** Bytes written before the file that is written now, and where each file begins in all of them. */
  #before = 0;
  #size = 0;
  readonly #starts = new Map<number, number>();
  /** By number: where its last record ends, in all bytes. */
  readonly #ends: number[] = [];

  /** @param distinct whether every start has a number of its own, or is one of COMMANDS that come again and again */
  constructor(root: string, random: Random, { distinct = true } = {}) {
    this.root = root;
    this.#random = random;
    this.#distinct = distinct;
    this.#serial = random.between(1, 100_000);
    this.#path = join(root, LOG);
    mkdirSync(join(root, 'var/log/audit'), { recursive: true });
    for (const folder of ['proc', 'sys', 'etc']) symlinkSync(`/${folder}`, join(root, folder));
    this.#begin();
  }

  /** Numbers 0 up to here, less one, have been appended. */
  get appended(): number {
    return this.#appended;
  }

  /** Where the last record of a number ends, and where all ends, counted over all files. */
  endOf(number: number): number {
    return this.#ends[number] ?? Number.POSITIVE_INFINITY;
  }

  get end(): number {
    return this.#before + this.#size;
  }

  /** A place in one of the files, counted over all of them. */
  placeOf({ inode, offset }: LogPosition): number | undefined {
    const start = this.#starts.get(inode);
    return start === undefined ? undefined : start + offset;
  }

  /** Appends so many numbered starts, the last of them perhaps not to its end. */
  burst(count: number): void {
    const events = Array.from({ length: count }, () => this.#numbered());
    this.#write(this.#interleaved(events), true);
  }

  /** Appends the start of a program that the agent itself has run. */
  ran(pid: number, argv: readonly string[]): void {
    this.#write(lines(this.#header(), pid, argv), false);
  }

  /** Writes what is still to be written. */
  complete(): void {
    this.#write([], false);
  }

  /** As auditd does it: between two records. */
  rotate(): void {
    const lineEnd = this.#unwritten.indexOf('\n') + 1;
    this.#put(this.#unwritten.slice(0, lineEnd));
    this.#unwritten = this.#unwritten.slice(lineEnd);
    for (let number = KEPT_FILES; number >= 0; number -= 1) {
      const from = number === 0 ? this.#path : `${this.#path}.${number}`;
      if (statSync(from, { throwIfNoEntry: false }) !== undefined) renameSync(from, `${this.#path}.${number + 1}`);
    }
    this.#begin();
  }

  #begin(): void {
    this.#before += this.#size;
    this.#size = 0;
    writeFileSync(this.#path, '');
    this.#starts.set(statSync(this.#path).ino, this.#before);
  }

  #header(): string {
    this.#serial += 1;
    return `msg=audit(${(Date.now() / 1_000).toFixed(3)}:${this.#serial}):`;
  }

  #numbered(): Line[] {
    const number = this.#appended;
    this.#appended += 1;
    const argument = this.#distinct ? `${MARK}${number}` : `${MARK}${this.#random.between(0, COMMANDS - 1)}`;
    const filler = 'x'.repeat(this.#random.between(0, 200));
    const argv = ['/usr/bin/true', argument, ...(this.#distinct ? [filler] : [])];
    return lines(this.#header(), FIRST_PID + number, argv).map((line) => ({ ...line, number }));
  }

  /** The records of all, each start's in their order, but up to three starts at a time between one another. */
  #interleaved(events: readonly Line[][]): Line[] {
    const waiting = [...events];
    const open: Line[][] = [];
    const all: Line[] = [];
    while (waiting.length > 0 || open.length > 0) {
      while (open.length < 3 && waiting.length > 0) open.push(waiting.shift() ?? []);
      const at = this.#random.between(0, open.length - 1);
      const [line] = open[at]?.splice(0, 1) ?? [];
      if (line !== undefined) all.push(line);
      if (open[at]?.length === 0) open.splice(at, 1);
    }
    return all;
  }

  #write(records: readonly Line[], mayStop: boolean): void {
    let end = this.end + this.#unwritten.length;
    for (const { text, number } of records) {
      end += text.length + 1;
      if (number !== undefined) this.#ends[number] = end; // its last record is the last to say so
    }
    const text = this.#unwritten + records.map((record) => `${record.text}\n`).join('');
    const length = mayStop && this.#random.chance(0.5) ? this.#random.between(0, text.length) : text.length;
    this.#unwritten = text.slice(length);
    const middle = this.#random.between(0, length);
    this.#put(text.slice(0, middle));
    this.#put(text.slice(middle, length));
  }

  #put(text: string): void {
    if (text === '') return;
    appendFileSync(this.#path, text);
    this.#size += text.length; // ASCII alone
  }
}

/** As auditd writes them, without what the agent takes no notice of. See test/golden/debian13-6.18/audit-exec.txt. */
function lines(header: string, pid: number, argv: readonly string[]): Line[] {
  const arguments_ = argv.map((argument, index) => `a${index}="${argument}"`).join(' ');
  return [
    `type=SYSCALL ${header} arch=c000003e syscall=59 success=yes exit=0 a0=71e3420 a1=71ac4a0 a2=71d2c40 a3=8 items=2 ppid=1 pid=${pid} auid=4294967295 uid=0 gid=0 euid=0 suid=0 fsuid=0 egid=0 sgid=0 fsgid=0 tty=(none) ses=4294967295 comm="true" exe="/usr/bin/true" key="vakt"`,
    `type=EXECVE ${header} argc=${argv.length} ${arguments_}`,
    `type=CWD ${header} cwd="/tmp"`,
    `type=PROCTITLE ${header} proctitle=${Buffer.from(argv.join('\0')).toString('hex').toUpperCase()}`,
  ].map((text) => ({ text }));
}
