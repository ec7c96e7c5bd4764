import { secretName } from './names.ts';
import type { Span } from './spans.ts';
import { isPath } from './values.ts';

/* Secrets in arguments: `--password X`, `mysql -pX`, `curl -u user:X`, `echo X | sudo -S`. */

interface Word extends Span {
  /** The word without surrounding quotes and brackets. */
  readonly text: string;
}

/**
 * How a program accepts secrets. One-letter options are listed by letter: `-p X`, `-pX`, and `-vp X` after letters of options
 * without a value.
 */
interface Habits {
  /** Options with the secret as their value. */
  readonly secret?: string;
  /** Options whose secret must be attached: `-pX`. */
  readonly attached?: string;
  /** Options with `user:secret` as their value, and the separating character. */
  readonly user?: string;
  readonly between?: string;
  /** The corresponding long options. */
  readonly longUser?: readonly string[];
  /** Options without a value. */
  readonly flags?: string;
  /** Prefix before the secret in the same argument. */
  readonly prefix?: string;
  /** Number of arguments before the secret. */
  readonly before?: readonly string[];
  /** Only after this word: `docker login -p X`. */
  readonly after?: string;
  /** Subcommands whose second argument is the secret: `rabbitmqctl add_user NAME X`. */
  readonly beforeName?: readonly string[];
}

const MYSQL: Habits = { attached: 'p', flags: 'ABCEFKNQRYcdfilnqstvx' };
const LOGIN: Habits = { secret: 'p', after: 'login' };
const LDAP: Habits = { secret: 'w', flags: 'ACILMNQZcntuvx' };
const PASSWORD: Habits = { secret: 'P' };
const ZIP: Habits = { secret: 'P', flags: '0123456789CDFJLMTVXacdefgjlmnopqruvyz' };
const SNMP: Habits = { secret: 'cAX' };
const ADD_USER: Habits = { secret: 'p', flags: 'DMNUlmor' };
const SAMBA: Habits = { user: 'U', longUser: ['--user'], between: '%', flags: 'ENPgk' };
const SEVEN_ZIP: Habits = { attached: 'p' };
const NETWORK: Habits = { before: ['password', 'psk', 'wifi-sec.psk', '802-11-wireless-security.psk'] };

/** Keyed by program names, separated by spaces. */
const HABITS_OF: readonly (readonly [string, Habits])[] = [
  ['mysql mysqldump mysqladmin mysqlimport mysqlcheck mysqlshow mysqlsh mariadb mariadb-dump mariadb-admin', MYSQL],
  ['docker podman buildah skopeo helm az oc', LOGIN],
  ['ldapsearch ldapadd ldapmodify ldapdelete ldapwhoami ldappasswd', LDAP],
  ['mosquitto_pub mosquitto_sub mosquitto_rr ipmitool sqlcmd bcp', PASSWORD],
  ['zip unzip', ZIP],
  ['snmpget snmpset snmpwalk snmpbulkwalk snmptrap', SNMP],
  ['useradd usermod mongo mongosh mongodump mongorestore', ADD_USER],
  ['smbclient rpcclient net', SAMBA],
  ['7z 7za', SEVEN_ZIP],
  ['nmcli wpa_cli', NETWORK],
  ['sshpass', { secret: 'p', flags: 'v' }],
  ['curl', { user: 'uU', longUser: ['--user', '--proxy-user'], flags: '#0123456:BGIJLMNORSVZafgijklnpqsv' }],
  ['lftp', { user: 'u', longUser: ['--user'], between: ',', flags: 'd' }],
  ['redis-cli', { secret: 'a' }],
  ['openssl', { before: ['-k', '-K'] }], // accepts no attached values: `-key` is another option
  ['wpa_passphrase', { beforeName: ['wpa_passphrase'] }],
  ['rabbitmqctl', { beforeName: ['add_user', 'change_password'] }],
  ['vault', { before: ['login'] }],
  ['xfreerdp', { prefix: '/p:' }],
];
const HABITS: ReadonlyMap<string, Habits> = new Map(
  HABITS_OF.flatMap(([names, habits]) => names.split(' ').map((name) => [name, habits] as const)),
);

