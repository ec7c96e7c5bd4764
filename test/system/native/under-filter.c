/*
 * under-filter RULES PROGRAM ARGUMENT...
 *
 * Runs a program under a seccomp filter. RULES is a file of lines; the first one is the default:
 *   default ERRNO                                  rejects all other calls with this errno
 *   default allow                                  allows all other calls
 *   allow NAME [ARGUMENT OP VALUE [MASK]]          a condition on one argument; OP is eq or masked
 *   errno NAME ERRNO [ARGUMENT OP VALUE [MASK]]
 * A name that this machine's architecture lacks is skipped, as systemd and container engines do.
 */
#include <errno.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void fail(const char *what, int error) {
  fprintf(stderr, "under-filter: %s: %s\n", what, strerror(error));
  exit(125);
}

/* CONDITION is the rest of a line after the name and the errno; it may be empty. */
static int add(scmp_filter_ctx filter, uint32_t action, int call, const char *condition) {
  char op[16];
  unsigned argument;
  unsigned long long value, mask = 0;
  int fields = sscanf(condition, "%u %15s %lli %lli", &argument, op, &value, &mask);
  if (fields < 3) return seccomp_rule_add(filter, action, call, 0);
  if (strcmp(op, "masked") == 0) {
    struct scmp_arg_cmp masked = {argument, SCMP_CMP_MASKED_EQ, mask, value};
    return seccomp_rule_add_array(filter, action, call, 1, &masked);
  }
  struct scmp_arg_cmp equal = {argument, SCMP_CMP_EQ, value, 0};
  return seccomp_rule_add_array(filter, action, call, 1, &equal);
}

int main(int count, char **arguments) {
  if (count < 3) return 125;
  FILE *rules = fopen(arguments[1], "r");
  if (rules == NULL) fail(arguments[1], errno);
  scmp_filter_ctx filter = NULL;
  char line[512];
  while (fgets(line, sizeof line, rules) != NULL) {
    char action[16], name[64];
    int read = 0;
    if (sscanf(line, "%15s %63s%n", action, name, &read) < 2) continue;
    if (strcmp(action, "default") == 0) {
      filter = seccomp_init(strcmp(name, "allow") == 0 ? SCMP_ACT_ALLOW : SCMP_ACT_ERRNO(atoi(name)));
      if (filter == NULL) fail("seccomp_init", ENOMEM);
      continue;
    }
    int call = seccomp_syscall_resolve_name(name);
    if (call < 0) continue;
    uint32_t outcome = SCMP_ACT_ALLOW;
    if (strcmp(action, "errno") == 0) {
      char *end;
      outcome = SCMP_ACT_ERRNO(strtoul(line + read, &end, 10));
      read = end - line;
    }
    int problem = add(filter, outcome, call, line + read);
    if (problem != 0 && problem != -EACCES) fail(name, -problem); /* EACCES: the same action as the default */
  }
  if (filter == NULL) fail("no rules", EINVAL);
  int problem = seccomp_load(filter);
  if (problem != 0) fail("seccomp_load", -problem);
  execv(arguments[2], arguments + 2);
  fail(arguments[2], errno);
}
