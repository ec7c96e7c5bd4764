/* passwd(5), group(5) and shadow(5), read as the C library's nss_files does, so that no line is an account for it that is
 * none here: blanks before a line or a number, fields missing at the end, ids cut to 32 bits.
 *
 * They are read as bytes, and the bytes of a password's hash never become part of a string: strings are copied into logs,
 * messages and heap dumps. */

const COLON = 0x3a;

/** A line of passwd(5). */
export interface PasswdLine {
  /** Counted from 1. */
  readonly line: number;
  readonly name: string;
  /** An instruction for NIS, and no account, unless nsswitch.conf(5) says `compat`: the name begins with `+` or `-`. */
  readonly nis: boolean;
  /**
   * - `empty`: no password is asked for
   * - `none`: it is kept elsewhere (`x`), or no password can be right (`*`, `!`, `!!`)
   * - `locked`: the field begins with `!` or `*` and goes on: mostly a hash that counts no more
   * - `hash`: anything else
   */
  readonly password: 'empty' | 'none' | 'locked' | 'hash';
  /** NaN when it is no number; NO_ID for all that the kernel can't have. */
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

/** A line of shadow(5), without the password. Days are counted from 1970. */
export interface ShadowLine {
  readonly line: number;
  readonly name: string;
  readonly nis: boolean;
  readonly password: 'empty' | 'locked' | 'hash';
  /** How the hash is called, `$6$`; `BSDi` and `DES` for the old kinds, which have no such name. */
  readonly method: string;
  readonly changed: number | undefined;
  readonly minDays: number | undefined;
  readonly maxDays: number | undefined;
  readonly inactiveDays: number | undefined;
}

/** No kernel id: setuid(2) and its kin take it for "leave as it is". */
export const NO_ID = 2 ** 32 - 1;

/** Fields that a line must have. */
const PASSWD_FIELDS = 4;
const GROUP_FIELDS = 3;
const SHADOW_FIELDS = 5;
/** Of any line; what comes behind is passed over. */
const MOST_FIELDS = 9;

/** Entries of passwd(5), one for each line that is one, as they are read: a caller may let others go on in between. */
export function* passwdLines(bytes: Buffer): Generator<PasswdLine> {
  for (const { line, name, nis, field } of linesOf(bytes, PASSWD_FIELDS)) {
    yield {
      line,
      name: name(),
      nis,
      password: passwordOf(field(1)),
      userId: id(text(field(2))),
      groupId: id(text(field(3))),
      home: text(field(5)),
      shell: text(field(6)),
    };
  }
}

/** Entries of group(5), as they are read. */
export function* groupLines(bytes: Buffer): Generator<GroupLine> {
  for (const { line, name, nis, field } of linesOf(bytes, GROUP_FIELDS))
    yield { line, name: name(), nis, groupId: id(text(field(2))), members: text(field(3)) };
}

/** Entries of shadow(5), as they are read. */
export function* shadowLines(bytes: Buffer): Generator<ShadowLine> {
  for (const { line, name, nis, field } of linesOf(bytes, SHADOW_FIELDS)) {
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

function* linesOf(bytes: Buffer, fields: number): Generator<Line> {
  /** The next one, which is looked for once: it may be many lines away, or nowhere. */
  let colon = -1;
  const colonFrom = (from: number) => {
    if (colon < from) colon = bytes.indexOf(COLON, from);
    if (colon === -1) colon = bytes.length;
    return colon;
  };
  for (let begin = 0, line = 1; begin < bytes.length; line += 1) {
    const newline = bytes.indexOf('\n', begin);
    const end = newline === -1 ? bytes.length : newline;
    while (begin < end && isBlank(bytes[begin])) begin += 1;
    const parts: Buffer[] = [];
    for (let from = begin; parts.length < MOST_FIELDS && from <= end; ) {
      const to = Math.min(colonFrom(from), end);
      parts.push(bytes.subarray(from, to));
      from = to + 1;
    }
    begin = end + 1;
    const [first] = parts;
    if (first === undefined || first.length === 0 || first[0] === HASH_SIGN) continue;
    const nis = first[0] === PLUS || first[0] === MINUS;
    if (parts.length < fields && !nis) continue; // `+` alone is an instruction, too
    yield {
      line,
      name: () => text(first),
      nis,
      field: (index) => parts[index] ?? NOTHING,
    };
  }
}

const [HASH_SIGN, PLUS, MINUS, BANG, STAR, DOLLAR, UNDERSCORE, LETTER_X] = [...'#+-!*$_x'].map((sign) =>
  sign.charCodeAt(0),
);

/** As isspace(3) has it in the C locale. */
const isBlank = (byte: number | undefined) => byte === 0x20 || (byte !== undefined && byte >= 0x09 && byte <= 0x0d);

const text = (bytes: Buffer) => bytes.toString('utf8');

function passwordOf(secret: Buffer): PasswdLine['password'] {
  const [first, second] = secret;
  if (first === undefined) return 'empty';
  if (secret.length === 1 && (first === LETTER_X || first === STAR || first === BANG)) return 'none';
  if (secret.length === 2 && first === BANG && second === BANG) return 'none';
  return first === BANG || first === STAR ? 'locked' : 'hash';
}

/** The name between the first two `$`, which says how the hash was made; nothing else of it becomes text. */
function methodOf(secret: Buffer): string {
  if (secret[0] === DOLLAR) {
    const end = secret.indexOf('$', 1);
    const name = end > 1 && end <= 17 ? secret.toString('latin1', 0, end + 1) : '';
    if (/^\$[A-Za-z0-9-]{1,16}\$$/.test(name)) return name;
  }
  return secret[0] === UNDERSCORE ? 'BSDi' : 'DES';
}

/** As strtoul(3) reads it, cut to the 32 bits of an id: a negative one is a very large one. */
function id(digits: string): number {
  if (!/^[ \t-\r]*[+-]?\d{1,20}$/.test(digits)) return Number.NaN;
  const number = Number(digits);
  return number < 0 ? NO_ID : Math.min(Math.abs(number), NO_ID);
}

const days = (digits: string) => (/^-?\d{1,7}$/.test(digits) ? Number(digits) : undefined);
