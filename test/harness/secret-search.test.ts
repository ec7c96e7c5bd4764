import assert from 'node:assert/strict';
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { SecretSearch } from './secret-search.ts';

describe('SecretSearch', () => {
  const key = Buffer.concat([Buffer.from([0xfb, 0xff, 0xbf]), randomBytes(29)]); // has + and / in base64
  const base64 = key.toString('base64');
  const url = encodeURIComponent(base64);
  const leaks: Readonly<Record<string, string>> = {
    'as it is': `the key ${base64} was refused`,
    'without padding': base64.replace(/=+$/, ''),
    'URL-encoded': `sig=${url}&se=1`,
    'URL-encoded in small letters': url.replace(/%../g, (code) => code.toLowerCase()),
    'within JSON with escaped slashes': JSON.stringify({ base64 }).replaceAll('/', '\\/'),
    'as bytes': `\0${key.toString('latin1')}\0`,
    'in hex': key.toString('hex'),
    'in hex, capital letters': key.toString('hex').toUpperCase(),
    'in base64url': key.toString('base64url'),
    'its text in hex': Buffer.from(base64).toString('hex'),
    'its text in base64': Buffer.from(base64).toString('base64'),
    'its text within other base64': Buffer.from(`SharedAccessKey=${base64};`).toString('base64'),
    'its bytes within other base64': Buffer.concat([randomBytes(5), key, randomBytes(3)]).toString('base64'),
  };
  for (const [form, text] of Object.entries(leaks)) {
    it(`SecretSearch finds a key ${form}`, () => {
      const search = new SecretSearch();
      search.add('the key', base64);
      const found = search.find(`before ${text} after`);
      assert.ok(found.length > 0);
      for (const what of found) assert.match(what, /^the key, /);
    });
  }

  it('SecretSearch finds the key of a connection string, and no other part of it', () => {
    const search = new SecretSearch();
    search.add('it', `HostName=contoso.azure-devices.net;DeviceId=device1;SharedAccessKey=${base64}`);
    assert.deepEqual(search.find('HostName=contoso.azure-devices.net;DeviceId=device1'), []);
    assert.ok(search.find(`SharedAccessKey=${base64}`).includes('it, as it is'));
  });

  it('SecretSearch finds a line of a private key, and its bytes', () => {
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const pem = privateKey.export({ type: 'pkcs8', format: 'pem' }) as string;
    const search = new SecretSearch();
    search.add('it', pem);
    assert.deepEqual(search.find(pem.split('\n')[2] ?? ''), ['it, a line of PEM']);
    assert.deepEqual(search.find(privateKey.export({ type: 'pkcs8', format: 'der' }).toString('hex')), ['it, in hex']);
  });

  it('SecretSearch finds nothing in strings without secrets', () => {
    const search = new SecretSearch();
    search.add('it', base64);
    assert.deepEqual(search.find(randomBytes(100_000).toString('base64')), []);
  });

  it('SecretSearch does not search for strings that are too short', () => {
    assert.throws(() => new SecretSearch().add('it', 'short'), /too short/);
  });
});
