import sinon from 'sinon';
import { type Duration, days, minutes } from '../../src/core/base/duration.ts';
import { Gateway, type Life } from '../agent/pipeline/gateway.ts';
import type { Desired } from '../agent/pipeline/simulated-agent.ts';
import { type Change, DiskTrace, TracedStateFiles, tracedStoreFiles } from './disk-trace.ts';

/** Days before the measured day, after which every file has its usual size. */
const DAYS_BEFORE = 2;
/** Size of the notes with the position in audit and the copy of the account; see NoteFile. */
const NOTES = { '/state/audit-checkpoint.json': 512, '/state/accounts.json': 4096 };
/** Time for which notes are held; see src/agent/composition/storage.ts. */
const NOTES_EVERY = minutes(5);

/** Simulates the agent's writes in a day, with these settings of the module twin and of `store.syncEvery`. */
export async function writtenInADay(life: Life, desired: Desired, syncEvery: Duration): Promise<Change[]> {
  const time = sinon.useFakeTimers({
    now: new Date('2026-03-04T05:06:07Z'),
    toFake: ['setTimeout', 'clearTimeout', 'Date', 'performance'],
  });
  try {
    const trace = new DiskTrace();
    let notedAt = Number.NEGATIVE_INFINITY;
    const note = () => {
      if (performance.now() < notedAt + Math.max(NOTES_EVERY, syncEvery)) return;
      notedAt = performance.now();
      for (const [path, bytes] of Object.entries(NOTES)) trace.hold('overwrite', path, bytes);
    };
    const gateway = new Gateway({
      desired,
      storage: {
        store: tracedStoreFiles(trace),
        state: new TracedStateFiles(trace, syncEvery),
        syncEvery,
        saved: note,
      },
    });
    await gateway.start();
    let morning = 0;
    for (let day = 0; day <= DAYS_BEFORE; day += 1) {
      morning = performance.now();
      for (const { at, happens } of happenings(gateway, life)) {
        await time.tickAsync(Math.max(0, morning + at - performance.now()));
        happens();
        note();
      }
      await time.tickAsync(morning + days(1) - performance.now());
    }
    const written = trace.since(morning);
    await gateway.stop(time);
    return written;
  } finally {
    time.restore();
  }
}

/** Events of a day at even intervals, in order. */
export function happenings(gateway: Happening, { processesPerHour, connectionsPerHour, sessionsPerDay }: Life) {
  const steps = (count: number, happens: (step: number) => void) =>
    Array.from({ length: count }, (_, step) => ({ at: (step * days(1)) / count, happens: () => happens(step) }));
  const sessions = steps(sessionsPerDay, () => gateway.login('Login'));
  return [
    ...steps(processesPerHour * 24, (step) => gateway.startProcess(step % 50)),
    ...steps(connectionsPerHour * 24, () => gateway.connect()),
    ...sessions,
    ...sessions.map(({ at }) => ({ at: at + SESSION, happens: () => gateway.login('Logout') })),
  ].sort((one, other) => one.at - other.at);
}

const SESSION = minutes(30);

type Happening = Pick<Gateway, 'startProcess' | 'connect' | 'login'>;
