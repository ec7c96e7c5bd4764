import type { Architecture as DebianName } from '../../scripts/debian.ts';
import type { Machine32 } from '../system/elf32.ts';

/** An emulated board of one architecture. */
export interface Architecture {
  /** Debian's name of the architecture, which is also in the names of Vakt's packages. */
  readonly name: DebianName;
  /** The Debian package of the kernel. */
  readonly kernel: string;
  /** The program that emulates the board. */
  readonly emulator: string;
  /** Programs that this machine needs to run the board, each with its Debian package. */
  readonly tools: Readonly<Record<string, string>>;
  /** Machine and processor. */
  readonly machine: readonly string[];
  /** Bus of the virtio devices: the suffix of their names. */
  readonly bus: 'pci' | 'device';
  /** The kernel's name of the serial port. */
  readonly console: string;
  /** The name under which the kernel runs its programs by QEMU (binfmt.d(5)); omitted for this machine's own architecture. */
  readonly interpreter?: string;
  /** Architecture of 32-bit programs that its 64-bit kernel can also run. */
  readonly programs32?: Machine32;
}

/** The boards, keyed by Debian's name of the architecture. The x86 board is the fastest. */
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
