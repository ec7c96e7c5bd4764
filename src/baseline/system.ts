import { readlinkSync } from 'node:fs';
import { join } from 'node:path';
import type { Clock } from '../base/clock.ts';
import { FIRST_ROOT, hasOwnMounts } from '../base/first-root.ts';
import { Turn } from '../base/turn.ts';
import type { FirewallRule } from '../contract/sources.ts';
import { containerKind } from '../host/container.ts';
import { HostFiles } from '../host/host-files.ts';
import { isRemote } from '../host/mounts.ts';
import {
  type Accounts,
  FIRST_ORDINARY_UID,
  firstOrdinaryUid,
  hasShell,
  Names,
  readAccounts,
} from './facts/accounts.ts';
import { readAuditRules } from './facts/audit-rules.ts';
import { readFirewall } from './facts/firewall-rules.ts';
import { type Homes, readHomes } from './facts/homes.ts';
import { readKernelConfig } from './facts/kernel-config.ts';
import { readKernelModules } from './facts/kernel-modules.ts';
import { readFstab, readMounts } from './facts/mounts.ts';
import { findPackageManager, readPackages } from './facts/packages.ts';
import { Pam } from './facts/pam.ts';
import { readProcesses } from './facts/processes.ts';
import { readListeners } from './facts/sockets.ts';
import { readSshd } from './facts/sshd.ts';
import { readPersisted } from './facts/sysctl-files.ts';
import { Units } from './facts/units.ts';
import { walk } from './facts/walk.ts';
import { FEATURES } from './features.ts';
import { hasProgram } from './programs.ts';

/** What a scan can see of the system that it judges. */
export type View =
  /** The system that the agent runs in. */
  | 'host'
  /** A container's own files, and little of what is around it. */
  | 'container'
  /** The host's root from within a container, with its /proc. */
  | 'mounted-host'
  /** Files of a system that does not run, for example an image that is being built. */
  | 'tree';

/** What a system is looked at with. */
export interface SystemParts {
  readonly hostRoot: string;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  readonly firewall?: { rules(signal: AbortSignal): Promise<readonly FirewallRule[]> };
  readonly fileCapabilities?: () => ((path: string) => boolean) | undefined;
  readonly inContainer?: boolean;
  /** Told of what is looked at next, where that may take for ever. */
  readonly at?: (where: string) => void;
}

/** What the primitives look at: files, and the facts that are made of them once for each scan. */
export class System {
  readonly clock: Clock;
  readonly files: HostFiles;
  readonly view: View;
  readonly signal: AbortSignal;
  readonly firewall: SystemParts['firewall'];
  readonly at: (where: string) => void;
  /** How to tell whether a file carries capabilities; `undefined`: there is no way here. */
  readonly fileCapabilities: () => ((path: string) => boolean) | undefined;
  readonly #turn: Turn;
  #walkedForMs = 0;
  readonly #has = new Map<string, boolean>();

  constructor({ hostRoot, clock, inContainer, firewall, fileCapabilities, signal, at = () => {} }: SystemParts) {
    this.at = at;
    this.clock = clock;
    this.signal = signal;
    this.firewall = firewall;
    this.fileCapabilities = once(() => fileCapabilities?.());
    const own = new HostFiles(hostRoot);
    this.view = viewOf(own, inContainer);
    this.files = this.view === 'host' && hasOwnMounts() ? new HostFiles(FIRST_ROOT) : own;
    this.#turn = new Turn(clock);
    if (!this.runs) this.files.hidden = ['/dev', '/proc', '/run', '/sys'];
    const mounts = this.mounts();
    this.files.remote =
      'found' in mounts
        ? mounts.found
            .filter(isRemote)
            .map(({ point }) => point)
            .filter((point) => point !== '/')
        : [];
  }

  /** A system that runs, whose kernel can be asked. */
  get runs(): boolean {
    return this.view !== 'tree';
  }

