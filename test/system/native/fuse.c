/*
 * A FUSE file system whose server makes other processes wait.
 *
 *   fuse hang DEVICE FOLDER N              N processes that hold their own memory's lock, see hang
 *   fuse lock DEVICE FOLDER LOCKED         keeps the folder LOCKED locked, see lock
 *   fuse silent DEVICE FOLDER FILE ARGS…   a program on a file system that stops responding, see silent
 *   fuse stay                              waits until it is killed; for use as FILE
 *   fuse                                   exits immediately; for use as FILE
 *
 * DEVICE is /dev/fuse; FOLDER is the mount point. When it is killed, all processes that it started are killed, too.
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
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { ROOT = FUSE_ROOT_ID, FILE_NODE = 2, LARGEST = 1 << 20, MAX_HANGS = 2000 };

static int device;
/* The file's path, permissions and length, and the seconds for which the kernel may cache its attributes. */
static char path[4096];
static mode_t mode;
static size_t length;
static unsigned valid;
static char request[LARGEST + FUSE_MIN_READ_BUFFER];

static void fail(const char *what) {
  perror(what);
  exit(1);
}

static void mount_at(const char *folder, const char *type, const char *more) {
  char options[256];
  snprintf(options, sizeof options, "fd=%d,rootmode=40755,user_id=%d,group_id=%d%s", device, getuid(), getgid(), more);
  if (mount("vakt-test", folder, type, MS_NOSUID | MS_NODEV, options) != 0) fail("mount");
}

static void answer(const struct fuse_in_header *to, int error, const void *data, size_t size) {
  struct fuse_out_header head = {.len = sizeof head + size, .error = -error, .unique = to->unique};
  struct iovec parts[2] = {{&head, sizeof head}, {(void *)data, size}};
  if (writev(device, parts, 2) < 0 && errno != ENOENT) perror("answer");
}

static struct fuse_attr attributes(uint64_t node) {
  struct fuse_attr attr = {.ino = node, .nlink = 1, .blksize = 4096, .mtime = 1700000000, .ctime = 1700000000};
  attr.mode = node == ROOT ? S_IFDIR | 0755 : S_IFREG | mode;
  attr.size = node == ROOT ? 0 : length;
  return attr;
}

/* @returns the next request; NULL if it was interrupted */
static struct fuse_in_header *next_request(void) {
  ssize_t got = read(device, request, sizeof request);
  if (got < 0 && (errno == EINTR || errno == EAGAIN || errno == ENOENT)) return NULL;
  if (got < 0 && errno == ENODEV) exit(0); /* unmounted */
  if (got < (ssize_t)sizeof(struct fuse_in_header)) fail("request");
  return (struct fuse_in_header *)request;
}

/* Answers requests that are the same for all modes. @returns whether the request is done */
static int answered(const struct fuse_in_header *head) {
  switch (head->opcode) {
    case FUSE_INIT: {
      struct fuse_init_out out = {.major = 7, .minor = 31, .max_readahead = 131072, .max_write = 4096};
      out.flags = FUSE_ASYNC_READ;
      answer(head, 0, &out, sizeof out);
      return 1;
    }
    case FUSE_FORGET:
    case FUSE_BATCH_FORGET:
    case FUSE_INTERRUPT:
      return 1;
    case FUSE_FLUSH:
    case FUSE_RELEASE:
      answer(head, 0, NULL, 0);
      return 1;
  }
  return 0;
}

static void answer_open(const struct fuse_in_header *head, uint32_t flags) {
  struct fuse_open_out out = {.fh = 1, .open_flags = flags};
  answer(head, 0, &out, sizeof out);
}

