import * as v from 'valibot';
import { periodic } from '../../core/contract/collector.ts';
import { EVENTS } from '../../core/contract/events.ts';
import { details, extraDetails, text } from './fields.ts';

/** Built-in and plugged-in hardware. A new keyboard, disk or network adapter can be the start of an attack. */
export const connectedHardware = periodic({
  ...EVENTS.ConnectedHardware,
  version: '1.0',
  summary: 'Every device that the kernel lists, by bus and by function.',
  source: 'sysfs(5); /proc/asound/cards; names from pci.ids and usb.ids if installed',

  payload: v.strictObject({
    HardwareCategory: text(
      'The bus (PCI, USB, Thunderbolt, MMC, I2C, SPI) or the function (Block, Network, Bluetooth, Input, Sound, Video, ' +
        'Serial, TPM). A USB disk is listed twice, under USB and under Block.',
    ),
    HardwareSubCategory: text(
      "Kind of device within the category; for a USB device, the kinds of all its interfaces: 'Mass storage, Keyboard'.",
    ),
    HardwareName: text(
      'Name that the device reports, else the name of its ids in pci.ids or usb.ids, else its kernel name.',
    ),
    ExtraDetails: extraDetails(
      'VendorId and ProductId, in hexadecimal, and Serial: of the device, else of the device that it belongs to. Driver: its kernel ' +
        'driver. Bus: its address on the bus, such as 0000:00:1f.2 or 1-1.4.',
    ),
  }),

  inParts: true,

  trace: ({ hardware }, signal) => hardware.trace(signal),

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
