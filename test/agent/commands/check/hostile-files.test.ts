import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { prepareDryRun } from '../../../../src/agent/commands/dry-run.ts';
import { readLocalSettings } from '../../../../src/agent/config/local.ts';
import { worldOf } from '../world.ts';
import { assertFinding, CheckBench } from './bench.ts';

/** What the agent's user could put where root's commands look. */
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
  it('shows nothing of the path of its folder as it is', async () => {
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

describe('Root’s commands, with files that the agent’s user has exchanged', () => {
  let bench: CheckBench;
  beforeEach(() => {
    bench = new CheckBench();
    mkdirSync(bench.path('state'), { mode: 0o700 });
    bench.configure();
  });
  afterEach(() => bench.close());

  for (const [what, put] of Object.entries(EXCHANGES)) {
    it(`take the configuration last known for missing when it is ${what}`, async () => {
      put(bench.path('state/last-good-configuration.json'));
      put(bench.path('state/agent-id'));
      const [, disk] = await bench.look('state directory', 'disk');
      assert.notEqual(disk?.state, 'wrong');
      const dryRun = await prepareDryRun(bench.path('agent.json'), world());
      dryRun.remove();
    });

    it(`refuse a list of authorities that is ${what}`, async () => {
      const authorities = bench.path('ca.pem');
      put(authorities);
      bench.configure({ hub: { hostName: 'localhost', trustedCaFile: authorities } });
      const found = await bench.lookAt('secrets');
      assertFinding(found, 'wrong', /CA_FILE_UNUSABLE/);
      assert.doesNotMatch(found.finding, /root:/);
    });

    it(`refuse a configuration in a folder of others that is ${what}`, () => {
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

  it('follow no link out of the state directory, however it is made', async () => {
    symlinkSync('/', bench.path('state/everything'));
    symlinkSync('..', bench.path('state/again'));
    const found = await bench.look('state directory', 'disk');
    for (const { finding } of found) assert.doesNotMatch(finding, /everything\/|again\//);
  });

  it('believe no process id of an agent that is no number', async () => {
    execFileSync('mkfifo', [bench.path('status')]);
    await bench.run({ pid: `../${bench.folder}`, state: 'running', hub: { state: 'connected' }, collectors: {} });
    assert.equal((await bench.look('capabilities')).length, 1);
  });
});

describe('A remedy of vakt check', () => {
  it('has its paths as one word each, whatever they are called', async () => {
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
