import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { chmodSync, copyFileSync, mkdtempSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { findTool } from '../../src/agent/host/run-tool.ts';
import { type Profile, type Rule, rulesOfProfile, rulesOfUnit } from '../agent/config/system-call-filter.ts';
import { suiteFolder } from '../harness/folders.ts';
import { require } from '../harness/require.ts';
import { TOP } from '../harness/top.ts';
import { NODE_FLAGS } from '../node-flags.ts';
import { buildNative, UnderFilter } from './under-filter.ts';

/** An errno that the kernel never returns: it proves that the filter rejected the call. */
const FILTERED = 999;
const [EACCES, SIGSYS] = [13, 31];

/** Calls that a compromised agent could make with its five capabilities. */
const OPENED = ['process_vm_readv', 'process_vm_writev', 'ptrace', 'pidfd_getfd', 'open_by_handle_at'];
/** Such calls that older kernels lack. */
const MOSTLY_OPENED = [
  ...['kcmp', 'get_robust_list', 'userfaultfd', 'perf_event_open', 'move_pages', 'migrate_pages', 'io_uring_setup'],
  ...['memfd_create', 'shmget', 'add_key', 'keyctl', 'unshare', 'clone_newuser', 'personality', 'fanotify_init'],
];
/** Calls that need further capabilities, and that the filter rejects before the kernel checks these. */
const CLOSED_ANYWAY = [
  ...['process_madvise', 'process_mrelease', 'setns', 'bpf', 'mount', 'umount', 'open_tree', 'fsopen', 'move_mount'],
  ...['pivot_root', 'chroot', 'quotactl', 'kexec_load', 'finit_module', 'reboot', 'swapon', 'sethostname'],
  ...['clock_settime', 'syslog', 'acct', 'af_packet', 'af_vsock', 'af_alg'],
];
/** Calls of another system-call table: a filter by numbers cannot match them, so the process is killed. */
const FOREIGN = ['x32', 'i386'];
/** Actions that a system-call filter cannot see, and that file permissions prevent. */
const BY_PERMISSIONS = ['open_mem_to_write', 'open_hosts_file_to_write', 'open_core_pattern'];
/** Calls that SECURITY.md lists as still open to a compromised agent. */
const STAYS_OPEN = ['open_mem_to_read', 'open_memfd_to_write', 'readlink_exe', 'open_shadow'];
const NEEDED = ['netlink_audit', 'inet', 'unix', 'fork'];

/** The tests may lack the audit capabilities, which none of these calls need. */
const isAvailable = (capability: string) => !capability.startsWith('cap_audit_') || AUDIT_CAPABILITIES;
/** CAP_AUDIT_CONTROL, 30, and CAP_AUDIT_READ, 37. */
const BOTH = (1n << 30n) | (1n << 37n);
const AUDIT_CAPABILITIES =
  (BigInt(`0x${/^CapBnd:\s*(\w+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '0'}`) & BOTH) === BOTH;

/** A process of root, and the content of its memory. */
class Victim {
  readonly #process: ChildProcess;
  readonly #lines: AsyncIterator<string>;
  pid = '';
  address = '';

  constructor(program: string) {
    this.#process = spawn(program, ['victim'], { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#lines = createInterface({ input: this.#process.stdout as NodeJS.ReadableStream })[Symbol.asyncIterator]();
  }

  async ready(): Promise<void> {
    [this.pid = '', this.address = ''] = (await this.#next()).split(' ');
  }

  async text(): Promise<string> {
    this.#process.stdin?.write('\n');
    return this.#next();
  }

  async #next(): Promise<string> {
    const { value, done } = await this.#lines.next();
    if (done === true) throw new Error('the victim has ended');
    return value;
  }

  end(): void {
    this.#process.kill('SIGKILL');
  }
}

/** Runs with the agent's user id and capabilities in the service and the container. */
describe('A compromised agent', () => {
  let folder: string;
  let underFilter: UnderFilter;
  let victim: Victim;
  const unit = readFileSync(join(TOP, 'config/vakt.service'), 'utf8');
  const profile = JSON.parse(readFileSync(join(TOP, 'config/seccomp.json'), 'utf8')) as Profile;

  before(function () {
    require(this, process.getuid?.() === 0 ? undefined : 'this is not root');
    for (const tool of ['setpriv', 'systemd-analyze']) {
      require(this, findTool(tool) === undefined ? `there is no ${tool}` : undefined);
    }
    require(this, UnderFilter.missing());
    folder = suiteFolder();
    chmodSync(folder, 0o755);
    buildNative('forbidden-calls', folder);
    underFilter = new UnderFilter();
  });
  beforeEach(async () => {
    victim = new Victim(join(folder, 'forbidden-calls'));
    await victim.ready();
  });
  afterEach(() => victim?.end());

  const asAgent = (command: readonly string[]) => {
    const granted = /^AmbientCapabilities=(.*)$/m.exec(unit)?.[1]?.toLowerCase().split(' ') ?? [];
    const capabilities = ['-all', ...granted.filter(isAvailable).map((name) => name.replace('cap_', '+'))].join(',');
    const identity = ['--reuid=10001', '--regid=10001', '--clear-groups', '--no-new-privs'];
    const sets = ['bounding-set', 'inh-caps', 'ambient-caps'].map((name) => `--${name}=${capabilities}`);
    const { status, stdout, stderr } = spawnSync('setpriv', [...identity, ...sets, ...command], { encoding: 'utf8' });
    assert.equal(status, 0, stdout + stderr);
    return stdout;
  };
  const tryAll = (rules?: readonly Rule[]) => {
    const program = [join(folder, 'forbidden-calls'), 'try', victim.pid, victim.address];
    const lines = asAgent([...(rules === undefined ? [] : underFilter.by(rules)), ...program])
      .trim()
      .split('\n');
    const outcomes = new Map(
      lines.map((line) => [line.slice(0, line.indexOf(' ')), line.slice(line.indexOf(' ') + 1)]),
    );
    return (names: readonly string[]) => Object.fromEntries(names.map((name) => [name, outcomes.get(name)]));
  };
  const all = (names: readonly string[], outcome: string | number) =>
    Object.fromEntries(names.map((name) => [name, String(outcome)]));

  it('can overwrite the memory of a root process without a filter', async () => {
    const outcomes = tryAll();
    assert.equal(await victim.text(), 'overwritten');
    assert.deepEqual(outcomes(OPENED), all(OPENED, 'done'));
    const tried = [...MOSTLY_OPENED, ...CLOSED_ANYWAY, 'setuid'];
    for (const [name, outcome] of Object.entries(outcomes(tried))) {
      assert.ok(outcome !== undefined && outcome !== String(FILTERED), `${name}: ${outcome}`);
    }
    assert.equal(outcomes(['setuid']).setuid, '1', 'it can become root');
    assert.deepEqual(outcomes(BY_PERMISSIONS), all(BY_PERMISSIONS, EACCES));
  });

  const filters: Readonly<Record<string, () => readonly Rule[]>> = {
    'as a service of systemd': () => rulesOfUnit(unit, FILTERED),
    'in a container': () => rulesOfProfile(profile, FILTERED),
  };
  for (const [where, rules] of Object.entries(filters)) {
    it(`can make none of these calls ${where}`, async () => {
      const outcomes = tryAll(rules());
      assert.equal(await victim.text(), 'as it was');
      const refused = [...OPENED, ...MOSTLY_OPENED, ...CLOSED_ANYWAY];
      assert.deepEqual(outcomes(refused), all(refused, FILTERED));
      if (process.arch === 'x64') assert.deepEqual(outcomes(FOREIGN), all(FOREIGN, `signal ${SIGSYS}`));
      assert.deepEqual(outcomes(BY_PERMISSIONS), all(BY_PERMISSIONS, EACCES));
      assert.match(outcomes(['setuid']).setuid ?? '', /^(?:1|999)$/);
      const open = [...STAYS_OPEN, ...NEEDED];
      assert.deepEqual(outcomes(open), all(open, 'done'));
    });

    it(`detects whether it runs under a filter ${where}`, () => {
      const module = new URL('../../src/agent/linux/self/system-call-filter.js', import.meta.url).pathname;
      const script = `import { isMemoryAccessFiltered } from '${module}'; process.stdout.write(String(isMemoryAccessFiltered()));`;
      const node = [process.execPath, '--input-type=module', '-e', script];
      const under = (rules_: readonly Rule[]) => {
        const [program = '', ...args] = [...underFilter.by(rules_), ...node];
        return spawnSync(program, args, { encoding: 'utf8' }).stdout;
      };
      assert.equal(under(rules()), 'true');
      assert.equal(under([...rules(), 'allow process_vm_readv']), 'false');
    });

    it(`can make the calls that the agent needs ${where}`, () => {
      copyFileSync(process.execPath, join(folder, 'node'));
      const script = `
        const { spawn } = require('node:child_process');
        const net = require('node:net');
        const { fsyncSync, openSync, writeFileSync } = require('node:fs');
        writeFileSync(process.argv[1] + '/x', 'x');
        fsyncSync(openSync(process.argv[1] + '/x'));
        require('node:zlib').deflateSync(Buffer.alloc(1e5));
        require('node:fs').readFile('/proc/1/status', () => require('node:dns').lookup('localhost', () => {
          const server = net.createServer((socket) => socket.end('x')).listen(0, '127.0.0.1', () => {
            net.connect(server.address().port).on('data', () => {
              server.close();
              const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1e6); console.log(1)']);
              child.stdout.once('data', () => child.kill('SIGKILL'));
              child.once('exit', (_, signal) => process.stdout.write(signal));
            });
          });
        }));`;
      const writable = mkdtempSync(join(folder, 'state-'));
      chmodSync(writable, 0o777);
      const node = [join(folder, 'node'), ...NODE_FLAGS, '-e', script, writable];
      assert.equal(asAgent([...underFilter.by(rules()), ...node]), 'SIGKILL');
    });
  }
});
