import type { HardwareDevice } from '../../../../core/contract/sources.ts';
import { readable } from '../../../host/readable.ts';
import type { SysDevice } from '../../../host/sysfs.ts';
import { pciClass, usbKind } from './classes.ts';
import { Bits, inputKind } from './input-kind.ts';

/** The identification of a display. */
export interface Display {
  /** Three letters, assigned by https://uefi.org/PNP_ID_List. */
  readonly vendorId: string;
  /** Four digits, in hexadecimal. */
  readonly productId: string;
  readonly name?: string;
  readonly serial?: string;
}

const BLOCK_BYTES = 128;
const HEADER = Buffer.from('00ffffffffffff00', 'hex');
/** Offsets of the four descriptors, and the types of the two that are read. */
const DESCRIPTORS = [54, 72, 90, 108];
const NAME = 0xfc;
const SERIAL = 0xff;

/**
 * Reads the first block of an EDID, a display's description; VESA Enhanced EDID Standard, release A, revision 2,
 * section 3.
 *
 * @returns `undefined` when it is not an EDID
 */
export function parseEdid(edid: Buffer): Display | undefined {
  if (edid.length < BLOCK_BYTES || !edid.subarray(0, HEADER.length).equals(HEADER)) return undefined;
  const maker = edid.readUInt16BE(8);
  const letters = [maker >> 10, maker >> 5, maker].map((five) => String.fromCharCode(64 + (five & 31)));
  const name = descriptor(edid, NAME);
  const serial = descriptor(edid, SERIAL);
  return {
    vendorId: letters.join(''),
    productId: edid.readUInt16LE(10).toString(16).padStart(4, '0'),
    ...(name === undefined ? {} : { name }),
    ...(serial === undefined ? {} : { serial }),
  };
}

/** Thirteen characters after `00 00 00 TYPE 00`, ended by a line feed. */
function descriptor(edid: Buffer, type: number): string | undefined {
  const at = DESCRIPTORS.find((offset) => edid.readUIntBE(offset, 5) === type * 256);
  if (at === undefined) return undefined;
  const [line = ''] = edid.toString('latin1', at + 5, at + 18).split('\n', 1);
  return readable(line);
}

/** Information that is not in sysfs. */
export interface Names {
  /** Name of a PCI or USB device, from pci.ids or usb.ids. */
  of(kind: 'pci' | 'usb', vendorId: string, productId: string): string | undefined;
  /** Name of a sound card, by number. */
  soundCard(index: number): string | undefined;
}

export interface Context {
  readonly names: Names;
  /** Bits per word in the kernel's bit maps. */
  readonly wordBits: 32 | 64;
}

type Named = Pick<HardwareDevice, 'subCategory' | 'name'>;
type Description = Named & {
  [K in Exclude<keyof HardwareDevice, 'category' | keyof Named>]?: HardwareDevice[K] | undefined;
};

/** A kind of hardware: where sysfs lists it, and how it is described. */
export interface Kind {
  readonly category: string;
  readonly folder: string;
  /** Other entries of the folder are parts of these devices, or not hardware. */
  readonly names: RegExp;
  /** Describes a device; `undefined` when it is not hardware, or part of another device. */
  describe(device: SysDevice, context: Context): Description | undefined;
}

/**
 * Every kind of hardware that is reported. A device on PCI or USB is reported twice: once as the PCI or USB device, and
 * once by its function.
 *
 * The devices of the system-on-chip (bus/platform) are left out: there are hundreds, and they never change. Those that
 * communicate with the outside are listed by their function.
 */
export const KINDS: readonly Kind[] = [
  { category: 'PCI', folder: 'bus/pci/devices', names: /^/, describe: pci },
  // Not usb1, a root hub, which stands for the controller. Not 1-1:1.0, an interface, which is a part of a device.
  { category: 'USB', folder: 'bus/usb/devices', names: /^\d+-[\d.]+$/, describe: usb },
  { category: 'Thunderbolt', folder: 'bus/thunderbolt/devices', names: /^\d+-[1-9a-f]/, describe: thunderbolt },
  { category: 'MMC', folder: 'bus/mmc/devices', names: /^/, describe: mmc },
  { category: 'Block', folder: 'block', names: /^/, describe: block },
  { category: 'Network', folder: 'class/net', names: /^/, describe: network },
  { category: 'Bluetooth', folder: 'class/bluetooth', names: /^hci\d+$/, describe: attached('Adapter') },
  { category: 'Input', folder: 'class/input', names: /^input\d+$/, describe: input },
  { category: 'Sound', folder: 'class/sound', names: /^card\d+$/, describe: sound },
  { category: 'Video', folder: 'class/video4linux', names: /^(?:video|radio)\d+$/, describe: video },
  { category: 'Video', folder: 'class/drm', names: /^card\d+$/, describe: attached('Graphics') },
  { category: 'Video', folder: 'class/drm', names: /^card\d+-/, describe: display },
  { category: 'Serial', folder: 'class/tty', names: /^/, describe: serial },
  // Not i2c-1, which is the bus.
  { category: 'I2C', folder: 'bus/i2c/devices', names: /^(?!i2c-\d)/, describe: chip },
  { category: 'SPI', folder: 'bus/spi/devices', names: /^/, describe: chip },
  { category: 'TPM', folder: 'class/tpm', names: /^tpm\d+$/, describe: attached('Security module') },
];

