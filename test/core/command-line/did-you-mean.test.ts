import assert from 'node:assert/strict';
import { collectors } from '../../../src/agent/collectors/index.ts';
import { run } from '../../../src/agent/commands/collect.ts';
import { readArguments, UsageError, type World } from '../../../src/core/command-line/command.ts';
import { didYouMean } from '../../../src/core/command-line/did-you-mean.ts';

const COMMANDS = ['run', 'check', 'collect', 'status', 'baseline', 'remove-rules', '--help', '--version'];
const EVENTS = collectors.map(({ name }) => name);

describe('didYouMean', () => {
  for (const [name, known, meant] of [
    ['chek', COMMANDS, '; did you mean "check"?'],
    ['CHECK', COMMANDS, '; did you mean "check"?'],
    ['-hlep', COMMANDS, '; did you mean "--help"?'],
    ['help', ['--help'], '; did you mean "--help"?'],
    ['Proc', EVENTS, '; did you mean "ProcessCreate" or "ProcessTerminate"?'],
    ['listeningport', EVENTS, '; did you mean "ListeningPorts"?'],
    ['Logn', EVENTS, '; did you mean "Login"?'],
    ['xyz', COMMANDS, ''],
    ['', COMMANDS, ''],
    ['--', COMMANDS, ''],
  ] as const) {
    it(`prints for "${name}"${meant}`, () => assert.equal(didYouMean(name, known), meant));
  }

  it('shows three names at most', () => {
    assert.equal(didYouMean('ab', ['ab1', 'ab2', 'ab3', 'ab4']), '; did you mean "ab1", "ab2" or "ab3"?');
  });
});

describe('Misspelt options', () => {
  const options = { json: { type: 'boolean' }, config: { type: 'string' }, 'dry-run': { type: 'boolean' } } as const;

  for (const [args, message] of [
    [['--jsn'], 'there is no option "--jsn"; did you mean "--json"?'],
    [['--confg', '/etc/x'], 'there is no option "--confg"; did you mean "--config"?'],
    [['--confg=/etc/x'], 'there is no option "--confg"; did you mean "--config"?'],
    [['-config', 'x'], 'there is no option "-config"; did you mean "--config"?'],
    [['--dryrun'], 'there is no option "--dryrun"; did you mean "--dry-run"?'],
    [['json'], 'unexpected argument "json"; did you mean "--json"?'],
    [['other'], 'unexpected argument "other"'],
    [['--__proto__'], 'there is no option "--__proto__"'],
  ] as const) {
    it(`unknown arguments are named with the most likely correction: ${args.join(' ')}`, () => {
      assert.throws(
        () => readArguments(args, options),
        (error) => error instanceof UsageError && error.message === message,
      );
    });
  }
});

describe('A misspelt event', () => {
  it('is named by "vakt collect", with those that were most likely meant', async () => {
    const world = { environment: {}, signal: new AbortController().signal } as World;
    await assert.rejects(run(['Proc'], world), {
      message: /^there is no event "Proc"; did you mean "ProcessCreate" or "ProcessTerminate"\? EVENT must be one of /,
    });
  });
});
