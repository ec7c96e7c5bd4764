/* Wildcards that stand for one well-known name: `/???/c?t /e??/sh?dow`. The existing files are unknown, so only names that
 * attackers hide are guessed, and only if enough of the name is written. */
import { matchesGlob } from '../../pattern/glob.ts';
import { nameOf } from './paths.ts';

/** The more significant names first, because the first match is used. */
const PROGRAMS = (
  'wget curl cat nc bash sh ncat socat busybox base64 python3 python perl whoami iptables useradd passwd ' +
  'crontab systemctl pkill chmod tftp ftpget netcat openssl nmap rm dd id ls tac head tail nl xxd insmod ' +
  'modprobe auditctl shred chattr ssh'
).split(' ');
const FILES = (
  '/etc/shadow /etc/passwd /etc/sudoers /etc/gshadow /etc/crontab /etc/ld.so.preload /etc/hosts ' +
  '/root/.ssh/authorized_keys /root/.ssh/id_rsa /root/.bash_history /var/log/auth.log /var/log/syslog'
).split(' ');
const MAX_PATTERN_CHARACTERS = 64;

/** The most likely name for a pattern, or the pattern itself. */
export function guessGlob(pattern: string, isCommand: boolean): string {
  const plain = pattern.includes('[') ? withoutClasses(pattern) : pattern;
  const isGlob = plain.includes('?') || plain.includes('*');
  if (!isGlob || plain.length > MAX_PATTERN_CHARACTERS || lettersOf(nameOf(plain)) < (isCommand ? 1 : 3)) return plain;
  if (!isCommand)
    return plain.startsWith('/')
      ? (FILES.find((file) => depthOf(file) === depthOf(plain) && matchesGlob(plain, file)) ?? plain)
      : plain;
  const name = PROGRAMS.find((program) => matchesGlob(nameOf(plain), program));
  if (name === undefined) return plain;
  const directory = plain.slice(0, plain.length - nameOf(plain).length);
  return (directory.includes('?') || directory.includes('*') ? '/usr/bin/' : directory) + name;
}

const depthOf = (path: string): number => path.split('/').length;
const lettersOf = (text: string): number => text.length - text.split('?').length - text.split('*').length + 2;

/** `[o]` matches a single character. */
function withoutClasses(pattern: string): string {
  let plain = '';
  for (let i = 0; i < pattern.length; i++) {
    const isOne = pattern[i] === '[' && pattern[i + 2] === ']' && pattern[i + 1] !== '!';
    plain += isOne ? (pattern[i + 1] ?? '') : (pattern[i] ?? '');
    if (isOne) i += 2;
  }
  return plain;
}
