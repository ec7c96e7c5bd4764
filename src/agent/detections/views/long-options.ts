/* Abbreviated long options: `curl --data-b` is `--data-binary`. To add an option, add a word. */
import { nameOf } from './paths.ts';

const COPY = ['target-directory', 'recursive', 'force'];
const MODE = ['recursive', 'reference'];
const WGET = [
  ...['output-document', 'directory-prefix', 'post-file', 'post-data', 'body-file', 'body-data', 'input-file'],
  ...['use-askpass', 'execute', 'method', 'no-check-certificate'],
];
const USER = ['uid', 'gid', 'groups', 'non-unique', 'password', 'shell', 'system', 'home-dir'];
const PACKET_FILTER = [
  ...['jump', 'append', 'insert', 'delete', 'delete-chain', 'policy', 'flush', 'table', 'replace', 'protocol'],
  ...['source', 'destination', 'match', 'in-interface', 'out-interface'],
];

/**
 * Options that rules refer to, and other options of the program with the same prefix. The first match of an abbreviation is used:
 * the program itself accepts it only if it is unambiguous.
 */
const LONG_OPTIONS: Readonly<Record<string, readonly string[]>> = {
  curl: [
    ...['output', 'output-dir', 'remote-name', 'remote-name-all', 'data', 'data-binary', 'data-ascii', 'data-raw'],
    ...['data-urlencode', 'json', 'form', 'form-string', 'upload-file', 'url', 'request', 'config'],
  ],
  wget: WGET,
  wget2: WGET,
  'uclient-fetch': WGET,
  useradd: USER,
  adduser: [...USER, 'ingroup'],
  usermod: ['groups', 'append', 'uid', 'gid', 'non-unique', 'password', 'unlock', 'expiredate', 'shell', 'login'],
  passwd: ['delete', 'unlock', 'stdin'],
  gpasswd: ['add', 'members'],
  rm: ['recursive', 'force', 'no-preserve-root'],
  chmod: MODE,
  chown: MODE,
  chgrp: MODE,
  cp: COPY,
  mv: COPY,
  ln: COPY,
  install: ['target-directory', 'mode', 'owner', 'group', 'directory'],
  tee: ['append'],
  sed: ['in-place', 'expression', 'file'],
  shred: ['remove', 'zero'],
  truncate: ['size'],
  sort: ['output'],
  shuf: ['output', 'input-range'],
  iconv: ['output'],
  patch: ['output', 'input', 'reject-file', 'dry-run'],
  strace: ['output'],
  script: ['command', 'log-out', 'log-io'],
  rsync: ['dry-run', 'list-only', 'delete', 'remove-source-files'],
  journalctl: ['vacuum-time', 'vacuum-size', 'vacuum-files', 'rotate', 'flush'],
  dmesg: ['clear', 'read-clear'],
  base64: ['decode'],
  mount: ['target', 'source', 'bind', 'rbind', 'move', 'options', 'types', 'fstab'],
  iptables: PACKET_FILTER,
  ip6tables: PACKET_FILTER,
};

/** The words of a command with its long options in full; the same array if nothing changes. */
export function withLongOptions(words: readonly string[]): readonly string[] {
  const name = nameOf(words[0] ?? '');
  const options = Object.hasOwn(LONG_OPTIONS, name) ? LONG_OPTIONS[name] : undefined;
  if (options === undefined || !words.some((word) => word.startsWith('--'))) return words;
  const end = words.indexOf('--');
  const full = words.map((word, at) =>
    word.startsWith('--') && (end === -1 || at < end) ? inFull(word, options) : word,
  );
  return full.every((word, at) => word === words[at]) ? words : full;
}

function inFull(word: string, options: readonly string[]): string {
  const equals = word.indexOf('=');
  const name = word.slice(2, equals === -1 ? undefined : equals);
  if (name === '' || options.includes(name)) return word;
  const option = options.find((each) => each.startsWith(name)) ?? name;
  return `--${option}${equals === -1 ? '' : word.slice(equals)}`;
}
