import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { prepareDryRun } from '../../../../src/agent/commands/dry-run.ts';
import { readLocalSettings } from '../../../../src/agent/config/local.ts';
import { worldOf } from '../world.ts';
import { assertFinding, CheckBench } from './bench.ts';

/** Replacements that the agent's user could create at paths that root's commands read. */
const EXCHANGES: Readonly<Record<string, (path: string) => void>> = {
  'a named pipe': (path) => void execFileSync('mkfifo', [path]),
  'a link to another file': (path) => symlinkSync('/etc/passwd', path),
  'a link to a device': (path) => symlinkSync('/dev/zero', path),
  'a huge file': (path) => {
    writeFileSync(path, '');
    truncateSync(path, 1e12);
  },
};

const world = () => worldOf(() => {}, { stderr: () => {} });

describe('A dry run', () => {
  it('a dry run replaces control characters when it prints the path of its folder', async () => {
    const bench = new CheckBench();
    bench.configure();
    const folder = bench.path('\u001b[2J');
    mkdirSync(folder);
    const { TMPDIR } = process.env;
    const said: string[] = [];
    try {
      process.env.TMPDIR = folder;
      const saying = worldOf(() => {}, { stderr: (line) => said.push(line) });
      const { remove } = await prepareDryRun(bench.path('agent.json'), saying);
      remove();
    } finally {
      if (TMPDIR === undefined) delete process.env.TMPDIR;
      else process.env.TMPDIR = TMPDIR;
      bench.close();
    }
    assert.match(said.join('\n'), /State is kept in .*·\[2J/);
  });
});

describe('Root’s commands, with files that the agent’s user replaced', () => {
  let bench: CheckBench;
  beforeEach(() => {
    bench = new CheckBench();
    mkdirSync(bench.path('state'), { mode: 0o700 });
    bench.configure();
  });
  afterEach(() => bench.close());

  for (const [what, put] of Object.entries(EXCHANGES)) {
    it(`check and a dry run ignore the last good configuration when it is ${what}`, async () => {
      put(bench.path('state/last-good-configuration.json'));
      put(bench.path('state/agent-id'));
      const [, disk] = await bench.look('state directory', 'disk');
      assert.notEqual(disk?.state, 'wrong');
      const dryRun = await prepareDryRun(bench.path('agent.json'), world());
      dryRun.remove();
    });

    it(`check reports a trusted authority file that is ${what}`, async () => {
      const authorities = bench.path('ca.pem');
      put(authorities);
      bench.configure({ hub: { hostName: 'localhost', trustedCaFile: authorities } });
      const found = await bench.lookAt('secrets');
      assertFinding(found, 'wrong', /CA_FILE_UNUSABLE/);
      assert.doesNotMatch(found.finding, /root:/);
    });

    it(`readLocalSettings rejects a configuration that is ${what} in a folder that all users can write to`, () => {
      const folder = mkdtempSync(join(tmpdir(), 'vakt-hostile-'));
      try {
        chmodSync(folder, 0o777);
        put(join(folder, 'agent.json'));
        assert.throws(() => readLocalSettings(join(folder, 'agent.json'), {}), {
          id: 'CONFIG_FILE_UNREADABLE',
          message: /^(?!.*root:)/,
        });
      } finally {
        rmSync(folder, { recursive: true });
      }
    });
  }

  it('check does not follow symbolic links in the state directory', async () => {
    symlinkSync('/', bench.path('state/everything'));
    symlinkSync('..', bench.path('state/again'));
    const found = await bench.look('state directory', 'disk');
    for (const { finding } of found) assert.doesNotMatch(finding, /everything\/|again\//);
  });

  it('check ignores a process id in the agent’s status that is not a number', async () => {
    execFileSync('mkfifo', [bench.path('status')]);
    await bench.run({ pid: `../${bench.folder}`, state: 'running', hub: { state: 'connected' }, collectors: {} });
    assert.equal((await bench.look('capabilities')).length, 1);
  });
});

describe('A remedy of vakt check', () => {
  it('a remedy quotes a path that contains shell characters', async () => {
    const bench = new CheckBench();
    try {
      const folder = bench.path("it's $HOME; `id` * -rf");
      mkdirSync(folder);
      bench.configure({ stateDirectory: folder });
      chmodSync(folder, 0o777);
      const { remedy = '' } = await bench.lookAt('state directory');
      const [, command = ''] = /: (chmod .*)$/.exec(remedy) ?? [];
      execFileSync('sh', ['-c', command]);
      assertFinding(await bench.lookAt('state directory'), 'ok', /writable/);
    } finally {
      await bench.close();
    }
  });
});
