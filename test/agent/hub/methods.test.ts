import assert from 'node:assert/strict';
import fc from 'fast-check';
import sinon from 'sinon';
import * as v from 'valibot';
import { ANSWER_WITHIN, CallLimit, DirectMethods } from '../../../src/agent/hub/methods.ts';
import { systemClock } from '../../../src/core/base/clock.ts';
import { minutes, seconds } from '../../../src/core/base/duration.ts';
import { MethodRefusal, method, PERMISSIONS, type Permission } from '../../../src/core/contract/method.ts';
import { capturedLog } from './support.ts';

const permitted = Object.fromEntries(PERMISSIONS.map((name) => [name, true])) as Record<Permission, boolean>;

interface Parts {
  work(): unknown;
}
const any = v.looseObject({});
const ping = method({
  name: 'ping',
  summary: '',
  permission: 'ping',
  request: v.strictObject({
    a: v.optional(v.number('must be a number')),
    b: v.optional(v.strictObject({ c: v.string('must be text') })),
    d: v.optional(v.array(v.picklist(['x', 'y'], 'must be x or y'))),
  }),
  answer: any,
  run: (request, { work }: Parts) => ({ request, did: work() }),
});
const collect = method({
  name: 'collectNow',
  summary: '',
  permission: 'collectNow',
  request: any,
  answer: any,
  rest: seconds(10),
  run: async (_request, { work }: Parts) => ({ did: await work() }),
});

