/*
 * Commands as they are usually written: options before operands, a value behind its option. getopt(3) takes them in many other
 * forms: `cp /tmp/shadow /etc/shadow -f`, `wget -O/tmp/x URL`, `chmod -R -- 777 /etc`. To add a program, add a line.
 */
import { optionOf, type Valued } from './options.ts';
import { nameOf } from './paths.ts';

interface Program extends Valued {
  /** An operand belongs to the option before it. */
  readonly keepsOrder?: true;
}

const COPY: Valued = { valued: 'tS', long: 'target-directory suffix' };
const GREP: Valued = {
  valued: 'efmABCDd',
  long: 'regexp file max-count after-context before-context context include exclude exclude-dir exclude-from',
};
const OWNER: Valued = { long: 'reference from' };
const USER: Valued = {
  valued: 'bcdefgGhkKpRsuZP',
  long: 'base-dir comment home home-dir expiredate inactive gid groups skel key password root shell uid prefix ingroup gecos',
};
const WGET: Valued = {
  valued: 'aBDeiIlOoPQRTtUwX',
  long: 'append-output base body-data body-file directory-prefix execute header input-file method output-document output-file password post-data post-file timeout tries user user-agent wait',
};
const NETCAT: Valued = {
  valued: 'bcdeGgIiMmOopqsTVWwXx',
  long: 'allow crlf delay exec hex-dump idle-timeout lua-exec output proxy proxy-auth proxy-type sh-exec source source-port ssl-cert ssl-key wait',
};

const PACKET_FILTER: Program = { valued: 'ACDdEgIijmNoPpRst', keepsOrder: true };

/** Programs that rules look for. */
const PROGRAMS: Readonly<Record<string, Program>> = {
  sed: { valued: 'efl', long: 'expression file line-length' },
  grep: GREP,
  egrep: GREP,
  fgrep: GREP,
  chmod: { long: 'reference' },
  chown: OWNER,
  chgrp: OWNER,
  cp: COPY,
  mv: COPY,
  ln: COPY,
  install: { valued: 'gmoSt', long: 'group mode owner strip-program suffix target-directory' },
  rm: {},
  shred: { valued: 'ns', long: 'iterations random-source size' },
  touch: { valued: 'drt', long: 'date reference time' },
  truncate: { valued: 'rs', long: 'reference size' },
  tee: {},
  base64: { valued: 'w', long: 'wrap' },
  rsync: {
    valued: 'BefMT',
    long: 'backup-dir bwlimit exclude exclude-from files-from filter include include-from password-file port rsh rsync-path temp-dir',
  },
  mount: { valued: 'LNoOtTU', long: 'fstab label namespace options source target types uuid' },
  umount: { valued: 'NOt', long: 'namespace test-opts types' },
  crontab: { valued: 'cu' },
  passwd: { valued: 'inPrRwx', long: 'inactive maxdays mindays prefix repository root warndays' },
  gpasswd: { valued: 'aAdMQR', long: 'add administrators delete members root' },
  useradd: USER,
  adduser: USER,
  usermod: { valued: 'cdefgGlpPRsuvVwWZ', long: `${USER.long} login` },
  wget: WGET,
  wget2: WGET,
  curl: {
    valued: 'AbcCdDeEFhHKmoPQrtTuUwxXyYz',
    long: 'cacert cert config connect-timeout connect-to cookie cookie-jar data data-ascii data-binary data-raw data-urlencode dump-header form form-string header interface json key max-time output output-dir proxy proxy-user referer request resolve retry retry-delay socks5 socks5-hostname upload-file url user user-agent write-out',
  },
  nc: NETCAT,
  ncat: NETCAT,
  netcat: NETCAT,
  iptables: PACKET_FILTER,
  ip6tables: PACKET_FILTER,
};

interface Parts {
  /** Options, each with its value behind it. Everything, if the order counts. */
  readonly options: readonly string[];
  /** The other words; with `--` before them if one of them could be an option. */
  readonly operands: readonly string[];
}

/** The words of a command in its usual form; the same words if they are, or if the program is not known. */
export function inUsualForm(words: readonly string[]): readonly string[] {
  const parts = partsOf(words);
  if (parts === undefined) return words;
  const usual = [...words.slice(0, 1), ...parts.options, ...parts.operands];
  return usual.length === words.length && usual.every((word, at) => word === words[at]) ? words : usual;
}

/** What stands behind the name of a program, if it is one of those above. */
export function partsOf(words: readonly string[]): Parts | undefined {
  const name = nameOf(words[0] ?? '');
  const program = Object.hasOwn(PROGRAMS, name) ? PROGRAMS[name] : undefined;
  if (program === undefined) return undefined;
  const options: string[] = [];
  const operands: string[] = [];
  for (let at = 1; at < words.length; at += 1) {
    const word = words[at] ?? '';
    if (word === '--') {
      const rest = words.slice(at + 1);
      const isNeeded = rest.length === 0 || rest.some((each) => each.startsWith('-'));
      operands.push(...(isNeeded ? words.slice(at) : rest));
      break;
    }
    if (word === '-' || !word.startsWith('-')) {
      (program.keepsOrder === true ? options : operands).push(word);
      continue;
    }
    const { value, takesNext } = optionOf(word, program);
    // `wget -qO-` is as usual as it can be.
    if (value === undefined || value === '-' || word.startsWith('--')) options.push(word);
    else options.push(word.slice(0, -value.length), value);
    if (takesNext && at + 1 < words.length) options.push(words[++at] ?? '');
  }
  return { options, operands };
}