  accounts = once((): Promise<Accounts> => readAccounts(this));
  packageManager = once(() => findPackageManager(this));
  packages = once(() => readPackages(this));
  sshd = once(() => readSshd(this));
  pam = once(() => Pam.read(this));
  units = once(() => Units.read(this));
  processes = once(() => readProcesses(this));
  mounts = once(() => readMounts(this));
  fstab = once(() => readFstab(this));
  listeners = once(() => readListeners(this));
  kernelModules = once(() => readKernelModules(this));
  kernelConfig = once(() => readKernelConfig(this));
  auditRules = once(() => readAuditRules(this));
  firewallRules = once(() => readFirewall(this));
  homes = once(() => this.#readHomes());
  walk = once(async () => {
    const result = await walk(this);
    this.#walkedForMs = result.tookMs;
    return result;
  });
  persistedSysctls = once(() => readPersisted(this));
  seesHostNetwork = once(() => seesHostNetwork(this));
  names = once(async () => Names.of(await this.accounts(), this));

  /** How long the walk over the file systems took, in milliseconds. */
  walkedFor(): number {
    return this.#walkedForMs;
  }

  /** Where the network's files are: of the host's first process, or of whoever reads them. */
  get netFolder(): string {
    return this.view === 'mounted-host' ? '/proc/1/net' : '/proc/net';
  }

  /** Homes of users who can log in: root, and those whom login.defs(5) counts as ordinary. */
  async #readHomes(): Promise<Homes> {
    const { users } = await this.accounts();
    const firstUid = firstOrdinaryUid(this);
    const first = typeof firstUid === 'number' ? firstUid : FIRST_ORDINARY_UID;
    const own = await this.select(
      'found' in users ? users.found : [],
      (user) =>
        hasShell(user) && (user.uid === 0 || user.uid >= first) && user.home.startsWith('/') && user.home !== '/',
    );
    const homes = { homes: await readHomes(own, this), total: own.length };
    return typeof firstUid === 'number' ? homes : { ...homes, unreadable: firstUid };
  }

  hasProgram = (name: string): boolean => hasProgram(this.files, name);

  /** Whether it has what a rule needs; see features.ts. */
  async has(feature: string): Promise<boolean> {
    let has = this.#has.get(feature);
    if (has === undefined) {
      has = (await FEATURES[feature]?.(this)) ?? false;
      this.#has.set(feature, has);
    }
    return has;
  }

  /** Those of a long list that `wanted` chooses; others get their turn meanwhile. */
  async select<T>(all: readonly T[], wanted: (each: T) => boolean): Promise<T[]> {
    const chosen: T[] = [];
    for (const [index, each] of all.entries()) {
      if (wanted(each)) chosen.push(each);
      if (index % 1_000 === 999) await this.pace();
    }
    return chosen;
  }

  /**
   * Lets others go on when this turn has lasted long enough. Whatever takes long asks for it every millisecond or so.
   *
   * @throws the signal's reason when the scan was aborted meanwhile
   */
  async pace(): Promise<void> {
    if (!this.#turn.isOver()) return;
    await this.#turn.next();
    this.signal.throwIfAborted();
  }
}

/** Made when it is first asked for, and then kept. */
function once<T>(make: () => T): () => T {
  let made: { readonly value: T } | undefined;
  return () => {
    made ??= { value: make() };
    return made.value;
  };
}

function viewOf(files: HostFiles, inContainer: boolean | undefined): View {
  if (files.root !== '/') return files.exists('/proc/1') ? 'mounted-host' : 'tree';
  return (inContainer ?? isInContainer(files)) ? 'container' : 'host';
}

/**
 * Whether /proc/sys/net and /proc/net, which always are those of whoever reads them, say something of the host. From a
 * container that takes the same network namespace as PID 1 of the host's /proc.
 */
function seesHostNetwork({ view, files }: System): boolean {
  if (view !== 'mounted-host') return view === 'host';
  const ours = namespaceOf('/', 'self');
  return ours !== undefined && ours === namespaceOf(files.root, '1');
}

function namespaceOf(root: string, process: string): string | undefined {
  try {
    return readlinkSync(join(root, 'proc', process, 'ns/net'));
  } catch {
    return undefined; // another's, and we may not trace it
  }
}

/** A scan may read the environment of PID 1: it runs in a process of its own, which can be ended. */
const isInContainer = (files: HostFiles): boolean =>
  containerKind({
    exists: (path) => files.exists(path),
    text: (path) => textOr(files, path),
    initEnvironment: () => textOr(files, '/proc/1/environ'),
  }) !== undefined;

function textOr(files: HostFiles, path: string): string {
  const look = files.text(path);
  return 'found' in look ? look.found : '';
}
