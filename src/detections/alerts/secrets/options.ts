import { secretName } from './names.ts';
import type { Span } from './spans.ts';
import { isPath } from './values.ts';

/* Secrets that are arguments: `--password X`, `mysql -pX`, `curl -u user:X`, `echo X | sudo -S`. */

interface Word extends Span {
  /** Without quotes and brackets around it. */
  readonly text: string;
}

/** How a program takes secrets. */
interface Habits {
  /** Options with the secret attached: `-pX`. */
  readonly attached?: readonly string[];
  /** Options, or words, before the secret. */
  readonly before?: readonly string[];
  /** Options before `user:secret`, and the character between the two. */
  readonly user?: readonly string[];
  readonly between?: string;
  /** Only after this word: `docker login -p X`. */
  readonly after?: string;
  /** Words after which the second one is the secret: `rabbitmqctl add_user NAME X`. */
  readonly beforeName?: readonly string[];
}

const MYSQL: Habits = { attached: ['-p'] };
const LOGIN: Habits = { before: ['-p'], after: 'login' };
const LDAP: Habits = { before: ['-w'] };
const MOSQUITTO: Habits = { before: ['-P'] };
const SNMP: Habits = { before: ['-c', '-A', '-X'] };
const ADD_USER: Habits = { before: ['-p'] };

const HABITS: Readonly<Record<string, Habits>> = {
  ...Object.fromEntries(
    [
      'mysql',
      'mysqldump',
      'mysqladmin',
      'mysqlimport',
      'mysqlcheck',
      'mysqlshow',
      'mysqlsh',
      'mariadb',
      'mariadb-dump',
      'mariadb-admin',
    ].map((name) => [name, MYSQL]),
  ),
  ...Object.fromEntries(['docker', 'podman', 'buildah', 'skopeo', 'helm', 'az', 'oc'].map((name) => [name, LOGIN])),
  ...Object.fromEntries(
    ['ldapsearch', 'ldapadd', 'ldapmodify', 'ldapdelete', 'ldapwhoami', 'ldappasswd'].map((name) => [name, LDAP]),
  ),
  ...Object.fromEntries(
    ['mosquitto_pub', 'mosquitto_sub', 'mosquitto_rr', 'ipmitool', 'sqlcmd', 'bcp', 'zip', 'unzip'].map((name) => [
      name,
      MOSQUITTO,
    ]),
  ),
  ...Object.fromEntries(['snmpget', 'snmpset', 'snmpwalk', 'snmpbulkwalk', 'snmptrap'].map((name) => [name, SNMP])),
  ...Object.fromEntries(
    ['useradd', 'usermod', 'mongo', 'mongosh', 'mongodump', 'mongorestore'].map((name) => [name, ADD_USER]),
  ),
  sshpass: { attached: ['-p'], before: ['-p'] },
  '7z': { attached: ['-p'] },
  '7za': { attached: ['-p'] },
  curl: { user: ['-u', '--user', '-U', '--proxy-user'] },
  lftp: { user: ['-u', '--user'], between: ',' },
  smbclient: { user: ['-U', '--user'], between: '%' },
  rpcclient: { user: ['-U', '--user'], between: '%' },
  net: { user: ['-U', '--user'], between: '%' },
  'redis-cli': { before: ['-a'] },
  openssl: { before: ['-k', '-K'] },
  nmcli: { before: ['password', 'psk', 'wifi-sec.psk', '802-11-wireless-security.psk'] },
  wpa_cli: { before: ['psk', 'password'] },
  wpa_passphrase: { beforeName: ['wpa_passphrase'] },
  rabbitmqctl: { beforeName: ['add_user', 'change_password'] },
  vault: { before: ['login'] },
  xfreerdp: { attached: ['/p:'] },
};

const SEPARATORS = new Set(['|', '||', '&&', ';', '&', '|&']);
/** Programs that read a password from standard input. */
const READS_PASSWORD = new Set(['chpasswd', 'passwd', 'su', 'kinit', 'cryptsetup', 'smbpasswd', 'pw']);
const ELEVATES = new Set(['sudo', 'doas', 'env', 'nohup']);
const ECHOES = new Set(['echo', 'printf']);

