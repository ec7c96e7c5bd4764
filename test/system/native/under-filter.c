/*
 * under-filter RULES PROGRAM ARGUMENT...
 *
 * Runs a program under a seccomp filter. RULES is a file of lines:
 *   default ERRNO                            what a call that no line names is refused with
 *   allow NAME [ARGUMENT OP VALUE [MASK]]    OP is eq or masked; a condition on one argument
 *   errno NAME ERRNO
 * A name that this machine's architecture doesn't have is skipped, as systemd and container engines do.
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

int main(int count, char **arguments) {
  if (count < 3) return 125;
  FILE *rules = fopen(arguments[1], "r");
  if (rules == NULL) fail(arguments[1], errno);
  scmp_filter_ctx filter = NULL;
  char line[512];
  while (fgets(line, sizeof line, rules) != NULL) {
    char action[16], name[64], op[16];
    unsigned argument;
    unsigned long long value, mask = 0;
    int fields = sscanf(line, "%15s %63s %u %15s %lli %lli", action, name, &argument, op, &value, &mask);
    if (fields < 2) continue;
    if (strcmp(action, "default") == 0) {
      filter = seccomp_init(SCMP_ACT_ERRNO(atoi(name)));
      if (filter == NULL) fail("seccomp_init", ENOMEM);
      continue;
    }
    int call = seccomp_syscall_resolve_name(name);
    if (call < 0) continue;
    int problem;
    if (strcmp(action, "errno") == 0) {
      problem = seccomp_rule_add(filter, SCMP_ACT_ERRNO(argument), call, 0);
    } else if (fields < 5) {
      problem = seccomp_rule_add(filter, SCMP_ACT_ALLOW, call, 0);
    } else if (strcmp(op, "masked") == 0) {
      struct scmp_arg_cmp masked = {argument, SCMP_CMP_MASKED_EQ, mask, value};
      problem = seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, call, 1, &masked);
    } else {
      struct scmp_arg_cmp equal = {argument, SCMP_CMP_EQ, value, 0};
      problem = seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, call, 1, &equal);
    }
    if (problem != 0 && problem != -EACCES) fail(name, -problem); /* EACCES: that is the default already */
  }
  if (filter == NULL) fail("no rules", EINVAL);
  int problem = seccomp_load(filter);
  if (problem != 0) fail("seccomp_load", -problem);
  execv(arguments[2], arguments + 2);
  fail(arguments[2], errno);
}
