import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { Ajv } from 'ajv';
import formats from 'ajv-formats';
import sinon from 'sinon';
import * as v from 'valibot';
import { collectors } from '../../../src/agent/collectors/index.ts';
import type { LocalSettings } from '../../../src/agent/config/local.ts';
import { LARGEST_DIAGNOSTICS } from '../../../src/agent/methods/get-diagnostics.ts';
import { methods } from '../../../src/agent/methods/index.ts';
import type { MethodParts } from '../../../src/agent/methods/parts.ts';
import type { LocalStatus } from '../../../src/agent/status/schema.ts';
import { type Duration, hours, minutes, seconds } from '../../../src/core/base/duration.ts';
import type { LogLine } from '../../../src/core/base/log.ts';
import { MethodRefusal, PERMISSIONS } from '../../../src/core/contract/method.ts';
import { STATUS_SCHEMA } from '../status/schema.ts';

const KEY = Buffer.from('0123456789abcdef0123456789abcdef').toString('base64');
const NOW = new Date('2026-05-01T12:00:00.000Z');
const UNTIL = '2026-05-01T13:00:00.000Z';

const NOTHING = { collected: 0, delivered: 0, aggregatedAway: 0, dropped: {} };
const BOOKS = { ...NOTHING, queued: 0 };
const STATUS: LocalStatus = {
  version: '0.1.0',
  agentId: '0b5c3f5e-93a4-4b6b-8d7c-0a1b2c3d4e5f',
  localFileHash: '',
  state: 'running',
  startedAt: '2026-05-01T11:00:00.000Z',
  configuration: { source: 'desired', desiredVersion: 7, errors: {}, warnings: {} },
  collectors: {
    ...Object.fromEntries(collectors.map(({ name }) => [name, { state: 'on' as const }])),
    ProcessCreate: { state: 'on', source: 'auditUnicast' },
  },
  delivery: {
    ...NOTHING,
    queued: { highEvents: 0, highBytes: 0, lowEvents: 0, lowBytes: 0 },
    messagesSent: 0,
    messagesFailed: 0,
  },
  store: { place: 'disk', isNearlyFull: false },
  credential: { kind: 'moduleKey' },
  pause: { until: UNTIL, reason: 'Update', skipped: 0 },
  restarts: { unclean: 0 },
  pid: 7,
  posture: {},
  hub: { state: 'connected' },
  events: { Login: BOOKS },
  queues: { High: BOOKS, Low: BOOKS },
  messages: { sent: 0, under4KB: 0, failed: 0 },
  memory: { residentBytes: 1, budgetBytes: 2, isOver: false },
};

