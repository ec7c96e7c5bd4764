import { getSystemErrorName } from 'node:util';
import { AgentError, errnoOf, messageOf, toAgentError } from '../../../core/base/errors.ts';
import { LOCKED_REMEDY } from './rules.ts';

/** An error like those of node:fs, for a number or name that the kernel gave in a message. See errno(3). */
export function systemError(errno: number | string, call: string): NodeJS.ErrnoException {
  const code = typeof errno === 'string' ? errno : nameOf(errno);
  return Object.assign(new Error(`${code}: ${call}`), { code });
}

const nameOf = (errno: number): string => {
  try {
    return getSystemErrorName(-errno);
  } catch {
    return `errno ${errno}`; // out of range: a number that no kernel gives
  }
};

export const switchedOff = (daemon: number) =>
  new AgentError(
    'AUDIT_UNAVAILABLE',
    `Audit is disabled although an audit daemon is running, process ${daemon}.`,
    'Enable it (auditctl -e 1), or stop the daemon so that the agent can enable it.',
  );

/** Source: kauditd_send_multicast_skb() in kernel/audit.c. The daemon has its records wherever it is. */
export const unheard = () =>
  new AgentError(
    'AUDIT_UNAVAILABLE',
    "Beside an audit daemon, the kernel sends audit records to listeners in the host's network namespace only.",
    "Run the agent in the host's network namespace (podman: --network=host).",
  );

export const lockedOut = () =>
  new AgentError(
    'AUDIT_UNAVAILABLE',
    "Audit's rules are locked until the next boot (enabled is 2), and the agent's are not among them.",
    LOCKED_REMEDY,
  );

/** What an error of a request, or of a socket, says about audit. An AgentError that says more remains as it is. */
export function unavailable(error: unknown): AgentError {
  const refusal = error instanceof AgentError ? error.cause : error;
  const errno = errnoOf(refusal);
  if (error instanceof AgentError && errno !== 'EPROTONOSUPPORT' && errno !== 'EPERM' && errno !== 'EACCES') {
    return error;
  }
  if (errno === undefined) return toAgentError(error);
  return new AgentError(
    'AUDIT_UNAVAILABLE',
    `The kernel denies this process access to audit records (${messageOf(refusal)}).`,
    REMEDIES[errno] ?? 'Look up the error in errno(3), and check that the kernel has CONFIG_AUDITSYSCALL=y.',
    { cause: error },
  );
}

const NO_SUPPORT =
  'Use a kernel with CONFIG_AUDIT=y and CONFIG_AUDITSYSCALL=y, and without audit=0 on its command line.';
const NOT_ALLOWED =
  "Grant CAP_AUDIT_CONTROL and CAP_AUDIT_READ, and run it in the host's pid and user namespaces (podman: --pid=host).";
const REMEDIES: Readonly<Record<string, string>> = {
  EPROTONOSUPPORT: NO_SUPPORT,
  ECONNREFUSED: NO_SUPPORT,
  EPERM: NOT_ALLOWED,
  EACCES: NOT_ALLOWED,
  EINVAL: NOT_ALLOWED,
};
