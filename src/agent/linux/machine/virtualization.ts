import { existsSync, readdirSync } from 'node:fs';
import { readOptional } from '../../../core/base/bounded-file.ts';
import { containerKind } from '../../host/cgroups.ts';
import { initEnvironment } from '../processes/memory/init-environment.ts';

/* Detects the virtualization that the system runs on, and the container that the agent runs in. The checks, their order and
 * the names follow systemd-detect-virt(1), see virt.c of systemd. systemd also queries the processor (CPUID), which
 * Node cannot do; here, the clock source of a hypervisor's guest is used instead. */

const MAX_BYTES = 64 * 1024;
/** /proc/cpuinfo has 1.5 KB per processor. */
const MAX_CPUINFO_BYTES = 4 * 1024 * 1024;

/** Where the firmware names the vendor of the machine; the first known vendor decides. */
const DMI_FILES = ['product_name', 'sys_vendor', 'board_vendor', 'bios_vendor', 'product_version'];

/** The vendor's name in a hypervisor's virtual machine, and the hypervisor. */
const DMI_VENDORS: readonly (readonly [beginning: string, hypervisor: string])[] = [
  ['KVM', 'kvm'],
  ['OpenStack', 'kvm'],
  ['KubeVirt', 'kvm'],
  ['Amazon EC2', 'amazon'],
  ['QEMU', 'qemu'],
  ['VMware', 'vmware'],
  ['VMW', 'vmware'],
  ['innotek GmbH', 'oracle'],
  ['VirtualBox', 'oracle'],
  ['Oracle Corporation', 'oracle'],
  ['Xen', 'xen'],
  ['Bochs', 'bochs'],
  ['Parallels', 'parallels'],
  ['BHYVE', 'bhyve'],
  ['Hyper-V', 'microsoft'],
  ['Apple Virtualization', 'apple'],
  ['Google Compute Engine', 'google'],
];

/** These use another product's hypervisor or its name, so DMI takes precedence over every other check. */
const TRUSTED = new Set(['oracle', 'xen', 'amazon', 'parallels', 'google']);

/** Clock sources of arch/x86/kernel/kvmclock.c and drivers/clocksource/hyperv_timer.c. */
const CLOCKS: readonly (readonly [clock: RegExp, hypervisor: string])[] = [
  [/\bkvm-clock\b/, 'kvm'],
  [/\bhyperv_clocksource/, 'microsoft'],
];

/** By the first `compatible` name of the hypervisor's node in the device tree. */
const TREE_HYPERVISORS: readonly (readonly [name: RegExp, hypervisor: string])[] = [
  [/^linux,kvm/, 'kvm'],
  [/xen/, 'xen'],
  [/vmware/, 'vmware'],
  [/./, 'vm-other'],
];

const answer = <T>(table: readonly (readonly [RegExp, T])[], text: string): T | undefined =>
  table.find(([pattern]) => pattern.test(text))?.[1];

const read = (path: string) => readOptional(path, MAX_BYTES) ?? '';

/** Facts about the first processor in /proc/cpuinfo. */
export function parseCpuinfo(text: string): { readonly vendor: string; readonly hypervisor: boolean } {
  const field = (name: string) => new RegExp(`^${name}[\\t ]*:(.*)$`, 'm').exec(text)?.[1] ?? '';
  return { vendor: field('vendor_id').trim(), hypervisor: field('flags').split(' ').includes('hypervisor') };
}

/**
 * The hypervisor: `kvm`, `vmware`, `vm-other` …
 *
 * @param host its /proc and /sys
 * @returns `undefined` on bare metal, or when none is detected
 */
export function hypervisor({ proc, sys }: { readonly proc: string; readonly sys: string }): string | undefined {
  const dmi = byDmi(sys);
  if (dmi !== undefined && TRUSTED.has(dmi)) return dmi;
  const cpu = parseCpuinfo(readOptional(`${proc}/cpuinfo`, MAX_CPUINFO_BYTES) ?? '');
  if (cpu.vendor.startsWith('User Mode Linux')) return 'uml';
  // Xen's dom0 is the host itself.
  if (existsSync(`${proc}/xen`)) return /\bcontrol_d\b/.test(read(`${proc}/xen/capabilities`)) ? undefined : 'xen';
  const clock = answer(CLOCKS, read(`${sys}/devices/system/clocksource/clocksource0/available_clocksource`));
  if (clock === 'kvm') return clock;
  // QEMU and others can imitate Hyper-V for Windows, so that is checked last.
  return dmi ?? byType(sys) ?? byDeviceTree(sys) ?? clock ?? (cpu.hypervisor ? 'vm-other' : undefined);
}

function byDmi(sys: string): string | undefined {
  const texts = DMI_FILES.map((name) => read(`${sys}/class/dmi/id/${name}`));
  const found = texts
    .map((text) => DMI_VENDORS.find(([beginning]) => text.startsWith(beginning))?.[1])
    .find((name) => name !== undefined);
  // Amazon's bare-metal machines have the same vendor, but another name.
  return found === 'amazon' && /\.metal(?:-|\s|$)/.test(texts[0] ?? '') ? undefined : found;
}

function byType(sys: string): string | undefined {
  const type = read(`${sys}/hypervisor/type`).trim();
  return type === '' ? undefined : type === 'xen' ? 'xen' : 'vm-other';
}

function byDeviceTree(sys: string): string | undefined {
  const tree = `${sys}/firmware/devicetree/base`;
  const named = answer(TREE_HYPERVISORS, read(`${tree}/hypervisor/compatible`));
  if (named !== undefined) return named;
  try {
    return readdirSync(tree).some((name) => name.includes('fw-cfg')) ? 'qemu' : undefined;
  } catch {
    return undefined;
  }
}

/**
 * The container that this process is in; see containerKind.
 *
 * @param root of this process, not the host's
 */
export function container(root: string): string | undefined {
  const at = (path: string) => `${root.replace(/\/$/, '')}${path}`;
  return containerKind({
    exists: (path) => existsSync(at(path)),
    text: (path) => read(at(path)),
    initEnvironment: () => initEnvironment(at('/proc')),
  });
}
