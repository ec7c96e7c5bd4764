/* Holds UDP sockets, like a user who floods the list of listening ports.
 *
 *   hold-sockets UID ADDRESS FIRST COUNT STEP
 *
 * binds COUNT sockets to ports FIRST, FIRST + STEP, ... of ADDRESS; after the last port, it continues with the next address.
 * Writes "ready" when all are bound, and waits for its standard input to end. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

int main(int argc, char **argv) {
  if (argc != 6) return 2;
  int uid = atoi(argv[1]), first = atoi(argv[3]), count = atoi(argv[4]), step = atoi(argv[5]);
  struct in_addr address;
  struct rlimit files;
  if (inet_pton(AF_INET, argv[2], &address) != 1) return 2;
  if (getrlimit(RLIMIT_NOFILE, &files) != 0) return perror("getrlimit"), 1;
  files.rlim_cur = files.rlim_max;
  if (setrlimit(RLIMIT_NOFILE, &files) != 0) return perror("setrlimit"), 1;
  if (setgid(uid) != 0 || setuid(uid) != 0) return perror("setuid"), 1;
  for (int done = 0, port = first; done < count; done++, port += step) {
    if (port > 65535) {
      port = first;
      address.s_addr = htonl(ntohl(address.s_addr) + 1);
    }
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = address};
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof at) != 0) return perror("bind"), 1;
  }
  puts("ready");
  fflush(stdout);
  getchar();
  return 0;
}
