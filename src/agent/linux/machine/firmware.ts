import { existsSync } from 'node:fs';
import { dirname } from 'node:path';
import { readBytes, readOptional } from '../../../core/base/bounded-file.ts';
import type { SystemFacts } from '../../../core/contract/sources.ts';
import { SECURE_BOOT_VARIABLE, secureBootIn } from '../../host/kernel.ts';
import { readable } from '../../host/readable.ts';

const MAX_BYTES = 4 * 1024;

type FirmwareFacts = Pick<
  SystemFacts,
  'firmware' | 'secureBoot' | 'biosVersion' | 'biosVendor' | 'machineVendor' | 'machineModel'
>;

/**
 * The machine and its firmware: from DMI on PCs and servers, from the device tree on boards. An unknown fact is `undefined`.
 *
 * @param sys the host's /sys
 * @param at called with the folder before something in it is read
 */
export function firmwareFacts(
  sys: string,
  at: (folder: string) => void,
): { [K in keyof FirmwareFacts]: FirmwareFacts[K] | undefined } {
  const told = (path: string): string => {
    at(dirname(path));
    return path;
  };
  const dmi = (name: string) => line(told(`${sys}/class/dmi/id/${name}`));
  const tree = (name: string) => line(told(`${sys}/firmware/devicetree/base/${name}`));
  const uBoot = tree('chosen/u-boot,version');
  return {
    firmware: STARTED_BY.find(([folder]) => existsSync(told(`${sys}/${folder}`)))?.[1],
    secureBoot: secureBoot(told(`${sys}/${SECURE_BOOT_VARIABLE}`)),
    // U-Boot sets the first of the two, the bootloader of the Raspberry Pi the other.
    biosVersion: dmi('bios_version') ?? uBoot ?? tree('chosen/bootloader/version'),
    biosVendor: dmi('bios_vendor') ?? (uBoot === undefined ? undefined : 'U-Boot'),
    machineVendor: dmi('sys_vendor') ?? boardVendor(told(`${sys}/firmware/devicetree/base/compatible`)),
    machineModel: dmi('product_name') ?? tree('model'),
  };
}

/** The first existing folder decides. Boards can have both UEFI and a device tree. */
const STARTED_BY = [
  ['firmware/efi', 'UEFI'],
  ['firmware/devicetree/base', 'device tree'],
  ['class/dmi/id', 'BIOS'],
] as const;

/** From the first of the device tree's `compatible` names: `raspberrypi,3-model-b`. Devicetree Specification, 2.3.1. */
function boardVendor(path: string): string | undefined {
  const [first = ''] = (readOptional(path, MAX_BYTES) ?? '').split('\0', 1);
  const comma = first.indexOf(',');
  return comma === -1 ? undefined : readable(first.slice(0, comma));
}

function secureBoot(path: string): boolean | undefined {
  try {
    return secureBootIn(readBytes(path, MAX_BYTES));
  } catch {
    return undefined; // no UEFI, no efivarfs, or one without secure boot
  }
}

const line = (path: string): string | undefined => readable(readOptional(path, MAX_BYTES) ?? '');
