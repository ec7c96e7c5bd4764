import assert from 'node:assert/strict';
import fc from 'fast-check';
import { readAnswer, readState, waitOf } from '../../../src/agent/identity/provisioning/answer.ts';
import { cleaned, type Subject } from '../../../src/agent/identity/provisioning/failures.ts';
import { AgentError } from '../../../src/core/base/errors.ts';
import { HubFailure } from '../../../src/core/contract/hub.ts';
import { hostNameProblem } from '../../../src/core/contract/hub-names.ts';
import { fuzzRuns } from '../../fuzz.ts';
import { withCopies } from '../../harness/copies.ts';

const subject: Subject = {
  service: 'dps.example',
  idScope: '0ne00000001',
  registrationId: 'gateway7',
  proof: 'the key in /etc/vakt/device.key',
  now: new Date('2026-05-04T03:02:01.000Z'),
};

const answer = (status: number, body: unknown, retryAfter?: string) => ({
  status,
  retryAfter,
  body: typeof body === 'string' ? body : JSON.stringify(body),
});

const read = (status: number, body: unknown, retryAfter?: string) =>
  readAnswer(answer(status, body, retryAfter), subject);

const failureOf = (run: () => unknown): HubFailure => {
  try {
    run();
  } catch (error) {
    assert.ok(error instanceof HubFailure, String(error));
    return error;
  }
  throw new Error('nothing was thrown');
};

const assigned = (state: object = {}) => ({
  operationId: '4.abc.def',
  status: 'assigned',
  registrationState: { assignedHub: 'hub1.azure-devices.net', deviceId: 'gateway7', status: 'assigned', ...state },
});

