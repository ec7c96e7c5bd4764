/*
 * Preloaded into a process (LD_PRELOAD of ld.so(8)), it makes kernel audit behave like an older one: rules about the family of a
 * socket address (Linux 5.3) and about io_uring (Linux 5.16) are rejected with EINVAL by the kernel itself. For that, it replaces
 * the numbers that an older kernel does not support by a number that no kernel supports, in the request to add the rule.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <linux/audit.h>
#include <linux/netlink.h>
#include <string.h>
#include <unistd.h>

#define SADDR_FAM 113
#define URING_EXIT 7
#define UNKNOWN_FIELD 190
#define UNKNOWN_LIST 9

ssize_t write(int fd, const void *data, size_t bytes) {
  static ssize_t (*real)(int, const void *, size_t);
  if (real == NULL) real = (ssize_t (*)(int, const void *, size_t))dlsym(RTLD_NEXT, "write");
  struct {
    struct nlmsghdr header;
    struct audit_rule_data rule;
    char strings[1024];
  } request;
  const struct nlmsghdr *header = data;
  const size_t least = sizeof request.header + sizeof request.rule;
  if (bytes < least || bytes > sizeof request || header->nlmsg_len != bytes || header->nlmsg_type != AUDIT_ADD_RULE) {
    return real(fd, data, bytes);
  }
  memcpy(&request, data, bytes);
  if (request.rule.flags == URING_EXIT) request.rule.flags = UNKNOWN_LIST;
  for (unsigned index = 0; index < request.rule.field_count && index < AUDIT_MAX_FIELDS; index += 1) {
    if (request.rule.fields[index] == SADDR_FAM) request.rule.fields[index] = UNKNOWN_FIELD;
  }
  return real(fd, &request, bytes);
}
