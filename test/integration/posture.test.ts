import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { collectors } from '../../src/agent/collectors/index.ts';
import type { ShownPosture } from '../../src/agent/commands/posture/own.ts';
import type { Posture, SecurityAgentStatus } from '../../src/agent/status/schema.ts';
import { minutes } from '../../src/core/base/duration.ts';
import { until } from '../harness/until.ts';
import { nodeFlagsOf } from '../node-flags.ts';
import { type AgentProcess, DEVICE, MODULE, PROGRAM, STEADY, TestBed } from './test-bed.ts';

/** All events are off, except those that a test enables. */
const QUIET = {
  ...STEADY,
  snapshotFrequency: { value: 'PT1S' },
  // Counters are not reported during a test: all changes it waits for are reported immediately.
  highPriorityMessageFrequency: { value: 'PT1H' },
  ...Object.fromEntries(collectors.map(({ name }) => [`eventPriority${name}`, { value: 'Off' }])),
};

describe('The posture in reported', function () {
  this.timeout(minutes(2));
  let bed: TestBed;
  let agent: AgentProcess;
  const servers: Server[] = [];

  const open = async (desired: object, local: object = {}) => {
    bed = await TestBed.open({ desired: { ...QUIET, ...desired } });
    bed.startWith({ ...QUIET, ...desired });
    bed.writeConfiguration(local);
    agent = bed.startAgent();
  };
  afterEach(async () => {
    for (const server of servers.splice(0)) server.close();
    await bed.close();
  });

  const posture = () =>
    (bed.hub.twin(DEVICE, MODULE).reported.securityAgent as SecurityAgentStatus | undefined)?.posture ?? {};
  const reported = (change: string, predicate: (posture: Posture) => unknown) =>
    until(
      () => `${change}: ${JSON.stringify(posture())}`,
      () => Boolean(predicate(posture())),
      { limit: minutes(1) },
    );
  const vakt = (...args: string[]) =>
    spawnSync(process.execPath, [...nodeFlagsOf(PROGRAM), PROGRAM, 'posture', ...args], { encoding: 'utf8' });
  const configuration = () => join(bed.directory, 'agent.json');

  async function listen(host: string): Promise<{ port: number; server: Server }> {
    const server = createServer();
    servers.push(server);
    server.listen(0, host);
    await once(server, 'listening');
    const address = server.address();
    assert.ok(typeof address === 'object' && address !== null);
    return { port: address.port, server };
  }

  /** Creates a host root that contains only account files. */
  const accounts = (passwd: readonly string[], shadow: readonly string[] = []) => {
    for (const folder of ['etc', 'proc']) mkdirSync(join(bed.directory, 'host', folder), { recursive: true });
    for (const file of ['stat', 'uptime']) bed.write(`host/proc/${file}`, readFileSync(`/proc/${file}`, 'utf8'));
    bed.write('host/etc/group', 'root:x:0:\n');
    bed.write('host/etc/shadow', `${['root:!:1::::::', ...shadow].join('\n')}\n`);
    bed.write('host/etc/passwd', `${['root:x:0:0:root:/root:/bin/sh', ...passwd].join('\n')}\n`);
  };

  it('contains a port while it is open, unless only this device can reach it', async () => {
    await open({ eventPriorityListeningPorts: { value: 'High' } });
    await reported('a first snapshot', ({ exposure }) => exposure !== undefined);
    const outside = await listen('0.0.0.0');
    const inside = await listen('127.0.0.1');
    const has = (port: number) => (of: Posture) => new RegExp(`(?:^| )${port}/tcp`).test(of.exposure?.ports ?? '');
    await reported('opened', has(outside.port));
    assert.ok(!has(inside.port)(posture()), posture().exposure?.ports);
    assert.ok((posture().recommendations?.openPorts?.count ?? 0) >= 1);

    const shown = vakt('--json', '--config', configuration());
    const { source, posture: fromAgent } = JSON.parse(shown.stdout) as ShownPosture;
    assert.equal(source, 'agent');
    assert.ok(has(outside.port)(fromAgent as Posture), shown.stdout);
    outside.server.close();
    await reported('closed', (of) => of.exposure !== undefined && !has(outside.port)(of));
  });

  it('contains a recommendation across restarts while its reason exists or is unknown', async () => {
    const on = { eventPriorityLocalUsers: { value: 'High' } };
    bed = await TestBed.open({ desired: { ...QUIET, ...on } });
    bed.startWith({ ...QUIET, ...on });
    bed.writeConfiguration({ hostRoot: 'host' });
    accounts([]);
    agent = bed.startAgent();
    await reported('no reason', ({ accounts: of, recommendations }) => of?.uidZero === 1 && recommendations);
    assert.deepEqual(posture().recommendations?.secondRootAccount, undefined);
    assert.equal(vakt('--config', configuration()).status, 1, 'the hardening rules were not judged');

    accounts(['toor:x:0:0::/root:/bin/sh', 'guest:x:1000:1000::/:/bin/sh'], ['toor:!:1::::::', 'guest::1::::::']);
    await reported('reason', ({ recommendations }) => recommendations?.secondRootAccount);
    const { recommendations: first = {}, accounts: found } = posture();
    assert.deepEqual(found, { withoutPassword: 1, uidZero: 2, humans: 1 });
    const { severity, count, since } = first.secondRootAccount ?? {};
    assert.deepEqual([severity, count, first.accountWithoutPassword?.severity], ['High', 1, 'Critical']);
    const text = vakt('--config', configuration()).stdout;
    assert.match(text, /^CRITICAL {2}1 account needs no password\.\n {4}do +Lock each with "passwd -l USER"/);

    await agent.end();
    rmSync(join(bed.directory, 'host', 'etc', 'passwd'));
    agent = bed.startAgent();
    await reported('unknown', ({ recommendations }) => /passwd/.test(recommendations?.secondRootAccount?.reason ?? ''));
    assert.equal(posture().recommendations?.secondRootAccount?.since, since, 'it was kept over the restart');
    assert.equal(posture().accounts, undefined);

    bed.desire({ eventPriorityLocalUsers: { value: 'Off' } });
    await reported('off', ({ recommendations }) => recommendations?.secondRootAccount?.reason === 'LocalUsers is off');

    accounts(['guest:x:1000:1000::/:/bin/sh'], ['guest::1::::::']);
    bed.desire({ eventPriorityLocalUsers: { value: 'High' } });
    await reported(
      'corrected',
      ({ recommendations }) => recommendations && recommendations.secondRootAccount === undefined,
    );
    const { accountWithoutPassword } = posture().recommendations ?? {};
    assert.deepEqual(accountWithoutPassword, first.accountWithoutPassword, 'the other one still holds, since then');
  });

  it('follows accounts between the snapshots, without a message or detections', async () => {
    const desired = {
      ...QUIET,
      eventPriorityLocalUsers: { value: 'High' },
      snapshotFrequency: { value: 'PT12H' },
      highPriorityMessageFrequency: { value: 'PT1S' },
    };
    bed = await TestBed.open({ desired });
    bed.startWith(desired);
    bed.writeConfiguration({ hostRoot: 'host', detections: { enabled: false } });
    accounts([]);
    agent = bed.startAgent();
    await reported('first snapshot', ({ accounts: of }) => of?.uidZero === 1);
    await bed.waitForEvents(() => bed.events('LocalUsers').length > 0);

    accounts(['evil:x:0:0::/root:/bin/sh'], ['evil:!:1::::::']);
    await reported('new account', ({ accounts: of, recommendations }) => {
      return of?.uidZero === 2 && recommendations?.secondRootAccount?.severity === 'High';
    });
    const { posture: fromAgent } = JSON.parse(vakt('--json', '--config', configuration()).stdout) as ShownPosture;
    assert.equal(fromAgent.accounts?.uidZero, 2);
    accounts([]);
    await reported('removed account', ({ accounts: of }) => of?.uidZero === 1);
    assert.equal(bed.hub.messages.length, 1);
  });

  it('is shown by "vakt posture" even without an agent', async () => {
    bed = await TestBed.open({ desired: QUIET });
    const { port } = await listen('0.0.0.0');
    const { stdout, status, stderr } = vakt('--json', '--fail-on', 'never', '--config', configuration());
    assert.equal(status, 0, stderr);
    const { source, posture: own } = JSON.parse(stdout) as ShownPosture;
    assert.equal(source, 'snapshots');
    assert.ok((own.exposure?.openPorts ?? 0) >= 1);
    assert.ok(new RegExp(`(?:^| )${port}/tcp`).test(own.exposure?.ports ?? ''), own.exposure?.ports);
    assert.ok((own.baseline?.passed ?? 0) > 0);
    assert.equal(own.notJudged?.credentialExpires, 'no agent is running');
    assert.equal(own.recommendations?.openPorts?.since, undefined);
  });
});
