import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import * as v from 'valibot';
import { LARGEST_DIAGNOSTICS } from '../../src/agent/methods/get-diagnostics.ts';
import { LocalStatusSchema } from '../../src/agent/status/schema.ts';
import { minutes, seconds } from '../../src/core/base/duration.ts';
import { PERMISSIONS, type Permission } from '../../src/core/contract/method.ts';
import type { MethodResult } from '../../src/emulator/method-calls.ts';
import { type AgentProcess, assertClosed, DEVICE, MODULE, QUICK, TestBed } from './test-bed.ts';

/** Does not use root or kernel audit, and causes no messages or snapshots during the test. */
const QUIET = {
  ...QUICK,
  highPriorityMessageFrequency: { value: 'P30D' },
  lowPriorityMessageFrequency: { value: 'P30D' },
  snapshotFrequency: { value: 'P30D' },
  ...Object.fromEntries(
    ['ProcessCreate', 'ProcessTerminate', 'ConnectionCreate', 'Login', 'FirewallConfiguration'].map((name) => [
      `eventPriority${name}`,
      { value: 'Off' },
    ]),
  ),
};

interface Body {
  readonly [name: string]: unknown;
}

/** The built agent and the real SDK, called through the emulator as through a hub. */
describe('Direct methods', () => {
  let bed: TestBed;
  let agent: AgentProcess;

  const start = async () => {
    agent = bed.startAgent();
    await agent.waitForLog(({ msg }) => msg === 'Connected to the hub.');
    await agent.waitForStatus(({ configuration }) => configuration.source === 'desired');
  };
  const open = async (directMethods: Partial<Record<Permission, boolean>> = {}) => {
    bed = await TestBed.open({ desired: QUIET });
    bed.writeConfiguration({ directMethods });
    mkdirSync(`${bed.directory}/state`, { mode: 0o700 });
    bed.write('state/last-good-configuration.json', JSON.stringify({ configuration: QUIET }));
    await start();
  };
  afterEach(() => bed.close());

  const call = async (name: string, payload: unknown = {}) => {
    const answer = (await bed.hub.invokeMethod(DEVICE, MODULE, name, payload)) as MethodResult & { payload: Body };
    const text = JSON.stringify(answer);
    assert.ok(!text.includes(bed.key), 'an answer holds the key');
    assert.doesNotMatch(text, /SharedAccessSignature|sig=/);
    return answer;
  };
  const ok = async (name: string, payload: unknown = {}) => {
    const { status, payload: body } = await call(name, payload);
    assert.equal(status, 200, JSON.stringify(body));
    return body;
  };

  it('ping: returns the agent’s id and version', async () => {
    await open();
    const { version, agentId } = await agent.status();
    const body = await ok('ping');
    assert.deepEqual([body.version, body.agentId], [version, agentId]);
  });

  it('collectNow: takes the requested snapshots, and rejects simultaneous and too frequent calls', async () => {
    await open();
    await agent.waitForStatus(({ collectors }) => collectors.LocalUsers?.lastRunAt !== undefined);
    const before = (await agent.status()).events.ListeningPorts?.collected ?? 0;
    const [first, second] = await Promise.all([
      call('collectNow', { events: ['LocalUsers', 'FirewallConfiguration', 'ListeningPorts', 'OSBaseline'] }),
      call('collectNow', { events: ['ListeningPorts'] }),
    ]);
    assert.deepEqual([first.status, second.status], [200, 409]);
    const { collected, notCollected } = first.payload as { collected: Record<string, number>; notCollected: Body };
    assert.deepEqual(Object.keys(collected).toSorted(), ['ListeningPorts', 'LocalUsers', 'OSBaseline']);
    assert.ok((collected.LocalUsers ?? 0) > 0);
    assert.deepEqual(notCollected, { FirewallConfiguration: 'its priority is Off in the module twin' });
    const status = await agent.status();
    assert.equal(status.events.ListeningPorts?.collected, before + 1);
    assertClosed(status);
    assert.equal((await call('collectNow')).status, 429);
  });

  it('flush: sends the queued events, returns their number, and rejects simultaneous calls', async () => {
    await open();
    const { delivery } = await agent.waitForStatus(({ delivery: { queued } }) => queued.highEvents > 0);
    assert.equal(bed.hub.messages.length, 0);
    assert.equal(delivery.delivered, 0);
    bed.hub.faults.inject({ kind: 'delayAcknowledgements', count: 1, ms: 500 });
    const [first, second] = await Promise.all([call('flush'), call('flush')]);
    assert.deepEqual([first.status, second.status], [200, 409]);
    assert.equal(first.payload.messages, bed.hub.messages.length);
    assert.equal(first.payload.events, bed.events().length);
    assert.ok(bed.events('ListeningPorts').length > 0);
    assertClosed(await agent.status());
  });

  it('pause and resume: count skipped events, report the pause, survive a restart, and end', async () => {
    await open();
    assert.equal((await call('resume')).status, 409);
    const paused = await ok('pause', { duration: 'PT2H', reason: 'Update of the firmware' });
    assert.equal(paused.outlastsRestart, true);
    const reported = await bed.hub.waitForReported(
      ({ securityAgent }) => (securityAgent as { state?: string } | undefined)?.state === 'paused',
    );
    const { pause } = reported.securityAgent as { pause: Body };
    assert.deepEqual([pause.until, pause.reason], [paused.until, 'Update of the firmware']);

    const body = await ok('collectNow', { events: ['ListeningPorts', 'DroppedEventsStatistics'] });
    assert.deepEqual(body.notCollected, { ListeningPorts: 'collecting is paused' });
    assert.equal(typeof (body.collected as Body).DroppedEventsStatistics, 'number');
    assert.equal((await agent.status()).pause?.skipped, 1);

    await ok('flush');
    const diagnostics = bed.elements('Diagnostic');
    assert.ok(diagnostics.some(({ Message }) => String(Message).startsWith('Collection is paused;')));
    const change = diagnostics.find(({ Message }) => Message === 'Configuration changed');
    assert.match(JSON.stringify(change?.ExtraDetails), /pause: nothing to .*Update of the firmware/);

    await agent.end();
    await start();
    const after = await agent.waitForStatus(({ pause }) => (pause?.skipped ?? 0) > 1);
    assert.deepEqual([after.state, after.pause?.until], ['paused', paused.until]);
    assert.ok((after.delivery.dropped.paused ?? 0) > 1);
    assertClosed(after);

    const { skipped, reason } = await ok('resume');
    assert.ok((skipped as number) > 1);
    assert.equal(reason, 'Update of the firmware');
    const resumed = await agent.waitForStatus(({ collectors }) => collectors.ListeningPorts?.lastRunAt !== undefined);
    assert.deepEqual([resumed.state === 'paused', resumed.pause], [false, undefined]);
    await bed.hub.waitForReported(({ securityAgent }) => !Object.hasOwn(securityAgent as object, 'pause'));
    await ok('pause', { duration: 'PT1S', reason: 'A moment' });
    await agent.waitForStatus(({ pause }) => pause === undefined);
  });

  it('setLogLevel: changes the level for the given time', async () => {
    await open();
    await ok('ping');
    await agent.waitForLog(({ method }) => method === 'ping');
    const body = await ok('setLogLevel', { level: 'error' });
    assert.deepEqual([body.level, body.afterwards], ['error', 'info']);
    assert.equal((await agent.status()).logLevel?.level, 'error');
    await ok('ping');
    await ok('setLogLevel', { level: 'debug', duration: 'PT1S' });
    await agent.waitForLog(({ msg }) => msg === 'Restored the log level.');
    assert.equal((await agent.status()).logLevel, undefined);
    assert.equal(agent.log.filter(({ method }) => method === 'ping').length, 1);
    await ok('setLogLevel', { level: 'debug', duration: 'PT24H' });
    await call('flush');
    await agent.waitForLog(({ level, msg }) => level === 'debug' && msg === 'Sent a message.');
  });

  it('getStatus: returns the status that the device shows', async () => {
    await open();
    const body = await ok('getStatus');
    const status = await agent.status();
    v.parse(LocalStatusSchema, body);
    assert.deepEqual(Object.keys(body).toSorted(), Object.keys(status).toSorted());
    assert.deepEqual([body.agentId, body.startedAt, body.state], [status.agentId, status.startedAt, status.state]);
  });

  it('getDiagnostics: returns log lines, configuration and faults within its size limit', async () => {
    await open();
    bed.desire({ snapshotFrequency: { value: 'never' } });
    await agent.waitForLog(({ id }) => id === 'TWIN_INVALID');
    const body = await ok('getDiagnostics');
    assert.ok(Buffer.byteLength(JSON.stringify(body)) <= LARGEST_DIAGNOSTICS);
    assert.equal((body.versions as Body).node, process.versions.node);
    const errors = body.lastErrors as { id?: string }[];
    assert.ok(errors.some(({ id }) => id === 'TWIN_INVALID'));
    const { inForce, errors: faults } = body.configuration as { inForce: Body; errors: Body };
    assert.match(JSON.stringify(inForce), /"snapshotFrequency":\{"value":"P30D"\}/);
    assert.deepEqual(Object.keys(faults), ['snapshotFrequency']);
    const { identity } = body.local as { identity: Body };
    assert.equal(identity.keyFile, `${bed.directory}/module.key`);
  });

  it('answer invalid input with 400 and name each fault', async () => {
    await open();
    const nothing = { more: 1 };
    const unknown = { more: 'is not known' };
    const duration = 'must be an ISO 8601 duration from PT1S to PT24H';
    for (const [name, payload, faults] of [
      ['ping', nothing, unknown],
      ['collectNow', { events: ['ListeningPorts', 'Login'] }, { 'events.1': 'must be the name of a Periodic event' }],
      ['collectNow', { events: 'ListeningPorts' }, { events: 'must be a list of Periodic events' }],
      ['flush', nothing, unknown],
      ['pause', {}, { duration: 'is missing', reason: 'is missing' }],
      [
        'pause',
        { duration: 'PT25H', reason: '' },
        { duration, reason: 'must have 1 to 256 characters without control characters' },
      ],
      ['resume', nothing, unknown],
      [
        'setLogLevel',
        { level: 'silent', duration: 1 },
        { level: 'must be one of trace, debug, info, warn, error', duration },
      ],
      ['getStatus', nothing, unknown],
      ['getDiagnostics', nothing, unknown],
    ] as const) {
      const { status, payload: body } = await call(name, payload);
      assert.deepEqual([name, status, body.faults], [name, 400, faults]);
    }
    assert.equal((await agent.status()).pause, undefined);
    assert.equal((await call('reboot')).status, 404);
  });

  it('answer 403 if the local file forbids them', async () => {
    await open(Object.fromEntries(PERMISSIONS.map((name) => [name, false])));
    for (const name of [...PERMISSIONS, 'resume']) {
      const { status, payload: body } = await call(name, { duration: 'PT1H', reason: 'x', level: 'debug' });
      assert.equal(status, 403, name);
      assert.match(String(body.error), /directMethods\.\w+ is false/);
    }
    assert.equal((await agent.status()).pause, undefined);
  });

  it('work again after a reconnection', async () => {
    await open();
    await bed.hub.offline();
    await agent.waitForStatus(({ hub }) => hub.state !== 'connected');
    await bed.hub.online();
    await agent.waitForStatus(({ hub }) => hub.state === 'connected', minutes(1));
    await ok('ping');
  }).timeout(seconds(90));
});
