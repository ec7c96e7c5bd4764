/*
 * Preloaded into the agent: makes opening and listing fail below one path, for that process only.
 *
 * FAILING_DISK_PATH   the path that fails; if it ends with a slash, everything below it fails as well
 * FAILING_DISK_ERRNO  the number of the error
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

static int fails(const char *path) {
  const char *failing = getenv("FAILING_DISK_PATH"), *number = getenv("FAILING_DISK_ERRNO");
  size_t length;
  if (failing == NULL || number == NULL || path == NULL) return 0;
  length = strlen(failing);
  if (length > 0 && failing[length - 1] == '/') {
    if (strncmp(path, failing, length - 1) != 0 || (path[length - 1] != '/' && path[length - 1] != '\0')) return 0;
  } else if (strcmp(path, failing) != 0) {
    return 0;
  }
  errno = atoi(number);
  return 1;
}

#define OPEN(name)                                                                   \
  int name(const char *path, int flags, ...) {                                       \
    static int (*real)(const char *, int, ...);                                      \
    va_list list;                                                                    \
    mode_t mode;                                                                     \
    va_start(list, flags);                                                           \
    mode = va_arg(list, mode_t);                                                     \
    va_end(list);                                                                    \
    if (real == NULL) real = (int (*)(const char *, int, ...))dlsym(RTLD_NEXT, #name); \
    return fails(path) ? -1 : real(path, flags, mode);                               \
  }

OPEN(open)
OPEN(open64)

#define LIST(name)                                                                                              \
  int name(const char *path, struct dirent ***into, int (*filter)(const struct dirent *),                      \
           int (*compare)(const struct dirent **, const struct dirent **)) {                                   \
    static __typeof__(&name) real;                                                                              \
    if (real == NULL) real = (__typeof__(real))dlsym(RTLD_NEXT, #name);                                        \
    return fails(path) ? -1 : real(path, into, filter, compare);                                               \
  }

LIST(scandir)
