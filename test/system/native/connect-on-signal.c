/*
 * A single-threaded server that connects to itself over the loopback interface each time it gets SIGUSR1. It prints "ready",
 * and then a line for each connection. It starts no programs and no processes.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static void check(int result, const char *what) {
  if (result >= 0) return;
  perror(what);
  exit(1);
}

int main(void) {
  sigset_t wanted;
  sigemptyset(&wanted);
  sigaddset(&wanted, SIGUSR1);
  sigprocmask(SIG_BLOCK, &wanted, NULL);

  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
  socklen_t length = sizeof address;
  int listener = socket(AF_INET, SOCK_STREAM, 0);
  check(bind(listener, (struct sockaddr *)&address, length), "bind");
  check(listen(listener, 8), "listen");
  check(getsockname(listener, (struct sockaddr *)&address, &length), "getsockname");
  puts("ready");
  fflush(stdout);

  for (int signal; sigwait(&wanted, &signal) == 0;) {
    int client = socket(AF_INET, SOCK_STREAM, 0);
    check(connect(client, (struct sockaddr *)&address, length), "connect");
    int server = accept(listener, NULL, NULL);
    check(server, "accept");
    close(server);
    close(client);
    puts("connected");
    fflush(stdout);
  }
  return 0;
}
