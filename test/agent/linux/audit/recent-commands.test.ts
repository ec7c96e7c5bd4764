import assert from 'node:assert/strict';
import { RecentCommands } from '../../../../src/agent/linux/audit/reassembler.ts';

describe('RecentCommands', () => {
  const command = { argv: ['ls', '-l'], bytesCut: 0, line: 'ls -l' };

  it('finds a command by the record that contained it', () => {
    const commands = new RecentCommands();
    commands.add('argc=2 a0="ls" a1="-l"', command);
    assert.equal(commands.get('argc=2 a0="ls" a1="-l"'), command);
    assert.equal(commands.get('argc=2 a0="ls" a1="-a"'), undefined);
  });

  it('stores at most 64 commands', () => {
    const commands = new RecentCommands();
    const records = Array.from({ length: 1_000 }, (_, number) => `argc=1 a0="${number}"`);
    for (const record of records) {
      commands.add(record, command);
      assert.equal(commands.get(record), command);
      assert.ok(records.filter((known) => commands.get(known) !== undefined).length <= 64);
    }
  });
});
