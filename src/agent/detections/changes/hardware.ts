import type { Fields } from '../subject.ts';
import { added, modified, removed } from './change.ts';
import type { ChangeKind } from './kind.ts';
import { detailsOf, ownFields } from './rows.ts';

/** Categories that are buses; the others are functions, which list a device of a bus a second time. */
const BUSES = new Set(['PCI', 'USB', 'Thunderbolt', 'MMC', 'I2C', 'SPI']);

/**
 * A device is identified by its name, ids and serial number: plugged into another socket, it is not new.
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
 * `Bus` is the bus name in lower case, for devices listed by bus; `BusAddress` is the position on it.
 *
 * @param bus of ExtraDetails: an address such as `1-1.4`, or the bus name from other senders
 */
function busOf({ HardwareCategory = '' }: Fields, bus: string | undefined): Fields {
  const address: Fields = bus === undefined ? {} : { BusAddress: bus };
  if (BUSES.has(HardwareCategory)) return { Bus: HardwareCategory.toLowerCase(), ...address };
  return bus !== undefined && /^[a-z]+$/i.test(bus) ? { Bus: bus.toLowerCase() } : address;
}
