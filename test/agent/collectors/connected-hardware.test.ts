import assert from 'node:assert/strict';
import { connectedHardware } from '../../../src/agent/collectors/connected-hardware.ts';
import type { HardwareDevice } from '../../../src/core/contract/sources.ts';
import { sources } from './samples.ts';

const { signal } = new AbortController();
const of = (...devices: HardwareDevice[]) =>
  connectedHardware.collect({ ...sources, hardware: { ...sources.hardware, devices: async () => devices } }, signal);

describe('ConnectedHardware', () => {
  it('reports the type, name and location of a device', async () => {
    assert.deepEqual(await connectedHardware.collect(sources, signal), [
      {
        HardwareCategory: 'USB',
        HardwareSubCategory: 'Mass storage',
        HardwareName: 'SanDisk Ultra',
        ExtraDetails: {
          VendorId: '0781',
          ProductId: '5581',
          Serial: '4C5300',
          Driver: 'usb-storage',
          Bus: '1-1.4',
        },
      },
    ]);
  });

  it('omits unknown facts', async () => {
    assert.deepEqual(await of({ category: 'Network', subCategory: 'Ethernet', name: 'eth0' }), [
      { HardwareCategory: 'Network', HardwareSubCategory: 'Ethernet', HardwareName: 'eth0' },
    ]);
  });

  it('reports two devices with equal facts as two', async () => {
    const stick: HardwareDevice = { category: 'Serial', subCategory: 'USB serial port', name: 'FT232R' };
    assert.equal((await of(stick, stick)).length, 2);
  });

  it('returns an empty payload without devices', async () => assert.deepEqual(await of(), []));

  it('passes the abort signal on, and rethrows errors', async () => {
    const hardware = { ...sources.hardware, devices: (given: AbortSignal) => Promise.reject(given) };
    await assert.rejects(connectedHardware.collect({ ...sources, hardware }, signal), (thrown) => thrown === signal);
  });
});
