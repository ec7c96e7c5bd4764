import * as v from 'valibot';
import { periodic } from '../../core/contract/collector.ts';
import { EVENTS } from '../../core/contract/events.ts';
import { details, extraDetails, integer, text } from './fields.ts';

/** Operating system, firmware, machine and memory. */
export const systemInformation = periodic({
  ...EVENTS.SystemInformation,
  version: '1.0',
  summary: 'The operating system, the firmware, the machine and its memory; facts that are not available are left out.',
  source: 'os-release(5), uname(2), DMI or device tree and efivarfs in /sys, /proc/{cmdline,mounts,meminfo,cpuinfo}',

  payload: v.strictObject({
    OSName: v.optional(text('Name of the operating system: NAME of os-release.')),
    OSVersion: v.optional(text('Version of the operating system: VERSION_ID of os-release.')),
    OSVendor: v.optional(text('Vendor of the operating system: VENDOR_NAME of os-release, else ID.')),
    OsArchitecture: v.optional(text('Machine architecture of the kernel, such as aarch64.')),
    HostName: v.optional(text('Host name.')),
    BIOSVersion: v.optional(
      text('Firmware version from DMI; for a board with a device tree, the version of its boot loader.'),
    ),
    BootDevice: v.optional(text('Device of the root file system.')),
    TotalPhysicalMemoryInKB: v.optional(integer('Physical memory, in units of 1024 bytes.')),
    FreePhysicalMemoryInKB: v.optional(
      integer('Unused physical memory, in units of 1024 bytes; memory used by caches does not count.'),
    ),
    TotalVirtualMemoryInKB: v.optional(integer('Physical memory plus swap, in units of 1024 bytes.')),
    FreeVirtualMemoryInKB: v.optional(integer('Free physical memory plus free swap, in units of 1024 bytes.')),
    ExtraDetails: extraDetails(
      'OsId, OsIdLike, OsCodename, OsBuildId: ID, ID_LIKE, VERSION_CODENAME and BUILD_ID of os-release, by which the distribution is ' +
        'known to programs. KernelVersion: version of the kernel. Firmware: UEFI, BIOS or device tree. FirmwareVendor: vendor of the firmware. SecureBoot: on or off, ' +
        'if UEFI reports it. MachineVendor, MachineModel: of the machine. Hypervisor: the hypervisor, absent on bare metal. ' +
        'Container: the container runtime, if the agent runs in a container. Hypervisor and Container are named as by systemd-detect-virt(1).',
    ),
  }),

  async collect({ system }, signal) {
    const facts = await system.facts(signal);
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
          OsId: facts.osId,
          OsIdLike: facts.osIdLike,
          OsCodename: facts.osCodename,
          OsBuildId: facts.osBuildId,
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
