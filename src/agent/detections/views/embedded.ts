/* Options and arguments that hold a command: `tar --to-command=…`, `vim -c ':!id'`. To add one, add a line. */
import { nameOf } from './paths.ts';

interface Embedding {
  /** The preceding word, if the command is a separate word. */
  readonly after?: readonly string[];
  /** Prefix of a word that contains the command. */
  readonly prefix?: readonly string[];
  /** Prefixes of the text, one of which must be present; the rest is the command. */
  readonly marks?: readonly string[];
  /** `code`: its string literals are commands. */
  readonly is?: 'script' | 'code';
}

const VI: readonly Embedding[] = [
  { after: ['-c', '--cmd'], marks: [':!', '!', ':r!', ':r !', ':silent !', ':silent!', 'silent !', ':term ', ':w !'] },
  { prefix: ['+'], marks: [':!', '!', ':r!', ':silent !'] },
  { after: ['-c', '--cmd'], prefix: ['+'], is: 'code' },
];
const SSH: readonly Embedding[] = [
  { after: ['-o'], prefix: ['-o'], marks: ['ProxyCommand=', 'ProxyCommand ', 'LocalCommand=', 'KnownHostsCommand='] },
];
const AWK: readonly Embedding[] = [{ prefix: ['BEGIN', 'END', '{', '/', 'function '], is: 'code' }];
const NC: readonly Embedding[] = [
  { after: ['-e', '-c', '--exec', '--sh-exec'], prefix: ['-e', '--exec=', '--sh-exec='] },
];

const EMBEDDINGS: Readonly<Record<string, readonly Embedding[]>> = {
  vi: VI,
  vim: VI,
  view: VI,
  ex: VI,
  nvim: VI,
  rview: VI,
  ssh: SSH,
  awk: AWK,
  gawk: AWK,
  mawk: AWK,
  nawk: AWK,
  nc: NC,
  netcat: NC,
  ncat: NC,
  tar: [
    {
      prefix: [
        '--checkpoint-action=exec=',
        '--to-command=',
        '--use-compress-program=',
        '--rmt-command=',
        '--info-script=',
      ],
    },
    { after: ['-I', '--use-compress-program', '--to-command'] },
  ],
  rsync: [{ after: ['-e', '--rsh'], prefix: ['--rsh='] }],
  zip: [{ after: ['-TT', '--unzip-command'], prefix: ['-TT', '--unzip-command='] }],
  git: [
    { after: ['-c'], marks: ['core.pager=', 'core.sshCommand=', 'core.editor=', 'core.fsmonitor=', 'diff.external='] },
  ],
  socat: [{ prefix: ['EXEC:', 'exec:', 'SYSTEM:', 'system:', 'SHELL:'] }],
  gdb: [
    { after: ['-ex', '-eval-command', '--eval-command', '-iex'], marks: ['!', 'shell '] },
    { after: ['-ex'], is: 'code' },
  ],
  tcpdump: [{ after: ['-z'] }],
  man: [{ after: ['-P', '--pager'], prefix: ['--pager=', '-P'] }],
  expect: [{ after: ['-c'], marks: ['spawn ', 'exec ', 'system '] }],
  sqlite3: [{ prefix: ['.shell ', '.system '] }],
  psql: [{ after: ['-c', '--command'], marks: ['\\! '] }],
  mysql: [{ after: ['-e'], prefix: ['--execute='], marks: ['\\! ', 'system '] }],
  sed: [{ after: ['-e', '-n'], marks: ['1e ', 'e '] }, { prefix: ['1e ', 'e '] }],
  nmap: [{ after: ['--script'], is: 'code' }],
  dhclient: [{ after: ['-sf'] }],
  udhcpc: [{ after: ['-s'] }],
  openvpn: [{ after: ['--up', '--down'] }],
  tmux: [{ after: ['-d', 'new', 'new-session', 'run-shell'] }],
  capsh: [{ after: ['-c'] }],
  make: [{ prefix: ['--eval='], marks: ['x:\n\t-', 'x:\n\t', 'x:;'] }],
  rpm: [{ after: ['--eval', '-E'], is: 'code' }],
  jrunscript: [{ after: ['-e'], is: 'code' }],
  scp: [...SSH, { after: ['-S'] }],
  sftp: [...SSH, { after: ['-S'] }],
  wget: [{ prefix: ['--use-askpass='] }],
};

export interface Embedded {
  readonly is: 'script' | 'code';
  /** The word that contains it, and its offset in the word. */
  readonly at: number;
  readonly offset: number;
}

/** All commands in the arguments of a program. `from` is the index of the program's word. */
export function findEmbedded(words: readonly string[], from: number): Embedded[] {
  const name = nameOf(words[from] ?? '');
  const embeddings = Object.hasOwn(EMBEDDINGS, name) ? EMBEDDINGS[name] : undefined;
  const found: Embedded[] = [];
  if (embeddings === undefined) return found;
  for (let at = from + 1; at < words.length && found.length < 8; at++) {
    const word = words[at] ?? '';
    const before = words[at - 1] ?? '';
    for (const { after, prefix, marks, is = 'script' } of embeddings) {
      const prefixed = prefix?.find((p) => word.startsWith(p));
      if (prefixed === undefined && after?.includes(before) !== true) continue;
      const isKept = prefixed !== undefined && is === 'code';
      const begin = prefixed === undefined || isKept ? 0 : prefixed.length;
      const mark = marks?.find((m) => word.startsWith(m, begin));
      if (marks !== undefined && mark === undefined) continue;
      found.push({ is, at, offset: begin + (mark?.length ?? 0) });
      break;
    }
  }
  return found;
}
