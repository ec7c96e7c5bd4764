/*
 * Options of a program that take a value, so that the value is not mistaken for an operand: for the programs in the tables of
 * operands.ts, writers.ts and usual-form.ts. To add a program, add a line.
 */
import type { Valued } from './options.ts';

const COPYING: Valued = { valued: 'St', long: 'suffix target-directory sparse no-preserve' };
const OWNING: Valued = { long: 'reference from' };
const SEARCHING: Valued = {
  valued: 'efmABCDd',
  long: 'regexp file max-count after-context before-context context include exclude exclude-dir exclude-from',
};
const EDITING: Valued = { valued: 'cTuU', long: 'cmd' };
const FORMATTING: Valued = { valued: 'bCdeEfgGiIjJlLmMnNoOrtTUVvz', long: 'type label uuid pagesize' };
const CAPTURING: Valued = { valued: 'abBcCdeEfFHijJKmNoOrRsSTuUWwXyYz' };
const TRACING: Valued = { valued: 'abeEIoOpPsSuUX', long: 'output trace attach user env' };
const FILTERING: Valued = { valued: 'ACDdEgIijmNoPpRst' };
const RESTORING: Valued = { valued: 'TMw', long: 'table modprobe wait' };
const PYTHON: Valued = { valued: 'cmWX' };
const ADDING_USERS: Valued = {
  valued: 'bcdefgGhkKpRsuZP',
  long:
    'base-dir comment home home-dir expiredate inactive gid groups skel key password root shell uid prefix ' +
    'ingroup gecos',
};
const GETTING: Valued = {
  valued: 'aABDeiIlOoPQRTtUwX',
  long:
    'append-output base body-data body-file directory-prefix execute header input-file method output-document ' +
    'output-file password post-data post-file timeout tries user user-agent wait',
};
const HTTPIE: Valued = {
  valued: 'aAops',
  long: 'auth auth-type output print style session timeout proxy verify cert cert-key default-scheme',
};
const NETCAT: Valued = {
  valued: 'ceGgIiMmOopqsTVWwXx',
  long:
    'allow delay exec hex-dump idle-timeout lua-exec output proxy proxy-auth proxy-type sh-exec source ' +
    'source-port ssl-cert ssl-key wait',
};

