/* Sets up an io_uring and prints the result. */
#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int main(void) {
  char parameters[120]; /* struct io_uring_params */
  memset(parameters, 0, sizeof parameters);
  printf("%ld\n", syscall(425, 4, parameters));
  return 0;
}
