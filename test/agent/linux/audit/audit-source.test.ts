import assert from 'node:assert/strict';
import { pino } from 'pino';
import sinon from 'sinon';
import { AuditSource } from '../../../../src/agent/linux/audit/audit-source.ts';
import { CWD, EOE, EXECVE, SYSCALL } from '../../../../src/agent/linux/audit/reassembler.ts';
import { decodeRule, isNever } from '../../../../src/agent/linux/audit/rules.ts';
import type { ProcessConnector } from '../../../../src/agent/linux/processes/connector/connector.ts';
import { ExcludedStarts } from '../../../../src/agent/linux/streams/excluded-starts.ts';
import { systemClock } from '../../../../src/core/base/clock.ts';
import type { AgentError } from '../../../../src/core/base/errors.ts';
import type { AuditFlood } from '../../../../src/core/contract/streams.ts';
import { FakeKernel } from './fake-kernel.ts';
import { exclusionOf, TASK_NEVER, TASK_NEVER_OF_ONE } from './foreign-rule.ts';

const NO_STARTS = { read: () => false, takeDropped: () => 0, close: () => {} } as unknown as ProcessConnector;

describe('AuditSource', () => {
  let time: sinon.SinonFakeTimers;
  let kernel: FakeKernel;
  /** Whether the agent is in the first network namespace. */
  let isInFirst: boolean;
  let lost: number;
  let failure: AgentError | undefined;
  let changed: sinon.SinonSpy;
  let foundTaskRule: boolean[];
  let floods: AuditFlood[];
  let source: AuditSource;

  beforeEach(() => {
    time = sinon.useFakeTimers({ now: new Date('2026-01-01') });
    kernel = new FakeKernel();
    isInFirst = true;
    lost = 0;
    failure = undefined;
    changed = sinon.spy();
    foundTaskRule = [];
    floods = [];
    source = create();
  });

  const create = ({
    yieldsToAgent = false,
    syscalls = ['execve'] as readonly string[],
    failing = [] as readonly string[],
    backlogWait = false,
  } = {}) =>
    new AuditSource(
      {
        rules: () => [
          { syscalls, where: { success: 1 } },
          { syscalls: failing, where: { success: 0 } },
        ],
        yieldsToAgent,
        backlogWait,
        flooded: (flood) => floods.push(flood),
        countStarts: () => new ExcludedStarts(systemClock, () => NO_STARTS),
        sink: { accept: () => {}, lost: (count) => (lost += count) },
        clock: systemClock,
        log: pino({ level: 'silent' }),
        changed,
        foundTaskRule: (isThere) => foundTaskRule.push(isThere),
        onLost: (reason) => (failure = reason),
      },
      { openSocket: kernel.open, mayListen: () => isInFirst, isAgent: () => true },
    );

  afterEach(async () => {
    await during(source.close());
    time.restore();
  });

  /** Lets time go by until it is done. */
  async function during(work: Promise<unknown>): Promise<void> {
    let isOver = false;
    const done = work.finally(() => (isOver = true));
    done.catch(() => {});
    for (let turn = 0; turn < 1_000 && !isOver; turn += 1) await time.tickAsync(10);
    await done;
  }

  it('acquires the audit slot when it is free', async () => {
    await during(source.open());
    assert.deepEqual(source.status(), { state: 'on', source: 'auditUnicast' });
    assert.equal(kernel.pid, process.pid);
    await during(source.close());
    assert.equal(kernel.pid, 0);
    assert.deepEqual(kernel.rules, []);
  });

  it('restores rules that were removed without a record within 40 seconds', async () => {
    await during(source.open());
    const { rules } = kernel;
    await time.tickAsync(2_500);
    kernel.rules = []; // without a record of the change
    await time.tickAsync(1_500);
    assert.deepEqual(kernel.rules, []);
    await time.tickAsync(35_000);
    assert.deepEqual(kernel.rules, rules);
  });

  it('lets programs wait for the backlog only on request, and restores the setting on close', async () => {
    kernel.backlogWaitTime = 15_000;
    await during(source.open());
    assert.equal(kernel.backlogWaitTime, 0);
    await during(source.close());
    assert.equal(kernel.backlogWaitTime, 15_000);
    source = create({ backlogWait: true });
    await during(source.open());
    assert.equal(kernel.backlogWaitTime, 50);
    await during(source.close());
    assert.equal(kernel.backlogWaitTime, 15_000);
  });

  it("puts rules that exclude a flooding user's starts before all others, and removes them on close", async () => {
    const exclusions = () => kernel.rules.map((rule) => decodeRule(rule)).map((rule) => rule?.ours && isNever(rule));
    await during(source.open());
    for (let start = 0; start < 1_000; start += 1)
      kernel.record(
        [
          SYSCALL,
          'arch=c000003e syscall=59 success=yes exit=0 ppid=1 pid=7 auid=2001 uid=2001 euid=2001 exe="/bin/true"',
        ],
        [EXECVE, 'argc=1 a0="/bin/true"'],
        [CWD, 'cwd="/"'],
      );
    kernel.backlog = 7_000;
    await time.tickAsync(3_000);
    assert.deepEqual([...new Set(exclusions())], [true, false]);
    assert.deepEqual(exclusions().slice(0, 1), [true]);
    assert.equal(source.status().state, 'degraded');
    assert.deepEqual(
      floods.map(({ userId }) => userId),
      [2_001],
    );
    await during(source.close());
    assert.deepEqual(kernel.rules, []);
  });

  describe('with locked rules', () => {
    const isPrinted = (rule: Buffer) => decodeRule(rule)?.key === 'vakt';

    it('rejects the start and explains how to add the rules if its own are missing', async () => {
      kernel.enabled = 2;
      await assert.rejects(during(source.open()), {
        id: 'AUDIT_UNAVAILABLE',
        remedy: /grep key=vakt\$.*, before "-e 2"/,
      });
    });

    it('accepts rules with its key that it set earlier', async () => {
      await during(source.open());
      const rules = kernel.rules.filter(isPrinted);
      await during(source.close());
      kernel.rules = rules;
      kernel.enabled = 2;
      await during(source.open());
      assert.equal(source.status().state, 'on');
    });
  });

  describe('alongside another audit daemon', () => {
    const OTHER = process.ppid;

    it('listens as a multicast listener', async () => {
      kernel.pid = OTHER;
      await during(source.open());
      assert.equal(source.status().source, 'auditMulticast');
    });

    it('fails if a listener receives nothing', async () => {
      kernel.pid = OTHER;
      isInFirst = false;
      await assert.rejects(during(source.open()), { id: 'AUDIT_UNAVAILABLE', remedy: /--network=host/ });
      assert.deepEqual(kernel.rules, []);
    });

    it('yields the slot to the other daemon and continues as a listener', async () => {
      await during(source.open());
      kernel.request(OTHER);
      await time.tickAsync(2_000);
      assert.equal(kernel.pid, 0);
      assert.equal(source.status().source, 'auditMulticast');
    });

    it('yields the slot even if a listener receives nothing, and reports the source as lost', async () => {
      isInFirst = false;
      await during(source.open());
      assert.equal(source.status().source, 'auditUnicast');
      kernel.request(OTHER);
      await time.tickAsync(2_000);
      assert.equal(kernel.pid, 0);
      assert.equal(failure?.id, 'AUDIT_UNAVAILABLE');
    });
  });

  describe('in a command alongside another agent', () => {
    beforeEach(async () => startOther(source));

    /** As another agent has them while it runs. */
    async function startOther(agent: AuditSource): Promise<void> {
      kernel.pid = 0;
      await during(agent.open());
      const rules = [...kernel.rules];
      await during(agent.close());
      kernel.rules = rules;
      kernel.pid = process.ppid;
    }

    it("listens with the agent's rules, and does not change rules, settings or slot", async () => {
      const before = [...kernel.rules];
      const changes = kernel.changes;
      const command = create({ yieldsToAgent: true });
      await during(command.open());
      assert.equal(command.status().source, 'auditMulticast');
      await time.tickAsync(60_000);
      await during(command.close());
      assert.deepEqual([kernel.rules, kernel.pid], [before, process.ppid]);
      assert.equal(kernel.changes, changes);
    });

    it("reports degraded if the agent's rules omit events that the command follows", async () => {
      const command = create({ yieldsToAgent: true, syscalls: ['execve', 'accept'] });
      await during(command.open());
      assert.match(command.status().reason ?? '', /leave out some of these events/);
      assert.equal(command.status().state, 'degraded');
      await during(command.close());
    });

    it('accepts an agent that follows more events', async () => {
      await startOther(create({ syscalls: ['execve', 'accept'] }));
      const command = create({ yieldsToAgent: true });
      await during(command.open());
      assert.equal(command.status().state, 'on');
      await during(command.close());
    });

    it('sets its own rules and takes the slot once the agent has stopped', async () => {
      const command = create({ yieldsToAgent: true });
      await during(command.open());
      kernel.pid = 0;
      kernel.change([]);
      await time.tickAsync(20_000);
      assert.deepEqual([command.status().state, kernel.rules], ['degraded', []]);
      await time.tickAsync(70_000);
      assert.deepEqual([command.status().state, kernel.pid], ['on', process.pid]);
      await during(command.close());
      assert.deepEqual([kernel.rules, kernel.pid], [[], 0]);
    });

    it('leaves the rules and the slot to the agent when the agent is restarted', async () => {
      const command = create({ yieldsToAgent: true });
      await during(command.open());
      const rules = kernel.rules;
      kernel.pid = 0;
      kernel.change([]);
      await time.tickAsync(20_000);
      kernel.pid = process.ppid;
      kernel.change(rules);
      const changes = kernel.changes;
      await time.tickAsync(60_000);
      assert.equal(command.status().state, 'on');
      kernel.change([]);
      await time.tickAsync(20_000);
      await during(command.close());
      assert.deepEqual([kernel.rules, kernel.changes], [[], changes]);
    });

    it('lets a second agent take the slot, unlike a command', async () => {
      const agent = create();
      await during(agent.open());
      await during(agent.close());
      assert.deepEqual(kernel.rules, []);
    });
  });

  it('leaves rules, settings and slot of a command to an agent that starts later', async () => {
    const command = create({ yieldsToAgent: true });
    await during(command.open());
    const before = [...kernel.rules];
    kernel.request(process.ppid);
    await time.tickAsync(2_000);
    assert.equal(kernel.pid, 0);
    kernel.pid = process.ppid;
    const changes = kernel.changes;
    await time.tickAsync(60_000);
    await during(command.close());
    assert.deepEqual([kernel.rules, kernel.pid, kernel.changes], [before, process.ppid, changes]);
  });

  describe('in a command alongside another audit daemon', () => {
    const AGENT = { syscalls: ['execve', 'connect'] };
    let command: AuditSource;

    const startCommand = async (wanted: Parameters<typeof create>[0] = {}) => {
      kernel.pid = process.ppid;
      command = create({ yieldsToAgent: true, ...wanted });
      await during(command.open());
    };
    const rules = () => kernel.rules.map((rule) => rule.toString('hex'));

    it('sets its own rules and removes them on close', async () => {
      await startCommand();
      assert.notEqual(kernel.rules.length, 0);
      kernel.change([]); // by an administrator
      await time.tickAsync(2_000);
      assert.notEqual(kernel.rules.length, 0);
      await during(command.close());
      assert.deepEqual(kernel.rules, []);
    });

    it('restores a rule that an administrator removed, and removes all rules on close', async () => {
      await startCommand({ failing: ['accept'] });
      const own = rules().sort();
      assert.ok(own.length > 1);
      kernel.change(kernel.rules.slice(1));
      await time.tickAsync(2_000);
      assert.deepEqual([rules().sort(), command.status().state], [own, 'on']);
      await during(command.close());
      assert.deepEqual(kernel.rules, []);
    });

    for (const [what, own] of [
      ['the same', AGENT],
      ['more', { syscalls: ['execve'] }],
      ['something else', { syscalls: ['accept'] }],
      ['less', { ...AGENT, failing: ['accept'] }],
    ] as const) {
      it(`leaves its rules to an agent that starts later and requests ${what}`, async () => {
        await startCommand(own);
        const agent = create(AGENT);
        await during(agent.open());
        const before = [rules(), kernel.changes];
        await time.tickAsync(120_000);
        await during(command.close());
        await time.tickAsync(60_000);
        assert.deepEqual([rules(), kernel.changes], before);
        await during(agent.close());
        assert.deepEqual(kernel.rules, []);
      });
    }

    it('sets its rules again after an agent that started later has stopped', async () => {
      await startCommand({ syscalls: ['accept'] });
      const agent = create(AGENT);
      const own = rules();
      await during(agent.open());
      await time.tickAsync(60_000);
      assert.match(command.status().reason ?? '', /leave out some of these events/);
      await during(agent.close());
      await time.tickAsync(70_000);
      assert.equal(command.status().state, 'on');
      assert.deepEqual(rules(), own);
      await during(command.close());
      assert.deepEqual(rules(), []);
    });

    it('leaves its rules to an agent that starts while the command closes', async () => {
      await startCommand();
      const agent = create(AGENT);
      await during(agent.open());
      const before = rules();
      await during(command.close());
      assert.deepEqual(rules(), before);
      await during(agent.close());
    });
  });

  it('acquires the slot in a command that runs alone, and restores everything on close', async () => {
    const command = create({ yieldsToAgent: true });
    await during(command.open());
    assert.equal(command.status().source, 'auditUnicast');
    await during(command.close());
    assert.deepEqual([kernel.rules, kernel.pid], [[], 0]);
  });

  describe('with audit rules of other programs', () => {
    it('rejects the start and changes nothing if they hide all processes', async () => {
      kernel.rules = [TASK_NEVER];
      await assert.rejects(during(source.open()), { id: 'AUDIT_UNAVAILABLE', message: /never,task/ });
      assert.equal(kernel.changes, 0);
      assert.deepEqual(foundTaskRule, [true]);
    });

    it('reports the source as lost when a rule is added that hides all processes', async () => {
      await during(source.open());
      kernel.change([...kernel.rules, TASK_NEVER]);
      await time.tickAsync(2_000);
      assert.equal(failure?.id, 'AUDIT_UNAVAILABLE');
      await during(source.close());
      assert.deepEqual(kernel.rules, [TASK_NEVER]);
    });

    it('reports degraded while they hide some processes', async () => {
      kernel.rules = [TASK_NEVER_OF_ONE];
      await during(source.open());
      const { state, source: from, reason } = source.status();
      assert.deepEqual([state, from], ['degraded', 'auditUnicast']);
      assert.match(reason ?? '', /hide some processes .* Find them with/);
      assert.deepEqual(new Set(foundTaskRule), new Set([true]));
      changed.resetHistory();
      kernel.change(kernel.rules.filter((rule) => rule !== TASK_NEVER_OF_ONE));
      await time.tickAsync(2_000);
      assert.equal(source.status().state, 'on');
      assert.equal(foundTaskRule.at(-1), false);
      sinon.assert.calledOnce(changed);
    });

    it('counts all kernel losses while they exclude the directories of starts', async () => {
      kernel.rules = [exclusionOf(CWD)];
      await during(source.open());
      for (let start = 0; start < 500; start += 1) {
        kernel.record(
          [SYSCALL, 'arch=c000003e syscall=59 success=yes exit=0 pid=2 exe="/bin/x"'],
          [EXECVE, 'argc=1 a0="x"'],
          [EOE, ''],
        );
      }
      kernel.lost = 400;
      await time.tickAsync(10_000);
      assert.equal(lost, 400);
    });
  });
});
