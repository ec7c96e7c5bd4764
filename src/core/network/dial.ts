import { connect, type Socket } from 'node:net';
import type { Clock } from '../base/clock.ts';
import { seconds } from '../base/duration.ts';
import { errnoOf, messageOf } from '../base/errors.ts';
import { untilAborted } from './limited.ts';

/** How long an address may be silent before the next one is tried beside it: the most that RFC 8305, 5 allows. */
export const ATTEMPT_DELAY = seconds(2);

export interface DialOptions {
  /** IP addresses in the order in which they are tried; at least one. */
  readonly addresses: readonly string[];
  readonly port: number;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/**
 * Connects by TCP to the first address that answers (Happy Eyeballs, RFC 8305): the next address is tried when one has
 * failed, or beside those that have been silent for 2 s. All other attempts are closed then, and all when `signal` aborts.
 *
 * @throws the system's error; for several addresses, an AggregateError with the code of the most specific one
 */
export async function dial({ addresses, port, clock, signal }: DialOptions): Promise<Socket> {
  const left = [...addresses];
  const attempts = new Set<Socket>();
  const errors: Error[] = [];
  let turn = new AbortController();
  try {
    const first = await untilAborted<Socket>(signal, (resolve, reject) => {
      const tryNext = () => {
        turn.abort();
        const host = left.shift();
        if (host === undefined) return;
        const socket = connect({ host, port });
        attempts.add(socket);
        const failed = (error: Error) => {
          attempts.delete(socket);
          errors.push(error);
          if (left.length > 0) tryNext();
          else if (attempts.size === 0) reject(combined(errors));
        };
        socket.once('error', failed);
        socket.once('connect', () => {
          socket.off('error', failed);
          resolve(socket);
        });
        turn = new AbortController();
        const { signal: over } = turn;
        void clock.sleep(ATTEMPT_DELAY, over).then(() => over.aborted || tryNext());
      };
      tryNext();
    });
    attempts.delete(first);
    return first;
  } finally {
    turn.abort();
    left.length = 0;
    for (const socket of attempts) socket.destroy();
  }
}

/** Errors of an address family that this device doesn't use; the error of the other family is the one to fix. */
const NO_ROUTE = ['ENETUNREACH', 'EADDRNOTAVAIL', 'EAFNOSUPPORT', 'EHOSTUNREACH'];
const MAX_NAMED = 4;

function combined(errors: readonly Error[]): Error {
  const telling = errors.find((error) => !NO_ROUTE.includes(errnoOf(error) ?? '')) ?? errors[0];
  if (telling === undefined || errors.length === 1) return telling ?? new Error('there is no address');
  const sorted = [telling, ...errors.filter((error) => error !== telling)];
  const more = errors.length > MAX_NAMED ? `; and ${errors.length - MAX_NAMED} more` : '';
  const message = `${sorted.slice(0, MAX_NAMED).map(messageOf).join('; ')}${more}`;
  return Object.assign(new AggregateError(sorted, message), { code: errnoOf(telling) });
}
