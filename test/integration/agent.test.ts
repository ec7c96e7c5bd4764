import assert from 'node:assert/strict';
import { once } from 'node:events';
import { chmodSync, mkdirSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { type Details, detailsOf } from '../../src/agent/pipeline/row-details.ts';
import { systemClock } from '../../src/core/base/clock.ts';
import { askControlSocket } from '../../src/core/base/control-socket.ts';
import { minutes, seconds } from '../../src/core/base/duration.ts';
import { skip } from '../harness/require.ts';
import { NO_PUBLISHED_SCHEMAS, publishedSchemas, validateMessage } from '../published-schemas.ts';
import { type AgentProcess, assertClosed, DEVICE, MODULE, OBJECT, QUICK, TestBed } from './test-bed.ts';

const reportedConfiguration = (reported: Readonly<Record<string, unknown>>) =>
  reported[OBJECT] as Record<string, { value: unknown }> | undefined;

async function listening(server: Server, address: string): Promise<void> {
  server.listen(0, address);
  await once(server, 'listening');
}

describe('The agent as a process, connected to a hub', function () {
  this.timeout(120_000);
  let bed: TestBed;

  beforeEach(async () => {
    bed = await TestBed.open();
  });
  afterEach(() => bed.close());

  it('sends its snapshots, and reports the configuration and its own status', async () => {
    const agent = bed.startAgent();
    const wanted = [
      'ListeningPorts',
      'LocalUsers',
      'SystemInformation',
      'DroppedEventsStatistics',
      'MessageStatistics',
    ];
    await bed.waitForEvents(() => wanted.every((name) => bed.events(name).length > 0));
    const reported = await bed.hub.waitForReported((section) => section.securityAgent !== undefined);
    const configuration = reportedConfiguration(reported);
    assert.deepEqual(configuration?.highPriorityMessageFrequency, { value: 'PT1S' });
    assert.deepEqual(configuration?.snapshotFrequency, { value: 'PT13H' });
    const status = reported.securityAgent as { state: string; configuration: { source: string } };
    assert.equal(status.configuration.source, 'desired');
    assertClosed(await agent.status());
    agent.kill('SIGTERM');
    assert.deepEqual(await agent.exited, { status: 0, signal: null });
  });

  it('sends only messages that are valid by the published schema', async function () {
    if (publishedSchemas === undefined) return skip(this, NO_PUBLISHED_SCHEMAS);
    bed.startAgent();
    await bed.waitForEvents(() => bed.events().length >= 5);
    for (const { body } of bed.hub.messages) assert.deepEqual(validateMessage(JSON.parse(body)), []);
  });

  it('sends a snapshot in parts if it is larger than a message', async () => {
    const servers = Array.from({ length: 120 }, () => createServer());
    try {
      for (const [n, server] of servers.entries()) await listening(server, `127.0.1.${n + 1}`);
      bed.desire({ maxMessageSizeInBytes: { value: 8192 } });
      bed.startWith({ ...QUICK, maxMessageSizeInBytes: { value: 8192 } });
      const agent = bed.startAgent();
      const labelled = () =>
        bed.events('ListeningPorts').map((event) => ({ ...event, label: detailsOf(event.Payload[0] ?? {}) }));
      const isLast = ({ label: { Part, Parts } }: { label: Details }) => Part !== undefined && Part === Parts;
      await bed.waitForEvents(() => labelled().some(isLast));
      const id = labelled().find(isLast)?.label.SnapshotId;
      const parts = labelled().filter(({ label }) => label.SnapshotId === id);
      assert.ok(parts.length >= 3);
      assert.deepEqual(
        parts.map(({ label: { Part, Parts } }) => [Part, Parts]),
        parts.map((_, n) => [String(n + 1), String(parts.length)]),
      );
      const addresses = new Set(parts.flatMap(({ Payload: rows }) => rows.map(({ LocalAddress }) => LocalAddress)));
      for (const [n] of servers.entries()) assert.ok(addresses.has(`127.0.1.${n + 1}`));
      for (const { body } of bed.hub.messages) assert.ok(Buffer.byteLength(body) <= 8192);
      assertClosed(await agent.status());
    } finally {
      for (const server of servers) server.close();
    }
  });

  it('applies a change to one desired property and keeps the others', async () => {
    bed.startAgent();
    await bed.hub.waitForReported((section) => section.securityAgent !== undefined);
    bed.desire({ eventPriorityLocalUsers: { value: 'low' } });
    const reported = await bed.hub.waitForReported(
      (section) => reportedConfiguration(section)?.eventPriorityLocalUsers?.value === 'low',
    );
    assert.equal(reportedConfiguration(reported)?.highPriorityMessageFrequency?.value, 'PT1S');
  });

  it('rejects an invalid desired configuration as a whole, reports it, and keeps the current one', async () => {
    bed.startAgent();
    await bed.hub.waitForReported((section) => section.securityAgent !== undefined);
    bed.desire({ snapshotFrequency: { value: '13h' }, maxMessageSizeInBytes: { value: 1 }, eventPriorityLogin: null });
    await bed.waitForEvents(() => bed.elements('ConfigurationError').length >= 2);
    const names = bed.elements('ConfigurationError').map(({ ConfigurationName }) => ConfigurationName);
    assert.deepEqual(names.sort(), ['maxMessageSizeInBytes', 'snapshotFrequency']);
    const reported = await bed.hub.waitForReported((section) => {
      const status = section.securityAgent as { configuration?: { errors?: object } } | undefined;
      return Object.keys(status?.configuration?.errors ?? {}).length === 2;
    });
    assert.equal(reportedConfiguration(reported)?.maxMessageSizeInBytes?.value, 204_800);
  });

  it('applies a change that was made while it was disconnected', async () => {
    bed.startAgent();
    await bed.hub.waitForReported((section) => section.securityAgent !== undefined);
    await bed.hub.offline();
    bed.desire({ snapshotFrequency: { value: 'PT2H' } });
    await bed.hub.online();
    await bed.hub.waitForReported(
      (section) => reportedConfiguration(section)?.snapshotFrequency?.value === 'PT2H',
      seconds(40),
    );
  });

  it('starts without a network, collects, and sends all events once the hub is reachable', async () => {
    await bed.hub.offline();
    const agent = bed.startAgent();
    const complaint = await agent.waitForLog(({ id }) => id === 'HUB_UNREACHABLE');
    assert.match(complaint.msg, /^vakt encountered an error! Error in: Other, reason: /);
    assert.ok(complaint.remedy);
    const status = await agent.waitForStatus(({ events }) => (events.LocalUsers?.queued ?? 0) > 0);
    assertClosed(status);
    await bed.hub.online();
    await bed.waitForEvents(() => bed.events('LocalUsers').length > 0, seconds(40));
  });

  it('keeps queued events across a restart, and sends them with the same ids', async () => {
    await bed.hub.offline();
    const first = bed.startAgent();
    await first.waitForStatus(({ events }) => (events.MessageStatistics?.queued ?? 0) > 0);
    first.kill('SIGKILL');
    await first.exited;
    await bed.hub.online();
    const second = bed.startAgent();
    await bed.waitForEvents(() => bed.events('LocalUsers').length >= 2); // one of each run
    const ids = bed.events().map(({ Id }) => Id);
    assert.equal(new Set(ids).size, ids.length);
    assertClosed(await second.status());
  });

  it('reports that it stops', async () => {
    const agent = bed.startAgent();
    await bed.hub.waitForReported((section) => section.securityAgent !== undefined);
    agent.kill('SIGTERM');
    await agent.exited;
    assert.equal((bed.hub.twin(DEVICE, MODULE).reported.securityAgent as { state: string }).state, 'stopping');
  });

  it('logs no warning at a clean stop, even if log lines become events', async () => {
    bed.writeConfiguration({ logging: { level: 'info', diagnosticEventLevel: 'info' } });
    const agent = bed.startAgent();
    await bed.waitForEvents(() => bed.events('Diagnostic').length > 0);
    agent.kill('SIGTERM');
    assert.equal((await agent.exited).status, 0);
    assert.deepEqual(
      agent.log.filter(({ level }) => level === 'error'),
      [],
    );
  });

  it('does not share its state directory with another agent that has a different control socket', async () => {
    const first = bed.startAgent();
    await first.waitForLog(({ msg }) => msg === 'Connected to the hub.');
    bed.writeConfiguration({ controlSocket: 'other.sock' });
    const second = bed.startAgent();
    assert.equal((await second.exited).status, 70);
    assert.equal(second.log.at(-1)?.id, 'AGENT_RUNNING');
  });

  it('does not start while another agent runs', async () => {
    const first = bed.startAgent();
    await first.waitForLog(({ msg }) => msg === 'Connected to the hub.');
    const second = bed.startAgent();
    assert.equal((await second.exited).status, 70);
    assert.equal(second.log.at(-1)?.id, 'AGENT_RUNNING');
    assert.equal((await first.status()).hub.state, 'connected');
  });

  it('shows a follower the events of one name as they happen', async () => {
    const agent = bed.startAgent();
    await agent.waitForLog(({ msg }) => msg === 'Connected to the hub.');
    const seen = new AbortController();
    const lines: string[] = [];
    const following = askControlSocket(join(bed.directory, 'control.sock'), '/follow?event=ConfigurationError', {
      signal: seen.signal,
      onLine: (line) => {
        lines.push(line);
        seen.abort();
      },
    });
    await agent.status(); // answered after the follower was registered
    bed.desire({ maxMessageSizeInBytes: { value: 9000 } });
    await systemClock.within(minutes(1), 'the followed event', following);
    assert.equal((JSON.parse(lines[0] ?? '{}') as { ErrorType: string }).ErrorType, 'NotOptimal');
  });
});

describe('The agent exits with a documented status for a fault that only an operator can correct:', () => {
  let bed: TestBed;

  beforeEach(async () => {
    bed = await TestBed.open();
  });
  afterEach(() => bed.close());

  const cases: Readonly<
    Record<string, { prepare(): void; status: number; id: string; code: string; reason: string; remedy: RegExp }>
  > = {
    'a missing key file': {
      prepare: () => bed.writeConfiguration({ identity: { kind: 'moduleKey', deviceId: DEVICE, keyFile: 'no.key' } }),
      status: 77,
      id: 'SECRET_FILE_MISSING',
      code: 'Authentication',
      reason: 'File Not Exist',
      remedy: /no\.key/,
    },
    'a world-readable key file': {
      prepare: () => chmodSync(join(bed.directory, 'module.key'), 0o644),
      status: 77,
      id: 'SECRET_FILE_EXPOSED',
      code: 'Authentication',
      reason: 'File Permissions',
      remedy: /chmod .*module\.key/,
    },
    'a key file without a key': {
      prepare: () => bed.write('module.key', 'not base64!\n'),
      status: 77,
      id: 'SECRET_FILE_MALFORMED',
      code: 'Authentication',
      reason: 'File Format',
      remedy: /./,
    },
    'a configuration that is not JSON': {
      prepare: () => bed.write('agent.json', '{ "hub": }'),
      status: 78,
      id: 'CONFIG_FILE_NOT_JSON',
      code: 'Local Configuration',
      reason: 'File Format',
      remedy: /./,
    },
    'a setting with a wrong value': {
      prepare: () => bed.writeConfiguration({ stateDirectory: 7 }),
      status: 78,
      id: 'CONFIG_INVALID',
      code: 'Local Configuration',
      reason: 'Cant Parse Configuration',
      remedy: /vakt check/,
    },
    'a CA file without a certificate': {
      prepare: () => bed.write('ca.pem', 'nothing'),
      status: 78,
      id: 'CA_FILE_UNUSABLE',
      code: 'Local Configuration',
      reason: 'File Format',
      remedy: /./,
    },
    'a state directory that other users can write to': {
      prepare: () => {
        mkdirSync(join(bed.directory, 'state'));
        chmodSync(join(bed.directory, 'state'), 0o777);
      },
      status: 70,
      id: 'STATE_DIRECTORY_UNUSABLE',
      code: 'Other',
      reason: 'File Permissions',
      remedy: /chmod go-w .*state/,
    },
    'a state directory that is a file': {
      prepare: () => bed.write('state', ''),
      status: 70,
      id: 'STATE_DIRECTORY_UNUSABLE',
      code: 'Other',
      reason: 'File Permissions',
      remedy: /./,
    },
  };
  for (const [fault, { prepare, status, id, code, reason, remedy }] of Object.entries(cases)) {
    it(fault, async () => {
      prepare();
      const agent = bed.startAgent();
      assert.deepEqual(await agent.exited, { status, signal: null });
      const line = agent.log.find((record) => record.id === id);
      assert.ok(line, `no line with ${id} in:\n${agent.output}`);
      assert.equal(line.code, code);
      assert.equal(line.reason, reason);
      assert.match(String(line.remedy), remedy);
      assert.ok(
        line.msg.startsWith(`vakt encountered an error! Error in: ${code}, reason: ${reason}, extra details: `),
      );
    });
  }
});

describe('The agent keeps running while the hub refuses it:', function () {
  this.timeout(120_000);
  let bed: TestBed;
  let shiftMs = 0;

  beforeEach(async () => {
    shiftMs = 0;
    const now = () => new Date(systemClock.now().getTime() + shiftMs);
    bed = await TestBed.open({ clock: { ...systemClock, now } });
  });
  afterEach(() => bed.close());

  const module = (primaryKey: string) => ({ deviceId: DEVICE, moduleId: MODULE, primaryKey });
  const cases: Readonly<Record<string, { injectFault(): void; removeFault(): void }>> = {
    'a wrong key': {
      injectFault: () => bed.hub.addModule(module(Buffer.alloc(32, 1).toString('base64'))),
      removeFault: () => bed.hub.addModule(module(bed.key)),
    },
    'a module that the hub does not have': {
      injectFault: () => bed.hub.removeModule(DEVICE, MODULE),
      removeFault: () => {
        bed.hub.addModule(module(bed.key));
        bed.desire(QUICK); // a new module has a new twin
      },
    },
    "a token that has expired by the hub's clock": {
      injectFault: () => {
        shiftMs = 24 * 3_600_000;
      },
      removeFault: () => {
        shiftMs = 0;
      },
    },
  };
  for (const [fault, { injectFault, removeFault }] of Object.entries(cases)) {
    it(fault, async () => {
      injectFault();
      const agent = bed.startAgent();
      const complaint = await agent.waitForLog(({ id }) => id === 'CREDENTIAL_REFUSED');
      assert.equal(complaint.code, 'Authentication');
      assert.equal(complaint.reason, 'Unauthorized');
      assert.ok(String(complaint.remedy).length > 10);
      const status = await agent.waitForStatus(
        ({ hub, events }) => hub.state === 'refused' && events.LocalUsers !== undefined,
      );
      assert.equal(status.state, 'degraded');
      assertClosed(status);
      removeFault();
      await agent.waitForLog(({ msg }) => msg === 'Connected to the hub.');
      await bed.waitForEvents(() => bed.events('LocalUsers').length > 0);
      assert.equal(agent.log.filter(({ id }) => id === 'CREDENTIAL_REFUSED').length, 1, 'logged more than once');
      assert.equal((await agent.status()).hub.state, 'connected');
    });
  }

  it('logs a repeated failure only once and retries at growing intervals', async () => {
    bed.hub.addModule(module(Buffer.alloc(32, 1).toString('base64')));
    const agent: AgentProcess = bed.startAgent();
    await agent.waitForLog(({ id }) => id === 'CREDENTIAL_REFUSED');
    await bed.hub.waitForConnection(() => bed.hub.connections.length >= 3);
    await agent.waitForStatus(({ hub }) => hub.state === 'refused');
    assert.equal(agent.log.filter(({ id }) => id === 'CREDENTIAL_REFUSED').length, 1);
    assert.equal(bed.hub.connections.length, 3); // the fourth is ten minutes away
  });
});
