import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { systemClock } from '../../src/core/base/clock.ts';
import { type Duration, days, hours, minutes, seconds } from '../../src/core/base/duration.ts';
import { CertificateAuthority } from '../../src/emulator/certificates.ts';
import type { EmulatorOptions } from '../../src/emulator/hub.ts';
import { ProxyEmulator, type ProxyOptions } from '../../src/emulator/proxy.ts';
import { until } from '../harness/until.ts';
import { type AgentProcess, assertClosed, DEVICE, type Launch, MODULE, STEADY, TestBed } from './test-bed.ts';

/* The built agent, its hub, and proxies between them. */

const PASSWORD = 'sw0rdf1sh-7';

describe('The connection to the hub', function () {
  this.timeout(seconds(180));
  let bed: TestBed;
  let proxies: ProxyEmulator[];

  const open = async (emulator: EmulatorOptions = {}) => {
    bed = await TestBed.open({ desired: STEADY, emulator });
    bed.startWith(STEADY);
  };
  beforeEach(() => {
    proxies = [];
  });
  afterEach(async () => {
    await bed.close();
    for (const proxy of proxies) await proxy.stop();
  });

  /** Only the proxy knows the hub's real name and ports. */
  const behindProxy = async (options: ProxyOptions = {}, to = bed) => {
    const proxy = await ProxyEmulator.start(options);
    proxies.push(proxy);
    proxy.routeTo(to.hub);
    return proxy;
  };
  /** Writes a configuration without a gateway: the hub's name and the protocols' ports are used. */
  const configure = (hub: object = {}, to = bed) =>
    to.writeConfiguration({ hub: { hostName: to.hub.hostName, trustedCaFile: 'ca.pem', ...hub } });
  const start = (how: Launch = {}, from = bed) => {
    const clean = { HTTPS_PROXY: '', https_proxy: '', NO_PROXY: '', no_proxy: '' };
    return from.startAgent({ ...how, environment: { ...clean, ...how.environment } });
  };
  const connected = (agent: AgentProcess, limit: Duration = minutes(1)) =>
    agent.waitForStatus(({ hub }) => hub.state === 'connected', limit);
  const hasSent = (agent: AgentProcess) => agent.waitForStatus(({ delivery }) => delivery.messagesSent > 0);
  /** The open connection, as the hub sees it. */
  const latest = (to = bed) => to.hub.connections.at(-1);
  const errors = (agent: AgentProcess, id: string) => agent.log.filter((record) => record.id === id);
  const remembered = () => JSON.parse(readFileSync(join(bed.directory, 'state/transport.json'), 'utf8')) as object;

  describe('without a proxy', () => {
    const direct = (port: number, host = 'localhost', hub: object = {}) =>
      configure({ gatewayHostName: `${host}:${port}`, ...hub });

    it('uses MQTT over WebSocket, and reconnects after an outage of the hub', async () => {
      await open();
      direct(bed.hub.webSocketPort, 'localhost', { transport: 'mqttWebSocket' });
      const agent = start();
      const { credential } = await connected(agent);
      assert.deepEqual([credential.transport, credential.proxy], ['mqttWebSocket', undefined]);
      await hasSent(agent);
      assert.equal(latest()?.transport, 'mqttWebSocket');
      await bed.hub.offline('mqttWebSocket');
      await agent.waitForStatus(({ hub }) => hub.state !== 'connected');
      const before = bed.hub.messages.length;
      await bed.hub.online();
      await bed.hub.waitForMessage(({ sequence }) => sequence > before + 1, seconds(60));
      bed.desire({ ...STEADY, snapshotFrequency: { value: 'PT3S' } });
      const applied = () => JSON.stringify(bed.hub.twin(DEVICE, MODULE).reported).includes('"PT3S"');
      await until('the new frequency in the reported properties', applied);
      assertClosed(await agent.status());
    });

    it('uses TLS 1.3 if the hub offers it, otherwise 1.2', async () => {
      await open();
      direct(bed.hub.port);
      await connected(start());
      assert.equal(latest()?.tlsVersion, 'TLSv1.3');
      await bed.close();
      await open({ maxTlsVersion: 'TLSv1.2' });
      direct(bed.hub.port);
      await hasSent(start());
      assert.equal(latest()?.tlsVersion, 'TLSv1.2');
    });

    for (const transport of ['mqtt', 'mqttWebSocket'] as const) {
      it(`connects to an IPv6 address by ${transport}`, async () => {
        await open({ address: '::1' });
        direct(transport === 'mqtt' ? bed.hub.port : bed.hub.webSocketPort, '[::1]', { transport });
        await hasSent(start());
        assert.equal(latest()?.transport, transport);
      });
    }

    it('stays open when the CA file changes to another authority, with a log line for the error and its correction', async () => {
      await open();
      direct(bed.hub.port);
      const agent = start();
      await hasSent(agent);
      const connections = bed.hub.connections.length;
      bed.write('ca.pem', (await CertificateAuthority.create()).rootPem);
      bed.lookNow();
      const { hub, state } = await agent.waitForStatus(({ credential }) => credential.error?.id === 'TLS_FAILED');
      assert.deepEqual([hub.state, state], ['connected', 'degraded']);
      bed.write('ca.pem', 'no certificate');
      bed.lookNow();
      await agent.waitForStatus(({ credential }) => credential.error?.id === 'CA_FILE_UNUSABLE');
      assert.equal(bed.hub.connections.length, connections, 'the connection was replaced');
      bed.write('ca.pem', bed.hub.caPem);
      bed.lookNow();
      await agent.waitForStatus(({ credential, hub }) => credential.error === undefined && hub.state === 'connected');
      assertClosed(await agent.status());
    });
  });

  describe('through a proxy', () => {
    beforeEach(() => open());

    for (const transport of ['mqtt', 'mqttWebSocket'] as const) {
      const target = `:${transport === 'mqtt' ? 8883 : 443}`;

      it(`uses ${transport} without a password`, async () => {
        const proxy = await behindProxy();
        configure({ transport, proxy: `http://127.0.0.1:${proxy.port}` });
        const agent = start();
        const { credential } = await connected(agent);
        assert.deepEqual([credential.transport, credential.proxy], [transport, `127.0.0.1:${proxy.port}`]);
        await hasSent(agent);
        const asked = proxy.requests.map(({ target, user }) => [target, user]);
        assert.deepEqual(asked, [[`${bed.hub.hostName}${target}`, undefined]]);
        assert.equal(latest()?.transport, transport);
      });

      it(`uses ${transport} with the password from its file`, async () => {
        const proxy = await behindProxy({ user: { name: 'agent', password: PASSWORD } });
        bed.write('proxy.password', `${PASSWORD}\n`);
        const proxied = { proxy: `http://agent@127.0.0.1:${proxy.port}`, proxyPasswordFile: 'proxy.password' };
        configure({ transport, ...proxied });
        const agent = start();
        await hasSent(agent);
        assert.deepEqual(
          proxy.requests.map(({ user, status }) => [user, status]),
          [['agent', 200]],
        );
        assert.ok(!`${agent.output}${JSON.stringify(await agent.status())}`.includes(PASSWORD));
      });

      it(`uses ${transport} by HTTPS_PROXY`, async () => {
        const proxy = await behindProxy({ user: { name: 'agent', password: PASSWORD } });
        configure({ transport });
        const HTTPS_PROXY = `http://agent:${PASSWORD}@127.0.0.1:${proxy.port}`;
        const agent = start({ environment: { HTTPS_PROXY, NO_PROXY: 'example.com' } });
        await hasSent(agent);
        assert.equal(proxy.requests[0]?.target, `${bed.hub.hostName}${target}`);
        assert.ok(!`${agent.output}${JSON.stringify(await agent.status())}`.includes(PASSWORD));
      });
    }

    it('bypasses the proxy for a host in NO_PROXY', async () => {
      const proxy = await behindProxy();
      configure({ gatewayHostName: `localhost:${bed.hub.port}` });
      const environment = { HTTPS_PROXY: `http://127.0.0.1:${proxy.port}`, NO_PROXY: '127.0.0.1, localhost' };
      const agent = start({ environment });
      const { credential } = await connected(agent);
      assert.deepEqual([credential.proxy, proxy.requests], [undefined, []]);
    });

    it('prefers hub.proxy to HTTPS_PROXY and NO_PROXY', async () => {
      const proxy = await behindProxy();
      configure({ proxy: `http://127.0.0.1:${proxy.port}` });
      const agent = start({ environment: { HTTPS_PROXY: 'http://127.0.0.1:9', NO_PROXY: '*' } });
      await connected(agent);
      assert.equal(proxy.requests.length, 1);
    });

    it('tries a wrong password three times with one log line, and uses the right one once the file contains it', async () => {
      const proxy = await behindProxy({ user: { name: 'agent', password: PASSWORD } });
      bed.write('proxy.password', 'wrong');
      configure({ proxy: `http://agent@127.0.0.1:${proxy.port}`, proxyPasswordFile: 'proxy.password' });
      const agent = start();
      const status = await agent.waitForStatus(({ credential }) => credential.error !== undefined);
      assert.deepEqual(
        [status.credential.error?.id, status.state, status.hub.state],
        ['PROXY_REFUSED', 'degraded', 'refused'],
      );
      assert.match(`${status.hub.error}`, new RegExp(`127\\.0\\.0\\.1:${proxy.port} refused the user agent`));
      await until('three requests', () => proxy.requests.length >= 3);
      bed.lookNow(); // reads the file again, unchanged
      await agent.status();
      bed.write('proxy.password', PASSWORD);
      bed.lookNow();
      await connected(agent);
      const after = await agent.waitForStatus(({ credential }) => credential.error === undefined);
      assert.equal(after.state, 'running');
      assert.equal(errors(agent, 'PROXY_REFUSED').length, 1);
      assert.deepEqual(
        proxy.requests.map(({ target, status }) => [target, status]),
        [407, 407, 407, 200].map((status) => [`${bed.hub.hostName}:8883`, status]),
      );
      await hasSent(agent);
      assertClosed(await agent.status());
    });

    it('stays open when the password file is invalid, with a log line for the error and its correction', async () => {
      const proxy = await behindProxy({ user: { name: 'agent', password: PASSWORD } });
      bed.write('proxy.password', PASSWORD);
      configure({ proxy: `http://agent@127.0.0.1:${proxy.port}`, proxyPasswordFile: 'proxy.password' });
      const agent = start();
      await hasSent(agent);
      bed.write('proxy.password', PASSWORD, 0o644);
      bed.lookNow();
      const { hub } = await agent.waitForStatus(({ credential }) => credential.error?.id === 'SECRET_FILE_EXPOSED');
      assert.equal(hub.state, 'connected');
      assert.equal(proxy.requests.length, 1);
      bed.write('proxy.password', PASSWORD, 0o600);
      bed.lookNow();
      await agent.waitForStatus(({ credential }) => credential.error === undefined);
    });

    it('loses no event while the proxy is unreachable', async () => {
      const proxy = await behindProxy();
      configure({ transport: 'mqtt', proxy: `http://127.0.0.1:${proxy.port}` });
      const agent = start();
      await hasSent(agent);
      await proxy.offline();
      const away = await agent.waitForStatus(({ hub }) => hub.state !== 'connected' && hub.error !== undefined);
      assert.equal(away.hub.state, 'connecting');
      const failed = await agent.waitForStatus(({ hub }) => hub.error?.includes('the proxy') === true);
      assert.match(`${failed.hub.error}`, new RegExp(`127\\.0\\.0\\.1:${proxy.port}`));
      await proxy.online();
      const before = bed.hub.messages.length;
      await bed.hub.waitForMessage(({ sequence }) => sequence > before + 1, seconds(65));
      assertClosed(await agent.status());
      assert.deepEqual((await agent.status()).delivery.dropped, {});
    });
  });

  describe('with transport "auto"', () => {
    beforeEach(() => open());

    for (const [failure, behaviour] of [
      ['does not answer', 'unavailable'],
      ['is refused by the proxy', 'refuse'],
      ['is closed immediately', 'close'],
    ] as const) {
      it(`switches to port 443 if 8883 ${failure}, and remembers it after a restart`, async () => {
        const proxy = await behindProxy();
        proxy.behave(behaviour, '*:8883');
        configure({ proxy: `http://127.0.0.1:${proxy.port}` });
        const agent = start();
        const { credential, state } = await connected(agent);
        assert.deepEqual([credential.transport, credential.error, state], ['mqttWebSocket', undefined, 'running']);
        const ports = () => proxy.requests.map(({ target }) => target.replace(/.*:/, ''));
        assert.deepEqual(ports(), ['8883', '8883', '8883', '443']);
        await hasSent(agent);
        await agent.end();
        assert.equal((remembered() as { transport?: string }).transport, 'mqttWebSocket');
        await connected(start());
        assert.deepEqual(ports().slice(4), ['443']);
      });
    }

    it('abandons port 8883 within 95 s if it never answers, with and without a proxy @release', async () => {
      const other = await TestBed.open({ desired: STEADY });
      try {
        other.startWith(STEADY);
        const silent = await behindProxy();
        silent.behave('silent', '*:8883');
        configure({ proxy: `http://127.0.0.1:${silent.port}` });
        other.hub.faults.inject({ kind: 'mqttSilence' });
        const open = await behindProxy({}, other);
        configure({ proxy: `http://127.0.0.1:${open.port}` }, other);
        const agents = [start(), start({}, other)];
        await Promise.all(agents.map((agent) => connected(agent, seconds(95))));
        assert.deepEqual([latest()?.transport, latest(other)?.transport], ['mqttWebSocket', 'mqttWebSocket']);
        for (const agent of agents) {
          assert.equal(errors(agent, 'HUB_SILENT').length + errors(agent, 'HUB_UNREACHABLE').length, 1);
        }
      } finally {
        await other.close();
      }
    });

    const moved = (ago: number) => ({
      transport: 'mqttWebSocket',
      since: new Date(systemClock.now().getTime() - ago).toISOString(),
    });

    it('tries 8883 again a day later', async () => {
      const proxy = await behindProxy();
      configure({ proxy: `http://127.0.0.1:${proxy.port}` });
      bed.write('state/transport.json', JSON.stringify(moved(days(1))));
      const agent = start();
      await connected(agent);
      assert.equal(latest()?.transport, 'mqtt');
      await agent.end();
      assert.equal((remembered() as { transport?: string }).transport, 'mqtt');
    });

    it('tries 8883 while the connection by 443 is open, and keeps that one without an error', async () => {
      const proxy = await behindProxy();
      proxy.behave('refuse', '*:8883');
      configure({ proxy: `http://127.0.0.1:${proxy.port}` });
      bed.write('state/transport.json', JSON.stringify(moved(days(1) - seconds(8))));
      const agent = start();
      await hasSent(agent);
      assert.equal(latest()?.transport, 'mqttWebSocket');
      await proxy.waitForRequest(({ target }) => target.endsWith(':8883'));
      await until('three requests', () => proxy.requests.length >= 3);
      const { credential, hub } = await connected(agent);
      assert.deepEqual([credential.transport, credential.error, hub.error], ['mqttWebSocket', undefined, undefined]);
      // On a loaded machine, the trial may come after a second connection by 443 instead of before it.
      const ports = proxy.requests.map(({ target }) => target.replace(/.*:/, ''));
      assert.deepEqual(ports.sort(), ['443', '443', '8883']);
      assert.deepEqual(errors(agent, 'PROXY_REFUSED'), []);
      await agent.end();
      const { since } = remembered() as { since: string };
      assert.ok(systemClock.now().getTime() - Date.parse(since) < hours(1), since);
    });
  });
});
