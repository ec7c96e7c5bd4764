import type { Architecture as DebianName } from '../../scripts/debian.ts';
import type { Machine32 } from '../system/elf32.ts';

/** What an emulated board of one architecture is made of. */
export interface Architecture {
  /** Debian's name for it, which our packages have, too. */
  readonly name: DebianName;
  /** The Debian package of the kernel. */
  readonly kernel: string;
  /** The program that emulates the machine. */
  readonly emulator: string;
  /** Programs that this machine needs for it, each with its Debian package. */
  readonly tools: Readonly<Record<string, string>>;
  /** Machine and processor. */
  readonly machine: readonly string[];
  /** How virtio devices are attached: the ending of their names. */
  readonly bus: 'pci' | 'device';
  /** The kernel's name of the serial line. */
  readonly console: string;
  /** The name under which the kernel runs its programs by QEMU (binfmt.d(5)); absent for the architecture of this machine. */
  readonly interpreter?: string;
  /** 32-bit programs that its 64-bit kernel runs, too. */
  readonly programs32?: Machine32;
}

/** The boards, by Debian's name. The x86 one is the quickest to try something on. */
export const BOARDS: Readonly<Record<DebianName, Architecture>> = {
  amd64: {
    name: 'amd64',
    kernel: 'linux-image-amd64',
    emulator: 'qemu-system-x86_64',
    tools: { 'qemu-system-x86_64': 'qemu-system-x86' },
    machine: ['-M', 'q35', '-cpu', 'max'],
    bus: 'pci',
    console: 'ttyS0',
    programs32: 'i386',
  },
  arm64: {
    name: 'arm64',
    kernel: 'linux-image-arm64',
    emulator: 'qemu-system-aarch64',
    tools: { 'qemu-system-aarch64': 'qemu-system-arm', 'qemu-aarch64': 'qemu-user-static' },
    machine: ['-M', 'virt', '-cpu', 'cortex-a72'],
    bus: 'pci',
    console: 'ttyAMA0',
    interpreter: 'qemu-aarch64',
    programs32: 'arm',
  },
  armhf: {
    name: 'armhf',
    kernel: 'linux-image-armmp',
    emulator: 'qemu-system-arm',
    tools: { 'qemu-system-arm': 'qemu-system-arm', 'qemu-arm': 'qemu-user-static' },
    machine: ['-M', 'virt,highmem=off', '-cpu', 'cortex-a15'],
    bus: 'device',
    console: 'ttyAMA0',
    interpreter: 'qemu-arm',
  },
};
