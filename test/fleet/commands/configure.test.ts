import assert from 'node:assert/strict';
import sinon from 'sinon';
import { addSimulatedDevices, simulatedDevice } from '../../../src/emulator/simulated-devices.ts';
import { HubService } from '../../../src/fleet/service.ts';
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
    assert.deepEqual([status, out], [0, ['Configurations: 11 written, 1 already up to date.']]);
    assert.deepEqual(desired(1), { snapshotFrequency: { value: 'PT6H' } });
    assert.equal(bed.hub.twin(simulatedDevice(2), MODULE).desired.other, 1);
    assert.deepEqual((await bed.run('configure', file, '--all', '--yes')).out, [
      'Configurations: 12 already up to date.',
    ]);
  });

  describe('with a value that is an object', () => {
    const EXCEPTION = { rule: 'IoT_X', field: 'Image', equals: '/x' };
    const OTHER = { rule: 'IoT_CryptoMiner', field: 'Image', startsWith: '/tmp/work' };
    const write = (exceptions: unknown, ...args: string[]) => {
      const file = bed.configuration({ detectionsExceptions: { value: exceptions } });
      return bed.run('configure', file, '--device', simulatedDevice(1), ...args);
    };
    const has = (exceptions: object) =>
      bed.hub.patchDesired(simulatedDevice(1), MODULE, {
        [OBJECT]: { detectionsExceptions: { value: exceptions, note: 'mine' }, snapshotFrequency: { value: 'PT6H' } },
      });
    const isNow = (exceptions: object) =>
      assert.deepEqual(desired(1), {
        detectionsExceptions: { value: exceptions, note: 'mine' },
        snapshotFrequency: { value: 'PT6H' },
      });

    it('removes what the file no longer has, and leaves other properties', async () => {
      has({ a: EXCEPTION, old: OTHER });
      assert.deepEqual((await write({ a: EXCEPTION })).out, ['Configurations: 1 written.']);
      isNow({ a: EXCEPTION });
      assert.deepEqual((await write({ a: EXCEPTION })).out, ['Configurations: 1 already up to date.']);
      assert.deepEqual((await write({})).out, ['Configurations: 1 written.']);
      isNow({});
    });

    it('does so for modules that a query finds', async () => {
      has({ a: EXCEPTION, old: OTHER });
      const file = bed.configuration({ detectionsExceptions: { value: { a: EXCEPTION } } });
      assert.deepEqual((await bed.run('configure', file, '--all', '--yes')).out, ['Configurations: 12 written.']);
      isNow({ a: EXCEPTION });
      assert.deepEqual((await bed.run('configure', file, '--all', '--yes')).out, [
        'Configurations: 12 already up to date.',
      ]);
    });

    it('replaces one by one that compares otherwise, which agents do not refuse', async () => {
      has({ a: EXCEPTION, old: OTHER });
      const { equals: _, ...rest } = EXCEPTION;
      const changed = { a: { ...rest, startsWith: '/x/y' }, old: OTHER };
      assert.equal((await write(changed)).status, 0);
      isNow(changed);
    });

    it('keeps what somebody else writes at the same moment from being lost or refused', async () => {
      has({ a: EXCEPTION });
      let isFirst = true;
      bed.hub.on('restRequest', ({ method, path }) => {
        if (method !== 'GET' || !path.startsWith('/twins/') || !isFirst) return;
        isFirst = false;
        queueMicrotask(() => has({ b: OTHER }));
      });
      assert.equal((await write({ a: { ...EXCEPTION, equals: '/z' } })).status, 0);
      isNow({ a: { ...EXCEPTION, equals: '/z' } });
    });

    it('prints the changes in a dry run, and writes nothing', async () => {
      has({ a: EXCEPTION, old: OTHER });
      const { out } = await write({ a: EXCEPTION }, '--dry-run');
      assert.deepEqual(out.at(-1), 'Dry run, nothing was done. Without --dry-run: 1 written.');
      isNow({ a: EXCEPTION, old: OTHER });
    });

    it('waits for agents that no longer have the exception', async () => {
      has({ a: EXCEPTION });
      report(1, {}, { detectionsExceptions: { value: { a: EXCEPTION, old: OTHER } } });
      const { out } = await write({ a: EXCEPTION }, '--wait', 'PT1S');
      assert.equal(out.at(-1), 'Agents: 1 applied (1 within local limits), 0 refused, 0 silent.');
    });
  });

  it('warns of a twin that agents refuse for something else', async () => {
    bed.hub.patchDesired(simulatedDevice(1), MODULE, { [OBJECT]: { maxMessageSizeInBytes: { value: 'large' } } });
    const file = bed.configuration({ snapshotFrequency: { value: 'PT6H' } });
    for (const dry of [['--dry-run'], []]) {
      const { status, err } = await bed.run('configure', file, '--device', simulatedDevice(1), ...dry);
      assert.equal(status, 0);
      const refused = 'agents will reject it because of other properties in the twin';
      const [warning = '', ...others] = err;
      assert.ok(
        warning.startsWith(`warning: ${simulatedDevice(1)}: ${refused}: maxMessageSizeInBytes must be`),
        warning,
      );
      assert.deepEqual(others, []);
    }
    const corrected = bed.configuration({ snapshotFrequency: { value: 'PT1H' }, maxMessageSizeInBytes: null });
    assert.deepEqual((await bed.run('configure', corrected, '--device', simulatedDevice(1))).err, []);
    assert.deepEqual(desired(1), { snapshotFrequency: { value: 'PT1H' } });
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
    ['a list', '[]', /has no desired properties/],
    ['another object', '{"x": {}}', /has 2 faults/],
    ['a misspelt setting alone', '{"snapshotFrequenzy": {"value": "PT6H"}}', /has 1 fault, /],
    ['nothing', '{}', /has 1 fault, /],
    [
      'a setting twice',
      `{"${OBJECT}": {"eventPriorityLogin": {"value": "High"}, "eventPriorityLogin": {"value": "Off"}}}`,
      /has 1 fault, /,
    ],
    ['deep nesting', `{"${OBJECT}": ${'{"a":'.repeat(8_000)}1${'}'.repeat(8_000)}}`, /nested more than 32 levels/],
    ['no object', JSON.stringify({ [OBJECT]: 5 }), /has 1 fault, /],
  ] as const) {
    it(`refuses a file with ${what}`, async () => {
      const refused = bed.run('configure', bed.write('f.json', text), '--all', '--yes');
      await assert.rejects(refused, { id: 'TWIN_INVALID', message });
    });
  }

  it('rejects a missing file, and an object of another name without --twin-object-name', async () => {
    await assert.rejects(bed.run('configure', '/nowhere/x', '--all', '--yes'), {
      id: 'CONFIG_FILE_MISSING',
      message: /\/nowhere\/x does not exist/,
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
    assert.deepEqual(
      [out.length, out.at(-1), desired(1)],
      [13, 'Dry run, nothing was done. Without --dry-run: 12 written.', undefined],
    );
  });

  describe('with --wait', () => {
    const file = () => bed.configuration({ snapshotFrequency: { value: 'PT6H' } });
    const wait = (limit: string) => bed.run('configure', file(), '--all', '--yes', '--wait', limit);

    it('lists agents that applied it, refused it with their reasons, or are silent', async () => {
      await bed.run('configure', file(), '--all', '--yes');
      for (let n = 1; n <= 9; n += 1) report(n, {});
      report(9, {}, { snapshotFrequency: { value: 'PT13H' } }); // its local file allows no shorter one
      report(10, { errors: { maxMessageSizeInBytes: 'must be an integer\u001b[2J' } });
      report(11, { desiredVersion: 1 });
      const { status, out, err } = await wait('PT1S');
      assert.equal(status, 1);
      assert.equal(out.at(-1), 'Agents: 9 applied (1 within local limits), 1 refused, 2 silent.');
      assert.deepEqual(err, [
        'These agents rejected it:',
        `  ${simulatedDevice(10)}: maxMessageSizeInBytes must be an integer·[2J`,
        'These agents have been silent for PT1S:',
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
      assert.deepEqual([status, out.at(-1)], [0, 'Agents: 12 applied, 0 refused, 0 silent.']);
    });

    it('waits for devices for which the condition no longer holds, and names one that is gone', async () => {
      for (const n of [1, 2]) bed.hub.patchTags(simulatedDevice(n), MODULE, { ring: 'canary' });
      let applies = false;
      bed.hub.on('restRequest', ({ method, path }) => {
        const [, deviceId] = /^\/twins\/([^/]+)\//.exec(path) ?? [];
        if (method !== 'PATCH' || deviceId === undefined) return;
        bed.hub.patchTags(deviceId, MODULE, { ring: 'done' });
        if (applies || deviceId === simulatedDevice(1)) report(Number(deviceId.slice(4)), {});
      });
      const where = ['--where', "tags.ring = 'canary'", '--yes', '--wait'];
      const { status, out, err } = await bed.run('configure', file(), ...where, 'PT1S');
      assert.deepEqual([status, out.at(-1)], [1, 'Agents: 1 applied, 0 refused, 1 silent.']);
      assert.equal(err.at(-1), `  ${simulatedDevice(2)}`);
      applies = true;
      bed.hub.patchTags(simulatedDevice(3), MODULE, { ring: 'canary' });
      assert.equal((await bed.run('configure', file(), ...where, 'PT10M')).status, 0);
    });

    describe('while queries still show the twin before another configuration', () => {
      const GOOD = { snapshotFrequency: { value: 'PT6H' } };
      const BAD = { snapshotFrequency: { value: 'PT7H' } };
      const good = (options: readonly string[] = []) =>
        bed.run('configure', bed.configuration(GOOD), ...options, '--yes', '--wait', 'PT1S');
      const put = (document: object) => bed.hub.patchDesired(simulatedDevice(1), MODULE, { [OBJECT]: document });
      let query: sinon.SinonStub;

      beforeEach(() => {
        put(GOOD);
        query = sinon.stub(HubService.prototype, 'query').callsFake(async function* () {
          const configuration = { desiredVersion: 2, errors: {}, source: 'desired' };
          const row = { version: 2, document: GOOD, desired: GOOD, mirror: GOOD, configuration };
          yield [{ count: 1, deviceId: simulatedDevice(1), ...row }];
        });
        put(BAD);
      });
      afterEach(() => query.restore());

      for (const choice of [['--all'], ['--where', "tags.ring = 'canary'"], ['--device', simulatedDevice(1)]]) {
        it(`writes by the twin, and takes no agent's word about what was before: ${choice[0]}`, async () => {
          const { status, out } = await good(choice);
          assert.deepEqual(desired(1), GOOD);
          assert.equal(out[0], 'Configurations: 1 written.');
          assert.deepEqual([status, out.at(-1)], [1, 'Agents: 0 applied, 0 refused, 1 silent.']);
        });
      }

      it('waits for agents whose twin another writer configured in the meantime', async () => {
        put(GOOD);
        const { status, out } = await good(['--all']);
        assert.equal(out[0], 'Configurations: 1 already up to date.');
        assert.deepEqual([status, out.at(-1)], [1, 'Agents: 0 applied, 0 refused, 1 silent.']);
      });
    });

    it('does not take for obedience what was reported about an earlier configuration', async () => {
      for (let n = 1; n <= 12; n += 1) report(n, { desiredVersion: 1 }, {});
      const { out } = await wait('PT1S');
      assert.equal(out.at(-1), 'Agents: 0 applied, 0 refused, 12 silent.');
    });
  });
});
