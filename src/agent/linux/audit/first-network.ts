import { exists } from '../../../core/base/paths.ts';

/**
 * Whether this process is in the kernel's first network namespace. The kernel shows each process the settings of its own
 * namespace, and those that all namespaces share in the first one only. Unlike a comparison with /proc/1/ns/net, this takes no
 * capability.
 *
 * @param folder settings of which every namespace has some; where they can't be seen, the answer is yes
 */
export const isInFirstNetwork = (folder = '/proc/sys/net/core'): boolean =>
  exists(`${folder}/netdev_max_backlog`) || !exists(`${folder}/somaxconn`);
