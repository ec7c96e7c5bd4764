import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { allCommands } from '../../scripts/commands.ts';
import { completed } from '../../scripts/completions.ts';
import { findTool } from '../../src/agent/host/run-tool.ts';
import { temporaryFolder } from '../harness/folders.ts';
import { require } from '../harness/require.ts';

const SCRIPT = 'packaging/completions/vakt.bash';

describe('The completions', () => {
  /** What bash offers for the last word. */
  const offered = (...words: string[]): string[] => {
    const script = `. "$0"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _vakt; printf '%s\\n' "\${COMPREPLY[@]}"`;
    const { stdout, stderr, status } = spawnSync('/bin/bash', ['-c', script, SCRIPT, 'vakt', ...words], {
      encoding: 'utf8',
    });
    assert.equal(status, 0, stderr);
    return stdout.split('\n').filter((line) => line !== '');
  };

  it('offer commands', () => {
    assert.deepEqual(offered('st'), ['status']);
    assert.deepEqual(offered('ver'), ['verify-chain', 'version']);
    assert.deepEqual(offered('nothing'), []);
  });

  it('offer the options of a command, each with what it takes', () => {
    assert.deepEqual(offered('status', '--'), [
      '--config',
      '--json',
      '--openmetrics',
      '--prometheus',
      '--watch',
      '--help',
    ]);
    assert.deepEqual(offered('posture', '--fail-on', 'H'), ['High']);
    assert.deepEqual(offered('baseline', '--fail-on', 'I'), ['Important', 'Informational']);
    assert.deepEqual(offered('verify-chain', 'package.j'), ['package.json']);
    assert.deepEqual(offered('baseline', '--root', 'packag'), ['packaging']);
  });

  it('offer the words that a command begins with', () => {
    assert.deepEqual(offered('rules', ''), ['list', 'check', 'test', 'explain']);
    assert.deepEqual(offered('collect', 'Connected'), ['ConnectedHardware']);
  });

  it('offer what the first argument of a command takes', () => {
    assert.deepEqual(offered('rules', 'check', 'package.j'), ['package.json']);
    assert.deepEqual(offered('rules', 'test', 'package.j'), ['package.json']);
    assert.deepEqual(offered('fleet', 'configure', 'package.j'), ['package.json']);
    for (const words of [['rules', 'list'], ['rules', 'explain'], ['fleet', 'status'], ['report']])
      assert.deepEqual(offered(...words, ''), [], words.join(' '));
  });

  it('omits options of other commands that a help text mentions', () => {
    assert.deepEqual(offered('verify-chain', '--'), ['--partial', '--json', '--help']);
    assert.ok(offered('fleet', 'status', '--').includes('--outdated'));
  });

  it('cut file names at line ends only', () => {
    assert.deepEqual(offered('check', '--config', `${temporaryFolder()}/a b`), []);
  });

  it('know every option that a help text explains', async () => {
    for (const command of await allCommands()) {
      const explained = [...command.usage.matchAll(/^ {2}(--[a-z-]+)/gm)].map(([, option]) => option);
      const known = completed(command).options.map(({ name }) => name);
      assert.deepEqual(
        explained.filter((option) => !known.includes(option ?? '')),
        [],
        command.name,
      );
    }
  });

  for (const [shell, file] of [
    ['bash', SCRIPT],
    ['zsh', 'packaging/completions/_vakt'],
  ] as const) {
    it(`generates completions that ${shell} accepts`, function () {
      require(this, findTool(shell) === undefined ? `there is no ${shell}` : undefined);
      const { status, stderr } = spawnSync(shell, ['-n', file], { encoding: 'utf8' });
      assert.equal(status, 0, stderr);
    });
  }
});
