/* Mounts a FUSE file system whose server never answers, not even the kernel's first request.
 *
 *   silent-mount DEVICE FOLDER      with /dev/fuse as DEVICE
 *
 * Writes "mounted" and waits until its standard input ends. A process that accesses FOLDER waits just as long. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/mount.h>
#include <unistd.h>

int main(int argc, char **argv) {
  if (argc != 3) return 2;
  int device = open(argv[1], O_RDWR | O_CLOEXEC);
  if (device < 0) return perror(argv[1]), 1;
  char options[128];
  snprintf(options, sizeof options, "fd=%d,rootmode=40700,user_id=0,group_id=0,allow_other", device);
  if (mount("silent", argv[2], "fuse.silent", MS_NOSUID | MS_NODEV, options) != 0) return perror("mount"), 1;
  puts("mounted");
  fflush(stdout);
  getchar();
  umount2(argv[2], MNT_DETACH);
  return 0;
}