/* Answers requests for attributes, and all others with ENOSYS. */
static void answer_rest(const struct fuse_in_header *head, const char *name) {
  if (head->opcode == FUSE_GETATTR) {
    struct fuse_attr_out out = {.attr_valid = valid, .attr = attributes(head->nodeid)};
    answer(head, 0, &out, sizeof out);
  } else if (head->opcode != FUSE_LOOKUP) {
    answer(head, ENOSYS, NULL, 0);
  } else if (head->nodeid == ROOT && strcmp((const char *)(head + 1), name) == 0) {
    struct fuse_entry_out out = {.nodeid = FILE_NODE, .entry_valid = valid, .attr_valid = valid};
    out.attr = attributes(FILE_NODE);
    answer(head, 0, &out, sizeof out);
  } else {
    answer(head, ENOENT, NULL, 0);
  }
}

static int opened, reads;

static void serve_hanging(void) {
  struct fuse_in_header *head = next_request();
  if (head == NULL || answered(head)) return;
  if (head->opcode == FUSE_OPEN) answer_open(head, opened++ ? FOPEN_KEEP_CACHE | FOPEN_DIRECT_IO : FOPEN_KEEP_CACHE);
  else if (head->opcode == FUSE_READ) reads += 1;
  else answer_rest(head, "file");
}

static void serve_waiting(void) {
  struct pollfd waiting = {.fd = device, .events = POLLIN};
  while (poll(&waiting, 1, 20) > 0) serve_hanging();
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

static void write_file(const char *name, const char *text) {
  int fd = open(name, O_WRONLY);
  if (fd < 0 || write(fd, text, strlen(text)) < 0) fail(name);
  close(fd);
}

static void map_file(void) {
  int fd = open(path, O_RDONLY);
  if (fd < 0) fail(path);
  mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0);
  fail("mmap came back");
}

/* Mounts the file system in new user and mount namespaces, as any user can. */
static void mount_privately(const char *name, const char *folder) {
  int uid = geteuid(), gid = getegid();
  char map[64];
  if (unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0) fail("unshare");
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  write_file("/proc/self/setgroups", "deny");
  snprintf(map, sizeof map, "0 %d 1", uid);
  write_file("/proc/self/uid_map", map);
  snprintf(map, sizeof map, "0 %d 1", gid);
  write_file("/proc/self/gid_map", map);
  device = open(name, O_RDWR); /* must be opened in the namespace that mounts it */
  if (device < 0) fail(name);
  mode = 0644;
  length = LARGEST;
  valid = 3600;
  mount_at(folder, "fuse", "");
  snprintf(path, sizeof path, "%s/file", folder);
}

/*
 * Answers all requests but READ. A first process reads the file, which locks its page until the answer comes. The others
 * map the file by descriptors with FOPEN_DIRECT_IO: the kernel invalidates the file's pages, waits for that page's lock,
 * and holds the mapping process's mmap_lock while it waits (fuse_file_mmap() in fs/fuse/file.c). A process that reads
 * /proc/PID/cmdline of such a process sleeps just as long.
 *
 * Prints the processes' ids, one per line, once they hang.
 */
static void hang(const char *name, const char *folder, int count) {
  static int pids[MAX_HANGS];
  mount_privately(name, folder);
  if (child() == 0) {
    char byte;
    int fd = open(path, O_RDONLY);
    if (fd < 0 || read(fd, &byte, 1) < 0) fail("read");
    fail("read came back");
  }
  while (reads == 0) serve_waiting();
  for (int index = 0; index < count; index += 1) {
    pids[index] = child();
    if (pids[index] == 0) map_file();
  }
  for (int index = 0; index < count; index += 1)
    while (state(pids[index]) != 'D') serve_waiting();
  for (int index = 0; index < count; index += 1) printf("%d\n", pids[index]);
  fflush(stdout);
  for (;;) serve_waiting();
}

/*
 * Answers all requests but READ. A first process lists LOCKED into a page of the file: it holds the folder's shared lock
 * until the page is available. A second one waits for the exclusive lock to create a folder in it; the kernel checks its
 * permission only later. From then on, every process that needs the lock, to list the folder or to look up a name that isn't
 * cached, sleeps. Permission to read the folder is enough for this.
 *
 * Prints the processes' ids, one per line, once they hang.
 */
