/** A kernel configuration, see Documentation/kbuild/kconfig.rst: `CONFIG_X=y` lines, by name. Options not set are absent. */
export const parseKernelConfig = (text: string): ReadonlyMap<string, string> =>
  new Map([...text.matchAll(/^(CONFIG_\w+)=(.*)$/gm)].map(([, key = '', value = '']) => [key, value]));

/** As the kernel splits its command line: spaces between double quotes do not. See next_arg() in lib/cmdline.c. */
const WORDS = /(?:"[^"]*(?:"|$)|[^\s"])+/g;

/** The words of the kernel's command line, with their quotes. */
export const kernelWords = (commandLine: string): readonly string[] => commandLine.match(WORDS) ?? [];

/**
 * The UEFI variable that reports whether Secure Boot is active, below /sys: four bytes of attributes, as efivarfs adds
 * them, and a 1 or a 0. UEFI specification 2.10, 3.3.
 */
export const SECURE_BOOT_VARIABLE = 'firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c';
const ATTRIBUTE_BYTES = 4;

/** The value of the variable; `undefined` when it is too short. */
export function secureBootIn(variable: Buffer): boolean | undefined {
  const value = variable[ATTRIBUTE_BYTES];
  return value === undefined ? undefined : value === 1;
}
