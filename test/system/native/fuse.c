/*
 * A FUSE file system with one executable file, whose server falls silent.
 *
 *   fuse DEVICE FOLDER FILE ARGS…   mounts it on FOLDER, with /dev/fuse as DEVICE, and FILE's content as FOLDER/program,
 *                                   starts that with ARGS, and writes "started"
 *   fuse stay                       waits until it is killed: as a FILE
 *   fuse                            ends at once: as a FILE
 *
 * Once the program has been opened, it answers only what running it takes: whoever asks for the file, or anything else,
 * waits until this server is killed. At the first one it writes "silent". The program is killed with the server.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ROOT = FUSE_ROOT_ID, PROGRAM = 2, LARGEST = 1 << 20 };

static char request[LARGEST + 4096];
static int device;
static char *content;
static size_t length;

static void answer(const struct fuse_in_header *to, int error, const void *data, size_t size) {
  static char reply[sizeof(struct fuse_out_header) + LARGEST];
  struct fuse_out_header head = {.len = sizeof head + size, .error = -error, .unique = to->unique};
  memcpy(reply, &head, sizeof head);
  if (size > 0) memcpy(reply + sizeof head, data, size);
  if (write(device, reply, sizeof head + size) < 0 && errno != ENOENT) perror("answer");
}

/* Known for no time at all: everybody has to ask again. */
static struct fuse_attr attributes(uint64_t node) {
  struct fuse_attr attr = {.ino = node, .nlink = 1, .blksize = 4096};
  attr.mode = node == ROOT ? S_IFDIR | 0755 : S_IFREG | 0755;
  attr.size = node == ROOT ? 0 : length;
  attr.mtime = attr.ctime = 1700000000;
  return attr;
}

static void serve(void) {
  int opened = 0, silent = 0;
  for (;;) {
    ssize_t got = read(device, request, sizeof request);
    if (got < 0 && (errno == EINTR || errno == EAGAIN || errno == ENOENT)) continue;
    if (got < 0) exit(errno == ENODEV ? 0 : 1);
    struct fuse_in_header *head = (struct fuse_in_header *)request;
    void *body = head + 1;
    switch (head->opcode) {
      case FUSE_INIT: {
        struct fuse_init_out out = {.major = 7, .minor = 31, .max_readahead = 131072, .max_write = 4096};
        answer(head, 0, &out, sizeof out);
        continue;
      }
      case FUSE_FORGET:
      case FUSE_BATCH_FORGET:
      case FUSE_INTERRUPT:
        continue;
      case FUSE_READ: {
        struct fuse_read_in *in = body;
        size_t from = in->offset < length ? in->offset : length;
        size_t size = in->size < length - from ? in->size : length - from;
        answer(head, 0, content + from, size);
        continue;
      }
      case FUSE_OPEN: {
        struct fuse_open_out out = {.fh = 1};
        opened = 1;
        answer(head, 0, &out, sizeof out);
        continue;
      }
      case FUSE_FLUSH:
      case FUSE_RELEASE:
        answer(head, 0, NULL, 0);
        continue;
      case FUSE_GETXATTR:
        answer(head, ENOSYS, NULL, 0);
        continue;
    }
    if (opened) {
      if (!silent) printf("silent\n");
      fflush(stdout);
      silent = 1;
      continue;
    }
    switch (head->opcode) {
      case FUSE_LOOKUP:
        if (head->nodeid == ROOT && strcmp(body, "program") == 0) {
          struct fuse_entry_out out = {.nodeid = PROGRAM, .attr = attributes(PROGRAM)};
          answer(head, 0, &out, sizeof out);
        } else {
          answer(head, ENOENT, NULL, 0);
        }
        break;
      case FUSE_GETATTR: {
        struct fuse_attr_out out = {.attr = attributes(head->nodeid)};
        answer(head, 0, &out, sizeof out);
        break;
      }
      default:
        answer(head, ENOSYS, NULL, 0);
    }
  }
}

/* It needs the server already to be found, so another process has to start it. */
static void start(const char *folder, char **args) {
  static char program[4096];
  snprintf(program, sizeof program, "%s/program", folder);
  args[0] = program;
  int done[2];
  if (pipe2(done, O_CLOEXEC) != 0) exit(1);
  if (fork() == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    execv(program, args);
    perror(program);
    if (write(done[1], "!", 1) != 1) _exit(2);
    _exit(1);
  }
  close(done[1]);
  /* Tells of it when the pipe has been closed by the start: by another process again, since this one has to serve. */
  if (fork() == 0) {
    char failed;
    if (read(done[0], &failed, 1) == 0) printf("started\n");
    fflush(stdout);
    _exit(0);
  }
  close(done[0]);
}

int main(int argc, char **argv) {
  if (argc == 2 && strcmp(argv[1], "stay") == 0) return pause();
  if (argc == 1) return 0;
  if (argc < 4) return 2;
  signal(SIGCHLD, SIG_IGN);
  int file = open(argv[3], O_RDONLY);
  struct stat there;
  if (file < 0 || fstat(file, &there) != 0) return perror(argv[3]), 1;
  length = there.st_size;
  content = malloc(length);
  if (read(file, content, length) != (ssize_t)length) return perror(argv[3]), 1;
  device = open(argv[1], O_RDWR | O_CLOEXEC);
  if (device < 0) return perror(argv[1]), 1;
  char options[256];
  snprintf(options, sizeof options, "fd=%d,rootmode=40755,user_id=%d,group_id=%d,allow_other", device, getuid(), getgid());
  if (mount("vakt-test", argv[2], "fuse.silent", MS_NOSUID | MS_NODEV, options) != 0) return perror("mount"), 1;
  start(argv[2], argv + 3);
  serve();
}
