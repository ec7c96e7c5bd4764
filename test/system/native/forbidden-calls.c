/*
 * forbidden-calls victim          prints its pid and the address of a string, and the string again for each line it reads
 * forbidden-calls try PID ADDRESS tries the calls of a compromised agent against that process; prints one line per call:
 *                                 its name and "done", an errno, or "signal N"
 *
 * Each call is made in its own child process, so that it does not affect the next one. The arguments make a call succeed if the
 * agent's capabilities allow it, and are otherwise harmless.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/bpf.h>
#include <linux/kcmp.h>
#include <linux/netlink.h>
#include <linux/perf_event.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

static pid_t victim;
static void *address;
static char buffer[] = "overwritten";
static struct iovec local = {buffer, sizeof buffer};
static struct iovec remote;

static struct file_handle *prepared;
static void prepare(void) {
  static struct { struct file_handle handle; char more[128]; } room;
  int mount;
  room.handle.handle_bytes = sizeof room.more;
  prepared = &room.handle;
  if (syscall(SYS_name_to_handle_at, AT_FDCWD, "/", prepared, &mount, 0) == 0) return;
  room.handle.handle_bytes = 8; /* a guess, as an attacker would make it */
  room.handle.handle_type = 1;
}

static long pidfd(void) { return syscall(SYS_pidfd_open, victim, 0); }

/* --- calls that the agent's capabilities allow without a filter --- */
static long try_process_vm_readv(void) { return syscall(SYS_process_vm_readv, victim, &local, 1, &remote, 1, 0); }
static long try_process_vm_writev(void) { return syscall(SYS_process_vm_writev, victim, &local, 1, &remote, 1, 0); }
static long try_ptrace(void) { return syscall(SYS_ptrace, PTRACE_SEIZE, victim, 0, 0); }
static long try_pidfd_getfd(void) { return syscall(SYS_pidfd_getfd, pidfd(), 1, 0); }
static long try_kcmp(void) { return syscall(SYS_kcmp, getpid(), victim, KCMP_VM, 0, 0); }
static long try_get_robust_list(void) {
  void *head;
  size_t length;
  return syscall(SYS_get_robust_list, victim, &head, &length);
}
static long try_userfaultfd(void) { return syscall(SYS_userfaultfd, O_CLOEXEC); } /* of kernel mode, too */
static long try_perf_event_open(void) {
  struct perf_event_attr event = {.type = PERF_TYPE_SOFTWARE, .size = sizeof event, .config = PERF_COUNT_SW_TASK_CLOCK};
  event.exclude_kernel = 1;
  return syscall(SYS_perf_event_open, &event, victim, -1, -1, 0);
}
static long try_open_by_handle_at(void) {
  return syscall(SYS_open_by_handle_at, open("/", O_RDONLY | O_DIRECTORY), prepared, O_RDONLY);
}
static long try_io_uring_setup(void) {
  static char parameters[256];
  return syscall(SYS_io_uring_setup, 1, parameters);
}
static long try_memfd_create(void) { return syscall(SYS_memfd_create, "x", 0); }
static long try_shmget(void) { return syscall(SYS_shmget, 0, 4096, 0600); }
static long try_add_key(void) { return syscall(SYS_add_key, "user", "x", "y", 1, -3); }
static long try_keyctl(void) { return syscall(SYS_keyctl, 0, -3, 1); }
static long try_unshare(void) { return syscall(SYS_unshare, CLONE_NEWUSER); }
static long try_clone_newuser(void) {
  long child = syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0);
  if (child == 0) _exit(0);
  return child;
}
static long try_personality(void) { return syscall(SYS_personality, 0x0400000); } /* READ_IMPLIES_EXEC */

