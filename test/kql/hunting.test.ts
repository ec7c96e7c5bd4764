import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import sinon from 'sinon';
import { hours, milliseconds, minutes, seconds } from '../../src/core/base/duration.ts';
import { look, records, sources } from '../agent/collectors/samples.ts';
import { SimulatedAgent } from '../agent/pipeline/simulated-agent.ts';
import { FleetDatabase } from './fleet.ts';
import { readPack } from './kusto.ts';
import { ingest, mappingNamed } from './mapping.ts';
import { receivedFrom, storageRecord } from './records.ts';

const ATTACKER = '203.0.113.9';
const IMPLANT = '/tmp/.cache/x';
/** Hours from the beginning. */
const ATTACK = 30;
const END = 47;
const digestOf = (path: string) => hash('sha256', path, 'hex');

/** A device that does the same every hour, until something else happens. */
class Pump extends SimulatedAgent {
  isAttacked = false;

  constructor() {
    const isAttacked = () => this.isAttacked;
    super({
      desired: { snapshotFrequency: { value: 'PT1H' }, lowPriorityMessageFrequency: { value: 'PT1H' } },
      lookups: {
        ...look,
        started: ({ executable = '' }) => ({ containerId: undefined, sha256: digestOf(executable) }),
      },
      sources: {
        ...sources,
        sockets: {
          ...sources.sockets,
          listening: async () => [
            ...(await sources.sockets.listening(new AbortController().signal)),
            ...(isAttacked()
              ? [{ protocol: 'tcp', localAddress: '0.0.0.0', localPort: 4444, userId: 0, executable: IMPLANT } as const]
              : []),
          ],
        },
        accounts: {
          ...sources.accounts,
          list: async () => [
            ...(await sources.accounts.list(new AbortController().signal)),
            ...(isAttacked()
              ? [{ name: 'support', userId: 0, primaryGroupId: 27, groups: [{ id: 27, name: 'sudo' }] }]
              : []),
          ],
        },
      },
    });
  }

  start_(executable: string, userId: number): void {
    const time = new Date();
    const { serial: _, ...start } = records.starts;
    this.occurrences.accept('starts', [
      { ...start, time, startedAt: time, executable, commandLine: executable, userId, loginUserId: 1000 },
    ]);
  }

  connect(executable: string, address: string, port: number, count: number): void {
    const connections = Array.from({ length: count }, (_, index) => ({
      ...records.connections,
      time: new Date(),
      executable,
      commandLine: executable,
      remote: { address, port },
      local: { address: '192.0.2.10', port: 40_000 + index },
    }));
    this.occurrences.accept('connections', connections);
  }

  /** An hour of work; the number of uploads differs from hour to hour. */
  work(hour: number): void {
    this.start_('/usr/bin/sensor', 1000);
    this.connect('/usr/bin/sensor', '198.51.100.7', 443, 1 + ((hour * 7) % 11));
    if (this.isAttacked) this.connect(IMPLANT, '203.0.113.50', 8443, 12);
  }

  async beAttacked(time: sinon.SinonFakeTimers): Promise<void> {
    const { occurrences } = this;
    const login = (success: boolean, userName: string) =>
      occurrences.accept('logins', [
        { ...records.logins, time: new Date(), success, userName, remote: { address: ATTACKER, port: 50_113 } },
      ]);
    for (const name of ['root', 'admin', 'pi', 'admin', 'ubuntu', 'alice']) {
      login(false, name);
      await time.tickAsync(seconds(5));
    }
    login(true, 'alice');
    this.isAttacked = true;
    this.start_(IMPLANT, 0);
    const alert = { ...records.alerts, time: new Date(), firstSeen: new Date(), lastSeen: new Date() };
    occurrences.accept('alerts', [alert]);
    await time.tickAsync(minutes(20));
    occurrences.accept('alerts', [{ ...alert, time: new Date(), lastSeen: new Date(), count: 9 }]);
    this.queues.drop('Low', 'ProcessCreate', 'kernel', 5);
  }
}

