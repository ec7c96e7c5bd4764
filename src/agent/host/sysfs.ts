import { existsSync, readdirSync, readlinkSync } from 'node:fs';
import { posix } from 'node:path';
import { readBytes } from '../../core/base/bounded-file.ts';
import { readable } from './readable.ts';

/** Size of a text attribute; the kernel's limit is a page. */
const MAX_BYTES = 4 * 1024;
/** Devices read per kind. There can be more, for example virtual functions of a network card. */
export const MAX_PER_KIND = 1_024;
/** Deeper than any chain of hubs and bridges. */
const MAX_PARENTS = 32;

/** The variables of a `uevent` file, by name. */
export type Uevent = Readonly<Record<string, string | undefined>>;

/** Parses a `uevent` file of `NAME=value` lines. Other lines are skipped; of several with one name, the first holds. */
export function parseUevent(text: string): Uevent {
  const fields: Record<string, string> = Object.create(null);
  for (const line of text.split('\n')) {
    const [, name, value] = /^([A-Z][A-Z0-9_]*)=(.*)$/s.exec(line) ?? [];
    if (name !== undefined && value !== undefined) fields[name] ??= value;
  }
  return fields;
}

/**
 * A device in sysfs(5). A property that is missing or not readable is `undefined`.
 *
 * Links are resolved by their text, so that they can neither form a circle nor leave the tree.
 */
export class SysDevice {
  readonly #root: string;
  /** Path below the root of the tree: `/devices/pci0000:00/0000:00:1f.2`. */
  readonly path: string;

  constructor(root: string, path: string) {
    this.#root = root;
    this.path = path;
  }

  /** The kernel's name; file names in sysfs have `!` instead of `/`. */
  get name(): string {
    return readable(posix.basename(this.path).replaceAll('!', '/')) ?? 'unknown';
  }

  /** An attribute as readable text. */
  text(attribute: string): string | undefined {
    const bytes = this.bytes(attribute);
    return bytes === undefined ? undefined : readable(bytes.toString('utf8'));
  }

  bytes(attribute: string): Buffer | undefined {
    try {
      return readBytes(`${this.#root}${this.path}/${attribute}`, MAX_BYTES);
    } catch {
      return undefined;
    }
  }

  uevent(): Uevent {
    return parseUevent(this.bytes('uevent')?.toString('utf8') ?? '');
  }

  has(entry: string): boolean {
    return existsSync(`${this.#root}${this.path}/${entry}`);
  }

  entries(): string[] {
    return list(`${this.#root}${this.path}`).slice(0, MAX_PER_KIND);
  }

  child(name: string): SysDevice {
    return new SysDevice(this.#root, `${this.path}/${name}`);
  }

  /** The target of one of the device's links: `device`, `subsystem`. */
  follow(link: string): SysDevice | undefined {
    const target = readLink(`${this.#root}${this.path}/${link}`);
    return target === undefined ? undefined : new SysDevice(this.#root, posix.resolve(this.path, target));
  }

  /** Name of its driver; absent without a driver. */
  get driver(): string | undefined {
    return this.follow('driver')?.name;
  }

  /** The bus or class it belongs to: `pci`, `usb`, `net`. */
  get subsystem(): string | undefined {
    return this.follow('subsystem')?.name;
  }

  /** The devices above it, the nearest first. */
  *parents(): Generator<SysDevice> {
    let path = posix.dirname(this.path);
    for (let n = 0; n < MAX_PARENTS && path.startsWith('/devices/'); n++, path = posix.dirname(path)) {
      yield new SysDevice(this.#root, path);
    }
  }
}

/**
 * The devices in a folder of `bus` or `class`, in natural order: `sda` before `sdb`, `usb2` before `usb10`; and the number
 * of those beyond the limit.
 */
export function devicesIn(root: string, folder: string): { devices: readonly SysDevice[]; more: number } {
  const all = list(`${root}/${folder}`);
  const devices = all.slice(0, MAX_PER_KIND).map((entry) => {
    const target = readLink(`${root}/${folder}/${entry}`);
    return new SysDevice(root, posix.resolve(`/${folder}`, target ?? entry));
  });
  return { devices, more: all.length - devices.length };
}

function list(folder: string): string[] {
  try {
    return inOrder(readdirSync(folder));
  } catch {
    return [];
  }
}

const inOrder = (names: string[]): string[] => {
  const keys = new Map(names.map((name) => [name, name.replace(/\d+/g, (digits) => digits.padStart(12, '0'))]));
  return names.sort((a, b) => ((keys.get(a) ?? a) < (keys.get(b) ?? b) ? -1 : 1));
};

function readLink(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch {
    return undefined;
  }
}
