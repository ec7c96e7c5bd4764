import * as v from 'valibot';
import { periodic } from '../contract/collector.ts';
import { details, extraDetails, integer, text } from './fields.ts';

/** What machine this is. */
export const systemInformation = periodic({
  name: 'SystemInformation',
  type: 'Security',
  priority: 'Low',
  version: '1.0',
  summary: 'The operating system, the machine and its memory; what can not be had is left out.',
  source: 'os-release(5), uname(2), DMI or device tree and efivarfs in /sys, /proc/{cmdline,mounts,meminfo,cpuinfo}',

  payload: v.strictObject({
    OSName: v.optional(text('Name of the operating system, NAME of os-release.')),
    OSVersion: v.optional(text('Its version, VERSION_ID of os-release.')),
    OSVendor: v.optional(text('Who makes it: VENDOR_NAME of os-release, else its ID.')),
    OsArchitecture: v.optional(text('Instruction set of the kernel, such as aarch64.')),
    HostName: v.optional(text('Name of the host.')),
    BIOSVersion: v.optional(
      text('Version of the firmware, by DMI; of a board, that of its boot loader, by the device tree.'),
    ),
    BootDevice: v.optional(text('Device that the root file system is on.')),
    TotalPhysicalMemoryInKB: v.optional(integer('Physical memory, in units of 1024 bytes.')),
    FreePhysicalMemoryInKB: v.optional(
      integer('Physical memory that nothing uses, not even caches, in the same units.'),
    ),
    TotalVirtualMemoryInKB: v.optional(integer('Physical memory and swap together.')),
    FreeVirtualMemoryInKB: v.optional(integer('Free physical memory and free swap together.')),
    ExtraDetails: extraDetails(
      'KernelVersion. Firmware: UEFI, BIOS or device tree; FirmwareVendor; SecureBoot: on or off, where UEFI tells. ' +
        'MachineVendor and MachineModel. Hypervisor: what the system runs on, unless it is bare metal. Container: what ' +
        'the agent runs in, if it does. The last two by the names that systemd-detect-virt(1) has for them.',
    ),
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
        ...details({
          KernelVersion: facts.kernelVersion,
          Firmware: facts.firmware,
          FirmwareVendor: facts.biosVendor,
          SecureBoot: facts.secureBoot === undefined ? undefined : facts.secureBoot ? 'on' : 'off',
          MachineVendor: facts.machineVendor,
          MachineModel: facts.machineModel,
          Hypervisor: facts.hypervisor,
          Container: facts.container,
        }),
      },
    ];
  },
});

const present = <K extends string, T>(name: K, value: T | undefined): { [P in K]?: T } =>
  value === undefined ? {} : ({ [name]: value } as { [P in K]?: T });