describe('DirectMethods', () => {
  let time: sinon.SinonFakeTimers;
  let log: ReturnType<typeof capturedLog>;
  beforeEach(() => {
    time = sinon.useFakeTimers();
    log = capturedLog();
  });
  afterEach(() => time.restore());

  const make = (
    work: Parts['work'] = () => 1,
    permissions: Partial<typeof permitted> = {},
    change: Partial<typeof collect> = {},
  ) => {
    const methods = new DirectMethods<Parts>({
      methods: [ping, { ...collect, ...change }],
      permissions: { ...permitted, ...permissions },
      parts: { work },
      clock: systemClock,
      log: log.log,
    });
    const ask = (name: string, payload: unknown = {}) =>
      methods.call(name, Buffer.from(typeof payload === 'string' ? payload : JSON.stringify(payload)));
    const call = async (name: string, payload?: unknown) => {
      const answer = await ask(name, payload);
      assert.ok(answer !== undefined, `${name} was not answered`);
      return answer;
    };
    return Object.assign(call, { ask });
  };
  /** Work that ends when told to. */
  function held() {
    const ends: (() => void)[] = [];
    const work = sinon.stub().callsFake(() => new Promise<void>((resolve) => ends.push(resolve)));
    return {
      work,
      end: () => {
        for (const end of ends) end();
      },
    };
  }

  it('does what it is asked for and answers', async () => {
    const call = make(() => 'work');
    assert.deepEqual(await call('ping', { a: 1 }), { status: 200, body: { request: { a: 1 }, did: 'work' } });
    assert.deepEqual(
      log.messages().map(({ level, msg, ...rest }) => [level, msg, 'method' in rest && rest.method]),
      [['info', 'Answered a direct method.', 'ping']],
    );
  });

  for (const payload of ['', ' ', 'null', '{}']) {
    it(`accepts the payload "${payload}" as empty`, async () => {
      assert.deepEqual((await make()('ping', payload)).body, { request: {}, did: 1 });
    });
  }

  it('names every fault of a payload', async () => {
    const { status, body } = await make(assert.fail)('ping', { a: 'x', b: { c: 1 }, d: ['x', 'z'] });
    assert.deepEqual(
      [status, body],
      [
        400,
        {
          error: 'The payload is not valid.',
          faults: { a: 'must be a number', 'b.c': 'must be text', 'd.1': 'must be x or y' },
        },
      ],
    );
  });

  for (const [what, payload, at, problem] of [
    ['an unknown member', { e: 1 }, 'e', /is not known/],
    ['a second unknown member', { e: 1, f: 2 }, 'f', /is not known/],
    ['a member that every object has', '{"__proto__":1,"constructor":2}', 'constructor', /is not known/],
    ['an unknown member in a member', { b: { c: 'x', e: 1 } }, 'b.e', /is not known/],
    ['a member that is missing', { b: {} }, 'b.c', /is missing/],
    ['a member that is no object', { b: 1 }, 'b', /must be an object/],
    ['what is not JSON', '{', '(the whole)', /is not JSON/],
    ['what is no object', '"text"', '(the whole)', /must be an object/],
    ['a list', '[]', '(the whole)', /must be an object, not a list/],
    ['too many levels', `${'['.repeat(9)}${']'.repeat(9)}`, '(the whole)', /deeper than 8 levels/],
    ['too many bytes', `"${'x'.repeat(16_384)}"`, '(the whole)', /16386 bytes, more than 16384/],
  ] as const) {
    it(`refuses ${what} with 400`, async () => {
      const { status, body } = await make(assert.fail)('ping', payload);
      assert.equal(status, 400);
      assert.match((body as { faults: Record<string, string> }).faults[at] ?? '', problem);
    });
  }

  it('answers any call with a status and a body of bounded size', async () => {
    const call = make(() => 1);
    const payload = fc.oneof(
      fc.json(),
      fc.string(),
      fc.object().map((object) => JSON.stringify({ a: 1, ...object })),
    );
    const property = fc.asyncProperty(fc.oneof(fc.constant('ping'), fc.string()), payload, async (name, text) => {
      time.tick(1_000); // slower than calls are limited to
      const { status, body } = await call(name, text);
      assert.ok([200, 400, 404].includes(status));
      assert.ok(JSON.stringify(body).length < 20_000);
    });
    await fc.assert(property);
  });

  it('refuses what the device’s owner has switched off with 403, and runs nothing', async () => {
    const { status, body } = await make(assert.fail, { ping: false })('ping');
    assert.equal(status, 403);
    assert.match(JSON.stringify(body), /directMethods\.ping is false/);
  });

  for (const name of ['reboot', '__proto__', 'constructor', '\u001b[31m']) {
    it(`answers ${JSON.stringify(name)}, which it does not know, with 404 and what it knows`, async () => {
      const answer = await make(assert.fail)(name);
      assert.deepEqual(answer, {
        status: 404,
        body: { error: 'Unknown method.', methods: ['ping', 'collectNow'] },
      });
      assert.ok(!log.text().includes('reboot') && !log.text().includes('[31m'), 'the log names it');
    });
  }

  it('refuses a second call while one runs with 409, and others not', async () => {
    const { work, end } = held();
    const call = make(work);
    const first = call('collectNow');
    const second = await call('collectNow');
    assert.deepEqual([second.status, work.callCount], [409, 1]);
    assert.equal((await call('ping')).status, 200);
    end();
    assert.equal((await first).status, 200);
  });

  it('lets a method rest after each call where it must', async () => {
    const call = make(() => 1);
    assert.equal((await call('collectNow')).status, 200);
    await time.tickAsync(seconds(4));
    assert.deepEqual(await call('collectNow'), {
      status: 429,
      body: { error: 'collectNow was called again too soon.', retryAfterSeconds: 6 },
    });
    await time.tickAsync(seconds(6));
    assert.equal((await call('collectNow')).status, 200);
  });

  it('lets a method rest for as long as the local file requires', async () => {
    const call = make(() => 1, {}, { localRest: () => minutes(2) });
    assert.equal((await call('collectNow')).status, 200);
    await time.tickAsync(seconds(30));
    const { status, body } = await call('collectNow');
    assert.deepEqual([status, (body as { retryAfterSeconds?: number }).retryAfterSeconds], [429, 90]);
    await time.tickAsync(seconds(90));
    assert.equal((await call('collectNow')).status, 200);
  });

  it('answers in time what takes too long, and refuses the next call until it has ended', async () => {
    const { work, end } = held();
    const call = make(work);
    const late = call('collectNow');
    await time.tickAsync(ANSWER_WITHIN);
    assert.deepEqual(await late, {
      status: 500,
      body: { error: 'collectNow took longer than 25 s. It continues; call again later.' },
    });
    assert.deepEqual(
      log.messages().filter(({ level }) => level === 'error'),
      [],
    );
    assert.equal((await call('collectNow')).status, 409);
    end();
    await time.tickAsync(seconds(10));
    const next = call('collectNow');
    end();
    assert.equal((await next).status, 200);
  });

  it('answers what can’t be done now with 409, and a defect with 500 and its id in the log', async () => {
    const refuse = () => {
      throw new MethodRefusal('Nothing is paused.');
    };
    assert.deepEqual(await make(refuse)('ping'), { status: 409, body: { error: 'Nothing is paused.' } });
    const fail = () => {
      throw new TypeError('x is undefined');
    };
    assert.equal((await make(fail)('ping')).status, 500);
    assert.ok(log.messages().some(({ id }) => id === 'INTERNAL'));
    assert.equal((await make(async () => fail())('collectNow')).status, 500);
  });

  it('sends no answer that a hub would not take', async () => {
    const { status, body } = await make(() => 'x'.repeat(200_000))('ping');
    assert.equal(status, 500);
    assert.ok(JSON.stringify(body).length < 200);
  });
});

