import assert from 'node:assert/strict';
import { redact, redactText } from '../../../src/core/base/redact.ts';

describe('redactText', () => {
  for (const [text, rest] of [
    ['HostName=h;SharedAccessKey=c2VjcmV0;x', 'HostName=h;SharedAccessKey=[redacted];x'],
    ['Authorization: SharedAccessSignature sr=a&sig=b&se=1', 'Authorization: [redacted]'],
    ['Authorization: Bearer abcdefghijklmnopqrstuvwx', 'Authorization: Bearer [redacted]'],
    ['proxy http://user:hunter2@proxy:3128/', 'proxy http://user:[redacted]@proxy:3128/'],
    ['-----BEGIN EC PRIVATE KEY-----\nMHcCAQEE\n-----END EC PRIVATE KEY-----\nafter', '[redacted]\nafter'],
    ['-----BEGIN PRIVATE KEY-----\nMHcCAQEE', '[redacted]'],
    [`key ${Buffer.alloc(32, 7).toString('base64')}.`, 'key [redacted].'],
  ] as const) {
    it(`redactText replaces the string that looks like a secret in ${text.slice(0, 40)}`, () =>
      assert.equal(redactText(text, []), rest));
  }

  for (const text of [
    'Basic authentication of the proxy failed.',
    'http://proxy:3128/a@b',
    'Could not read /usr/lib/systemd/system/multi/user/target/wants/ssh.service, see a=b',
  ]) {
    it(`redactText does not change ${text.slice(0, 30)}`, () => assert.equal(redactText(text, []), text));
  }

  it('redactText replaces a known secret in each form in which a program may write it', () => {
    const secret = 'pass"w/rd+1=';
    const forms = [secret, encodeURIComponent(secret), JSON.stringify(secret), 'pass"w/rd+1'];
    for (const form of forms) {
      const text = redactText(`before ${form} after`, [secret]);
      assert.match(text, /^before "?\[redacted\]"? after$/);
    }
  });

  it('redactText does not replace strings that are too short to be secrets', () =>
    assert.equal(redactText('a b c', ['b', '']), 'a b c'));

  it('redactText finishes on a megabyte of paths, which look like base64', function () {
    this.timeout(180_000);
    const text = 'a/'.repeat(512 * 1024);
    assert.equal(redactText(text, []), text);
  });
});

describe('redact', () => {
  it('redact replaces members whose names denote secrets, at any depth', () => {
    const value = { hub: { hostName: 'h', sharedAccessKey: 'x' }, list: [{ password: 'y', passwordFile: '/p' }] };
    assert.deepEqual(redact(value, []), {
      hub: { hostName: 'h', sharedAccessKey: '[redacted]' },
      list: [{ password: '[redacted]', passwordFile: '/p' }],
    });
  });
});
