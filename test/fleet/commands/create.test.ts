import assert from 'node:assert/strict';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { addSimulatedDevices, simulatedDevice } from '../../../src/emulator/simulated-devices.ts';
import { FleetBed, MODULE, OBJECT } from './bed.ts';

describe('vakt fleet create', () => {
  let bed: FleetBed;
  beforeEach(async () => {
    bed = await FleetBed.open();
  });
  afterEach(() => bed.hub.stop());

  const keyOf = (deviceId: string) => {
    const credential = bed.hub.getModule(deviceId, MODULE)?.credential;
    return credential?.type === 'sas' ? credential.primaryKey : undefined;
  };

  it('makes the module where it is missing, with tags and configuration, and finds nothing to do afterwards', async () => {
    addSimulatedDevices(bed.hub, 30);
    bed.hub.addModule({ deviceId: simulatedDevice(7), moduleId: MODULE });
    bed.hub.patchTags(simulatedDevice(7), MODULE, { mine: true });
    const file = bed.configuration({ snapshotFrequency: { value: 'PT6H' } });
    const args = [
      'create',
      '--all',
      '--yes',
      '--tag',
      'securityGroup=default',
      '--tag',
      'site=4',
      '--configuration',
      file,
    ];
    const { status, out, err } = await bed.run(...args);
    assert.deepEqual([status, out, err], [0, [`Modules ${MODULE}: 29 made, 1 already there.`], []]);
    assert.equal(bed.hub.modules.length, 30);
    const made = simulatedDevice(30);
    assert.deepEqual(bed.hub.tags(made, MODULE), { securityGroup: 'default', site: 4 });
    assert.deepEqual(bed.hub.twin(made, MODULE).desired[OBJECT], { snapshotFrequency: { value: 'PT6H' } });
    assert.deepEqual(bed.hub.tags(simulatedDevice(7), MODULE), { mine: true });

    const before = bed.requests.length;
    assert.deepEqual((await bed.run(...args)).out, [`Modules ${MODULE}: 30 already there.`]);
    assert.deepEqual(bed.requests.slice(before), Array(3).fill('POST /devices/query')); // count, devices, modules
  });

  it('chooses by the twins of devices', async () => {
    addSimulatedDevices(bed.hub, 30);
    await bed.run('create', '--where', 'tags.site = 3', '--yes');
    assert.deepEqual(
      bed.hub.modules.map(({ deviceId }) => deviceId),
      [3, 13, 23].map(simulatedDevice),
    );
  });

  it('finishes modules of an interrupted run, but skips twins with other changes', async () => {
    for (const deviceId of ['begun', 'tagged', 'configured']) bed.hub.addModule({ deviceId, moduleId: MODULE });
    bed.hub.patchTags('tagged', MODULE, { a: 1 });
    bed.hub.patchDesired('configured', MODULE, { a: 1 });
    const { out } = await bed.run('create', '--all', '--yes', '--tag', 'site=1');
    assert.deepEqual(out, [`Modules ${MODULE}: 1 finished, 2 already there.`]);
    assert.deepEqual(bed.hub.tags('begun', MODULE), { site: 1 });
    assert.deepEqual(bed.hub.tags('tagged', MODULE), { a: 1 });
    assert.deepEqual(bed.hub.tags('configured', MODULE), {});
  });

  it('overwrites only if asked, and then keeps the keys', async () => {
    bed.hub.addModule({ deviceId: 'dev1', moduleId: MODULE });
    bed.hub.patchTags('dev1', MODULE, { site: 1, other: 2 });
    const key = keyOf('dev1');
    const { out } = await bed.run('create', '--device', 'dev1', '--tag', 'site=9', '--overwrite');
    assert.deepEqual(out, [`Modules ${MODULE}: 1 overwritten.`]);
    assert.deepEqual([bed.hub.tags('dev1', MODULE), keyOf('dev1')], [{ site: 9, other: 2 }, key]);
  });

  it('overwrites a value that is an object as a whole', async () => {
    const exception = { rule: 'IoT_X', field: 'Image', equals: '/x' };
    bed.hub.addModule({ deviceId: 'dev1', moduleId: MODULE });
    const value = { a: exception, old: exception };
    bed.hub.patchDesired('dev1', MODULE, { [OBJECT]: { detectionsExceptions: { value } } });
    const file = bed.configuration({ detectionsExceptions: { value: { a: exception } } });
    await bed.run('create', '--device', 'dev1', '--tag', 'site=9', '--configuration', file, '--overwrite');
    const { desired } = bed.hub.twin('dev1', MODULE);
    assert.deepEqual(desired[OBJECT], { detectionsExceptions: { value: { a: exception } } });
    assert.deepEqual(bed.hub.tags('dev1', MODULE), { site: 9 });
  });

  it('writes keys to files that only their owner can read, and prints none', async () => {
    addSimulatedDevices(bed.hub, 3);
    const keys = join(bed.folder, 'keys');
    const { out, err } = await bed.run('create', '--all', '--yes', '--key-directory', keys);
    assert.deepEqual(
      readdirSync(keys).sort(),
      [1, 2, 3].map((n) => `${simulatedDevice(n)}.key`),
    );
    assert.equal(statSync(keys).mode & 0o777, 0o700);
    for (const { deviceId } of bed.hub.modules) {
      const file = join(keys, `${deviceId}.key`);
      assert.equal(readFileSync(file, 'utf8'), `${keyOf(deviceId)}\n`);
      assert.equal(statSync(file).mode & 0o777, 0o600);
      assert.ok(![...out, ...err].join('\n').includes(keyOf(deviceId) ?? ''));
    }
    const before = bed.requests.length;
    await bed.run('create', '--all', '--yes', '--key-directory', keys);
    assert.ok(bed.requests.slice(before).every((request) => request === 'POST /devices/query'));
  });

  it('names a module without a key as a failure', async () => {
    bed.hub.addModule({ deviceId: 'dev1', moduleId: MODULE, credential: { type: 'certificateAuthority' } });
    const { status, err } = await bed.run('create', '--device', 'dev1', '--key-directory', join(bed.folder, 'keys'));
    assert.deepEqual([status, err[0]], [1, 'failed: dev1: the module has no key: it uses a certificate']);
  });

  it('refuses a directory for keys that other users can look into', async () => {
    bed.hub.addDevice({ deviceId: 'dev1' });
    const refused = bed.run('create', '--device', 'dev1', '--key-directory', '/tmp');
    await assert.rejects(refused, { id: 'SECRET_FILE_EXPOSED', message: '/tmp is open to other users' });
    assert.equal(bed.hub.modules.length, 0);
  });

  it('continues after single failures, names each once, and retries only them when run again', async () => {
    addSimulatedDevices(bed.hub, 12);
    bed.hub.faults.inject({ kind: 'restStatus', status: 400, text: `${simulatedDevice(5)}/modules` });
    const { status, out, err } = await bed.run('create', '--all', '--yes');
    assert.deepEqual([status, out], [1, [`Modules ${MODULE}: 11 made, 1 failed.`]]);
    assert.deepEqual(err, [`failed: ${simulatedDevice(5)}: 400 InvalidProtocolVersion: injected by a fault`]);
    bed.hub.faults.clear();
    assert.deepEqual((await bed.run('create', '--all', '--yes')).out, [`Modules ${MODULE}: 1 made, 11 already there.`]);
  });

  it('names a device that does not exist', async () => {
    const { status, err } = await bed.run('create', '--device', 'none');
    assert.deepEqual([status, err[0]], [1, 'failed: none: 404 DeviceNotFound: none']);
  });

  it('waits when the hub throttles it, as long as the hub says', async () => {
    addSimulatedDevices(bed.hub, 40);
    bed.hub.faults.inject({ kind: 'throttleRest', perSecond: 20, retryAfter: 1 });
    assert.deepEqual((await bed.run('create', '--all', '--yes')).out, [`Modules ${MODULE}: 40 made.`]);
    assert.ok(bed.hub.restRequests.some(({ status }) => status === 429));
  });

  it('takes up a module that an attempt without an answer has made', async () => {
    bed.hub.addDevice({ deviceId: 'dev1' });
    // The first answer is lost after the hub has acted.
    bed.hub.once('restRequest', () => bed.hub.addModule({ deviceId: 'dev1', moduleId: MODULE }));
    const { out } = await bed.run('create', '--device', 'dev1', '--tag', 'a=b');
    assert.deepEqual(out, [`Modules ${MODULE}: 1 finished.`]);
    assert.deepEqual(bed.hub.tags('dev1', MODULE), { a: 'b' });
  });

  it('prints the changes in a dry run, and changes nothing', async () => {
    addSimulatedDevices(bed.hub, 2);
    bed.hub.addModule({ deviceId: simulatedDevice(1), moduleId: MODULE });
    const keys = join(bed.folder, 'keys');
    const { status, out } = await bed.run('create', '--all', '--dry-run', '--tag', 'a=1', '--key-directory', keys);
    assert.deepEqual(
      [status, out],
      [
        0,
        [
          `would be finished: ${simulatedDevice(1)}/${MODULE}`,
          `would make ${simulatedDevice(2)}/${MODULE}`,
          'Dry run, nothing was done. Without --dry-run: 1 finished, 1 made.',
        ],
      ],
    );
    assert.equal(bed.hub.modules.length, 1);
    assert.deepEqual(readdirSync(bed.folder).includes('keys'), false);
    assert.ok(bed.requests.every((request) => request === 'POST /devices/query'));
  });

  describe('confirmation of changes to several devices', () => {
    beforeEach(() => addSimulatedDevices(bed.hub, 3));

    it('continues if the answer is yes', async () => {
      const asked: string[] = [];
      const confirm = async (question: string) => asked.push(question) > 0;
      await bed.runWith({ confirm }, 'create', '--all');
      assert.deepEqual(asked, [
        `This will make the module ${MODULE} on up to 3 devices of ${bed.hub.hostName}. Continue?`,
      ]);
      assert.equal(bed.hub.modules.length, 3);
    });

    it('changes nothing if the answer is no', async () => {
      const { status, err } = await bed.runWith({ confirm: async () => false }, 'create', '--all');
      assert.deepEqual([status, err, bed.hub.modules.length], [1, ['Nothing was changed.'], 0]);
    });

    it('requires --yes without a terminal', async () => {
      await assert.rejects(bed.run('create', '--all'), { name: 'UsageError', message: /confirm it with --yes$/ });
    });

    it('changes one device without asking', async () => {
      assert.equal((await bed.run('create', '--device', simulatedDevice(1))).status, 0);
    });
  });

  it('stops at a signal, and reports that it is not finished', async () => {
    addSimulatedDevices(bed.hub, 200);
    const stop = new AbortController();
    let seen = 0;
    bed.hub.on('restRequest', () => {
      seen += 1;
      if (seen === 20) stop.abort();
    });
    const { status, out } = await bed.runWith({ signal: stop.signal }, 'create', '--all', '--yes');
    assert.equal(status, 1);
    assert.match(
      out.at(-1) ?? '',
      /^Modules azureiotsecurity: \d+ made; not finished, run the command again to continue\.$/,
    );
    assert.ok(bed.hub.modules.length < 40, String(bed.hub.modules.length));
    const again = await bed.run('create', '--all', '--yes');
    assert.equal(again.status, 0);
    assert.equal(bed.hub.modules.length, 200);
  });

  it('shows progress on a terminal, above which results stay', async () => {
    addSimulatedDevices(bed.hub, 40);
    const { out } = await bed.runWith({ terminal: true, columns: 60 }, 'create', '--all', '--yes');
    assert.match(out[0] ?? '', /^\d+ of 40: \d+ made$/);
    assert.equal(out.at(-1), `\u001b[A\u001b[2KModules ${MODULE}: 40 made.`);
  });

  for (const [args, message] of [
    [['create'], 'choose devices by one of --device, --where and --all'],
    [['create', '--all', '--device', 'a'], 'choose devices by one of --device, --where and --all'],
    [['create', 'dev1'], 'unexpected argument "dev1"; devices are named by --device'],
    [['create', '--all', '--overwrite', '--yes'], '--overwrite needs --tag or --configuration'],
    [['create', '--all', '--yes', '--tag', 'a'], '--tag takes NAME=VALUE, not "a"'],
    [['create', '--all', '--yes', '--tag', 'a.b=1'], '--tag takes NAME=VALUE, not "a.b=1"'],
    [['create', '--all', '--wait', 'PT1M'], '"vakt fleet create" has no option --wait'],
    [['creat', '--all'], '"creat" is not one of create, configure, status, call; did you mean "create"?'],
    [[], 'name a command: create, configure, status or call'],
  ] as const)
    it(`refuses ${args.join(' ')}`, () => assert.rejects(bed.run(...args), { name: 'UsageError', message }));
});
