import type { HardwareDevice } from '../../../contract/sources.ts';
import { readable } from '../../../host/readable.ts';
import type { SysDevice } from '../../../host/sysfs.ts';
import { pciClass, usbKind } from './classes.ts';
import { parseEdid } from './display.ts';
import { Bits, inputKind } from './input-kind.ts';

/** What sysfs doesn't say. */
export interface Names {
  /** Of a PCI or USB device, from pci.ids or usb.ids. */
  of(kind: 'pci' | 'usb', vendorId: string, productId: string): string | undefined;
  /** Of a sound card, by number. */
  soundCard(index: number): string | undefined;
}

export interface Context {
  readonly names: Names;
  /** Of the words that the kernel writes bit maps in. */
  readonly wordBits: 32 | 64;
}

type Description = { [K in Exclude<keyof HardwareDevice, 'category'>]?: HardwareDevice[K] | undefined };

/** A kind of hardware: where sysfs lists it, and what it says of it. */
export interface Kind {
  readonly category: string;
  readonly folder: string;
  /** Others in that folder are parts of these, or the kernel's own. */
  readonly names: RegExp;
  /** What is asked of each; `undefined` when it is no hardware, or part of another. */
  describe(device: SysDevice, context: Context): Description | undefined;
}

/**
 * Every kind of hardware that is reported. What hangs on a PCI or USB device is reported as that too: once for what it
 * is attached by, once for what it does.
 *
 * Left out are the devices of a system-on-chip itself (bus/platform): hundreds, always the same, and those that talk to
 * the outside are here under what they do.
 */
