import { lstatSync, readdirSync, readlinkSync, writeFileSync } from 'node:fs';
import { dirname, join, posix } from 'node:path';
import { KINDS } from '../src/agent/linux/machine/hardware/kinds.ts';
import { readBytes } from '../src/core/base/bounded-file.ts';

/* Writes a listing of the parts of this machine's sysfs about hardware and firmware, for test/golden:
 *
 *     node dist/scripts/capture-hardware.js test/golden/debian13-6.18/hardware.txt
 *
 * One entry per line: `path -> target` for a link, `path = "bytes"` for a file (JSON, one character per byte), `path/` for an
 * empty folder. test/agent/linux/machine/hardware/tree.ts makes a tree of it again. A second argument is a root other than
 * `/`.
 *
 * Read it before you commit it: it contains serial numbers.
 *
 * The listings in debian13-6.12 are from Debian's kernels in QEMU: hardware-pc.txt from a q35 with UEFI and all that
 * can be plugged into it, and with a stick made by the kernel's own USB gadgets (dummy_hcd, configfs) under a hostile
 * name; hardware-raspberry-pi-3.txt from a raspi3b, copied there with BusyBox and captured from the copy.
 */

/** Files that are read of a device, or of its parent. */
const ATTRIBUTES = [
  ...['uevent', 'name', 'type', 'index', 'id', 'status', 'edid', 'modalias', 'removable', 'hidden', 'queue/rotational'],
  ...['idVendor', 'idProduct', 'manufacturer', 'product', 'serial', 'vendor', 'device', 'model', 'vpd_pg80'],
  ...['manfid', 'oemid', 'device_name', 'vendor_name', 'unique_id', 'authorized', 'phys', 'uniq', 'properties'],
  ...[
    'id/bustype',
    'id/vendor',
    'id/product',
    'capabilities/ev',
    'capabilities/key',
    'capabilities/rel',
    'capabilities/abs',
  ],
];
const LINKS = ['subsystem', 'driver', 'device'];
/** Subfolders of a device that are read. */
const PARTS = /^(?:[\d.-]+:\d+\.\d+|pcmC\d+D\d+[pc])$/;
/** Facts about the machine. */
const FACTS = [
  ...['product_name', 'product_version', 'sys_vendor', 'board_vendor', 'bios_vendor', 'bios_version'].map(
    (name) => `/sys/class/dmi/id/${name}`,
  ),
  ...['model', 'compatible', 'chosen/u-boot,version', 'chosen/bootloader/version', 'hypervisor/compatible'].map(
    (name) => `/sys/firmware/devicetree/base/${name}`,
  ),
  '/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c',
  '/sys/hypervisor/type',
  '/sys/devices/system/clocksource/clocksource0/available_clocksource',
  '/proc/asound/cards',
];
const FACT_FOLDERS = ['/sys/firmware/efi', '/sys/firmware/devicetree/base'];

const [, , output, root = '/'] = process.argv;
if (output === undefined) throw new Error('Give the path of the file to write.');

const lines = new Set<string>();
const seen = new Set<string>();

function attempt<T>(work: () => T): T | undefined {
  try {
    return work();
  } catch {
    return undefined;
  }
}

function captureFile(path: string): void {
  const bytes = attempt(() => readBytes(join(root, path), 64 * 1024));
  if (bytes !== undefined) lines.add(`${path} = ${JSON.stringify(bytes.toString('latin1'))}`);
}

function captureLink(path: string): string | undefined {
  const target = attempt(() => readlinkSync(join(root, path)));
  if (target === undefined) return undefined;
  lines.add(`${path} -> ${target}`);
  return posix.resolve(dirname(path), target);
}

function captureDevice(path: string): void {
  if (seen.has(path) || !path.startsWith('/sys/devices/')) return;
  seen.add(path);
  for (const name of ATTRIBUTES) captureFile(`${path}/${name}`);
  for (const name of LINKS) {
    const target = captureLink(`${path}/${name}`);
    if (name === 'device' && target !== undefined) captureDevice(target);
  }
  for (const name of (attempt(() => readdirSync(join(root, path))) ?? []).filter((entry) => PARTS.test(entry))) {
    if (lstatSync(join(root, path, name)).isDirectory()) lines.add(`${path}/${name}/`);
    captureDevice(`${path}/${name}`);
  }
  captureDevice(dirname(path));
}

for (const folder of new Set(KINDS.map((kind) => `/sys/${kind.folder}`))) {
  for (const entry of attempt(() => readdirSync(join(root, folder))) ?? []) {
    // Dozens of identical consoles would be most of the listing.
    if (/^tty(?:[1-9]\d|[a-z]\w)$/.test(entry)) continue;
    const path = captureLink(`${folder}/${entry}`);
    if (path !== undefined) captureDevice(path);
  }
}
for (const path of FACTS) captureFile(path);
for (const path of FACT_FOLDERS) if (attempt(() => readdirSync(join(root, path)))) lines.add(`${path}/`);
writeFileSync(output, `${[...lines].sort().join('\n')}\n`);
