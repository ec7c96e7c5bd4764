import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { run, usage } from '../../../src/emulator/commands/emulator.ts';
import { worldOf } from '../../agent/commands/world.ts';
import { suiteFolder, temporaryFolder } from '../../harness/folders.ts';

describe('vakt emulator', () => {
  const world = worldOf(() => {}, { stderr: () => {}, signal: AbortSignal.abort() });

  for (const [args, message] of [
    [['--port', '70000'], '--port takes a port number, not "70000"'],
    [['--rest-port', 'x'], '--rest-port takes a port number, not "x"'],
    [['--websocket-port', '-1'], '--websocket-port'],
    [['--proxy-port', ''], '--proxy-port takes a port number, not ""'],
    [['--address', '0.0.0.0'], '--address takes 127.0.0.1 or ::1, not "0.0.0.0"'],
    [['--page-port', 'x'], '--page-port takes a port number, not "x"'],
    [['--page-port', '0', '--no-page'], '--page-port and --no-page exclude each other'],
    [['--proxy-user', 'vakt'], '--proxy-user needs --proxy-port'],
    [['--device', 'a/b'], '--device must have 1 to 128 letters'],
    [['--device', ''], '--device must have 1 to 128 letters'],
    [['--module', 'x y'], '--module must have 1 to 128 letters'],
    [['--directory', `/tmp/${'d'.repeat(90)}`], '--directory is too long'],
    [['--directory', '/proc/vakt'], "--directory can't be used: ENOENT"],
    [['--record', '/proc/nope', '--directory', suiteFolder()], "--record can't be used: ENOENT"],
    [['--device', 'a_', '--print-config', 'provisioning', '--directory', suiteFolder()], "can't be a registration id"],
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

  const refusalOf = (args: readonly string[]): Promise<Error> =>
    run(args, world).then(
      () => assert.fail('was accepted'),
      (error: Error) => error,
    );

  for (const option of ['--port', '--rest-port', '--websocket-port', '--control-port', '--page-port', '--proxy-port']) {
    it(`reports that the port of ${option} is in use`, () => isTaken(option));
  }
  it('reports that the port of --service-port is in use', () =>
    isTaken('--service-port', '--print-config', 'provisioning'));

  async function isTaken(option: string, ...more: string[]): Promise<void> {
    const other = createServer().listen(0, '127.0.0.1');
    await once(other, 'listening');
    try {
      const { port } = other.address() as AddressInfo;
      const { name, message } = await refusalOf(['--directory', temporaryFolder(), option, String(port), ...more]);
      assert.equal(name, 'UsageError', message);
      assert.ok(
        message.startsWith(`${option}: port ${port} can't be used: `) && /EADDRINUSE.*0 for any/.test(message),
        message,
      );
    } finally {
      other.close();
    }
  }

  it('reports that the directory is a file', async () => {
    const file = join(temporaryFolder(), 'file');
    writeFileSync(file, '');
    const { name, message } = await refusalOf(['--directory', file]);
    assert.equal(name, 'UsageError', message);
    assert.match(message, /^--directory can't be used: EEXIST/);
  });

  it('names the file of a key that cannot be used', async () => {
    const directory = temporaryFolder();
    const file = join(directory, 'module.key');
    writeFileSync(file, 'no key!');
    const { name, message } = await refusalOf(['--directory', directory]);
    assert.equal(name, 'UsageError', message);
    assert.ok(message.includes(file) && message.includes('remove it'), message);
    assert.equal(readFileSync(file, 'utf8'), 'no key!');
  });

  it('has each option that its help describes', async () => {
    const names = [...usage.matchAll(/^ {2}(--[a-z-]+) /gm)].map(([, name]) => name ?? '');
    assert.ok(names.length >= 11);
    // The first option that is unknown is named in the error.
    for (const name of names) await assert.rejects(run([name, '0', '--unknown'], world), /no option "--unknown"/);
  });

  describe('its page', () => {
    /** Runs until the line with the command that starts an agent is printed and `whileRunning` has completed. @returns the lines */
    const runUntilStarted = async (args: readonly string[], whileRunning: (lines: string[]) => Promise<void>) => {
      const stop = new AbortController();
      const lines: string[] = [];
      let done: Promise<void> | undefined;
      const stdout = (line: string) => {
        lines.push(line);
        if (line.startsWith('Start an agent')) done = whileRunning(lines).finally(() => stop.abort());
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
  });
});
