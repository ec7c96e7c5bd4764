import assert from 'node:assert/strict';
import { systemInformation } from '../../../src/agent/collectors/system-information.ts';
import type { SystemFacts } from '../../../src/core/contract/sources.ts';
import { sources } from './samples.ts';

const { signal } = new AbortController();
const of = (facts: SystemFacts) =>
  systemInformation.collect({ ...sources, system: { facts: async () => facts } }, signal);

describe('SystemInformation', () => {
  it('reports all facts in one element', async () => {
    assert.deepEqual(await systemInformation.collect(sources, signal), [
      {
        OSName: 'Debian GNU/Linux',
        OSVersion: '13',
        OSVendor: 'debian',
        OsArchitecture: 'aarch64',
        HostName: 'pump-7',
        BIOSVersion: '1.2',
        BootDevice: '/dev/mmcblk0p2',
        TotalPhysicalMemoryInKB: 1_000_000,
        FreePhysicalMemoryInKB: 400_000,
        TotalVirtualMemoryInKB: 1_500_000,
        FreeVirtualMemoryInKB: 900_000,
        ExtraDetails: {
          OsId: 'debian',
          OsCodename: 'trixie',
          KernelVersion: '6.12.48',
          Firmware: 'UEFI',
          FirmwareVendor: 'U-Boot',
          SecureBoot: 'on',
          MachineVendor: 'toradex',
          MachineModel: 'Toradex Verdin iMX8M Plus',
          Hypervisor: 'kvm',
          Container: 'docker',
        },
      },
    ]);
  });

  it('omits unknown facts', async () => {
    assert.deepEqual(await of({ architecture: 'armv7l', hostName: 'pump-7' }), [
      { OsArchitecture: 'armv7l', HostName: 'pump-7' },
    ]);
  });

  it('distinguishes disabled from unknown secure boot', async () => {
    const [payload] = await of({ architecture: 'aarch64', hostName: 'pump-7', secureBoot: false });
    assert.deepEqual(payload?.ExtraDetails, { SecureBoot: 'off' });
  });

  it('keeps the value 0', async () => {
    const [payload] = await of({ architecture: 'armv7l', hostName: 'pump-7', freePhysicalMemoryInKB: 0 });
    assert.equal(payload?.FreePhysicalMemoryInKB, 0);
  });
});
