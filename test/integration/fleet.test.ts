import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { minutes } from '../../src/core/base/duration.ts';
import { HubEmulator } from '../../src/emulator/hub.ts';
import { addSimulatedDevices, simulatedDevice } from '../../src/emulator/simulated-devices.ts';
import { documentedQueries } from '../../src/fleet/commands/status.ts';
import { ServiceClient } from '../emulator/service/client.ts';
import { temporaryFolder } from '../harness/folders.ts';
import { until } from '../harness/until.ts';
import { nodeFlagsOf } from '../node-flags.ts';
import { AgentProcess, CLONE_PROGRAM, MODULE, NO_LIMITS, OBJECT, STEADY } from './test-bed.ts';

/** The bundle does not contain `vakt fleet`. */

describe('A fleet', function () {
  this.timeout(360_000);
  let hub: HubEmulator;
  let folder: string;
  const agents: AgentProcess[] = [];
  beforeEach(async () => {
    hub = await HubEmulator.start();
    folder = temporaryFolder();
    writeFileSync(join(folder, 'ca.pem'), hub.caPem);
    const gateway = `GatewayHostName=localhost:${hub.restPort}`;
    writeFileSync(join(folder, 'hub.txt'), `${hub.serviceConnectionString()};${gateway}\n`, { mode: 0o600 });
  });
  afterEach(async () => {
    for (const agent of agents.splice(0)) await agent.end();
    await hub.stop();
  });

  /** Runs `vakt fleet …` as a process. */
  function start(...args: string[]) {
    const access = ['--connection-string-file', join(folder, 'hub.txt'), '--trusted-ca-file', join(folder, 'ca.pem')];
    const child = spawn(process.execPath, [...nodeFlagsOf(CLONE_PROGRAM), CLONE_PROGRAM, 'fleet', ...args, ...access]);
    let out = '';
    let err = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      out += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      err += text;
    });
    const ended = new Promise<{ status: number | null; out: string; err: string }>((resolve) => {
      child.on('close', (status) => resolve({ status, out, err }));
    });
    return { child, ended };
  }
  const fleet = (...args: string[]) => start(...args).ended;

  /** Runs a real agent with the key that `vakt fleet create` has written. */
  function startAgent(deviceId: string): void {
    const directory = join(folder, deviceId);
    mkdirSync(directory, { mode: 0o700 });
    const configuration = {
      hub: {
        hostName: hub.hostName,
        gatewayHostName: `localhost:${hub.port}`,
        trustedCaFile: '../ca.pem',
        transport: 'mqtt',
      },
      identity: { kind: 'moduleKey', deviceId, moduleId: MODULE, keyFile: `../keys/${deviceId}.key` },
      stateDirectory: 'state',
      controlSocket: 'control.sock',
      limits: NO_LIMITS,
      detections: { enabled: false },
    };
    writeFileSync(join(directory, 'agent.json'), JSON.stringify(configuration), { mode: 0o600 });
    agents.push(new AgentProcess(directory));
  }

  it('is created, configured, listed and called', async () => {
    const devices = ['applies', 'refuses', 'silent'];
    for (const deviceId of devices) hub.addDevice({ deviceId });
    const steady = join(folder, 'steady.json');
    writeFileSync(steady, JSON.stringify({ [OBJECT]: STEADY }));
    const keys = join(folder, 'keys');
    const made = await fleet(
      'create',
      '--all',
      '--yes',
      '--configuration',
      steady,
      '--tag',
      'site=1',
      '--key-directory',
      keys,
    );
    assert.deepEqual([made.status, made.out, made.err], [0, `Modules ${MODULE}: 3 made.\n`, '']);
    for (const deviceId of ['applies', 'refuses']) startAgent(deviceId);
    for (const deviceId of ['applies', 'refuses']) await hub.waitForSubscription(deviceId, MODULE);
    const hasReported = (deviceId: string) => 'securityAgent' in hub.twin(deviceId, MODULE).reported;
    await until('a report of both agents', () => hasReported('applies') && hasReported('refuses'));
    // An invalid property from another writer: the agents reject the whole configuration after every merge.
    hub.patchDesired('refuses', MODULE, { [OBJECT]: { maxMessageSizeInBytes: { value: 'large' } } });

    const changed = join(folder, 'changed.json');
    writeFileSync(changed, JSON.stringify({ [OBJECT]: { snapshotFrequency: { value: 'PT3S' } } }));
    const configured = await fleet('configure', changed, '--where', 'tags.site = 1', '--yes', '--wait', 'PT20S');
    assert.equal(configured.status, 1);
    assert.match(configured.out, /^Configurations: 3 written\.$/m);
    assert.match(configured.out, /^Agents: 1 applied, 1 refused, 1 silent\.$/m);
    assert.match(
      configured.err,
      /rejected it:\n {2}refuses: maxMessageSizeInBytes must be .*\n.*PT20S:\n {2}silent\n$/,
    );
    hub.patchDesired('refuses', MODULE, { [OBJECT]: { maxMessageSizeInBytes: null } });
    const applied = await fleet(
      ...['configure', changed, '--device', 'applies', '--device', 'refuses', '--yes', '--wait', 'PT1M'],
    );
    assert.match(
      applied.out,
      /^Configurations: 2 already up to date\.\n[\s\S]*Agents: 2 applied, 0 refused, 0 silent\.$/m,
    );
    assert.equal(applied.status, 0);

    const seen = await fleet('status', '--json');
    const rows = seen.out
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    assert.deepEqual(
      rows.map(({ deviceId, connection }) => [deviceId, connection]),
      [
        ['applies', 'Connected'],
        ['refuses', 'Connected'],
        ['silent', 'Disconnected'],
      ],
    );
    assert.deepEqual((await fleet('status', '--silent', '--json')).out.match(/"deviceId":"\w+"/g), [
      '"deviceId":"silent"',
    ]);

    const called = await fleet('call', 'ping', '--all', '--yes');
    assert.equal(called.status, 1);
    assert.match(called.out, /^applies {2}200 {2}\{/m);
    assert.match(called.out, /^Calls: 2 answered, 1 failed\.$/m);

    const service = new ServiceClient(hub);
    try {
      const queries = documentedQueries();
      assert.ok(queries.length > 25, String(queries.length));
      for (const { about, sql } of queries) {
        const { rows: found } = await service.query(sql).catch((error) => assert.fail(`${about}\n${sql}\n${error}`));
        if (about.startsWith('Installed versions')) assert.equal(found[0]?.devices, 2);
        if (about.includes('never reported:')) assert.deepEqual(found, [{ deviceId: 'silent' }]);
      }
    } finally {
      service.close();
    }
  });

  it('is created completely by runs that are killed, throttled or partly fail @release', async () => {
    const count = 1_500;
    addSimulatedDevices(hub, count);
    const args = ['create', '--all', '--yes', '--tag', 'site=1'];
    const first = start(...args);
    await until('a third of the modules', () => hub.modules.length > count / 3, { limit: minutes(2) });
    first.child.kill('SIGKILL');
    await first.ended;
    const begun = hub.modules.length;
    assert.ok(begun < count, 'the run ended before it was killed');

    hub.faults.inject({ kind: 'throttleRest', perSecond: 200, retryAfter: 1 });
    hub.faults.inject({ kind: 'restStatus', status: 400, text: `${simulatedDevice(count)}/modules` });
    const second = await fleet(...args);
    assert.equal(second.status, 1);
    const [, done] = /(\d+) made, \d+ already there, 1 failed\.\n$/.exec(second.out) ?? [];
    assert.equal(Number(done), count - begun - 1, second.out);
    assert.match(second.err, new RegExp(`failed: ${simulatedDevice(count)}: `));

    hub.faults.clear();
    assert.match((await fleet(...args)).out, /: 1 made, 1499 already there\.\n$/);
    const untagged = hub.modules.filter(({ deviceId }) => hub.tags(deviceId, MODULE).site !== 1);
    assert.deepEqual(untagged, []);
    const before = hub.restRequests.length;
    assert.match((await fleet(...args)).out, /: 1500 already there\.\n$/);
    assert.ok(hub.restRequests.length - before < 20, String(hub.restRequests.length - before));
  });
});