describe('the direct method', () => {
  it('flush costs no more messages in a loop than the shortest message frequency', () => {
    const rest = (shortestMessageFrequency: Duration) =>
      methods
        .find(({ name }) => name === 'flush')
        ?.localRest?.({ ...parts, local: { limits: { shortestMessageFrequency } } as LocalSettings });
    assert.deepEqual([rest(seconds(10)), rest(hours(1))], [seconds(20), hours(2)]);
  });

  let lines: LogLine[];
  let parts: { -readonly [K in keyof MethodParts]: MethodParts[K] };

  beforeEach(() => {
    lines = [];
    parts = {
      now: () => NOW,
      status: () => STATUS,
      takeNow: sinon.stub().resolves({}),
      flush: sinon.stub().resolves({ messages: 1, events: 2, left: 0 }),
      pause: { begin: sinon.stub().returns(true), end: sinon.stub(), status: () => undefined },
      logLevel: { set: sinon.stub() },
      recentLines: () => lines,
      configuration: () => ({ object: { snapshotFrequency: { value: 'PT13H' } } }),
      local: { stateDirectory: '/var/lib/vakt', identity: { kind: 'moduleKey' } } as LocalSettings,
      secrets: () => [KEY],
    };
  });

  /** As the dispatcher does it; the answer must be what the method declares. */
  const run = async (name: string, payload: object = {}): Promise<Record<string, unknown>> => {
    const method = methods.find((one) => one.name === name);
    assert.ok(method);
    const answer = await method.run(v.parse(method.request, payload), parts);
    assert.ok(v.is(method.answer, answer), JSON.stringify(answer));
    return answer as Record<string, unknown>;
  };

  it('each has a name of its own and a sentence, and can be switched off', () => {
    const names = methods.map(({ name }) => name);
    assert.equal(new Set(names).size, names.length);
    for (const { summary, permission } of methods) {
      assert.match(summary, /^[A-Z].*\.$/);
      assert.ok(PERMISSIONS.includes(permission));
    }
    assert.deepEqual([...new Set(methods.map(({ permission }) => permission))], [...PERMISSIONS]);
  });

  it('ping returns version, agent id and the time of the device', async () => {
    assert.deepEqual(await run('ping'), {
      version: '0.1.0',
      agentId: '0b5c3f5e-93a4-4b6b-8d7c-0a1b2c3d4e5f',
      time: '2026-05-01T12:00:00.000Z',
    });
  });

  it('collectNow takes all Periodic events when none is named, and reports collected and failed ones apart', async () => {
    const takeNow = sinon.stub().resolves({ ListeningPorts: { elements: 3 }, LocalUsers: { problem: 'EACCES' } });
    parts.takeNow = takeNow;
    assert.deepEqual(await run('collectNow'), {
      collected: { ListeningPorts: 3 },
      notCollected: { LocalUsers: 'EACCES' },
    });
    const periodic = collectors.filter(({ category }) => category === 'Periodic').map(({ name }) => name);
    assert.deepEqual(takeNow.firstCall.args, [periodic]);
    await run('collectNow', { events: ['LocalUsers'] });
    assert.deepEqual(takeNow.secondCall.args, [['LocalUsers']]);
  });

  it('flush gives itself less time than its caller has', async () => {
    assert.deepEqual(await run('flush'), { messages: 1, events: 2, left: 0 });
    assert.deepEqual((parts.flush as sinon.SinonStub).firstCall.args, [seconds(20)]);
  });

  it('pause begins a pause, and reports whether it is on disk', async () => {
    const begin = parts.pause.begin as sinon.SinonStub;
    begin.returns(false);
    assert.deepEqual(await run('pause', { duration: 'PT1H', reason: 'Update' }), {
      until: UNTIL,
      outlastsRestart: false,
    });
    assert.deepEqual(begin.firstCall.args, [hours(1), 'Update']);
    await run('pause', { duration: 'P1D', reason: 'Update' });
    assert.equal(begin.secondCall.args[0], hours(24));
  });

  for (const payload of [
    { duration: 'PT24H0.001S', reason: 'x' },
    { duration: 'PT86400.0004S', reason: 'x' },
    { duration: 'PT0.9996S', reason: 'x' },
    { duration: 'PT0.5S', reason: 'x' },
    { duration: 'P1M', reason: 'x' },
    { duration: 'PT1H', reason: 'x'.repeat(257) },
    { duration: 'PT1H', reason: '\u001b[31m' },
    { duration: 'PT1H' },
    { reason: 'x' },
  ]) {
    it(`pause refuses ${JSON.stringify(payload).slice(0, 60)}`, () => assert.rejects(run('pause', payload)));
  }

  it('resume reports what the pause skipped, or that no pause is active', async () => {
    await assert.rejects(run('resume'), MethodRefusal);
    parts.pause = { ...parts.pause, end: () => ({ until: UNTIL, reason: 'Update', skipped: 9 }) };
    assert.deepEqual(await run('resume'), { reason: 'Update', skipped: 9 });
  });

  it('setLogLevel changes the level for an hour, or for the given duration', async () => {
    const answer = { level: 'debug', until: UNTIL, afterwards: 'info' } as const;
    const set = sinon.stub().returns(answer);
    parts.logLevel = { set };
    assert.deepEqual(await run('setLogLevel', { level: 'debug' }), answer);
    await run('setLogLevel', { level: 'trace', duration: 'PT5M' });
    assert.deepEqual(set.args, [
      ['debug', hours(1)],
      ['trace', minutes(5)],
    ]);
    for (const level of ['silent', 'fatal', 'DEBUG', 1]) await assert.rejects(run('setLogLevel', { level }));
  });

  it('getStatus returns the status', async () => assert.deepEqual(await run('getStatus'), STATUS));

  it('getStatus declares the status to the last member', () => {
    const declared = methods.find(({ name }) => name === 'getStatus')?.answer;
    assert.ok(declared);
    assert.ok(v.is(declared, STATUS));
    assert.ok(!v.is(declared, { ...STATUS, colour: 'red' }));
    assert.ok(!v.is(declared, { ...STATUS, store: { place: 'cloud', isNearlyFull: false } }));
    const { memory: _, ...lacking } = STATUS;
    assert.ok(!v.is(declared, lacking));
  });

  describe('getStatus, by its published schema', () => {
    const ajv = new Ajv({ strict: false, allErrors: true }).addSchema(STATUS_SCHEMA, 'status.schema.json');
    formats.default(ajv);
    const schemas = JSON.parse(
      readFileSync(new URL('../../../../config/methods.schema.json', import.meta.url), 'utf8'),
    ) as object;
    const validate = ajv.addSchema(schemas, 'methods.schema.json').compile({
      $ref: 'methods.schema.json#/properties/getStatus/properties/answer',
    });

    it('answers what that says', () => assert.ok(validate(STATUS), JSON.stringify(validate.errors)));

    for (const [what, wrong] of Object.entries({
      'a member it does not have': { ...STATUS, colour: 'red' },
      'a state that the status does not have': { ...STATUS, state: 'well' },
      'a collector without a state': { ...STATUS, collectors: { ...STATUS.collectors, Login: {} } },
      'nothing at all': {},
    })) {
      it(`would not answer ${what}`, () => assert.ok(!validate(wrong)));
    }
  });

  describe('getDiagnostics', () => {
    const line = (message: string, more: Partial<LogLine> = {}): LogLine => ({
      time: NOW,
      level: 'warn',
      message,
      ...more,
    });

    it('returns versions, sources, the last errors and the current configuration', async () => {
      lines = [line('Refused.', { id: 'TWIN_INVALID', remedy: 'Correct it.' })];
      const { versions, state, sources, configuration, local, lastErrors, lastErrorsLeftOut } =
        await run('getDiagnostics');
      assert.equal((versions as Record<string, string>).agent, '0.1.0');
      assert.deepEqual([state, sources], ['running', STATUS.collectors]);
      assert.deepEqual(configuration, { ...STATUS.configuration, inForce: parts.configuration() });
      assert.deepEqual(local, parts.local);
      const time = '2026-05-01T12:00:00.000Z';
      assert.deepEqual(lastErrors, [
        { time, level: 'warn', message: 'Refused.', id: 'TWIN_INVALID', remedy: 'Correct it.' },
      ]);
      assert.equal(lastErrorsLeftOut, 0);
    });

    it('leaves out the oldest errors when there are too many, and counts them', async () => {
      lines = Array.from({ length: 50 }, (_, number) =>
        line(`${number} ${'€'.repeat(490)}`, { remedy: '€'.repeat(500) }),
      );
      const body = await run('getDiagnostics');
      const { lastErrors, lastErrorsLeftOut } = body as { lastErrors: LogLine[]; lastErrorsLeftOut: number };
      assert.ok(Buffer.byteLength(JSON.stringify(body)) <= LARGEST_DIAGNOSTICS);
      assert.ok(lastErrors.length > 10);
      assert.equal(lastErrors.length + lastErrorsLeftOut, 50);
      assert.match(lastErrors.at(-1)?.message ?? '', /^49 /);
      assert.match(lastErrors[0]?.message ?? '', new RegExp(`^${lastErrorsLeftOut} `));
    });

    for (const secret of [
      KEY,
      `HostName=h;DeviceId=d;SharedAccessKey=${KEY}`,
      'SharedAccessKey=short',
      'SharedAccessSignature sr=h%2Fdevices%2Fd&sig=abc%2Fdef%3D&se=1767225600',
      '{"password":"hunter2"}',
      'password=hunter2&sig=hunter2',
      Buffer.alloc(48, 7).toString('base64').slice(0, 60).concat('=='),
    ]) {
      it(`keeps to itself ${secret.slice(0, 40)}`, async () => {
        lines = [line(`Could not connect: ${secret} was refused.`, { remedy: secret })];
        const text = JSON.stringify(await run('getDiagnostics'));
        for (const part of [KEY, 'short', 'abc%2Fdef', 'hunter2', 'BwcHBwcHBw']) assert.ok(!text.includes(part), text);
        assert.match(text, /Could not connect: .*\[redacted\]/);
      });
    }

    it('leaves alone what only looks long', async () => {
      const message = 'Could not read /usr/lib/systemd/system/multi/user/target/wants/ssh.service, see a=b';
      lines = [line(message)];
      assert.ok(JSON.stringify(await run('getDiagnostics')).includes(message));
    });
  });
});
