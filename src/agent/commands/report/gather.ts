import { statSync } from 'node:fs';
import { hostname } from 'node:os';
import { readBounded } from '../../../core/base/bounded-file.ts';
import { systemClock } from '../../../core/base/clock.ts';
import { askControlSocket, notUnderstood } from '../../../core/base/control-socket.ts';
import { errnoOf, messageOf, toAgentError } from '../../../core/base/errors.ts';
import { VERSION } from '../../../core/base/version.ts';
import type { ScanOptions } from '../../../core/contract/baseline.ts';
import type { PeriodicCollector } from '../../../core/contract/collector.ts';
import type { Payload } from '../../../core/contract/event.ts';
import type { Sources } from '../../../core/contract/sources.ts';
import { firewallConfiguration } from '../../collectors/firewall-configuration.ts';
import { listeningPorts } from '../../collectors/listening-ports.ts';
import { localUsers } from '../../collectors/local-users.ts';
import { systemInformation } from '../../collectors/system-information.ts';
import { inRoot } from '../../host/in-root.ts';
import { apkPackages, PACKAGE_DATABASES, RPM_FILES, RPM_FOLDERS, statusPackages } from '../../host/packages.ts';
import type { LocalStatus } from '../../status/schema.ts';
import { scan } from '../baseline.ts';
import { askHardware } from '../hardware/ask.ts';
import { snapshotSources } from '../snapshot-sources.ts';
import type { Fallible, Report, Rows, Software } from './report.ts';

/** The status file of a desktop has 5 MB. */
const MAX_DATABASE_BYTES = 24 * 1024 * 1024;

/** The installed packages of a root, from the database of its package manager. */
export function software(root: string): Fallible<Software> {
  for (const { manager, paths } of PACKAGE_DATABASES) {
    const where = paths.find((path) => fileExists(root, path));
    if (where !== undefined) return packagesIn(root, manager, where);
  }
  const rpm = RPM_FOLDERS.find((folder) => RPM_FILES.some((name) => fileExists(root, `${folder}/${name}`)));
  return {
    problem:
      rpm === undefined
        ? 'No database of dpkg, opkg, apk or rpm was found: the software is not reported.'
        : `The packages of rpm in ${rpm} are not reported: their database can't be read without rpm. Use: rpm -qa`,
  };
}

function packagesIn(root: string, manager: string, where: string): Fallible<Software> {
  try {
    const text = readBounded(inRoot(root, where), MAX_DATABASE_BYTES);
    const versions = new Map<string, string>();
    for (const one of manager === 'apk' ? apkPackages(text) : statusPackages(text))
      if (one !== undefined) versions.set(one.name, one.version);
    if (versions.size === 0)
      return { problem: `${where} of ${manager} has no installed package: it is empty or damaged.` };
    const packages = [...versions].map(([name, version]) => ({ name, version }));
    return { manager, where, packages: packages.sort((a, b) => (a.name < b.name ? -1 : 1)) };
  } catch (error) {
    return { problem: `The packages in ${where} can't be read: ${errnoOf(error) ?? messageOf(error)}` };
  }
}

/** Anything but "no such file" counts: what cannot be read must be reported as such. */
function fileExists(root: string, path: string): boolean {
  try {
    return statSync(inRoot(root, path), { throwIfNoEntry: false }) !== undefined;
  } catch (error) {
    return errnoOf(error) !== 'ENOTDIR';
  }
}

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
