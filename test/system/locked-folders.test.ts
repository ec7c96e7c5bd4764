import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { chmodSync, readFileSync, realpathSync } from 'node:fs';
import { LOCKED } from '../../src/agent/detections/rule-folder.ts';
import { openCached } from '../../src/agent/linux/native/cached-names.ts';
import { systemClock } from '../../src/core/base/clock.ts';
import { seconds } from '../../src/core/base/duration.ts';
import { release } from '../fuzz.ts';
import { suiteFolder } from '../harness/folders.ts';
import { require } from '../harness/require.ts';
import { ATTACKER, FuseHang } from './fuse-hang.ts';

const LOOK_UP = new URL('look-up-locked.js', import.meta.url).pathname;
const LOAD_RULES = new URL('rules-locked.js', import.meta.url).pathname;
const ASK_MACHINE = new URL('ask-machine-locked.js', import.meta.url).pathname;

/** Defines the shell function `lock FOLDER`: an ordinary user keeps a folder locked until the script ends. */
const START = `
mount -t tmpfs tmpfs "$1" && cd "$1" && mkdir mount && chmod 755 . && chmod 777 mount || exit 1
mknod -m 666 fuse c 10 229 && cp "$2" locker && chmod 755 locker
attack() { exec setpriv --reuid=${ATTACKER} --regid=${ATTACKER} --clear-groups "$@"; }
lock() {
  attack "$PWD/locker" lock "$PWD/fuse" "$PWD/mount" "$1" >pids & server=$!
  until [ -s pids ]; do kill -0 "$server" || exit 1; sleep 0.05; done
}
`;

/** Arguments: Node, the script, the owner of the locked folder, and a command that changes the program before the lock. */
const LOCK_PROGRAM = `
mkdir locked && cp "$(readlink -f /bin/sleep)" locked/program && chmod 755 locked locked/program && chown -R "$5" locked
attack "$PWD/locked/program" 60 & program=$!
until [ "$(readlink "/proc/$program/exe")" = "$PWD/locked/program" ]; do sleep 0.05; done
cd locked && eval "$6" && cd ..
lock "$PWD/locked"
"$3" "$4" "$program" "$PWD/locked/program"
`;

/** Arguments: Node, the script, the kind of data to read, and the folder to lock. */
const LOCK_SYSFS = `
mkdir -p sys/devices sys/class/net sys/class/dmi/id && chmod -R 755 sys
lock "$PWD/$6"
"$3" "$4" "$5" "$PWD/sys"
`;

/** Arguments: Node, and the script. */
const LOCK_RULES = `
mkdir -m 755 rules.d && echo 'title: x' >rules.d/a.yml
lock "$PWD/rules.d"
"$3" "$4" "$PWD/rules.d" || [ $? = 137 ]
`;

describe('A folder that an ordinary user keeps locked', function () {
  this.timeout(120_000);

  before(function () {
    require(this, FuseHang.missing() ?? (openCached() === undefined ? 'openat2(2) has no RESOLVE_CACHED' : undefined));
  });

  for (const [owner, what] of [
    [ATTACKER, 'of his own'],
    [0, 'of root’s, which he may read'],
  ] as const) {
    for (const [fate, then, isKnown] of [
      ['was renamed', 'mv program other', { running: false, ended: false }],
      ['was deleted', 'rm program', { running: true, ended: false }],
      ['is still there', 'true', { running: true, ended: true }],
    ] as const) {
      it(`does not stop the agent: one ${what}, whose program ${fate}`, async () => {
        const sha256 = createHash('sha256')
          .update(readFileSync(realpathSync('/bin/sleep')))
          .digest('hex');
        const digest = (known: boolean) => (known ? { sha256 } : { hashOmitted: 'unreadable' });
        assert.deepEqual(JSON.parse(await locked(LOCK_PROGRAM, LOOK_UP, `${owner}`, then)), {
          running: digest(isKnown.running),
          ended: digest(isKnown.ended),
        });
      });
    }
  }

  it('does not stop the agent if it contains own rules, which are skipped with a log line', async () => {
    const { isShipped, faults } = JSON.parse(await locked(LOCK_RULES, LOAD_RULES));
    assert.equal(isShipped, true);
    assert.deepEqual(
      faults.map(({ reason }: { reason: string }) => reason),
      [LOCKED],
    );
  });

  for (const [question, folder, where] of [
    [
      'hardware',
      'sys/class/net',
      /^Hardware can't be listed: reading \/.*\/sys\/class\/net hung, and its process was killed/,
    ],
    ['facts', 'sys/class/dmi/id', /^Facts: reading \/.*\/sys\/class\/dmi\/id hung, and its process was killed/],
  ] as const)
    it(`does not stop the agent if it is ${folder}, which a child process reads for ${question}${release(question === 'facts')}`, async () => {
      const { wrong } = JSON.parse(await locked(LOCK_SYSFS, ASK_MACHINE, question, folder));
      assert.match(wrong, where);
    });
});

/**
 * Runs a script in new mount and pid namespaces, whose processes are killed with it: a process that waits for a locked folder
 * cannot be killed otherwise.
 *
 * @returns the script's output. Kills the script and rejects if it hangs
 */
async function locked(commands: string, script: string, ...more: readonly string[]): Promise<string> {
  const folder = suiteFolder();
  chmodSync(folder, 0o755);
  const args = [`${START}${commands}`, 'sh', folder, FuseHang.program(), process.execPath, script, ...more];
  const own = ['--mount', '--propagation', 'private', '--pid', '--fork', '--kill-child', '--mount-proc'];
  const child = spawn('unshare', [...own, '/bin/sh', '-c', ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
  const exit = once(child, 'close');
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (part: string) => {
    text += part;
  });
  try {
    await systemClock.within(seconds(60), 'The end of the script', exit);
    return text;
  } finally {
    child.kill('SIGKILL'); // also kills the server
    await exit;
  }
}
