import { closeSync } from 'node:fs';
import { type Duration, milliseconds } from '../../base/duration.ts';
import { findTool, runTool } from '../../host/run-tool.ts';
import { systemCalls } from '../native/system-calls.ts';

const AF_UNIX = 1;
const SOCK_DGRAM = 2;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
const MSG_NOSIGNAL = 0x4000;
/** sun_path of sockaddr_un, see unix(7). */
const LONGEST_ADDRESS = 108;

/** Whoever has started this process and wants to know how it does: systemd, by sd_notify(3). */
export interface ServiceManager {
  /** How long it waits for `WATCHDOG=1` before it starts the process anew; absent when it doesn't wait for any. */
  readonly watchdog?: Duration;
  /** Tells it something, such as `READY=1`: one assignment each, see sd_notify(3). Never throws. */
  tell(...assignments: readonly string[]): void;
}

/**
 * The service manager that the environment names, or one that nobody hears.
 *
 * Its variables are taken out, as sd_notify(3) would have it: nobody that this process starts is to speak in its name.
 */
export function takeServiceManager(environment: NodeJS.ProcessEnv): ServiceManager {
  const { NOTIFY_SOCKET: address = '', WATCHDOG_USEC: limit, WATCHDOG_PID: pid = String(process.pid) } = environment;
  for (const name of ['NOTIFY_SOCKET', 'WATCHDOG_USEC', 'WATCHDOG_PID']) delete environment[name];
  const socketAddress = encodeAddress(address);
  if (socketAddress === undefined) return { tell: () => {} };
  const watchdog = pid === String(process.pid) ? Number(limit) / 1_000 : Number.NaN;
  return {
    ...(watchdog > 0 ? { watchdog: milliseconds(watchdog) } : {}),
    tell: (...assignments) => {
      const lines = assignments.map((assignment) => assignment.replace(/\s*\n\s*/g, ' '));
      try {
        send(socketAddress, lines.join('\n'));
      } catch {
        tellByTool(address, lines); // koffi has no binary here
      }
    },
  };
}

/** A struct sockaddr_un. `@` stands for the zero byte that an abstract address begins with; others are paths. */
function encodeAddress(address: string): Buffer | undefined {
  if (!/^[/@]./.test(address)) return undefined;
  const name = Buffer.from(address.startsWith('@') ? `\0${address.slice(1)}` : `${address}\0`);
  if (name.length > LONGEST_ADDRESS) return undefined;
  const family = Buffer.alloc(2);
  new Uint16Array(family.buffer, family.byteOffset, 1)[0] = AF_UNIX; // the machine's own byte order
  return Buffer.concat([family, name]);
}

/** Doesn't wait, whatever the manager does. What it has no room for is lost, and the next message says as much. */
function send(address: Buffer, text: string): void {
  const system = systemCalls();
  const fd = system.socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return;
  const data = Buffer.from(text);
  system.sendto(fd, data, data.length, MSG_NOSIGNAL, address, address.length);
  closeSync(fd);
}

/** By systemd's own tool, whose word the unit must accept then (NotifyAccess=all): it is another process. */
function tellByTool(address: string, lines: readonly string[]): void {
  const tool = findTool('systemd-notify');
  if (tool === undefined) return;
  const environment = { NOTIFY_SOCKET: address };
  void runTool(tool, lines, { signal: new AbortController().signal, mostBytes: 1024, environment }).catch(() => {});
}
