import { closeSync, constants, fstatSync, openSync, readSync, type Stats } from 'node:fs';
import { dirname } from 'node:path';
import { AgentError, errnoOf, messageOf } from '../../base/errors.ts';
import { shellWord } from '../../base/shell-word.ts';

/** Far more than a key or a connection string can need. */
const LARGEST = 8_192;

/**
 * Reads a secret, after making sure that nobody else can read or change it.
 *
 * The checks are of the file that was opened, so that it can't be exchanged between check and read. A link is followed
 * (Kubernetes mounts secrets as links): what counts is where it leads.
 *
 * @returns its text, without blanks and line ends around it
 * @throws AgentError SECRET_FILE_*; its message never holds any of the secret
 */
export function readSecretFile(path: string): string {
  const file = open(path);
  try {
    const stats = fstatSync(file);
    if (!stats.isFile()) {
      throw new AgentError('SECRET_FILE_UNREADABLE', `${path} is not a regular file`, `Name a regular file instead.`);
    }
    refuseExposed(path, stats);
    const buffer = Buffer.alloc(LARGEST + 1);
    const length = readSync(file, buffer, 0, buffer.length, 0);
    if (length > LARGEST) {
      const remedy = `Put nothing but the secret into ${path}.`;
      throw new AgentError('SECRET_FILE_MALFORMED', `${path} is larger than ${LARGEST} bytes`, remedy);
    }
    return buffer.toString('utf8', 0, length).trim();
  } finally {
    closeSync(file);
  }
}

/** Without waiting: opening a named pipe would, until somebody writes. */
function open(path: string): number {
  try {
    return openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') {
      throw new AgentError(
        'SECRET_FILE_MISSING',
        `${path} does not exist`,
        `Create it with mode 0600: sh -c 'umask 077; cat >"$1"' sh ${shellWord(path)}; then paste the secret, and press Enter and Ctrl-D.`,
      );
    }
    const remedy = `Ask as root, whose the secrets of the service are. An agent that systemd doesn't start needs: chown ${userId()} ${shellWord(path)}`;
    throw new AgentError('SECRET_FILE_UNREADABLE', `${path} can't be read: ${messageOf(error)}`, remedy);
  }
}

/** Who may be able to read it: its owner, being root or this agent. */
function refuseExposed(path: string, { uid, gid, mode }: Stats): void {
  if (uid !== 0 && uid !== userId()) {
    const remedy = `Run: chown ${userId()} ${shellWord(path)} && chmod 600 ${shellWord(path)}`;
    throw new AgentError('SECRET_FILE_EXPOSED', `${path} belongs to user ${uid}, who can read it`, remedy);
  }
  const exposed = mode & (isSystemdCredential(path) && gid === 0 ? 0o037 : 0o077);
  if (exposed !== 0) {
    const who = (exposed & 0o007) === 0 ? 'its group' : 'every user';
    const what = `${path} is open to ${who} (mode ${(mode & 0o777).toString(8).padStart(4, '0')})`;
    throw new AgentError('SECRET_FILE_EXPOSED', what, `Run: chmod 600 ${shellWord(path)}`);
  }
}

/**
 * systemd gives a service its credentials through an access control list on files of root, and then the list's mask
 * shows as the group's permission (0440). See systemd.exec(5), LoadCredential=.
 */
const isSystemdCredential = (path: string) => dirname(path) === process.env.CREDENTIALS_DIRECTORY;

const userId = () => process.geteuid?.() ?? 0;
