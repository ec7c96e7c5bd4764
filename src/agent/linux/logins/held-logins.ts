import { defined, isCount } from '../../../core/base/values.ts';
import type { LoginReporter, LoginSeen } from '../../../core/contract/streams.ts';
import type { BackgroundWriter } from '../../state/background-writer.ts';
import { NoteFile } from '../../state/note-file.ts';
import { readStateJson } from '../../state/read-state.ts';
import { parseRemoteAddress } from './remote.ts';

/** More than AuditLogins holds. */
const MAX_ENTRIES = 1_024;
const LONGEST_TEXT = 4_096;

/** What an earlier run left. */
interface Left {
  readonly logins: readonly LoginSeen[];
  /** Entries that cannot be used; one if the whole file is damaged, since a file has one at least. */
  readonly unusable: number;
}

const NOTHING: Left = { logins: [], unusable: 0 };
const DAMAGED: Left = { logins: [], unusable: 1 };

/** Each login is serialised once, although the file is rewritten whenever another one is added. */
const texts = new WeakMap<LoginSeen, string>();

function textOf(login: LoginSeen): string {
  const known = texts.get(login);
  if (known !== undefined) return known;
  const text = JSON.stringify(login);
  texts.set(login, text);
  return text;
}

/** How many characters it has in the file. */
export const savedLength = (login: LoginSeen): number => textOf(login).length;

/**
 * The waiting logins of AuditLogins on disk, so that they survive kill -9: they wait up to two minutes for a better record.
 *
 * Rewritten as a whole on each change, at most once for each drain of audit, and not synced: a power cut loses what the
 * kernel has not written. AuditLogins limits its length.
 */
export class HeldLogins {
  readonly #path: string;
  readonly #note: NoteFile;
  #written: readonly LoginSeen[] | undefined;

  /** @param writer writes after the events queued before it; without it, the file is written at once */
  constructor(path: string, writer?: BackgroundWriter) {
    this.#path = path;
    // The checkpoint counts held logins as reported, so it must not precede them.
    this.#note = new NoteFile(path, writer, { writeFirst: true });
  }

  /** They stay in the file until `write` is called. */
  read(): Left {
    if (this.#written !== undefined) return { logins: this.#written, unusable: 0 };
    try {
      const entries = readStateJson(this.#path, (value: unknown) => value);
      if (entries === undefined) return NOTHING;
      if (!Array.isArray(entries)) return DAMAGED;
      const logins = entries.slice(0, MAX_ENTRIES).flatMap((entry) => parseLogin(entry) ?? []);
      return { logins, unusable: entries.length - logins.length };
    } catch {
      return DAMAGED;
    }
  }

  /** @throws the error of the file system */
  write(held: readonly LoginSeen[]): void {
    const written = this.#written;
    if (held.length === written?.length && held.every((login, index) => login === written[index])) return;
    this.#note.replace(held.length === 0 ? undefined : `[${held.map(textOf).join(',')}]`);
    this.#written = held;
  }
}

/** @returns `undefined` when it is not a valid login */
function parseLogin(entry: unknown): LoginSeen | undefined {
  const saved = (entry ?? {}) as Record<string, unknown>;
  const time = new Date(text(saved.time) ?? Number.NaN);
  const { success } = saved;
  const pid = count(saved.pid);
  const operation = text(saved.operation);
  const executable = text(saved.executable);
  const userId = count(saved.userId);
  const userName = text(saved.userName);
  if (Number.isNaN(time.getTime()) || typeof success !== 'boolean') return undefined;
  if (pid === undefined || operation === undefined || executable === undefined) return undefined;
  if (userId === undefined && userName === undefined) return undefined;
  const { address, port } = (saved.remote ?? {}) as Record<string, unknown>;
  const remoteAddress = parseRemoteAddress(text(address) ?? '')?.remote?.address;
  const remotePort = count(port);
  return {
    time,
    success,
    pid,
    operation,
    executable,
    ...defined({ serial: count(saved.serial), userId, userName, localPort: count(saved.localPort) }),
    ...defined({ zone: text(saved.zone), remoteHost: text(saved.remoteHost) }),
    ...defined({ terminal: text(saved.terminal), sessionId: text(saved.sessionId) }),
    ...defined({ reporter: parseReporter(saved.reporter) }),
    ...(remoteAddress === undefined ? {} : { remote: { address: remoteAddress, ...defined({ port: remotePort }) } }),
  };
}

function parseReporter(value: unknown): LoginReporter | undefined {
  const { pid, executable, containerId } = (value ?? {}) as Record<string, unknown>;
  const number = count(pid);
  if (number === undefined) return undefined;
  return { pid: number, ...defined({ executable: text(executable), containerId: text(containerId) }) };
}

const text = (value: unknown): string | undefined =>
  typeof value === 'string' && value.length <= LONGEST_TEXT ? value : undefined;

const count = (value: unknown): number | undefined => (isCount(value) ? value : undefined);
