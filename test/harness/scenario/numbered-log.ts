import { appendFileSync, mkdirSync, readFileSync, renameSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ResumePoint } from '../../../src/agent/linux/audit/log-tail.ts';
import { MARK, type NumberedEvents } from './numbered-events.ts';
import type { Random } from './random.ts';

/** Number of equal events, for aggregation. */
export const COMMANDS = 5;

const LOG = 'var/log/audit/audit.log';
const KEPT_FILES = 50;
/** The share of logins, where events are distinct. They are held back by the agent for two seconds. */
const LOGINS = 0.1;
/** Length of an argument that pads a start, in characters. */
const LONGEST_FILLER = 200;
/** Far above the pid of any existing process, so that lookups about these find nothing. */
const FIRST_PID = 5_000_000;

/** A record, and the number of its event. */
interface Line {
  readonly text: string;
  readonly number?: number;
}

interface LogOptions {
  /** Whether every start has a number of its own, or is one of COMMANDS that come again and again. */
  readonly distinct?: boolean;
  readonly longestFiller?: number;
  /** The argument of each start, if it is neither. */
  readonly argument?: () => string;
  /** User of each numbered start. Default: root. */
  readonly userId?: () => number;
}

/**
 * A host's root directory with an auditd log of numbered program starts and logins, as the kernel and auditd write it:
 * the records of several events are interleaved, their serials are out of order, the log may end in the middle of a
 * record, and rotation may separate the records of one event.
 */
export class NumberedLog implements NumberedEvents {
  readonly hostRoot: string;
  readonly isComplete = true;
  readonly #random: Random;
  readonly #distinct: boolean;
  readonly #longestFiller: number;
  readonly #argument: (() => string) | undefined;
  readonly #userId: () => number;
  readonly #path: string;
  #serial: number;
  #appended = 0;
  /** Records that auditd has not written yet. */
  #unwritten = '';
  /** Number of bytes before the current file, and the offset of each file in the whole log. */
  #before = 0;
  #size = 0;
  readonly #starts = new Map<number, number>();
  /** End of an event's last record, in bytes from the start; keyed by number. */
  readonly #ends: number[] = [];
  /** For each kill, the read position that the agent had stored. */
  readonly #kills: number[] = [];
  /** Logins that the agent kept on disk when it was killed: it reports them again, since it can't determine whether they were sent. */
  readonly #held = new Set<number>();
  #mostReadAgain = 0;