describe('The hunting queries of the KQL pack, over two days of three devices', function () {
  this.timeout(minutes(5));
  const pack = readPack();
  let database: FleetDatabase;
  const answerTo = (file: string) => database.ask(pack.queries.get(file) ?? assert.fail(file));

  before(async () => {
    const time = sinon.useFakeTimers({
      now: new Date('2026-03-04T05:06:07Z'),
      toFake: ['setTimeout', 'clearTimeout', 'Date', 'performance'],
    });
    try {
      const began = Date.now();
      const [healthy, attacked, silent] = [new Pump(), new Pump(), new Pump()];
      const running = new Set([healthy, attacked, silent]);
      for (const pump of running) await pump.start();
      for (let hour = 0; hour < END; hour += 1) {
        for (const pump of running) pump.work(hour);
        if (hour === 5) {
          running.delete(silent);
          await silent.stop(time);
        }
        if (hour === ATTACK) await attacked.beAttacked(time);
        await time.tickAsync(milliseconds(began + hours(hour + 1) - Date.now()));
      }
      const mapping = mappingNamed(pack, 'VaktFromStorage');
      const [lostOne, ...others] = receivedFrom(healthy, 'pump-1').toSorted(
        (a, b) => Number(b.applicationProperties.Sequence === '9') - Number(a.applicationProperties.Sequence === '9'),
      );
      assert.equal(lostOne?.applicationProperties.Sequence, '9');
      const messages = [...others, ...receivedFrom(attacked, 'pump-2'), ...receivedFrom(silent, 'pump-3')];
      const rows = messages.map((message) => ingest(pack, mapping, storageRecord(message)));
      database = new FleetDatabase(pack, rows, new Date());
      for (const pump of running) await pump.stop(time);
    } finally {
      time.restore();
    }
  });

  it('find the program that no device had started before', () => {
    const programs = answerTo('first-seen-programs.kql');
    assert.deepEqual(
      programs.map(({ Paths, Devices, Starts }) => ({ Paths, Devices, Starts })),
      [{ Paths: [IMPLANT], Devices: 1, Starts: 1 }],
    );
  });

  it('find the login after failed attempts', () => {
    const logins = answerTo('logins-after-failures.kql');
    assert.equal(logins.length, 1);
    const [login] = logins;
    assert.deepEqual(
      [login?.DeviceId, login?.UserName, login?.RemoteAddress, login?.Failures],
      ['pump-2', 'alice', ATTACKER, 6],
    );
    assert.deepEqual(login?.TriedNames, ['root', 'admin', 'pi', 'ubuntu', 'alice']);
  });

  it('find the port that was opened, and not those that were open', () => {
    const ports = answerTo('new-listening-ports.kql');
    assert.deepEqual(
      ports.map(({ DeviceId, FirstPort, Executables }) => ({ DeviceId, FirstPort, Executables })),
      [{ DeviceId: 'pump-2', FirstPort: 4444, Executables: [IMPLANT] }],
    );
  });

  it('find the steady connections, and not the changing ones', () => {
    const beacons = answerTo('beacons.kql');
    assert.deepEqual(
      beacons.map(({ DeviceId, RemoteAddress, ConnectionsPerHour, DevicesOfAddress }) => ({
        DeviceId,
        RemoteAddress,
        ConnectionsPerHour,
        DevicesOfAddress,
      })),
      [{ DeviceId: 'pump-2', RemoteAddress: '203.0.113.50', ConnectionsPerHour: 12, DevicesOfAddress: 1 }],
    );
  });

  it('find the device that went silent', () => {
    assert.deepEqual(
      answerTo('silent-devices.kql').map(({ DeviceId }) => DeviceId),
      ['pump-3'],
    );
  });

  it('find what was lost, by reason', () => {
    assert.deepEqual(
      answerTo('lost-events.kql').map(({ DeviceId, Queue, Reason, Dropped }) => ({ DeviceId, Queue, Reason, Dropped })),
      [{ DeviceId: 'pump-2', Queue: 'Low', Reason: 'Kernel', Dropped: 5 }],
    );
  });

  it('count an alert once, as it was last reported, under each of its techniques', () => {
    const techniques = answerTo('alerts-by-technique.kql');
    assert.deepEqual(new Set(techniques.map(({ Technique }) => Technique)), new Set(records.alerts.techniques));
    for (const { Alerts, Occurrences, SomeDevices } of techniques)
      assert.deepEqual([Alerts, Occurrences, SomeDevices], [1, 9, ['pump-2']]);
  });

  it('find what root ran from a temporary folder', () => {
    assert.deepEqual(
      answerTo('privileged-from-temporary-folders.kql').map(({ DeviceId, Executable, LoginUserId }) => [
        DeviceId,
        Executable,
        LoginUserId,
      ]),
      [['pump-2', IMPLANT, '']],
    );
  });

  it('find the account that was added', () => {
    const accounts = answerTo('added-accounts.kql');
    assert.deepEqual(
      accounts.map(({ UserName, UserId, Devices, IsPrivileged }) => ({ UserName, UserId, Devices, IsPrivileged })),
      [{ UserName: 'support', UserId: '0', Devices: 1, IsPrivileged: true }],
    );
  });

  it('find the message that is missing in its chain', () => {
    assert.deepEqual(
      answerTo('broken-chains.kql').map(({ DeviceId, Sequence, LastBefore, Missing }) => [
        DeviceId,
        Sequence,
        LastBefore,
        Missing,
      ]),
      [['pump-1', 10, 8, 1]],
    );
  });
});
