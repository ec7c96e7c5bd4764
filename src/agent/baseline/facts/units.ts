import { posix } from 'node:path';
import type { Look, Unreadable } from '../../host/host-files.ts';
import type { Access } from '../access.ts';

/** The part of `Access` that is needed here. */
type Needs = Pick<Access, 'files' | 'pace'>;

/** Whether a unit or script is started automatically, according to files. */
export interface UnitState {
  readonly enabled: boolean;
  readonly masked: boolean;
  /** Whether the unit or script exists. */
  readonly known: boolean;
  readonly where?: string;
}

/** systemd's folders, by precedence: systemd.unit(5). */
const FOLDERS = [
  '/run/systemd/generator.early',
  '/etc/systemd/system',
  '/run/systemd/system',
  '/run/systemd/generator', // a login prompt on the console that the kernel's command line names
  '/usr/local/lib/systemd/system',
  '/usr/lib/systemd/system',
  '/lib/systemd/system',
  '/run/systemd/generator.late',
];
/** Links that start a SysV script in a multi-user runlevel; OpenWrt has one folder, OpenRC its runlevels. */
const RUNLEVELS = ['/etc/rc2.d', '/etc/rc3.d', '/etc/rc4.d', '/etc/rc5.d', '/etc/rcS.d', '/etc/rc.d'];
const OPENRC = ['/etc/runlevels/default', '/etc/runlevels/boot', '/etc/runlevels/sysinit'];

const MAX_XINETD_BYTES = 64 * 1024;

/** Started units and scripts, indexed once: a search for each unit in each folder would take most of a scan. */
export class Units {
  readonly #access: Needs;
  /** The path, by the unit's name. */
  readonly #files = new Map<string, string>();
  readonly #masked = new Set<string>();
  readonly #wanted = new Map<string, string>();
  /** Such as `multi-user.target.wants/ssh.service`. An entry hides those with the same name in folders of lower precedence. */
  readonly #dependencies = new Set<string>();
  readonly #scripts = new Map<string, string>();
  readonly #startedScripts = new Map<string, string>();
  readonly #inetd = new Map<string, string>();
  #problem: Unreadable | undefined;

  private constructor(access: Needs) {
    this.#access = access;
  }

  static async read(access: Needs): Promise<Units> {
    const units = new Units(access);
    for (const folder of FOLDERS) {
      await units.#readFolder(folder);
    }
    for (const folder of [...RUNLEVELS, ...OPENRC]) units.#readScripts(folder);
    for (const name of units.#names('/etc/init.d')) units.#scripts.set(name, `/etc/init.d/${name}`);
    await units.#readInetd();
    return units;
  }

  #names(folder: string): readonly string[] {
    return this.#seen(this.#access.files.names(folder)) ?? [];
  }

  #seen<T>(look: Look<T>): T | undefined {
    if ('unreadable' in look) this.#problem ??= look;
    return 'found' in look ? look.found : undefined;
  }

  /** The first folder or file that could not be read: units in it may be started. */
  get unreadable(): Unreadable | undefined {
    return this.#problem;
  }

  async #readFolder(folder: string): Promise<void> {
    for (const name of this.#names(folder)) {
      await this.#access.pace();
      const path = posix.join(folder, name);
      if (/\.(?:wants|requires|upholds)$/.test(name)) {
        for (const unit of this.#names(path)) this.#addDependency(posix.join(name, unit), posix.join(path, unit));
        continue;
      }
      if (this.#files.has(name) || this.#masked.has(name) || !/\.[a-z]+$/.test(name)) continue;
      if (this.#isMask(path)) this.#masked.add(name);
      else this.#files.set(name, path);
    }
  }

  #addDependency(name: string, path: string): void {
    const unit = posix.basename(name);
    if (!this.#dependencies.has(name) && !this.#wanted.has(unit) && !this.#isMask(path)) this.#wanted.set(unit, path);
    this.#dependencies.add(name);
  }

  /** A link to /dev/null, or an empty file. */
  #isMask(path: string): boolean {
    if (this.#access.files.target(path) === '/dev/null') return true;
    const look = this.#access.files.lstat(path);
    return 'found' in look && look.found.isFile() && look.found.size === 0;
  }

  #readScripts(folder: string): void {
    for (const name of this.#names(folder)) {
      const script = folder.startsWith('/etc/runlevels') ? name : /^S\d\d(.+)$/.exec(name)?.[1];
      if (script !== undefined && !this.#startedScripts.has(script))
        this.#startedScripts.set(script, posix.join(folder, name));
    }
  }

  /** Services of inetd.conf(5) by the first word of a line, of xinetd by the file's name unless it says `disable = yes`. */
  async #readInetd(): Promise<void> {
    const inetd = this.#seen(this.#access.files.text('/etc/inetd.conf')) ?? '';
    for (const [index, line] of inetd.split('\n').entries()) {
      const name = /^\s*([^\s#]+)\s+(?:stream|dgram)/.exec(line)?.[1];
      if (name !== undefined) this.#inetd.set(posix.basename(name), `/etc/inetd.conf:${index + 1}`);
    }
    for (const name of this.#names('/etc/xinetd.d')) {
      const path = `/etc/xinetd.d/${name}`;
      const file = this.#seen(this.#access.files.text(path, MAX_XINETD_BYTES));
      await this.#access.pace();
      if (file !== undefined && !/^[ \t]*disable[ \t]*=[ \t]*yes/m.test(file)) this.#inetd.set(name, path);
    }
  }

  /** @param unit with its suffix: `ssh.service`. A script of the same name counts if the unit does not exist. */
  state(unit: string): UnitState {
    const isMasked = this.#masked.has(unit);
    const file = this.#files.get(unit) ?? this.#template(unit);
    const wanted = this.#wanted.get(unit);
    if (isMasked) return { enabled: false, masked: true, known: true };
    if (wanted !== undefined && file !== undefined) return { enabled: true, masked: false, known: true, where: wanted };
    if (file !== undefined) return { enabled: false, masked: false, known: true, where: file };
    const script = unit.endsWith('.service') ? unit.slice(0, -'.service'.length) : undefined;
    const started = script === undefined ? undefined : this.#startedScripts.get(script);
    if (started !== undefined) return { enabled: true, masked: false, known: true, where: started };
    const where = script === undefined ? undefined : this.#scripts.get(script);
    return { enabled: false, masked: false, known: where !== undefined, ...(where === undefined ? {} : { where }) };
  }

  /** The template of an instance: `getty@.service` for `getty@tty1.service`. */
  #template(unit: string): string | undefined {
    const match = /^(.+@)[^@]+(\.[a-z]+)$/.exec(unit);
    return match === null ? undefined : this.#files.get(`${match[1]}${match[2]}`);
  }

  /** @returns the file and line that make inetd or xinetd start it */
  inetd(name: string): string | undefined {
    return this.#inetd.get(name);
  }
}