  constructor(root: string, random: Random, options: LogOptions = {}) {
    const { distinct = true, longestFiller = LONGEST_FILLER, argument, userId = () => 0 } = options;
    this.#userId = userId;
    this.#argument = argument;
    this.hostRoot = root;
    this.#random = random;
    this.#distinct = distinct;
    this.#longestFiller = longestFiller;
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

  killed(stateDirectory: string): void {
    const readTo = this.#readTo(stateDirectory);
    this.#kills.push(readTo);
    const held = heldLogins(stateDirectory);
    for (const number of held) this.#held.add(number);
    this.#mostReadAgain += this.#ends.filter((end) => end > readTo).length + held.length;
  }

  mostReadAgain(): number {
    return this.#mostReadAgain;
  }

  /** Events that the agent had recorded as reported before it was killed are not read again. */
  wasReadAgain(number: number): boolean {
    const end = this.#ends[number] ?? Number.POSITIVE_INFINITY;
    return this.#held.has(number) || this.#kills.some((readTo) => readTo < end);
  }

  isRead(stateDirectory: string): boolean {
    return this.#readTo(stateDirectory) === this.#end;
  }

  /** Appends this number of events; the last one may be incomplete. */
  burst(count: number): void {
    const events = Array.from({ length: count }, () => this.#numbered());
    this.#write(this.#interleaved(events), true);
  }

  /** Appends the start of a program that the agent itself has run. */
  ran(pid: number, argv: readonly string[]): void {
    this.#write(lines(this.#header(), pid, argv), false);
  }

  /** Writes the remaining records. */
  async complete(): Promise<void> {
    this.#write([], false);
  }

  /** Rotates it, as auditd does: between two records. */
  disturb(): void {
    const lineEnd = this.#unwritten.indexOf('\n') + 1;
    this.#put(this.#unwritten.slice(0, lineEnd));
    this.#unwritten = this.#unwritten.slice(lineEnd);
    for (let number = KEPT_FILES; number >= 0; number -= 1) {
      const from = number === 0 ? this.#path : `${this.#path}.${number}`;
      if (statSync(from, { throwIfNoEntry: false }) !== undefined) renameSync(from, `${this.#path}.${number + 1}`);
    }
    this.#begin();
  }

  get #end(): number {
    return this.#before + this.#size;
  }

  /** The read position that the agent has stored, counted over all files. */
  #readTo(stateDirectory: string): number {
    try {
      const { log } = JSON.parse(readFileSync(join(stateDirectory, 'audit-checkpoint.json'), 'utf8')) as {
        log: ResumePoint;
      };
      const { inode, offset } = log.told ?? log;
      return (this.#starts.get(inode) ?? Number.NaN) + offset;
    } catch {
      return 0;
    }
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
    if (this.#distinct && this.#random.chance(LOGINS)) return [{ ...session(this.#header(), number), number }];
    const argument = this.#argument?.() ?? `${MARK}${this.#distinct ? number : this.#random.between(0, COMMANDS - 1)}`;
    const filler = 'x'.repeat(this.#random.between(0, this.#longestFiller));
    const argv = ['/usr/bin/true', argument, ...(this.#distinct ? [filler] : [])];
    return lines(this.#header(), FIRST_PID + number, argv, this.#userId()).map((line) => ({ ...line, number }));
  }

  /** The records of all events. Each event's records keep their order, but up to three events are interleaved. */
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
    let end = this.#end + this.#unwritten.length;
    for (const { text, number } of records) {
      end += text.length + 1;
      if (number !== undefined) this.#ends[number] = end; // set last by its last record
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

/**
 * Records as auditd writes them, without fields that the agent ignores. See test/golden/debian13-6.18/audit-exec.txt.
 */
function lines(header: string, pid: number, argv: readonly string[], userId = 0): Line[] {
  const arguments_ = argv.map((argument, index) => `a${index}="${argument}"`).join(' ');
  return [
    `type=SYSCALL ${header} arch=c000003e syscall=59 success=yes exit=0 a0=71e3420 a1=71ac4a0 a2=71d2c40 a3=8 items=2 ppid=1 pid=${pid} auid=4294967295 uid=${userId} gid=0 euid=${userId} suid=${userId} fsuid=${userId} egid=0 sgid=0 fsgid=0 tty=(none) ses=4294967295 comm="true" exe="/usr/bin/true" key="vakt"`,
    `type=EXECVE ${header} argc=${argv.length} ${arguments_}`,
    `type=CWD ${header} cwd="/tmp"`,
    `type=PROCTITLE ${header} proctitle=${Buffer.from(argv.join('\0')).toString('hex').toUpperCase()}`,
  ].map((text) => ({ text }));
}

/** The logins that the agent holds back for a better record, read from the file that its next run loads. */
function heldLogins(stateDirectory: string): number[] {
  try {
    const text = readFileSync(join(stateDirectory, 'held-logins.json'), 'utf8');
    return [...text.matchAll(new RegExp(`${MARK}(\\d+)`, 'g'))].map(([, number]) => Number(number));
  } catch {
    return []; // no logins are held back
  }
}

/** A record as PAM writes it for sshd. See test/golden/debian13-6.18/login-ssh-key.txt. */
const session = (header: string, number: number): Line => ({
  text: `type=USER_START ${header} pid=${FIRST_PID + number} uid=0 auid=1000 ses=${number + 1} msg='op=PAM:session_open grantors=pam_loginuid,pam_unix acct="${MARK}${number}" exe="/usr/lib/openssh/sshd-session" hostname=192.0.2.7 addr=192.0.2.7 terminal=ssh res=success'`,
});
