import assert from 'node:assert/strict';
import type { World } from '../../src/cli/command.ts';
import { run, usage } from '../../src/cli/emulator.ts';

describe('vakt emulator', () => {
  const world: World = {
    stdout: () => {},
    stderr: () => {},
    environment: {},
    signal: AbortSignal.abort(),
    terminal: false,
  };

  for (const [args, message] of [
    [['--port', '70000'], '--port takes a port number, not "70000"'],
    [['--rest-port', 'x'], '--rest-port takes a port number, not "x"'],
    [['--websocket-port', '-1'], '--websocket-port'],
    [['--proxy-port', ''], '--proxy-port takes a port number, not ""'],
    [['--address', '0.0.0.0'], '--address takes 127.0.0.1 or ::1, not "0.0.0.0"'],
    [['--proxy-user', 'vakt'], '--proxy-user needs --proxy-port'],
    [['--proxy-port', '0', '--proxy-user', 'vakt:secret'], '--proxy-user takes a name without ":"'],
  ] as const) {
    it(`refuses ${args.join(' ')}`, async () => {
      await assert.rejects(run(args, world), ({ name, message: said }: Error) => {
        assert.equal(name, 'UsageError');
        assert.ok(said.includes(message), said);
        return true;
      });
    });
  }

  it('has each option that its help describes', async () => {
    const names = [...usage.matchAll(/^ {2}(--[a-z-]+) /gm)].map(([, name]) => name ?? '');
    assert.ok(names.length >= 11);
    // The first option that is unknown is named in the error.
    for (const name of names) await assert.rejects(run([name, '0', '--unknown'], world), /no option "--unknown"/);
  });
});