describe('DirectMethods under a flood of calls', () => {
  let time: sinon.SinonFakeTimers;
  let log: ReturnType<typeof capturedLog>;
  const work = sinon.stub().returns(1);
  beforeEach(() => {
    time = sinon.useFakeTimers();
    log = capturedLog();
    work.resetHistory();
  });
  afterEach(() => time.restore());

  const flood = async (methods: DirectMethods<Parts>, calls: number, nameOf: (call: number) => string) => {
    const outcomes: Record<string, number> = {};
    for (let n = 0; n < calls; n += 1) {
      const answer = await methods.call(nameOf(n), Buffer.from('{}'));
      const outcome = String(answer?.status ?? 'none');
      outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
    }
    return outcomes;
  };
  const make = () =>
    new DirectMethods<Parts>({
      methods: [ping, collect],
      permissions: permitted,
      parts: { work },
      clock: systemClock,
      log: log.log,
    });
  const warnings = () => log.messages().filter(({ level }) => level === 'warn');

  it('executes calls up to a rate, answers 429 at the same rate, and then stops answering', async () => {
    const outcomes = await flood(make(), 14_000, () => 'ping');
    assert.deepEqual(outcomes, { 200: 30, 429: 30, none: 13_940 });
    assert.equal(work.callCount, 30);
    assert.equal(warnings().length, 1);
    assert.ok(log.messages().length <= 40, `${log.messages().length} lines`);
  });

  it('leaves the other methods their calls, up to the limit of all, when one is flooded', async () => {
    const methods = make();
    await flood(methods, 1_000, () => 'ping');
    assert.equal((await methods.call('collectNow', Buffer.from('{}')))?.status, 200);
  });

  it('limits several flooded methods to twice the rate of one', () => {
    const limit = new CallLimit(systemClock, log.log);
    const answers = Array.from({ length: 1_000 }, (_, n) => limit.admit(`method${n % 4}`));
    assert.equal(answers.filter((answer) => answer === 'do').length, 60);
  });

  it('limits calls by ever-changing names like calls of one method', async () => {
    assert.deepEqual(await flood(make(), 1_000, (n) => `name${n}`), { 404: 30, 429: 30, none: 940 });
  });

  it('logs the flood with its numbers, once per minute', async () => {
    const methods = make();
    await flood(methods, 100, () => 'ping');
    time.tick(59_000);
    await methods.call('ping', Buffer.from('{}'));
    assert.equal(warnings().length, 1);
    time.tick(2_000);
    await methods.call('ping', Buffer.from('{}'));
    const counts = warnings().map((line) => {
      const { refused, unanswered } = line as unknown as Record<string, number>;
      return { refused, unanswered };
    });
    assert.deepEqual(counts, [
      { refused: 1, unanswered: 0 },
      { refused: 29, unanswered: 40 },
    ]);
  });

  it('answers all calls again once they come slowly', async () => {
    const methods = make();
    await flood(methods, 1_000, () => 'ping');
    for (let call = 0; call < 100; call += 1) {
      time.tick(1_000);
      assert.equal((await methods.call('ping', Buffer.from('{}')))?.status, 200);
    }
  });
});
