import { type CLibrary, GLIBC } from './c-library.ts';

/* Readers of passwd(5), group(5) and shadow(5) that accept the same lines as the system's C library, so that no account of it
 * is missing here.
 *
 * - glibc's nss_files: spaces before a line or a number, missing fields at the end, ids cut to 32 bits
 * - musl (src/passwd): any name, `#` and `+` included, an empty id is 0, and ids begin again at 0 beyond 32 bits
 * - both: the rest of a line after a NUL is ignored
 *
 * The files are read as bytes, and the bytes of a password hash never become part of a string, since strings are copied
 * into logs, messages and heap dumps. */

const NUL = 0;
const COLON = 0x3a;
const LINE_FEED = 0x0a;

/** A line of passwd(5). */
export interface PasswdLine {
  /** Line number, from 1. */
  readonly line: number;
  readonly name: string;
  /**
   * The name begins with `+` or `-`: an instruction for NIS, and not an account unless nsswitch.conf(5) says `compat`. musl
   * has no such instructions.
   */
  readonly nis: boolean;
  /**
   * - `empty`: no password is required
   * - `none`: the password is in the shadow file (`x`), or no password matches (`*`, `!`, `!!`)
   * - `locked`: `!` or `*` followed by more, usually a disabled hash
   * - `hash`: anything else
   */
  readonly password: 'empty' | 'none' | 'locked' | 'hash';
  /** NaN when it is not a number; NO_ID for ids that the kernel cannot have. */
  readonly userId: number;
  readonly groupId: number;
  readonly home: string;
  readonly shell: string;
}

/** A line of group(5). */
export interface GroupLine {
  readonly line: number;
  readonly name: string;
  readonly nis: boolean;
  /** As in PasswdLine. */
  readonly groupId: number;
  /** Separated by commas. */
  readonly members: string;
}

/** A line of shadow(5), without the password hash. Dates are days since 1970. */
export interface ShadowLine {
  readonly line: number;
  readonly name: string;
  readonly nis: boolean;
  readonly password: 'empty' | 'locked' | 'hash';
  /** The hash method: `$6$`; `BSDi` and `DES` for the old methods, which have no prefix. */
  readonly method: string;
  readonly changed: number | undefined;
  readonly minDays: number | undefined;
  readonly maxDays: number | undefined;
  readonly inactiveDays: number | undefined;
}

const NO_SHELL = /(?:^|\/)(?:nologin|false|true|sync|halt|shutdown)$/;

/** Whether an account with this shell can log in. An empty shell means /bin/sh, see passwd(5). */
export const isLoginShell = (shell: string): boolean => !NO_SHELL.test(shell);

/** Default of UID_MIN, the lowest user id of ordinary users; see login.defs(5). */
export const FIRST_ORDINARY_UID = 1_000;

/** Not a valid id: setuid(2) and similar calls take it as "do not change". */
export const NO_ID = 2 ** 32 - 1;

/** The fields of a line. The last one has the rest of the line, colons included. */
interface Fields {
  readonly all: number;
  /** How many the C library needs; musl needs all. */
  readonly needed: number;
}
const PASSWD: Fields = { all: 7, needed: 4 };
const GROUP: Fields = { all: 4, needed: 3 };
const SHADOW: Fields = { all: 9, needed: 5 };

/** The entries of passwd(5), one by one, so that a caller can yield to the event loop in between. */
export function* passwdLines(bytes: Buffer, library = GLIBC): Generator<PasswdLine> {
  for (const { line, name, nis, field } of linesOf(bytes, PASSWD, library)) {
    yield {
      line,
      name: name(),
      nis,
      password: passwordOf(field(1)),
      userId: id(text(field(2)), library),
      groupId: id(text(field(3)), library),
      home: text(field(5)),
      shell: text(field(6)),
    };
  }
}

/** The entries of group(5), one by one. */
export function* groupLines(bytes: Buffer, library = GLIBC): Generator<GroupLine> {
  for (const { line, name, nis, field } of linesOf(bytes, GROUP, library))
    yield { line, name: name(), nis, groupId: id(text(field(2)), library), members: text(field(3)) };
}

/** The entries of shadow(5), one by one. */
export function* shadowLines(bytes: Buffer, library = GLIBC): Generator<ShadowLine> {
  for (const { line, name, nis, field } of linesOf(bytes, SHADOW, library)) {
    const secret = field(1);
    const password = passwordOf(secret);
    yield {
      line,
      name: name(),
      nis,
      password: password === 'none' ? 'locked' : password,
      method: methodOf(secret),
      changed: days(text(field(2))),
      minDays: days(text(field(3))),
      maxDays: days(text(field(4))),
      inactiveDays: days(text(field(6))),
    };
  }
}

