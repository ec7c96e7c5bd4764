import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { run } from '../../../src/agent/commands/support-bundle.ts';
import { serveControlSocket } from '../../../src/core/base/control-socket.ts';
import { UsageError, type World } from '../../../src/core/command-line/command.ts';
import { temporaryFolder } from '../../harness/folders.ts';

const KEY = Buffer.alloc(32, 9).toString('base64');

describe('vakt support-bundle', function () {
  this.timeout(180_000);
  let folder: string;
  let file: string;
  let close: (() => Promise<void>) | undefined;
  let out: string[];
  let world: World;

  beforeEach(() => {
    folder = temporaryFolder();
    file = join(folder, 'bundle.tar.gz');
    mkdirSync(join(folder, 'state/queues'), { recursive: true });
    writeFileSync(join(folder, 'state/statistics.json'), '{"sent":3}');
    writeFileSync(join(folder, 'state/queues/1.segment'), KEY);
    writeFileSync(join(folder, 'module.key'), `${KEY}\n`, { mode: 0o600 });
    writeFileSync(
      join(folder, 'agent.json'),
      JSON.stringify({
        hub: { hostName: 'localhost', gatewayHostName: 'localhost:1' },
        identity: { kind: 'moduleKey', deviceId: 'd', moduleId: 'm', keyFile: 'module.key' },
        stateDirectory: 'state',
        controlSocket: 'control.sock',
      }),
    );
    out = [];
    const { signal } = new AbortController();
    const stdout = (line: string) => out.push(line);
    world = { stdout, stderr: () => {}, environment: {}, signal, terminal: false };
  });
  afterEach(async () => {
    await close?.();
    close = undefined;
  });

  const bundle = (...more: string[]) => run([file, '--config', join(folder, 'agent.json'), ...more], world);
  const tar = (...args: string[]) => {
    const { stdout, stderr, status } = spawnSync('tar', [...args, '-f', file], {
      encoding: 'utf8',
      maxBuffer: 1 << 24,
    });
    assert.equal(status, 0, stderr);
    return stdout;
  };
  const names = () => tar('-tz').trim().split('\n');
  const textOf = (name: string) => tar('-xzO', `./vakt-support/${name}`);
  const serve = async (handlers: Parameters<typeof serveControlSocket>[1]) => {
    close = await serveControlSocket(join(folder, 'control.sock'), handlers);
  };

  it('support-bundle prints the list in its first file, and is readable only by its owner', async () => {
    assert.equal(await bundle(), 0);
    const [first, ...others] = names();
    assert.equal(first, './vakt-support/MANIFEST');
    assert.equal(textOf('MANIFEST'), `${out.slice(0, out.indexOf('', 3) === -1 ? undefined : -2).join('\n')}\n`);
    assert.ok(others.length >= 6, others.join());
    for (const name of others)
      assert.ok(
        out.some((line) => line.startsWith(name.replace('./vakt-support/', ''))),
        name,
      );
    assert.equal(statSync(file).mode & 0o777, 0o600);
    assert.match(out.at(-1) ?? '', /^Written: .*bundle\.tar\.gz, \d+ bytes\.$/);
  });

  it('support-bundle lists the missing files with the reason when no agent runs', async () => {
    assert.equal(await bundle(), 0);
    const at = out.indexOf('Not in it:');
    assert.ok(at > 0);
    assert.ok(out.slice(at).some((line) => /^status\.json +no agent answers at .*control\.sock/.test(line)));
    assert.deepEqual(JSON.parse(textOf('books.json'))['statistics.json'], { sent: 3 });
    assert.match(textOf('state-directory.txt'), /^100600 |^100644 .* queues\/1\.segment$/m);
    assert.match(textOf('check.txt'), /^WRONG +TCP|^WRONG /m);
    assert.equal(JSON.parse(textOf('configuration/local.json')).identity.keyFile, join(folder, 'module.key'));
  });

  it('support-bundle contains the answers of a running agent without secrets', async () => {
    const status = {
      state: 'running',
      pid: process.pid,
      hub: { state: 'refused', error: `key ${KEY}` },
      sharedAccessKey: 'x1',
    };
    await serve({ '/status': () => status, '/diagnostics': () => ({ lastErrors: [encodeURIComponent(KEY)] }) });
    writeFileSync(join(folder, 'state/last-good-configuration.json'), JSON.stringify({ configuration: { note: KEY } }));
    writeFileSync(join(folder, 'state', `${KEY.replaceAll('/', '_')}.json`), '');
    assert.equal(await bundle(), 0);
    const everything = tar('-xzO');
    for (const form of [KEY, encodeURIComponent(KEY), KEY.slice(0, -1), '"x1"'])
      assert.ok(!everything.includes(form), form);
    const { hub } = JSON.parse(textOf('status.json'));
    assert.equal(hub.error, 'key [redacted]');
    assert.deepEqual(JSON.parse(textOf('diagnostics.json')), { lastErrors: ['[redacted]'] });
    assert.deepEqual(JSON.parse(textOf('configuration/last-good.json')), { configuration: { note: '[redacted]' } });
  });

  it('support-bundle writes its file even if the agent sends an invalid answer', async () => {
    await serve({ '/status': () => 'nonsense', '/diagnostics': () => null });
    assert.equal(await bundle(), 0);
    assert.ok(names().includes('./vakt-support/kernel.txt'));
  });

  it('support-bundle contains no secrets even if the configuration is invalid', async () => {
    mkdirSync(join(folder, 'secrets'));
    writeFileSync(join(folder, 'secrets/device.password'), 'tr0ub4dor&3\n');
    writeFileSync(join(folder, 'agent.json'), '{"hub": {"hostName": "tr0ub4dor&3"}}');
    assert.equal(await bundle(), 0);
    assert.ok(!tar('-xzO').includes('tr0ub4dor&3'));
    assert.match(textOf('check.txt'), /^WRONG +configuration +.*agent\.json/m);
    assert.ok(
      out.some((line) => /^configuration\/local\.json +.*agent\.json is not valid: .*identity is missing/.test(line)),
    );
  });

  it('support-bundle does not follow links out of the state directory', async () => {
    writeFileSync(join(folder, 'other'), '{"other":true}');
    symlinkSync(join(folder, 'other'), join(folder, 'state/pause.json'));
    assert.equal(await bundle(), 0);
    assert.match(JSON.parse(textOf('books.json'))['pause.json'].problem, /symbolic link/);
  });

  it('support-bundle replaces an older file, and rejects a target that is not a regular file', async () => {
    writeFileSync(file, 'older', { mode: 0o644 });
    assert.equal(await bundle(), 0);
    assert.equal(statSync(file).mode & 0o777, 0o600);
    await assert.rejects(run(['/dev/null'], world), UsageError);
    await assert.rejects(run([folder], world), UsageError);
    await assert.rejects(run([], world), UsageError);
  });

  it('support-bundle collects nothing and leaves no file if its target cannot be written', async () => {
    const target = join(folder, 'missing/bundle.tar.gz');
    const writing = run([target, '--config', join(folder, 'agent.json')], {
      ...world,
      stdout: () => assert.fail('it has collected before it looked whether it can write'),
    });
    await assert.rejects(writing, { id: 'RESULT_UNWRITABLE', message: /missing\/bundle\.tar\.gz .*: ENOENT$/ });
    assert.ok(!readdirSync(folder).some((name) => name.startsWith('bundle') || name === 'missing'));
  });
});
