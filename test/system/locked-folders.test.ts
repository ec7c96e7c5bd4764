import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { chmodSync, readFileSync, realpathSync } from 'node:fs';
import { systemClock } from '../../src/base/clock.ts';
import { seconds } from '../../src/base/duration.ts';
import { openCached } from '../../src/linux/native/cached-names.ts';
import { suiteFolder } from '../support/folders.ts';
import { require } from '../support/require.ts';
import { ATTACKER, FuseHang } from './fuse-hang.ts';

const LOOK_UP = new URL('look-up-locked.js', import.meta.url).pathname;

/**
 * Runs in mounts and processes of its own, which end with it: whoever waits for a locked folder can't be killed before.
 * Arguments: a folder, native/fuse.c compiled, whose the locked folder is, Node, the script, and what becomes of the program
 * before the folder is locked.
 */
const LOCK = `
mount -t tmpfs tmpfs "$1" && cd "$1" && mkdir locked mount && chmod 755 . locked && chmod 777 mount || exit 1
mknod -m 666 fuse c 10 229 && cp "$2" lock && cp "$(readlink -f /bin/sleep)" locked/program && chmod 755 lock locked/program
chown -R "$3" locked
attack() { exec setpriv --reuid=${ATTACKER} --regid=${ATTACKER} --clear-groups "$@"; }
attack "$1/locked/program" 60 & program=$!
until [ "$(readlink "/proc/$program/exe")" = "$1/locked/program" ]; do sleep 0.05; done
cd locked && eval "$6" && cd ..
attack "$1/lock" lock "$1/fuse" "$1/mount" "$1/locked" >pids & server=$!
until [ -s pids ]; do kill -0 "$server" || exit 1; sleep 0.05; done
"$4" "$5" "$program" "$1/locked/program"
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
        assert.deepEqual(JSON.parse(await locked(owner, then)), {
          running: digest(isKnown.running),
          ended: digest(isKnown.ended),
        });
      });
    }
  }
});

/** @returns what the script wrote. Rejects when it hangs, and ends it then */
async function locked(owner: number, then: string): Promise<string> {
  const folder = suiteFolder();
  chmodSync(folder, 0o755);
  const args = [LOCK, 'sh', folder, FuseHang.program(), `${owner}`, process.execPath, LOOK_UP, then];
  const own = ['--mount', '--propagation', 'private', '--pid', '--fork', '--kill-child', '--mount-proc'];
  const child = spawn('unshare', [...own, '/bin/sh', '-c', ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
  const exit = once(child, 'close');
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (part: string) => {
    text += part;
  });
  try {
    await systemClock.within(seconds(20), 'The end of the lookup', exit);
    return text;
  } finally {
    child.kill('SIGKILL'); // and with it the server
    await exit;
  }
}
