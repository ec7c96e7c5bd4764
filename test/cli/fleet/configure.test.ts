import assert from 'node:assert/strict';
import { addSimulatedDevices, simulatedDevice } from '../../../src/emulator/simulated-devices.ts';
import { FleetBed, MODULE, OBJECT } from './bed.ts';

describe('vakt fleet configure', () => {
  let bed: FleetBed;
  beforeEach(async () => {
    bed = await FleetBed.open();
    addSimulatedDevices(bed.hub, 12);
    for (let n = 1; n <= 12; n += 1) bed.hub.addModule({ deviceId: simulatedDevice(n), moduleId: MODULE });
  });
  afterEach(() => bed.hub.stop());

  const desired = (n: number) => bed.hub.twin(simulatedDevice(n), MODULE).desired[OBJECT];
  /** Has the modules report as agents do. */
  const report = (n: number, configuration: object, mirror: object = desired(n) as object) =>
    bed.hub.patchReported(simulatedDevice(n), MODULE, {
      [OBJECT]: mirror,
      securityAgent: {
        configuration: { source: 'desired', errors: {}, warnings: {}, desiredVersion: 2, ...configuration },
      },
    });

  it('merges the file into desired, where it is not so yet', async () => {
    bed.hub.patchDesired(simulatedDevice(1), MODULE, { [OBJECT]: { snapshotFrequency: { value: 'PT1H' } } });
    bed.hub.patchDesired(simulatedDevice(2), MODULE, { [OBJECT]: { snapshotFrequency: { value: 'PT6H' } }, other: 1 });
    const file = bed.configuration({ snapshotFrequency: { value: 'PT6H' }, maxMessageSizeInBytes: null });
    const { status, out } = await bed.run('configure', file, '--all', '--yes');
    assert.deepEqual([status, out], [0, ['Configurations: 11 written, 1 already so.']]);
    assert.deepEqual(desired(1), { snapshotFrequency: { value: 'PT6H' } });
    assert.equal(bed.hub.twin(simulatedDevice(2), MODULE).desired.other, 1);
    assert.deepEqual((await bed.run('configure', file, '--all', '--yes')).out, ['Configurations: 12 already so.']);
  });

  it('takes a file in the form of config/twin.json, and chooses by the tags of modules', async () => {
    bed.hub.patchTags(simulatedDevice(4), MODULE, { ring: 'canary' });
    const members = { properties: { desired: { [OBJECT]: { snapshotFrequency: { value: 'PT6H' } } } } };
    const file = bed.write('twin.json', JSON.stringify(members));
    await bed.run('configure', file, '--where', "tags.ring = 'canary'");
    assert.deepEqual([desired(4), desired(5)], [{ snapshotFrequency: { value: 'PT6H' } }, undefined]);
  });

  it('takes a file with the configuration object alone', async () => {
    const file = bed.write('object.json', JSON.stringify({ snapshotFrequency: { value: 'PT6H' } }));
    await bed.run('configure', file, '--device', simulatedDevice(4));
    assert.deepEqual(desired(4), { snapshotFrequency: { value: 'PT6H' } });
  });

  it('prints every fault and writes nothing', async () => {
    const file = bed.configuration({
      snapshotFrequency: { value: 'six hours' },
      eventPriorityLogin: { value: 'Loud' },
      eventPriorityProcessCreat: { value: 'High' },
    });
    const err: string[] = [];
    const refused = bed.runWith({ stderr: (line) => err.push(line) }, 'configure', file, '--all', '--yes');
    await assert.rejects(refused, { id: 'TWIN_INVALID', message: /has 3 faults, and nothing was written$/ });
    assert.match(err.join('\n'), /^fault: eventPriorityProcessCreat .*did you mean "eventPriorityProcessCreate"\?$/m);
    assert.match(err.join('\n'), /^fault: snapshotFrequency must be .*$/m);
    assert.match(err.join('\n'), /^fault: eventPriorityLogin must be .*$/m);
    assert.deepEqual(bed.requests, []);
  });

  it('warns of what agents apply with a warning, and writes it', async () => {
    const file = bed.configuration({ maxMessageSizeInBytes: { value: 10_000 } });
    const { err } = await bed.run('configure', file, '--device', simulatedDevice(1));
    assert.match(err.join('\n'), /^warning: maxMessageSizeInBytes is not a multiple of 4096/);
    assert.deepEqual(desired(1), { maxMessageSizeInBytes: { value: 10_000 } });
  });

  for (const [what, text, message] of [
    ['no JSON', '{', /cannot be read: /],
    ['a list', '[]', /holds no desired properties/],
    ['another object', '{"x": {}}', /has 2 faults/],
    ['a misspelt setting alone', '{"snapshotFrequenzy": {"value": "PT6H"}}', /has 1 fault, /],
    ['nothing', '{}', /has 1 fault, /],
    ['no object', JSON.stringify({ [OBJECT]: 5 }), /has 1 fault, /],
  ] as const) {
    it(`refuses a file with ${what}`, async () => {
      const refused = bed.run('configure', bed.write('f.json', text), '--all', '--yes');
      await assert.rejects(refused, { id: 'TWIN_INVALID', message });
    });
  }

  it('refuses a file that is not there, and an object of another name unless it is told of it', async () => {
    await assert.rejects(bed.run('configure', '/nowhere/x', '--all', '--yes'), {
      id: 'TWIN_INVALID',
      message: /ENOENT/,
    });
    const file = bed.write('f.json', JSON.stringify({ own: { snapshotFrequency: { value: 'PT6H' } } }));
    await assert.rejects(bed.run('configure', file, '--all', '--yes'), { id: 'TWIN_INVALID' });
    await bed.run('configure', file, '--device', simulatedDevice(1), '--twin-object-name', 'own');
    assert.deepEqual(bed.hub.twin(simulatedDevice(1), MODULE).desired.own, { snapshotFrequency: { value: 'PT6H' } });
  });

  it('names devices that have no module', async () => {
    bed.hub.addDevice({ deviceId: 'bare' });
    const file = bed.configuration({ snapshotFrequency: { value: 'PT6H' } });
    const { status, err } = await bed.run('configure', file, '--device', 'bare');
    assert.deepEqual([status, err[0]], [1, `failed: bare: 404 ModuleNotFound: ${MODULE}`]);
  });

  it('asks, or only says what it would do', async () => {
    const file = bed.configuration({ snapshotFrequency: { value: 'PT6H' } });
    await assert.rejects(bed.run('configure', file, '--all'), { name: 'UsageError', message: /confirm it with --yes/ });
    const { out } = await bed.run('configure', file, '--all', '--dry-run');
    assert.deepEqual([out.length, out.at(-1), desired(1)], [13, 'Would be done: 12 written.', undefined]);
  });

  describe('with --wait', () => {
    const file = () => bed.configuration({ snapshotFrequency: { value: 'PT6H' } });
    const wait = (limit: string) => bed.run('configure', file(), '--all', '--yes', '--wait', limit);

    it('says who obeys, who refuses and why, and who is silent', async () => {
      await bed.run('configure', file(), '--all', '--yes');
      for (let n = 1; n <= 9; n += 1) report(n, {});
      report(9, {}, { snapshotFrequency: { value: 'PT13H' } }); // its local file allows no shorter one
      report(10, { errors: { maxMessageSizeInBytes: 'must be an integer\u001b[2J' } });
      report(11, { desiredVersion: 1 });
      const { status, out, err } = await wait('PT1S');
      assert.equal(status, 1);
      assert.equal(out.at(-1), 'Agents: 9 obey (1 within local limits), 1 refuse, 2 silent.');
      assert.deepEqual(err, [
        'These refuse it, with the reason that each gives:',
        `  ${simulatedDevice(10)}: maxMessageSizeInBytes must be an integer·[2J`,
        'These have been silent for PT1S:',
        `  ${simulatedDevice(11)}`,
        `  ${simulatedDevice(12)}`,
      ]);
    });

    it('ends as soon as all have answered', async () => {
      bed.hub.on('restRequest', ({ method, path }) => {
        const [, deviceId] = /^\/twins\/([^/]+)\//.exec(path) ?? [];
        if (method === 'PATCH' && deviceId !== undefined) report(Number(deviceId.slice(4)), {});
      });
      const { status, out } = await wait('PT10M');
      assert.deepEqual([status, out.at(-1)], [0, 'Agents: 12 obey, 0 refuse, 0 silent.']);
    });

    it('does not take for obedience what was reported about an earlier configuration', async () => {
      for (let n = 1; n <= 12; n += 1) report(n, { desiredVersion: 1 }, {});
      const { out } = await wait('PT1S');
      assert.equal(out.at(-1), 'Agents: 0 obey, 0 refuse, 12 silent.');
    });
  });
});
