import assert from 'node:assert/strict';
import { collectors as allCollectors } from '../../../src/agent/collectors/index.ts';
import type { LocalStatus } from '../../../src/agent/status/schema.ts';
import { agentFacts } from '../../../src/agent/status/sections.ts';
import type { HubStatus } from '../../../src/core/contract/hub.ts';

const ON = { state: 'on', source: 'auditUnicast' } as const;
const OFF = { state: 'off' } as const;
const configuration = { desiredVersion: 7, source: 'desired', errors: {}, warnings: {} } as const;
const hub: HubStatus = { state: 'connected', credential: { kind: 'moduleKey' } };

const FROM_AUDIT = ['ProcessCreate', 'ProcessTerminate', 'ConnectionCreate', 'Login'];
const collectors = allCollectors.filter(({ name }) => FROM_AUDIT.includes(name));

const facts = (change: {
  configuration?: LocalStatus['configuration'];
  collectors?: LocalStatus['collectors'];
  hub?: HubStatus;
}) =>
  agentFacts(
    {
      configuration,
      hub,
      ...change,
      collectors: { ProcessCreate: ON, ConnectionCreate: ON, Login: ON, ...change.collectors },
    },
    collectors,
  );

describe('what the agent knows of itself', () => {
  it('is that all is well', () => {
    assert.deepEqual(facts({}), {
      configuration: { found: { refused: 0, warned: 0 } },
      credential: { found: { expiresSoon: false } },
      audit: { found: { eventsWithout: 0 } },
    });
  });

  it('is how many properties have errors or warnings, once the twin was read', () => {
    const errors = { snapshotFrequency: 'x' };
    const warnings = { a: 'x', b: 'y' };
    assert.deepEqual(facts({ configuration: { ...configuration, errors, warnings } }).configuration, {
      found: { refused: 1, warned: 2 },
    });
    assert.deepEqual(facts({ configuration: { source: 'lastKnownGood', errors: {}, warnings } }).configuration, {
      unknown: 'the module twin has not been read since the start of the agent',
    });
  });

  it('is whether its credential expires soon', () => {
    const credential = { kind: 'moduleCertificate', expiresSoon: true };
    assert.deepEqual(facts({ hub: { ...hub, credential } }).credential, { found: { expiresSoon: true } });
  });

  const AUDIT: Readonly<Record<string, [collectors: LocalStatus['collectors'], is: object]>> = {
    'another process’s audit': [
      { ProcessCreate: { state: 'on', source: 'auditMulticast' } },
      { found: { eventsWithout: 0 } },
    ],
    'auditd’s log': [{ Login: { state: 'degraded', source: 'auditLog' } }, { found: { eventsWithout: 0 } }],
    'polling, and none': [
      {
        ProcessCreate: { state: 'degraded', source: 'procPolling' },
        ConnectionCreate: { state: 'unavailable', reason: 'x' },
      },
      { found: { eventsWithout: 2 } },
    ],
    'ends of programs from elsewhere': [
      { ProcessTerminate: { state: 'on', source: 'procConnector' } },
      { found: { eventsWithout: 0 } },
    ],
    'an event that is off': [
      { ProcessCreate: OFF, Login: { state: 'degraded', source: 'files' } },
      { found: { eventsWithout: 1 } },
    ],
    'a source that is not open yet': [{ Login: { state: 'on' } }, { found: { eventsWithout: 0 } }],
    'no event': [
      { ProcessCreate: OFF, ConnectionCreate: OFF, Login: OFF },
      { unknown: 'ProcessCreate, ConnectionCreate, Login are off, or not collected yet' },
    ],
  };
  for (const [what, [some, is]] of Object.entries(AUDIT))
    it(`the audit fact of ${what} names the source of its events`, () =>
      assert.deepEqual(facts({ collectors: some }).audit, is));
});
