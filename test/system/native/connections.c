/*
 * Opens connections to itself over the loopback interface, and prints them.
 *
 *   connections COUNT HOLD KIND...
 *
 * For each KIND, it opens COUNT connections, one after the other. With HOLD 1, they stay open until standard input ends; with 0,
 * they are closed immediately. KIND consists of words separated by dots:
 *
 *   tcp udp           the protocol
 *   v4 v6 mapped      the addresses; mapped is IPv4 over IPv6 sockets
 *   nonblock          the connecting socket is non-blocking
 *   twice             connect is called again once it is connected
 *   accept4 noaddress the server calls accept4, or does not request the peer address
 *   refused unix      a refused connection, or one over a Unix socket
 *
 * Prints a line for each end of an opened connection, then `end`:
 *
 *   Out TCP 127.0.0.1 REMOTE-PORT LOCAL-PORT KIND
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static void check(int result, const char *what) {
  if (result >= 0) return;
  perror(what);
  exit(1);
}

static socklen_t loopback(struct sockaddr_storage *into, const char *kind, int server) {
  memset(into, 0, sizeof *into);
  if (strstr(kind, "v4") != NULL) {
    struct sockaddr_in *v4 = (struct sockaddr_in *)into;
    v4->sin_family = AF_INET;
    v4->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return sizeof *v4;
  }
  struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)into;
  v6->sin6_family = AF_INET6;
  v6->sin6_addr = in6addr_loopback;
  if (strstr(kind, "mapped") != NULL) inet_pton(AF_INET6, server ? "::" : "::ffff:127.0.0.1", &v6->sin6_addr);
  return sizeof *v6;
}

static int port_of(const struct sockaddr_storage *address) {
  /* The port has the same offset in both structures. */
  return ntohs(((const struct sockaddr_in *)address)->sin_port);
}

static void say(const char *direction, const char *kind, int fd) {
  struct sockaddr_storage local = {0}, remote = {0};
  socklen_t local_size = sizeof local, remote_size = sizeof remote;
  check(getsockname(fd, (struct sockaddr *)&local, &local_size), "getsockname");
  check(getpeername(fd, (struct sockaddr *)&remote, &remote_size), "getpeername");
  printf("%s %s %s %d %d %s\n", direction, strstr(kind, "udp") != NULL ? "UDP" : "TCP",
         strstr(kind, "v6") != NULL ? "::1" : "127.0.0.1", port_of(&remote), port_of(&local), kind);
}

static int take(int server, const char *kind) {
  struct sockaddr_storage peer;
  socklen_t size = sizeof peer;
  if (strstr(kind, "noaddress") != NULL) return accept4(server, NULL, NULL, SOCK_CLOEXEC);
  if (strstr(kind, "accept4") != NULL) return accept4(server, (struct sockaddr *)&peer, &size, SOCK_CLOEXEC);
  return accept(server, (struct sockaddr *)&peer, &size);
}

static void over_unix(int count) {
  struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "\0vakt-test"};
  socklen_t size = sizeof(sa_family_t) + sizeof "\0vakt-test";
  int server = socket(AF_UNIX, SOCK_STREAM, 0);
  check(bind(server, (struct sockaddr *)&address, size), "bind");
  check(listen(server, 1), "listen");
  for (int index = 0; index < count; index += 1) {
    int client = socket(AF_UNIX, SOCK_STREAM, 0);
    check(connect(client, (struct sockaddr *)&address, size), "connect");
    close(accept(server, NULL, NULL));
    close(client);
  }
  close(server);
}

int main(int argc, char **argv) {
  if (argc < 4) return 2;
  int count = atoi(argv[1]), hold = atoi(argv[2]);
  for (int index = 3; index < argc; index += 1) {
    const char *kind = argv[index];
    if (strstr(kind, "unix") != NULL) {
      over_unix(count);
      continue;
    }
    struct sockaddr_storage address;
    socklen_t size = loopback(&address, kind, 1);
    int udp = strstr(kind, "udp") != NULL, off = 0;
    int server = socket(address.ss_family, udp ? SOCK_DGRAM : SOCK_STREAM, 0);
    check(server, "socket");
    setsockopt(server, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    check(bind(server, (struct sockaddr *)&address, size), "bind");
    struct sockaddr_storage bound;
    socklen_t bound_size = sizeof bound;
    check(getsockname(server, (struct sockaddr *)&bound, &bound_size), "getsockname");
    int refused = strstr(kind, "refused") != NULL;
    if (!udp && !refused) check(listen(server, 64), "listen");
    size = loopback(&address, kind, 0);
    ((struct sockaddr_in *)&address)->sin_port = ((struct sockaddr_in *)&bound)->sin_port;
    for (int made = 0; made < count; made += 1) {
      int flags = strstr(kind, "nonblock") != NULL ? SOCK_NONBLOCK : 0;
      int client = socket(address.ss_family, (udp ? SOCK_DGRAM : SOCK_STREAM) | flags | SOCK_CLOEXEC, 0);
      check(client, "socket");
      int result = connect(client, (struct sockaddr *)&address, size);
      if (refused) {
        if (result == 0 || errno != ECONNREFUSED) return 1;
        close(client);
        continue;
      }
      if (flags == 0) check(result, "connect");
      struct pollfd ready = {.fd = client, .events = POLLOUT};
      if (flags != 0) check(poll(&ready, 1, 10000), "poll");
      if (strstr(kind, "twice") != NULL) check(connect(client, (struct sockaddr *)&address, size), "connect");
      int taken = udp ? -1 : take(server, kind);
      if (!udp) check(taken, "accept");
      say("Out", kind, client);
      if (!udp) say("In", kind, taken);
      if (hold) continue;
      close(client);
      close(taken);
    }
    close(server);
  }
  printf("end\n");
  fflush(stdout);
  char byte;
  while (hold && read(0, &byte, 1) > 0) {
  }
  return 0;
}
