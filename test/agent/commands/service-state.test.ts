import assert from 'node:assert/strict';
import { chmodSync, chownSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { runningAgent } from '../../../src/agent/commands/check/running-agent.ts';
import type { Situation } from '../../../src/agent/commands/check/situation.ts';
import { refuseForeignState } from '../../../src/agent/commands/foreign-state.ts';
import { explainService, withService } from '../../../src/agent/commands/service-state.ts';
import { askServiceUnit, type ServiceUnit } from '../../../src/agent/linux/self/service-unit.ts';
import { AgentError } from '../../../src/core/base/errors.ts';
import { temporaryFolder } from '../../harness/folders.ts';
import { skip } from '../../harness/require.ts';

const STOPPED: ServiceUnit = {
  LoadState: 'loaded',
  ActiveState: 'inactive',
  SubState: 'dead',
  Result: 'success',
  StatusText: 'Stopping: sends what it can in ten seconds.',
  ExecMainStatus: '0',
  NRestarts: '0',
  UnitFileState: 'enabled',
  User: 'vakt',
};
const TEXT = 'Local Configuration, Cant Parse Configuration: agent.json is not valid. Correct it. (CONFIG_INVALID)';
const FAILED = {
  ...STOPPED,
  ActiveState: 'failed',
  SubState: 'failed',
  Result: 'exit-code',
  ExecMainStatus: '78',
  StatusText: TEXT,
};
const { signal } = new AbortController();

describe('A service that does not answer', () => {
  const remedy = (change: Partial<ServiceUnit>) => explainService({ ...STOPPED, ...change }).remedy;

  it('explainService names the command that starts a stopped service', () => {
    assert.deepEqual(explainService(STOPPED), {
      isBroken: false,
      problem: 'the service vakt is stopped',
      remedy: 'Run: systemctl start vakt',
    });
    assert.match(remedy({ UnitFileState: 'disabled' }), /^Run: systemctl start vakt .*systemctl enable vakt/);
    assert.match(remedy({ LoadState: 'masked', UnitFileState: 'masked' }), /systemctl unmask vakt && systemctl start/);
  });

  it('explainService reports the error of the failed run, but not of an earlier run', () => {
    const { isBroken, problem, remedy } = explainService(FAILED);
    assert.equal(isBroken, true);
    assert.equal(problem, `the service vakt has failed (exit status 78): ${TEXT}`);
    assert.equal(remedy, 'Fix that, then run: systemctl start vakt');
    const killed = explainService({ ...FAILED, Result: 'watchdog', StatusText: 'Running, connected to the hub.' });
    assert.equal(killed.problem, 'the service vakt has failed (watchdog)');
    assert.match(killed.remedy, /journalctl -u vakt/);
  });

  it('explainService reports a service that fails and restarts repeatedly', () => {
    const { isBroken, problem } = explainService({
      ...FAILED,
      ActiveState: 'activating',
      SubState: 'auto-restart',
      NRestarts: '7',
    });
    assert.equal(isBroken, true);
    assert.match(
      problem,
      /^the service vakt exited with status 78 \(exit-code\) and is being restarted, restart number 7: Local/,
    );
  });

  it('withService adds the state of the service to an error', () => {
    const error = new AgentError('AGENT_NOT_RUNNING', 'no agent answers at /x: ENOENT', 'Start it.');
    assert.equal(withService(error, undefined), error);
    const told = withService(error, STOPPED);
    assert.equal(told.message, 'no agent answers at /x: ENOENT; the service vakt is stopped');
    assert.equal(told.remedy, 'Run: systemctl start vakt');
  });

  it('check reports a failed service as wrong, and a stopped service as a note', async () => {
    const look = async (unit: ServiceUnit) => (await runningAgent.run({ agent: { unit } } as Situation, new Set()))[0];
    assert.equal((await look(FAILED))?.state, 'wrong');
    assert.equal((await look(STOPPED))?.state, 'note');
  });
});

describe('Asking systemd', () => {
  let folder: string;
  beforeEach(() => {
    folder = temporaryFolder();
  });

  const tool = (script: string) => {
    const path = join(folder, 'systemctl');
    writeFileSync(path, `#!/bin/sh\n${script}\n`);
    chmodSync(path, 0o755);
    return { tool: path, isSystemd: () => true };
  };
  const says = (unit: object) =>
    Object.entries(unit)
      .map(([name, value]) => `echo "${name}=${value}"`)
      .join('\n');

  it('askServiceUnit reads the state of the unit', async () => {
    assert.deepEqual(await askServiceUnit(signal, tool(says({ ...FAILED, Other: 'x=y' }))), FAILED);
  });

  it('askServiceUnit returns undefined if the unit, its answer or systemd is missing', async () => {
    assert.equal(await askServiceUnit(signal, tool(says({ ...STOPPED, LoadState: 'not-found' }))), undefined);
    assert.equal(await askServiceUnit(signal, tool('exit 1')), undefined);
    assert.equal(await askServiceUnit(signal, tool('yes')), undefined);
    assert.equal(await askServiceUnit(signal, { ...tool(says(STOPPED)), isSystemd: () => false }), undefined);
  });
});

describe('"vakt run" as root', () => {
  const OTHER = 65_534;
  let stateDirectory: string;
  beforeEach(() => {
    stateDirectory = temporaryFolder();
  });

  const refuse = (configFile?: string, unit?: ServiceUnit) =>
    refuseForeignState({ stateDirectory }, { configFile, signal }, { uid: 0, unit: async () => unit });
  const refusal = async (configFile?: string, unit?: ServiceUnit) => {
    const error = await refuse(configFile, unit).then(
      () => assert.fail('not refused'),
      (thrown) => thrown,
    );
    assert.equal(error.id, 'STATE_DIRECTORY_UNUSABLE');
    return error as AgentError;
  };

  it('run as root accepts its own state directory, or one that does not exist yet', async function () {
    if (process.getuid?.() !== 0) return skip(this, 'a directory of root takes root');
    await refuse();
    for (const path of ['/nonexistent', '/dev/null/x'])
      await refuseForeignState({ stateDirectory: path }, { configFile: undefined, signal }, { uid: 0 });
  });

  describe('a state directory of another user', () => {
    beforeEach(function () {
      if (process.getuid?.() !== 0) return skip(this, 'giving files away takes root');
      chownSync(stateDirectory, OTHER, OTHER);
    });

    it('run as root names the service that uses the state directory', async () => {
      const { remedy, message } = await refusal(undefined, { ...STOPPED, User: 'nobody' });
      assert.match(message, /belongs to the user nobody/);
      assert.equal(remedy, 'Run the service instead: systemctl start vakt');
    });

    it('run as root names the command that switches to the owner and keeps the capabilities', async () => {
      const command =
        /^Run the agent as the user nobody: setpriv --reuid=65534 --regid=65534 --clear-groups .*audit_read.* vakt run/;
      assert.match((await refusal()).remedy, command);
      assert.match((await refusal('/etc/my vakt.json', STOPPED)).remedy, / vakt run --config '\/etc\/my vakt\.json'$/);
    });

    it('run accepts a state directory that belongs to its own user', () =>
      refuseForeignState({ stateDirectory }, { configFile: undefined, signal }, { uid: OTHER }));
  });
});