interface Line {
  readonly line: number;
  readonly name: () => string;
  readonly nis: boolean;
  readonly field: (index: number) => Buffer;
}

const NOTHING = Buffer.alloc(0);

function* linesOf(bytes: Buffer, fields: Fields, { isMusl }: CLibrary): Generator<Line> {
  const { all } = fields;
  const least = isMusl ? all : fields.needed;
  /** musl's names have at least one character, whichever it is. In shadow(5), a hash could become part of such a name. */
  const mayBeginWithAny = isMusl && fields !== SHADOW;
  const lineFeedFrom = searchOf(bytes, LINE_FEED);
  const colonFrom = searchOf(bytes, COLON);
  const nulFrom = searchOf(bytes, NUL);
  for (let next = 0, line = 1; next < bytes.length; line += 1) {
    let begin = next;
    const lineEnd = lineFeedFrom(begin);
    const end = Math.min(lineEnd, nulFrom(mayBeginWithAny ? begin + 1 : begin));
    next = lineEnd + 1;
    while (!isMusl && begin < end && isBlank(bytes[begin])) begin += 1;
    const sign = bytes[begin];
    if (begin === end || (sign === HASH_SIGN && !isMusl) || (sign === COLON && !mayBeginWithAny)) continue;
    const parts: Buffer[] = [];
    for (let from = begin; parts.length < all && from <= end; ) {
      const isRest = parts.length === all - 1;
      const to = isRest ? end : Math.min(colonFrom(from === begin ? from + 1 : from), end);
      parts.push(bytes.subarray(from, to));
      from = to + 1;
    }
    const [first = NOTHING] = parts;
    const nis = !isMusl && (sign === PLUS || sign === MINUS);
    if (parts.length < least && !nis) continue; // `+` alone is an instruction, too
    yield {
      line,
      name: () => text(first),
      nis,
      field: (index) => parts[index] ?? NOTHING,
    };
  }
}

/**
 * Finds a byte from a position on, which must not become smaller from call to call; the end if there is none. What was found is
 * kept, since it may be far away.
 */
function searchOf(bytes: Buffer, byte: number): (from: number) => number {
  let found = -1;
  return (from) => {
    if (found < from) found = bytes.indexOf(byte, from);
    if (found === -1) found = bytes.length;
    return found;
  };
}

const [HASH_SIGN, PLUS, MINUS, BANG, STAR, DOLLAR, UNDERSCORE, LETTER_X] = [...'#+-!*$_x'].map((sign) =>
  sign.charCodeAt(0),
);

/** Like isspace(3) in the C locale. */
const isBlank = (byte: number | undefined) => byte === 0x20 || (byte !== undefined && byte >= 0x09 && byte <= 0x0d);

const text = (bytes: Buffer) => bytes.toString('utf8');

function passwordOf(secret: Buffer): PasswdLine['password'] {
  const [first, second] = secret;
  if (first === undefined) return 'empty';
  if (secret.length === 1 && (first === LETTER_X || first === STAR || first === BANG)) return 'none';
  if (secret.length === 2 && first === BANG && second === BANG) return 'none';
  return first === BANG || first === STAR ? 'locked' : 'hash';
}

/** The text between the first two `$`, the hash method. No other part of the hash becomes text. */
function methodOf(secret: Buffer): string {
  if (secret[0] === DOLLAR) {
    const end = secret.indexOf('$', 1);
    const name = end > 1 && end <= 17 ? secret.toString('latin1', 0, end + 1) : '';
    if (/^\$[A-Za-z0-9-]{1,16}\$$/.test(name)) return name;
  }
  return secret[0] === UNDERSCORE ? 'BSDi' : 'DES';
}

/**
 * Accepts any number of digits. With glibc like strtoul(3), at most the largest number of 32 bits, which a negative number
 * becomes, too. With musl, digits only, and what exceeds 32 bits is lost.
 */
function id(digits: string, { isMusl }: CLibrary): number {
  if (isMusl && /^\d*$/.test(digits)) return [...digits].reduce((id, digit) => (10 * id + Number(digit)) % 2 ** 32, 0);
  if (isMusl || !/^[ \t-\r]*[+-]?\d+$/.test(digits)) return Number.NaN;
  const number = Number(digits);
  return number < 0 ? NO_ID : Math.min(Math.abs(number), NO_ID);
}

const days = (digits: string) => (/^-?\d{1,7}$/.test(digits) ? Number(digits) : undefined);
