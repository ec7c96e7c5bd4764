import type { AuditFields } from './event.ts';

/* The text of audit records, after their header. Text comes in as latin1, one character a byte, so that what is cut out
 * of it can be decoded byte for byte. What programs can choose (names, arguments) is hostile: nothing here throws. */

/** A record has some thirty fields; the rest of one that claims more is left unread. */
const MAX_FIELDS = 128;

/**
 * Fields whose value the kernel, or a program through libaudit, writes as hexadecimal digits when it holds a space, a
 * quote, or anything outside printable ASCII. Otherwise it is quoted, so that the two can't be taken for each other.
 * Other fields hold hexadecimal numbers (`a0=7ffd1c`), which must stay as they are.
 * Source: audit_log_untrustedstring() in kernel/audit.c and its callers.
 */
const ENCODED = new Set(['comm', 'exe', 'name', 'cwd', 'proctitle', 'key', 'acct', 'cmd', 'dir', 'path', 'data']);

/**
 * The order in which the kernel writes a SYSCALL record's fields; see audit_log_exit() in kernel/auditsc.c. A name that is
 * where it is expected need not be cut out of the text: they are half of what parsing would leave behind.
 */
const USUAL_ORDER =
  'arch syscall success exit a0 a1 a2 a3 items ppid pid auid uid gid euid suid fsuid egid sgid fsgid tty ses comm exe key'.split(
    ' ',
  );

const EQUALS = 0x3d;
const QUOTE = 0x22;
const APOSTROPHE = 0x27;
const BLANK = 0x20;

/**
 * The fields of a record: `name=value` or `name="value"`, separated by spaces.
 *
 *     arch=c000003e syscall=59 success=yes exit=0 a0=2799c280 a1=2795dbf0 a2=2799adf0 a3=8 items=2 ppid=5987 pid=6000 ↩
 *     auid=4294967295 uid=0 gid=0 euid=0 suid=0 fsuid=0 egid=0 sgid=0 fsgid=0 tty=(none) ses=4294967295 comm="ls" ↩
 *     exe="/usr/bin/ls" key="vakt"
 *     pid=4242 uid=0 auid=0 ses=3 msg='op=PAM:session_open acct="root" exe="/usr/sbin/sshd" res=success'
 *
 * A value of `(null)` is absent. Fields within `msg='…'`, which a program wrote, count as the record's own; of several
 * with one name the first counts, so that none of them takes the place of what the kernel says.
 *
 * @param text as latin1
 * @param wanted the only fields to keep; all when not given
 */
export function parseFields(text: string, wanted?: ReadonlySet<string>): AuditFields {
  const fields: Record<string, string> = {};
  const end = text.length;
  let at = 0;
  for (let count = 0; count < MAX_FIELDS && at < end; count += 1) {
    const guess = USUAL_ORDER[count];
    let name: string;
    let equals: number;
    if (guess !== undefined && text.charCodeAt(at + guess.length) === EQUALS && text.startsWith(guess, at)) {
      name = guess;
      equals = at + guess.length;
    } else {
      equals = text.indexOf('=', at);
      if (equals === -1) break;
      name = text.slice(at, equals);
      // `subj=/usr/sbin/ntpd (enforce) key=…`: AppArmor's labels contain a space, and the part after it isn't a field.
      const blank = name.lastIndexOf(' ');
      if (blank !== -1) name = name.slice(blank + 1);
    }
    const first = text.charCodeAt(equals + 1);
    if (first === APOSTROPHE) {
      at = equals + 2;
      continue;
    }
    const unwanted = wanted !== undefined && !wanted.has(name);
    let value: string;
    if (first === QUOTE) {
      const close = text.indexOf('"', equals + 2);
      const stop = close === -1 ? end : close;
      at = stop + 2;
      if (unwanted) continue;
      value = text.slice(equals + 2, stop);
    } else {
      const next = text.indexOf(' ', equals + 1);
      const stop = next === -1 ? end : next;
      at = stop + 1;
      if (unwanted) continue;
      value = text.slice(equals + 1, text.charCodeAt(stop - 1) === APOSTROPHE ? stop - 1 : stop);
      if (ENCODED.has(name)) {
        if (value === '(null)') continue;
        value = decodeHex(value);
      }
    }
    // Not a name of the kernel's, and one that would access members outside the object.
    if (name === '__proto__') continue;
    if (fields[name] === undefined) fields[name] = value;
  }
  return fields;
}

/** Start of the program's part of a user record, after the kernel's; see audit_receive_msg() in kernel/audit.c. */
const MESSAGE = " msg='";
/** The kernel's fields in a user record about the process that wrote it. */
const KERNELS: readonly string[] = ['pid', 'uid', 'auid', 'ses'];

/**
 * The fields of a record that a program wrote through libaudit. The program's values never replace the kernel's, even
 * if the kernel omitted a field.
 *
 *     pid=4242 uid=0 auid=0 ses=3 msg='op=PAM:session_open acct="root" exe="/usr/sbin/sshd" res=success'
 */
