import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';

const REGISTRY = '/proc/sys/fs/binfmt_misc';

/**
 * Makes this machine's kernel run programs of another architecture by QEMU, unless it already does. Needs root.
 *
 * @param name name of a file in /usr/lib/binfmt.d without its extension: `qemu-aarch64`
 * @returns a function that reverts this
 */
export function registerInterpreter(name: string): () => void {
  const isMounted = existsSync(`${REGISTRY}/register`);
  if (!isMounted) execFileSync('mount', ['-t', 'binfmt_misc', 'binfmt_misc', REGISTRY]);
  const unmount = () => {
    if (!isMounted) execFileSync('umount', [REGISTRY]);
  };
  if (existsSync(`${REGISTRY}/${name}`)) return unmount;
  try {
    const [line = ''] = readFileSync(`/usr/lib/binfmt.d/${name}.conf`, 'utf8').split('\n', 1);
    writeFileSync(`${REGISTRY}/register`, line);
  } catch (error) {
    unmount();
    throw error;
  }
  return () => {
    writeFileSync(`${REGISTRY}/${name}`, '-1');
    unmount();
  };
}
