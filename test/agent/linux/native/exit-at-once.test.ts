import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { temporaryFolder } from '../../../harness/folders.ts';
import { skip } from '../../../harness/require.ts';
import { withoutKoffi } from '../../../harness/without-koffi.ts';

const SCRIPT = new URL('blocked-exit.js', import.meta.url).pathname;
/** As the first process of a container. It ends with `unshare`. */
const FIRST = ['unshare', '--user', '--map-root-user', '--fork', '--pid', '--kill-child'];

describe('exitAtOnce', function () {
  this.timeout(60_000);
  let pipe: string;

  before(() => {
    pipe = join(temporaryFolder(), 'pipe');
    execFileSync('mkfifo', [pipe]);
  });

  const end = (how: string, { through = [] as string[], options = [] as string[], timeout = 30_000 } = {}) => {
    const [program = '', ...args] = [...through, process.execPath, ...options, SCRIPT, pipe, how];
    const { status, signal } = spawnSync(program, args, { timeout, killSignal: 'SIGKILL', stdio: 'ignore' });
    return status ?? signal;
  };

  it('does not wait for threads, unlike Node’s exit', () => {
    assert.equal(end('at once'), 3);
    assert.equal(end('as Node does', { timeout: 2_000 }), 'SIGKILL');
  });

  it('exits by SIGTERM without native code', () => {
    assert.equal(end('at once', { options: ['--require', withoutKoffi()] }), 'SIGTERM');
  });

  it('exits as the first process of a container as well', function () {
    const [program = '', ...args] = FIRST;
    if (spawnSync(program, [...args, 'true']).status !== 0) skip(this, `${FIRST.join(' ')} is not allowed here`);
    assert.equal(end('at once', { through: FIRST }), 3);
  });
});
