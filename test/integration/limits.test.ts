import assert from 'node:assert/strict';
import { collectors } from '../../src/agent/collectors/index.ts';
import type { Envelope } from '../../src/core/contract/event.ts';
import { properties } from '../agent/config/published.ts';
import { DEVICE, MODULE, NO_LIMITS, OBJECT, STEADY, TestBed } from './test-bed.ts';

const every = (prefix: RegExp, value: unknown) =>
  Object.fromEntries(properties.filter(({ name }) => prefix.test(name)).map(({ name }) => [name, { value }]));
/** Disables all events and sends the remaining ones a year late. */
const BLIND = { ...every(/^eventPriority/, 'Off'), ...every(/Frequency$|^aggregationInterval/, 'P365D') };

/** Does not use kernel audit; all else is at its defaults. */
const CALM = { ...STEADY, snapshotFrequency: { value: 'PT13H' } };
const { mayBeOff: _off, longestMessageFrequency: _longest, ...FAST } = NO_LIMITS;

describe('An attacker who writes the twin', () => {
  let bed: TestBed;
  const open = async (limits: object, desired: object = CALM) => {
    bed = await TestBed.open({ desired });
    bed.writeConfiguration({ limits });
    bed.startWith(desired);
    const agent = bed.startAgent();
    await agent.waitForStatus(
      ({ configuration, hub }) => hub.state === 'connected' && configuration.source === 'desired',
    );
    return agent;
  };
  afterEach(() => bed.close());

  const changes = (): Envelope[] =>
    bed.events('Diagnostic').filter(({ Payload }) => Payload[0]?.Message === 'Configuration changed');
  const reported = () => bed.hub.twin(DEVICE, MODULE).reported as Record<string, Record<string, unknown>>;

  it('cannot blind the agent without a report of the agent', async () => {
    const agent = await open(FAST);
    assert.deepEqual(changes(), [], 'a start without a change is no change');
    bed.desire(BLIND);
    await bed.waitForEvents(() => changes().length > 0);
    const [event] = changes();
    assert.equal(event?.Payload[0]?.Severity, 'Information');
    assert.match(JSON.stringify(event?.Payload[0]?.ExtraDetails), /eventPrioritySystemInformation: Low to Off/);
    await bed.hub.waitForReported(
      ({ securityAgent }) => (securityAgent as { state?: string } | undefined)?.state === 'degraded',
    );
    const { configuration } = await agent.status();
    assert.deepEqual(
      Object.keys(configuration.switchedOff ?? {}).toSorted(),
      collectors.map(({ name }) => name).toSorted(),
    );
    for (const name of ['eventPriorityProcessCreate', 'highPriorityMessageFrequency', 'lowPriorityMessageFrequency']) {
      assert.ok(configuration.warnings[name], name);
    }
    assert.deepEqual(reported().securityAgent?.configuration, configuration);
    const { level, because } = await agent.waitForLog(({ msg }) => msg.includes('beyond the local limits'));
    assert.equal(level, 'warn');
    assert.ok((because as Record<string, string>).eventPriorityProcessCreate, JSON.stringify(because));
  });

  it('cannot suppress this report by other reported properties', async () => {
    await open(FAST);
    const names = Object.fromEntries(Array.from({ length: 32 }, (_, n) => [`${n}${'x'.repeat(800)}`, { value: 0 }]));
    bed.desire({ ...BLIND, ...names });
    await bed.hub.waitForReported(({ securityAgent }) => {
      const { state, configuration } = securityAgent as { state: string; configuration?: { switchedOff?: object } };
      return state === 'degraded' && configuration?.switchedOff !== undefined;
    });
    assert.deepEqual(reported()[OBJECT]?.eventPriorityLogin, { value: 'Off' });
  });

  it('can neither disable protected events nor exceed the message frequency', async () => {
    const agent = await open({ ...FAST, alwaysOn: 'SystemInformation', shortestMessageFrequency: 'PT2S' });
    bed.desire({ ...BLIND, highPriorityMessageFrequency: { value: 'PT1S' } });
    const { configuration, collectors: all } = await agent.waitForStatus(
      (status) => status.configuration.warnings.eventPrioritySystemInformation !== undefined,
    );
    assert.notEqual(all.SystemInformation?.state, 'off');
    assert.match(configuration.warnings.highPriorityMessageFrequency ?? '', /is PT2S, not PT1S/);
    await bed.hub.waitForReported((section) => {
      const mirror = section[OBJECT] as Record<string, { value: unknown }> | undefined;
      return mirror?.highPriorityMessageFrequency?.value === 'PT2S' && mirror.eventPriorityLogin?.value === 'Off';
    });
    assert.deepEqual(reported()[OBJECT]?.eventPrioritySystemInformation, { value: 'Low' });
  });

  it('cannot exceed the message units', async function () {
    this.timeout(180_000);
    const steady = { ...STEADY, snapshotFrequency: { value: 'PT1S' } };
    const agent = await open({ ...NO_LIMITS, messageUnitsPerDay: 10 }, steady);
    const units = () => bed.hub.messages.reduce((all, { sizeBytes }) => all + Math.ceil(sizeBytes / 4096), 0);
    // Either queue may be held first.
    const { delivery } = await agent.waitForStatus(
      ({ delivery: { held }, collectors: all }) => held !== undefined && all.SystemInformation?.state === 'degraded',
    );
    assert.match(delivery.held?.reason ?? '', /daily budget of 10 message units/);
    await bed.hub.waitForReported(({ securityAgent }) => {
      const { state, delivery } = securityAgent as { state: string; delivery: { held?: object } };
      return state === 'degraded' && delivery.held !== undefined;
    });
    await agent.end();
    const again = bed.startAgent();
    const { delivery: later } = await again.waitForStatus((status) => (status.delivery.heldEvents ?? 0) > 0);
    assert.ok(units() <= 10, `${units()} units`);
    assert.equal(later.unitsToday, units());
    assert.deepEqual(later.dropped, {});
  });

  it('is limited by a local file in which unknown event names are rejected', async () => {
    bed = await TestBed.open();
    bed.writeConfiguration({ limits: { alwaysOn: 'ProcesCreate' } });
    const agent = bed.startAgent();
    assert.equal((await agent.exited).status, 78);
    assert.match(agent.output, /did you mean \\"ProcessCreate\\"/);
  });
});
