/*
 * Processes that hold their own memory's lock, as any user can make them:
 *
 *   fuse-hang FOLDER DEVICE N
 *
 * Makes user and mount namespaces, mounts a FUSE file system at FOLDER by DEVICE (/dev/fuse), and is its server: it
 * answers all requests but READ. A first process reads the file, which locks its page until the answer comes. N others
 * map the file by descriptors with FOPEN_DIRECT_IO: the kernel throws the file's pages away, waits for that page's lock,
 * and holds the mapping process's mmap_lock meanwhile (fuse_file_mmap() of fs/fuse/file.c). Whoever reads
 * /proc/PID/cmdline of such a process then sleeps for as long.
 *
 * Prints the processes' ids, one a line, once they hang. All ends when it is killed.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/uio.h>
#include <unistd.h>

#define FILE_NODE 2
#define FILE_BYTES (1024 * 1024)
#define MOST 2000

static int device;
static char path[4096];
static int opened, reads;

static void fail(const char *what) {
  perror(what);
  exit(1);
}

static void write_file(const char *name, const char *text) {
  int fd = open(name, O_WRONLY);
  if (fd < 0 || write(fd, text, strlen(text)) < 0) fail(name);
  close(fd);
}

static void answer(const struct fuse_in_header *in, int error, const void *data, size_t bytes) {
  struct fuse_out_header out = {.len = sizeof out + bytes, .error = error, .unique = in->unique};
  struct iovec parts[2] = {{&out, sizeof out}, {(void *)data, bytes}};
  if (writev(device, parts, 2) < 0 && errno != ENOENT) fail("answer");
}

static struct fuse_attr attributes(unsigned long node) {
  struct fuse_attr attr = {.ino = node, .nlink = 1, .blksize = 4096};
  attr.mode = node == FILE_NODE ? S_IFREG | 0644 : S_IFDIR | 0755;
  attr.size = node == FILE_NODE ? FILE_BYTES : 0;
  return attr;
}

static void serve(void) {
  static char request[FUSE_MIN_READ_BUFFER + 1024 * 1024];
  ssize_t length = read(device, request, sizeof request);
  if (length < 0 && errno == EINTR) return;
  if (length < (ssize_t)sizeof(struct fuse_in_header)) fail("request");
  const struct fuse_in_header *in = (const void *)request;
  if (in->opcode == FUSE_INIT) {
    struct fuse_init_out out = {.major = FUSE_KERNEL_VERSION, .minor = FUSE_KERNEL_MINOR_VERSION, .max_write = 4096};
    out.flags = FUSE_ASYNC_READ;
    answer(in, 0, &out, sizeof out);
  } else if (in->opcode == FUSE_LOOKUP) {
    struct fuse_entry_out out = {.nodeid = FILE_NODE, .entry_valid = 3600, .attr_valid = 3600};
    out.attr = attributes(FILE_NODE);
    answer(in, 0, &out, sizeof out);
  } else if (in->opcode == FUSE_GETATTR) {
    struct fuse_attr_out out = {.attr_valid = 3600, .attr = attributes(in->nodeid)};
    answer(in, 0, &out, sizeof out);
  } else if (in->opcode == FUSE_OPEN) {
    struct fuse_open_out out = {.fh = 1, .open_flags = FOPEN_KEEP_CACHE};
    if (opened) out.open_flags |= FOPEN_DIRECT_IO;
    opened = 1;
    answer(in, 0, &out, sizeof out);
  } else if (in->opcode == FUSE_READ) {
    reads += 1;
  } else if (in->opcode != FUSE_FORGET && in->opcode != FUSE_BATCH_FORGET && in->opcode != FUSE_INTERRUPT) {
    answer(in, in->opcode == FUSE_FLUSH || in->opcode == FUSE_RELEASE ? 0 : -ENOSYS, NULL, 0);
  }
}

static void serve_waiting(void) {
  struct pollfd waiting = {.fd = device, .events = POLLIN};
  while (poll(&waiting, 1, 20) > 0) serve();
}

static int child(void) {
  int pid = fork();
  if (pid < 0) fail("fork");
  if (pid > 0) return pid;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  close(device);
  return 0;
}

static char state(int pid) {
  char name[64], text[512] = "";
  snprintf(name, sizeof name, "/proc/%d/stat", pid);
  int fd = open(name, O_RDONLY);
  if (fd < 0 || read(fd, text, sizeof text - 1) < 0) fail(name);
  close(fd);
  char *end = strrchr(text, ')');
  return end == NULL ? '?' : end[2];
}

static void hang(void) {
  int fd = open(path, O_RDONLY);
  if (fd < 0) fail(path);
  mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0);
  fail("mmap came back");
}

int main(int argc, char **argv) {
  if (argc != 4) return 2;
  int count = atoi(argv[3]), uid = geteuid(), gid = getegid();
  static int pids[MOST];
  char map[64], options[256];
  if (count > MOST) return 2;
  if (unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0) fail("unshare");
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  write_file("/proc/self/setgroups", "deny");
  snprintf(map, sizeof map, "0 %d 1", uid);
  write_file("/proc/self/uid_map", map);
  snprintf(map, sizeof map, "0 %d 1", gid);
  write_file("/proc/self/gid_map", map);
  device = open(argv[2], O_RDWR); /* of the namespace that mounts it */
  if (device < 0) fail(argv[2]);
  snprintf(options, sizeof options, "fd=%d,rootmode=40000,user_id=0,group_id=0", device);
  if (mount("hang", argv[1], "fuse", MS_NOSUID | MS_NODEV, options) < 0) fail("mount");
  snprintf(path, sizeof path, "%s/file", argv[1]);

  if (child() == 0) {
    char byte;
    int fd = open(path, O_RDONLY);
    if (fd < 0 || read(fd, &byte, 1) < 0) fail("read");
    fail("read came back");
  }
  while (reads == 0) serve_waiting();
  for (int index = 0; index < count; index += 1) {
    pids[index] = child();
    if (pids[index] == 0) hang();
  }
  for (int index = 0; index < count; index += 1)
    while (state(pids[index]) != 'D') serve_waiting();
  for (int index = 0; index < count; index += 1) printf("%d\n", pids[index]);
  fflush(stdout);
  for (;;) serve_waiting();
}
