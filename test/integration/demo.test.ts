import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { skip } from '../harness/require.ts';
import { TOP } from '../harness/top.ts';
import { nodeFlagsOf } from '../node-flags.ts';

const NOBODY = '65534';

/** Runs a program until it exits. @param wanted once it has written all of this, it gets SIGINT, as by Ctrl-C */
const run = (program: string, args: readonly string[], cwd: string, wanted: readonly RegExp[] = []) =>
  new Promise<{ status: number | null; output: string }>((resolve, reject) => {
    let output = '';
    let isAsked = wanted.length === 0; // a second signal would kill it immediately
    const child = spawn(program, args, { cwd, stdio: ['ignore', 'pipe', 'pipe'] });
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (chunk: string) => {
        output += chunk;
        if (isAsked || !wanted.every((one) => one.test(output))) return;
        isAsked = true;
        child.kill('SIGINT');
      });
    }
    child.on('error', reject);
    child.on('close', (status) => resolve({ status, output }));
  });

const demo = (main: string) => [...nodeFlagsOf(main), main, 'demo'];

const SHOWN = [
  /demo +Open http:\/\/127\.0\.0\.1:\d+\/#[\w-]{43} /,
  /reported +The agent is (?:running|degraded|limited \(not root\)): \d+ collectors on/,
  /hub +received a High message, \d+ events/,
  /ListeningPorts +tcp/,
  /OSBaseline +(?:not judged, )?(?:Critical|Important): .+\[(?:Found|Could not be evaluated): /,
  /LocalUsers +root \(0\) in root/,
  /SystemInformation +\S+/,
  /ran \/bin\/sleep 2/,
  /SecurityAlert +High: Reverse shell/,
  /reported +\S+aggregationEnabledProcessCreate\.value = false/,
];
const SHOWN_AT_THE_END = /status +\d+ collected = \d+ delivered/;

describe('vakt demo', function () {
  this.timeout(120_000);

  it('shows the messages at the hub and the applied configuration, and exits at SIGINT', async () => {
    const { status, output } = await run(process.execPath, demo(join(TOP, 'dist/src/main.js')), TOP, SHOWN);
    assert.equal(status, 0, output);
    assert.match(output, SHOWN_AT_THE_END);
  });

  it('exits after its duration', async () => {
    const args = [...demo(join(TOP, 'dist/src/main.js')), '--duration', 'PT1S'];
    const { output } = await run(process.execPath, args, TOP);
    assert.match(output, /demo +The agent exited with status /);
  });

  it('works for an ordinary user, and prints what root would see in addition @release', async function () {
    if (process.getuid?.() !== 0) return skip(this, 'the test before this one ran as an ordinary user already');
    const folder = mkdtempSync(join(tmpdir(), 'vakt-user-'));
    try {
      // A copy, since other users may not be able to read the clone.
      chmodSync(folder, 0o755);
      execFileSync('cp', ['-a', 'dist', 'config', 'node_modules', 'package.json', folder], { cwd: TOP });
      const asUser = [
        `--reuid=${NOBODY}`,
        `--regid=${NOBODY}`,
        '--clear-groups',
        '--inh-caps=-all',
        '--bounding-set=-all',
      ];
      const args = [...asUser, process.execPath, ...demo(join(folder, 'dist/src/main.js'))];
      const wanted = [
        ...SHOWN,
        /You are not root/,
        /The agent is limited \(not root\): .*, program starts from proc(?:Connector|Polling)/,
      ];
      const { status, output } = await run('setpriv', args, folder, wanted);
      assert.equal(status, 0, output);
      assert.match(output, SHOWN_AT_THE_END);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