export const KINDS: readonly Kind[] = [
  { category: 'PCI', folder: 'bus/pci/devices', names: /^/, describe: pci },
  // Not usb1: a root hub is the kernel's face of a controller. Not 1-1:1.0: an interface is a part.
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
  // Not i2c-1: that is the bus itself.
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

/** What its numbers stand for; where nobody knows, what it is, and the numbers. */
function nameByIds(kind: 'pci' | 'usb', ids: Ids | undefined, names: Names, subCategory: string): string {
  if (ids === undefined) return subCategory;
  return names.of(kind, ids.vendorId, ids.productId) ?? `${subCategory} ${ids.vendorId}:${ids.productId}`;
}

/** What it calls its maker and itself. */
function usbName(device: SysDevice): string | undefined {
  const [maker, product] = [device.text('manufacturer'), device.text('product')];
  if (maker === undefined || product?.startsWith(maker)) return product;
  return product === undefined ? undefined : `${maker} ${product}`;
}

/** See Documentation/ABI/testing/sysfs-bus-thunderbolt. Domains and the machine's own routers have no name there. */
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

/* Tables that are asked for what a device says are maps: an object would know `constructor` too. */

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

/** A chip on a board's bus, as the board's description names it; the second address of another chip is none. */
function chip(device: SysDevice): Description | undefined {
  const name = device.text('name') ?? /^spi:(.+)$/.exec(device.text('modalias') ?? '')?.[1];
  if (name === undefined || name === 'dummy') return undefined;
  return { subCategory: 'Chip', name, driver: device.driver, bus: device.name };
}

/* What devices do */

/** Whole disks that a device is behind: not loops, RAM, RAID and mappings, nor the partitions that eMMC has as disks. */
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

/** The disk's own, else that of SCSI's page 80h: four bytes of header and a text; see SPC-4, 7.8.15. */
const diskSerial = (device: SysDevice, behind: SysDevice): string | undefined =>
  behind.text('serial') ?? device.text('serial') ?? readable(behind.bytes('vpd_pg80')?.toString('latin1', 4) ?? '');

/** By ARPHRD_ number of linux/if_arp.h. */
const NETWORKS: ReadonlyMap<string, string> = new Map([
  ['1', 'Ethernet'],
  ['32', 'InfiniBand'],
  ['280', 'CAN'],
  ['801', 'Wireless'],
  ['802', 'Wireless'],
  ['803', 'Wireless'],
  ['804', 'IEEE 802.15.4'],
]);

/** By DEVTYPE, which drivers set where the number doesn't tell. */
const NETWORK_TYPES: ReadonlyMap<string, string> = new Map([
  ['wlan', 'Wireless'],
  ['wwan', 'Cellular'],
  ['bluetooth', 'Bluetooth'],
]);

/** Interfaces that a device is behind: what has none was made by software (bridges, VLANs, tunnels, containers' ends). */
function network(device: SysDevice): Description | undefined {
  if (device.follow('device') === undefined) return undefined;
  const kind = NETWORK_TYPES.get(device.uevent().DEVTYPE ?? '') ?? NETWORKS.get(device.text('type') ?? '');
  return { ...attachment(device), subCategory: kind ?? 'Other network', name: device.name };
}

/** BUS_ of linux/input.h, on which devices have numbers: PCI, USB, Bluetooth, I2C, SPI, RMI. Others' are the driver's idea. */
const NUMBERED_BUSES = new Set(['0001', '0003', '0005', '0018', '001c', '001d']);

/** Not those that a program made (uinput). Bluetooth's, which a program makes too (uhid), are elsewhere in the tree. */
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

/** `pcmC0D0c` takes sound in, `pcmC0D0p` gives it out; see Documentation/sound/designs. */
function sound(device: SysDevice, { names }: Context): Description {
  const entries = device.entries().join(' ');
  const kinds = [/pcmC\d+D\d+p/.test(entries) && 'Playback', /pcmC\d+D\d+c/.test(entries) && 'Recording'];
  return {
    ...attachment(device),
    subCategory: kinds.filter((kind) => kind !== false).join(', ') || 'Sound card',
    name: names.soundCard(Number(device.name.slice('card'.length))) ?? device.text('id') ?? device.name,
  };
}

/** The first of a device's nodes: a camera has one for its pictures and one for what it says of them. */
function video(device: SysDevice): Description | undefined {
  if ((device.text('index') ?? '0') !== '0') return undefined;
  return {
    ...attachment(device),
    subCategory: device.name.startsWith('radio') ? 'Radio' : 'Camera or codec',
    name: device.text('name') ?? device.name,
  };
}

/** What is connected to a socket of a graphics card, as it presents itself. */
function display(device: SysDevice): Description | undefined {
  if (device.text('status') !== 'connected') return undefined;
  const { vendorId, productId, name, serial } = parseEdid(device.bytes('edid') ?? Buffer.alloc(0)) ?? {};
  return { subCategory: 'Display', name: name ?? 'Display', vendorId, productId, serial, bus: device.name };
}

/** Ports with something behind them. The kernel keeps four names or more for UARTs that may come: their type is 0. */
function serial(device: SysDevice): Description | undefined {
  if (device.follow('device') === undefined || device.text('type') === '0') return undefined;
  const usbDevice = usbAbove(device);
  return {
    ...attachment(device),
    subCategory: usbDevice === undefined ? 'Serial port' : 'USB serial port',
    name: (usbDevice && usbName(usbDevice)) ?? device.name,
  };
}

/** What has no name of its own: it is called as the USB device that it is, else as the kernel calls it. */
function attached(subCategory: string): Kind['describe'] {
  return (device) => {
    const usbDevice = usbAbove(device);
    return { ...attachment(device), subCategory, name: (usbDevice && usbName(usbDevice)) ?? device.name };
  };
}

/* Where they hang */

/** Buses that say where in the machine a device is. Others, such as `scsi`, `hid` and `virtio`, lie between. */
const PLACES = new Set(['pci', 'usb', 'mmc', 'sdio', 'i2c', 'spi', 'platform', 'pnp', 'amba', 'acpi', 'xen', 'vmbus']);

/** The ids, the driver and the place of what a device hangs on: the nearest thing above it that has them. */
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

/** From `idVendor` and `idProduct`, which only a device has, and none of its interfaces. */
function usbIds(device: SysDevice): Ids | undefined {
  const [vendorId, productId] = [device.text('idVendor'), device.text('idProduct')];
  return vendorId === undefined || productId === undefined ? undefined : { vendorId, productId };
}

/** `0x8086` without what goes without saying. */
const hexId = (id: string | undefined) => id?.replace(/^0x/, '') || undefined;