describe('readAnswer', () => {
  it('returns the hub and the device', () => {
    assert.deepEqual(read(200, assigned()), {
      kind: 'assigned',
      assignment: { hub: 'hub1.azure-devices.net', deviceId: 'gateway7' },
    });
  });

  for (const status of ['assigning', 'unassigned', 'Assigning']) {
    it(`asks to wait while the device is ${status}`, () => {
      const progress = read(202, { operationId: '4.abc.def', status }, '7');
      assert.deepEqual(progress, { kind: 'assigning', operationId: '4.abc.def', wait: 7_000 });
    });
  }

  for (const status of [429, 500, 503]) {
    it(`continues the registration after ${status}`, () => {
      assert.deepEqual(read(status, '', '30'), { kind: 'busy', status, wait: 30_000 });
    });
  }

  const failures: [what: string, status: number, body: unknown, id: string, cause: string, message: RegExp][] = [
    ['a wrong key', 401, { errorCode: 401002, message: 'Unauthorized' }, 'PROVISIONING_REFUSED', 'credentials', /gateway7 \(401: 401002 Unauthorized\)/],
    ['a refused device', 403, {}, 'PROVISIONING_REFUSED', 'credentials', /\(403\)$/],
    ['an unknown enrolment', 404, { errorCode: 404201, message: 'Enrollment not found' }, 'PROVISIONING_REFUSED', 'credentials', /404201 Enrollment not found/],
    ['a bad request without JSON', 400, '<html>', 'PROVISIONING_REFUSED', 'credentials', /\(400\)$/],
    ['a failed assignment', 200, { operationId: 'a', status: 'failed', registrationState: { errorCode: 400207, errorMessage: 'Custom allocation failed\nwith status code: 500' } }, 'PROVISIONING_FAILED', 'credentials', /gateway7 to a hub \(400207\): Custom allocation failed with status code: 500/],
    ['a failed assignment without details', 200, { status: 'failed' }, 'PROVISIONING_FAILED', 'credentials', /gateway7 to a hub$/],
    ['a disabled enrolment', 200, { operationId: 'a', status: 'disabled' }, 'PROVISIONING_DISABLED', 'credentials', /enrolment of gateway7 at dps.example is disabled/],
    ['HTML', 200, '<html>Welcome</html>', 'PROVISIONING_UNREACHABLE', 'network', /something else/],
    ['another JSON', 200, '[1]', 'PROVISIONING_UNREACHABLE', 'network', /something else/],
    ['a redirection', 302, '', 'PROVISIONING_UNREACHABLE', 'network', /the status 302/],
    ['no hub', 200, assigned({ assignedHub: undefined }), 'PROVISIONING_UNREACHABLE', 'network', /without a valid hub/],
    ['a hub that is a URL', 200, assigned({ assignedHub: 'https://hub1/x' }), 'PROVISIONING_UNREACHABLE', 'network', /without a valid hub/],
    ['a device id with a slash', 200, assigned({ deviceId: 'a/b' }), 'PROVISIONING_UNREACHABLE', 'network', /without a valid device id/],
    ['no operation', 202, { status: 'assigning' }, 'PROVISIONING_UNREACHABLE', 'network', /operation id/],
    ['an operation with a path', 202, { status: 'assigning', operationId: '../../x?y' }, 'PROVISIONING_UNREACHABLE', 'network', /operation id/],
  ]; // biome-ignore format: one a line
  for (const [what, status, body, id, cause, message] of failures) {
    it(`reports a failure for ${what}`, () => {
      const failure = failureOf(() => read(status, body));
      assert.deepEqual([failure.error.id, failure.retryCause], [id, cause]);
      assert.match(failure.error.message, message);
      assert.notEqual(failure.error.remedy, '');
    });
  }

  it('reports an unset clock if the service refuses the device', () => {
    const now = new Date(0);
    const { error } = failureOf(() => readAnswer(answer(401, ''), { ...subject, now }));
    assert.match(error.remedy, /^Set the device's clock/);
  });

  it('asks for a restart if systemd has copied the file of a refused device', async () => {
    const { error } = await withCopies({ '/s/k': '/c/k' }, () => failureOf(() => read(401, '')));
    assert.match(error.remedy, /; after a change of \/s\/k, run: systemctl restart vakt\.$/);
  });

  it('names the settings to check if the service refuses the device', () => {
    const { error } = failureOf(() => read(401, ''));
    for (const part of ['0ne00000001', 'gateway7', '/etc/vakt/device.key', '2026-05-04T03:02:01']) {
      assert.ok(error.remedy.includes(part), part);
    }
  });

  for (const [header, wait] of [
    ['3', 3_000],
    [' 3 ', 3_000],
    ['0', 1_000],
    ['300', 300_000],
    ['301', 300_000],
    ['9'.repeat(400), 300_000],
    [undefined, 2_000],
    ['', 2_000],
    ['-1', 2_000],
    ['1.5', 2_000],
    ['Wed, 21 Oct 2026 07:28:00 GMT', 2_000],
    ['0x10', 2_000],
  ] as const) {
    it(`waits ${wait / 1_000} s for Retry-After ${header?.slice(0, 40)}`, () => {
      assert.equal(waitOf(header), wait);
    });
  }

  it('shows an answer as one short line without control characters and tokens', () => {
    const text = cleaned(
      `a\u001b[31m\r\nb\u202e authorization: SharedAccessSignature sr=x&sig=c2VjcmV0&se=1&skn=registration, sig=YWJj ${'z'.repeat(5_000)}`,
    );
    assert.doesNotMatch(text, /[\p{Cc}\u202e]|c2VjcmV0|YWJj|SharedAccessSignature/u);
    assert.ok(text.startsWith('a·[31m b<U+202E>'), text);
    assert.ok(text.length <= 300);
  });

  it('accepts the answer to a lookup only if the device is assigned', () => {
    const { registrationState } = assigned();
    assert.deepEqual(readState(JSON.stringify(registrationState)), {
      hub: 'hub1.azure-devices.net',
      deviceId: 'gateway7',
    });
    for (const state of [{ ...registrationState, status: 'disabled' }, { status: 'assigned' }, null, 'x']) {
      assert.equal(readState(JSON.stringify(state)), undefined);
    }
    assert.equal(readState('<html>'), undefined);
  });

  it('turns any answer into progress with valid values, or a failure that can be shown', () => {
    const anyText = fc.oneof(
      fc.string(),
      fc.string({ unit: 'binary' }),
      fc.constantFrom('assigned', 'assigning', 'failed', 'disabled', 'SharedAccessSignature sr=a&sig=b&se=1'),
    );
    const anyValue = fc.oneof(anyText, fc.integer(), fc.constantFrom(null, true, 1e300, Number.NaN), fc.jsonValue());
    const state = fc.record(
      {
        status: anyValue,
        assignedHub: fc.oneof(anyValue, fc.domain()),
        deviceId: anyValue,
        errorCode: anyValue,
        errorMessage: anyValue,
      },
      { requiredKeys: [] },
    );
    const body = fc.oneof(
      anyText,
      fc.jsonValue().map((value) => JSON.stringify(value)),
      fc
        .record(
          {
            operationId: anyValue,
            status: anyValue,
            registrationState: fc.oneof(state, anyValue),
            errorCode: anyValue,
            message: anyValue,
          },
          { requiredKeys: [] },
        )
        .map((value) => JSON.stringify(value)),
      fc.constant(`{"status":"failed","registrationState":{"errorMessage":"${'x'.repeat(100_000)}"}}`),
    );
    const status = fc.oneof(fc.constantFrom(200, 202, 400, 401, 429, 503), fc.integer({ min: 0, max: 999 }));
    fc.assert(
      fc.property(status, body, fc.option(anyText, { nil: undefined }), (status, body, retryAfter) => {
        let progress: ReturnType<typeof readAnswer>;
        try {
          progress = readAnswer({ status, body, retryAfter }, subject);
        } catch (error) {
          assert.ok(error instanceof HubFailure && error.error instanceof AgentError, String(error));
          const { message, remedy } = error.error;
          assert.ok(message.length < 600 && remedy.length < 600, message);
          assert.doesNotMatch(`${message}${remedy}`, /[\p{Cc}\p{Cs}]|SharedAccessSignature/u);
          return;
        }
        if (progress.kind === 'assigned') {
          assert.equal(hostNameProblem(progress.assignment.hub), undefined);
          assert.match(progress.assignment.deviceId, /^[^/\s]{1,128}$/);
        } else {
          assert.ok(progress.wait >= 1_000 && progress.wait <= 300_000);
          if (progress.kind === 'assigning') assert.match(progress.operationId, /^[^/?#\s]{1,256}$/);
        }
      }),
      { numRuns: fuzzRuns(20_000) },
    );
  });
});
