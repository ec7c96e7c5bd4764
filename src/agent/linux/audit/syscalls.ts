import { machine } from 'node:os';
import { AgentError } from '../../../core/base/errors.ts';

/* The system calls the agent asks audit for, by the number each kind of program makes them with.
 *
 * Sources, kernel 6.18: arch/x86/entry/syscalls/syscall_64.tbl and syscall_32.tbl, arch/arm/tools/syscall.tbl,
 * scripts/syscall.tbl (arm64). Numbers are ABI: they never change. */

const X86_64 = {
  execve: 59,
  execveat: 322,
  socket: 41,
  connect: 42,
  accept: 43,
  accept4: 288,
  io_uring_setup: 425,
  io_uring_enter: 426,
};

/** Programs made before Linux 4.3's headers reach sockets through socketcall, whose first argument says which call. */
const I386 = {
  execve: 11,
  execveat: 358,
  socket: 359,
  connect: 362,
  accept4: 364,
  socketcall: 102,
  io_uring_setup: 425,
  io_uring_enter: 426,
};

const AARCH64 = {
  execve: 221,
  execveat: 281,
  socket: 198,
  connect: 203,
  accept: 202,
  accept4: 242,
  io_uring_setup: 425,
  io_uring_enter: 426,
};

/** EABI. The old ABI's socketcall isn't: no distribution's kernel has had CONFIG_OABI_COMPAT for a decade. */
const ARM = {
  execve: 11,
  execveat: 387,
  socket: 281,
  connect: 283,
  accept: 285,
  accept4: 366,
  io_uring_setup: 425,
  io_uring_enter: 426,
};

export interface Abi {
  readonly name: 'b64' | 'b32';
  /** AUDIT_ARCH_* of linux/audit.h: the ELF machine, with bits for 64-bit and little-endian. */
  readonly arch: number;
  readonly syscalls: Readonly<Record<string, number>>;
}

const abi = (name: Abi['name'], arch: number, syscalls: Abi['syscalls']): Abi => ({ name, arch, syscalls });

const X86 = [abi('b64', 0xc000_003e, X86_64), abi('b32', 0x4000_0003, I386)];
const ARM_32 = [abi('b32', 0x4000_0028, ARM)];
const ARM_64 = [abi('b64', 0xc000_00b7, AARCH64), ...ARM_32];

/**
 * The ABIs of the programs that a kernel runs, by what uname(2) calls the machine. That depends on the kernel and not on how
 * Node was built: a 64-bit kernel also runs a 32-bit Node. For a process with the personality linux32, a 64-bit kernel says
 * `i686` or `armv8l`; no 32-bit kernel says the latter, and on one that says the former a rule for b64 never applies.
 *
 * x32 is left out: its calls carry a bit (0x40000000) that no audit rule's mask reaches. Distributions switch it off
 * (`syscall.x32=y` on the kernel's command line brings it back, and with it a way past audit).
 */
const ABIS: Readonly<Record<string, readonly Abi[]>> = {
  x86_64: X86,
  i686: X86,
  aarch64: ARM_64,
  armv8l: ARM_64,
  armv7l: ARM_32,
  armv6l: ARM_32,
};

/** The ABIs of this machine, or of one with another name. @throws AgentError AUDIT_UNAVAILABLE for one without a table */
export function abisOf(name = machine()): readonly Abi[] {
  const abis = ABIS[name];
  if (abis !== undefined) return abis;
  throw new AgentError(
    'AUDIT_UNAVAILABLE',
    `The agent does not know the numbers of the system calls of this machine, ${name}.`,
    'On machines other than amd64, arm64 and armhf, program starts are read without audit.',
  );
}

export interface NamedCall {
  readonly abi: 'b64' | 'b32';
  /** Absent for a call that isn't in the tables. */
  readonly name?: string;
}

const NAMES = new Map<string, { abi: Abi['name']; names: Map<string, string> }>();
for (const { name, arch, syscalls } of [...X86, ...ARM_64]) {
  const names = new Map(Object.entries(syscalls).map(([call, number]) => [String(number), call]));
  NAMES.set(arch.toString(16), { abi: name, names });
}

/** The bit of 64-bit architectures in AUDIT_ARCH_*. */
const IS_64_BIT = 0x8000_0000;

/** What a SYSCALL record's `arch` and `syscall` mean. @returns `undefined` if `arch` is not a hexadecimal number */
export function nameCall(arch: string | undefined, syscall: string | undefined): NamedCall | undefined {
  if (arch === undefined) return undefined;
  const known = NAMES.get(arch);
  if (known === undefined) {
    if (!/^[0-9a-f]{1,8}$/.test(arch)) return undefined;
    return { abi: (Number.parseInt(arch, 16) & IS_64_BIT) === 0 ? 'b32' : 'b64' };
  }
  const name = syscall === undefined ? undefined : known.names.get(syscall);
  return name === undefined ? { abi: known.abi } : { abi: known.abi, name };
}
