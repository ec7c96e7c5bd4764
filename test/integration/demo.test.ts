import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { nodeFlagsOf } from '../node-flags.ts';
import { skip } from '../support/require.ts';

const TOP = new URL('../../..', import.meta.url).pathname;
const NOBODY = '65534';

/** Runs a program to its end. */
const run = (program: string, args: readonly string[], cwd: string) =>
  new Promise<{ status: number | null; output: string }>((resolve, reject) => {
    let output = '';
    const child = spawn(program, args, { cwd, stdio: ['ignore', 'pipe', 'pipe'] });
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (chunk: string) => {
        output += chunk;
      });
    }
    child.on('error', reject);
    child.on('close', (status) => resolve({ status, output }));
  });

const demo = (main: string) => [...nodeFlagsOf(main), main, 'demo', '--duration', 'PT12S'];

describe('vakt demo', function () {
  this.timeout(120_000);

  const assertShown = (output: string) => {
    for (const wanted of [
      /demo +Open http:\/\/127\.0\.0\.1:\d+\/#[\w-]{43} /,
      /hub +received a High message, \d+ events/,
      /ListeningPorts +tcp/,
      /OSBaseline +(?:not judged, )?(?:Critical|Important): .+\[(?:Found|Could not be judged): /,
      /LocalUsers +root \(0\) in root/,
      /SystemInformation +\S+/,
      /ran \/bin\/sleep 2/,
      /SecurityAlert +High: Reverse shell/,
      /reported +\S+aggregationEnabledProcessCreate\.value = false/,
      /status +\d+ collected = \d+ delivered/,
    ]) {
      assert.match(output, wanted);
    }
  };

  it('shows what the hub receives, and the agent obeying, and ends by itself', async () => {
    const { status, output } = await run(process.execPath, demo(join(TOP, 'dist/src/main.js')), TOP);
    assert.equal(status, 0, output);
    assertShown(output);
  });

  it('works for an ordinary user, and says what root would add', async function () {
    if (process.getuid?.() !== 0) return skip(this, 'the test before this one ran as an ordinary user already');
    const folder = mkdtempSync(join(tmpdir(), 'vakt-user-'));
    try {
      // A copy, since the clone may lie where nobody else can look.
      chmodSync(folder, 0o755);
      execFileSync('cp', ['-a', 'dist', 'config', 'node_modules', 'package.json', folder], { cwd: TOP });
      const become = [
        `--reuid=${NOBODY}`,
        `--regid=${NOBODY}`,
        '--clear-groups',
        '--inh-caps=-all',
        '--bounding-set=-all',
      ];
      const args = [...become, process.execPath, ...demo(join(folder, 'dist/src/main.js'))];
      const { status, output } = await run('setpriv', args, folder);
      assert.equal(status, 0, output);
      assertShown(output);
      assert.match(output, /You are not root/);
      assert.match(output, /securityAgent\.collectors\.ProcessCreate\.source = "proc(?:Connector|Polling)"/);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