const SEPARATORS = new Set(['|', '||', '&&', ';', '&', '|&']);
/** Programs that read a password from standard input. */
const READS_PASSWORD = new Set(['chpasswd', 'passwd', 'su', 'kinit', 'cryptsetup', 'smbpasswd', 'pw']);
const ELEVATES = new Set(['sudo', 'doas', 'env', 'nohup']);
const ECHOES = new Set(['echo', 'printf']);

/** State of the current statement. */
class Statement {
  /** Combined for all programs in the statement: any word, even a file name, can be a program. */
  readonly habits = new Set<Habits>();
  readonly words = new Set<string>();
  previous: Word | undefined;
  beforePrevious: Word | undefined;
  /** Words that `echo` prints. */
  echoed: Word[] | undefined;
  /** Text printed to the pipe on its standard input. */
  piped: readonly Word[];

  constructor(piped: readonly Word[] = []) {
    this.piped = piped;
  }
}

export function secretArguments(text: string): Span[] {
  const spans: Span[] = [];
  let statement = new Statement();
  for (const word of wordsOf(text)) {
    if (SEPARATORS.has(word.text)) {
      statement = new Statement(word.text === '|' ? statement.echoed : []);
      continue;
    }
    for (const span of read(statement, word)) spans.push(span); // too many for the arguments of a call
    // A command whose output is the value, as in `-p $(openssl …`, is evidence.
    if (!text.startsWith('$(', word.start - 2)) spans.push(...secretIn(word, statement));
    if (endsCommand(text, word)) statement = new Statement();
    else [statement.beforePrevious, statement.previous] = [statement.previous, lastOf(word)];
  }
  return spans;
}

/**
 * Records the meaning of a word for the following words. A separator without spaces may be part of an argument, as in a URL or
 * a secret, so it ends nothing.
 *
 * @returns the text printed to it, if it reads a password
 */
function read(statement: Statement, word: Word): Span[] {
  const spans: Span[] = [];
  const isEchoed = statement.echoed !== undefined;
  const pieces = piecesOf(word);
  for (const piece of pieces) {
    if (piece.isPiped) [statement.piped, statement.echoed] = [statement.echoed ?? [], statement.echoed && []];
    const name = piece.text.slice(piece.text.lastIndexOf('/') + 1);
    statement.words.add(piece.text);
    if (readsPassword(statement, piece, name)) {
      for (const printed of statement.piped) {
        if (name === 'chpasswd') spans.push(...secretAfter(printed, ':'));
        else spans.push(printed);
      }
      statement.piped = [];
    }
    if (ECHOES.has(name)) statement.echoed = [];
    else if (!piece.text.startsWith('-')) statement.echoed?.push(piece);
    const habits = HABITS.get(name);
    if (habits !== undefined) statement.habits.add(habits);
  }
  if (isEchoed && pieces.length > 1) statement.echoed?.push(word);
  return spans;
}

function readsPassword({ previous, words }: Statement, piece: Piece, name: string): boolean {
  const isProgram = !piece.isFirst || previous === undefined || ELEVATES.has(previous.text);
  if (isProgram && READS_PASSWORD.has(name)) return true;
  return (piece.text === '-S' && words.has('sudo')) || piece.text.startsWith('--password-stdin');
}

function secretIn(word: Word, { habits, words, previous, beforePrevious }: Statement): Span[] {
  const spans: Span[] = [];
  for (const each of habits) {
    if (each.after === undefined || words.has(each.after))
      spans.push(...secretBy(each, word, previous, beforePrevious));
  }
  if (spans.length > 0 || previous === undefined) return spans;
  if (word.text.startsWith('-') || !/^--?[A-Za-z]/.test(previous.text)) return [];
  const secret = secretName(previous.text.replace(/^--?/, ''));
  return secret === undefined || (secret.mayBePath && isPath(word.text, 0)) ? [] : [word];
}