/* --- calls that need more capabilities, rejected before the kernel checks them --- */
static long try_process_madvise(void) { return syscall(SYS_process_madvise, pidfd(), &remote, 1, 20, 0); }
static long try_process_mrelease(void) { return syscall(SYS_process_mrelease, pidfd(), 0); }
static long try_move_pages(void) { return syscall(SYS_move_pages, victim, 0, 0, 0, 0, 0); }
static long try_migrate_pages(void) { return syscall(SYS_migrate_pages, victim, 0, 0, 0); }
static long try_setns(void) { return syscall(SYS_setns, pidfd(), CLONE_NEWNET); }
static long try_bpf(void) {
  union bpf_attr map = {.map_type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = 4, .max_entries = 1};
  return syscall(SYS_bpf, BPF_MAP_CREATE, &map, sizeof map);
}
static long try_fanotify_init(void) { return syscall(SYS_fanotify_init, 0x200, O_RDONLY); }
static long try_mount(void) { return syscall(SYS_mount, "none", "/", "tmpfs", 0, 0); }
static long try_umount(void) { return syscall(SYS_umount2, "/nowhere", 0); }
static long try_open_tree(void) { return syscall(SYS_open_tree, AT_FDCWD, "/", 1); }
static long try_fsopen(void) { return syscall(SYS_fsopen, "tmpfs", 0); }
static long try_move_mount(void) { return syscall(SYS_move_mount, -1, "", -1, "", 0); }
static long try_pivot_root(void) { return syscall(SYS_pivot_root, "/nowhere", "/nowhere"); }
static long try_chroot(void) { return syscall(SYS_chroot, "/"); }
static long try_setuid(void) { return syscall(SYS_setresuid, 0, 0, 0); }
static long try_quotactl(void) { return syscall(SYS_quotactl, 0, 0, 0, 0); }
static long try_kexec_load(void) { return syscall(SYS_kexec_load, 0, 0, 0, 0); }
static long try_finit_module(void) { return syscall(SYS_finit_module, -1, "", 0); }
static long try_reboot(void) { return syscall(SYS_reboot, 0, 0, 0, 0); }
static long try_swapon(void) { return syscall(SYS_swapon, "/nowhere", 0); }
static long try_sethostname(void) { return syscall(SYS_sethostname, "", -1); }
static long try_clock_settime(void) { return syscall(SYS_clock_settime, 0, 0); }
static long try_syslog(void) { return syscall(SYS_syslog, 10, 0, 0); }
static long try_acct(void) { return syscall(SYS_acct, "/nowhere"); }
static long try_af_packet(void) { return syscall(SYS_socket, AF_PACKET, SOCK_DGRAM, 0); }
static long try_af_vsock(void) { return syscall(SYS_socket, AF_VSOCK, SOCK_STREAM, 0); }
static long try_af_alg(void) { return syscall(SYS_socket, AF_ALG, SOCK_SEQPACKET, 0); }
/* getpid by its number of another system-call table, which a filter by numbers alone allows. */
static long try_x32(void) {
#ifdef __x86_64__
  return syscall(0x40000000 + SYS_getpid);
#else
  errno = ENOSYS;
  return -1;
#endif
}
static long try_i386(void) {
#ifdef __x86_64__
  long result;
  __asm__ volatile("int $0x80" : "=a"(result) : "a"(20L) : "memory", "r8", "r9", "r10", "r11");
  if (result > 0) return 0;
  errno = (int)-result;
#else
  errno = ENOSYS;
#endif
  return -1;
}

/* --- actions that no system-call filter can reject, but file permissions must --- */
static char path[128];
static long open_of_victim(const char *file, int flags) {
  snprintf(path, sizeof path, "/proc/%d/%s", victim, file);
  return open(path, flags);
}
static long try_open_mem_to_write(void) { return open_of_victim("mem", O_RDWR); }
static long try_open_hosts_file_to_write(void) { return open_of_victim("root/etc/passwd", O_WRONLY); }
/* The third descriptor of the victim: anonymous memory in a world-writable file. */
static long try_open_memfd_to_write(void) { return open_of_victim("fd/3", O_RDWR); }
static long try_open_mem_to_read(void) { return open_of_victim("mem", O_RDONLY); }
static long try_open_core_pattern(void) { return open_of_victim("root/proc/sys/kernel/core_pattern", O_WRONLY); }
static long try_open_sysrq_trigger(void) { return open_of_victim("root/proc/sysrq-trigger", O_WRONLY); }

