import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { describeCapabilities } from '../../../../src/agent/commands/check/access.ts';
import { checkAudit } from '../../../../src/agent/commands/check/audit.ts';
import { groupLimitOf } from '../../../../src/agent/commands/check/process.ts';
import { checkBudget, checkTaskLimit } from '../../../../src/agent/commands/check/resources.ts';
import { CWD } from '../../../../src/agent/linux/audit/reassembler.ts';
import { decodeRule, memoRule } from '../../../../src/agent/linux/audit/rules.ts';
import { skip } from '../../../harness/require.ts';
import { exclusionOf, TASK_NEVER, TASK_NEVER_OF_ONE } from '../../linux/audit/foreign-rule.ts';
import { assertFinding, CheckBench } from './bench.ts';

describe('vakt check: limits', () => {
  let bench: CheckBench;
  beforeEach(() => {
    bench = new CheckBench();
    bench.configure();
  });
  afterEach(() => bench.close());

  describe('open files', () => {
    it('check accepts the limit of open files', async () =>
      assertFinding(await bench.lookAt('open files'), 'ok', /allowed$/));

    it('check reports a limit of open files that is too low for the running agent', async () => {
      await bench.standIn('prlimit', '--nofile=64:64');
      assertFinding(await bench.lookAt('open files'), 'wrong', /^only 64 files may be open/, /LimitNOFILE=/);
    });
  });

  describe('capabilities', () => {
    it('check notes the capabilities that the running agent lacks', async function () {
      if (process.getuid?.() !== 0) skip(this, 'taking capabilities away takes root');
      await bench.standIn('setpriv', '--bounding-set=-sys_ptrace,-audit_control');
      const found = await bench.lookAt('capabilities');
      assertFinding(
        found,
        'note',
        /^the running agent lacks CAP_AUDIT_CONTROL \(program starts.*CAP_SYS_PTRACE/,
        /unit/,
      );
      assert.doesNotMatch(found.finding, /CAP_NET_ADMIN/);
    });

    it('check names the setting by which IoT Edge removes capabilities', () => {
      const [found] = describeCapabilities({ held: 0n, agent: {}, isEdge: true });
      assertFinding(found, 'note', /CAP_AUDIT_READ/, /config\.toml .*allow_elevated_docker_permissions = false/);
    });
  });

  describe('control groups', () => {
    const group = (name: string, file: string, value: string) => {
      mkdirSync(bench.path(name), { recursive: true });
      bench.write(`${name}/${file}`, `${value}\n`);
    };

    it('groupLimitOf returns the lowest limit of a group and its parents in cgroup version 2', () => {
      bench.write('cgroup', '0::/system.slice/vakt.service\n');
      group('groups/system.slice/vakt.service', 'memory.max', '67108864');
      group('groups/system.slice', 'memory.max', 'max');
      assert.equal(groupLimitOf(bench.folder, 'memory', bench.path('groups')), 67_108_864);
      group('groups/system.slice', 'memory.max', '50000000');
      assert.equal(groupLimitOf(bench.folder, 'memory', bench.path('groups')), 50_000_000);
      assert.equal(groupLimitOf(bench.folder, 'pids', bench.path('groups')), undefined);
    });

    it('groupLimitOf reads each controller from its own hierarchy in cgroup version 1', () => {
      bench.write('cgroup', '4:memory:/docker/1\n3:cpu,cpuacct:/\n2:pids:/docker/1\n');
      group('groups/memory/docker/1', 'memory.limit_in_bytes', '1000');
      group('groups/memory', 'memory.limit_in_bytes', '9223372036854771712');
      group('groups/pids/docker/1', 'pids.max', '5');
      assert.equal(groupLimitOf(bench.folder, 'memory', bench.path('groups')), 1_000);
      assert.equal(groupLimitOf(bench.folder, 'pids', bench.path('groups')), 5);
    });
  });

  it('check reports a memory budget above the limit of the control group or the machine', () => {
    const budget = (group: number | undefined, machine = 2 ** 32) => checkBudget(96, { group, machine });
    assertFinding(
      budget(64 * 2 ** 20),
      'wrong',
      /96 MB, but the limit of its control group is 64 MB/,
      /MemoryMax=.*memoryBudget/,
    );
    assertFinding(budget(undefined, 2 ** 26), 'wrong', /the machine has 64 MB/, /Lower/);
    assertFinding(budget(128 * 2 ** 20), 'ok', /96 MB, of 128 MB$/);
    assertFinding(budget(undefined), 'ok', /96 MB$/);
  });

  it('check reports a task limit that is too low', () => {
    assertFinding(checkTaskLimit(8), 'wrong', /limited to 8 threads/, /TasksMax=/);
    assertFinding(checkTaskLimit(64), 'ok', /^64 allowed$/);
  });

  describe('audit', () => {
    const status = { enabled: 1, failure: 1, pid: 7, backlogLimit: 8192, backlogWaitTime: 0, lost: 3 };
    const rule = (data: Buffer) => [decodeRule(data)].filter((decoded) => decoded !== undefined);
    const foreign = rule(exclusionOf(CWD));
    const ours = [...rule(memoRule('x')), ...foreign];

    it('check accepts a working audit, and reports its daemon, rules, backlog and lost records', () => {
      assertFinding(
        checkAudit(status, ours, 7)[0],
        'ok',
        /^on, the agent is its daemon, 2 rules \(1 of them the agent's\), backlog 8192, 3 records lost since boot$/,
      );
      assertFinding(checkAudit(status, ours)[0], 'ok', /its daemon is process 7/);
    });

    it('check reports a locked audit without the agent’s rules', () =>
      assertFinding(checkAudit({ ...status, enabled: 2 }, [])[0], 'wrong', /can't be added/, /auditctl -l/));

    it('check reports audit rules that a killed agent left', () => {
      const [found] = checkAudit({ ...status, pid: 0 }, ours, undefined, false);
      assertFinding(found, 'wrong', /left by an agent that was killed/, /: vakt remove-rules$/);
      assertFinding(checkAudit({ ...status, pid: 0 }, foreign, undefined, false)[0], 'ok', /0 of them/);
    });

    it('check accepts a locked audit with the agent’s rules', () =>
      assertFinding(checkAudit({ ...status, enabled: 2 }, ours)[0], 'ok', /^locked/));

    it('check reports audit rules of another program that hide processes', () => {
      const [all] = checkAudit(status, [...ours, ...rule(TASK_NEVER)], 7);
      assertFinding(
        all,
        'wrong',
        /^on, .* since boot\. Audit rules of another program hide all processes/,
        /augenrules/,
      );
      const [some] = checkAudit(status, [...ours, ...rule(TASK_NEVER_OF_ONE)], 7);
      assertFinding(some, 'note', /hide some processes/, /augenrules/);
    });

    it('check notes an audit that panics on failure', () =>
      assertFinding(checkAudit({ ...status, failure: 2 }, ours)[0], 'note', /panics/, /auditctl -f 1/));
  });
});
