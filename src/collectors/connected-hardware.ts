import * as v from 'valibot';
import { periodic } from '../contract/collector.ts';
import { details, extraDetails, text } from './fields.ts';

/** What is built into the machine and plugged into it: a new keyboard, disk or network adapter is how an attack begins. */
export const connectedHardware = periodic({
  name: 'ConnectedHardware',
  type: 'Security',
  priority: 'Low',
  version: '1.0',
  summary: 'Every device the kernel knows: by what it is attached by, and by what it does.',
  source: 'sysfs(5); /proc/asound/cards; names from pci.ids and usb.ids where the system has them',

  payload: v.strictObject({
    HardwareCategory: text(
      'How it is attached (PCI, USB, Thunderbolt, MMC, I2C, SPI) or what it does (Block, Network, Bluetooth, Input, ' +
        'Sound, Video, Serial, TPM). A USB disk is there twice: under USB and under Block.',
    ),
    HardwareSubCategory: text(
      "What kind within the category; of a USB device, every kind of interface it has: 'Mass storage, Keyboard'.",
    ),
    HardwareName: text('What the device calls itself, else what its number stands for, else what the kernel calls it.'),
    ExtraDetails: extraDetails(
      'VendorId and ProductId, in hexadecimal, and Serial: its own, or of what it hangs on. Driver. ' +
        'Bus: where it is attached, such as 0000:00:1f.2 or 1-1.4.',
    ),
  }),

  inParts: true,

  sourceStatus: ({ hardware }) => hardware.status(),

  async collect({ hardware }, signal) {
    return (await hardware.devices(signal)).map(
      ({ category, subCategory, name, vendorId, productId, serial, driver, bus }) => ({
        HardwareCategory: category,
        HardwareSubCategory: subCategory,
        HardwareName: name,
        ...details({ VendorId: vendorId, ProductId: productId, Serial: serial, Driver: driver, Bus: bus }),
      }),
    );
  },
});