/* Buses */

function pci(device: SysDevice, { names }: Context): Description {
  const { PCI_CLASS = '', DRIVER } = device.uevent();
  const ids = pciIds(device);
  const subCategory = pciClass(Number.parseInt(PCI_CLASS, 16) || 0);
  return {
    ...ids,
    subCategory,
    name: nameByIds('pci', ids, names, subCategory),
    driver: readable(DRIVER ?? ''),
    bus: device.name,
  };
}

function usb(device: SysDevice, { names }: Context): Description {
  const interfaces = device
    .entries()
    .filter((entry) => /^[\d.-]+:\d+\.\d+$/.test(entry))
    .map((entry) => device.child(entry).uevent());
  const ids = usbIds(device);
  const drivers = new Set(interfaces.map(({ DRIVER }) => DRIVER).filter((driver) => driver !== undefined));
  const subCategory = usbKind(
    device.uevent().TYPE,
    interfaces.map(({ INTERFACE }) => INTERFACE),
  );
  return {
    ...ids,
    subCategory,
    name: usbName(device) ?? nameByIds('usb', ids, names, subCategory),
    serial: device.text('serial'),
    driver: readable([...drivers].join(', ')),
    bus: device.name,
  };
}

/** The name for its ids; if unknown, its kind and the ids. */
function nameByIds(kind: 'pci' | 'usb', ids: Ids | undefined, names: Names, subCategory: string): string {
  if (ids === undefined) return subCategory;
  return names.of(kind, ids.vendorId, ids.productId) ?? `${subCategory} ${ids.vendorId}:${ids.productId}`;
}

/** Its vendor and name, as the device reports them. */
function usbName(device: SysDevice): string | undefined {
  const [maker, product] = [device.text('manufacturer'), device.text('product')];
  if (maker === undefined || product?.startsWith(maker)) return product;
  return product === undefined ? undefined : `${maker} ${product}`;
}

/** See Documentation/ABI/testing/sysfs-bus-thunderbolt. Domains and the host's own routers have no name there. */
function thunderbolt(device: SysDevice): Description | undefined {
  const name = device.text('device_name');
  if (name === undefined) return undefined;
  return {
    subCategory: device.text('authorized') === '0' ? 'Unauthorized device' : 'Device',
    name: [device.text('vendor_name'), name].filter((part) => part !== undefined).join(' '),
    vendorId: hexId(device.text('vendor')),
    productId: hexId(device.text('device')),
    serial: device.text('unique_id'),
    driver: device.driver,
    bus: device.name,
  };
}

/* Tables looked up with text from devices are Maps: an object has keys such as `constructor`. */

const MMC_TYPES: ReadonlyMap<string, string> = new Map([
  ['MMC', 'eMMC'],
  ['SD', 'SD card'],
  ['SDIO', 'SDIO card'],
  ['SDcombo', 'SD and SDIO card'],
]);

/** See Documentation/driver-api/mmc/mmc-dev-attrs.rst. */
function mmc(device: SysDevice): Description {
  const type = device.text('type') ?? '';
  return {
    subCategory: MMC_TYPES.get(type) ?? 'Card',
    name: device.text('name') ?? MMC_TYPES.get(type) ?? device.name,
    vendorId: hexId(device.text('vendor') ?? device.text('manfid')),
    productId: hexId(device.text('device') ?? device.text('oemid')),
    serial: device.text('serial'),
    driver: device.driver,
    bus: device.name,
  };
}