/* --- calls that the agent needs --- */
static long try_netlink_audit(void) { return socket(AF_NETLINK, SOCK_RAW, NETLINK_AUDIT); }
static long try_inet(void) { return socket(AF_INET, SOCK_STREAM, 0); }
static long try_unix(void) { return socket(AF_UNIX, SOCK_STREAM, 0); }
static long try_readlink_exe(void) {
  char target[256];
  snprintf(path, sizeof path, "/proc/%d/exe", victim);
  return readlink(path, target, sizeof target);
}
static long try_open_shadow(void) { return open("/etc/shadow", O_RDONLY); }
static long try_fork(void) {
  pid_t child = fork();
  if (child == 0) _exit(0);
  return child;
}

#define TRY(name) {#name, try_##name}
static const struct { const char *name; long (*try)(void); } CALLS[] = {
  TRY(process_vm_readv), TRY(process_vm_writev), TRY(ptrace), TRY(pidfd_getfd), TRY(kcmp), TRY(get_robust_list),
  TRY(userfaultfd), TRY(perf_event_open), TRY(open_by_handle_at), TRY(io_uring_setup), TRY(memfd_create), TRY(shmget),
  TRY(add_key), TRY(keyctl), TRY(unshare), TRY(clone_newuser), TRY(personality), TRY(process_madvise),
  TRY(process_mrelease), TRY(move_pages), TRY(migrate_pages), TRY(setns), TRY(bpf), TRY(fanotify_init), TRY(mount),
  TRY(umount), TRY(open_tree), TRY(fsopen), TRY(move_mount), TRY(pivot_root), TRY(chroot), TRY(setuid), TRY(quotactl),
  TRY(kexec_load), TRY(finit_module), TRY(reboot), TRY(swapon), TRY(sethostname), TRY(clock_settime), TRY(syslog),
  TRY(acct), TRY(af_packet), TRY(af_vsock), TRY(af_alg), TRY(x32), TRY(i386), TRY(open_mem_to_write),
  TRY(open_hosts_file_to_write), TRY(open_core_pattern), TRY(open_sysrq_trigger), TRY(open_mem_to_read),
  TRY(open_memfd_to_write), TRY(netlink_audit), TRY(inet),
  TRY(unix), TRY(readlink_exe), TRY(open_shadow), TRY(fork),
};

static int be_victim(void) {
  static char text[64] = "as it was";
  char line[16];
  if (dup2(syscall(SYS_memfd_create, "victim", 0), 3) != 3) return 1;
  printf("%d %p\n", getpid(), (void *)text);
  fflush(stdout);
  while (fgets(line, sizeof line, stdin) != NULL) {
    puts(text);
    fflush(stdout);
  }
  return 0;
}

int main(int count, char **arguments) {
  if (count == 2 && strcmp(arguments[1], "victim") == 0) return be_victim();
  if (count != 4 || strcmp(arguments[1], "try") != 0) return 2;
  victim = atoi(arguments[2]);
  address = (void *)strtoul(arguments[3], NULL, 16);
  remote = (struct iovec){address, sizeof buffer};
  prepare();
  for (size_t i = 0; i < sizeof CALLS / sizeof *CALLS; i += 1) {
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
      errno = 0;
      long result = CALLS[i].try();
      int error = errno;
      if (result >= 0) printf("%s done\n", CALLS[i].name);
      else printf("%s %d\n", CALLS[i].name, error);
      fflush(stdout);
      _exit(0);
    }
    int status;
    if (child < 0 || waitpid(child, &status, 0) < 0) return 1;
    if (WIFSIGNALED(status)) printf("%s signal %d\n", CALLS[i].name, WTERMSIG(status));
  }
  return 0;
}
