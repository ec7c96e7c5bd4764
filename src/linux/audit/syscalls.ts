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

/**
 * The ABIs of a machine, by Node's word for it.
 *
 * x32 is left out: its calls carry a bit (0x40000000) that no audit rule's mask reaches. Distributions switch it off
 * (`syscall.x32=y` on the kernel's command line brings it back, and with it a way past audit).
 */
export const ABIS: Readonly<Record<string, readonly Abi[]>> = {
  x64: [abi('b64', 0xc000_003e, X86_64), abi('b32', 0x4000_0003, I386)],
  arm64: [abi('b64', 0xc000_00b7, AARCH64), abi('b32', 0x4000_0028, ARM)],
  arm: [abi('b32', 0x4000_0028, ARM)],
};

export interface NamedCall {
  readonly abi: 'b64' | 'b32';
  /** Absent for a call that isn't in the tables. */
  readonly name?: string;
}

const NAMES = new Map<string, { abi: Abi['name']; names: Map<string, string> }>();
for (const { name, arch, syscalls } of Object.values(ABIS).flat()) {
  const names = new Map(Object.entries(syscalls).map(([call, number]) => [String(number), call]));
  NAMES.set(arch.toString(16), { abi: name, names });
}

/** The bit that tells 64-bit architectures, in AUDIT_ARCH_*. */
const IS_64_BIT = 0x8000_0000;

/** What a SYSCALL record's `arch` and `syscall` mean. @returns `undefined` when `arch` is no hexadecimal number */
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
