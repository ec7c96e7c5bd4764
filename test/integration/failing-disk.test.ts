import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { STATE_FILES } from '../../src/agent/state/read-state.ts';
import { minutes } from '../../src/core/base/duration.ts';
import { release } from '../fuzz.ts';
import { STEADY, TestBed } from './test-bed.ts';

const SOURCE = new URL('../../../test/integration/native/failing-disk.c', import.meta.url).pathname;
const { EIO, EROFS } = constants.errno;

describe('The agent on a disk that fails at the start', function () {
  this.timeout(300_000);
  let bed: TestBed;
  let state: string;

  beforeEach(async () => {
    bed = await TestBed.open({ desired: STEADY });
    state = join(bed.directory, 'state');
    mkdirSync(state, { mode: 0o700 });
  });
  afterEach(() => bed.close());

  const startFailing = (path: string, errno: number) => {
    const library = join(bed.directory, 'failing-disk.so');
    const build = ['-O2', '-shared', '-fPIC', '-o', library, SOURCE, '-ldl'];
    const { status, stderr } = spawnSync('cc', build, { encoding: 'utf8' });
    assert.equal(status, 0, stderr);
    const environment = { LD_PRELOAD: library, FAILING_DISK_PATH: path, FAILING_DISK_ERRNO: String(errno) };
    return bed.startAgent({ environment });
  };
  const deliversAndStops = async (agent: ReturnType<typeof startFailing>) => {
    const before = bed.events('SystemInformation').length;
    await bed.waitForEvents(() => bed.events('SystemInformation').length > before, minutes(3));
    const status = await agent.status();
    agent.kill('SIGTERM');
    assert.deepEqual(await agent.exited, { status: 0, signal: null });
    return status;
  };

  for (const [name, errno] of Object.entries({ EIO, EROFS })) {
    it(`starts, delivers events and logs the cause when no state file can be opened (${name})${release(errno === EROFS)}`, async () => {
      for (const file of Object.keys(STATE_FILES)) writeFileSync(join(state, file), '{}', { mode: 0o600 });
      const agent = startFailing(`${state}/`, errno);
      const { store } = await deliversAndStops(agent);
      assert.equal(store.place, 'memory');
      assert.match(store.reason ?? '', new RegExp(name));
      assert.ok(agent.log.some(({ msg }) => /agent id/.test(msg)));
    });
  }

  for (const part of ['agent-id', 'lock', 'queues/high', 'queues/low', 'aggregates']) {
    it(`starts and delivers events when ${part} cannot be opened${release(part !== 'queues/high')}`, async () => {
      await deliversAndStops(startFailing(join(state, part), EIO));
    });
  }

  it('starts, delivers events and stays on the disk when one segment cannot be read', async () => {
    await deliversAndStops(bed.startAgent());
    bed.hub.offline();
    const earlier = bed.startAgent();
    await earlier.waitForStatus(({ delivery }) => delivery.queued.lowEvents > 0);
    earlier.kill('SIGKILL');
    await earlier.exited;
    bed.hub.online();
    const [segment = ''] = readdirSync(join(state, 'queues/low')).sort();
    const agent = startFailing(join(state, 'queues/low', segment), EIO);
    const { store } = await deliversAndStops(agent);
    assert.equal(store.place, 'disk');
  });
});
