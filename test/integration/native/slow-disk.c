/*
 * Preloaded into the agent: makes the disk under one directory slow, or freezes it, for that process only.
 *
 * SLOW_DISK_DIRECTORY  the affected directory, with all files below it
 * SLOW_DISK_CONTROL    a file with "SYNC WRITE": the milliseconds that each sync, and each other call that modifies files,
 *                      takes. Read at every call, so that a test can change it. While WRITE is negative, such calls and
 *                      syncs don't return, as on a frozen file system.
 * SLOW_DISK_REPORT     receives a line "CALL PATH" for each such call of the process's main thread
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static const char *directory, *control, *report;

__attribute__((constructor)) static void begin(void) {
  directory = getenv("SLOW_DISK_DIRECTORY");
  control = getenv("SLOW_DISK_CONTROL");
  report = getenv("SLOW_DISK_REPORT");
}

static void sleep_for(long milliseconds) {
  struct timespec rest = {milliseconds / 1000, milliseconds % 1000 * 1000000};
  while (nanosleep(&rest, &rest) != 0) {
  }
}

/* Makes system calls directly, so that it does not call the functions replaced here. */
static void look(long *sync, long *write) {
  char text[64] = "";
  int file = control == NULL ? -1 : (int)syscall(SYS_openat, AT_FDCWD, control, O_RDONLY | O_CLOEXEC, 0);
  *sync = *write = 0;
  if (file < 0) return;
  if (syscall(SYS_read, file, text, sizeof text - 1) > 0) sscanf(text, "%ld %ld", sync, write);
  syscall(SYS_close, file);
}

static void say(const char *call, const char *path) {
  char line[512];
  int length, file;
  if (report == NULL || getpid() != (pid_t)syscall(SYS_gettid)) return;
  file = (int)syscall(SYS_openat, AT_FDCWD, report, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (file < 0) return;
  length = snprintf(line, sizeof line, "%s %s\n", call, path);
  if (length > 0) syscall(SYS_write, file, line, (size_t)length);
  syscall(SYS_close, file);
}

static void meet(const char *call, const char *path, int syncs) {
  size_t length = directory == NULL ? 0 : strlen(directory);
  long sync, write;
  if (length == 0 || strncmp(path, directory, length) != 0 || (path[length] != '/' && path[length] != '\0')) return;
  say(call, path);
  for (look(&sync, &write); write < 0; look(&sync, &write)) sleep_for(10);
  sleep_for(syncs ? sync : write);
}

static void meet_file(const char *call, int file, int syncs) {
  char link[64], path[4096];
  ssize_t length;
  if (directory == NULL) return;
  snprintf(link, sizeof link, "/proc/self/fd/%d", file);
  length = (ssize_t)syscall(SYS_readlinkat, AT_FDCWD, link, path, sizeof path - 1);
  if (length <= 0 || path[0] != '/') return;
  path[length] = '\0';
  meet(call, path, syncs);
}

#define REAL(name) \
  static __typeof__(name) *real; \
  if (real == NULL) real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

#define OPEN(name) \
  int name(const char *path, int flags, ...) { \
    REAL(name); \
    mode_t mode = 0; \
    if (flags & (O_CREAT | O_TMPFILE)) { \
      va_list more; \
      va_start(more, flags); \
      mode = va_arg(more, mode_t); \
      va_end(more); \
    } \
    if (flags & (O_CREAT | O_TRUNC)) meet("open", path, 0); \
    return real(path, flags, mode); \
  }
OPEN(open)
OPEN(open64)

int fsync(int file) { REAL(fsync); meet_file("fsync", file, 1); return real(file); }
int fdatasync(int file) { REAL(fdatasync); meet_file("fdatasync", file, 1); return real(file); }
int ftruncate(int file, off_t size) { REAL(ftruncate); meet_file("ftruncate", file, 0); return real(file, size); }
int ftruncate64(int file, off64_t size) { REAL(ftruncate64); meet_file("ftruncate", file, 0); return real(file, size); }
int rename(const char *from, const char *to) { REAL(rename); meet("rename", to, 0); return real(from, to); }
int unlink(const char *path) { REAL(unlink); meet("unlink", path, 0); return real(path); }
int rmdir(const char *path) { REAL(rmdir); meet("rmdir", path, 0); return real(path); }
int mkdir(const char *path, mode_t mode) { REAL(mkdir); meet("mkdir", path, 0); return real(path, mode); }
int chmod(const char *path, mode_t mode) { REAL(chmod); meet("chmod", path, 0); return real(path, mode); }

ssize_t write(int file, const void *bytes, size_t size) {
  REAL(write);
  meet_file("write", file, 0);
  return real(file, bytes, size);
}
ssize_t pwrite(int file, const void *bytes, size_t size, off_t at) {
  REAL(pwrite);
  meet_file("write", file, 0);
  return real(file, bytes, size, at);
}
ssize_t pwrite64(int file, const void *bytes, size_t size, off64_t at) {
  REAL(pwrite64);
  meet_file("write", file, 0);
  return real(file, bytes, size, at);
}
ssize_t writev(int file, const struct iovec *parts, int count) {
  REAL(writev);
  meet_file("write", file, 0);
  return real(file, parts, count);
}
ssize_t pwritev(int file, const struct iovec *parts, int count, off_t at) {
  REAL(pwritev);
  meet_file("write", file, 0);
  return real(file, parts, count, at);
}
ssize_t pwritev64(int file, const struct iovec *parts, int count, off64_t at) {
  REAL(pwritev64);
  meet_file("write", file, 0);
  return real(file, parts, count, at);
}
