import { readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { AgentError } from '../../core/base/errors.ts';
import type { FirewallRule } from '../../core/contract/sources.ts';
import { FIRST_ORDINARY_UID } from '../host/account-files.ts';
import type { HostFiles, Unreadable } from '../host/host-files.ts';
import { parseKernelConfig } from '../host/kernel.ts';
import { isRemote } from '../host/mounts.ts';
import { Access, type AccessParts } from './access.ts';
import { type Accounts, firstOrdinaryUid, hasOwnHome, hasShell, Names, readAccounts } from './facts/accounts.ts';
import { readAuditRules } from './facts/audit-rules.ts';
import { type Homes, readHomes } from './facts/homes.ts';
import { readKernelModules } from './facts/kernel-modules.ts';
import { readFstab, readMounts } from './facts/mounts.ts';
import { findPackageManager, readPackages } from './facts/packages.ts';
import { Pam } from './facts/pam.ts';
import { readProcesses } from './facts/processes.ts';
import { readListeners } from './facts/sockets.ts';
import { readSshd } from './facts/sshd.ts';
import { readSudoers } from './facts/sudoers.ts';
import { readPersisted } from './facts/sysctl-files.ts';
import { Units } from './facts/units.ts';
import { walk } from './facts/walk.ts';
import { hasProgram } from './programs.ts';

/** Reads the packet filter. */
export interface FirewallReader {
  rules(signal: AbortSignal): Promise<readonly FirewallRule[]>;
}

export type FirewallRules =
  | { readonly found: readonly FirewallRule[] }
  | { readonly problem: string; readonly denied: boolean };

/** The result of the agent's own reader, read once for all rules. */
export async function readFirewall(firewall: FirewallReader | undefined, signal: AbortSignal): Promise<FirewallRules> {
  try {
    return { found: (await firewall?.rules(signal)) ?? [] };
  } catch (error) {
    signal.throwIfAborted();
    const problem =
      error instanceof AgentError ? `${error.message} ${error.remedy}` : 'the packet filter can’t be read';
    return { problem, denied: /permitted|permission|CAP_|EPERM|EACCES/i.test(problem) };
  }
}

/** The part of `Access` that is needed here. */
type Needs = Pick<Access, 'files'>;

/** How the kernel was built, see Documentation/kbuild/kconfig.rst: `CONFIG_X=y`. */
export interface KernelConfig {
  readonly where: string;
  readonly values: ReadonlyMap<string, string>;
}

const MAX_BYTES = 1024 * 1024;

/** @returns `undefined` when this kernel's configuration is not stored anywhere; `Unreadable` when it cannot be read */
export function readKernelConfig(access: Needs): KernelConfig | Unreadable | undefined {
  const { files } = access;
  const release = files.text('/proc/sys/kernel/osrelease');
  const version = 'found' in release ? release.found.trim() : '';
  let problem: Unreadable | undefined;
  for (const where of [`/boot/config-${version}`, `/lib/modules/${version}/config`]) {
    const look = files.text(where, MAX_BYTES);
    if ('found' in look) return { where, values: parseKernelConfig(look.found) };
    if ('unreadable' in look) problem ??= look;
  }
  const where = '/proc/config.gz';
  const packed = files.bytes(where, MAX_BYTES);
  if ('unreadable' in packed) problem ??= packed;
  if (!('found' in packed)) return problem;
  try {
    return {
      where,
      values: parseKernelConfig(gunzipSync(packed.found, { maxOutputLength: MAX_BYTES }).toString('latin1')),
    };
  } catch {
    return undefined; // not a valid gzip file
  }
}

const ROOT_HOME = /^\/root(?=\/|$)/;

/** The means of reading a system. */
export interface SystemParts extends AccessParts {
  readonly firewall?: FirewallReader;
  readonly fileCapabilities?: () => ((place: Buffer) => boolean) | undefined;
}

/** The system that primitives evaluate: files, and facts that are read from them once per scan. */
export class System extends Access {
  readonly firewall: FirewallReader | undefined;
  /** Returns a function that detects file capabilities; `undefined` if this machine cannot detect them. */
  readonly fileCapabilities: () => ((place: Buffer) => boolean) | undefined;
  #walkedForMs = 0;

  constructor({ firewall, fileCapabilities, ...access }: SystemParts) {
    super(access);
    this.firewall = firewall;
    this.fileCapabilities = once(() => fileCapabilities?.());
    const mounts = this.mounts();
    this.files.remote =
      'found' in mounts
        ? mounts.found
            .filter(isRemote)
            .map(({ point }) => point)
            .filter((point) => point !== '/')
        : [];
  }

  accounts = once((): Promise<Accounts> => readAccounts(this));
  packageManager = once(() => findPackageManager(this));
  packages = once(() => readPackages(this.packageManager(), this));
  sshd = once(() => readSshd(this));
  sudoers = once(() => readSudoers(this));
  pam = once(() => Pam.read(this));
  units = once(() => Units.read(this));
  processes = once(() => readProcesses(this));
  mounts = once(() => readMounts(this));
  fstab = once(() => readFstab(this));
  listeners = once(() => readListeners(this));
  kernelModules = once(() => readKernelModules(this));
  kernelConfig = once(() => readKernelConfig(this));
  auditRules = once(() => readAuditRules(this));
  firewallRules = once(() => readFirewall(this.firewall, this.signal));
  homes = once(() => this.#readHomes());
  walk = once(async () => {
    const from = { names: await this.names(), mounts: this.mounts(), hasCapabilities: this.fileCapabilities() };
    const result = await walk(from, this);
    this.#walkedForMs = result.tookMs;
    return result;
  });
  persistedSysctls = once(() => readPersisted(this));
  seesHostNetwork = once(() => seesHostNetwork(this));
  names = once(async () => Names.of(await this.accounts(), this));

  /** Duration of the walk over the file systems, in milliseconds. */
  walkedFor(): number {
    return this.#walkedForMs;
  }

  /** Homes of users who can log in: root, and ordinary users by login.defs(5). */
  async #readHomes(): Promise<Homes> {
    const { users } = await this.accounts();
    const firstUid = firstOrdinaryUid(this);
    const first = typeof firstUid === 'number' ? firstUid : FIRST_ORDINARY_UID;
    const own = await this.select(
      'found' in users ? users.found : [],
      (user) => hasShell(user) && (user.uid === 0 || user.uid >= first) && hasOwnHome(user),
    );
    const homes = { homes: await readHomes(own, this), total: own.length };
    return typeof firstUid === 'number' ? homes : { ...homes, unreadable: firstUid };
  }

  /** The paths that match one of a rule, see `HostFiles.expand`. `/root` stands for the home that passwd gives uid 0. */
  async expand(pattern: string): Promise<ReturnType<HostFiles['expand']>> {
    if (!ROOT_HOME.test(pattern)) return this.files.expand(pattern);
    const home = await this.#rootHome();
    if (typeof home !== 'string') return { paths: [], unreadable: home };
    return this.files.expand(pattern.replace(ROOT_HOME, () => home));
  }

  async #rootHome(): Promise<string | Unreadable> {
    const { users } = await this.accounts();
    if ('unreadable' in users) return users;
    const root = 'found' in users ? users.found.find(({ uid }) => uid === 0) : undefined;
    return root !== undefined && hasOwnHome(root) ? root.home : '/root';
  }

  hasProgram = (name: string): boolean => hasProgram(this.files, name);
}

/** Calculated at the first access, then kept. */
function once<T>(make: () => T): () => T {
  let made: { readonly value: T } | undefined;
  return () => {
    made ??= { value: make() };
    return made.value;
  };
}

/**
 * Whether /proc/sys/net and /proc/net, which always show the reader's network namespace, show the host's. In a container
 * they do if its network namespace is that of PID 1 of the host's /proc.
 */
function seesHostNetwork({ view, files }: Pick<Access, 'view' | 'files'>): boolean {
  if (view !== 'mounted-host') return view === 'host';
  const own = namespaceOf('/', 'self');
  return own !== undefined && own === namespaceOf(files.root, '1');
}

function namespaceOf(root: string, process: string): string | undefined {
  try {
    return readlinkSync(join(root, 'proc', process, 'ns/net'));
  } catch {
    return undefined; // a process of another user, which the agent has no permission to trace
  }
}
