import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { findTool } from '../../src/agent/host/run-tool.ts';
import { temporaryFolder } from '../harness/folders.ts';
import { skip } from '../harness/require.ts';
import { PROGRAM } from './test-bed.ts';

/* Support bundles with a full disk, a hanging agent or missing permissions. */

const NOBODY = 65_534;

describe('vakt support-bundle', function () {
  this.timeout(120_000);
  let folder: string;

  beforeEach(() => {
    folder = temporaryFolder();
    mkdirSync(join(folder, 'state'), { mode: 0o700 });
    const identity = { kind: 'moduleKey', deviceId: 'd', moduleId: 'm', keyFile: 'module.key' };
    const hub = { hostName: 'localhost', gatewayHostName: 'localhost:1' };
    const settings = { hub, identity, stateDirectory: 'state', controlSocket: 'control.sock' };
    writeFileSync(join(folder, 'agent.json'), JSON.stringify(settings), { mode: 0o644 });
    writeFileSync(join(folder, 'module.key'), `${Buffer.alloc(32, 9).toString('base64')}\n`, { mode: 0o600 });
  });

  const call = (file: string) => [PROGRAM, 'support-bundle', file, '--config', join(folder, 'agent.json')];

  it('fails with a remedy on a full disk, and leaves no files', function () {
    if (process.getuid?.() !== 0) skip(this, 'mounting needs root');
    const full = join(folder, 'full');
    mkdirSync(full);
    const script = 'mount -t tmpfs -o size=4k none "$1" && cd "$1" && shift && { "$@"; echo "status $?"; ls -A; }';
    const { stdout, stderr } = spawnSync(
      'unshare',
      ['--mount', 'sh', '-c', script, 'sh', full, process.execPath, ...call('bundle.tar.gz')],
      { encoding: 'utf8' },
    );
    assert.match(
      stderr,
      /full\/bundle\.tar\.gz cannot be written: ENOSPC\nName a file on another file system.* \(RESULT_UNWRITABLE\)$/m,
    );
    assert.ok(stdout.endsWith('\nstatus 1\n'), stdout);
    assert.match(stdout, /^Support bundle of Vakt /);
  });

  it('names the parts that an ordinary user cannot read, with the reason', function () {
    if (process.getuid?.() !== 0) skip(this, 'another user needs root');
    if (findTool('setpriv') === undefined) skip(this, 'setpriv is not here');
    const mine = join(folder, 'mine');
    mkdirSync(mine);
    chmodSync(folder, 0o755);
    chmodSync(mine, 0o777);
    const as = [
      '--reuid',
      String(NOBODY),
      '--regid',
      String(NOBODY),
      '--clear-groups',
      '--bounding-set=-all',
      '--inh-caps=-all',
    ];
    const { status, stdout, stderr } = spawnSync('setpriv', [...as, process.execPath, ...call(join(mine, 'b.tgz'))], {
      encoding: 'utf8',
      cwd: '/',
    });
    assert.equal(status, 0, stderr);
    const [, missing = ''] = stdout.split('\nNot in it:\n');
    assert.match(missing, /^books\.json +EACCES/m);
    assert.match(missing, /^state-directory\.txt +EACCES/m);
    assert.match(stdout, /^kernel\.txt +\d+ bytes/m);
  });

  it('creates a bundle even if the agent accepts connections but never answers', async () => {
    const server = createServer(() => {});
    await new Promise<void>((resolve) => server.listen(join(folder, 'control.sock'), resolve));
    try {
      const file = join(folder, 'bundle.tar.gz');
      const child = spawn(process.execPath, call(file), { stdio: ['ignore', 'pipe', 'inherit'] });
      let stdout = '';
      child.stdout.setEncoding('utf8').on('data', (text: string) => {
        stdout += text;
      });
      const status = await new Promise((resolve) => child.on('close', resolve));
      assert.equal(status, 0);
      assert.match(stdout, /^status\.json +the agent at .*control\.sock does not answer/m);
      assert.match(stdout, /^check\.txt +\d+ bytes/m);
    } finally {
      server.close();
    }
  });
});
