import { closeSync } from 'node:fs';
import { type Duration, milliseconds } from '../../../core/base/duration.ts';
import { findTool, runTool } from '../../host/run-tool.ts';
import { systemCalls } from '../native/system-calls.ts';

const AF_UNIX = 1;
const SOCK_DGRAM = 2;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
const MSG_NOSIGNAL = 0x4000;
/** Size of sun_path in sockaddr_un, see unix(7). */
const LONGEST_ADDRESS = 108;

/** The service manager that started this process: systemd, by sd_notify(3). */
export interface ServiceManager {
  /** Whether there is none: what is sent is not read. */
  readonly isAbsent?: boolean;
  /** Its watchdog's timeout: without `WATCHDOG=1` for this long, it restarts the process. Absent without a watchdog. */
  readonly watchdog?: Duration;
  /**
   * Sends assignments such as `READY=1`, see sd_notify(3). Never throws, never waits.
   *
   * @returns whether they were sent, as far as is known: `false` when the manager's queue is full
   */
  notify(...assignments: readonly string[]): boolean;
}

/**
 * The service manager named in the environment, or one that ignores everything.
 *
 * Removes its variables from the environment, as sd_notify(3) recommends, so that child processes cannot notify in the
 * agent's name.
 */
export function takeServiceManager(environment: NodeJS.ProcessEnv): ServiceManager {
  const { NOTIFY_SOCKET: address = '', WATCHDOG_USEC: limit, WATCHDOG_PID: pid = String(process.pid) } = environment;
  for (const name of ['NOTIFY_SOCKET', 'WATCHDOG_USEC', 'WATCHDOG_PID']) delete environment[name];
  const socketAddress = encodeAddress(address);
  if (socketAddress === undefined) return { isAbsent: true, notify: () => true };
  const watchdog = pid === String(process.pid) ? Number(limit) / 1_000 : Number.NaN;
  return {
    ...(watchdog > 0 ? { watchdog: milliseconds(watchdog) } : {}),
    notify: (...assignments) => {
      const lines = assignments.map((assignment) => assignment.replace(/\s*\n\s*/g, ' '));
      try {
        return send(socketAddress, lines.join('\n'));
      } catch {
        notifyByTool(address, lines); // koffi has no binary for this platform
        return true;
      }
    },
  };
}

/** A struct sockaddr_un. A leading `@` stands for the zero byte of an abstract address; other addresses are paths. */
function encodeAddress(address: string): Buffer | undefined {
  if (!/^[/@]./.test(address)) return undefined;
  const name = Buffer.from(address.startsWith('@') ? `\0${address.slice(1)}` : `${address}\0`);
  if (name.length > LONGEST_ADDRESS) return undefined;
  const family = Buffer.alloc(2);
  new Uint16Array(family.buffer, family.byteOffset, 1)[0] = AF_UNIX; // in host byte order
  return Buffer.concat([family, name]);
}

/** Never waits. @returns `false` when it was not sent, as when it does not fit into the manager's queue */
function send(address: Buffer, text: string): boolean {
  const system = systemCalls();
  const fd = system.socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return false;
  const data = Buffer.from(text);
  const sent = system.sendto(fd, data, data.length, MSG_NOSIGNAL, address, address.length);
  closeSync(fd);
  return sent >= 0;
}

/** Notifies by systemd-notify, which waits for the manager. It is another process, so the unit needs NotifyAccess=all. */
function notifyByTool(address: string, lines: readonly string[]): void {
  const tool = findTool('systemd-notify');
  if (tool === undefined) return;
  const environment = { NOTIFY_SOCKET: address };
  void runTool(tool, lines, { signal: new AbortController().signal, maxBytes: 1024, environment }).catch(() => {});
}
