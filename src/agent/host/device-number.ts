/**
 * A device's number, as returned by `stat`, in the form of /sys/dev/block and mountinfo: `major:minor`. As gnu_dev_major() and
 * gnu_dev_minor() of sys/sysmacros.h take it apart.
 */
export function deviceNumber(device: bigint): string {
  const major = ((device >> 8n) & 0xfffn) | ((device >> 32n) & ~0xfffn);
  const minor = (device & 0xffn) | ((device >> 12n) & ~0xffn);
  return `${major}:${minor}`;
}
