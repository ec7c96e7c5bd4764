import assert from 'node:assert/strict';
import { chmodSync, chownSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import sinon from 'sinon';
import { ExposedFiles, exposed, type GuardedFiles } from '../../../../src/agent/linux/self/exposed-files.ts';
import { systemClock } from '../../../../src/core/base/clock.ts';
import { hours } from '../../../../src/core/base/duration.ts';
import { Lane } from '../../../../src/core/base/lane.ts';
import { createLog, type LogLine } from '../../../../src/core/base/log.ts';
import { nextTurn } from '../../../../src/core/base/waiting.ts';
import { withCopies } from '../../../harness/copies.ts';
import { temporaryFolder } from '../../../harness/folders.ts';
import { require } from '../../../harness/require.ts';

describe('exposedFiles', () => {
  let folder: string;
  let files: GuardedFiles;
  const path = (name: string) => join(folder, name);

  beforeEach(() => {
    folder = temporaryFolder();
    mkdirSync(path('etc/secrets'), { recursive: true, mode: 0o755 });
    mkdirSync(path('state/queues'), { recursive: true, mode: 0o700 });
    for (const [name, mode] of [
      ['etc/agent.json', 0o644],
      ['etc/secrets/module.key', 0o600],
      ['state/queues/segment', 0o600],
    ] as const) {
      writeFileSync(path(name), '', { mode });
    }
    files = { configuration: path('etc/agent.json'), secrets: [path('etc/secrets/module.key')], state: path('state') };
  });

  it('finds nothing with the installed permissions', async () => assert.deepEqual(await exposed(files), {}));

  for (const [name, mode, kind, finding] of [
    [
      'etc/agent.json',
      0o664,
      'configuration',
      /^Other users can write .*agent\.json \(mode 0664\)\. Run: chmod go-w '/,
    ],
    ['etc', 0o777, 'configuration', /^Other users can write .*\/etc \(mode 0777\)/],
    [
      'etc/secrets/module.key',
      0o640,
      'secrets',
      /^Other users can read .*module\.key \(mode 0640\)\. Run: chmod go-rwx '/,
    ],
    ['etc/secrets/module.key', 0o606, 'secrets', /^Other users can write /],
    ['etc/secrets', 0o775, 'secrets', /^Other users can write .*\/secrets \(mode 0775\)\. Run: chmod go-w '/],
    ['state', 0o770, 'state', /^Other users can write .*\/state /],
    ['state/queues/segment', 0o622, 'state', /^Other users can write .*segment /],
  ] as const) {
    it(`finds ${name} with the mode ${mode.toString(8)}`, async () => {
      chmodSync(path(name), mode);
      const found = await exposed(files);
      assert.deepEqual(Object.keys(found), [kind]);
      assert.match(found[kind] ?? '', finding);
    });
  }

  it('finds files of another user, who can change their mode', async function () {
    require(this, process.getuid?.() === 0 ? undefined : 'this is not root');
    chownSync(path('etc/agent.json'), 4711, 4711);
    assert.match((await exposed(files)).configuration ?? '', /belongs to user 4711\. Run: chown 0 '/);
  });

  for (const name of ['etc/secrets/module.key', 'etc/secrets']) {
    it(`returns files that systemd copies to root, such as ${name}`, async function () {
      require(this, process.getuid?.() === 0 ? undefined : 'this is not root');
      chownSync(path(name), 4711, 4711);
      const found = () => exposed({ ...files, configuration: path('none') });
      assert.match((await found()).secrets ?? '', /belongs to user 4711\. Run: chown 0 '/);
      const { secrets } = await withCopies({ [path('etc/secrets/module.key')]: '/c/module.key' }, found);
      assert.match(secrets ?? '', /belongs to user 4711\. Run: chown root '/);
    });
  }

  it('follows links, but not within the state directory', async () => {
    symlinkSync(path('etc/agent.json'), path('etc/link.json'));
    chmodSync(path('etc/agent.json'), 0o666);
    assert.match((await exposed({ ...files, configuration: path('etc/link.json') })).configuration ?? '', /link\.json/);
    symlinkSync(path('etc/agent.json'), path('state/link'));
    assert.equal((await exposed(files)).state, undefined);
  });

  it('ignores missing files', async () => {
    rmSync(path('etc'), { recursive: true });
    rmSync(path('state'), { recursive: true });
    assert.deepEqual(await exposed(files), {});
  });

  describe('while the agent runs', () => {
    let time: sinon.SinonFakeTimers;
    let logged: LogLine[];
    let changes: number;
    let watch: ExposedFiles;
    let lane: Lane;

    beforeEach(async () => {
      time = sinon.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
      logged = [];
      changes = 0;
      const log = createLog({ level: 'silent', tap: { level: 'info', accept: (line) => logged.push(line) } });
      lane = new Lane();
      watch = new ExposedFiles({ files, clock: systemClock, log, changed: () => (changes += 1), lane });
      await watch.start();
      await lane.idle();
    });
    afterEach(async () => {
      await watch.stop();
      time.restore();
    });

    const pass = async (count: number) => {
      for (let hour = 0; hour < count; hour += 1) {
        await time.tickAsync(hours(1));
        await watch.look(); // the one that has begun
      }
    };

    it('reports exposed files within the hour, once, and reports when they are fixed', async () => {
      chmodSync(path('etc/secrets/module.key'), 0o644);
      await pass(1);
      assert.match(watch.status().secrets ?? '', /mode 0644/);
      await pass(5);
      chmodSync(path('etc/secrets/module.key'), 0o600);
      await pass(1);
      assert.deepEqual(watch.status(), {});
      assert.deepEqual(
        logged.map(({ level, message }) => `${level} ${message.slice(0, 74)}`),
        [
          'warn A file of the agent is accessible to other users. (Other users can read /t',
          'info A file of the agent is no longer accessible to other users.',
        ],
      );
      assert.equal(changes, 2);
    });

    it('returns exposed files immediately on request', async () => {
      chmodSync(path('state'), 0o777);
      await watch.look();
      assert.match(watch.status().state ?? '', /mode 0777/);
    });

    it('checks again on request after a check that is under way', async () => {
      const checked = watch.look();
      const again = watch.checkAgain();
      await checked;
      chmodSync(path('state'), 0o777); // the first check has passed it
      await again;
      assert.match(watch.status().state ?? '', /mode 0777/);
    });

    it('does not block other work, and waits only once for a disk that hangs', async () => {
      let resume = () => {};
      void lane.run(() => new Promise<void>((resolve) => (resume = resolve)));
      chmodSync(path('state'), 0o777);
      const [first, second] = [watch.look(), watch.look()];
      assert.equal(first, second);
      await nextTurn();
      assert.deepEqual(watch.status(), {});
      resume();
      await first;
      assert.match(watch.status().state ?? '', /mode 0777/);
    });
  });
});
