import assert from 'node:assert/strict';
import sinon from 'sinon';
import { endOf } from '../../../src/agent/hub/credential.ts';
import { CredentialWatch } from '../../../src/agent/hub/credential-watch.ts';
import { TwinSync } from '../../../src/agent/hub/twin-sync.ts';
import { systemClock } from '../../../src/core/base/clock.ts';
import { days, hours, minutes, seconds } from '../../../src/core/base/duration.ts';
import type { HubStatus } from '../../../src/core/contract/hub.ts';
import { quietLog } from '../pipeline/memory-queues.ts';
import { FakeHub } from './fake-hub.ts';

const NOW = new Date('2026-05-01T12:00:00.000Z');
const inTime = (span: number) => new Date(NOW.getTime() + span);

describe('The end of a credential', () => {
  const notice = { certificate: days(30), token: minutes(10) };
  for (const [proof, left, isUsed, expiresSoon] of [
    ['certificate', days(30), true, false],
    ['certificate', days(30) - 1, true, true],
    ['certificate', days(30) - 1, false, true],
    ['certificate', -days(1), false, true],
    ['token', minutes(60), true, false],
    ['token', minutes(10), true, false],
    ['token', minutes(10) - 1, true, true],
    ['token', -hours(1), true, true],
    ['token', minutes(10) - 1, false, false],
    ['token', -hours(1), false, false],
  ] as const) {
    const expectation = `${expiresSoon ? 'is near' : 'is not near'} for a ${proof} that is ${isUsed ? '' : 'not '}used`;
    it(`${expectation} and has ${left / 1_000} s left`, () => {
      const expiresAt = inTime(left);
      const end = { expiresAt, dueAt: inTime(left - notice[proof]) };
      assert.deepEqual(endOf({ proof, end }, { isUsed, now: NOW }), { expiresAt, expiresSoon });
    });
  }
});

describe("The end of a token of a device's certificate", () => {
  const token = inTime(minutes(60));
  for (const [left, isUsed, isTold] of [
    [days(30), true, false],
    [days(30) - 1, true, true],
    [days(30) - 1, false, true],
    [-days(1), true, true],
  ] as const) {
    it(`is ${isTold ? "the certificate's" : "the token's"} when that has ${left / 1_000} s left`, () => {
      const deviceCertificate = { expiresAt: inTime(left), dueAt: inTime(left - days(30)) };
      const credential = { proof: 'token', end: { expiresAt: token, dueAt: token }, deviceCertificate } as const;
      const expiresAt = isTold ? deviceCertificate.expiresAt : token;
      assert.deepEqual(endOf(credential, { isUsed, now: NOW }), { expiresAt, expiresSoon: isTold });
    });
  }
});

describe('CredentialWatch', () => {
  let time: sinon.SinonFakeTimers;
  let hub: FakeHub;
  let twin: TwinSync;
  let watch: CredentialWatch;
  let expiresAt: Date;

  beforeEach(async () => {
    time = sinon.useFakeTimers({ now: NOW, toFake: ['setTimeout', 'clearTimeout', 'Date', 'performance'] });
    hub = new FakeHub();
    expiresAt = inTime(days(30) + minutes(2));
    const tools = { clock: systemClock, log: quietLog() };
    const status = (): HubStatus => ({
      state: 'connected',
      credential: {
        kind: 'moduleCertificate',
        ...endOf(
          { proof: 'certificate', end: { expiresAt, dueAt: new Date(expiresAt.getTime() - days(30)) } },
          { isUsed: true, now: systemClock.now() },
        ),
      },
    });
    const reported = () => ({ securityAgent: { expiresSoon: status().credential.expiresSoon } });
    twin = new TwinSync({ hub, apply: () => {}, reported, ...tools });
    watch = new CredentialWatch({ status, changed: () => twin.changed(), ...tools });
    await twin.start();
    await watch.start();
    hub.emit('connected');
    await time.tickAsync(seconds(5));
  });
  afterEach(async () => {
    const stopped = Promise.all([watch.stop(), twin.stop()]);
    await time.tickAsync(seconds(5));
    await stopped;
    time.restore();
  });

  const reportedExpiry = () => (hub.reported.securityAgent as { expiresSoon: boolean }).expiresSoon;

  it('has it reported within five seconds that the end is near, and that it was renewed', async () => {
    await time.tickAsync(minutes(1));
    assert.equal(reportedExpiry(), false);
    const patches = hub.patches.length;
    await time.tickAsync(minutes(1));
    assert.ok(expiresAt.getTime() - Date.now() < days(30));
    await time.tickAsync(seconds(5));
    assert.equal(reportedExpiry(), true);
    await time.tickAsync(hours(1));
    assert.equal(hub.patches.length, patches + 1); // once
    expiresAt = inTime(days(365));
    await time.tickAsync(seconds(5));
    assert.equal(reportedExpiry(), false);
  });

  it('notices a clock that is set beyond it', async () => {
    time.setSystemTime(inTime(days(1)));
    await time.tickAsync(seconds(5));
    assert.equal(reportedExpiry(), true);
    time.setSystemTime(NOW);
    await time.tickAsync(seconds(5));
    assert.equal(reportedExpiry(), false);
  });
});
