/* Names of device classes, by the numbers that devices report. */

/**
 * Classes of PCI devices: two digits for the base class, and two for the subclass where that is more specific. From the PCI
 * Code and ID Assignment Specification; the numbers come from linux/pci_ids.h.
 */
const PCI_CLASSES: Readonly<Record<string, string>> = {
  '00': 'Unclassified device',
  '01': 'Storage controller',
  '0100': 'SCSI controller',
  '0101': 'IDE controller',
  '0102': 'Floppy controller',
  '0104': 'RAID controller',
  '0106': 'SATA controller',
  '0107': 'SAS controller',
  '0108': 'NVMe controller',
  '02': 'Network controller',
  '0200': 'Ethernet controller',
  '03': 'Display controller',
  '0300': 'VGA controller',
  '0302': '3D controller',
  '04': 'Multimedia controller',
  '0400': 'Video controller',
  '0401': 'Audio controller',
  '0403': 'Audio controller',
  '05': 'Memory controller',
  '06': 'Bridge',
  '0600': 'Host bridge',
  '0601': 'ISA bridge',
  '0604': 'PCI bridge',
  '07': 'Communication controller',
  '0700': 'Serial controller',
  '0701': 'Parallel controller',
  '0703': 'Modem',
  '08': 'System peripheral',
  '0805': 'SD host controller',
  '0806': 'IOMMU',
  '09': 'Input controller',
  '0a': 'Docking station',
  '0b': 'Processor',
  '0c': 'Serial bus controller',
  '0c00': 'FireWire controller',
  '0c03': 'USB controller',
  '0c04': 'Fibre Channel controller',
  '0c05': 'SMBus controller',
  '0c07': 'IPMI interface',
  '0c09': 'CAN controller',
  '0d': 'Wireless controller',
  '0e': 'Intelligent controller',
  '0f': 'Satellite controller',
  '10': 'Encryption controller',
  '11': 'Signal processing controller',
  '12': 'Processing accelerator',
  '13': 'Instrumentation',
  '40': 'Coprocessor',
};

/** The kind of a PCI device, from its class: 24 bits, of which the last eight (the programming interface) are not used. */
export function pciClass(code: number): string {
  const digits = (code >>> 8).toString(16).padStart(4, '0');
  return PCI_CLASSES[digits] ?? PCI_CLASSES[digits.slice(0, 2)] ?? 'Other device';
}

/** Classes of USB devices and interfaces, from https://www.usb.org/defined-class-codes; see linux/usb/ch9.h too. */
const USB_CLASSES: Readonly<Record<number, string>> = {
  1: 'Audio',
  2: 'Communication',
  3: 'Human interface device',
  5: 'Physical interface device',
  6: 'Still image',
  7: 'Printer',
  8: 'Mass storage',
  9: 'Hub',
  11: 'Smart card',
  13: 'Content security',
  14: 'Video',
  15: 'Personal healthcare',
  16: 'Audio and video',
  17: 'Billboard',
  18: 'USB Type-C bridge',
  60: 'I3C device',
  220: 'Diagnostic device',
  224: 'Wireless controller',
  239: 'Miscellaneous',
  254: 'Application specific',
  255: 'Vendor specific',
};

/** More specific kinds: class, subclass and protocol, separated by spaces. */
const USB_KINDS: Readonly<Record<string, string>> = {
  '2 2 1': 'Modem',
  '2 6 0': 'Ethernet',
  '2 13 0': 'Ethernet',
  '3 1 1': 'Keyboard',
  '3 1 2': 'Mouse',
  '224 1 1': 'Bluetooth',
  '224 1 3': 'Ethernet',
  '239 4 1': 'Ethernet',
  '254 1 1': 'Firmware upgrade',
};

/** Classes that do not describe a device: its interfaces do. The data interface of a modem or adapter is part of it. */
const USB_MEANINGLESS = new Set([0, 10, 239]);

/**
 * The kinds of a USB device: one for each kind of interface, since a memory stick can be a keyboard too.
 *
 * @param device class, subclass and protocol, from its uevent's TYPE
 * @param interfaces the same for its interfaces, from their INTERFACE: `8/6/80`
 */
export function usbKind(device: string | undefined, interfaces: readonly (string | undefined)[]): string {
  const kinds = interfaces.map(kindOf).filter((kind) => kind !== undefined);
  return [...new Set(kinds)].join(', ') || (kindOf(device) ?? 'Other device');
}

function kindOf(triple: string | undefined): string | undefined {
  if (triple === undefined || !/^\d{1,3}\/\d{1,3}\/\d{1,3}$/.test(triple)) return undefined;
  const numbers = triple.split('/').map(Number);
  const [usbClass = 0] = numbers;
  return USB_KINDS[numbers.join(' ')] ?? (USB_MEANINGLESS.has(usbClass) ? undefined : USB_CLASSES[usbClass]);
}
