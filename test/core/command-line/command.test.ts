import assert from 'node:assert/strict';
import { minutes } from '../../../src/core/base/duration.ts';
import { durationOption, readArguments, table, UsageError } from '../../../src/core/command-line/command.ts';

describe('readArguments', () => {
  const options = { json: { type: 'boolean' }, config: { type: 'string' } } as const;

  it('reads options and arguments', () => {
    const { values, positionals } = readArguments(['Login', '--json', '--config', 'file'], options, 1);
    assert.deepEqual([{ ...values }, positionals], [{ json: true, config: 'file' }, ['Login']]);
  });

  for (const [what, args, message] of [
    ['an option it does not know', ['--jsn'], /--jsn/],
    ['an option without its value', ['--config'], /--config/],
    ['a value for an option that has none', ['--json=yes'], /--json/],
    ['one argument too many', ['a', 'b'], /unexpected argument "b"/],
  ] as const) {
    it(`refuses ${what}`, () => {
      assert.throws(
        () => readArguments(args, options, 1),
        (error) => error instanceof UsageError && message.test(error.message),
      );
    });
  }

  it('refuses any argument when none is wanted', () => assert.throws(() => readArguments(['a'], {}), UsageError));
});

describe('durationOption', () => {
  it('reads a duration', () => assert.equal(durationOption('every', 'PT7M'), minutes(7)));
  it('refuses anything else, and names the option', () => {
    assert.throws(
      () => durationOption('every', '7m'),
      (error) => error instanceof UsageError && /^--every takes .*not "7m"$/.test(error.message),
    );
  });
});

describe('table', () => {
  it('makes columns as wide as their widest cell', () => {
    assert.deepEqual(
      table([
        ['a', 'bb', 'a long last one'],
        ['aaa', 'b', 'x'],
      ]),
      ['a    bb  a long last one', 'aaa  b   x'],
    );
  });

  it('prints no trailing spaces and accepts rows of any length', () => {
    assert.deepEqual(table([['a', ''], ['aaa'], []]), ['a', 'aaa', '']);
  });

  it('shows no control character of what others have written', () => {
    assert.deepEqual(table([['a\u001b[2J', '\u009bb\r\n']]), ['a·[2J  ·b··']);
  });

  it('is empty without rows', () => assert.deepEqual(table([]), []));
});