static void lock(const char *name, const char *folder, const char *locked) {
  mount_privately(name, folder);
  int lister = child();
  if (lister == 0) {
    int file = open(path, O_RDONLY), listed = open(locked, O_RDONLY | O_DIRECTORY);
    char *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, file, 0);
    if (listed < 0 || page == MAP_FAILED) fail(locked);
    syscall(SYS_getdents64, listed, page, 4096);
    fail("getdents64 came back");
  }
  while (reads == 0) serve_waiting();
  int maker = child();
  if (maker == 0) {
    char made[4096];
    snprintf(made, sizeof made, "%s/made", locked);
    mkdir(made, 0755);
    fail("mkdir came back");
  }
  while (state(maker) != 'D') serve_waiting();
  printf("%d\n%d\n", lister, maker);
  fflush(stdout);
  for (;;) serve_waiting();
}

/* The kernel needs the server to find the program, so another process has to start it. */
static void start(char **args) {
  int done[2];
  args[0] = path;
  if (pipe2(done, O_CLOEXEC) != 0) exit(1);
  if (fork() == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    execv(path, args);
    perror(path);
    if (write(done[1], "!", 1) != 1) _exit(2);
    _exit(1);
  }
  close(done[1]);
  /* Reports the start, which closes the pipe. This takes another process, since this one has to serve requests. */
  if (fork() == 0) {
    char failed;
    if (read(done[0], &failed, 1) == 0) printf("started\n");
    fflush(stdout);
    _exit(0);
  }
  close(done[0]);
}

/*
 * Provides FILE's content as FOLDER/program, starts it with ARGS, and writes "started". Once the program has been opened,
 * the server answers only requests that are needed to run it. All others wait until this server is killed; at the first of
 * them, it writes "silent".
 */
static void silent(const char *name, const char *folder, char **args) {
  int file = open(args[0], O_RDONLY), is_silent = 0;
  struct stat there;
  if (file < 0 || fstat(file, &there) != 0) fail(args[0]);
  length = there.st_size;
  mode = 0755;
  valid = 0; /* attributes are not cached */
  char *content = malloc(length);
  if (read(file, content, length) != (ssize_t)length) fail(args[0]);
  device = open(name, O_RDWR | O_CLOEXEC);
  if (device < 0) fail(name);
  signal(SIGCHLD, SIG_IGN);
  mount_at(folder, "fuse.silent", ",allow_other");
  snprintf(path, sizeof path, "%s/program", folder);
  start(args);
  for (;;) {
    struct fuse_in_header *head = next_request();
    if (head == NULL || answered(head)) continue;
    if (head->opcode == FUSE_READ) {
      struct fuse_read_in *in = (void *)(head + 1);
      size_t from = in->offset < length ? in->offset : length;
      answer(head, 0, content + from, in->size < length - from ? in->size : length - from);
    } else if (head->opcode == FUSE_OPEN) {
      opened = 1;
      answer_open(head, 0);
    } else if (head->opcode == FUSE_GETXATTR) {
      answer(head, ENOSYS, NULL, 0);
    } else if (!opened) {
      answer_rest(head, "program");
    } else if (!is_silent) {
      is_silent = 1;
      printf("silent\n");
      fflush(stdout);
    }
  }
}

int main(int argc, char **argv) {
  const char *what = argc > 1 ? argv[1] : "";
  if (argc == 1) return 0;
  if (argc == 2 && strcmp(what, "stay") == 0) return pause();
  if (argc == 5 && strcmp(what, "hang") == 0 && atoi(argv[4]) <= MAX_HANGS) hang(argv[2], argv[3], atoi(argv[4]));
  if (argc == 5 && strcmp(what, "lock") == 0) lock(argv[2], argv[3], argv[4]);
  if (argc >= 5 && strcmp(what, "silent") == 0) silent(argv[2], argv[3], argv + 4);
  return 2;
}
