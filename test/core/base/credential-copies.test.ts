import assert from 'node:assert/strict';
import {
  agentUsesCopies,
  onceChanged,
  sourceOf,
  thenUsed,
  useCopies,
  usedCopies,
} from '../../../src/core/base/credential-copies.ts';

describe('copies that systemd makes of secrets', () => {
  const KEY = '/etc/vakt/secrets/module.key';
  const PASSWORD = '/etc/vakt/secrets/proxy.password';
  const OTHER = '/etc/vakt/certificates/gateway7.pem';
  afterEach(() => useCopies(new Map()));

  it("systemd's copies are read instead of their files; other files are read directly", () => {
    useCopies(new Map([[KEY, '/run/credentials/vakt.service/secrets_module.key']]));
    assert.equal(sourceOf(KEY), '/run/credentials/vakt.service/secrets_module.key');
    assert.equal(sourceOf(OTHER), OTHER);
    assert.deepEqual(usedCopies(), { [KEY]: '/run/credentials/vakt.service/secrets_module.key' });
  });

  it('a remedy asks for a restart only if a changed file has a copy', () => {
    useCopies(new Map([[KEY, '/run/key']]));
    assert.equal(thenUsed([OTHER, KEY], '; at once'), '; then run: systemctl restart vakt');
    assert.equal(thenUsed([OTHER], '; at once'), '; at once');
    assert.equal(thenUsed([OTHER]), '');
  });

  it('a remedy that may change any file names all files with copies', () => {
    assert.equal(onceChanged(', within 25 s'), ', within 25 s');
    assert.equal(onceChanged(), '');
    useCopies(
      new Map([
        [KEY, '/run/key'],
        [PASSWORD, '/run/password'],
      ]),
    );
    assert.equal(
      onceChanged(', within 25 s'),
      `; after a change of ${KEY} or ${PASSWORD}, run: systemctl restart vakt`,
    );
  });

  it("a running agent's copies are not read, but a remedy asks for a restart", () => {
    agentUsesCopies([KEY]);
    assert.equal(sourceOf(KEY), KEY);
    assert.deepEqual(usedCopies(), {});
    assert.equal(thenUsed([KEY]), '; then run: systemctl restart vakt');
  });
});
