import assert from 'node:assert/strict';
import { proxyFailure } from '../../../src/core/network/connect-failure.ts';
import { ProxyError } from '../../../src/core/network/tunnel.ts';
import { withCopies } from '../../harness/copies.ts';

describe("a proxy's answer", () => {
  const PROXY = { host: 'proxy', port: 3128, passwordFile: '/s/p' };
  const BEHIND = { name: 'the registry', target: 'hub:443', unreachable: 'PROVISIONING_UNREACHABLE' } as const;
  const meaning = (status?: number, user?: string) =>
    proxyFailure(new ProxyError({ ...PROXY, user }, 'it closed', status === undefined ? {} : { status }), BEHIND);

  for (const [what, status, user, id, retryCause, message, remedy] of [
    ['a wish for a user', 407, undefined, 'PROXY_REFUSED', 'credentials', /asks for a user/, /^Set the user/],
    ['a wrong password', 407, 'agent', 'PROXY_REFUSED', 'credentials', /refused the user agent/, /^Correct the user/],
    [
      'a refused target',
      403,
      undefined,
      'PROXY_REFUSED',
      'credentials',
      /CONNECT to hub:443 \(403\)/,
      /^Allow CONNECT/,
    ],
    [
      'a target out of reach',
      502,
      undefined,
      'PROVISIONING_UNREACHABLE',
      'network',
      /the registry/,
      /^Check the proxy/,
    ],
    ['no answer', undefined, undefined, 'PROVISIONING_UNREACHABLE', 'network', /it closed/, /^Check the proxy/],
  ] as const) {
    it(`means ${what}`, () => {
      const failure = meaning(status, user);
      assert.deepEqual([failure.error.id, failure.retryCause], [id, retryCause]);
      assert.match(failure.error.message, message);
      assert.match(failure.error.remedy, remedy);
    });
  }

  it('explains how to apply a changed password', async () => {
    assert.match(
      meaning(407, 'agent').error.remedy,
      /password in \/s\/p \(hub\.proxyPasswordFile\), which is used within 25 s\.$/,
    );
    const remedyWith = (copies: Readonly<Record<string, string>>) =>
      withCopies(copies, () => meaning(407, 'agent').error.remedy);
    assert.match(await remedyWith({ '/s/p': '/c/p' }), /File\); then run: systemctl restart vakt\.$/);
    assert.match(await remedyWith({ '/s/key': '/c/key' }), /File\), which is used within 25 s\.$/);
  });
});