export function parseUserFields(text: string): AuditFields {
  const at = text.indexOf(MESSAGE);
  if (at === -1) return parseFields(text);
  const fields: Record<string, string | undefined> = { ...parseFields(text.slice(at + MESSAGE.length)) };
  for (const name of KERNELS) delete fields[name];
  return Object.assign(fields, parseFields(text.slice(0, at)));
}

/** The kept fields of a SYSCALL record: process, user, origin and result. */
export const CALL_FIELDS: ReadonlySet<string> = new Set(
  'arch syscall success exit a0 a1 a2 a3 ppid pid auid uid euid tty exe'.split(' '),
);

/** The kept ones among the fields in their usual order, up to the last of them. */
const USUAL_CALL = USUAL_ORDER.slice(0, USUAL_ORDER.indexOf('exe') + 1).map((name) => ({
  name,
  kept: CALL_FIELDS.has(name),
}));

/**
 * The fields of a SYSCALL record that are kept; as parseFields would give them, for a third of what that costs. There is
 * one such record for every event, and nearly all are in the usual order.
 *
 * @param text as latin1
 */
export function parseCall(text: string): AuditFields {
  const kept: string[] = [];
  let at = 0;
  for (const field of USUAL_CALL) {
    const equals = at + field.name.length;
    if (text.charCodeAt(equals) !== EQUALS || !text.startsWith(field.name, at)) return parseFields(text, CALL_FIELDS);
    const isQuoted = text.charCodeAt(equals + 1) === QUOTE;
    const from = isQuoted ? equals + 2 : equals + 1;
    const found = text.indexOf(isQuoted ? '"' : ' ', from);
    const to = found === -1 ? text.length : found;
    at = isQuoted ? to + 2 : to + 1;
    if (!field.kept) continue;
    // Unquoted, the image's path is encoded, or absent.
    if (!isQuoted && field.name === 'exe') return parseFields(text, CALL_FIELDS);
    kept.push(text.slice(from, to));
  }
  // A destructuring pattern would be slower: V8 would create an iterator for each.
  return {
    arch: kept[0],
    syscall: kept[1],
    success: kept[2],
    exit: kept[3],
    a0: kept[4],
    a1: kept[5],
    a2: kept[6],
    a3: kept[7],
    ppid: kept[8],
    pid: kept[9],
    auid: kept[10],
    uid: kept[11],
    euid: kept[12],
    tty: kept[13],
    exe: kept[14],
  };
}

/** One field, for records of which nothing else is needed: `cwd="/tmp"` or `cwd=2F746D702F6120`. */
export function parseField(text: string, name: string): string | undefined {
  // Mostly it is the first, or all there is.
  const from = name.length + 2;
  if (text.charCodeAt(from - 1) === QUOTE && text.charCodeAt(from - 2) === EQUALS && text.startsWith(name)) {
    const close = text.indexOf('"', from);
    return text.slice(from, close === -1 ? text.length : close);
  }
  return parseFields(text)[name];
}

/** The value as UTF-8 when it is all pairs of hexadecimal digits, else itself: `(none)`, `?`. */
function decodeHex(value: string): string {
  const bytes = hexBytes(value);
  return bytes === undefined ? value : bytes.toString('utf8');
}

function hexBytes(value: string): Buffer | undefined {
  if (value.length % 2 !== 0) return undefined;
  const bytes = Buffer.from(value, 'hex'); // stops at the first invalid pair
  return bytes.length * 2 === value.length ? bytes : undefined;
}

/**
 * Maximum size of one program's kept arguments, in bytes; each argument counts one more for its end. A message to the
 * hub holds at most 256 KB, so a longer command line could not be sent whole anyway. Linux allows several megabytes.
 */
export const MAX_ARGUMENT_BYTES = 128 * 1024;

export interface Arguments {
  readonly argv: readonly string[];
  /** Bytes beyond MAX_ARGUMENT_BYTES that were left out: from the end of the last argument, and those after it. */
  readonly bytesCut: number;
}

/** An argument that comes in pieces, with the length that the kernel said it has. */
interface Pieces {
  /** In characters of the record, two a byte where they are digits. Absent until the record with it has come. */
  declared?: number;
  seen: number;
  seenBytes: number;
  /** Keyed by number; what a lost record held is missing. Bytes as latin1. */
  readonly pieces: string[];
}

/**
 * Puts the arguments of a program together, from one or more EXECVE records of an event in any order.
 *
 *     argc=4 a0="/bin/ls" a1=612062 a2=227822 a3=C3A9
 *
 * Long ones are cut into pieces, and spread over as many records as it takes:
 *
 *     argc=4 a0="/bin/true" a1_len=20000 a1[0]=787878787878…
 *      a1[1]=787878787878787878787878…
 *      a1[2]=7878787878787878 a2="end" a3_len=16000 a3[0]=7A7A7A7A…
 *      a3[1]=7A7A7A7A7A7A7A7A
 *
 * Source: audit_log_execve_info() in kernel/auditsc.c.
 */
