import { gunzipSync } from 'node:zlib';
import type { Unreadable } from '../../host/host-files.ts';
import { parseKernelConfig } from '../../host/kernel-config.ts';
import type { Access } from '../access.ts';

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