const VALUES: Readonly<Record<string, Valued>> = {
  adduser: ADDING_USERS,
  atftp: { valued: 'lr', long: 'local-file remote-file' },
  auditctl: { valued: 'abcdeFfkRrSwWpm' },
  awk: { valued: 'Fvf', long: 'file assign field-separator' },
  axel: { valued: 'nosHUT', long: 'max-speed num-connections output header user-agent timeout' },
  base64: { valued: 'w', long: 'wrap' },
  blkdiscard: { valued: 'olps', long: 'offset length step' },
  chattr: { valued: 'vp' },
  chgrp: OWNING,
  chmod: { long: 'reference' },
  chown: OWNING,
  cmp: { valued: 'in', long: 'ignore-initial bytes' },
  cp: COPYING,
  crontab: { valued: 'cu' },
  crudini: { long: 'format' },
  cryptsetup: { valued: 'chsdlTyiSM', long: 'cipher hash key-size type iter-time' },
  curl: {
    valued: 'AbcCdDeEFhHKmoPQrtTuUwxXyYz',
    long:
      'cacert cert config connect-timeout connect-to cookie cookie-jar data data-ascii data-binary data-raw ' +
      'data-urlencode dump-header form form-string header interface json key libcurl max-time output output-dir ' +
      'proxy proxy-user referer request resolve retry retry-delay socks5 socks5-hostname stderr trace ' +
      'trace-ascii upload-file url user user-agent write-out',
  },
  cut: { valued: 'bcdf', long: 'bytes characters delimiter fields output-delimiter' },
  'dpkg-divert': { long: 'divert admindir package' },
  dumpcap: CAPTURING,
  ed: { valued: 'p' },
  egrep: SEARCHING,
  ex: EDITING,
  fetch: { valued: 'BhioNSTw' },
  fgrep: SEARCHING,
  ftpget: { valued: 'upP' },
  ftpput: { valued: 'upP' },
  gpasswd: { valued: 'aAdMQ', long: 'add administrators delete members root' },
  gpg: { valued: 'oru', long: 'output recipient passphrase passphrase-file' },
  grep: SEARCHING,
  head: { valued: 'nc', long: 'lines bytes' },
  hexdump: { valued: 'efns' },
  http: HTTPIE,
  https: HTTPIE,
  iconv: { valued: 'fto', long: 'output from-code to-code' },
  install: { valued: 'gmoSt', long: 'group mode owner strip-program suffix target-directory' },
  ip6tables: FILTERING,
  'ip6tables-restore': RESTORING,
  iptables: FILTERING,
  'iptables-restore': RESTORING,
  ln: COPYING,
  logrotate: { valued: 'lms', long: 'state log mail' },
  ltrace: TRACING,
  mke2fs: FORMATTING,
  mkfs: FORMATTING,
  mkswap: FORMATTING,
  mount: { valued: 'LNoOtTU', long: 'fstab label namespace options source target types uuid' },
  mv: COPYING,
  nandwrite: { valued: 'bos' },
  nano: { valued: 'CJoQrsTXY' },
  nc: NETCAT,
  ncat: NETCAT,
  netcat: NETCAT,
  newusers: { valued: 'R' },
  nft: { valued: 'fDI', long: 'file define includepath' },
  nl: { valued: 'bdfhilnsvw' },
  nvim: EDITING,
  od: { valued: 'AjNStw' },
  openvpn: { long: 'config' },
  parted: { valued: 'a' },
  passwd: { valued: 'inPrRwx', long: 'inactive maxdays mindays prefix repository root warndays' },
  patch: {
    valued: 'pidDFgorVxYzB',
    long: 'basename-prefix directory fuzz get ifdef input output prefix reject-file strip suffix version-control',
  },
  patchelf: {
    long: 'set-interpreter set-rpath add-rpath add-needed remove-needed replace-needed set-soname page-size output',
  },
  perl: { valued: 'eEFImM', optional: 'i' },
  php: { valued: 'dfrBRE' },
  python: PYTHON,
  python3: PYTHON,
  rsync: {
    valued: 'BefMT',
    long:
      'backup-dir block-size bwlimit chmod chown compare-dest contimeout copy-dest exclude exclude-from files-from filter ' +
      'groupmap include include-from link-dest log-file max-size min-size out-format partial-dir password-file port rsh ' +
      'rsync-path suffix temp-dir timeout usermap',
  },
  ruby: { valued: 'eEIr' },
  scp: { valued: 'cDFiJloPSX' },
  script: { valued: 'cEIBmOT', long: 'command echo log-in log-io log-out log-timing logging-format' },
  sed: { valued: 'efl', long: 'expression file line-length', optional: 'i' },
  setfacl: { valued: 'mMxX', long: 'modify remove set' },
  shred: { valued: 'ns', long: 'iterations random-source size' },
  shuf: { valued: 'ino', long: 'output head-count input-range random-source' },
  sort: { valued: 'koStT', long: 'output key field-separator temporary-directory' },
  strace: TRACING,
  strings: { valued: 'nteT' },
  tac: { valued: 's' },
  tail: { valued: 'ncs', long: 'lines bytes' },
  tar: {
    valued: 'bfCHIKLNTVX',
    long: 'file directory files-from exclude to-command use-compress-program transform',
  },
  tcpdump: { valued: 'BcCEFGijMQrsTVwWyzZ' },
  tftp: { valued: 'lr' },
  touch: { valued: 'drt', long: 'date reference time' },
  truncate: { valued: 'rs', long: 'reference size' },
  tshark: CAPTURING,
  ubiformat: { valued: 'bFnOQsxe' },
  'uclient-fetch': { valued: 'OPTUY', long: 'output-document timeout user-agent post-data header ca-certificate' },
  umount: { valued: 'NOt', long: 'namespace test-opts types' },
  uniq: { valued: 'fsw', long: 'skip-fields skip-chars check-chars' },
  useradd: ADDING_USERS,
  usermod: { valued: 'cdefgGlpPRsuvVwWZ', long: `${ADDING_USERS.long} login` },
  vi: EDITING,
  vim: EDITING,
  wget: GETTING,
  wget2: GETTING,
  wipefs: { valued: 'otp', long: 'offset types' },
  xxd: { valued: 'cglnoRs', flags: '-ps -plain -postscript -bits -include -uppercase -revert -autoskip -EBCDIC' },
  zip: { valued: 'bnPtx' },
};

const NOTHING: Valued = {};

/** Options that take a value, keyed by program name. */
export const valuedOf = (program: string): Valued =>
  Object.hasOwn(VALUES, program) ? (VALUES[program] ?? NOTHING) : program.startsWith('mkfs.') ? FORMATTING : NOTHING;
