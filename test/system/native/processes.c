/*
 * Processes that exit in unusual ways. Each first waits for a byte on its standard input, so that its start can be reported before.
 *
 *   processes threads N   starts N threads, which exit immediately, and exits with 0 after them
 *   processes early N     its first thread exits; at the next byte, another thread ends the process with status N
 *   processes traced N    the same, with a second thread that is a zombie until the parent waits for it
 *   processes exec        a thread that isn't the first executes /bin/cat
 *   processes fork N      forks a process that exits with N, and exits with 0 after it
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

static int number;

static void wait_for_byte(void) {
  char byte;
  if (read(0, &byte, 1) < 0) exit(98);
}

static void *nothing(void *unused) { return unused; }

static void *end_traced(void *unused) {
  if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0) exit(97);
  return unused;
}

static void *end_later(void *unused) {
  (void)unused;
  wait_for_byte();
  exit(number);
}

static void *execute(void *unused) {
  (void)unused;
  execl("/bin/cat", "cat", (char *)NULL);
  exit(99);
}

int main(int argc, char **argv) {
  if (argc < 2) return 2;
  pthread_t thread;
  number = argc > 2 ? atoi(argv[2]) : 0;
  wait_for_byte();
  if (strcmp(argv[1], "threads") == 0) {
    for (int index = 0; index < number; index += 1) {
      if (pthread_create(&thread, NULL, nothing, NULL) != 0) return 3;
      pthread_join(thread, NULL);
    }
    return 0;
  }
  if (strcmp(argv[1], "fork") == 0) {
    if (fork() == 0) _exit(number);
    wait(NULL);
    return 0;
  }
  int traced = strcmp(argv[1], "traced") == 0;
  if (traced) {
    if (pthread_create(&thread, NULL, end_traced, NULL) != 0) return 3;
    pthread_join(thread, NULL);
  }
  int early = traced || strcmp(argv[1], "early") == 0;
  if (pthread_create(&thread, NULL, early ? end_later : execute, NULL) != 0) return 3;
  if (early) pthread_exit(NULL);
  pause();
  return 4;
}
