/*
 * Starts a program repeatedly, and waits for each to exit.
 *
 *   MARKER=text starts COUNT PER_SECOND WORKERS DISTINCT PROGRAM
 *
 * Each start has the arguments `MARKER command-N`, with N modulo DISTINCT. PER_SECOND 0 is the highest rate. The marker comes
 * from the environment, so that it isn't in this program's own arguments. Workers are forked, which is not a start of a
 * program. Prints the number of successful starts and the milliseconds they took; SIGTERM stops it early.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t is_ending;

static void end(int number) {
  (void)number;
  is_ending = 1;
}

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec + time.tv_nsec / 1e9;
}

int main(int argc, char **argv) {
  char *marker = getenv("MARKER");
  if (argc != 6 || marker == NULL) return 2;
  long count = atol(argv[1]), workers = atol(argv[3]), distinct = atol(argv[4]);
  double pace = atof(argv[2]), began = now();
  char *none[] = {NULL};
  long *started = mmap(NULL, sizeof *started, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (started == MAP_FAILED) return 1;
  signal(SIGTERM, end);
  for (long worker = 0; worker < workers; worker += 1) {
    if (fork() != 0) continue;
    for (long index = worker; index < count && !is_ending; index += workers) {
      double ahead = pace > 0 ? began + index / pace - now() : 0;
      if (ahead > 0) usleep((useconds_t)(ahead * 1e6));
      char command[32];
      snprintf(command, sizeof command, "command-%ld", index % distinct);
      char *arguments[] = {argv[5], marker, command, NULL};
      pid_t child;
      if (posix_spawn(&child, argv[5], NULL, NULL, arguments, none) != 0) continue;
      __atomic_add_fetch(started, 1, __ATOMIC_RELAXED);
      waitpid(child, NULL, 0);
    }
    _exit(0);
  }
  while (wait(NULL) > 0) {
  }
  printf("%ld %.0f\n", *started, (now() - began) * 1000);
  return 0;
}
