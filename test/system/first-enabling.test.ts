import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import type { LocalStatus } from '../../src/agent/status/schema.ts';
import { suiteFolder } from '../harness/folders.ts';
import { require } from '../harness/require.ts';
import { TOP } from '../harness/top.ts';
import { PROGRAM } from '../integration/test-bed.ts';
import { nodeFlagsOf } from '../node-flags.ts';
import { agentFiles, PREPARE } from './agent-in-machine.ts';
import { missingForEmulation, runInMachine } from './emulated-machine.ts';

const SOURCE = join(TOP, 'test/system/native/connect-on-signal.c');

/** Two daemons connect, one older and one newer than the agent; then the older one is restarted. */
const SCRIPT = `${PREPARE}
for name in older younger anew; do cp /results/connect-on-signal /run/$name; done

/run/older >/run/older.out & older=$!
until_in ready /run/older.out
${[process.execPath, ...nodeFlagsOf(PROGRAM), PROGRAM].join(' ')} run --config /run/agent.json >/run/agent.log 2>&1 & agent=$!
until_in '"source":"audit' /run/agent.log
${process.execPath} /run/ask.mjs & follow=$!
/run/younger >/run/younger.out & younger=$!
until_in ready /run/younger.out
until_in following /run/ConnectionCreate

kill -USR1 $older
until_in connected /run/older.out
kill -USR1 $younger
until_in '"/run/younger"' /run/ConnectionCreate
kill -USR1 $follow
until_in '}$' /run/status
kill $older
wait $older || true
/run/anew >/run/anew.out & anew=$!
until_in ready /run/anew.out
kill -USR1 $anew
until_in '"/run/anew"' /run/ConnectionCreate
# Events that still wait, for example for a process's arguments, are reported when the agent stops.
kill $agent
wait $agent || true
wait $follow || true
echo '{"status":'; cat /run/status
echo ',"executables":['; grep -o '"Executable":"[^"]*"' /run/ConnectionCreate | cut -d: -f2 | sort -u | paste -sd,
echo ']}'
`;

interface Result {
  readonly status: LocalStatus;
  /** Programs whose connections the agent reported. */
  readonly executables: readonly string[];
}

/** Needs a kernel on which audit was never enabled, unlike that of this machine. */
describe('A daemon that is older than the first enabling of audit @release', function () {
  this.timeout(420_000);
  const folder = suiteFolder();

  before(function () {
    require(this, missingForEmulation());
    execFileSync('gcc', ['-O1', '-static', '-o', join(folder, 'connect-on-signal'), SOURCE]);
  });

  const boot = (...kernelArguments: string[]): Result =>
    JSON.parse(
      runInMachine({
        script: SCRIPT,
        files: agentFiles(['ConnectionCreate'], { detections: { enabled: false } }),
        programs: [join(folder, 'connect-on-signal')],
        kernelArguments,
      }),
    ) as Result;

  it('is not reported until it is restarted, and is named in the reason of the status', () => {
    const { status, executables } = boot();
    assert.deepEqual(executables, ['/run/anew', '/run/younger']);
    const { state, reason = '' } = status.collectors.ConnectionCreate ?? assert.fail();
    assert.equal(state, 'on');
    assert.match(reason, /^\d+ processes were running when audit was first enabled in this boot\..*\bolder \(\d+\)/);
    assert.doesNotMatch(reason, /younger|perhaps/);
  });

  it('is reported if the kernel enables audit before the first process', () => {
    const { status, executables } = boot('audit=1');
    assert.deepEqual(executables, ['/run/anew', '/run/older', '/run/younger']);
    assert.equal(status.collectors.ConnectionCreate?.reason, undefined);
  });
});
