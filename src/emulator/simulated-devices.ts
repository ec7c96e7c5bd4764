import type { HubEmulator } from './hub.ts';

/** Number of values of the tag `site`. */
const SITES = 10;

/** `sim-000001`, from 1 */
export const simulatedDevice = (number: number): string => `sim-${String(number).padStart(6, '0')}`;

/**
 * Registers devices without modules, with `tags.site` from 1 to 10 and random keys. They cost less than 1 KB of memory each.
 */
export function addSimulatedDevices(hub: Pick<HubEmulator, 'addDevice' | 'patchDeviceTwin'>, count: number): void {
  for (let number = 1; number <= count; number += 1) {
    const deviceId = simulatedDevice(number);
    hub.addDevice({ deviceId });
    hub.patchDeviceTwin(deviceId, { tags: { site: 1 + ((number - 1) % SITES) } });
  }
}