function secretBy(habits: Habits, word: Word, previous: Word | undefined, beforePrevious: Word | undefined): Span[] {
  const { secret = '', attached = '', user = '', longUser = [], between = ':', flags = '' } = habits;
  const { text } = word;
  if (habits.prefix !== undefined && text.startsWith(habits.prefix)) return [afterIn(word, habits.prefix.length)];
  const value = valueIn(text, secret + attached, flags);
  if (value !== undefined && value < text.length) return [afterIn(word, value)];
  const ofUser = valueIn(text, user, flags);
  if (ofUser !== undefined && ofUser < text.length) return secretAfter(word, between);
  if (longUser.some((option) => text.startsWith(`${option}=`))) return secretAfter(word, between);
  if (beforePrevious !== undefined && habits.beforeName?.includes(beforePrevious.text)) return [word];
  if (previous === undefined) return [];
  const takesValue = (letters: string) => valueIn(previous.text, letters, flags) === previous.text.length;
  if (takesValue(user) || longUser.includes(previous.text)) return secretAfter(word, between);
  return takesValue(secret) || habits.before?.includes(previous.text) ? [word] : [];
}

/** Where the value of one of these options starts in a cluster of one-letter options: 3 in `-su`, which is its end. */
function valueIn(text: string, letters: string, flags: string): number | undefined {
  if (!text.startsWith('-')) return undefined;
  for (let at = 1; at < text.length; at += 1) {
    if (letters.includes(text.charAt(at))) return at + 1;
    if (!flags.includes(text.charAt(at))) return undefined;
  }
  return undefined;
}

const afterIn = ({ start, end }: Span, length: number): Span => ({ start: start + length, end });

/** The text after the first `between`. */
function secretAfter(word: Word, between: string): Span[] {
  const at = word.text.indexOf(between);
  return at === -1 ? [] : [afterIn(word, at + 1)];
}

/** A separator at the end of a word. */
const endsCommand = (text: string, { end }: Span) => text[end] === ';' || text[end] === '|' || text[end] === '&';

/** A part of a word between separators. */
interface Piece extends Word {
  readonly isFirst: boolean;
  /** Whether a pipe precedes it. */
  readonly isPiped: boolean;
}

const PIECE = /[^;|&]+/g;

/** Splits a word at separators, without the quotes and brackets around each part. */
function piecesOf(word: Word): readonly Piece[] {
  if (!/[;|&]/.test(word.text)) return [{ ...word, isFirst: true, isPiped: false }];
  return [...word.text.matchAll(PIECE)].flatMap((match) => {
    const piece = trimmed(word.text, match.index, match.index + match[0].length);
    if (piece === undefined) return [];
    const isPiped = /(?:^|[^|])\|&?$/.test(word.text.slice(Math.max(0, match.index - 3), match.index));
    const [start, end] = [word.start + piece.start, word.start + piece.end];
    return [{ start, end, text: piece.text, isFirst: match.index === 0, isPiped }];
  });
}

const lastOf = (word: Word): Word => piecesOf(word).at(-1) ?? word;

const LEADING = new Set([...'"\'`($']);
const TRAILING = new Set([...'"\'`);|&']);

/** Splits at spaces, and removes quotes and brackets at both ends. */
function* wordsOf(text: string): Generator<Word> {
  for (const match of text.matchAll(/\S+/g)) {
    const [start, end] = [match.index, match.index + match[0].length];
    const word = SEPARATORS.has(match[0]) ? { start, end, text: match[0] } : trimmed(text, start, end);
    if (word !== undefined) yield word;
  }
}

/** `undefined` if nothing remains. */
function trimmed(text: string, from: number, to: number): Word | undefined {
  let [start, end] = [from, to];
  while (start < end && LEADING.has(text[start] ?? '')) start += 1;
  while (end > start && TRAILING.has(text[end - 1] ?? '')) end -= 1;
  return end > start ? { start, end, text: text.slice(start, end) } : undefined;
}
