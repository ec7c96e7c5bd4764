import { hostname } from 'node:os';
import { systemClock } from '../../../core/base/clock.ts';
import { askControlSocket, notUnderstood } from '../../../core/base/control-socket.ts';
import { toAgentError } from '../../../core/base/errors.ts';
import { VERSION } from '../../../core/base/version.ts';
import type { ScanOptions } from '../../../core/contract/baseline.ts';
import type { PeriodicCollector } from '../../../core/contract/collector.ts';
import type { Payload } from '../../../core/contract/event.ts';
import type { Sources } from '../../../core/contract/sources.ts';
import { firewallConfiguration } from '../../collectors/firewall-configuration.ts';
import { listeningPorts } from '../../collectors/listening-ports.ts';
import { localUsers } from '../../collectors/local-users.ts';
import { systemInformation } from '../../collectors/system-information.ts';
import type { LocalStatus } from '../../status/schema.ts';
import { scan } from '../baseline.ts';
import { askHardware } from '../hardware/ask.ts';
import { snapshotSources } from '../snapshot-sources.ts';
import type { Fallible, Report, Rows } from './report.ts';
import { software } from './software.ts';

interface Options {
  /** The root of a tree, or of this machine's file system. */
  readonly root: string;
  readonly of: Report['of'];
  readonly by: string;
  readonly controlSocket: string;
  readonly options: ScanOptions;
  readonly withHardware: boolean;
  readonly signal: AbortSignal;
}

/** Collects all parts, one after the other. A part that cannot be read has the reason; rejects only when the signal aborts. */
export async function gather({ root, of, by, controlSocket, options, withHardware, signal }: Options): Promise<Report> {
  const sources = snapshotSources(root, NO_STATISTICS);
  const attempt = <T>(work: () => Promise<T>): Promise<Fallible<T>> =>
    work().catch((error: unknown) => {
      signal.throwIfAborted();
      const { message, remedy } = toAgentError(error);
      return { problem: `${message.replace(/\.$/, '')}. ${remedy}` };
    });
  const rows = (collector: PeriodicCollector) => attempt(() => rowsOf(collector, sources, signal));
  const running = <T>(work: () => Promise<T>): Promise<Fallible<T>> =>
    of === 'system' ? attempt(work) : Promise.resolve(NOT_RUNNING);
  const ask = (label: string) => askControlSocket(controlSocket, label, { signal });
  return {
    subject: of === 'system' ? hostname() : root,
    of,
    at: systemClock.now().toISOString(),
    by,
    version: VERSION,
    system: await running(async () => (await rowsOf(systemInformation, sources, signal)).rows[0] ?? {}),
    baseline: await attempt(() => scan(root, options, signal)),
    ports: await running(() => rowsOf(listeningPorts, sources, signal)),
    firewall: await running(() => rowsOf(firewallConfiguration, sources, signal)),
    accounts: await rows(localUsers),
    software: software(root),
    alerts: await running(async () => listOf(await ask('/alerts'), controlSocket)),
    agent: await running(async () => (await ask('/status')) as LocalStatus),
    ...(withHardware && of === 'system' ? { hardware: await askHardware({ signal }) } : {}),
  };
}

const NOT_RUNNING = { problem: 'Not reported: a root tree does not run, so only its files are evaluated.' };

async function rowsOf(collector: PeriodicCollector, sources: Sources, signal: AbortSignal): Promise<Rows> {
  const rows: readonly Payload[] = await collector.collect(sources, signal);
  const { leftOut = 0, reason } = collector.sourceStatus?.(sources) ?? {};
  return { rows, leftOut, ...(reason === undefined ? {} : { reason }) };
}

function listOf(answer: unknown, controlSocket: string): readonly unknown[] {
  if (Array.isArray(answer)) return answer;
  throw notUnderstood(controlSocket);
}

const NO_STATISTICS: Sources['statistics'] = {
  queues: () => Promise.reject(new Error('not needed')),
  messages: () => Promise.reject(new Error('not needed')),
};
