import assert from 'node:assert/strict';
import dns from 'node:dns/promises';
import { syncBuiltinESMExports } from 'node:module';
import sinon from 'sinon';
import { askLocal, LocalServiceError } from '../../../src/agent/identity/local/local-service.ts';
import { systemClock } from '../../../src/core/base/clock.ts';
import { milliseconds, seconds } from '../../../src/core/base/duration.ts';

describe('a service of this device at a name', () => {
  let answer: (addresses: { address: string; family: number }[]) => void;
  let lookUp: sinon.SinonStub;
  beforeEach(() => {
    // Named imports of Node's own modules follow what is stubbed only after this.
    lookUp = sinon.stub(dns, 'lookup').callsFake((() => new Promise((resolve) => (answer = resolve))) as never);
    syncBuiltinESMExports();
  });
  afterEach(() => {
    sinon.restore();
    syncBuiltinESMExports();
  });

  const ask = (limit = milliseconds(30)) =>
    askLocal(
      { address: { host: 'edge.example', port: 1 } },
      { path: '/' },
      { clock: systemClock, signal: new AbortController().signal, limit },
    ).then(
      () => assert.fail('answered'),
      (error: unknown) => error,
    );

  it('is looked up once at a time, however often it is asked while the resolver is silent', async () => {
    for (let attempt = 0; attempt < 3; attempt += 1) {
      const error = await ask();
      assert.ok(error instanceof LocalServiceError && error.kind === 'silent', String(error));
    }
    assert.equal(lookUp.callCount, 1);
    const last = ask(seconds(5));
    answer([{ address: '127.0.0.1', family: 4 }]);
    const error = await last;
    assert.ok(error instanceof LocalServiceError && error.kind === 'absent', String(error));
    assert.equal(lookUp.callCount, 1);
  });
});