/** A chip on a bus of the board, as the board's description names it; an additional address of another chip is skipped. */
function chip(device: SysDevice): Description | undefined {
  const name = device.text('name') ?? /^spi:(.+)$/.exec(device.text('modalias') ?? '')?.[1];
  if (name === undefined || name === 'dummy') return undefined;
  return { subCategory: 'Chip', name, driver: device.driver, bus: device.name };
}

/* Functions */

/** Whole disks that belong to a device: not loop, RAM, RAID and mapped devices, nor eMMC's boot partitions. */
function block(device: SysDevice): Description | undefined {
  const behind = device.follow('device');
  if (behind === undefined || behind.subsystem === 'block' || device.text('hidden') === '1') return undefined;
  const [maker, model] = [behind.text('vendor'), behind.text('model') ?? behind.text('name')];
  const hasMaker = maker !== undefined && !/^(?:ATA$|0x)/.test(maker);
  return {
    ...attachment(device),
    subCategory: diskKind(device, behind),
    name: model === undefined ? device.name : hasMaker ? `${maker} ${model}` : model,
    serial: diskSerial(device, behind) ?? attachment(device).serial,
  };
}

const SCSI_CDROM = '5'; // TYPE_ROM of scsi/scsi_proto.h

function diskKind(device: SysDevice, behind: SysDevice): string {
  const type = behind.text('type');
  if (behind.subsystem === 'mmc') return MMC_TYPES.get(type ?? '') ?? 'Card';
  if (type === SCSI_CDROM) return 'Optical drive';
  if (/^(?:virtio|xen|vmbus)$/.test(behind.subsystem ?? '')) return 'Virtual disk';
  if (device.text('removable') === '1') return 'Removable disk';
  return device.text('queue/rotational') === '1' ? 'Hard disk' : 'Solid-state disk';
}

/** The disk's own serial number, else page 80h of SCSI: four bytes of header and a text; see SPC-4, 7.8.15. */
const diskSerial = (device: SysDevice, behind: SysDevice): string | undefined =>
  behind.text('serial') ?? device.text('serial') ?? readable(behind.bytes('vpd_pg80')?.toString('latin1', 4) ?? '');

/** Keyed by ARPHRD_ number of linux/if_arp.h. */
const NETWORKS: ReadonlyMap<string, string> = new Map([
  ['1', 'Ethernet'],
  ['32', 'InfiniBand'],
  ['280', 'CAN'],
  ['801', 'Wireless'],
  ['802', 'Wireless'],
  ['803', 'Wireless'],
  ['804', 'IEEE 802.15.4'],
]);

/** By DEVTYPE, which drivers set where the number is ambiguous. */
const NETWORK_TYPES: ReadonlyMap<string, string> = new Map([
  ['wlan', 'Wireless'],
  ['wwan', 'Cellular'],
  ['bluetooth', 'Bluetooth'],
]);

/** Interfaces that belong to a device. Others are made by software (bridges, VLANs, tunnels, containers' ends). */
function network(device: SysDevice): Description | undefined {
  if (device.follow('device') === undefined) return undefined;
  const kind = NETWORK_TYPES.get(device.uevent().DEVTYPE ?? '') ?? NETWORKS.get(device.text('type') ?? '');
  return { ...attachment(device), subCategory: kind ?? 'Other network', name: device.name };
}

/** BUS_ of linux/input.h with assigned ids: PCI, USB, Bluetooth, I2C, SPI, RMI. On others, the driver makes ids up. */
const NUMBERED_BUSES = new Set(['0001', '0003', '0005', '0018', '001c', '001d']);

/** Not what a program created (uinput). Bluetooth devices, which uhid creates, are elsewhere in the tree. */
function input(device: SysDevice, { wordBits }: Context): Description | undefined {
  if (device.path.startsWith('/devices/virtual/input/')) return undefined;
  const bits = (attribute: string) => new Bits(device.text(attribute), wordBits);
  const kind = inputKind({
    ev: bits('capabilities/ev'),
    key: bits('capabilities/key'),
    rel: bits('capabilities/rel'),
    abs: bits('capabilities/abs'),
    properties: bits('properties'),
  });
  const { driver, bus } = attachment(device);
  return {
    subCategory: kind,
    name: device.text('name') ?? kind,
    ...(NUMBERED_BUSES.has(device.text('id/bustype') ?? '') && {
      vendorId: device.text('id/vendor'),
      productId: device.text('id/product'),
    }),
    serial: device.text('uniq'),
    driver,
    bus: bus ?? device.text('phys'),
  };
}

