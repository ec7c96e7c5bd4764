/*
 * Does the least that a program must do to read the kernel's audit records: registers as the audit daemon and receives. Reads
 * only the type of each record. Prints `open` once it is registered; at SIGTERM, the number of records, of EXECVE records (one
 * per start), and of overruns of its buffer.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/audit.h>
#include <linux/netlink.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static volatile sig_atomic_t ended;
static void end(int signal) { ended = signal; }

int main(void) {
  int socket_ = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_AUDIT);
  struct sockaddr_nl address = {.nl_family = AF_NETLINK};
  int room = 8 * 1024 * 1024;
  struct sigaction action = {.sa_handler = end}; /* without SA_RESTART: recv() returns */
  struct {
    struct nlmsghdr header;
    struct audit_status status;
  } request;
  char buffer[16 * 1024];
  long records = 0, starts = 0, overruns = 0;

  sigaction(SIGTERM, &action, NULL);
  if (socket_ < 0 || bind(socket_, (struct sockaddr *)&address, sizeof address) != 0) return 1;
  setsockopt(socket_, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room);
  memset(&request, 0, sizeof request);
  request.header.nlmsg_len = sizeof request;
  request.header.nlmsg_type = AUDIT_SET;
  request.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
  request.status.mask = AUDIT_STATUS_PID;
  request.status.pid = getpid();
  if (send(socket_, &request, sizeof request, 0) < 0) return 1;
  while (!ended) {
    ssize_t length = recv(socket_, buffer, sizeof buffer, 0);
    if (length < 0) {
      if (errno == ENOBUFS) overruns += 1;
      else if (errno != EINTR) return 1;
      continue;
    }
    struct nlmsghdr *header = (struct nlmsghdr *)buffer;
    if (header->nlmsg_type == NLMSG_ERROR) {
      if (((struct nlmsgerr *)NLMSG_DATA(header))->error != 0) return 1;
      puts("open");
      fflush(stdout);
      continue;
    }
    records += 1;
    if (header->nlmsg_type == AUDIT_EXECVE) starts += 1;
  }
  printf("%ld %ld %ld\n", records, starts, overruns);
  return 0;
}
