import { optionalSystemCalls } from './system-calls.ts';

/**
 * Ends this process without waiting for its threads, as Node's exit does: the kernel may never answer one of them.
 *
 * Without native code it ends by SIGTERM, which service managers take for a clean end, and which the kernel keeps from the
 * first process of a container.
 */
export function exitAtOnce(status: number): void {
  optionalSystemCalls()?.exit(status);
  process.removeAllListeners('SIGTERM');
  process.kill(process.pid, 'SIGTERM');
}
