import assert from 'node:assert/strict';
import type { World } from '../../src/cli/command.ts';
import { run, usage } from '../../src/cli/emulator.ts';
import { temporaryFolder } from '../support/folders.ts';

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
    [['--page-port', 'x'], '--page-port takes a port number, not "x"'],
    [['--page-port', '0', '--no-page'], '--page-port and --no-page exclude each other'],
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

  describe('its page', () => {
    /** Runs until the line that tells how to start an agent, and `meanwhile` is done. @returns the lines */
    const runUntilStarted = async (args: readonly string[], meanwhile: (lines: string[]) => Promise<void>) => {
      const stop = new AbortController();
      const lines: string[] = [];
      let done: Promise<void> | undefined;
      const stdout = (line: string) => {
        lines.push(line);
        if (line.startsWith('Start an agent')) done = meanwhile(lines).finally(() => stop.abort());
      };
      assert.equal(
        await run(['--directory', temporaryFolder(), ...args], { ...world, stdout, signal: stop.signal }),
        0,
      );
      await done;
      return lines;
    };
    const addressIn = (lines: readonly string[]) => /Open (http:\S+#[\w-]{43}) /.exec(lines.join('\n'))?.[1];

    it('is served at the address that is printed, as long as the emulator runs', async () => {
      let address = '';
      await runUntilStarted([], async (lines) => {
        address = addressIn(lines) ?? assert.fail(lines.join('\n'));
        assert.match(await (await fetch(address)).text(), /<title>Vakt/);
      });
      await assert.rejects(fetch(address));
    });

    it('is not there with --no-page', async () => {
      const lines = await runUntilStarted(['--no-page'], async () => {});
      assert.equal(addressIn(lines), undefined);
    });

    it('says so when its port is in use', async () => {
      await runUntilStarted([], async (lines) => {
        const { port } = new URL(addressIn(lines) ?? '');
        await assert.rejects(
          runUntilStarted(['--page-port', port], async () => {}),
          /EADDRINUSE/,
        );
      });
    });
  });
});
