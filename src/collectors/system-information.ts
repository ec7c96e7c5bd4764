import * as v from 'valibot';
import { periodic } from '../contract/collector.ts';
import { integer, text } from './fields.ts';

/** What machine this is. */
export const systemInformation = periodic({
  name: 'SystemInformation',
  type: 'Security',
  priority: 'Low',
  version: '1.0',
  summary: 'The operating system, the machine and its memory; what can not be had is left out.',
  source: 'os-release(5), uname(2), /sys/class/dmi, /proc/cmdline, /proc/mounts, /proc/meminfo',

  payload: v.strictObject({
    OSName: v.optional(text('Name of the operating system, NAME of os-release.')),
    OSVersion: v.optional(text('Its version, VERSION_ID of os-release.')),
    OSVendor: v.optional(text('Who makes it: VENDOR_NAME of os-release, else its ID.')),
    OsArchitecture: v.optional(text('Instruction set of the kernel, such as aarch64.')),
    HostName: v.optional(text('Name of the host.')),
    BIOSVersion: v.optional(text('Version of the firmware, where the machine has DMI.')),
    BootDevice: v.optional(text('Device that the root file system is on.')),
    TotalPhysicalMemoryInKB: v.optional(integer('Physical memory, in units of 1024 bytes.')),
    FreePhysicalMemoryInKB: v.optional(
      integer('Physical memory that nothing uses, not even caches, in the same units.'),
    ),
    TotalVirtualMemoryInKB: v.optional(integer('Physical memory and swap together.')),
    FreeVirtualMemoryInKB: v.optional(integer('Free physical memory and free swap together.')),
  }),

  async collect({ system }) {
    const facts = await system.facts();
    return [
      {
        ...present('OSName', facts.osName),
        ...present('OSVersion', facts.osVersion),
        ...present('OSVendor', facts.osVendor),
        OsArchitecture: facts.architecture,
        HostName: facts.hostName,
        ...present('BIOSVersion', facts.biosVersion),
        ...present('BootDevice', facts.bootDevice),
        ...present('TotalPhysicalMemoryInKB', facts.totalPhysicalMemoryInKB),
        ...present('FreePhysicalMemoryInKB', facts.freePhysicalMemoryInKB),
        ...present('TotalVirtualMemoryInKB', facts.totalVirtualMemoryInKB),
        ...present('FreeVirtualMemoryInKB', facts.freeVirtualMemoryInKB),
      },
    ];
  },
});

const present = <K extends string, T>(name: K, value: T | undefined): { [P in K]?: T } =>
  value === undefined ? {} : ({ [name]: value } as { [P in K]?: T });