/** `pcmC0D0c` records, `pcmC0D0p` plays; see Documentation/sound/designs. */
function sound(device: SysDevice, { names }: Context): Description {
  const entries = device.entries().join(' ');
  const kinds = [/pcmC\d+D\d+p/.test(entries) && 'Playback', /pcmC\d+D\d+c/.test(entries) && 'Recording'];
  return {
    ...attachment(device),
    subCategory: kinds.filter((kind) => kind !== false).join(', ') || 'Sound card',
    name: names.soundCard(Number(device.name.slice('card'.length))) ?? device.text('id') ?? device.name,
  };
}

/** The first node of a device: a camera has one for images and one for metadata. */
function video(device: SysDevice): Description | undefined {
  if ((device.text('index') ?? '0') !== '0') return undefined;
  return {
    ...attachment(device),
    subCategory: device.name.startsWith('radio') ? 'Radio' : 'Camera or codec',
    name: device.text('name') ?? device.name,
  };
}

/** A display connected to a graphics card, by its EDID. */
function display(device: SysDevice): Description | undefined {
  if (device.text('status') !== 'connected') return undefined;
  const { vendorId, productId, name, serial } = parseEdid(device.bytes('edid') ?? Buffer.alloc(0)) ?? {};
  return { subCategory: 'Display', name: name ?? 'Display', vendorId, productId, serial, bus: device.name };
}

/** Ports with hardware behind them. The kernel keeps four or more names for possible UARTs: their type is 0. */
function serial(device: SysDevice): Description | undefined {
  if (device.follow('device') === undefined || device.text('type') === '0') return undefined;
  const usbDevice = usbAbove(device);
  return {
    ...attachment(device),
    subCategory: usbDevice === undefined ? 'Serial port' : 'USB serial port',
    name: (usbDevice && usbName(usbDevice)) ?? device.name,
  };
}

/** A device without a name of its own: has the name of its USB device, else the kernel's. */
function attached(subCategory: string): Kind['describe'] {
  return (device) => {
    const usbDevice = usbAbove(device);
    return { ...attachment(device), subCategory, name: (usbDevice && usbName(usbDevice)) ?? device.name };
  };
}

/* Attachment */

/** Buses that identify a device's location in the machine. Others, such as `scsi`, `hid` and `virtio`, lie in between. */
const PLACES = new Set(['pci', 'usb', 'mmc', 'sdio', 'i2c', 'spi', 'platform', 'pnp', 'amba', 'acpi', 'xen', 'vmbus']);

/** The ids, driver and location of the nearest device above that has them. */
function attachment(device: SysDevice): Pick<Description, 'vendorId' | 'productId' | 'serial' | 'driver' | 'bus'> {
  let driver: string | undefined;
  for (const parent of device.parents()) {
    const { subsystem } = parent;
    // serial-base is a bus between a serial port and its driver; see drivers/tty/serial/serial_base_bus.c.
    if (subsystem !== 'serial-base') driver ??= parent.driver;
    if (subsystem === undefined || !PLACES.has(subsystem) || isUsbInterface(parent)) continue;
    const serial = subsystem === 'usb' ? parent.text('serial') : undefined;
    return { ...(pciIds(parent) ?? usbIds(parent)), serial, driver, bus: parent.name };
  }
  return { driver };
}

const isUsbInterface = ({ name }: SysDevice) => /^\d+-[\d.]+:/.test(name);

function usbAbove(device: SysDevice): SysDevice | undefined {
  for (const parent of device.parents()) if (usbIds(parent) !== undefined) return parent;
  return undefined;
}

interface Ids {
  readonly vendorId: string;
  readonly productId: string;
}

/** From `PCI_ID=8086:15D7`. */
function pciIds(device: SysDevice): Ids | undefined {
  const [, vendorId, productId] = /^([0-9A-F]{4}):([0-9A-F]{4})$/.exec(device.uevent().PCI_ID ?? '') ?? [];
  if (vendorId === undefined || productId === undefined) return undefined;
  return { vendorId: vendorId.toLowerCase(), productId: productId.toLowerCase() };
}

/** From `idVendor` and `idProduct`, which a device has, but not its interfaces. */
function usbIds(device: SysDevice): Ids | undefined {
  const [vendorId, productId] = [device.text('idVendor'), device.text('idProduct')];
  return vendorId === undefined || productId === undefined ? undefined : { vendorId, productId };
}

/** `0x8086` without the prefix. */
const hexId = (id: string | undefined) => id?.replace(/^0x/, '') || undefined;
