import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { makeInitrd } from '../harness/initrd.ts';

/** Kernel modules needed to mount the root; kernels in which ext4 calls the library have no `crc32c_generic`. */
const WANTED = ['virtio_pci', 'virtio_mmio', 'virtio_blk', 'crc32c_generic?', 'ext4'];
const PATIENCE_TENTHS = 600;

/**
 * Creates an initrd that loads the modules for a virtio disk with ext4, mounts /dev/vda and starts its init.
 *
 * @param tree the system's files, with one kernel and busybox-static
 * @param file path of the initrd
 */
export function makeDiskInitrd(tree: string, file: string): void {
  const [version = ''] = readdirSync(join(tree, 'lib/modules'));
  makeInitrd(file, {
    busybox: join(tree, 'usr/bin/busybox'),
    modules: join(tree, 'lib/modules', version),
    wanted: WANTED,
    folders: ['root', 'proc', 'sys', 'dev'],
    init: initScript,
  });
}

const initScript = (modules: readonly string[]) => `#!/bin/busybox sh
b=/bin/busybox
$b mount -t proc proc /proc
$b mount -t sysfs sysfs /sys
$b mount -t devtmpfs dev /dev
for m in ${modules.join(' ')}; do $b insmod /modules/$m || $b echo "no $m"; done
i=0
while [ ! -b /dev/vda ] && [ $i -lt ${PATIENCE_TENTHS} ]; do $b sleep 0.1; i=$((i+1)); done
$b mount -t ext4 /dev/vda /root || $b poweroff -f
for each in proc sys dev; do $b mount --move /$each /root/$each; done
exec $b switch_root /root /sbin/init
`;