export class ArgumentCollector {
  #argc: number | undefined;
  /** Keyed by number: decoded text, or pieces. */
  readonly #arguments: (string | Pieces | undefined)[] = [];
  #kept = 0;
  #cut = 0;

  /** Bytes held, for the caller's own bound. */
  get size(): number {
    return this.#kept;
  }

  /** @param text the body of an EXECVE record, as latin1 */
  add(text: string, at = 0): void {
    const end = text.length;
    while (at < end) {
      if (text.charCodeAt(at) === BLANK) {
        at += 1; // every record but the first starts with one
        continue;
      }
      const equals = text.indexOf('=', at);
      if (equals === -1) return;
      const quoted = text.charCodeAt(equals + 1) === QUOTE;
      const from = quoted ? equals + 2 : equals + 1;
      const found = text.indexOf(quoted ? '"' : ' ', from);
      const to = found === -1 ? end : found;
      this.#take(text, at, equals, text.slice(from, to), quoted);
      at = quoted ? to + 2 : to + 1;
    }
  }

  /** @returns `undefined` when some of it never came */
  finish(): Arguments | undefined {
    if (this.#argc === undefined) return undefined;
    const argv: string[] = [];
    for (const argument of this.#arguments) {
      if (argument === undefined) {
        if (this.#cut === 0) return undefined;
        break;
      }
      if (typeof argument === 'string') argv.push(argument);
      else if (argument.seen !== argument.declared && argument.seenBytes !== argument.declared) return undefined;
      else argv.push(fromBytes(argument.pieces.join('')));
    }
    if (this.#cut === 0 && argv.length !== this.#argc) return undefined;
    return { argv, bytesCut: this.#cut };
  }

  /** Takes `argc=`, `a1=`, `a1_len=` or `a1[0]=`: the name is text from `at` to `equals`. */
  #take(text: string, at: number, equals: number, value: string, quoted: boolean): void {
    if (text.startsWith('argc', at)) {
      const argc = Number(value);
      if (Number.isSafeInteger(argc) && argc >= 0) this.#argc = argc;
      return;
    }
    let next = at + 1; // after the `a`
    let number = 0;
    for (let digit = text.charCodeAt(next) - 0x30; digit >= 0 && digit <= 9; digit = text.charCodeAt(next) - 0x30) {
      number = number * 10 + digit;
      next += 1;
    }
    if (next === at + 1 || text.charCodeAt(at) !== 0x61 || number > MAX_ARGUMENT_BYTES) return;
    if (next === equals) {
      if (this.#arguments[number] !== undefined) return;
      const bytes = quoted ? value : (hexBytes(value)?.toString('latin1') ?? value);
      const kept = this.#admit(bytes, 1);
      if (kept !== undefined) this.#arguments[number] = quoted ? kept : fromBytes(kept);
    } else if (text.startsWith('_len', next)) {
      const pieces = this.#piecesOf(number);
      if (pieces !== undefined) pieces.declared ??= Number(value);
    } else {
      const piece = Number(text.slice(next + 1, equals - 1));
      if (!Number.isSafeInteger(piece) || piece < 0 || piece > MAX_ARGUMENT_BYTES) return;
      const bytes = quoted ? value : (hexBytes(value)?.toString('latin1') ?? value);
      const pieces = this.#piecesOf(number);
      if (pieces === undefined) this.#cut += bytes.length;
      else if (pieces.pieces[piece] === undefined) {
        pieces.seen += value.length;
        pieces.seenBytes += bytes.length;
        pieces.pieces[piece] = this.#admit(bytes, 0) ?? '';
      }
    }
  }

  /** @returns `undefined` when no space is left for another argument */
  #piecesOf(number: number): Pieces | undefined {
    const known = this.#arguments[number];
    if (typeof known === 'object') return known;
    if (known !== undefined || this.#kept >= MAX_ARGUMENT_BYTES) return undefined;
    this.#kept += 1; // its end
    const pieces: Pieces = { seen: 0, seenBytes: 0, pieces: [] };
    this.#arguments[number] = pieces;
    return pieces;
  }

  /** The part of an argument that still fits, or `undefined` if no space is left. */
  #admit(bytes: string, terminator: 0 | 1): string | undefined {
    const space = MAX_ARGUMENT_BYTES - this.#kept;
    if (space <= 0) {
      this.#cut += bytes.length + terminator;
      return undefined;
    }
    const kept = bytes.length > space ? bytes.slice(0, space) : bytes;
    this.#kept += kept.length + terminator;
    this.#cut += bytes.length - kept.length;
    return kept;
  }
}

const fromBytes = (latin1: string): string => Buffer.from(latin1, 'latin1').toString('utf8');

/** What a program was started with. */
export interface Command extends Arguments {
  /** The arguments, joined by one space. */
  readonly line: string;
}

export const commandOf = (args: Arguments): Command => ({ ...args, line: joined(args.argv) });

/** V8 returns a single part as it is, which may refer to the record's whole text; several parts are copied. */
const joined = (argv: readonly string[]): string =>
  argv.length > 1 ? argv.join(' ') : Buffer.from(argv[0] ?? '').toString();
