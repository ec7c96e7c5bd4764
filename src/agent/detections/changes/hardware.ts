import type { Fields } from '../subject.ts';
import { added, modified, removed } from './change.ts';
import type { ChangeKind } from './kind.ts';
import { detailsOf, ownFields } from './row-fields.ts';

/** Categories that are buses; the others are functions, and a device of a bus is listed under them once more. */
const BUSES = new Set(['PCI', 'USB', 'Thunderbolt', 'MMC', 'I2C', 'SPI']);

/**
 * A device is the same as long as it has its name, ids and serial number: one that is plugged into another socket is not new.
 * Equal devices are counted.
 */
export const hardwareChanges: ChangeKind = {
  event: 'ConnectedHardware',
  source: 'hardware_change',

  read(row) {
    const { Bus, ...details } = detailsOf(row);
    return { ...ownFields(row), ...details, ...busOf(ownFields(row), Bus) };
  },

  classOf: ({ HardwareCategory = '' }) => HardwareCategory,

  keyOf: ({ HardwareCategory, HardwareSubCategory, HardwareName, VendorId, ProductId, Serial }) =>
    JSON.stringify([HardwareCategory, HardwareSubCategory, HardwareName, VendorId, ProductId, Serial]),

  differences(compared) {
    return [
      ...compared.added.map(added),
      ...compared.removed.map(removed),
      ...compared.modified.flatMap(({ before, after }) =>
        before?.Driver === undefined || after.Driver === undefined || before.Driver === after.Driver
          ? []
          : [modified(before, after)],
      ),
    ];
  },
};

/**
 * `Bus` is the name of the bus in lower case, for devices that are listed by bus; `BusAddress` the place on it.
 *
 * @param bus of ExtraDetails: an address such as `1-1.4`; other senders put the name there
 */
function busOf({ HardwareCategory = '' }: Fields, bus: string | undefined): Fields {
  const address: Fields = bus === undefined ? {} : { BusAddress: bus };
  if (BUSES.has(HardwareCategory)) return { Bus: HardwareCategory.toLowerCase(), ...address };
  return bus !== undefined && /^[a-z]+$/i.test(bus) ? { Bus: bus.toLowerCase() } : address;
}
