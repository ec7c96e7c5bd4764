import assert from 'node:assert/strict';
import { join } from 'node:path';
import sinon from 'sinon';
import { TransportChoice, type TransportSetting } from '../../../src/agent/hub/transport.ts';
import { StateFolder } from '../../../src/agent/state/state-folder.ts';
import { systemClock } from '../../../src/core/base/clock.ts';
import { hours, minutes } from '../../../src/core/base/duration.ts';
import { AgentError, type FailureId } from '../../../src/core/base/errors.ts';
import { HubFailure } from '../../../src/core/contract/hub.ts';
import { ProxyError } from '../../../src/core/network/tunnel.ts';
import { temporaryFolder } from '../../harness/folders.ts';
import { immediateStateFiles } from '../state/immediate-state-files.ts';

describe('TransportChoice', () => {
  let time: sinon.SinonFakeTimers;
  let state: StateFolder;
  let folder: string;
  beforeEach(() => {
    folder = temporaryFolder();
    state = new StateFolder(folder, immediateStateFiles);
    time = sinon.useFakeTimers({ now: new Date('2026-01-01T00:00:00Z') });
  });
  afterEach(() => time.restore());

  const choice = (setting: TransportSetting = 'auto') => new TransportChoice({ setting, state, clock: systemClock });
  const failure = (id: FailureId, cause?: unknown) =>
    new HubFailure(new AgentError(id, 'failed', '', { cause }), 'network');
  const proxyRefusal = (status: number) =>
    failure('PROXY_REFUSED', new ProxyError({ host: 'proxy', port: 3128 }, 'refused', { status }));
  const away = failure('HUB_UNREACHABLE');
  /** What the next attempts use when all fail with `failure`; a `+`: tried at once after the one before. */
  const attempts = (transport: TransportChoice, count: number, why = away) => {
    const used: string[] = [];
    let atOnce = false;
    for (let attempt = 0; attempt < count; attempt += 1) {
      const next = transport.next();
      used.push(`${atOnce ? '+' : ''}${next === 'mqtt' ? '8883' : '443'}`);
      atOnce = transport.failed(next, why) !== undefined;
    }
    return used.join(' ');
  };
  const leave8883 = () => {
    const transport = choice();
    attempts(transport, 3);
    transport.connected('mqttWebSocket');
    return transport;
  };

  it('tries 443 at once after every third failure on 8883', () => {
    assert.equal(attempts(choice(), 8), '8883 8883 8883 +443 8883 8883 8883 +443');
  });

  for (const id of ['HUB_UNREACHABLE', 'HUB_SILENT', 'PROXY_REFUSED', 'TLS_FAILED'] as const) {
    it(`counts ${id} as not reached`, () => {
      assert.equal(attempts(choice(), 4, failure(id)), '8883 8883 8883 +443');
    });
  }

  it('tries 443 when a proxy does not let 8883 pass, but not when the proxy wants another password', () => {
    assert.equal(attempts(choice(), 4, proxyRefusal(403)), '8883 8883 8883 +443');
    assert.equal(attempts(choice(), 5, proxyRefusal(407)), Array(5).fill('8883').join(' '));
  });

  describe('classify', () => {
    const refusal = (status: number) => new HubFailure(proxyRefusal(status).error, 'credentials');
    for (const [setting, transport, status, retryCause] of [
      ['auto', 'mqtt', 403, 'network'],
      ['auto', 'mqtt', 407, 'credentials'],
      ['auto', 'mqttWebSocket', 403, 'credentials'],
      ['mqtt', 'mqtt', 403, 'credentials'],
      ['mqttWebSocket', 'mqttWebSocket', 403, 'credentials'],
    ] as const) {
      it(`returns ${retryCause} if a proxy answers ${status} for ${transport}, with ${setting}`, () => {
        const classified = choice(setting).classify(transport, refusal(status));
        assert.deepEqual([classified.retryCause, classified.error.id], [retryCause, 'PROXY_REFUSED']);
      });
    }

    it('returns failures unchanged that are not the answer of a proxy', () => {
      const refused = new HubFailure(new AgentError('CREDENTIAL_REFUSED', 'refused', ''), 'credentials');
      assert.equal(choice().classify('mqtt', refused), refused);
    });
  });

  it('stays on 8883 as long as the hub answers there, whatever it says', () => {
    const transport = choice();
    assert.equal(attempts(transport, 10, failure('CREDENTIAL_REFUSED')), Array(10).fill('8883').join(' '));
    attempts(transport, 2);
    transport.failed('mqtt', failure('CREDENTIAL_REFUSED'));
    assert.equal(attempts(transport, 3), '8883 8883 8883');
  });

  it('starts to count again with each connection', () => {
    const transport = choice();
    attempts(transport, 2);
    transport.connected('mqtt');
    assert.equal(attempts(transport, 4), '8883 8883 8883 +443');
  });

  it('uses 8883 again after an outage of the whole network', () => {
    const transport = choice();
    attempts(transport, 100);
    assert.equal(transport.next(), 'mqtt');
    transport.connected('mqtt');
    assert.equal(choice().next(), 'mqtt');
  });

  it('remembers over a restart that 443 worked', () => {
    leave8883();
    const transport = choice();
    assert.equal(attempts(transport, 4), '443 443 443 +8883');
  });

  it('tries 8883 again daily, and 443 at once when that fails', () => {
    const transport = leave8883();
    time.tick(hours(24) - minutes(1));
    assert.equal(transport.next(), 'mqttWebSocket');
    time.tick(minutes(1));
    assert.equal(attempts(transport, 2), '8883 +443');
    assert.equal(choice().next(), 'mqttWebSocket');
    time.tick(hours(24));
    assert.equal(choice().next(), 'mqtt');
  });

  it('returns to 8883 when the daily attempt succeeds', () => {
    const transport = leave8883();
    time.tick(hours(24));
    transport.connected(transport.next());
    time.tick(hours(1));
    assert.equal(choice().next(), 'mqtt');
    assert.equal(transport.next(), 'mqtt');
  });

  it('distinguishes a failure of the daily attempt from an outage', () => {
    const transport = leave8883();
    time.tick(hours(24));
    assert.equal(transport.failed(transport.next(), away), 'trial');
    transport.connected(transport.next());
    attempts(transport, 2);
    assert.equal(transport.failed('mqttWebSocket', away), 'unreachable');
  });

  it('limits a connection by 443 to the time until 8883 is tried again, also over a restart', () => {
    assert.equal(choice().renewAfter('mqtt'), undefined);
    assert.equal(leave8883().renewAfter('mqttWebSocket'), hours(24));
    time.tick(hours(20));
    assert.equal(choice().renewAfter('mqttWebSocket'), hours(4));
    time.tick(hours(50));
    assert.equal(choice().renewAfter('mqttWebSocket'), 0);
    assert.equal(choice('mqttWebSocket').renewAfter('mqttWebSocket'), undefined);
  });

  it('tries 8883 again when the clock was set back beyond the choice', () => {
    leave8883();
    time.setSystemTime(new Date('2025-12-31T00:00:00Z'));
    assert.equal(choice().next(), 'mqtt');
  });

  it('does not try 8883 at each start of a device whose clock begins in the past', () => {
    leave8883();
    time.setSystemTime(0);
    assert.equal(choice().next(), 'mqttWebSocket');
  });

  it('works without a place to remember', () => {
    const transport = new TransportChoice({ setting: 'auto', state: undefined, clock: systemClock });
    attempts(transport, 3);
    transport.connected('mqttWebSocket');
    assert.equal(transport.next(), 'mqttWebSocket');
  });

  for (const [what, content] of [
    ['no object', null],
    ['another transport', { transport: 'carrier pigeon', since: '2026-01-01T00:00:00Z' }],
    ['no date', { transport: 'mqttWebSocket', since: 'yesterday' }],
    ['a list', [1, 2]],
  ] as const) {
    it(`uses 8883 when the file holds ${what}`, () => {
      immediateStateFiles.replace(join(folder, 'transport.json'), JSON.stringify(content), () => {});
      assert.equal(choice().next(), 'mqtt');
    });
  }

  it('stays with a transport that is configured', () => {
    assert.equal(attempts(choice('mqtt'), 8), Array(8).fill('8883').join(' '));
    assert.equal(attempts(choice('mqttWebSocket'), 8), Array(8).fill('443').join(' '));
    leave8883();
    assert.equal(choice('mqtt').next(), 'mqtt');
  });

  it('connects to the port that is given, but with auto to 443 for WebSocket', () => {
    assert.deepEqual(choice().addressOf('edge:1883', 'mqtt'), { host: 'edge', port: 1883 });
    assert.deepEqual(choice().addressOf('edge:1883', 'mqttWebSocket'), { host: 'edge', port: 443 });
    assert.deepEqual(choice('mqttWebSocket').addressOf('edge:8443', 'mqttWebSocket'), { host: 'edge', port: 8443 });
    assert.deepEqual(choice().addressOf('hub', 'mqtt'), { host: 'hub', port: 8883 });
  });
});
