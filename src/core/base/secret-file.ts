import { closeSync, constants, fstatSync, openSync, readSync, type Stats } from 'node:fs';
import { dirname } from 'node:path';
import { sourceOf } from './credential-copies.ts';
import { AgentError, errnoOf, messageOf } from './errors.ts';
import { shellWord } from './text.ts';

/** In bytes; much longer than a key or a connection string. */
const MAX_FILE_BYTES = 8_192;

/**
 * Reads a secret, after checking that no other user can read or change it.
 *
 * The opened descriptor is checked, so that the file can't be replaced between check and read. A symbolic link is followed
 * (Kubernetes mounts secrets as links), and its target is checked. If systemd has made a copy, the copy is read;
 * messages name the copy if it can't be opened, otherwise the file itself.
 *
 * @returns the trimmed text
 * @throws AgentError SECRET_FILE_*; its message never contains any part of the secret
 */
export function readSecretFile(path: string): string {
  const source = sourceOf(path);
  const file = open(source);
  try {
    const stats = fstatSync(file);
    if (!stats.isFile()) {
      throw new AgentError(
        'SECRET_FILE_UNREADABLE',
        `${source} is not a regular file`,
        'Set the path of a regular file.',
      );
    }
    refuseExposed(source, stats);
    const buffer = Buffer.alloc(MAX_FILE_BYTES + 1);
    const length = readSync(file, buffer, 0, buffer.length, 0);
    if (length > MAX_FILE_BYTES) {
      const remedy = `Write only the secret to ${path}.`;
      throw new AgentError('SECRET_FILE_MALFORMED', `${path} is larger than ${MAX_FILE_BYTES} bytes`, remedy);
    }
    return buffer.toString('utf8', 0, length).trim();
  } finally {
    closeSync(file);
  }
}

/** Non-blocking: opening a named pipe would otherwise wait for a writer. */
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
    const remedy = `Run the command as root, who owns the service's secrets. If systemd doesn't start the agent, run: chown ${userId()} ${shellWord(path)}`;
    throw new AgentError('SECRET_FILE_UNREADABLE', `${path} can't be read: ${messageOf(error)}`, remedy);
  }
}

/** Only the owner may have access, and must be root or this process's user. */
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
 * systemd passes credentials to a service as files of root with an access control list, whose mask appears as the group's
 * permission (0440). See systemd.exec(5), LoadCredential=.
 */
const isSystemdCredential = (path: string) => dirname(path) === process.env.CREDENTIALS_DIRECTORY;

const userId = () => process.geteuid?.() ?? 0;
