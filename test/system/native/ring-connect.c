/*
 * Connects by io_uring, without liburing: ring-connect [sqpoll] [nonblock] [udp] ADDRESS PORT [COUNT]
 *
 * sqpoll: a kernel thread takes the requests, so that this program makes no system call for them. nonblock: the socket is
 * non-blocking. Prints `ready PID` and the result of each connect (0, or a negative errno); then waits for its input to end.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <linux/io_uring.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static struct io_uring_params parameters;
static int ring;
static unsigned char *submission, *completion;
static struct io_uring_sqe *entries;

static void fail(const char *what) {
  fprintf(stderr, "%s: %s\n", what, strerror(errno));
  exit(1);
}

static void *map(size_t length, off_t offset) {
  void *memory = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring, offset);
  if (memory == MAP_FAILED) fail("mmap");
  return memory;
}

static unsigned *at(unsigned char *base, unsigned offset) { return (unsigned *)(base + offset); }

static int request(int socket, const void *address, socklen_t length) {
  unsigned *tail = at(submission, parameters.sq_off.tail);
  unsigned index = *tail & *at(submission, parameters.sq_off.ring_mask);
  struct io_uring_sqe *entry = &entries[index];
  memset(entry, 0, sizeof *entry);
  entry->opcode = IORING_OP_CONNECT;
  entry->fd = socket;
  entry->addr = (unsigned long)address;
  entry->off = length;
  at(submission, parameters.sq_off.array)[index] = index;
  __atomic_store_n(tail, *tail + 1, __ATOMIC_RELEASE);
  if ((parameters.flags & IORING_SETUP_SQPOLL) == 0) {
    if (syscall(SYS_io_uring_enter, ring, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) < 0) fail("io_uring_enter");
  } else if (__atomic_load_n(at(submission, parameters.sq_off.flags), __ATOMIC_ACQUIRE) & IORING_SQ_NEED_WAKEUP) {
    if (syscall(SYS_io_uring_enter, ring, 1, 0, IORING_ENTER_SQ_WAKEUP, NULL, 0) < 0) fail("io_uring_enter");
  }
  unsigned *head = at(completion, parameters.cq_off.head);
  for (int tries = 0; *head == __atomic_load_n(at(completion, parameters.cq_off.tail), __ATOMIC_ACQUIRE); tries += 1) {
    if (tries == 5000) fail("no completion");
    poll(NULL, 0, 1);
  }
  struct io_uring_cqe *all = (struct io_uring_cqe *)(completion + parameters.cq_off.cqes);
  int result = all[*head & *at(completion, parameters.cq_off.ring_mask)].res;
  __atomic_store_n(head, *head + 1, __ATOMIC_RELEASE);
  return result;
}

int main(int count, char **words) {
  int flags = 0, type = SOCK_STREAM, next = 1;
  for (; next < count; next += 1) {
    if (strcmp(words[next], "sqpoll") == 0) parameters.flags |= IORING_SETUP_SQPOLL;
    else if (strcmp(words[next], "nonblock") == 0) flags |= SOCK_NONBLOCK;
    else if (strcmp(words[next], "udp") == 0) type = SOCK_DGRAM;
    else break;
  }
  if (count - next < 2) return 2;
  parameters.sq_thread_idle = 1000;
  ring = syscall(SYS_io_uring_setup, 8, &parameters);
  if (ring < 0) fail("io_uring_setup");
  submission = map(parameters.sq_off.array + parameters.sq_entries * sizeof(unsigned), IORING_OFF_SQ_RING);
  completion = map(parameters.cq_off.cqes + parameters.cq_entries * sizeof(struct io_uring_cqe), IORING_OFF_CQ_RING);
  entries = map(parameters.sq_entries * sizeof(struct io_uring_sqe), IORING_OFF_SQES);

  struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(atoi(words[next + 1]))};
  struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(atoi(words[next + 1]))};
  int is4 = inet_pton(AF_INET, words[next], &v4.sin_addr) == 1;
  if (!is4 && inet_pton(AF_INET6, words[next], &v6.sin6_addr) != 1) return 2;
  printf("ready %d\n", getpid());
  for (int left = next + 2 < count ? atoi(words[next + 2]) : 1; left > 0; left -= 1) {
    int end = socket(is4 ? AF_INET : AF_INET6, type | flags, 0);
    if (end < 0) fail("socket");
    printf("%d\n", is4 ? request(end, &v4, sizeof v4) : request(end, &v6, sizeof v6));
  }
  fflush(stdout);
  while (getchar() != EOF) continue;
  return 0;
}
