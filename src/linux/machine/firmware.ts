import { existsSync } from 'node:fs';
import type { SystemFacts } from '../../contract/sources.ts';
import { readBytes, readOptional } from '../../host/bounded-file.ts';
import { readable } from '../../host/readable.ts';
import { SECURE_BOOT_VARIABLE, secureBootIn } from '../../host/secure-boot.ts';

const MOST_BYTES = 4 * 1024;

type FirmwareFacts = Pick<
  SystemFacts,
  'firmware' | 'secureBoot' | 'biosVersion' | 'biosVendor' | 'machineVendor' | 'machineModel'
>;

/**
 * What the machine is, and what started it: by DMI, which the firmware of PCs and servers has, or by the device tree of
 * a board. A fact that can't be had is `undefined`.
 *
 * @param sys the host's /sys
 */
export function firmwareFacts(sys: string): { [K in keyof FirmwareFacts]: FirmwareFacts[K] | undefined } {
  const dmi = (name: string) => line(`${sys}/class/dmi/id/${name}`);
  const tree = (name: string) => line(`${sys}/firmware/devicetree/base/${name}`);
  const uBoot = tree('chosen/u-boot,version');
  return {
    firmware: STARTED_BY.find(([folder]) => existsSync(`${sys}/${folder}`))?.[1],
    secureBoot: secureBoot(`${sys}/${SECURE_BOOT_VARIABLE}`),
    // U-Boot leaves the first of the two; the Raspberry Pi's bootloader the other.
    biosVersion: dmi('bios_version') ?? uBoot ?? tree('chosen/bootloader/version'),
    biosVendor: dmi('bios_vendor') ?? (uBoot === undefined ? undefined : 'U-Boot'),
    machineVendor: dmi('sys_vendor') ?? boardVendor(sys),
    machineModel: dmi('product_name') ?? tree('model'),
  };
}

/** The first folder that is there tells. Boards may have UEFI and a device tree both. */
const STARTED_BY = [
  ['firmware/efi', 'UEFI'],
  ['firmware/devicetree/base', 'device tree'],
  ['class/dmi/id', 'BIOS'],
] as const;

/** From the first of the names that a board is compatible with: `raspberrypi,3-model-b`. Devicetree Specification, 2.3.1. */
function boardVendor(sys: string): string | undefined {
  const [first = ''] = (readOptional(`${sys}/firmware/devicetree/base/compatible`, MOST_BYTES) ?? '').split('\0', 1);
  const comma = first.indexOf(',');
  return comma === -1 ? undefined : readable(first.slice(0, comma));
}

function secureBoot(path: string): boolean | undefined {
  try {
    return secureBootIn(readBytes(path, MOST_BYTES));
  } catch {
    return undefined; // no UEFI, no efivarfs, or one without secure boot
  }
}

const line = (path: string): string | undefined => readable(readOptional(path, MOST_BYTES) ?? '');