export function secretArguments(text: string): Span[] {
  const spans: Span[] = [];
  let habits: Habits = {};
  /** Words that `echo` prints, until a separator. */
  let echoed: Word[] | undefined;
  /** What was printed to the pipe whose reader is being looked at. */
  let piped: readonly Word[] = [];
  let previous: Word | undefined;
  let beforePrevious: Word | undefined;
  let words = new Set<string>();
  for (const word of wordsOf(text)) {
    const name = word.text.slice(word.text.lastIndexOf('/') + 1);
    if (SEPARATORS.has(word.text)) {
      piped = word.text === '|' ? (echoed ?? []) : [];
      [habits, echoed, previous, beforePrevious, words] = [{}, undefined, undefined, undefined, new Set()];
      continue;
    }
    if (ECHOES.has(name)) echoed = [];
    else if (!word.text.startsWith('-')) echoed?.push(word);
    const isProgram = previous === undefined || ELEVATES.has(previous.text);
    const readsPassword =
      (isProgram && READS_PASSWORD.has(name)) ||
      (word.text === '-S' && words.has('sudo')) ||
      word.text.startsWith('--password-stdin');
    if (readsPassword) {
      for (const printed of piped) spans.push(...(name === 'chpasswd' ? secretAfter(printed, ':') : [printed]));
      piped = [];
    }
    habits = HABITS[name] ?? habits;
    words.add(word.text);
    spans.push(...secretIn(word, previous, beforePrevious, habits, words));
    if (endsCommand(text, word)) {
      piped = [];
      [habits, echoed, previous, beforePrevious, words] = [{}, undefined, undefined, undefined, new Set()];
    } else {
      [beforePrevious, previous] = [previous, word];
    }
  }
  return spans;
}

function secretIn(
  word: Word,
  previous: Word | undefined,
  beforePrevious: Word | undefined,
  habits: Habits,
  words: ReadonlySet<string>,
): Span[] {
  const { attached = [], before = [], user = [], between = ':', after, beforeName = [] } = habits;
  const isAllowed = after === undefined || words.has(after);
  const option = isAllowed ? attached.find((one) => word.text.startsWith(one) && word.text !== one) : undefined;
  if (option !== undefined && !word.text.startsWith('--')) return [afterIn(word, option.length)];
  if (beforePrevious !== undefined && beforeName.includes(beforePrevious.text)) return [word];
  const glued = user.find((one) => /^-[a-z]$/i.test(one) && word.text.startsWith(one) && word.text !== one);
  if (glued !== undefined) return secretAfter(word, between);
  if (previous === undefined) return [];
  if (user.includes(previous.text)) return secretAfter(word, between);
  if (isAllowed && before.includes(previous.text)) return [word];
  if (word.text.startsWith('-') || !/^--?[A-Za-z]/.test(previous.text)) return [];
  const secret = secretName(previous.text.replace(/^--?/, ''));
  return secret === undefined || (secret.mayBePath && isPath(word.text, 0)) ? [] : [word];
}

const afterIn = ({ start, end }: Span, length: number): Span => ({ start: start + length, end });

/** What is behind the first `between`. */
function secretAfter(word: Word, between: string): Span[] {
  const at = word.text.indexOf(between);
  return at === -1 ? [] : [afterIn(word, at + 1)];
}

/** A separator that is written at the end of a word. */
const endsCommand = (text: string, { end }: Span) => text[end] === ';' || text[end] === '|' || text[end] === '&';

const LEADING = new Set([...'"\'`($']);
const TRAILING = new Set([...'"\'`);|&']);

/** Splits at blanks, and takes quotes and brackets off both ends. */
function* wordsOf(text: string): Generator<Word> {
  for (const match of text.matchAll(/\S+/g)) {
    let start = match.index;
    let end = start + match[0].length;
    if (!SEPARATORS.has(match[0])) {
      while (start < end && LEADING.has(text[start] ?? '')) start += 1;
      while (end > start && TRAILING.has(text[end - 1] ?? '')) end -= 1;
    }
    if (end > start) yield { start, end, text: text.slice(start, end) };
  }
}
