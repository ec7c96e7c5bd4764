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
