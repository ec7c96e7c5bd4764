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

  it('are read instead of their files, and no others', () => {
    useCopies(new Map([[KEY, '/run/credentials/vakt.service/secrets_module.key']]));
    assert.equal(sourceOf(KEY), '/run/credentials/vakt.service/secrets_module.key');
    assert.equal(sourceOf(OTHER), OTHER);
    assert.deepEqual(usedCopies(), { [KEY]: '/run/credentials/vakt.service/secrets_module.key' });
  });

  it('come into use by a restart, files by themselves', () => {
    useCopies(new Map([[KEY, '/run/key']]));
    assert.equal(thenUsed([OTHER, KEY], '; at once'), '; then run: systemctl restart vakt');
    assert.equal(thenUsed([OTHER], '; at once'), '; at once');
    assert.equal(thenUsed([OTHER]), '');
  });

  it('are named where any file may be to blame', () => {
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

  it('of an agent that runs are not read, but come into use as they do', () => {
    agentUsesCopies([KEY]);
    assert.equal(sourceOf(KEY), KEY);
    assert.deepEqual(usedCopies(), {});
    assert.equal(thenUsed([KEY]), '; then run: systemctl restart vakt');
  });
});
